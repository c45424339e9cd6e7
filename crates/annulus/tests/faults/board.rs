//! A page that this process and its children share: what they have begun and done.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// Words that outlive the child that writes them.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Board {
    /// How far a child is; what each number means is the program's affair.
    stage: AtomicU64,
    /// Records that were handed to a verb that sends.
    started: AtomicU64,
    /// Records whose sending has returned.
    returned: AtomicU64,
    /// What a second child has done.
    other: AtomicU64,
    /// The point at which a child died: address and length of its name.
    point: [AtomicU64; 2],
    /// Points crossed.
    crossed: AtomicU64,
}

macro_rules! word {
    ($get:ident, $set:ident, $field:ident) => {
        pub(crate) fn $get(&self) -> u64 {
            self.$field.load(Ordering::Acquire)
        }

        pub(crate) fn $set(&self, value: u64) {
            self.$field.store(value, Ordering::Release);
        }
    };
}

impl Board {
    /// The one of this process.
    pub(crate) fn get() -> &'static Board {
        static PLACE: AtomicU64 = AtomicU64::new(0);
        if PLACE.load(Ordering::Relaxed) == 0 {
            // SAFETY: a new mapping, which is never unmapped; nothing existing is touched.
            let place = unsafe {
                let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
                libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
            };
            assert_ne!(place, libc::MAP_FAILED);
            PLACE.store(place as u64, Ordering::Relaxed);
        }
        // SAFETY: the mapping above: a page of zeros, which are a value of these atomics, aligned and there for good;
        // everybody who shares it accesses it through this type.
        unsafe { &*(PLACE.load(Ordering::Relaxed) as *const Board) }
    }

    /// As it was at first, for the next child.
    pub(crate) fn clear(&self) {
        for word in [&self.stage, &self.started, &self.returned, &self.other, &self.crossed] {
            word.store(0, Ordering::Release);
        }
        self.point[1].store(0, Ordering::Release);
    }

    word!(stage, set_stage, stage);
    word!(started, set_started, started);
    word!(returned, set_returned, returned);
    word!(other, set_other, other);

    /// Around a verb that sends so many records.
    pub(crate) fn sending<T>(&self, records: u64, send: impl FnOnce() -> T) -> T {
        self.set_started(self.returned() + records);
        let done = send();
        self.set_returned(self.started());
        done
    }

    /// Waits for the other side.
    pub(crate) fn until_stage(&self, stage: u64) {
        while self.stage() < stage {
            std::thread::yield_now();
        }
    }

    /// Leaves where a child dies.
    #[cfg_attr(not(annulus_faults), allow(dead_code))]
    pub(crate) fn dies_at(&self, point: &'static str) {
        self.point[0].store(point.as_ptr() as u64, Ordering::Relaxed);
        self.point[1].store(point.len() as u64, Ordering::Release);
    }

    /// Where a child died, if it was at a point.
    #[cfg_attr(not(annulus_faults), allow(dead_code))]
    pub(crate) fn died_at(&self) -> Option<&'static str> {
        let len = self.point[1].load(Ordering::Acquire) as usize;
        let start = self.point[0].load(Ordering::Relaxed) as *const u8;
        // SAFETY: a length that is not 0 was stored by a child of ours, a copy of this process in which every string of
        // the program is at the same address as here; there it was a `&'static str`, so it is one here.
        (len > 0).then(|| unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(start, len)) })
    }
}
