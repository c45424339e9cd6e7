//! The trait, the types of the language that have it, and the way from a value to its bytes and back.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use annulus_core::header::LENGTH_MAX;

use super::fields::{ALIGN_FAULT, ALIGN_MAX, Hash, NAME_FAULT, NAME_MAX, Text};

/// Values that can be sent as their bytes, to another process too.
///
/// The integers of 8 to 64 bits, the floats, `()`, arrays of payloads, and the structs that
/// [`payload!`](crate::payload!) declares. With the feature `zerocopy-08` also `Zerocopy<T>`.
///
/// ```
/// use annulus::Payload;
///
/// annulus::payload! {
///     pub struct Quote {
///         pub id: u64,
///         pub bid: f64,
///         pub ask: f64,
///     }
/// }
///
/// // Whoever changes what is sent has to change it here, too.
/// const _: () = assert!(Quote::FINGERPRINT == 0xb7f4_ad31_436c_1c86);
/// assert_eq!(<[Quote; 2]>::NAME, "[Quote; 2]");
/// ```
///
/// Not `usize` and `isize`, whose size is the machine's; not `u128` and `i128`, which are aligned to 16 bytes
/// where records are to 8: send `[u64; 2]`. A value of a longer alignment than 8 bytes does not compile where it
/// is sent or received.
///
/// # Safety
///
/// The bytes of a value are read by others, and bytes of theirs become a value. So
///
/// * every pattern of `size_of::<Self>()` initialised bytes is a value;
/// * every byte of every value is initialised: there is no padding;
/// * no part is a reference, a pointer, or anything else that means something in one process only;
/// * nothing in it changes behind a shared reference.
///
/// `payload!` proves it. An impl by hand has to name the type and make up a fingerprint, too; wrong ones are
/// unwise, not unsafe.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known to be plain bytes",
    label = "not a payload",
    note = "payloads are `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, `()`, arrays of payloads, and structs in \
            `annulus::payload!`",
    note = "for `bool`, `char` or an enum send a number and convert it when it arrives; for `usize` send `u64`",
    note = "for a type that zerocopy 0.8 knows to be plain bytes take `annulus::Zerocopy` (feature `zerocopy-08`)"
)]
pub unsafe trait Payload: Copy + Send + Sync + 'static {
    /// The type's name as its source has it, without modules, so that two programs with the same struct agree;
    /// 512 bytes at most. For people: two types may share it.
    const NAME: &'static str;

    /// What a ring knows the type by; never 0.
    ///
    /// A hash of the name, and of each field in order: its name, its type's fingerprint, its place and its
    /// size. It is the same in every build on every machine, as long as nobody renames, reorders or retypes
    /// a field. The 64 bits are there for mistakes, not against malice.
    const FINGERPRINT: u64;
}

/// Fails to compile unless what can be checked of an impl is so.
///
/// ```compile_fail
/// let _ = annulus::TypedRing::<[u8; 1 << 30]>::open("films");
/// ```
///
/// ```compile_fail
/// # #[derive(Clone, Copy)]
/// struct Nameless(u8);
///
/// unsafe impl annulus::Payload for Nameless {
///     const NAME: &'static str = "";
///     const FINGERPRINT: u64 = 1;
/// }
///
/// let _ = annulus::TypedRing::<Nameless>::open("nobody");
/// ```
///
/// ```compile_fail
/// # #[derive(Clone, Copy)]
/// #[repr(align(16))]
/// struct Lane([f64; 2]);
///
/// unsafe impl annulus::Payload for Lane {
///     const NAME: &'static str = "Lane";
///     const FINGERPRINT: u64 = 1;
/// }
///
/// let _ = annulus::TypedRing::<Lane>::open("lanes");
/// ```
pub(crate) const fn check<T: Payload>() {
    assert!(align_of::<T>() <= ALIGN_MAX, "{}", ALIGN_FAULT);
    assert!(size_of::<T>() as u64 <= LENGTH_MAX, "a payload is shorter than 2^30 bytes, as records are");
    assert!(!T::NAME.is_empty(), "a payload has a name: a ring without one has no type");
    assert!(T::NAME.len() <= NAME_MAX, "{}", NAME_FAULT);
    assert!(T::FINGERPRINT != 0, "a payload's fingerprint is not 0, which means that a ring has no type");
}

/// The bytes of a value, where they lie.
#[inline]
pub(crate) fn as_bytes<T: Payload>(value: &T) -> &[u8] {
    const { check::<T>() };
    // SAFETY: the pointer comes from a reference to a `T`, so `size_of::<T>()` bytes from there are one
    // object, readable as long as `value` is borrowed; each is initialised, and none changes meanwhile, as
    // `Payload` promises both; a `u8` needs no alignment.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
}

/// The bytes of a value, to be overwritten.
#[inline]
pub(crate) fn as_bytes_mut<T: Payload>(value: &mut T) -> &mut [u8] {
    const { check::<T>() };
    // SAFETY: as in `as_bytes`, and the reference is the only one as long as `value` is borrowed; whatever is
    // written there is initialised bytes, any pattern of which is a `T`, as `Payload` promises; `T` is `Copy`, so
    // the value that was there needs no end.
    unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(value).cast::<u8>(), size_of::<T>()) }
}

/// The value whose bytes are all 0.
#[inline]
pub(crate) fn zeroed<T: Payload>() -> T {
    const { check::<T>() };
    // SAFETY: each of its bytes is initialised, with 0, and any such pattern is a `T`, as `Payload` promises.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// The value that the bytes are, where they lie; `None` if their number is not its size, or their place not
/// aligned for it.
#[inline]
pub(crate) fn as_ref<T: Payload>(bytes: &[u8]) -> Option<&T> {
    const { check::<T>() };
    let value = bytes.as_ptr().cast::<T>();
    if bytes.len() != size_of::<T>() || !value.is_aligned() {
        return None;
    }
    // SAFETY: not null, since it is a slice's pointer; aligned, as just checked; the slice holds
    // `size_of::<T>()` initialised bytes that stay readable and unchanged while it is borrowed, and the
    // result borrows it as long; any such pattern is a `T`, and none changes itself through the reference,
    // as `Payload` promises.
    Some(unsafe { &*value })
}

macro_rules! primitives {
    ($($type:ident)*) => {$(
        // SAFETY: a number without padding whose every bit pattern is a value; aligned to at most 8 bytes on
        // every 64-bit machine, which `check` sees to as well; plain data.
        unsafe impl Payload for $type {
            const NAME: &'static str = stringify!($type);
            const FINGERPRINT: u64 = Hash::new("primitive").text(Self::NAME).end();
        }
    )*};
}

primitives! { u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 }

// SAFETY: it has no bytes, and one value; a record without a payload, which says only that it happened.
unsafe impl Payload for () {
    const NAME: &'static str = "()";
    const FINGERPRINT: u64 = Hash::new("primitive").text(Self::NAME).end();
}

// SAFETY: the elements of an array follow each other without padding, since a type's size is a multiple of its
// alignment; so all its bytes are theirs, and what `T: Payload` promises of each holds for all. The array is
// aligned as they are.
unsafe impl<T: Payload, const N: usize> Payload for [T; N] {
    const NAME: &'static str =
        const { &Text::new().text("[").text(T::NAME).text("; ").number(N as u64).text("]") }.as_str();
    const FINGERPRINT: u64 = Hash::new("array").number(T::FINGERPRINT).number(N as u64).end();
}
