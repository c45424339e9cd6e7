//! The caller may forbid unsafe code, and every warning.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unused, unreachable_pub, missing_debug_implementations)]
#![deny(future_incompatible, nonstandard_style, rust_2018_idioms, unused_qualifications)]

annulus::payload! {
    /// A price.
    #[derive(Debug)]
    pub(crate) struct Price(pub(crate) i64);

    /// A quote.
    #[derive(Debug)]
    pub(crate) struct Quote {
        /// What is paid.
        pub(crate) bid: Price,
        /// What is asked.
        pub(crate) ask: Price,
    }
}

fn main() {
    annulus::payload! {
        #[derive(Debug)]
        struct Local {
            price: Price,
        }
    }
    let local = Local { price: Price(1) };
    assert_eq!(local.price.0, 1);
    let quote = Quote { bid: Price(1), ask: Price(2) };
    assert!(quote.bid.0 < quote.ask.0);
}
