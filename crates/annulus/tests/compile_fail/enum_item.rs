//! Most patterns of its bytes are no variant.

annulus::payload! {
    #[repr(u8)]
    enum Side {
        Buy,
        Sell,
    }
}

fn main() {}
