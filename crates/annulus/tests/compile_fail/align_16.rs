//! Records are aligned to 8 bytes.

annulus::payload! {
    #[repr(align(16))]
    struct Lane {
        values: [f64; 2],
    }
}

fn main() {}
