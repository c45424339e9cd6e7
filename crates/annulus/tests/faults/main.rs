//! Death at every step: small programs are killed at each fault point, and at each instruction, and what the others
//! see is checked.
//!
//! ```text
//! faults                                  a few programs, at some instructions of each
//! faults points [PROGRAM..]               each program at each fault point; only under `--cfg annulus_faults`
//! faults step [--quick SEED] [PROGRAM..]  each program at every instruction, or at some
//! ```
//!
//! One process with one thread, so that its children are copies which may do all that it may; so no test harness.

mod board;
mod cases;
mod check;
mod child;
#[path = "../it/support/intervals.rs"]
mod intervals;
#[cfg(annulus_faults)]
mod points;
#[cfg(target_arch = "x86_64")]
mod step;
#[cfg(not(target_arch = "x86_64"))]
mod step {
    /// The address of the next instruction and the breakpoints are kept elsewhere on other processors.
    pub(crate) fn run(_: &[&str], _: Option<u64>, _: u64) -> Result<(), String> {
        println!("programs are stepped on x86-64 only");
        Ok(())
    }
}
mod verbs;

use std::time::Duration;

use intervals::INTERVALS;

/// What the rings of the programs say.
const LIVENESS: Duration = Duration::from_millis(50);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] => step::run(&["send", "batch", "claim"], Some(1), 40),
        #[cfg(annulus_faults)]
        ["points", names @ ..] => points::run(names),
        #[cfg(not(annulus_faults))]
        ["points", ..] => {
            Err("there are no points without `--cfg annulus_faults`: see `cargo xtask faults`".into())
        }
        ["step", "--quick", seed, names @ ..] => match seed.parse() {
            Ok(seed) => step::run(names, Some(seed), 150),
            Err(_) => Err(format!("{seed:?} is no seed")),
        },
        ["step", names @ ..] => step::run(names, None, u64::MAX),
        // What a test harness understands, as a filter, means other tests.
        _ => Ok(()),
    };
    if let Err(why) = done {
        eprintln!("faults: {why}");
        std::process::exit(1);
    }
}
