//! What is sent is `Copy`: nobody can own it twice.

struct Anything(u8);

unsafe impl annulus::Payload for Anything {
    const NAME: &'static str = "Anything";
    const FINGERPRINT: u64 = 1;
}

fn main() {
    let _ = Anything(0);
}
