//! Whether the kernel can wait for several futexes at once.
#![allow(unsafe_code)]

use std::io;
use std::ptr;

/// What is known of futex_waitv(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitMany {
    /// The kernel has it and lets this process use it.
    Offered,
    /// The kernel is older than 5.16.
    Missing,
    /// The kernel may have it, and a sandbox refuses it.
    Refused,
}

/// Asks by a call that can only fail: with no futex to wait for. See futex_waitv(2).
#[must_use]
pub fn wait_many() -> WaitMany {
    const NONE: usize = 0;
    // SAFETY: with a count of 0 the kernel reads nothing through the pointers, and refuses the call (EINVAL).
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            ptr::null::<u8>(),
            NONE,
            NONE,
            ptr::null::<u8>(),
            libc::CLOCK_MONOTONIC,
        )
    };
    match (result, io::Error::last_os_error().raw_os_error()) {
        (-1, Some(libc::EINVAL)) => WaitMany::Offered,
        (-1, Some(libc::ENOSYS)) => WaitMany::Missing,
        _ => WaitMany::Refused,
    }
}
