//! `cargo xtask ci`: the steps that a commit must pass, the cheap and likely ones as early as their builds allow.

use crate::process::{capture, cargo, succeed};
use crate::{book, faults, fuzz, hostile, loom, mutants, sanitize, spin, tidy, torture};
use std::path::Path;
use std::time::{Duration, Instant};

/// The benches that the smoke run must show a row of ours for.
const BENCHES: [&str; 3] = ["pingpong", "stream", "wake"];

/// Few rounds: only the exit code and the shape of the output count here, never the figures.
const SMOKE: [&str; 6] = ["run", "--", "bench", "--quick", "--rounds", "3"];

type Step = (&'static str, fn(&Path) -> Result<(), String>);

const STEPS: [Step; 19] = [
    ("test", |root| succeed(&mut cargo(root, &["test", "--workspace"]))),
    ("semaphores", semaphores),
    ("clippy", |root| {
        succeed(&mut cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    }),
    ("rustdoc", rustdoc),
    ("fmt", |root| succeed(&mut cargo(root, &["fmt", "--all", "--check"]))),
    ("tidy", tidy::run),
    ("book", book::run),
    ("loom", |root| loom::run(root, None)),
    ("mutants", |root| mutants::run(root, &["--sample", "24"])),
    ("spin", |root| spin::run(root, &[])),
    ("faults", faults::run),
    ("killstep", |root| faults::killstep(root, &["--quick"])),
    ("torture", |root| torture::run(root, &["--smoke"])),
    ("hostile", |root| hostile::run(root, &["--quick"])),
    ("sanitize", |root| sanitize::run(root, &["--quick"])),
    ("fuzz --check", |root| fuzz::run(root, &["--check"])),
    ("fuzz", |root| fuzz::run(root, &["--seconds", "30"])),
    ("bench", |root| succeed(&mut cargo(root, &SMOKE))),
    ("bench --json", bench_json),
];

/// Runs the steps in order; `skip_tests` leaves out the first.
///
/// # Errors
///
/// The first red step and why; later steps have not run.
pub(crate) fn run(root: &Path, skip_tests: bool) -> Result<(), String> {
    let mut times = Vec::new();
    let outcome = walk(&STEPS[usize::from(skip_tests)..], root, &mut times);
    println!("\n== ci");
    for (name, took) in &times {
        println!("{name:<14}{:>8.1} s", took.as_secs_f64());
    }
    outcome
}

fn walk(steps: &[Step], root: &Path, times: &mut Vec<(&'static str, Duration)>) -> Result<(), String> {
    for (name, step) in steps {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = step(root);
        let took = start.elapsed();
        times.push((name, took));
        let word = if outcome.is_ok() { "ok" } else { "RED" };
        println!("== {name}: {word}, {:.1} s", took.as_secs_f64());
        outcome.map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

/// The suite again, over the second way to wake, and with the features that are off by default: one build for both.
fn semaphores(root: &Path) -> Result<(), String> {
    let library = ["test", "-p", "annulus", "--all-features", "--tests"];
    let command = ["test", "-p", "annulus-cli", "--tests"];
    for suite in [&library[..], &command[..]] {
        succeed(cargo(root, suite).env("ANNULUS_WAKE", "semaphore"))?;
    }
    // Tasks, also where they sleep at futexes; and what the features add has examples, too.
    succeed(&mut cargo(root, &["test", "-p", "annulus", "--all-features", "--test", "asynchronous"]))?;
    for examples in ["payload", "async"] {
        succeed(&mut cargo(root, &["test", "-p", "annulus", "--all-features", "--doc", examples]))?;
    }
    Ok(())
}

/// The command and the library are both called `annulus`, and rustdoc writes a crate where its name says: so
/// the command goes first and alone, and the library's pages are what stays.
fn rustdoc(root: &Path) -> Result<(), String> {
    let doc = ["doc", "--no-deps"];
    let command = ["-p", "annulus-cli"];
    let rest = ["--workspace", "--exclude", "annulus-cli"];
    for scope in [&command[..], &rest[..]] {
        succeed(cargo(root, &doc).args(scope).env("RUSTDOCFLAGS", "-D warnings"))?;
    }
    Ok(())
}

fn bench_json(root: &Path) -> Result<(), String> {
    let out = capture(cargo(root, &SMOKE).arg("--json"))?;
    check_rows(&out)?;
    println!("{} rows", out.lines().count());
    Ok(())
}

/// Every line is a row, and each bench has at least one row of ours.
fn check_rows(out: &str) -> Result<(), String> {
    if let Some(bad) = out.lines().find(|l| !l.starts_with("{\"bench\":") || !l.ends_with('}')) {
        return Err(format!("not a row of `bench --json`: {bad}"));
    }
    for bench in BENCHES {
        let start = format!("{{\"bench\":\"{bench}\",\"system\":\"annulus\",");
        if !out.lines().any(|l| l.starts_with(&start)) {
            return Err(format!("`bench --json` has no row that begins {start}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "{\"bench\":\"pingpong\",\"system\":\"floor\",\"size\":8}
{\"bench\":\"pingpong\",\"system\":\"annulus\",\"size\":8}
{\"bench\":\"stream\",\"system\":\"annulus\",\"size\":8}
{\"bench\":\"wake\",\"system\":\"annulus\",\"size\":8}\n";

    #[test]
    fn rows_are_rows() {
        assert_eq!(check_rows(GOOD), Ok(()));
        assert!(check_rows("").is_err());
        assert!(check_rows(&format!("{GOOD}warning: 3 CPUs\n")).unwrap_err().contains("3 CPUs"));
        assert!(check_rows(&format!("{GOOD}{{\"bench\":\"wake\",\n")).is_err());
        let no_wake: String =
            GOOD.lines().filter(|l| !l.contains("wake")).map(|l| format!("{l}\n")).collect();
        assert!(check_rows(&no_wake).unwrap_err().contains("wake"));
    }

    #[test]
    fn the_first_red_step_is_the_last() {
        let steps: [Step; 3] =
            [("one", |_| Ok(())), ("two", |_| Err("broken".into())), ("three", |_| panic!("must not run"))];
        let mut times = Vec::new();
        assert_eq!(walk(&steps, Path::new("."), &mut times), Err("two: broken".into()));
        assert_eq!(times.iter().map(|t| t.0).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn skipping_the_tests_skips_only_them() {
        assert_eq!(STEPS[0].0, "test");
        assert_eq!(STEPS[1].0, "semaphores");
    }
}
