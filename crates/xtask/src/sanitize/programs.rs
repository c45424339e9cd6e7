//! Test programs: what cargo has built, which tests a choice picks from one, and that all of those have passed.
//!
//! A choice that picks nothing is an error, and so is each word of it that picks nothing: a test that has been renamed
//! must not take itself out of a check in silence.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{capture, line};

/// A test program.
#[derive(Debug, PartialEq)]
pub(crate) struct Program {
    /// Its root file, from the workspace's root.
    source: String,
    /// The folder of its crate, where cargo would run it.
    folder: PathBuf,
    executable: PathBuf,
}

impl Program {
    /// Its root file, from the workspace's root.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether a name stands in it. What cannot be read holds none.
    pub(super) fn holds(&self, name: &str) -> bool {
        let bytes = std::fs::read(&self.executable).unwrap_or_default();
        bytes.windows(name.len()).any(|part| part == name.as_bytes())
    }
}

/// Tests of one program.
#[derive(Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// The program's root file, from the workspace's root.
    pub(crate) source: &'a str,
    /// Parts of names, each of which at least one test has; with none, all tests.
    pub(crate) only: &'static [&'static str],
    /// Parts of names of tests that are left out, although `only` would have them, and why.
    pub(crate) without: &'static [(&'static str, &'static str)],
}

impl<'a> Choice<'a> {
    pub(crate) const fn all(source: &'a str) -> Choice<'a> {
        Choice { source, only: &[], without: &[] }
    }
}

/// All tests of each program in a folder.
///
/// # Errors
///
/// None was built.
pub(crate) fn folder<'a>(programs: &'a [Program], folder: &str) -> Result<Vec<Choice<'a>>, String> {
    let sources = programs.iter().map(|program| program.source.as_str());
    let choices: Vec<_> = sources.filter(|source| source.starts_with(folder)).map(Choice::all).collect();
    if choices.is_empty() { Err(format!("cargo built no tests of {folder}")) } else { Ok(choices) }
}

/// Builds by a cargo command that ends with `test ... --no-run` and what belongs to it.
///
/// # Errors
///
/// What cargo says, and when nothing was built.
pub(crate) fn build(root: &Path, command: &mut Command) -> Result<Vec<Program>, String> {
    let out = capture(command.arg("--message-format=json-render-diagnostics"))?;
    let programs: Vec<_> = out.lines().filter_map(|artifact| program(root, artifact)).collect();
    if programs.is_empty() { Err(format!("{} built no test", line(command))) } else { Ok(programs) }
}

/// The program that one line of cargo's messages is about, if it is about one.
fn program(root: &Path, artifact: &str) -> Option<Program> {
    // What is built as a test, which is said of the profile, not what could be, which is said of the target.
    let is_test = artifact.contains("\"test\":true},\"features\"");
    if !artifact.starts_with("{\"reason\":\"compiler-artifact\"") || !is_test {
        return None;
    }
    let source = Path::new(text(artifact, "src_path")?).strip_prefix(root).ok()?;
    Some(Program {
        source: source.to_str()?.to_owned(),
        folder: Path::new(text(artifact, "manifest_path")?).parent()?.to_path_buf(),
        executable: text(artifact, "executable")?.into(),
    })
}

/// The text that follows a key. Paths with what JSON would escape are not understood, so they are not found.
fn text<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{key}\":\""))?;
    let (text, _) = rest.split_once('"')?;
    (!text.contains('\\')).then_some(text)
}

/// Runs what a choice picks, and says how many tests that were. `wrap` makes the command of the program's path: the
/// program itself, or another over it.
///
/// # Errors
///
/// A choice that picks nothing, a test that failed, and one that did not run.
pub(crate) fn run(
    programs: &[Program],
    choice: &Choice,
    wrap: impl Fn(&Path) -> Command,
) -> Result<usize, String> {
    let program = programs.iter().find(|program| program.source == choice.source);
    let program = program.ok_or_else(|| format!("cargo built no tests of {}", choice.source))?;
    let mut list = Command::new(&program.executable);
    let names = capture(list.args(["--list", "--format", "terse"]).current_dir(&program.folder))?;
    let expected = picked(&names, choice)?;

    let mut command = wrap(&program.executable);
    command.args(choice.only).current_dir(&program.folder).stdin(Stdio::null()).stdout(Stdio::piped());
    command.args(choice.without.iter().flat_map(|(name, _)| ["--skip", name]));
    let mut child = command.spawn().map_err(|e| format!("cannot start {}: {e}", line(&command)))?;
    let mut passed = 0;
    for text in BufReader::new(child.stdout.take().expect("asked for above")).lines() {
        let text = text.map_err(|e| format!("{}: {e}", line(&command)))?;
        passed += passes(&text);
        // Hundreds of tests that went well are told as a number.
        let well = ["... ok", " tests"];
        if !text.is_empty() && !well.iter().any(|end| text.ends_with(end)) {
            println!("{text}");
        }
    }
    let status = child.wait().map_err(|e| format!("{}: {e}", line(&command)))?;
    if !status.success() {
        return Err(format!("{} ended with {status}", line(&command)));
    }
    if passed != expected {
        return Err(format!("{}: {passed} tests have passed, not {expected}", line(&command)));
    }
    Ok(passed)
}

