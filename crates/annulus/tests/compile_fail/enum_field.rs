//! Most patterns of its bytes are no variant, wherever it is.

#[derive(Clone, Copy)]
#[repr(u8)]
enum Side {
    Buy,
    Sell,
}

annulus::payload! {
    struct Order {
        sides: [Side; 2],
    }
}

fn main() {
    let _ = [Side::Buy, Side::Sell];
}
