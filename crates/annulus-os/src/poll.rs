//! Waiting for descriptors: poll(2).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Whether a read would not block now, be it that it would fail.
#[must_use]
pub fn is_readable(file: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(file, PollFlags::IN)];
    // Without a wait it fails only for want of memory.
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Sleeps until one of `files` [is readable](is_readable), for at most `limit` (`None`: for ever). May return early for no reason.
///
/// # Errors
///
/// `ENOMEM`, or `EINVAL` for more descriptors than this process may have open.
pub fn wait_readable(files: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let mut polled: Vec<PollFd<'_>> =
        files.iter().map(|&file| PollFd::from_borrowed_fd(file, PollFlags::IN)).collect();
    // Too long to be said is longer than any machine runs.
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(&mut polled, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
