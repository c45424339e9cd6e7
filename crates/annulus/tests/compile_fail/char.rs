//! Most patterns of four bytes are no `char`.

annulus::payload! {
    struct Key {
        pressed: char,
    }
}

fn main() {}
