//! A field that an attribute takes out is missed.

annulus::payload! {
    struct Quote {
        price: f64,
        #[cfg(any())]
        side: u64,
    }
}

fn main() {}
