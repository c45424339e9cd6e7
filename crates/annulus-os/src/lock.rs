//! Open-file-description locks: one byte each, dropped by the kernel at the instant the last descriptor of
//! their description is closed, so at the latest when the last process that has one dies. fcntl(2),
//! `F_OFD_SETLK`.
//!
//! A lock belongs to the *open file description*, that is to one open(2), and not to a process or a thread:
//! * two openings of one file conflict even inside one process;
//! * a duplicate, a descriptor passed over a socket, and one inherited over fork are the *same* owner. As long as
//!   one of them is open anywhere, the lock lives, and as long as a mapping of it is: mmap(2) keeps the description,
//!   and a forked child has the mapping. Never pass a lock descriptor on, and map through another. What takes a lock is a
//!   [`LockFile`], which a forked child has not;
//! * no pid is involved, so locks work across PID namespaces.
//!
//! Nothing here waits. A byte need not exist in the file: locks may lie beyond its end.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use annulus_core::fault::point;

use crate::fork::Known;

/// A file opened to hold locks. Its descriptor is closed in a forked child, where every use of it is `EBADF`; so no
/// child keeps a lock of a parent that is dead.
#[derive(Debug)]
pub struct LockFile(Known);

impl LockFile {
    /// Opens it. `open` is called while this process cannot fork, and must not itself fork or make another of these.
    ///
    /// # Errors
    ///
    /// Those of `open`, and `OutOfMemory`.
    pub fn open(open: impl FnOnce() -> io::Result<File>) -> io::Result<LockFile> {
        Known::open(open).map(LockFile)
    }

    /// The file, for what needs no lock.
    ///
    /// # Errors
    ///
    /// `EBADF` in a forked child.
    pub fn file(&self) -> io::Result<&File> {
        self.0.file()
    }
}

/// Takes the write lock of `byte` (0 to `i64::MAX`), unless somebody else holds any lock on it. `true` if it
/// is ours now, also if it was before; a read lock of our own is upgraded.
///
/// # Errors
///
/// `InvalidInput` for a byte out of range, `EBADF` if `file` is not open for writing, `ENOLCK` if the kernel
/// is out of locks.
pub fn try_lock(file: &LockFile, byte: u64) -> io::Result<bool> {
    point("lock::try_lock");
    try_set(file, libc::F_WRLCK, byte)
}

/// Takes a read lock of `byte` (0 to `i64::MAX`), unless somebody else holds its write lock. `true` if it is
/// ours now; a write lock of our own becomes a read lock without ever being free in between.
///
/// # Errors
///
/// `InvalidInput` for a byte out of range, `EBADF` if `file` is not open for reading, `ENOLCK` if the kernel
/// is out of locks.
pub fn try_lock_shared(file: &LockFile, byte: u64) -> io::Result<bool> {
    point("lock::try_lock_shared");
    try_set(file, libc::F_RDLCK, byte)
}

/// Drops whatever lock this description holds on `byte`; fine if there is none.
///
/// # Errors
///
/// `InvalidInput` for a byte out of range.
pub fn unlock(file: &LockFile, byte: u64) -> io::Result<()> {
    point("lock::unlock");
    try_set(file, libc::F_UNLCK, byte).map(drop)
}

/// Whether some *other* description holds the write lock of `byte`. Our own locks are not seen, and neither
/// is anybody's read lock, so a stranger with read permission cannot look like a holder. `file` may be open
/// for reading only. May be stale by the time you look: the holder may be gone, or a new one there.
///
/// # Errors
///
/// `InvalidInput` for a byte out of range.
pub fn is_write_locked(file: &File, byte: u64) -> io::Result<bool> {
    // "Could I have a read lock?" Only a write lock says no.
    let mut lock = request(libc::F_RDLCK, byte)?;
    control(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(i32::from(lock.l_type) == libc::F_WRLCK)
}

/// Whether some *other* description holds any lock of `byte`: a write lock, or a read lock. Our own locks are not seen. May be
/// stale by the time you look.
///
/// # Errors
///
/// `InvalidInput` for a byte out of range.
pub fn is_locked(file: &File, byte: u64) -> io::Result<bool> {
    // "Could I have a write lock?"
    let mut lock = request(libc::F_WRLCK, byte)?;
    control(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Whether a failure of the above says that there are no such locks here at all: in a kernel before Linux 3.15 or one
/// that is made up (as gVisor's), on some file systems, or in a sandbox.
#[must_use]
pub fn is_refused(error: &io::Error) -> bool {
    let refusals = [libc::EINVAL, libc::ENOSYS, libc::EPERM, libc::EACCES, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|error| refusals.contains(&error))
}

fn try_set(file: &LockFile, kind: libc::c_int, byte: u64) -> io::Result<bool> {
    let mut lock = request(kind, byte)?;
    match control(file.file()?, libc::F_OFD_SETLK, &mut lock) {
        Ok(()) => Ok(true),
        // Held by another: POSIX allows both errors.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// One byte, counted from the start of the file. The pid must be 0 for these commands.
fn request(kind: libc::c_int, byte: u64) -> io::Result<libc::flock> {
    let start = i64::try_from(byte)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "lock byte beyond the largest file"))?;
    Ok(libc::flock {
        // 0, 1 and 2: they fit.
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: 1,
        l_pid: 0,
    })
}

fn control(file: &File, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed. Both commands take a pointer to one
    // `flock`, which the kernel reads, and for F_OFD_GETLK writes; `lock` is a whole one, borrowed
    // exclusively.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