/// How many tests of a list a choice picks.
fn picked(list: &str, choice: &Choice) -> Result<usize, String> {
    let names: Vec<&str> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let chosen = |name: &&&str| choice.only.is_empty() || choice.only.iter().any(|part| name.contains(part));
    let left_out = |name: &&str| choice.without.iter().any(|(part, _)| name.contains(part));
    let words = choice.only.iter().chain(choice.without.iter().map(|(name, _)| name));
    for word in words {
        if !names.iter().any(|name| name.contains(word)) {
            return Err(format!("{} has no test that is called {word}", choice.source));
        }
    }
    match names.iter().filter(chosen).filter(|name| !left_out(name)).count() {
        0 => Err(format!("of {} no test is left to run", choice.source)),
        n => Ok(n),
    }
}

/// How many tests have passed, by the harness's last line.
fn passes(text: &str) -> usize {
    let count = text.strip_prefix("test result: ok. ").and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "a::one: test\na::two: test\nb::three: test\nb::bench: benchmark\n";

    fn choice(
        only: &'static [&'static str],
        without: &'static [(&'static str, &'static str)],
    ) -> Choice<'static> {
        Choice { source: "x.rs", only, without }
    }

    #[test]
    fn a_choice_picks_what_the_harness_would() {
        assert_eq!(picked(LIST, &choice(&[], &[])), Ok(3));
        assert_eq!(picked(LIST, &choice(&["a::"], &[])), Ok(2));
        assert_eq!(picked(LIST, &choice(&["a::", "three"], &[("two", "why")])), Ok(2));
        assert_eq!(picked(LIST, &choice(&[], &[("b::", "why")])), Ok(2));
    }

    #[test]
    fn a_word_that_picks_nothing_is_an_error() {
        for (only, without) in [
            (&["a::", "c::"][..], &[][..]),
            (&[][..], &[("four", "why")][..]),
            (&["bench"][..], &[][..]),
            (&["b::"][..], &[("three", "why")][..]),
        ] {
            assert!(picked(LIST, &choice(only, without)).is_err(), "{only:?} {without:?}");
        }
        assert!(picked("", &choice(&[], &[])).is_err());
    }

    #[test]
    fn the_last_line_counts() {
        assert_eq!(passes("test result: ok. 36 passed; 0 failed; 0 ignored"), 36);
        assert_eq!(passes("test result: FAILED. 24 passed; 1 failed"), 0);
        assert_eq!(passes("test a ... ok"), 0);
    }

    #[test]
    fn a_program_holds_its_names() {
        let here = |executable| Program { source: String::new(), folder: PathBuf::new(), executable };
        let this = here(std::env::current_exe().unwrap());
        assert!(this.holds("a_program_holds_its_names"));
        assert!(!this.holds(&"no_such_name".chars().rev().collect::<String>()));
        assert!(!here("/nonexistent".into()).holds("a"));
    }

    #[test]
    fn programs_are_found_among_the_messages() {
        let message = |test: bool, executable: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"/w/crates/a/Cargo.toml\",\"target\":{{\"kind\":[\"test\"],\
                 \"name\":\"it\",\"src_path\":\"/w/crates/a/tests/it/main.rs\",\"test\":true}},\"profile\":{{\"opt_level\":\"0\",\
                 \"test\":{test}}},\"features\":[],\"executable\":{executable},\"fresh\":true}}"
            )
        };
        let found = program(Path::new("/w"), &message(true, "\"/t/it-1\"")).unwrap();
        assert_eq!(found.source, "crates/a/tests/it/main.rs");
        assert_eq!(found.folder, Path::new("/w/crates/a"));
        assert_eq!(found.executable, Path::new("/t/it-1"));
        assert_eq!(program(Path::new("/w"), &message(false, "\"/t/it-1\"")), None);
        assert_eq!(program(Path::new("/w"), &message(true, "null")), None);
        assert_eq!(program(Path::new("/elsewhere"), &message(true, "\"/t/it-1\"")), None);
        assert_eq!(program(Path::new("/w"), "{\"reason\":\"build-finished\",\"success\":true}"), None);
    }
}
