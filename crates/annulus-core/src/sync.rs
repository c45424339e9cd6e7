//! The one door to atomics: real ones in life, loom's under `--cfg loom`, and under `--cfg fuzzing` and in unit tests
//! those whose loads somebody may meddle with.
//!
//! Nothing else in the project names an atomic type of `core` or of loom. Orderings are named only here and
//! in [`words`](crate::words).

#![allow(clippy::disallowed_types)]

#[cfg(not(loom))]
mod imp {
    #[cfg(any(fuzzing, test))]
    pub(crate) use crate::meddle::{AtomicU32, AtomicU64};
    #[cfg(not(any(fuzzing, test)))]
    pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};
    pub(crate) use core::sync::atomic::{Ordering, compiler_fence, fence};

    /// A word that a futex waits on. Shared between processes, so never a private futex.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct FutexWord(AtomicU32);

    impl FutexWord {
        /// The atomic itself, for the verbs.
        #[inline]
        pub(crate) fn word(&self) -> &AtomicU32 {
            &self.0
        }

        /// The value as it may be now.
        pub fn glance(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }

        /// Its address, for the system call; valid for as long as `self` is.
        #[inline]
        pub fn as_ptr(&self) -> *mut u32 {
            self.0.as_ptr()
        }
    }

    /// One round of a spin loop.
    #[inline]
    pub fn relax() {
        // Nobody else runs under a fuzzer: waiting only costs time.
        #[cfg(not(fuzzing))]
        core::hint::spin_loop();
    }
}

#[cfg(loom)]
mod imp {
    use core::time::Duration;
    use loom::sync::{Condvar, Mutex};
    use std::vec::Vec;

    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    /// loom has no compiler fence. Both halves of an asymmetric fence are full fences in the models.
    pub(crate) fn compiler_fence(order: Ordering) {
        fence(order);
    }

    /// A word that a futex waits on, with the kernel's queue of sleepers beside it.
    #[derive(Debug)]
    pub struct FutexWord {
        word: AtomicU32,
        queue: Mutex<Queue>,
        woken: Condvar,
    }

    #[derive(Debug, Default)]
    struct Queue {
        /// The bit sets of those asleep; a waker empties the entry of each one it wakes.
        asleep: Vec<Option<u32>>,
    }

    impl Default for FutexWord {
        fn default() -> Self {
            FutexWord { word: AtomicU32::new(0), queue: Mutex::new(Queue::default()), woken: Condvar::new() }
        }
    }

    impl FutexWord {
        pub(crate) fn word(&self) -> &AtomicU32 {
            &self.word
        }

        /// The value as it may be now.
        pub fn glance(&self) -> u32 {
            self.word.load(Ordering::Relaxed)
        }
    }

    /// futex(2) as the kernel documents it: the comparison and the going to sleep are one step under the
    /// queue's lock; a wake takes the same lock. Deadlines never pass: a model must not be saved by one. Nor
    /// does a wait return early here; `tests/spurious_wake.rs` has that from a fellow that wakes for nothing.
    ///
    /// Those longest asleep are woken first, as the kernel does among threads of one priority, and nobody may
    /// count on it: the protocol wakes all readers, and of producers there is one.
    #[derive(Debug, Default)]
    pub struct MockFutex;

    impl crate::doorbell::Park for MockFutex {
        fn wait(&self, word: &FutexWord, seen: u32, bits: u32, _: Option<Duration>) -> bool {
            let mut queue = word.queue.lock().unwrap();
            // The kernel's read of the word is ordered by its own lock only.
            if bits == 0 || word.word.load(Ordering::Relaxed) != seen {
                return false;
            }
            let me = queue.asleep.len();
            queue.asleep.push(Some(bits));
            while queue.asleep[me].is_some() {
                queue = word.woken.wait(queue).unwrap();
            }
            // Its clock stands still.
            false
        }

        fn wake(&self, word: &FutexWord, count: u32, bits: u32) -> u32 {
            let mut queue = word.queue.lock().unwrap();
            let mut n = 0;
            for entry in &mut queue.asleep {
                if n < count && entry.is_some_and(|b| b & bits != 0) {
                    *entry = None;
                    n += 1;
                }
            }
            drop(queue);
            if n > 0 {
                word.woken.notify_all();
            }
            n
        }

        fn heavy(&self) -> bool {
            fence(Ordering::SeqCst);
            true
        }
    }

    /// One round of a spin loop: lets loom run somebody else.
    pub fn relax() {
        loom::thread::yield_now();
    }
}

#[cfg(loom)]
pub use imp::MockFutex;
pub(crate) use imp::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};
pub use imp::{FutexWord, relax};
