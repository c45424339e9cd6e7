//! The bytes behind the last field are never written.

annulus::payload! {
    struct Quote {
        price: f64,
        side: u8,
    }
}

fn main() {}
