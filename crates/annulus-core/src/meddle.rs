//! Atomics whose every load first lets somebody change memory: what another process could do at that instant, made
//! repeatable. Exists only under `--cfg fuzzing`, which fuzzers set, and in this crate's own unit tests.
//!
//! A meddler stores through words of its own, in the same memory; the load that follows sees what it stored.

#![cfg(any(fuzzing, all(test, not(loom))))]
#![allow(clippy::disallowed_types)]

use core::cell::Cell;
use core::sync::atomic;
use std::thread_local;

pub(crate) use atomic::Ordering;

/// Told the address of a word that this thread is about to load.
pub type Meddler = fn(usize);

thread_local! {
    static MEDDLER: Cell<Option<Meddler>> = const { Cell::new(None) };
}

/// Has a meddler called before each load of a shared word by this thread, or none.
pub fn meddle(meddler: Option<Meddler>) {
    MEDDLER.set(meddler);
}

/// The meddler's own loads do not call it again.
fn before_load(address: usize) {
    if let Some(meddler) = MEDDLER.take() {
        meddler(address);
        MEDDLER.set(Some(meddler));
    }
}

macro_rules! meddled {
    ($name:ident, $int:ty) => {
        /// The atomic of the same name, with a meddler before each load.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) fn new(value: $int) -> $name {
                $name(atomic::$name::new(value))
            }

            #[inline]
            pub(crate) fn load(&self, order: Ordering) -> $int {
                before_load(core::ptr::from_ref(self).addr());
                self.0.load(order)
            }

            #[inline]
            pub(crate) fn store(&self, value: $int, order: Ordering) {
                self.0.store(value, order);
            }

            #[inline]
            pub(crate) fn swap(&self, value: $int, order: Ordering) -> $int {
                before_load(core::ptr::from_ref(self).addr());
                self.0.swap(value, order)
            }

            pub(crate) fn fetch_or(&self, value: $int, order: Ordering) -> $int {
                before_load(core::ptr::from_ref(self).addr());
                self.0.fetch_or(value, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                before_load(core::ptr::from_ref(self).addr());
                self.0.compare_exchange(current, new, success, failure)
            }
        }
    };
}

meddled!(AtomicU32, u32);
meddled!(AtomicU64, u64);

impl AtomicU32 {
    pub(crate) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        before_load(core::ptr::from_ref(self).addr());
        self.0.fetch_add(value, order)
    }

    pub(crate) fn as_ptr(&self) -> *mut u32 {
        self.0.as_ptr()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;

    use std::boxed::Box;
    use std::cell::RefCell;
    use std::thread_local;

    use super::meddle;

    type Act = Box<dyn FnMut(usize)>;

    thread_local! {
        static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
    }

    /// Forgets the meddler also when a test fails: the next one may run on this thread.
    struct Forget;

    impl Drop for Forget {
        fn drop(&mut self) {
            meddle(None);
            ACT.set(None);
        }
    }

    /// Calls `act` before each load of a shared word while `run` runs on this thread.
    pub(crate) fn meddled<R>(act: impl FnMut(usize) + 'static, run: impl FnOnce() -> R) -> R {
        let _forget = Forget;
        ACT.set(Some(Box::new(act)));
        meddle(Some(|address| {
            ACT.with_borrow_mut(|act| act.as_mut().map(|act| act(address)));
        }));
        run()
    }
}
