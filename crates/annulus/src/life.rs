//! Who is alive. The kernel answers: it drops a lock at the instant its holder dies, in any PID namespace.
//! A timeout would prove slowness, never death, and a pid proves nothing.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::time::{Duration, Instant};

use annulus_core::layout::lock_byte;
use annulus_os::lock;

use crate::registry::{Home, LOCK, Name, RingDir, life_name};

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

    /// Whether it is time, counting this as the asking.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let due = self.last.get().is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if due {
            self.last.set(Some(now));
        }
        due
    }
}

/// A reader's view of its producer's life.
#[derive(Debug)]
pub(crate) struct Life {
    home: Home,
    name: String,
    ring: RingDir,
    epoch: Cell<u64>,
    file: RefCell<Found>,
}

/// What has become of the life file of an epoch.
#[derive(Debug)]
enum Found {
    File(File),
    /// Its producer is gone, and another has removed it.
    Gone,
    /// It could not be opened for a reason that says nothing about the producer, such as too many descriptors.
    Unknown,
}

impl Life {
    pub(crate) fn new(home: Home, name: &str, ring: RingDir, epoch: u64) -> Life {
        let file = RefCell::new(look_for(&ring, epoch));
        Life { home, name: name.to_owned(), ring, epoch: Cell::new(epoch), file }
    }

    /// The epoch whose producer is watched.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Watches the producer of an epoch from now on; `false` if it did so already.
    pub(crate) fn follow(&self, epoch: u64) -> bool {
        let other = self.epoch.replace(epoch) != epoch;
        if other {
            self.file.replace(look_for(&self.ring, epoch));
        }
        other
    }

    /// Whether that producer holds its lock. A `false` is final: nobody locks that file again.
    pub(crate) fn is_alive(&self) -> bool {
        let mut file = self.file.borrow_mut();
        if matches!(*file, Found::Unknown) {
            *file = look_for(&self.ring, self.epoch.get());
        }
        match &*file {
            // An error says nothing about the producer; the next asking may.
            Found::File(file) => lock::is_write_locked(file, LOCK).unwrap_or(true),
            Found::Gone => false,
            Found::Unknown => true,
        }
    }

    /// What the ring's name means now.
    pub(crate) fn name(&self) -> Name {
        self.home.meaning(&self.name, &self.ring)
    }
}

fn look_for(ring: &RingDir, epoch: u64) -> Found {
    match ring.place.open_file(&life_name(epoch), annulus_os::Access::Read) {
        Ok(file) => Found::File(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Found::Gone,
        Err(_) => Found::Unknown,
    }
}

/// Takes the lock of a slot, through a description that is not its owner's. `true`: nobody alive has it.
pub(crate) fn try_lock_slot(ctl: &File, slot: u32) -> std::io::Result<bool> {
    lock::try_lock(ctl, lock_byte::SLOTS + u64::from(slot))
}

/// Gives a slot's lock back.
pub(crate) fn unlock_slot(ctl: &File, slot: u32) -> std::io::Result<()> {
    lock::unlock(ctl, lock_byte::SLOTS + u64::from(slot))
}

/// Whether a slot's lock is held, through a description that is not its owner's.
pub(crate) fn is_slot_held(ctl: &File, slot: u32) -> bool {
    lock::is_write_locked(ctl, lock_byte::SLOTS + u64::from(slot)).unwrap_or(true)
}
