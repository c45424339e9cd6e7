//! Descriptors that outlive an exec, and descriptions of one's own for files that somebody else has opened.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::Access;
use crate::place::{Seal, facts_of, is_sealed};

/// Descriptors below are those that every program has for other things: standard input, output and errors.
const STANDARD: RawFd = 3;

/// Opens a file again, whose name may be gone or which never had one: with an open file description of its own, so that
/// no [lock](crate::lock) is shared with whoever has the other. Closed on exec. Needs `/proc`, and permission as for
/// any opening of the file; that `file` itself was opened for writing does not matter. See proc_pid_fd(5).
///
/// # Errors
///
/// `NotFound` without `/proc`, also if something else is there; `PermissionDenied`; and what else open(2) reports.
pub fn reopen(file: &File, access: Access) -> io::Result<File> {
    let write = access == Access::ReadWrite;
    let again = OpenOptions::new().read(true).write(write).open(link_of(file.as_raw_fd()))?;
    let which = |file: &File| facts_of(file).map(|facts| (facts.dev, facts.ino));
    if which(&again)? != which(file)? {
        // Somebody has put something else in the place of `/proc`.
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(again)
}

fn link_of(descriptor: RawFd) -> String {
    format!("/proc/self/fd/{descriptor}")
}

/// A descriptor with a number that no program has other plans for.
///
/// # Errors
///
/// What fcntl(2) reports, `F_DUPFD_CLOEXEC`.
pub fn above_standard(file: File) -> io::Result<File> {
    if file.as_raw_fd() >= STANDARD {
        return Ok(file);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&file, STANDARD)?.into())
}

/// Lets each child of `command` have these files under the same descriptor numbers, which must be
/// [`above_standard`]. In this process they stay closed on exec, so that no other child gets them, whenever it is
/// started. Each child gets an open file description of its own, for reading or for both: it shares no lock with
/// this process or with another child of the same command.
///
/// The files stay open as long as `command` is there. Starting a child fails where it cannot open them again:
/// without `/proc`. `exec`, which starts no child, fails.
///
/// # Panics
///
/// If a number is a standard one: the child's own input or output would be in its place.
pub fn inherit(command: &mut Command, files: Vec<(File, Access)>) {
    let files: Vec<(File, CString, libc::c_int)> = files
        .into_iter()
        .map(|(file, access)| {
            let number = file.as_raw_fd();
            assert!(number >= STANDARD);
            let mode = match access {
                Access::Read => libc::O_RDONLY,
                Access::ReadWrite => libc::O_RDWR,
            };
            let path = CString::new(link_of(number)).expect("a path of digits has no zero byte");
            (file, path, mode)
        })
        .collect();
    let parent = crate::sys::pid();
    let in_the_child = move || {
        // `exec` without a fork: what is done here would stay if it failed.
        if crate::sys::pid() == parent {
            return Err(io::Error::from_raw_os_error(libc::ENOTSUP));
        }
        for (file, path, mode) in &files {
            // SAFETY: `path` is a string that ends with a zero byte, and lives.
            let again = unsafe { libc::open(path.as_ptr(), *mode | libc::O_CLOEXEC) };
            if again == -1 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: both numbers are open here: the first since just now, the second because the closure owns its
            // file, of which the fork has made a copy. What is put in that one's place is the same file; the closure
            // is of no further use in this process, which is about to become another program.
            let put = unsafe { libc::dup2(again, file.as_raw_fd()) };
            if put == -1 {
                return Err(io::Error::last_os_error());
            }
            // Closed by the exec, which may fail; the command's error then goes to the parent, and this child ends.
        }
        Ok(())
    };
    // SAFETY: between fork and exec only what is safe in a signal's handler may be done. The closure makes system calls
    // (open, dup2), reads memory that was made before, and takes no lock and no memory: `last_os_error` reads errno.
    unsafe { command.pre_exec(in_the_child) };
}

/// Why a number is not taken as a descriptor that was left to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotOurs {
    /// Nothing is open there, it is a standard one, or what is open is another file.
    Other,
    /// It is that file, but not sealed as said.
    Unsealed,
}

/// Takes a descriptor that whoever started this program has left open under this number, and makes it close on exec.
/// Only if it is the memfd of that inode number, sealed as said: then nobody else in this program can have opened it,
/// since a memfd has no name. What is refused stays as it is, open or not.
///
/// The caller takes no number twice.
///
/// # Errors
///
/// [`NotOurs`].
pub fn adopt(number: RawFd, inode: u64, seal: Seal) -> Result<File, NotOurs> {
    if number < STANDARD {
        return Err(NotOurs::Other);
    }
    // SAFETY: only a number is asked about, also if nothing is open there.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
        return Err(NotOurs::Other);
    }
    // SAFETY: it was open just now. Should a thread close it meanwhile, the next calls fail, or ask about another file,
    // and nothing is done to that.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    // A copy, closed again, so that it can be asked as a file.
    let asked = File::from(borrowed.try_clone_to_owned().map_err(|_| NotOurs::Other)?);
    if facts_of(&asked).map_err(|_| NotOurs::Other)?.ino != inode {
        return Err(NotOurs::Other);
    }
    match is_sealed(&asked, seal) {
        Ok(true) => {}
        Ok(false) => return Err(NotOurs::Unsealed),
        Err(_) => return Err(NotOurs::Other),
    }
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC).map_err(|_| NotOurs::Other)?;
    // SAFETY: the number is open, and nobody owns it: it is a sealed memfd of this inode number, which was open already
    // when this program began, and the caller takes each number once.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(number) }))
}
