//! `cargo xtask faults` and `cargo xtask killstep`: programs killed at each fault point, and at each instruction.

use crate::process::{cargo, succeed, target};
use std::path::Path;
use std::process::Command;

const TEST: [&str; 5] = ["test", "-p", "annulus", "--test", "faults"];
/// The seed of a short run where none is given.
const SEED: &str = "1";

/// Each program at each fault point, in a build that has them.
///
/// # Errors
///
/// A death that left something wrong, or a table of verbs that is not true.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    succeed(&mut points(root))
}

fn points(root: &Path) -> Command {
    let mut command = cargo(root, &TEST);
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command
        .args(["--", "points"])
        .env("RUSTFLAGS", format!("{flags} --cfg annulus_faults").trim_start())
        // A directory of its own, or each run would rebuild what the other flags had built.
        .env("CARGO_TARGET_DIR", target(root).join("faults"));
    command
}

/// Programs killed before each instruction, as users have it; or, if `--quick` is among the arguments, before some, as
/// the tests have it. `--seed S` says where among those to begin, `--what PROGRAM` which program alone.
///
/// # Errors
///
/// Arguments that mean nothing, and a death that left something wrong.
pub(crate) fn killstep(root: &Path, args: &[&str]) -> Result<(), String> {
    let args = arguments(args)?;
    let mut command = cargo(root, &TEST);
    if !args.contains(&"--quick") {
        command.arg("--release");
    }
    succeed(command.arg("--").args(args))
}

/// What the test's program understands.
fn arguments<'a>(args: &[&'a str]) -> Result<Vec<&'a str>, String> {
    let (mut quick, mut seed, mut what) = (false, SEED, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().copied().ok_or(format!("{arg} what?"));
        match *arg {
            "--quick" => quick = true,
            "--seed" => (quick, seed) = (true, value()?),
            "--what" => what = Some(value()?).filter(|what| *what != "all"),
            other => return Err(format!("killstep does not know {other:?}")),
        }
    }
    let mut words = vec!["step"];
    if quick {
        words.extend(["--quick", seed]);
    }
    words.extend(what);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_those_of_the_program() {
        assert_eq!(arguments(&[]), Ok(vec!["step"]));
        assert_eq!(arguments(&["--what", "all"]), Ok(vec!["step"]));
        assert_eq!(arguments(&["--quick", "--what", "join"]), Ok(vec!["step", "--quick", "1", "join"]));
        assert_eq!(arguments(&["--quick", "--seed", "7"]), Ok(vec!["step", "--quick", "7"]));
        assert!(arguments(&["--what"]).is_err() && arguments(&["send"]).is_err());
    }
}
