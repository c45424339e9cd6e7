//! A `u128` is aligned to 16 bytes.

annulus::payload! {
    struct Uuid {
        bits: u128,
    }
}

fn main() {}
