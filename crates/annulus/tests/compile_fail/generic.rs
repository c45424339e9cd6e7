//! What is proved is one type, not a family.

annulus::payload! {
    struct Pair<T> {
        both: [T; 2],
    }
}

fn main() {}
