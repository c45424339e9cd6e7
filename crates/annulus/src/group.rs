//! Groups of workers: finding one by its name, making it, joining it.
//!
//! Who looks for a group holds the lock `FORMING`, so that two who want the same make one. A worker holds its group's lock shared;
//! who holds it alone has found no worker.

use std::io;
use std::time::{Duration, Instant};

use annulus_core::doorbell::when_empty;
use annulus_core::group::{Group as Words, GroupLocks};
use annulus_core::history::Start;
use annulus_core::layout::{GROUP_NAME_MAX, GroupPhase, SlotKind, lock_byte};
use annulus_core::worker::begin;
use annulus_os::{LockFile, lock, sys};

use crate::bells::RoomBell;
use crate::copier::Seat;
use crate::error::{Error, ErrorKind};
use crate::life::leave_slot;
use crate::memory::Memory;
use crate::open::{Open, OpenSpec, join_failed};
use crate::registry::{Purpose, is_plain};
use crate::worker::Worker;

/// How long somebody else may look for a group, which takes microseconds unless that process is stopped.
const FORMING_AT_MOST: Duration = Duration::from_secs(10);
const FORMING_AGAIN: Duration = Duration::from_micros(200);

/// Which group to join, and what it is to be if it does not exist yet: for [`Open::join_group`], where a name alone will do.
///
/// # Examples
///
/// ```
/// use annulus::{Group, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-group-{}", std::process::id());
/// let mut tx = Ring::create("orders").dir(&dir).producer()?;
/// let billing = Group::named("billing").attempts(2);
/// let worker = Ring::open("orders").dir(&dir).join_group(billing)?;
/// tx.send(b"unbillable")?;
/// assert!(!worker.recv()?.nack());
/// assert!(worker.recv()?.nack(), "twice is all: a dead letter");
/// # drop((worker, tx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nothing is joined before `.join_group(..)`"]
pub struct Group {
    name: String,
    attempts: Option<u32>,
    durable: bool,
}

impl Group {
    /// The group of this name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn named(name: &str) -> Group {
        Group { name: name.to_owned(), attempts: None, durable: false }
    }

    /// Deliveries of a record, 1 to 255, after which it is a dead letter, to be had by
    /// [`try_dead_letter`](Worker::try_dead_letter) only; none ever is unless said. What a worker dies with was delivered, too.
    ///
    /// It is the group's: who joins with another wish is refused.
    pub fn attempts(mut self, most: u32) -> Group {
        self.attempts = Some(most);
        self
    }

    /// Keeps the group, and what it has not done, when its last worker leaves; the ring fills up until another joins. It is not kept
    /// unless said.
    ///
    /// It is the group's: who joins one that is not kept with this wish is refused.
    pub fn durable(mut self) -> Group {
        self.durable = true;
        self
    }

    /// The words of its name, if it can be one.
    fn name_words(&self) -> Option<[u64; GROUP_NAME_MAX / 8]> {
        let name = self.name.as_bytes();
        if name.is_empty() || name.len() > GROUP_NAME_MAX || !name.iter().all(|&byte| is_plain(byte)) {
            return None;
        }
        let mut words = [0; GROUP_NAME_MAX / 8];
        for (word, bytes) in words.iter_mut().zip(name.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(whole);
        }
        Some(words)
    }
}

impl From<&str> for Group {
    fn from(name: &str) -> Group {
        Group::named(name)
    }
}

impl Open {
    /// Joins a group as a worker: each record goes to exactly one worker of each group, which acknowledges it. The producer waits
    /// for a group as for a subscriber.
    ///
    /// Whoever joins first makes the group, which begins with the next record unless [`start`](Open::start) says otherwise; from
    /// then on no record is missed. The last worker that leaves ends it, unless it is [durable](Group::durable). If all die, what
    /// they have not done waits for the next worker that joins, until a producer is blocked by it (a full ring,
    /// or [`send_acked`](crate::Producer::send_acked)) or another group needs its place. Records are borrowed in place, with the trust that [`subscribe`](Open::subscribe) needs.
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](Open::subscribe); [`TooManyWorkers`](ErrorKind::TooManyWorkers),
    /// [`BadGroupName`](ErrorKind::BadGroupName), [`NoFreeGroup`](ErrorKind::NoFreeGroup), [`BadOption`](ErrorKind::BadOption)
    /// if the attempts are none that a group can have, [`GroupMismatch`](ErrorKind::GroupMismatch).
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-join-{}", std::process::id());
    /// let mut tx = Ring::create("jobs").dir(&dir).producer()?;
    /// let one = Ring::open("jobs").dir(&dir).join_group("billing")?;
    /// let other = Ring::open("jobs").dir(&dir).join_group("billing")?;
    /// tx.send_batch(["a", "b"])?;
    /// let (a, b) = (one.recv()?, other.recv()?);
    /// assert_eq!([&*a, &*b], [b"a", b"b"]);
    /// b.ack(); // or dropped; in any order
    /// assert!(!a.nack()); // for the next
    /// assert!(other.recv()?.is_redelivered());
    /// # drop((one, other, tx));
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_group(self, group: impl Into<Group>) -> Result<Worker, Error> {
        self.spec.join_group(&group.into())
    }
}

