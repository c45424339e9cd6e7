//! A reference means something in one process only.

annulus::payload! {
    struct Line {
        text: &'static str,
    }
}

fn main() {}
