//! What the tests have in common: a directory of rings, the program, and waiting for what one sees of it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus::{Info, Ring};
use rustix::process::{Pid, Signal, kill_process};

/// More than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of rings, of one test. Dropping it removes it.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("/dev/shm/annulus-cli-test-{}-{count}", std::process::id()).into())
    }

    /// The same, there already: where a reader that waits can watch it.
    pub(crate) fn made() -> Self {
        let place = Self::new();
        std::fs::DirBuilder::new().mode(0o700).create(&place.0).unwrap();
        place
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The program with some arguments, in this directory, with all of its streams piped.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let command = self.command(args).spawn().unwrap();
        Running(command)
    }

    /// A program that will be started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annulus"));
        command.args(args).env("ANNULUS_DIR", &self.0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program without input to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let mut running = self.start(args);
        drop(running.stdin());
        running.end()
    }

    /// Runs the program with some input to its end, which has to be well.
    pub(crate) fn publish(&self, args: &[&str], input: &str) {
        let mut publisher = self.start(args);
        feed(&mut publisher, input.as_bytes().to_vec());
        let ended = publisher.end();
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    }

    pub(crate) fn info(&self, ring: &str) -> Option<Info> {
        match Ring::open(ring).dir(&self.0).info() {
            Ok(info) => Some(info),
            Err(error) if error.is_not_found() => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until a ring is as it should be.
    pub(crate) fn until(&self, ring: &str, what: impl Fn(&Info) -> bool) -> Info {
        let mut found = None;
        until(|| {
            found = self.info(ring).filter(|info| what(info));
            found.is_some()
        });
        found.unwrap()
    }

    /// The names of all that is in the directory, also of what is no ring.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // most tests leave nothing to remove
    }
}

/// Waits until something is so.
pub(crate) fn until(mut what: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < deadline, "it did not come to be");
        // sleep: what is waited for is another process's doing, which tells nobody
        thread::sleep(Duration::from_millis(2));
    }
}

/// A program that runs. Dropping it ends it.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Waits until it watches a directory for a ring to appear.
    pub(crate) fn until_it_watches(&self) {
        let fds = format!("/proc/{}/fd", self.0.id());
        until(|| {
            let links = std::fs::read_dir(&fds).into_iter().flatten().flatten();
            links
                .filter_map(|fd| std::fs::read_link(fd.path()).ok())
                .any(|to| to.ends_with("anon_inode:inotify"))
        });
    }

    /// Waits until it listens for SIGINT.
    pub(crate) fn until_it_listens(&self) {
        let status = format!("/proc/{}/status", self.0.id());
        until(|| {
            let status = std::fs::read_to_string(&status).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (Signal::INT.as_raw() - 1)) != 0
        });
    }
}

/// A program that has ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Running {
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.0.stdin.take().unwrap()
    }

    pub(crate) fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        // Both streams are read while it runs, or it would wait for a reader.
        let out = self.0.stdout.take().map(|out| thread::spawn(move || rest(out)));
        let err = self.0.stderr.take().map(|err| thread::spawn(move || rest(err)));
        let mut status = None;
        until(|| {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        let join =
            |stream: Option<thread::JoinHandle<_>>| stream.map(|s| s.join().unwrap()).unwrap_or_default();
        let err = String::from_utf8(join(err)).unwrap();
        Ended { code: status.unwrap().code(), out: join(out), err }
    }
}

fn rest(mut from: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ended {
    /// Its output, as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }
}

/// Writes bytes into a program in a thread, and closes its input.
pub(crate) fn feed(running: &mut Running, bytes: Vec<u8>) -> thread::JoinHandle<std::io::Result<()>> {
    let mut stdin = running.stdin();
    thread::spawn(move || stdin.write_all(&bytes))
}

/// The next line of a program's output.
pub(crate) fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line
}
