//! The bytes between two fields are never written.

annulus::payload! {
    struct Quote {
        side: u8,
        price: f64,
    }
}

fn main() {}
