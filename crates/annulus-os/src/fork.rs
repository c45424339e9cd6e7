//! What a forked child must not have: its parent's locks, and its parent's handles.
//!
//! fork(2) copies descriptors, and with them the locks of their descriptions: a child that does not exec would keep
//! the locks of a parent that is dead. So the descriptors that hold locks are known here, and pthread_atfork(3) closes
//! them in the child before fork returns there. The child also learns that it is one: a [`Birth`] says whether a
//! value was made in this process.
//!
//! No handler runs in children made by vfork(2), posix_spawn(3) or a bare clone(2). Those exec, and every descriptor
//! of this library is closed by that; one that does not exec holds its parent's locks as long as it lives.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// How many forks lie between the first process and this one, as far as our handler ran in them. Written by the
/// handler only, when the process has one thread.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// The descriptors that a forked child must not have.
static KNOWN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());
/// The lock of [`KNOWN`] while a thread forks.
static FORKING: Forking = Forking(UnsafeCell::new(None));

struct Forking(UnsafeCell<Option<MutexGuard<'static, Vec<RawFd>>>>);

// SAFETY: only a thread that holds the lock of `KNOWN` touches the cell: `prepare` after it has taken the lock, and
// `parent` and `child` before they give it back, in the thread that ran `prepare` (in the child, in its only thread,
// which is that thread's copy).
unsafe impl Sync for Forking {}

/// In which process a value was made.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    forks: u32,
    pid: u32,
}

impl Birth {
    /// Here and now. Only as good as [`watch`]: who makes one has a descriptor that is known here, or calls that.
    pub fn here() -> Birth {
        Birth { forks: FORKS.load(Ordering::Relaxed), pid: crate::sys::pid() }
    }

    /// Whether this is still the process, and not a forked child: one load, for every call of a handle.
    #[inline]
    pub fn is_here(&self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }

    /// The same, also in a child in which no handler ran: a system call, for what must never be done twice.
    pub fn is_this_process(&self) -> bool {
        self.is_here() && self.pid == crate::sys::pid()
    }
}

/// Has the handlers in place.
///
/// # Errors
///
/// `OutOfMemory`.
pub fn watch() -> io::Result<()> {
    static OUTCOME: OnceLock<i32> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| {
        // SAFETY: the handlers are functions of this program, which do what a handler may: `prepare` runs before the
        // fork in an ordinary thread; `child` calls close(2) and writes memory of its own, and allocates nothing.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) }
    });
    if *outcome == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(*outcome)) }
}

fn known() -> MutexGuard<'static, Vec<RawFd>> {
    // A panic in the middle leaves the list whole: its changes are single calls.
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Before the fork: nobody opens or closes a known descriptor until it is done.
extern "C" fn prepare() {
    let list = known();
    // SAFETY: we hold the lock; see `Forking`.
    unsafe { *FORKING.0.get() = Some(list) };
}

/// After it, in the parent.
extern "C" fn parent() {
    // SAFETY: the lock that `prepare` took is ours until this value is dropped; see `Forking`.
    drop(unsafe { (*FORKING.0.get()).take() });
}

/// After it, in the child, which has one thread.
extern "C" fn child() {
    FORKS.store(FORKS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    // SAFETY: the lock that `prepare` took is ours until this value is dropped; see `Forking`.
    let Some(mut list) = (unsafe { (*FORKING.0.get()).take() }) else { return };
    for &fd in list.iter() {
        // SAFETY: the number was on the list, so a `Known` owns it, which will not close it nor lend it any more: it
        // was made before this fork.
        unsafe { libc::close(fd) };
    }
    list.clear();
}

/// A file that a forked child does not have: there it is closed, and its use is an error.
#[derive(Debug)]
pub(crate) struct Known {
    /// `None` only while it is dropped.
    file: Option<File>,
    birth: Birth,
}

impl Known {
    /// Opens a file, and knows it before any other thread can fork.
    pub(crate) fn open(open: impl FnOnce() -> io::Result<File>) -> io::Result<Known> {
        let (known, ()) = Known::open_with(|| Ok((open()?, ())))?;
        Ok(known)
    }

    /// The same, with something else that no fork may find half made.
    pub(crate) fn open_with<T>(open: impl FnOnce() -> io::Result<(File, T)>) -> io::Result<(Known, T)> {
        watch()?;
        let mut list = known();
        // First, so that the list need not grow when the file is there.
        list.reserve(1);
        let (file, more) = open()?;
        list.push(file.as_raw_fd());
        Ok((Known { file: Some(file), birth: Birth::here() }, more))
    }

    /// The file; in a forked child `EBADF`.
    pub(crate) fn file(&self) -> io::Result<&File> {
        match &self.file {
            Some(file) if self.birth.is_here() => Ok(file),
            _ => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        if !self.birth.is_here() {
            // Closed already; the number may be somebody else's by now.
            std::mem::forget(file);
            return;
        }
        let mut list = known();
        if let Some(at) = list.iter().position(|&fd| fd == file.as_raw_fd()) {
            list.swap_remove(at);
        }
        // Closed under the lock: a fork in between would have a copy that nobody closes.
        drop(file);
    }
}
