//! A `usize` is as long as the machine says.

annulus::payload! {
    struct Span {
        len: usize,
    }
}

fn main() {}
