//! The proof takes a struct that it did not declare, but not with a field of another type than it is told.

#[derive(Clone, Copy)]
struct Switch {
    on: bool,
}

annulus::__payload_proof!(Switch { on: u8 });

fn main() {}
