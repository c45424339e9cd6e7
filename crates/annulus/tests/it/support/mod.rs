//! Directories that go away, random numbers that come again, and waits for what a test is about.
#![allow(unsafe_code)]

mod intervals;
mod patience;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use annulus::{Create, Error, FenceMode, Open, Ring, Wake};

pub(crate) use intervals::INTERVALS;
pub(crate) use patience::{LONG, Patience, each_in_time, in_time, until};

/// All ways to sleep: over each fence, by futexes, and by semaphores.
pub(crate) const WAYS: [(FenceMode, Wake); 4] = [
    (FenceMode::Asymmetric, Wake::Futex),
    (FenceMode::Symmetric, Wake::Futex),
    (FenceMode::SpinOnly, Wake::Futex),
    (FenceMode::Asymmetric, Wake::Semaphore),
];

/// A directory of rings for one test, removed with all that is in it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Dir {
        let dir = Dir::missing();
        fs::create_dir(&dir.0).unwrap();
        dir
    }

    /// The name of one that nobody has made yet.
    pub(crate) fn missing() -> Dir {
        Dir::under(Path::new("/dev/shm"))
    }

    fn under(parent: &Path) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Dir(parent.join(format!("annulus-test-{}-{n}", std::process::id())))
    }

    /// The name of one on a disk.
    pub(crate) fn missing_on_disk() -> Dir {
        Dir::under(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn create(&self, name: &str) -> Create {
        Ring::create(name).dir(&self.0)
    }

    pub(crate) fn open_or_create(&self, name: &str) -> Create {
        Ring::open_or_create(name).dir(&self.0)
    }

    pub(crate) fn open(&self, name: &str) -> Open {
        Ring::open(name).dir(&self.0)
    }

    /// All names in it, those with a dot too, sorted.
    pub(crate) fn entries(&self) -> Vec<String> {
        entries(&self.0)
    }

    /// A file of a ring.
    pub(crate) fn file(&self, ring: &str, file: &str) -> PathBuf {
        self.0.join(ring).join(file)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) fn entries(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Held while a child is being started, and by tests that a copy of their descriptors in somebody's child
/// would disturb: between fork and exec a child has them all, so for a moment it holds every lock.
pub(crate) fn no_forks() -> MutexGuard<'static, ()> {
    static FORKS: Mutex<()> = Mutex::new(());
    FORKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same numbers at every run, and said, so that a failure can be had again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        eprintln!("seed {seed:#x}");
        Random::quiet(seed)
    }

    /// Without saying the seed, which another says.
    pub(crate) fn quiet(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to one less than `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// What the record of a number and a length holds.
pub(crate) fn payload(sequence: u64, len: usize) -> Vec<u8> {
    let mut random = Random::quiet(sequence ^ 0x5eed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Whether this user may become others and mount file systems; says so if it may not.
pub(crate) fn may_do_all() -> bool {
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("NOT TESTED: needs root");
    }
    root
}

/// The kernel's number of the calling thread.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }.cast_unsigned()
}

/// Waits until a thread, of this process or another, is inside one of these system calls.
pub(crate) fn until_in_call(thread: u32, calls: &[libc::c_long]) {
    let path = format!("/proc/{thread}/syscall");
    until("the thread is in the system call", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let call = text.split(' ').next().and_then(|word| word.parse::<libc::c_long>().ok());
        call.is_some_and(|call| calls.contains(&call))
    });
}

/// Waits until a thread sleeps on a futex.
pub(crate) fn until_asleep(thread: u32) {
    until_in_call(thread, &[libc::SYS_futex]);
}

/// How often a thread, of this process or another, has gone to sleep so far; `None` once it has ended.
pub(crate) fn sleeps(thread: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    Some(line.trim().parse().unwrap())
}

/// That an error's text says what to do, not only what is wrong.
#[track_caller]
pub(crate) fn helpful(error: &Error) {
    let text = error.to_string();
    let advice = text.split_once("; ").map(|(_, advice)| advice);
    assert!(advice.is_some_and(|advice| advice.len() > 10), "does not say what to do: {text}");
}
