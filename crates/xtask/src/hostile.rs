//! `cargo xtask hostile`: the tests in which somebody writes what no participant would, over victims that are built with
//! AddressSanitizer. It sees an access outside of what a process has allocated; the guard pages around each mapping
//! make one outside of a ring visible, which it cannot see.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::process::{capture, cargo, succeed};

/// Modules of the library's tests whose victims these are.
const MODULES: [&str; 6] =
    ["hostile::", "procs::truncated::", "procs::refused::", "damage::", "bad_input::", "vacant::"];

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
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let host = host(&capture(Command::new(rustc).arg("-vV"))?)?;
    // Only what runs in the victims: with a target named, the flags are not those of build scripts and macros.
    let build =
        ["test", "-p", "annulus", "--test", "it", "--target", &host, "--target-dir", "target/hostile"];
    let sanitized = |args: &[&str]| {
        let mut command = cargo(root, &[&build, args].concat());
        command
            // The sanitizer's switch is not stable; the compiler is the one that builds everything else.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Zsanitizer=address")
            // Quickly built, and with every check where the code has it.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
            // What a killed child leaves is no leak; and one test is about a child that ends with SIGBUS.
            .env("ASAN_OPTIONS", "detect_leaks=0:handle_sigbus=0:allocator_may_return_null=1")
            .env("ANNULUS_HOSTILE_MILLIS", millis.to_string());
        command
    };
    let begin = Instant::now();
    succeed(&mut sanitized(&["--no-run"]))?;
    println!("== built in {:.1} s", begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    succeed(&mut sanitized(&[&["--"], &MODULES[..]].concat()))?;
    println!("== ran in {:.1} s, {millis} ms of scribbling for each case", begin.elapsed().as_secs_f64());
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

/// The machine's own target, as `rustc -vV` says it.
fn host(version: &str) -> Result<String, String> {
    let line = version.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
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

    #[test]
    fn the_host_is_what_rustc_says() {
        let version = "rustc 1.90.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.90.0\n";
        assert_eq!(host(version).as_deref(), Ok("x86_64-unknown-linux-gnu"));
        assert!(host("rustc 1.90.0\n").is_err());
    }
}
