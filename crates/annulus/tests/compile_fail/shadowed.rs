//! A field is what its type is, not what the type is called.

#[allow(non_camel_case_types)]
type u32 = bool;

annulus::payload! {
    struct Switch {
        on: u32,
    }
}

fn main() {}
