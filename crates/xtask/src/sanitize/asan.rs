//! The one build with AddressSanitizer, and running what it has built.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::programs::{self, Choice, Program};
use crate::process::{self, capture, cargo, line};

/// What CI has time for, and `hostile` shares: the libraries' tests with the cheap models.
const QUICK: &[&[&str]] = &[&[
    "-p",
    "annulus-core",
    "-p",
    "annulus-os",
    "-p",
    "annulus",
    "--lib",
    "--test",
    "it",
    "--test",
    "publish_consume",
    "--test",
    "sleep_wake",
]];
/// With all models, and the command. (Its packages would change those of the others' features: they are built apart.)
const EVERYTHING: &[&[&str]] = &[
    &["-p", "annulus-core", "-p", "annulus-os", "-p", "annulus", "--lib", "--test", "*"],
    &["-p", "annulus-cli", "--bins", "--test", "*"],
];

/// What every program that was built with it calls first.
const SANITIZER: &str = "__asan_init";

/// Whether leaks are looked for when a program ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Leaks {
    /// Where all processes end as programs do.
    Found,
    /// Where children are killed, traced, forbidden to make system calls, or end in the middle of something.
    Left,
}

/// Tests built with AddressSanitizer.
pub(crate) struct Sanitized {
    pub(super) programs: Vec<Program>,
    /// Where each process that is found to be wrong writes why: a child whose parent does not care how it ends, too.
    reports: PathBuf,
}

/// Builds what CI has time for, or everything.
///
/// # Errors
///
/// What cargo says.
pub(crate) fn build(root: &Path, quick: bool) -> Result<Sanitized, String> {
    let begin = Instant::now();
    // A directory of its own, or each run would rebuild what the other flags had built.
    let target = process::target(root).join("sanitized");
    let compiler = Compiler::choose(root);
    let host = process::host(&capture(compiler.tool(root, "rustc").arg("-vV"))?)?;
    let mut programs = Vec::new();
    for set in if quick { QUICK } else { EVERYTHING } {
        let mut cargo = compiler.tool(root, "cargo");
        cargo
            .args(["test", "--no-run"])
            .args(*set)
            // Only what runs in the tests: with a target named, the flags are not those of build scripts and macros.
            .args(["--target", &host, "--target-dir"])
            .arg(&target)
            .env("RUSTFLAGS", "-Zsanitizer=address")
            // Quickly built, and with every check where the code has it.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
        programs.extend(programs::build(root, &mut cargo)?);
    }
    // Flags that cargo has from elsewhere, or none at all: the tests would pass, and have been looked at by nobody.
    if let Some(program) = programs.iter().find(|program| !program.holds(SANITIZER)) {
        return Err(format!("{} was built without AddressSanitizer", program.source()));
    }
    let reports = target.join("reports");
    println!("== {} programs built in {:.1} s", programs.len(), begin.elapsed().as_secs_f64());
    Ok(Sanitized { programs, reports })
}

impl Sanitized {
    /// Runs what a choice picks, with so many milliseconds for each test that scribbles, and says how many tests that were.
    ///
    /// # Errors
    ///
    /// A test that failed or did not run, and any report of the sanitizer, whoever made it.
    pub(crate) fn run(&self, choice: &Choice, leaks: Leaks, millis: u64) -> Result<usize, String> {
        let _ = fs::remove_dir_all(&self.reports);
        // Also by a child with another user's id, whose report would be lost.
        let anybody = fs::Permissions::from_mode(0o1777);
        fs::create_dir_all(&self.reports)
            .and_then(|()| fs::set_permissions(&self.reports, anybody))
            .map_err(|e| format!("{}: {e}", self.reports.display()))?;
        let log = self.reports.join("by").display().to_string();
        let options = options(leaks, &log);
        let outcome = programs::run(&self.programs, choice, |program| {
            let mut command = Command::new(program);
            command.env("ASAN_OPTIONS", &options).env("ANNULUS_HOSTILE_MILLIS", millis.to_string());
            command
        });
        let found = reports(&self.reports)?;
        match found.as_slice() {
            [] => outcome,
            all => {
                all.iter().for_each(|report| eprintln!("{report}"));
                Err(format!("{}: {} reports of the sanitizer", choice.source, all.len()))
            }
        }
    }
}

/// What is asked of the sanitizer. One test is about a child that ends with SIGBUS; and an allocation that is too large is
/// an error that the library answers.
fn options(leaks: Leaks, log: &str) -> String {
    let leaks = u8::from(leaks == Leaks::Found);
    format!("detect_leaks={leaks}:handle_sigbus=0:allocator_may_return_null=1:log_path={log}")
}

/// What processes have written into a directory.
fn reports(dir: &Path) -> Result<Vec<String>, String> {
    let say = |e: std::io::Error| format!("{}: {e}", dir.display());
    let files = fs::read_dir(dir).map_err(say)?;
    files
        .map(|file| file.and_then(|file| fs::read(file.path())).map_err(say))
        .map(|bytes| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        .collect()
}

/// Who builds. The switch is not stable: the nightly has it, and the stable compiler if it is told to be one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Compiler {
    Nightly,
    Stable,
}

impl Compiler {
    /// The nightly if there is one, for nothing may be installed; which it is is printed.
    fn choose(root: &Path) -> Compiler {
        for compiler in [Compiler::Nightly, Compiler::Stable] {
            let mut asked = compiler.tool(root, "rustc");
            match asked.arg("-V").stderr(Stdio::null()).output() {
                Ok(out) if out.status.success() => {
                    println!("== by {}", String::from_utf8_lossy(&out.stdout).trim_end());
                    return compiler;
                }
                _ => println!("== {} does not run", line(&asked)),
            }
        }
        Compiler::Stable
    }

    fn tool(self, root: &Path, tool: &str) -> Command {
        let mut command = match (self, tool) {
            (Compiler::Nightly, _) => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", tool]);
                // Those of the cargo that started us.
                command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
                command
            }
            (Compiler::Stable, "cargo") => cargo(root, &[]),
            (Compiler::Stable, _) => Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| tool.into())),
        };
        if self == Compiler::Stable {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command.current_dir(root).stdin(Stdio::null());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaks_are_looked_for_where_that_is_asked() {
        assert!(options(Leaks::Found, "x").contains("detect_leaks=1"));
        assert!(options(Leaks::Left, "x").contains("detect_leaks=0"));
    }
}
