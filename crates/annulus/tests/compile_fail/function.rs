//! A function is at another place in each process.

annulus::payload! {
    struct Hook {
        call: fn(),
    }
}

fn main() {}
