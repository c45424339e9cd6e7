//! Sleeping on a word that several processes share: futex(2).
#![allow(unsafe_code)]

use core::num::NonZeroU32;
use core::sync::atomic::AtomicU32;
use core::time::Duration;

use annulus_core::doorbell::Park;
use annulus_core::fault::point;
use annulus_core::sync::FutexWord;
use rustix::io::Errno;
use rustix::thread::futex::{Flags, Timespec, wait_bitset, wake_bitset};
use rustix::time::{ClockId, clock_gettime};

use crate::membarrier;

/// The kernel's futexes in their shared form, with a bit set for each sleeper.
///
/// A private futex is looked up by address and would never meet a sleeper in another process, so
/// `FUTEX_PRIVATE_FLAG` is never set. See futex(2), `FUTEX_WAIT_BITSET` and `FUTEX_WAKE_BITSET`.
#[derive(Debug, Default, Clone, Copy)]
pub struct Futex;

impl Park for Futex {
    /// Sleeps as futex(2) does. Returns on a wake, a signal, a changed word, a passed timeout and a kernel
    /// error alike: whoever waits looks at its own words again. Empty `bits` could never be woken: returns at
    /// once.
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool {
        let Some(bits) = NonZeroU32::new(bits) else { return false };
        let deadline = timeout.and_then(deadline_in);
        point("Futex::wait");
        // A wake, EAGAIN and EINTR all mean the same to the caller.
        wait_bitset(atomic(word), Flags::empty(), seen, deadline.as_ref(), bits) == Err(Errno::TIMEDOUT)
    }

    /// Wakes as futex(2) does, which wakes those longest asleep first. 0 for an empty `bits` or a `count` of
    /// 0.
    fn wake(&self, word: &FutexWord, count: u32, bits: u32) -> u32 {
        let Some(bits) = NonZeroU32::new(bits) else { return 0 };
        // The kernel counts after waking, so it takes 0 for 1; and it counts in an int, so it takes u32::MAX
        // for -1 and stops after one, too.
        if count == 0 {
            return 0;
        }
        point("Futex::wake");
        let count = count.min(i32::MAX.unsigned_abs());
        let woken = wake_bitset(atomic(word), Flags::empty(), count, bits).unwrap_or(0);
        u32::try_from(woken).unwrap_or(u32::MAX)
    }

    /// [`membarrier::heavy`].
    fn heavy(&self) -> bool {
        membarrier::heavy()
    }
}

/// The point in time, by `CLOCK_MONOTONIC`, which calls take that sleep for one of several reasons. One too far away to express is no
/// limit.
pub(crate) fn deadline_in(timeout: Duration) -> Option<Timespec> {
    clock_gettime(ClockId::Monotonic).checked_add(Timespec::try_from(timeout).ok()?)
}

/// The word as the type that the system call's wrapper takes.
fn atomic(word: &FutexWord) -> &AtomicU32 {
    // SAFETY: the pointer comes from a live `&FutexWord`, which is a transparent `AtomicU32`: so it is
    // aligned, valid for reads and writes for as long as the result borrows `word`, and only ever accessed
    // atomically.
    unsafe { AtomicU32::from_ptr(word.as_ptr()) }
}
