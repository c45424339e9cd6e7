//! An alignment of its own makes a struct longer than its fields.

annulus::payload! {
    #[repr(align(8))]
    struct Slot {
        number: u32,
    }
}

fn main() {}
