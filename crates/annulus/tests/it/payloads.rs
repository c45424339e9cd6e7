//! What a ring knows a type by: the same for the same struct, another for any other.

use std::collections::BTreeSet;

use annulus::Payload;

fn print<T: Payload>() -> u64 {
    T::FINGERPRINT
}

/// The fingerprint of each of several structs that are all called `Quote`.
macro_rules! prints {
    ($({ $($declaration:tt)* })*) => {[$({
        annulus::payload! { $($declaration)* }
        print::<Quote>()
    }),*]};
}

fn all_differ(prints: &[u64]) {
    let set: BTreeSet<u64> = prints.iter().copied().collect();
    assert_eq!(set.len(), prints.len(), "{prints:x?}");
    assert!(!set.contains(&0));
}

mod one {
    annulus::payload! {
        pub struct Quote {
            pub id: u64,
            pub bid: f64,
            pub ask: f64,
        }
    }
}

mod two {
    annulus::payload! {
        /// Docs, derives and visibilities are not sent.
        #[derive(Debug, PartialEq)]
        pub(crate) struct Quote {
            pub(crate) id: u64,
            bid: f64,
            ask: f64,
        }
    }
}

annulus::payload! {
    struct Nested {
        quotes: [one::Quote; 2],
        last: two::Quote,
    }

    struct NestedToo {
        quotes: [two::Quote; 2],
        last: one::Quote,
    }

    struct Bid(f64);

    struct Ask(f64);

    struct Raw {
        r#type: u8,
    }

    struct Empty {}
}

#[test]
fn the_same_struct_has_the_same_fingerprint() {
    assert_eq!(print::<one::Quote>(), print::<two::Quote>());
    assert_eq!(one::Quote::NAME, "Quote");
    assert_eq!(two::Quote::NAME, "Quote");
}

#[test]
fn every_change_of_a_struct_shows() {
    all_differ(&prints! {
        { struct Quote { id: u64, bid: f64, ask: f64 } }
        { struct Quote { id: u64, ask: f64, bid: f64 } }
        { struct Quote { id: u64, bids: f64, ask: f64 } }
        { struct Quote { id: i64, bid: f64, ask: f64 } }
        { struct Quote { id: u64, bid: u64, ask: f64 } }
        { struct Quote { id: [u32; 2], bid: f64, ask: f64 } }
        { struct Quote { id: [u64; 1], bid: f64, ask: f64 } }
        { struct Quote { id: u64, bid: f64 } }
        { struct Quote { id: u64, bid: f64, ask: f64, size: u64 } }
        { struct Quote { id: u64, bidask: [f64; 2] } }
        { struct Quote {} }
    });
}

#[test]
fn the_border_between_two_names_shows() {
    all_differ(&prints! {
        { struct Quote { ab: u8, c: u8 } }
        { struct Quote { a: u8, bc: u8 } }
        { struct Quote { abc: u8, _a: u8 } }
    });
}

#[test]
fn the_name_and_what_is_inside_show() {
    all_differ(&[print::<Bid>(), print::<Ask>(), print::<f64>(), print::<[f64; 1]>(), print::<[Bid; 1]>()]);
}

#[test]
fn the_place_of_a_field_shows() {
    all_differ(&prints! {
        { struct Quote { x: u32, y: u32 } }
        { #[repr(align(8))] struct Quote { x: u32, y: u32 } }
    });
}

#[test]
fn structs_are_known_through_those_they_hold() {
    assert_ne!(print::<Nested>(), print::<NestedToo>(), "the name is another");
    assert_eq!(print::<[one::Quote; 2]>(), print::<[two::Quote; 2]>());
    let [one, two] = prints! {
        { struct Quote { all: [Nested; 2] } }
        { struct Quote { all: [NestedToo; 2] } }
    };
    assert_ne!(one, two);
}

#[test]
fn primitives_are_all_different() {
    all_differ(&[
        print::<u8>(),
        print::<u16>(),
        print::<u32>(),
        print::<u64>(),
        print::<i8>(),
        print::<i16>(),
        print::<i32>(),
        print::<i64>(),
        print::<f32>(),
        print::<f64>(),
        print::<()>(),
        print::<Empty>(),
    ]);
}

#[test]
fn arrays_differ_by_element_and_length() {
    all_differ(&[
        print::<u8>(),
        print::<[u8; 0]>(),
        print::<[u8; 1]>(),
        print::<[u8; 6]>(),
        print::<[i8; 6]>(),
        print::<[[u8; 2]; 3]>(),
        print::<[[u8; 3]; 2]>(),
    ]);
    assert_eq!(<[u8; 0]>::NAME, "[u8; 0]");
    assert_eq!(<[[Bid; 10]; 4096]>::NAME, "[[Bid; 10]; 4096]");
}

#[test]
fn names_are_as_people_write_them() {
    assert_eq!(Raw::NAME, "Raw");
    assert_eq!(<()>::NAME, "()");
    assert_eq!(f32::NAME, "f32");
    let [raw, plain] = prints! {
        { struct Quote { r#union: u8 } }
        { struct Quote { union: u8 } }
    };
    assert_eq!(raw, plain, "`r#` is no part of a name");
}

/// Rings outlive programs: what these are today they are in the next version.
#[test]
fn fingerprints_stay() {
    assert_eq!(print::<u8>(), 0x84f1_67b9_ef35_211a);
    assert_eq!(print::<f64>(), 0x959a_b5fa_d899_5372);
    assert_eq!(print::<[u8; 4]>(), 0x51ef_0c6f_556a_0be9);
    assert_eq!(print::<Bid>(), 0x56ce_33f9_b95d_7531);
    assert_eq!(print::<one::Quote>(), 0xb7f4_ad31_436c_1c86);
}

#[cfg(feature = "zerocopy-08")]
mod zerocopy_08 {
    use annulus::{Payload, Zerocopy};
    use zerocopy::{big_endian, little_endian};

    use super::{all_differ, one, print};

    annulus::payload! {
        struct Packet {
            port: Zerocopy<big_endian::U16, 1>,
            quotes: [Zerocopy<little_endian::U32, 2>; 3],
        }
    }

    #[test]
    fn the_wrapper_is_known_by_layout_and_id() {
        all_differ(&[
            print::<u64>(),
            print::<Zerocopy<u64>>(),
            print::<Zerocopy<[u8; 8]>>(),
            print::<Zerocopy<u32>>(),
            print::<Zerocopy<u64, 1>>(),
            print::<[Zerocopy<u64>; 1]>(),
        ]);
        assert_eq!(print::<Zerocopy<u64>>(), print::<Zerocopy<f64>>(), "one layout, no ID");
        assert_eq!(<Zerocopy<big_endian::U16, 7>>::NAME, "Zerocopy<2 bytes, 7>");
    }

    #[test]
    fn the_wrapper_is_a_field_and_an_element() {
        let port = big_endian::U16::new(80).into();
        let packet = Packet { port, quotes: [little_endian::U32::new(1).into(); 3] };
        assert_eq!((packet.port.get(), packet.quotes[2].get()), (80, 1));
        assert_eq!((size_of::<Packet>(), align_of::<Packet>()), (14, 1));
        assert_eq!(Packet::NAME, "Packet");
    }

    #[test]
    fn the_feature_takes_nothing_away() {
        assert_eq!(<[one::Quote; 4]>::NAME, "[Quote; 4]");
    }
}
