//! Opening a ring that exists, or waiting until it does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use annulus_core::ladder::Waiting;
use annulus_os::{Access as OsAccess, place::facts_of, sys};

use crate::create::{Create, Existing, TRIES, attach, gone};
use crate::error::{Error, ErrorKind};
use crate::info::Info;
use crate::life::{Life, try_lock_slot, unlock_slot};
use crate::producer::Producer;
use crate::registry::{Access, Home, Purpose, RingDir, check_name};
use crate::subscriber::Subscriber;

/// How often a directory is looked for that cannot be watched because it does not exist.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A watch is believed for so long: a directory that is removed while it is open wakes nobody.
const WATCH_AGAIN: Duration = Duration::from_millis(500);

/// How to open a ring: from [`Ring::open`](crate::Ring::open), ended by [`subscribe`](Open::subscribe).
#[derive(Debug, Clone)]
#[must_use = "nothing is opened before `.subscribe()`, `.producer()` or `.info()`"]
pub struct Open {
    name: String,
    access: Access,
    waiting: Waiting,
    stay: bool,
}

impl Open {
    pub(crate) fn new(name: &str) -> Open {
        Open { name: name.to_owned(), access: Access::default(), waiting: Waiting::default(), stay: false }
    }

    /// The directory of rings: `$ANNULUS_DIR`, or `/dev/shm/annulus-<uid>`, unless said.
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.access.dir = Some(path.into());
        self
    }

    /// Allows a directory on a disk's file system.
    pub fn allow_disk(mut self) -> Self {
        self.access.allow_disk = true;
        self
    }

    /// Reads in place what processes of this user write, as it does for the own user and root. Whoever may
    /// write a ring's files can change bytes that a reader is looking at.
    pub fn trust_uid(mut self, uid: u32) -> Self {
        self.access.trusted.push(uid);
        self
    }

    /// How the subscriber waits for records.
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = waiting;
        self
    }

    /// Stays when the producer dies, and goes on with the next one's records: `recv` then never says
    /// [`ProducerLost`](crate::RecvError::ProducerLost).
    pub fn stay(mut self) -> Self {
        self.stay = true;
        self
    }

    /// Waits until a ring of the name exists, at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WaitTimedOut`], [`ErrorKind::BadName`], [`ErrorKind::UnsafeDirectory`], and what the
    /// system refuses.
    pub fn wait(self, timeout: Duration) -> Result<Self, Error> {
        check_name(&self.name)?;
        let deadline = Instant::now().checked_add(timeout);
        let left = || deadline.map_or(WATCH_AGAIN, |d| d.saturating_duration_since(Instant::now()));
        loop {
            let home = match Home::open(&self.access, Purpose::Read) {
                Ok(home) => home,
                Err(error) if error.is_not_found() => {
                    if left().is_zero() {
                        return Err(Error::of(ErrorKind::WaitTimedOut, &self.name));
                    }
                    std::thread::sleep(LOOK_AGAIN.min(left()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Watched first, looked at afterwards: a ring that appears in between is not missed. Without
            // descriptors to watch with, it is looked for again and again.
            let watch = home.place.watch().ok();
            match home.ring(&self.name) {
                Ok(_) => return Ok(self),
                Err(error) if !error.is_not_found() => return Err(error),
                Err(_) if left().is_zero() => return Err(Error::of(ErrorKind::WaitTimedOut, &self.name)),
                Err(_) => {}
            }
            if watch.is_none_or(|watch| watch.wait(left().min(WATCH_AGAIN)).is_err()) {
                std::thread::sleep(LOOK_AGAIN.min(left()));
            }
        }
    }

    /// Subscribes: from now on the producer waits for this reader, which may borrow records in place.
    ///
    /// Once this has returned, no later record is missed. The subscriber starts with the next record.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), [`NoFreeSlot`](ErrorKind::NoFreeSlot),
    /// [`Untrusted`](ErrorKind::Untrusted) if the ring is another user's,
    /// [`PermissionDenied`](ErrorKind::PermissionDenied), [`NotARing`](ErrorKind::NotARing),
    /// [`LayoutVersion`](ErrorKind::LayoutVersion), [`Corrupt`](ErrorKind::Corrupt).
    pub fn subscribe(self) -> Result<Subscriber, Error> {
        check_name(&self.name)?;
        let name = &self.name;
        let home = Home::open(&self.access, Purpose::Read).map_err(|error| error.about(&self.name))?;
        let ((memory, data, ctl), ring) =
            at_the_name(&home, name, |ring| attach(name, ring, OsAccess::Read))?;
        let owner = facts_of(&data).map_err(|source| Error::io("look at the ring", name, source))?.uid;
        if !self.access.trusts(owner) {
            return Err(Error::of(ErrorKind::Untrusted { uid: owner }, name));
        }
        let slot = take_slot(name, &memory, &ctl)?;
        let life = Life::new(home, name, ring, memory.head().producer.epoch.look());
        Subscriber::new(memory, ctl, slot, life, self.waiting, self.stay).map_err(|(what, ctl)| {
            // The slot's lock goes with the file; its cursor must not hold the producer until then.
            let _ = unlock_slot(&ctl, slot);
            Error::of(ErrorKind::Corrupt(what), name)
        })
    }

    /// Becomes the producer of a ring that exists and whose producer is gone.
    ///
    /// # Errors
    ///
    /// As [`Create::producer`], and [`NotFound`](ErrorKind::NotFound).
    pub fn producer(self) -> Result<Producer, Error> {
        let mut create = Create::new(&self.name, Existing::Require);
        create.access = self.access;
        create.waiting = self.waiting;
        create.producer()
    }

    /// What the ring is and how it stands, without taking a place in it.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Open::subscribe), without those about places.
    pub fn info(self) -> Result<Info, Error> {
        check_name(&self.name)?;
        let home = Home::open(&self.access, Purpose::Read).map_err(|error| error.about(&self.name))?;
        let (info, _) = at_the_name(&home, &self.name, |ring| Info::read(&self.name, ring))?;
        Ok(info)
    }
}

/// Does something with the ring that has the name, again if it lost the name to another meanwhile.
fn at_the_name<T>(
    home: &Home,
    name: &str,
    mut with: impl FnMut(&RingDir) -> Result<T, Error>,
) -> Result<(T, RingDir), Error> {
    let mut tries = 0;
    loop {
        let ring = home.ring(name)?;
        match with(&ring).or_else(|error| gone(home, name, &ring, error)) {
            Ok(done) => return Ok((done, ring)),
            Err(error) if error.is_not_found() && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Takes the lock of a slot and makes it ours. First among free ones, then among those whose owners died.
fn take_slot(name: &str, memory: &crate::memory::Memory, ctl: &std::fs::File) -> Result<u32, Error> {
    let slots = memory.slots();
    // Twice over all of them in the end: a reaper that holds a lock for a moment must not cost a free slot.
    for also_active in [false, true, true] {
        for (i, slot) in slots.iter().enumerate() {
            if slot.is_active() && !also_active {
                continue;
            }
            let locked = try_lock_slot(ctl, i as u32)
                .map_err(|source| Error::io("lock a subscriber's place", name, source))?;
            if locked {
                // Under the lock the slot is ours, whatever it said before.
                slot.vacate();
                slot.occupy(sys::pid(), sys::uid(), sys::start_time());
                return Ok(i as u32);
            }
        }
    }
    Err(Error::of(ErrorKind::NoFreeSlot { slots: slots.len() as u32 }, name))
}
