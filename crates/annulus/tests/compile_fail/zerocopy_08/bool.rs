//! The wrapper makes nothing plain bytes.

annulus::payload! {
    struct Switch {
        on: annulus::Zerocopy<bool>,
    }
}

fn main() {}
