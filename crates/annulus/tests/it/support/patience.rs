//! How long a test waits for what must happen, and what it says when that does not.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longer than anything that goes well can take, on a machine with other things to do.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The most that one look at the clock can add to a wait: a machine that stood still in between, as a virtual one may,
/// has held up what is waited for as well.
const LOOK: Duration = Duration::from_secs(1);

/// A wait of [`LONG`].
pub(crate) struct Patience {
    looked: Instant,
    waited: Duration,
}

impl Patience {
    pub(crate) fn new() -> Patience {
        Patience { looked: Instant::now(), waited: Duration::ZERO }
    }

    /// Whether it has been long enough. To be asked at least once per [`LOOK`].
    pub(crate) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        self.waited += now.duration_since(self.looked).min(LOOK);
        self.looked = now;
        self.waited >= LONG
    }
}

/// Runs `work` in a thread and fails if it has not ended in time: a lost wake must not hang the tests.
pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    each_in_time(|_| work())
}

/// Runs `work` in a thread and fails if it has neither ended nor moved its number on in time. For many small waits, each of
/// which may be long on a slow machine, and none of which may be for ever.
pub(crate) fn each_in_time<T: Send + 'static>(work: impl FnOnce(&AtomicU64) -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let number = Arc::new(AtomicU64::new(0));
    let moved = Arc::clone(&number);
    let thread = std::thread::spawn(move || {
        let result = work(&moved);
        let _ = done.send(());
        result
    });
    let (mut patience, mut seen) = (Patience::new(), 0);
    while result.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
        let now = number.load(Ordering::Relaxed);
        if now != seen {
            (patience, seen) = (Patience::new(), now);
        }
        assert!(!patience.is_over(), "not ended within {LONG:?}, at {seen}; the threads are in\n{}", calls());
    }
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Looks until `look` says yes.
pub(crate) fn until(what: &str, mut look: impl FnMut() -> bool) {
    let mut patience = Patience::new();
    while !look() {
        assert!(!patience.is_over(), "never: {what}");
        std::thread::yield_now();
    }
}

/// The system calls that this process's threads are in, as proc(5) has them.
fn calls() -> String {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads
        .map(|thread| {
            let of = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            format!("  {} {}: {}\n", thread.file_name().display(), of("comm").trim(), of("syscall").trim())
        })
        .collect()
}
