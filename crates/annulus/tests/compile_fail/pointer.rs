//! A pointer means something in one process only.

annulus::payload! {
    struct Node {
        next: *const u8,
    }
}

fn main() {}
