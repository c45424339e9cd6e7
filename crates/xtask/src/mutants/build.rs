//! Builds the mutated copy, twice: under loom, and as it is used. Says which tests there are.
//!
//! The models' scenarios with real threads are not among them: what threads notice by chance today they may miss tomorrow,
//! and a mutation either is killed or has a row.

use super::copy::{COPIES, PROPERTIES};
use crate::process::{cargo, line};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// One test.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub(super) program: PathBuf,
    pub(super) name: String,
    /// For people: `publish_consume::every_record`.
    pub(super) title: String,
    /// Where cargo would run it.
    pub(super) folder: PathBuf,
}

/// Builds what is in `source`, with its results in `target`, cargo's own, and lists the tests.
///
/// # Errors
///
/// When cargo does not succeed.
pub(super) fn build(source: &Path, target: &Path, has_properties: bool) -> Result<Vec<Test>, String> {
    let core = source.join(COPIES).join("annulus-core");
    let mut tests = Vec::new();
    // One binary for each file; the library's own tests would touch loom's atomics outside a model.
    let models = ["test", "--release", "-p", "annulus-core", "--test", "*"];
    for program in programs(source, &target.join("loom"), &models, "--cfg loom")? {
        list(&program, &core, &mut tests)?;
    }
    let models = tests.len();
    for program in programs(source, target, &["test", "-p", "annulus-core", "--lib"], "")? {
        list(&program, &core, &mut tests)?;
    }
    if models == 0 || models == tests.len() {
        return Err("the mutated copy has no models, or no tests".into());
    }
    if has_properties {
        let properties = ["test", "-p", "annulus", "--test", PROPERTIES];
        for program in programs(source, target, &properties, "")? {
            list(&program, &source.join(COPIES).join("annulus"), &mut tests)?;
        }
    }
    Ok(tests)
}

/// Builds, and returns the test programs.
fn programs(source: &Path, target: &Path, args: &[&str], flags: &str) -> Result<Vec<PathBuf>, String> {
    let mut command = cargo(source, args);
    let own = std::env::var("RUSTFLAGS").unwrap_or_default();
    command
        .args(["--no-run", "--message-format", "json-render-diagnostics"])
        // The same flags and folders as those of the tests and models as they are: what they depend on is built once.
        .env("RUSTFLAGS", format!("{own} {flags}").trim())
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .stderr(Stdio::inherit());
    let out = command.output().map_err(|e| format!("cannot start {}: {e}", line(&command)))?;
    if !out.status.success() {
        return Err(format!("the mutated copy does not build: {} in {}", line(&command), source.display()));
    }
    let text = String::from_utf8_lossy(&out.stdout);
    Ok(text.lines().filter_map(executable).collect())
}

/// The executable in a message of cargo's, if it tells of one.
fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    Some(rest.split_once('"')?.0.into())
}

/// A program's name without cargo's hash.
fn stem(program: &Path) -> &str {
    let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.rsplit_once('-').map_or(name, |(stem, _)| stem)
}

fn list(program: &Path, folder: &Path, tests: &mut Vec<Test>) -> Result<(), String> {
    let mut command = std::process::Command::new(program);
    command.args(["--list", "--format", "terse"]).stdin(Stdio::null());
    let text = crate::process::capture(&mut command)?;
    for name in text.lines().filter_map(|line| line.strip_suffix(": test")) {
        let title = match stem(program) {
            "annulus_core" => name.to_owned(),
            file => format!("{file}::{name}"),
        };
        let (program, folder) = (program.to_owned(), folder.to_owned());
        tests.push(Test { program, name: name.to_owned(), title, folder });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cargo_says() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/deps/observe-0123","fresh":true}"#;
        assert_eq!(executable(message), Some("/t/deps/observe-0123".into()));
        assert_eq!(executable(r#"{"reason":"compiler-artifact","executable":null}"#), None);
        assert_eq!(stem(Path::new("/t/annulus_core-01ab")), "annulus_core");
    }
}
