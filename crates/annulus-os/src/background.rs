//! What a process has once, and a forked child anew: a value, and a thread that no signal handler runs in.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread::{Builder, JoinHandle};

use crate::Birth;

/// A value that each process has one of. What a child has copied from its parent it never looks at: a lock in it may be held by
/// a thread that the child does not have.
#[derive(Debug)]
pub struct PerProcess<T>(AtomicPtr<(Birth, T)>);

impl<T: Default + Send + Sync> PerProcess<T> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> PerProcess<T> {
        PerProcess(AtomicPtr::new(ptr::null_mut()))
    }

    /// This process's, made at the first call. Only as good as [`fork::watch`](crate::fork::watch), as a [`Birth`] is.
    pub fn get(&'static self) -> &'static T {
        loop {
            // acquire: what the pointer leads to
            let known = self.0.load(Ordering::Acquire);
            // SAFETY: null, or from the exchange below, which leads to a value that lives for ever and that nobody has
            // exclusively.
            if let Some((birth, value)) = unsafe { known.as_ref() }
                && birth.is_here()
            {
                return value;
            }
            let fresh = Box::into_raw(Box::new((Birth::here(), T::default())));
            // release: what the pointer leads to
            let taken = self.0.compare_exchange(known, fresh, Ordering::Release, Ordering::Relaxed);
            if taken.is_err() {
                // SAFETY: from `into_raw` above, and shown to nobody.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

impl<T: Default + Send + Sync> Default for PerProcess<T> {
    fn default() -> Self {
        PerProcess::new()
    }
}

/// Starts a thread in which no handler of the program runs: all signals that come from elsewhere are blocked there. See
/// pthread_sigmask(3).
///
/// # Errors
///
/// What the system says that has no thread left: `WouldBlock`.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    /// What only the thread itself causes, and what nobody survives.
    const OWN: [libc::c_int; 6] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both are written by the first call that has them; the numbers are those of signals. The new thread begins
    // with the mask of this one, which gets its own back below.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        OWN.iter().for_each(|&signal| _ = libc::sigdelset(all.as_mut_ptr(), signal));
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let thread = Builder::new().name(name.into()).spawn(work);
    // SAFETY: written by the call above, which only fails for another first argument.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    thread
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_process_has_one() {
        static ONE: PerProcess<Mutex<u32>> = PerProcess::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| *ONE.get().lock().unwrap() += 1);
            }
        });
        assert_eq!(*ONE.get().lock().unwrap(), 8);
    }

    #[test]
    fn no_signal_of_the_program_comes_to_the_thread() {
        let blocked = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let before = blocked();
        let bit = |signal: libc::c_int| 1 << (signal - 1);
        let thread = spawn("quiet", move || {
            let mask = blocked();
            assert_eq!(mask & bit(libc::SIGTERM), bit(libc::SIGTERM));
            assert_eq!(mask & bit(libc::SIGBUS), 0);
        });
        thread.unwrap().join().unwrap();
        assert_eq!(blocked(), before);
    }
}
