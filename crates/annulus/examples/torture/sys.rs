//! What the standard library has no call for: signals to others, and what happens when the starter dies.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Child;
use std::time::Duration;

/// What can be sent to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Stop,
    Continue,
    Kill,
}

/// The number of the signal that kills.
pub(crate) const KILL: i32 = libc::SIGKILL;

/// Sends a signal to a child that has not been waited for, so that the number is still its own.
pub(crate) fn send(child: &Child, signal: Signal) {
    let number = match signal {
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
        Signal::Kill => libc::SIGKILL,
    };
    // SAFETY: kill(2) takes two numbers and touches no memory of ours. The pid is that of a child which the caller
    // has not waited for, so no other process can have it.
    let result = unsafe { libc::kill(child.id().cast_signed(), number) };
    assert_eq!(result, 0, "a child that was not waited for can be signalled");
}

/// Ends this process when the one that started it ends, however that ends.
pub(crate) fn die_with_parent(parent: Option<u32>) -> Result<(), String> {
    let signal = if parent.is_some() { libc::SIGKILL } else { libc::SIGTERM };
    // SAFETY: PR_SET_PDEATHSIG takes one number and touches no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
    if result != 0 {
        return Err(format!("prctl: {}", io::Error::last_os_error()));
    }
    // It may have died before the call.
    match parent {
        Some(parent) if std::os::unix::process::parent_id() != parent => Err("the conductor is gone".into()),
        _ => Ok(()),
    }
}

/// The signals that ask a program to end, held back so that they are found by [`sleep_unless_asked_to_end`].
fn ends() -> libc::sigset_t {
    // SAFETY: a `sigset_t` is plain integers, for which all-zero is a value; the calls then write only into it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// From now on the signals that would end this process wait until it asks. A child that it starts has none of that: the
/// standard library gives every child an empty mask.
pub(crate) fn hold_ends_back() {
    let set = ends();
    // SAFETY: `set` is an initialised set of our own, and the old mask is not asked for.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    assert_eq!(result, 0, "SIG_BLOCK with a set of valid signals does not fail");
}

/// Sleeps for a time; `true` if it was asked to end meanwhile.
pub(crate) fn sleep_unless_asked_to_end(time: Duration) -> bool {
    let set = ends();
    let time =
        libc::timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: i64::from(time.subsec_nanos()) };
    // SAFETY: both point to initialised values of our own that outlive the call; no siginfo is asked for.
    let signal = unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const time) };
    signal > 0
}

/// Whether any child of this process is left, running or a zombie.
pub(crate) fn has_children() -> bool {
    // SAFETY: all-zero is a value of this struct of integers, into which waitid writes. WNOWAIT leaves a child as it is.
    let result = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    };
    result == 0
}

/// Takes a lock that goes with the process; `false` if another has it.
pub(crate) fn try_lock(file: &File) -> bool {
    // SAFETY: flock(2) on an open descriptor touches no memory.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}
