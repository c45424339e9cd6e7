//! Nobody in the other process could free the box.

annulus::payload! {
    struct Owner {
        of: Box<u64>,
    }
}

fn main() {}
