//! Who is alive. The kernel answers: it drops a lock at the instant its holder dies, in any PID namespace.
//! A timeout would prove slowness, never death, and a pid proves nothing.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::time::{Duration, Instant};

use annulus_core::layout::{ProducerPage, lock_byte};
use annulus_core::slots::{self, SlotLocks};
use annulus_os::{LockFile, lock};

use crate::bells::RoomBell;
use crate::error::RecvError;
use crate::memory::Memory;
use crate::registry::Name;
use crate::whereabouts::{Sign, Whereabouts};

/// Asks at most once per liveness interval.
#[derive(Debug)]
pub(crate) struct Rate {
    interval: Duration,
    last: Cell<Option<Instant>>,
}

impl Rate {
    pub(crate) fn new(interval: Duration) -> Rate {
        Rate { interval, last: Cell::new(None) }
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// It is time now, however short ago the last asking was.
    pub(crate) fn forget(&self) {
        self.last.set(None);
    }

    /// How long until it is time again.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        let since = self.last.get().map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.interval.saturating_sub(since)
    }

    /// Whether it is time, counting this as the asking.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let due = self.last.get().is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if due {
            self.last.set(Some(now));
        }
        due
    }
}

/// The epoch of a ring that has had no producer yet: nobody lives, and nobody has died.
pub(crate) const VACANT: u64 = 0;

/// A reader's view of its producer's life.
#[derive(Debug)]
pub(crate) struct Life {
    checking: Rate,
    /// Whether the reader outlives its producer.
    stay: bool,
    whereabouts: Whereabouts,
    epoch: Cell<u64>,
    sign: RefCell<Sign>,
    /// Polls that found nothing.
    polls: Cell<u32>,
}

/// A reader that polls looks at the clock once in so many empty polls.
pub(crate) const POLLS: u32 = 64;

impl Life {
    /// Watches the producer of a ring, asking the kernel at most once per `interval`.
    pub(crate) fn new(whereabouts: Whereabouts, epoch: u64, interval: Duration, stay: bool) -> Life {
        let sign = RefCell::new(look_for(&whereabouts, epoch));
        Life {
            checking: Rate::new(interval),
            stay,
            whereabouts,
            epoch: Cell::new(epoch),
            sign,
            polls: Cell::new(0),
        }
    }

    /// Asks the kernel, whatever the answer.
    ///
    /// # Errors
    ///
    /// It gives none. (A sign that could not be looked at says nothing yet.)
    pub(crate) fn ask(&self) -> std::io::Result<()> {
        match &*self.sign.borrow() {
            Sign::Lock { file, byte } => lock::is_write_locked(file, *byte).map(drop),
            Sign::Gone | Sign::Unknown => Ok(()),
        }
    }

    /// Counts a poll that found nothing. Whether it is one that should look at the clock, and for the end.
    pub(crate) fn is_poll_due(&self) -> bool {
        let polls = self.polls.get().wrapping_add(1);
        self.polls.set(polls);
        polls.is_multiple_of(POLLS)
    }

    /// The next poll that finds nothing looks for the end, and whoever looks for it next asks the kernel.
    pub(crate) fn ask_soon(&self) {
        self.polls.set(u32::MAX);
        self.checking.forget();
    }

    /// How long a reader may sleep before it looks again whether the producer lives.
    pub(crate) fn patience(&self, now: Instant) -> Duration {
        self.checking.left(now)
    }

    /// The liveness interval.
    pub(crate) fn interval(&self) -> Duration {
        self.checking.interval()
    }

