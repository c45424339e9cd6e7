//! Starting cargo: the same cargo that started us, from the workspace's root, with nothing on stdin.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The workspace's root: two levels above this crate.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).ancestors().nth(2).expect("xtask lives in crates/xtask").to_path_buf()
}

/// Where cargo puts what it builds: `target`, unless the environment says otherwise.
pub(crate) fn target(root: &Path) -> PathBuf {
    // What cargo is told is relative to where it is started.
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The machine's own target, as `rustc -vV` says it.
///
/// # Errors
///
/// It names none.
pub(crate) fn host(version: &str) -> Result<String, String> {
    let line = version.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// `cargo ARGS` in `root`, ready to start.
pub(crate) fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root).stdin(Stdio::null());
    command
}

/// Runs `command` to its end; its output goes where ours goes.
///
/// # Errors
///
/// The command line and its exit status, when it cannot be started or does not succeed.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|e| format!("cannot start {}: {e}", line(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", line(command))) }
}

/// Runs `command` and returns what it wrote to stdout; stderr goes where ours goes.
///
/// # Errors
///
/// As [`succeed`], and when the output is not UTF-8.
pub(crate) fn capture(command: &mut Command) -> Result<String, String> {
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot start {}: {e}", line(command)))?;
    if !out.status.success() {
        return Err(format!("{} ended with {}", line(command), out.status));
    }
    String::from_utf8(out.stdout).map_err(|_| format!("{} wrote something that is not UTF-8", line(command)))
}

/// The command as one would type it, for messages.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let mut words = vec![program.to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    format!("`{}`", words.join(" "))
}

/// `cargo run --release -- bench ARGS`, with its exit code.
pub(crate) fn bench(root: &Path, args: &[&str]) -> ExitCode {
    let mut command = cargo(root, &["run", "--release", "--", "bench"]);
    match command.args(args).status() {
        Ok(status) => match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) => ExitCode::from(code),
            None => ExitCode::FAILURE, // ended by a signal
        },
        Err(e) => {
            eprintln!("xtask: cannot start cargo: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_rustc_says() {
        let version = "rustc 1.90.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.90.0\n";
        assert_eq!(host(version).as_deref(), Ok("x86_64-unknown-linux-gnu"));
        assert!(host("rustc 1.90.0\n").is_err());
    }
}
