//! Processes by the thousand: children without exec of a process that holds no ring, which start in a fraction of a
//! millisecond, and a page of numbers that they share with it.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{Patience, Random};

/// What a child does whose work has panicked.
const PANICKED: i32 = 101;

/// A child without exec, alone in its process. Dropped, it is killed.
pub(super) struct Fork(pub(super) libc::pid_t);

impl Fork {
    /// A child that does this and ends without destructors. The caller is a role, so a process of few threads that holds
    /// no ring.
    pub(super) fn new(work: impl FnOnce()) -> Fork {
        // SAFETY: glibc's allocator may be used in the child; no other thread of a role holds a lock for long, or
        // one that the child needs. The child ends here, whatever happens.
        unsafe {
            let parent = libc::getpid();
            match libc::fork() {
                -1 => panic!("fork: {}", std::io::Error::last_os_error()),
                0 => {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    // It may have been gone before. (In a PID namespace of its own nobody is seen above the first.)
                    let now = libc::getppid();
                    if now != parent && now != 0 {
                        libc::_exit(0);
                    }
                    let code = if catch_unwind(AssertUnwindSafe(work)).is_ok() { 0 } else { PANICKED };
                    libc::_exit(code);
                }
                child => Fork(child),
            }
        }
    }

    pub(super) fn signal(&self, signal: libc::c_int) {
        // SAFETY: our own child, not waited for yet, so the number is still its own.
        assert_eq!(unsafe { libc::kill(self.0, signal) }, 0);
    }

    /// Waits until it is dead, and leaves it a zombie.
    pub(super) fn until_zombie(&self) {
        // SAFETY: all-zero is a value of this struct of integers, into which waitid writes; our own child.
        let result = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOWAIT;
            libc::waitid(libc::P_PID, self.0.cast_unsigned(), &raw mut info, options)
        };
        assert_eq!(result, 0);
    }

    /// Kills it with SIGKILL; it must not have ended in another way before.
    #[track_caller]
    pub(super) fn kill(self) {
        self.signal(libc::SIGKILL);
        let status = self.status();
        let killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
        assert!(killed, "ended with the status {status:#x} before it was killed");
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub(super) fn ends_well(self) {
        let status = self.status();
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
    }

    fn status(self) -> libc::c_int {
        let mut status = 0;
        // SAFETY: our own child, waited for only here or in `drop`; writes one int.
        assert_eq!(unsafe { libc::waitpid(self.0, &raw mut status, 0) }, self.0);
        std::mem::forget(self);
        status
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        // SAFETY: our own child, waited for only here.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// Numbers that a process shares with all children that it has from now on.
#[derive(Clone, Copy)]
pub(super) struct Board(&'static [AtomicU64]);

impl Board {
    pub(super) fn new() -> Board {
        const BYTES: usize = 4096;
        // SAFETY: a new mapping of zeros that is never unmapped, page-aligned, of as many words as are told; only ever
        // accessed as atomics.
        let words = unsafe {
            let (flags, protection) =
                (libc::MAP_SHARED | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
            let address = libc::mmap(std::ptr::null_mut(), BYTES, protection, flags, -1, 0);
            assert_ne!(address, libc::MAP_FAILED);
            std::slice::from_raw_parts(address.cast::<AtomicU64>(), BYTES / 8)
        };
        Board(words)
    }

    pub(super) fn get(&self, i: usize) -> u64 {
        self.0[i].load(Ordering::SeqCst)
    }

    pub(super) fn set(&self, i: usize, value: u64) {
        self.0[i].store(value, Ordering::SeqCst);
    }

    /// Adds one; returns what was before.
    pub(super) fn count(&self, i: usize) -> u64 {
        self.0[i].fetch_add(1, Ordering::SeqCst)
    }

    /// Waits until a number is at least so large.
    #[track_caller]
    pub(super) fn until(&self, i: usize, least: u64) {
        let mut patience = Patience::new();
        let mut looks = 0_u32;
        while self.get(i) < least {
            looks += 1;
            if looks > 200 {
                // sleep: on a busy machine one that spins or yields keeps the others from the processor for a time slice
                std::thread::sleep(Duration::from_micros(20));
                assert!(!patience.is_over(), "number {i} stays {} and never is {least}", self.get(i));
            }
        }
    }
}

/// Lets up to so many microseconds pass, and what the machine adds.
pub(super) fn a_moment(random: &mut Random, micros: u64) {
    // sleep: it is the random instant at which something is killed; whoever spun would keep that from running
    std::thread::sleep(Duration::from_micros(random.below(micros)));
}