    /// The end of a ring for one reader, also that of a producer that died without a word. `said` is the end that the
    /// ring's own words say, once everything before it is read; `is_ready` whether there is a record.
    pub(crate) fn end(
        &self,
        page: &ProducerPage,
        now: Instant,
        said: impl Fn() -> Option<RecvError>,
        is_ready: impl Fn() -> bool,
    ) -> Option<RecvError> {
        if let Some(end) = said() {
            return Some(end);
        }
        self.follow(page.epoch.look());
        if !self.checking.is_due(now) || self.is_alive() {
            return None;
        }
        // The lock is free: state and epoch again, then the header again. Only an empty one is the end.
        if self.follow(page.epoch.look()) {
            return None;
        }
        if let Some(end) = said() {
            return Some(end);
        }
        if is_ready() {
            return None;
        }
        match self.name() {
            // Nobody can take over a ring that has no name any more: not even one who stays waits for that.
            Name::Another => Some(RecvError::Replaced),
            Name::Nothing => Some(RecvError::ProducerLost),
            Name::Ours => {
                let waits = self.stay && !self.whereabouts.ends_with_producer();
                (!waits).then_some(RecvError::ProducerLost)
            }
        }
    }

    /// The epoch whose producer is watched.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Watches the producer of an epoch from now on; `false` if it did so already.
    fn follow(&self, epoch: u64) -> bool {
        let other = self.epoch.replace(epoch) != epoch;
        if other && !self.whereabouts.ends_with_producer() {
            self.sign.replace(look_for(&self.whereabouts, epoch));
            return true;
        }
        // One producer and one sign, whatever the word says that it could still write: a ring without a
        // next producer cannot wait for one.
        false
    }

    /// Whether that producer holds its lock. A `false` is final: nobody locks that file again.
    fn is_alive(&self) -> bool {
        if self.epoch.get() == VACANT && !self.whereabouts.ends_with_producer() {
            // As long as a producer may still come.
            return self.name() == Name::Ours;
        }
        let mut sign = self.sign.borrow_mut();
        if matches!(*sign, Sign::Unknown) {
            *sign = look_for(&self.whereabouts, self.epoch.get());
        }
        // What cannot be said now says nothing about the producer; the next asking may.
        sign.is_alive().unwrap_or(true)
    }

    /// Whether a reader that has just taken a slot came too late: the ring is about to be removed, or has been.
    pub(crate) fn is_leaving(&self, ctl: &LockFile) -> bool {
        let asked = ctl.file().and_then(|ctl| lock::is_write_locked(ctl, lock_byte::LEAVING));
        self.whereabouts.is_named() && (asked.unwrap_or(false) || self.name() != Name::Ours)
    }

    /// What the ring's name means now.
    pub(crate) fn name(&self) -> Name {
        self.whereabouts.meaning()
    }
}

fn look_for(whereabouts: &Whereabouts, epoch: u64) -> Sign {
    if epoch == VACANT && !whereabouts.ends_with_producer() {
        Sign::Unknown
    } else {
        whereabouts.sign_of(epoch)
    }
}

/// Takes the lock of a slot, through a description that is not its owner's. `true`: nobody alive has it.
pub(crate) fn try_lock_slot(ctl: &LockFile, slot: u32) -> std::io::Result<bool> {
    lock::try_lock(ctl, lock_byte::SLOTS + u64::from(slot))
}

/// Gives a slot's lock back.
pub(crate) fn unlock_slot(ctl: &LockFile, slot: u32) -> std::io::Result<()> {
    lock::unlock(ctl, lock_byte::SLOTS + u64::from(slot))
}

/// The slot locks of a ring, through one description of `ctl`.
pub(crate) struct SlotBytes<'a>(pub(crate) &'a LockFile);

impl SlotLocks for SlotBytes<'_> {
    type Error = std::io::Error;

    fn try_lock(&self, slot: u32) -> std::io::Result<bool> {
        try_lock_slot(self.0, slot)
    }

    fn unlock(&self, slot: u32) {
        let _ = unlock_slot(self.0, slot);
    }
}

/// Gives a subscriber's slot back, unless it has become another's.
pub(crate) fn leave_slot(memory: &Memory, ctl: &LockFile, slot: u32) {
    slots::leave(memory.ctl(), memory.slots(), slot, &SlotBytes(ctl), &RoomBell::of(memory));
}

/// Whether a slot's lock is held, through a description that is not its owner's.
pub(crate) fn is_slot_held(ctl: &File, slot: u32) -> bool {
    lock::is_write_locked(ctl, lock_byte::SLOTS + u64::from(slot)).unwrap_or(true)
}
