//! valgrind's memcheck over the ordinary build of the tests: one process each, whose threads take turns.
//!
//! It sees what AddressSanitizer cannot: a branch on, or a system call with, a byte that nobody has written, and what the
//! copies do, which are assembly that no compiler instruments.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::programs::{self, Choice, Program};
use crate::process::cargo;

/// An error is one in a test that passed, too. What is lost at the end counts; what is still held then does not. Fair, or a
/// thread that spins may keep the one that it waits for from running.
const VALGRIND: [&str; 9] = [
    "--quiet",
    "--error-exitcode=99",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
    "--trace-children=no",
    // A word that begins in a buffer and ends behind it is an error, too.
    "--partial-loads-ok=no",
    "--fair-sched=yes",
    "--num-callers=25",
];

/// Tests for memcheck.
pub(crate) struct Memcheck(pub(super) Vec<Program>);

/// Builds the tests as `cargo test --workspace` does, which in CI it has done by then.
///
/// # Errors
///
/// No valgrind, and what cargo says.
pub(crate) fn build(root: &Path) -> Result<Memcheck, String> {
    let version = Command::new("valgrind").arg("--version").stdin(Stdio::null()).output();
    let version = version.map_err(|e| format!("cannot start valgrind (apt-get install valgrind): {e}"))?;
    println!("== by {}", String::from_utf8_lossy(&version.stdout).trim_end());
    let begin = Instant::now();
    let programs = programs::build(root, &mut cargo(root, &["test", "--workspace", "--no-run"]))?;
    println!("== {} programs built in {:.1} s", programs.len(), begin.elapsed().as_secs_f64());
    Ok(Memcheck(programs))
}

impl Memcheck {
    /// Runs what a choice picks, and says how many tests that were.
    ///
    /// # Errors
    ///
    /// A test that failed or did not run, and any error that memcheck finds.
    pub(crate) fn run(&self, choice: &Choice) -> Result<usize, String> {
        programs::run(&self.0, choice, |program| {
            let mut command = Command::new("valgrind");
            command.args(VALGRIND).arg(program).env("ANNULUS_HOSTILE_MILLIS", "50");
            command
        })
    }
}
