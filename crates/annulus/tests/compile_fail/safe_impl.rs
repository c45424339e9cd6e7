//! Who promises it without proof says `unsafe`.

#[derive(Clone, Copy)]
struct Anything(u8);

impl annulus::Payload for Anything {
    const NAME: &'static str = "Anything";
    const FINGERPRINT: u64 = 1;
}

fn main() {
    let _ = Anything(0);
}
