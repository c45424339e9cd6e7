//! Values that travel as their bytes: what a type must be for that, and how a struct is shown to be it.

mod fields;
mod value;
#[cfg(feature = "zerocopy-08")]
mod zerocopy_08;

pub use fields::Fields;
pub use value::Payload;
pub(crate) use value::{as_bytes, as_bytes_mut, as_ref, check, zeroed};
#[cfg(feature = "zerocopy-08")]
pub use zerocopy_08::Zerocopy;

/// Declares structs that are [`Payload`]s, and has the compiler prove it.
///
/// ```
/// #![forbid(unsafe_code)]
///
/// annulus::payload! {
///     /// The best prices of one instrument.
///     #[derive(Debug, PartialEq)]
///     pub struct Quote {
///         pub instrument: Instrument,
///         pub venue: [u8; 4],
///         pub bid: f64,
///         pub ask: f64,
///     }
///
///     /// A number, and no other number will do for it.
///     #[derive(Debug, PartialEq, Eq, Hash)]
///     pub struct Instrument(pub u32);
/// }
///
/// let quote = Quote { instrument: Instrument(7), venue: *b"XETR", bid: 1.0842, ask: 1.0843 };
/// let copy = quote;
/// assert_eq!(copy, quote);
/// ```
///
/// It takes any number of structs, with fields that have names, or with one field that has none; with
/// attributes, docs and visibilities; without generics. To each it adds `#[repr(C)]`, `Clone`, `Copy` and
/// [`Payload`], so do not derive `Clone` and `Copy` again.
///
/// It does not compile unless
///
/// * every field's type is a payload itself, which `bool`, `char`, `usize`, enums, references, pointers and
///   all that holds one of them are not: send a number, and convert it when it arrives;
/// * there is no padding: where a gap would be, the error says how long the field is that must fill it, as in
///   `_pad: [u8; 4]`;
/// * the struct is aligned to at most 8 bytes, as records are;
/// * its name has at most 512 bytes.
///
/// An attribute that takes out a field or the struct (`#[cfg(..)]`) is an error too: put it before
/// `annulus::payload!`.
///
/// The `unsafe impl` is the macro's, and the lint `unsafe_code` does not look into macros of other crates: it
/// can be denied, and forbidden, where this is called.
#[macro_export]
macro_rules! payload {
    () => {};
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident {
            $($(#[$about:meta])* $seen:vis $field:ident: $type:ty),* $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[$attribute])*
        #[derive(::core::clone::Clone, ::core::marker::Copy)]
        #[repr(C)]
        $vis struct $name {
            $($(#[$about])* $seen $field: $type,)*
        }
        $crate::__payload_proof!($name { $($field: $type,)* });
        $crate::payload!($($rest)*);
    };
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident ($(#[$about:meta])* $seen:vis $type:ty $(,)?);
        $($rest:tt)*
    ) => {
        $(#[$attribute])*
        #[derive(::core::clone::Clone, ::core::marker::Copy)]
        #[repr(C)]
        $vis struct $name($(#[$about])* $seen $type);
        $crate::__payload_proof!($name { 0: $type, });
        $crate::payload!($($rest)*);
    };
    ($($other:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "`payload!` takes `struct Name { field: Type, .. }` and `struct Name(Type);`, without generics; \
             an enum is sent as its number; this is none of them: ",
            ::core::stringify!($($other)+),
        ));
    };
}

/// What `payload!` says of each struct. A safe macro: whatever it is called with, it holds or does not compile.
#[doc(hidden)]
#[macro_export]
macro_rules! __payload_proof {
    ($name:ident { $($field:tt: $type:ty),* $(,)? }) => {
        const _: () = {
            const __FIELDS: $crate::__PayloadFields = $crate::__PayloadFields::of(::core::stringify!($name))
                $(.field::<$type>(::core::stringify!($field), ::core::mem::offset_of!($name, $field)))*
                .end::<$name>();
            ::core::assert!(__FIELDS.fault().is_empty(), "{}", __FIELDS.fault());

            const __ALL: fn($name) = |__value| {
                let $name { $($field: _,)* } = __value;
                $($crate::__PayloadFields::is_of::<$type>(__value.$field);)*
            };

            // SAFETY: what is above does not compile unless this is so.
            // * `__ALL`: these are all the fields, since the pattern names each and has no `..`; each is of the
            //   type that is given, or `is_of` would not take it.
            // * `__FIELDS`: each of these types is a `Payload`, or `field` would not take it. Every field begins
            //   where the one before it ends, the first at 0, and the struct ends where the last one does: all
            //   bytes are a field's, none is padding.
            // * So the struct's bytes are those of payloads, one after another: every pattern is a value, every
            //   byte is initialised, and what is in no payload (pointers, handles, cells) is not in it.
            // * `__FIELDS` has no fault: the alignment is at most 8, and the name at most 512 bytes long. No
            //   fingerprint is 0.
            unsafe impl $crate::Payload for $name {
                const NAME: &'static ::core::primitive::str =
                    $crate::__PayloadFields::name(::core::stringify!($name));
                const FINGERPRINT: ::core::primitive::u64 = __FIELDS.fingerprint();
            }
        };
    };
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code)]

    use super::{Payload, as_bytes, as_bytes_mut, as_ref, zeroed};

    crate::payload! {
        #[derive(Debug, PartialEq)]
        struct Quote {
            id: u64,
            price: Price,
            venue: [u8; 4],
            flags: i32,
        }

        #[derive(Debug, PartialEq)]
        struct Price(f64);

        #[derive(Debug, PartialEq)]
        struct Tick {}
    }

    /// The value that the bytes are, copied.
    fn from_bytes<T: Payload>(bytes: &[u8]) -> T {
        let mut value = zeroed();
        as_bytes_mut(&mut value).copy_from_slice(bytes);
        value
    }

    const QUOTE: Quote = Quote { id: 7, price: Price(1.5), venue: *b"XETR", flags: -2 };

    #[test]
    fn values_go_through_their_bytes() {
        let bytes = as_bytes(&QUOTE);
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes[..8], 7u64.to_ne_bytes());
        assert_eq!(bytes[8..16], 1.5f64.to_ne_bytes());
        assert_eq!(bytes[16..20], *b"XETR");
        assert_eq!(bytes[20..], (-2i32).to_ne_bytes());
        assert_eq!(from_bytes::<Quote>(bytes), QUOTE);
        assert_eq!(as_ref::<Quote>(bytes), Some(&QUOTE));
    }

    #[test]
    fn every_pattern_is_a_value() {
        for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let bytes = [byte; 24];
            let quote = from_bytes::<Quote>(&bytes);
            assert_eq!(as_bytes(&quote), bytes);
        }
    }

    #[test]
    fn the_length_must_be_the_types() {
        for len in [0, 1, 23, 25, 48] {
            let bytes = vec![0; len];
            assert_eq!(as_ref::<Quote>(&bytes), None, "{len}");
        }
    }

    #[test]
    fn a_reference_needs_the_alignment_and_a_copy_does_not() {
        let words = [[7u64, 0, 0, 0]; 1];
        let bytes = as_bytes(&words);
        for at in 0..8 {
            let bytes = &bytes[at..at + 24];
            assert_eq!(as_ref::<Quote>(bytes).is_some(), at == 0, "{at}");
            assert_eq!(as_bytes(&from_bytes::<Quote>(bytes)), bytes, "{at}");
            assert!(as_ref::<[u8; 24]>(bytes).is_some(), "{at}");
        }
    }

    #[test]
    fn nothing_is_a_value_too() {
        assert!(as_bytes(&()).is_empty());
        assert_eq!(as_bytes(&Tick {}), []);
        assert_eq!(as_bytes(&[1u64; 0]), []);
        assert_eq!(as_bytes_mut(&mut Tick {}), []);
        assert_eq!(from_bytes::<Tick>(&[]), Tick {});
        assert_eq!(as_ref::<Tick>(&[]), Some(&Tick {}));
        assert_eq!(as_ref::<Tick>(&[0]), None);
    }

    #[test]
    fn nothing_is_never_a_sign_of_no_type() {
        let all = [<()>::FINGERPRINT, Tick::FINGERPRINT, <[u64; 0]>::FINGERPRINT, u8::FINGERPRINT];
        assert!(!all.contains(&0));
    }
}
