//! Types that zerocopy knows to be plain bytes.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Payload;
use super::fields::{Hash, Text};

/// A type that zerocopy 0.8 knows to be plain bytes, as a [`Payload`].
///
/// For types of other crates, and for what [`payload!`](crate::payload!) does not take, such as unions, generic
/// structs and numbers of the other byte order. It may have zerocopy's derives of its own in `payload!`, and
/// then needs no wrapper.
///
/// ```
/// use annulus::{Payload, Zerocopy};
/// use zerocopy::network_endian::U32;
///
/// type Address = Zerocopy<U32, 1>;
///
/// let address: Address = U32::new(0x7f00_0001).into();
/// assert_eq!(address.get(), 0x7f00_0001);
/// assert_ne!(Address::FINGERPRINT, <Zerocopy<U32, 2>>::FINGERPRINT);
/// ```
///
/// # Which type it is
///
/// zerocopy does not tell what the fields are, so a ring knows the type by its size, its alignment, and `ID`: a
/// number of your choice, the same on both sides, for you to change when the type changes. With the default of
/// 0 any two types of one size and alignment pass for each other. (The name that the compiler has for a type is
/// no help: it differs from crate to crate, and may from compiler to compiler.)
///
/// # Why it is a wrapper
///
/// Were every type of zerocopy's a payload, `[T; N]` would be one twice if `T` is a struct of `payload!`, for all
/// that the compiler can tell. The impl for arrays would have to go when the feature comes, and a feature that
/// one crate asks for must not break another.
///
/// As everywhere, a type aligned to more than 8 bytes does not compile where it is sent or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Zerocopy<T, const ID: u64 = 0>(
    /// The value.
    pub T,
);

// Without this the compiler lists it in errors about other types, in some builds and not in others.
#[diagnostic::do_not_recommend]
// SAFETY: transparent, so its size, alignment and bytes are those of `T`. `FromBytes` says that every pattern of
// initialised bytes is a `T`, which no type with a reference or a pointer can say; `IntoBytes` that each byte of
// a `T` is initialised, so there is no padding; `Immutable` that nothing in it changes behind a shared reference.
// `Copy`, `Send`, `Sync` and `'static` are asked for.
unsafe impl<T, const ID: u64> Payload for Zerocopy<T, ID>
where
    T: FromBytes + IntoBytes + Immutable + Copy + Send + Sync + 'static,
{
    const NAME: &'static str = const {
        let size = size_of::<T>() as u64;
        &Text::new().text("Zerocopy<").number(size).text(" bytes, ").number(ID).text(">")
    }
    .as_str();
    const FINGERPRINT: u64 =
        Hash::new("zerocopy").number(size_of::<T>() as u64).number(align_of::<T>() as u64).number(ID).end();
}

impl<T, const ID: u64> Deref for Zerocopy<T, ID> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T, const ID: u64> DerefMut for Zerocopy<T, ID> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T, const ID: u64> From<T> for Zerocopy<T, ID> {
    fn from(value: T) -> Self {
        Zerocopy(value)
    }
}