impl OpenSpec {
    pub(crate) fn join_group(self, group: &Group) -> Result<Worker, Error> {
        let wish = Wish::of(group).map_err(|kind| Error::of(kind, &self.name))?;
        let check = |memory: &Memory, data: &_| {
            if memory.shared().groups.is_empty() {
                return Err(Error::of(ErrorKind::NoFreeGroup { groups: 0 }, &self.name));
            }
            self.may_borrow(memory, data)
        };
        let (life, keeper, seat) = self.take_seat(Purpose::Read, SlotKind::Worker, check)?;
        let number = match wish.enter(&self.name, &seat, self.start) {
            Ok(number) => number,
            Err(error) => {
                leave_slot(&seat.memory, &seat.ctl, seat.slot);
                return Err(error);
            }
        };
        Worker::new(seat, number, life, keeper, self.waiting)
            .map_err(|what| Error::of(ErrorKind::Corrupt(what), &self.name))
    }
}

/// What a joiner asks for, as a group's words say it.
struct Wish {
    name: [u64; GROUP_NAME_MAX / 8],
    attempts: Option<u32>,
    durable: bool,
}

impl Wish {
    fn of(group: &Group) -> Result<Wish, ErrorKind> {
        let name = group.name_words().ok_or(ErrorKind::BadGroupName)?;
        if group.attempts.is_some_and(|most| !(1..=255).contains(&most)) {
            return Err(ErrorKind::BadOption("a group delivers a record 1 to 255 times, or without a limit"));
        }
        Ok(Wish { name, attempts: group.attempts, durable: group.durable })
    }

    /// Joins the group, or makes it. Returns its number, whose lock is shared then.
    fn enter(&self, ring: &str, seat: &Seat, start: Start) -> Result<u32, Error> {
        let locks = GroupBytes(&seat.ctl);
        let failed = |source| Error::lock("lock a group of workers", ring, source);
        let _forming = Forming::hold(&seat.ctl, ring)?;
        let deadline = Instant::now() + FORMING_AT_MOST;
        loop {
            let Some((number, group)) = self.find(&seat.memory) else {
                return self.begin(ring, seat, start);
            };
            // A producer or `prune` that looks for workers has it alone, for a moment.
            if !locks.share(number).map_err(failed)? {
                if Instant::now() >= deadline {
                    return Err(Error::of(ErrorKind::System("get hold of a group's lock"), ring));
                }
                sys::nap(FORMING_AGAIN);
                continue;
            }
            // It may have ended until we had the lock; now it does not.
            if !self.is_name_of(group) {
                locks.unlock(number);
                continue;
            }
            return match self.compare(group) {
                Ok(()) => Ok(number),
                Err(kind) => {
                    locks.unlock(number);
                    Err(Error::of(kind, ring))
                }
            };
        }
    }

