//! The proof takes a struct that it did not declare, but not one with a field that it is not told of.

#[derive(Clone, Copy)]
struct Switch {
    number: u64,
    on: bool,
}

annulus::__payload_proof!(Switch { number: u64 });

fn main() {}
