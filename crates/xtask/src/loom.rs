//! `cargo xtask loom`: every file of `crates/annulus-core/tests` under `--cfg loom`.
//!
//! A run in which no model ran is red: a filter that meets nothing, a file whose tests are all cfg'd away. So is a
//! test that passed without saying how many executions loom explored: whatever it was, it was no model.

use crate::process::{cargo, line, succeed, target};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the models live, a file for each protocol.
pub(crate) const MODELS: &str = "crates/annulus-core/tests";

/// What a file's run has shown.
#[derive(Debug, Default)]
struct Ran {
    file: String,
    /// Tests that passed.
    passed: u64,
    /// Executions of each model, by its name; several explorations under one name are added up.
    explored: BTreeMap<String, u64>,
}

/// Runs the models whose names contain `filter`, or all of them.
///
/// # Errors
///
/// A model that failed, a model file in which nothing ran (without a filter), or no model at all.
pub(crate) fn run(root: &Path, filter: Option<&str>) -> Result<(), String> {
    let files = models(&root.join(MODELS));
    if files.is_empty() {
        return Err(format!("{MODELS} holds no model; a model is a .rs file there"));
    }
    // All at once: linking one after the other would leave processors idle.
    let mut build = command(root, &files);
    succeed(build.arg("--no-run"))?;
    let mut ran = Vec::new();
    for file in files {
        let mut command = command(root, std::slice::from_ref(&file));
        if let Some(filter) = filter {
            command.arg(filter);
        }
        // What a passing test prints, libtest keeps to itself unless it is asked.
        command.args(["--", "--show-output"]);
        let mut one = Ran { file, ..Ran::default() };
        if !one.read(&mut command)? {
            return Err(format!("a model of {}.rs failed: {}", one.file, line(&command)));
        }
        ran.push(one);
    }
    verdict(&ran, filter)
}

/// The names of the test targets, sorted.
fn models(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|x| x == "rs"))
        .filter_map(|p| p.file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Test targets under loom. Only those: unit tests would touch loom's atomics outside a model.
fn command(root: &Path, files: &[String]) -> Command {
    let mut command = cargo(root, &["test", "--release", "-p", "annulus-core"]);
    command.args(files.iter().flat_map(|file| ["--test", file]));
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let preemptions = std::env::var_os("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|| "3".into());
    command
        .env("RUSTFLAGS", format!("{flags} --cfg loom").trim_start())
        // A directory of its own, or each run would rebuild what the other flags had built.
        .env("CARGO_TARGET_DIR", target(root).join("loom"))
        .env("LOOM_MAX_PREEMPTIONS", preemptions)
        // Only mutated code is let off its floors.
        .env_remove("ANNULUS_MODEL_FLOORS")
        // A model is run, not measured: linking in parallel is worth more than the last per cent.
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    command
}

impl Ran {
    /// Runs `command`, passing on its output; whether it succeeded.
    fn read(&mut self, command: &mut Command) -> Result<bool, String> {
        let cannot = |e| format!("cannot run cargo test: {e}");
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(cannot)?;
        let stdout = child.stdout.take().ok_or("cargo test has no stdout")?;
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(cannot)?;
            self.take(&line);
            // The names once more, as headings of what they printed.
            if !line.is_empty()
                && !line.starts_with("----")
                && !line.starts_with("    ")
                && line != "successes:"
            {
                println!("{line}");
            }
        }
        Ok(child.wait().map_err(cannot)?.success())
    }

    fn take(&mut self, line: &str) {
        self.passed += count(line).unwrap_or(0);
        if let Some((name, executions)) = explored(line) {
            *self.explored.entry(name.to_owned()).or_default() += executions;
        }
    }
}

/// `explored 12 executions of wrap` is `wrap`, 12.
fn explored(line: &str) -> Option<(&str, u64)> {
    let (executions, name) = line.strip_prefix("explored ")?.split_once(" executions of ")?;
    Some((name, executions.parse().ok()?))
}

/// `test result: ok. 3 passed; 0 failed; ..` is 3.
fn count(line: &str) -> Option<u64> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    rest.split_once(" passed")?.0.parse().ok()
}

fn verdict(ran: &[Ran], filter: Option<&str>) -> Result<(), String> {
    for Ran { file, passed, explored } in ran {
        let models = explored.len() as u64;
        if models < *passed {
            return Err(format!(
                "{MODELS}/{file}.rs: {passed} tests passed and {models} said what they explored; run each in `model`"
            ));
        }
    }
    let sum: u64 = ran.iter().map(|r| r.passed).sum();
    if let Some(filter) = filter {
        return if sum > 0 { Ok(()) } else { Err(format!("no model's name contains {filter:?}")) };
    }
    if let Some(Ran { file, .. }) = ran.iter().find(|r| r.passed == 0) {
        return Err(format!(
            "{MODELS}/{file}.rs: no model ran; is its test under `#[cfg(loom)]` or ignored?"
        ));
    }
    let executions: u64 = ran.iter().flat_map(|r| r.explored.values()).sum();
    println!("loom: {sum} models in {} files, {executions} executions", ran.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_passed() {
        let line =
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(count(line), Some(12));
        assert_eq!(count("test result: FAILED. 1 passed; 2 failed;"), Some(1));
        assert_eq!(count("test wrap ... ok"), None);
    }

    /// A file with so many models.
    fn all_said(models: u64) -> Ran {
        let mut ran = Ran { file: format!("f{models}"), ..Ran::default() };
        ran.take(&format!("test result: ok. {models} passed; 0 failed;"));
        for i in 0..models {
            ran.take(&format!("explored 12 executions of m{i}"));
        }
        ran
    }

    #[test]
    fn a_test_that_explored_nothing_is_red() {
        let mut ran = all_said(2);
        ran.take("explored 3 executions of m0");
        assert_eq!(ran.explored["m0"], 15);
        assert!(verdict(&[all_said(1)], None).is_ok());
        ran.passed += 1;
        assert!(verdict(&[ran], None).unwrap_err().contains("3 tests passed and 2"));
        assert_eq!(explored("explored x executions of m"), None);
    }

    #[test]
    fn a_file_without_a_model_is_red() {
        let ran = |counts: &[u64]| counts.iter().map(|n| all_said(*n)).collect::<Vec<_>>();
        assert!(verdict(&ran(&[2, 1]), None).is_ok());
        assert!(verdict(&ran(&[2, 0]), None).unwrap_err().contains("f0.rs"));
        assert!(verdict(&ran(&[2, 0]), Some("wrap")).is_ok());
        assert!(verdict(&ran(&[0, 0]), Some("wrap")).unwrap_err().contains("wrap"));
    }

    #[test]
    fn no_directory_is_no_model() {
        assert!(models(Path::new("/nonexistent")).is_empty());
    }
}