    fn find<'a>(&self, memory: &'a Memory) -> Option<(u32, Words<'a>)> {
        memory.shared().all_groups().find(|(_, group)| self.is_name_of(*group))
    }

    /// Whether the group is somebody's and has this name.
    fn is_name_of(&self, group: Words<'_>) -> bool {
        matches!(group.phase(), Some(GroupPhase::Active | GroupPhase::Durable))
            && group.head.name.iter().zip(self.name).all(|(word, own)| word.glance() == own)
    }

    fn compare(&self, group: Words<'_>) -> Result<(), ErrorKind> {
        let theirs = group.head.attempts_max.glance();
        if let Some(ours) = self.attempts.filter(|&ours| ours != theirs) {
            let theirs = if theirs == 0 { "unlimited".to_owned() } else { theirs.to_string() };
            return Err(ErrorKind::GroupMismatch {
                field: "number of attempts",
                theirs,
                ours: ours.to_string(),
            });
        }
        if self.durable && group.phase() != Some(GroupPhase::Durable) {
            let (theirs, ours) = ("false".to_owned(), "true".to_owned());
            return Err(ErrorKind::GroupMismatch { field: "durability", theirs, ours });
        }
        Ok(())
    }

    /// Makes the group: in a free place, or in that of one whose workers are all dead.
    fn begin(&self, ring: &str, seat: &Seat, start: Start) -> Result<u32, Error> {
        let (memory, locks) = (&seat.memory, GroupBytes(&seat.ctl));
        let shared = memory.shared();
        // Twice over all in the end: who holds a lock for a moment, to look whether there are workers, must not cost a place.
        for takes in [GroupPhase::Free, GroupPhase::Active, GroupPhase::Free, GroupPhase::Active] {
            for (number, group) in shared.all_groups() {
                if group.phase() != Some(takes) || !locks.try_own(number) {
                    continue;
                }
                // Its last worker may have joined, left or died until we had the lock.
                if group.phase() != Some(takes) {
                    locks.unlock(number);
                    continue;
                }
                let phase = if self.durable { GroupPhase::Durable } else { GroupPhase::Active };
                let attempts = self.attempts.unwrap_or(0);
                if takes == GroupPhase::Active {
                    group.end();
                }
                let begun =
                    begin(&memory.identity().shape, shared, group, start, phase, attempts, &self.name);
                // The floor has moved, maybe away from where a dead group's was.
                when_empty(shared.ctl, &RoomBell::of(memory));
                // From alone to shared, without being free in between.
                let shares = begun.is_ok() && locks.share(number).unwrap_or(false);
                if !shares {
                    group.end();
                    locks.unlock(number);
                    begun.map_err(|failed| join_failed(failed, ring))?;
                    return Err(Error::of(ErrorKind::System("share a group's lock"), ring));
                }
                return Ok(number);
            }
        }
        Err(Error::of(ErrorKind::NoFreeGroup { groups: shared.groups.len() as u32 }, ring))
    }
}

/// The lock under which groups are looked for and made.
struct Forming<'a>(&'a LockFile);

impl<'a> Forming<'a> {
    fn hold(ctl: &'a LockFile, ring: &str) -> Result<Forming<'a>, Error> {
        let deadline = Instant::now() + FORMING_AT_MOST;
        loop {
            let held = lock::try_lock(ctl, lock_byte::FORMING);
            if held.map_err(|source| Error::lock("lock the groups of workers", ring, source))? {
                return Ok(Forming(ctl));
            }
            if Instant::now() >= deadline {
                return Err(Error::of(
                    ErrorKind::System("join a group while another process has its turn"),
                    ring,
                ));
            }
            sys::nap(FORMING_AGAIN);
        }
    }
}

impl Drop for Forming<'_> {
    fn drop(&mut self) {
        let _ = lock::unlock(self.0, lock_byte::FORMING);
    }
}

/// The group locks of a ring, through one description of `ctl`.
pub(crate) struct GroupBytes<'a>(pub(crate) &'a LockFile);

impl GroupBytes<'_> {
    /// Takes a group's lock as its workers have it. `false`: somebody has it alone.
    fn share(&self, group: u32) -> io::Result<bool> {
        lock::try_lock_shared(self.0, lock_byte::GROUPS + u64::from(group))
    }

    /// Whether nobody has a group's lock, without taking it.
    pub(crate) fn is_free(&self, group: u32) -> bool {
        let locked = self.0.file().and_then(|ctl| lock::is_locked(ctl, lock_byte::GROUPS + u64::from(group)));
        !locked.unwrap_or(true)
    }
}

impl GroupLocks for GroupBytes<'_> {
    fn try_own(&self, group: u32) -> bool {
        lock::try_lock(self.0, lock_byte::GROUPS + u64::from(group)).unwrap_or(false)
    }

    fn try_share(&self, group: u32) -> bool {
        self.share(group).unwrap_or(false)
    }

    fn unlock(&self, group: u32) {
        let _ = lock::unlock(self.0, lock_byte::GROUPS + u64::from(group));
    }
}
