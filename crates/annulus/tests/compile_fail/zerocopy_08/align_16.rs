//! zerocopy takes a `u128`; records are aligned to 8 bytes all the same.

annulus::payload! {
    struct Uuid {
        bits: annulus::Zerocopy<u128>,
    }
}

fn main() {}
