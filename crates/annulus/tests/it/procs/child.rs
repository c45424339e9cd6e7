//! A process in a role, and the lines that it and its parent exchange.
#![allow(unsafe_code)]

use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Instant;

use crate::support::{LONG, no_forks, until};

/// Says which role this process has, and with what words.
pub(super) const ROLE: &str = "ANNULUS_TEST_ROLE";
/// Stands before each line that is said; the test harness writes others.
const MARK: char = '@';

/// A child in a role. Dropped, it is killed.
pub(crate) struct Child {
    process: Process,
    input: Option<ChildStdin>,
    output: ChildStdout,
    heard: Vec<u8>,
}

impl Child {
    pub(crate) fn start(role: &str, words: &[&str]) -> Child {
        Child::start_with(role, words, "")
    }

    /// With this as `$ANNULUS_DIR`.
    pub(crate) fn start_with(role: &str, words: &[&str], dir: &str) -> Child {
        Child::start_prepared(role, words, |command| {
            command.env("ANNULUS_DIR", dir);
        })
    }

    /// After something was done to the command.
    pub(crate) fn start_prepared(role: &str, words: &[&str], prepare: impl FnOnce(&mut Command)) -> Child {
        let role = [&[role], words].concat().join(" ");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "procs::roles::role", "--nocapture", "--test-threads=1"]);
        command
            .env(ROLE, role)
            .env("ANNULUS_DIR", "")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        prepare(&mut command);
        // Until it has begun its own program, it holds copies of this process's descriptors.
        let alone = no_forks();
        let mut process = command.spawn().unwrap();
        drop(alone);
        let input = process.stdin.take();
        let output = process.stdout.take().unwrap();
        Child { process, input, output, heard: Vec::new() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next line that it says.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        let begin = Instant::now();
        loop {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                match line.split_once(MARK) {
                    Some((_, said)) => return said.trim_end().to_owned(),
                    None => continue,
                }
            }
            let left = LONG.saturating_sub(begin.elapsed());
            let mut poll = libc::pollfd { fd: self.output.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one `pollfd` of our own, and an open descriptor.
            let ready = unsafe { libc::poll(&raw mut poll, 1, left.as_millis() as i32) };
            assert!(ready != 0, "the child says nothing");
            let mut bytes = [0; 4096];
            let n = self.output.read(&mut bytes).unwrap();
            assert!(n > 0, "the child has ended: {:?}", self.process.wait());
            self.heard.extend_from_slice(&bytes[..n]);
        }
    }

    /// Hears exactly this.
    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line);
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: our own child, not waited for yet, so the number is still its own.
        assert_eq!(unsafe { libc::kill(self.pid().cast_signed(), signal) }, 0);
    }

    /// Kills it and does not wait for it: it is dead when this returns, and a zombie.
    pub(crate) fn kill_to_zombie(&self) {
        self.signal(libc::SIGKILL);
        self.until_zombie();
    }

    /// Waits until all its threads are dead, and leaves it a zombie. (The state that the kernel shows is that of
    /// its first thread only.)
    pub(crate) fn until_zombie(&self) {
        // SAFETY: all-zero is a value of this struct of integers, into which waitid writes; our own child.
        let result = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, self.pid(), &raw mut info, libc::WEXITED | libc::WNOWAIT)
        };
        assert_eq!(result, 0);
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until the kernel says that it is in this state.
    pub(crate) fn until_state(&self, state: char) {
        let path = format!("/proc/{}/stat", self.pid());
        until("the child is in the state", || {
            let stat = fs::read_to_string(&path).unwrap();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state))
        });
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.input = None;
        self.process.wait().unwrap()
    }

    /// That it ends well.
    #[track_caller]
    pub(crate) fn ends_well(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{status:?}, signal {:?}", status.signal());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says a line to the parent.
pub(super) fn say(line: &str) {
    // The harness's capture is left aside; one write, so that nothing comes in between.
    let _ = io::stdout().write_all(format!("{MARK}{line}\n").as_bytes());
    let _ = io::stdout().flush();
}

/// The next line from the parent; the end if it is gone.
pub(super) fn listen() -> String {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Ends with the parent.
pub(super) fn die_with_parent() {
    // SAFETY: sets an attribute of this process only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // It may have been gone before; then nobody has the other end of our input, which says so.
    let mut poll = libc::pollfd { fd: 0, events: 0, revents: 0 };
    // SAFETY: one `pollfd` of our own.
    let gone = unsafe { libc::poll(&raw mut poll, 1, 0) } == 1 && poll.revents & libc::POLLHUP != 0;
    if gone {
        std::process::exit(0);
    }
}
