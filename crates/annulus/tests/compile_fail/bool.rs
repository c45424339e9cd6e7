//! Two of 256 patterns are a `bool`.

annulus::payload! {
    struct Switch {
        on: bool,
    }
}

fn main() {}
