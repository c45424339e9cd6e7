//! `cargo xtask fuzz`: the targets of `fuzz/`, built as cargo-fuzz builds them, with no tool beside cargo and a C++
//! compiler, which the fuzzer itself is for.
//!
//! A run that executed nothing is red, and so is one whose fuzzer found something: the input is in
//! `target/fuzz/artifacts`, and the target started with that file as its argument plays it again.

use crate::process::{cargo, host, line, succeed, target};
use std::path::Path;
use std::process::{Command, Stdio};

/// The targets.
const TARGETS: [&str; 3] = ["attach", "mutate", "oracle"];
const MANIFEST: &str = "fuzz/Cargo.toml";
/// Longest input, in bytes: some dozens of operations.
const MAX_LEN: u32 = 400;
/// Seconds that one input may take before it counts as a hang: a starved machine must not look like one.
const TIMEOUT: u32 = 60;
/// Seconds in all, unless said.
const SECONDS: u64 = 30;

/// What cargo-fuzz passes, but for the tracing of comparisons: every input is a play that goes through, so there is
/// nothing to guess, and the tracing takes half of the time.
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Zsanitizer=address",
    "-Cdebug-assertions -Coverflow-checks",
    "--cfg fuzzing",
];

/// What freed memory is kept for a while in: a little is enough, and each byte costs page faults.
const ASAN: &str = "quarantine_size_mb=1:thread_local_quarantine_size_kb=64:detect_odr_violation=0";

/// How long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// In all, shared by the targets.
    Seconds(u64),
    /// For each target.
    Runs(u64),
}

/// `[TARGET] [--seconds N | --runs N]`, or `--check`.
///
/// # Errors
///
/// Arguments that mean nothing, a build that fails, a target that found something or did nothing.
pub(crate) fn run(root: &Path, args: &[&str]) -> Result<(), String> {
    if args == ["--check"] {
        return check(root);
    }
    let (targets, limit) = parse(args)?;
    let folder = target(root).join("fuzz");
    let triple = triple(root)?;
    succeed(&mut build(root, &folder, &triple))?;
    for target in &targets {
        let program = folder.join(&triple).join("release").join(target);
        let executed = fuzz(&program, &folder, target, limit, targets.len() as u64)?;
        println!("fuzz: {target}: {executed} executions");
    }
    Ok(())
}

/// rustfmt and clippy, which see only one workspace at a time.
fn check(root: &Path) -> Result<(), String> {
    succeed(&mut cargo(root, &["fmt", "--manifest-path", MANIFEST, "--check"]))?;
    let clippy = ["clippy", "--manifest-path", MANIFEST, "--all-targets", "--", "-D", "warnings"];
    // The words that a fuzzer meddles with exist only so.
    succeed(cargo(root, &clippy).env("RUSTFLAGS", "--cfg fuzzing"))
}

fn parse<'a>(args: &[&'a str]) -> Result<(Vec<&'a str>, Limit), String> {
    let (mut targets, mut limit) = (Vec::new(), Limit::Seconds(SECONDS));
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse().ok()).ok_or(format!("{arg} wants a number"));
        match *arg {
            "--seconds" => limit = Limit::Seconds(number()?),
            "--runs" => limit = Limit::Runs(number()?),
            name if TARGETS.contains(&name) => targets.push(name),
            other => return Err(format!("{other} is no target; there are {}", TARGETS.join(", "))),
        }
    }
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }
    Ok((targets, limit))
}

/// The machine's own triple. Said to cargo, so that build scripts are built without the fuzzer's flags.
fn triple(root: &Path) -> Result<String, String> {
    let mut rustc = Command::new("rustc");
    let out = crate::process::capture(rustc.arg("-vV").current_dir(root))?;
    host(&out)
}

fn build(root: &Path, folder: &Path, triple: &str) -> Command {
    let mut command = cargo(root, &["build", "--release", "--manifest-path", MANIFEST, "--bins", "--target"]);
    command
        .arg(triple)
        // AddressSanitizer and coverage are not for everybody yet; the pinned compiler has both.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS.join(" "))
        .env("CARGO_TARGET_DIR", folder);
    command
}

/// Runs one target; how many inputs it played.
fn fuzz(program: &Path, folder: &Path, target: &str, limit: Limit, sharers: u64) -> Result<u64, String> {
    let [corpus, artifacts] = ["corpus", "artifacts"].map(|name| folder.join(name).join(target));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    }
    let mut command = Command::new(program);
    command
        .arg(match limit {
            Limit::Seconds(n) => format!("-max_total_time={}", (n / sharers).max(1)),
            Limit::Runs(n) => format!("-runs={n}"),
        })
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus)
        // The target writes what it begins with itself.
        .env("ANNULUS_FUZZ_SEEDS", &corpus)
        .env("ASAN_OPTIONS", ASAN)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped());
    let out = command.spawn().and_then(std::process::Child::wait_with_output);
    let out = out.map_err(|e| format!("cannot run {}: {e}", line(&command)))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        eprintln!("{said}");
        return Err(format!("{target} found something: {} ended with {}", line(&command), out.status));
    }
    match executed(&said) {
        None | Some(0) => Err(format!("{target} executed nothing")),
        Some(n) => Ok(n),
    }
}

/// What libFuzzer's last figures say.
fn executed(said: &str) -> Option<u64> {
    said.lines().find_map(|l| l.strip_prefix("stat::number_of_executed_units:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        assert_eq!(parse(&[]), Ok((TARGETS.to_vec(), Limit::Seconds(SECONDS))));
        assert_eq!(parse(&["mutate", "--runs", "7"]), Ok((vec!["mutate"], Limit::Runs(7))));
        assert!(parse(&["nothing"]).is_err() && parse(&["--seconds"]).is_err());
    }

    #[test]
    fn a_run_without_figures_is_none() {
        assert_eq!(executed("INFO: x\nstat::number_of_executed_units: 2723\n"), Some(2723));
        assert_eq!(executed("INFO: x\n"), None);
    }

    #[test]
    fn every_target_is_a_file() {
        for target in TARGETS {
            assert!(
                crate::process::root().join(format!("fuzz/fuzz_targets/{target}.rs")).is_file(),
                "{target}"
            );
        }
    }
}
