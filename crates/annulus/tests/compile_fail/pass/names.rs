//! No name of the caller's gets between.
#![no_implicit_prelude]
#![allow(dead_code, non_camel_case_types, non_snake_case, non_upper_case_globals, unused_macros)]

mod core {}
mod std {}
mod annulus_core {}
struct Clone;
struct Copy;
struct Payload;
struct Result;
struct Option;
struct Fields;
struct str;
struct u32;
struct f64;
struct value;
const price: i8 = 1;
static volume: i8 = 1;

macro_rules! payload {
    () => {};
}
macro_rules! stringify {
    () => {};
}
macro_rules! concat {
    () => {};
}
macro_rules! offset_of {
    () => {};
}
macro_rules! assert {
    () => {};
}

::annulus::payload! {
    struct Quote {
        price: i64,
        volume: u64,
        value: [u8; 8],
        Quote: i32,
        of: i32,
    }
}

mod u64_is_a_payload {
    ::annulus::payload! {
        struct Inner {
            x: i32,
        }

        pub(crate) struct u64 {
            inner: Inner,
        }

        struct Outer {
            x: u64,
        }
    }

    pub(crate) const IS: ::core::primitive::u64 = <Outer as ::annulus::Payload>::FINGERPRINT;
}

fn main() {
    let _: fn(Quote) -> ::core::primitive::u64 = |_| <Quote as ::annulus::Payload>::FINGERPRINT;
    let _ = u64_is_a_payload::IS;
}
