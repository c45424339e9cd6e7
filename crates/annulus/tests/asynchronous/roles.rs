//! Other processes: this binary, started again in a role.
#![allow(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use annulus::Ring;

use crate::support::no_forks;

const ROLE: &str = "ANNULUS_ASYNC_ROLE";

/// A child in a role, and what it says. Dropped, it is killed.
pub(crate) struct Other(pub(crate) Child, BufReader<ChildStdout>);

impl Other {
    pub(crate) fn start(role: &str, dir: &str) -> Other {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "roles::role", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, format!("{role} {dir}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let alone = no_forks();
        let mut child = command.spawn().unwrap();
        drop(alone);
        let output = BufReader::new(child.stdout.take().unwrap());
        Other(child, output)
    }

    /// Waits until it says exactly this.
    pub(crate) fn expect(&mut self, line: &str) {
        let mut heard = String::new();
        while self.1.read_line(&mut heard).unwrap() > 0 {
            if heard.trim_end().ends_with(&format!("@{line}")) {
                return;
            }
            heard.clear();
        }
        panic!("it ended before it said {line}: {:?}", self.0.wait());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn say(line: &str) {
    println!("@{line}");
    std::io::stdout().flush().unwrap();
}

/// Not a test: what this binary does when a test has started it again in a role. Without one it does nothing.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // SAFETY: prctl with this option takes a number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let (role, dir) = role.split_once(' ').unwrap();
    match role {
        "hold" => {
            let ring = Ring::create("r").dir(dir).max_subscribers(200);
            let _tx = ring.producer().unwrap();
            say("ready");
            loop {
                std::thread::park();
            }
        }
        "fork" => crate::fork::with_both(dir),
        work if work.starts_with("work-") => crate::groups::work(dir, &work["work-".len()..]),
        refused if refused.starts_with("refused-") => crate::refused::run(refused, dir),
        other => panic!("no role {other}"),
    }
}
