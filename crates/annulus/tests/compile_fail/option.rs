//! `Option` has a tag, and may have padding beside it.

annulus::payload! {
    struct Limit {
        price: Option<u64>,
    }
}

fn main() {}
