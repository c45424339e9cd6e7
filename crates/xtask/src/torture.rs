//! `cargo xtask torture`: rings whose producers, readers and workers are stopped and killed at random, and a checker that
//! knows what should have come. The program is the example `torture` of annulus; this builds and starts it.

use crate::process::{capture, cargo, line, succeed, target};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The seconds of a smoke run.
const SMOKE: &str = "20";
/// At most so many seconds until a sabotage is found; a run ends when it is.
const UNTIL_FOUND: &str = "8";
/// What can be done to one record on its way to the checker, and what the checker must say to it.
const SABOTAGES: [(&str, &str); 3] = [("drop", ", lost: "), ("dup", ", doubled: "), ("tear", ", torn: ")];
/// What stands before each thing that is wrong.
const RED: &str = "torture: red: ";

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish<'a> {
    smoke: bool,
    seconds: Option<&'a str>,
    seed: Option<&'a str>,
    sabotage: Option<&'a str>,
}

/// Runs it as the arguments say: `--seconds N --seed S [--sabotage HOW]`, or `--smoke`, which is what CI runs: some seconds
/// in which nothing may be wrong, and each sabotage, which must be found. The seed is that of the commit unless given.
///
/// # Errors
///
/// When something is wrong with a ring, or a sabotage is not found.
pub(crate) fn run(root: &Path, args: &[&str]) -> Result<(), String> {
    let wish = wish(args)?;
    let commit_seed = seed_of(&capture(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root))?);
    let seed = wish.seed.map_or_else(|| commit_seed.to_string(), str::to_owned);
    let program = build(root)?;
    if !wish.smoke {
        let mut command = Command::new(&program);
        command.args(["--seconds", wish.seconds.unwrap_or(SMOKE), "--seed", &seed]);
        if let Some(sabotage) = wish.sabotage {
            command.args(["--sabotage", sabotage]);
        }
        return succeed(&mut command);
    }
    succeed(Command::new(&program).args(["--seconds", SMOKE, "--seed", &seed]))?;
    SABOTAGES.iter().try_for_each(|(how, said)| {
        let mut command = Command::new(&program);
        command.args(["--seconds", UNTIL_FOUND, "--seed", &seed, "--sabotage", how]);
        let out = command.output().map_err(|error| format!("cannot start {}: {error}", line(&command)))?;
        let text = String::from_utf8_lossy(&out.stdout);
        print!("{text}");
        is_found(out.status.code(), &text, said).map_err(|why| format!("{}: {why}", line(&command)))
    })
}

/// That the run turned red, and for what was done.
fn is_found(code: Option<i32>, text: &str, said: &str) -> Result<(), String> {
    if code != Some(1) {
        return Err(format!("a sabotage must end with 1, not {code:?}"));
    }
    let mut faults = text.lines().filter(|line| line.starts_with(RED)).peekable();
    if faults.peek().is_none() || !faults.all(|fault| fault.contains(said)) {
        return Err(format!("every fault must say {said:?}, and there must be one"));
    }
    Ok(())
}

fn wish<'a>(args: &[&'a str]) -> Result<Wish<'a>, String> {
    let usage =
        || "torture [--seconds N] [--seed S] [--sabotage drop|dup|tear], or torture --smoke [--seed S]";
    let mut wish = Wish::default();
    let mut rest = args;
    loop {
        rest = match rest {
            [] => break,
            ["--smoke", rest @ ..] => {
                wish.smoke = true;
                rest
            }
            ["--seconds", seconds, rest @ ..] if seconds.parse::<u32>().is_ok() => {
                wish.seconds = Some(seconds);
                rest
            }
            ["--seed", seed, rest @ ..] if seed.parse::<u64>().is_ok() => {
                wish.seed = Some(seed);
                rest
            }
            ["--sabotage", how, rest @ ..] if SABOTAGES.iter().any(|(name, _)| name == how) => {
                wish.sabotage = Some(how);
                rest
            }
            _ => return Err(format!("usage: {}", usage())),
        };
    }
    if wish.smoke && (wish.seconds.is_some() || wish.sabotage.is_some()) {
        return Err(format!("usage: {}", usage()));
    }
    Ok(wish)
}

/// The first 60 bits of the commit's hash.
fn seed_of(hash: &str) -> u64 {
    hash.get(..15).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// Builds the program with what the tests are built with, and says where it is.
fn build(root: &Path) -> Result<PathBuf, String> {
    succeed(&mut cargo(root, &["build", "--workspace", "--example", "torture"]))?;
    Ok(target(root).join("debug/examples/torture"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let all = wish(&["--seed", "7", "--seconds", "600", "--sabotage", "tear"]).unwrap();
        assert_eq!((all.seed, all.seconds, all.sabotage), (Some("7"), Some("600"), Some("tear")));
        assert!(wish(&["--smoke", "--seed", "7"]).unwrap().smoke);
        for bad in
            [&["--seed"][..], &["--seed", "x"], &["--sabotage", "burn"], &["--smoke", "--seconds", "3"]]
        {
            assert!(wish(bad).unwrap_err().starts_with("usage"), "{bad:?}");
        }
    }

    #[test]
    fn a_seed_is_a_commits() {
        assert_eq!(seed_of("00000000000001abffffffffffffffffffffffff\n"), 0x1a);
        assert_eq!(seed_of(""), 0);
    }

    #[test]
    fn a_sabotage_is_found_for_what_it_was() {
        let red = "torture: seed 1\ntorture: red: ring 0, reader at 3, lost: 1 records before 4\n";
        assert_eq!(is_found(Some(1), red, ", lost: "), Ok(()));
        assert!(is_found(Some(1), red, ", torn: ").is_err());
        assert!(is_found(Some(1), "torture: seed 1\n", ", lost: ").is_err());
        assert!(is_found(Some(0), red, ", lost: ").is_err() && is_found(None, red, ", lost: ").is_err());
    }
}
