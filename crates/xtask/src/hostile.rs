//! `cargo xtask hostile`: the tests in which somebody writes what no participant would, over victims that are built with
//! AddressSanitizer. It sees an access outside of what a process has allocated; the guard pages around each mapping
//! make one outside of a ring visible, which it cannot see.

use std::path::Path;
use std::time::Instant;

use crate::sanitize::{self, Choice, Leaks};

/// The tests whose victims these are.
const VICTIMS: Choice<'static> = Choice {
    source: sanitize::API,
    only: &["hostile::", "procs::truncated::", "procs::refused::", "damage::", "bad_input::", "vacant::"],
    without: &[],
};

/// Milliseconds of scribbling for each case, in CI.
const QUICK: u64 = 300;
/// The same for whoever asks without a number.
const SECONDS: u64 = 5;

/// Builds and runs them. The words are `--quick`, or `--seconds N` of scribbling for each case; with neither, five.
///
/// # Errors
///
/// What cargo says, and words that are not known.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    let millis = millis(words)?;
    let victims = sanitize::build(root, true)?;
    let begin = Instant::now();
    // Some of the victims are killed.
    let tests = victims.run(&VICTIMS, Leaks::Left, millis)?;
    let took = begin.elapsed().as_secs_f64();
    println!("== {tests} tests ran in {took:.1} s, {millis} ms of scribbling for each case");
    Ok(())
}

fn millis(words: &[&str]) -> Result<u64, String> {
    match words {
        [] => Ok(SECONDS * 1000),
        ["--quick"] => Ok(QUICK),
        ["--seconds", n] => match n.parse::<u64>() {
            Ok(n @ 1..=86_400) => Ok(n * 1000),
            _ => Err(format!("--seconds takes 1 to 86400, not {n}")),
        },
        _ => Err("usage: cargo xtask hostile [--quick | --seconds N]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(millis(&[]), Ok(5000));
        assert_eq!(millis(&["--quick"]), Ok(QUICK));
        assert_eq!(millis(&["--seconds", "60"]), Ok(60_000));
        for bad in [&["--seconds"][..], &["--seconds", "0"], &["--seconds", "x"], &["quick"]] {
            assert!(millis(bad).is_err(), "{bad:?}");
        }
    }
}
