//! Inputs to begin with, made by the code: no file of theirs is kept.

use std::path::Path;

/// How many of each length.
const EACH: u64 = 40;

/// Writes the seeds of a target into the folder that `$ANNULUS_FUZZ_SEEDS` names, which exists.
///
/// # Panics
///
/// If that cannot be done.
pub fn write_if_asked() {
    let Some(folder) = std::env::var_os("ANNULUS_FUZZ_SEEDS") else { return };
    for (i, seed) in seeds().into_iter().enumerate() {
        std::fs::write(Path::new(&folder).join(format!("seed-{i:03}")), seed)
            .expect("a folder for the seeds");
    }
}

/// Inputs of some lengths whose bytes are all over the place: each of them is a play that goes through, since every
/// input is one.
fn seeds() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        // xorshift64*: the same seeds everywhere.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    };
    let lens = [12, 60, 250, 700];
    lens.iter()
        .flat_map(|len| (0..EACH).map(|_| (0..*len).map(|_| next()).collect()).collect::<Vec<_>>())
        .collect()
}
