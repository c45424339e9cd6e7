//! One worker of a group: the reading end that shares a ring's records with others.

mod choose;
mod sleeping;

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use annulus_core::doorbell::{after_release, group_bit, when_empty};
use annulus_core::group::{Group, bits, bury};
use annulus_core::ladder::{Ladder, Waiting};
use annulus_core::worker::{Claimed, Found, Worker as Core, leave};
use annulus_os::{Birth, LockFile};

use crate::bells::{ReaderBell, RoomBell};
use crate::clock::Timekeeper;
use crate::copier::Seat;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError, at_home};
use crate::group::GroupBytes;
use crate::job::Job;
use crate::life::{Life, POLLS, Rate, SlotBytes};
use crate::memory::Memory;
use crate::registry::Name;
use crate::sleeper::{Sleeper, Sleeping, heavy_of};
use crate::wait::{Waiter, wait};

/// A worker of a [group](crate::Group): it gets records that no other worker of the group gets, borrows each in place, and
/// acknowledges it.
///
/// From [`Open::join_group`](crate::Open::join_group). `Send` but not `Sync`: it is one worker. Its methods take `&self`, so that
/// several jobs can be held at once, and be acknowledged in any order.
///
/// # At least once
///
/// A record is delivered once, unless its worker gives it back, leaves with it or dies with it. Then another gets it, and
/// [`Job::is_redelivered`] says so. None is lost: the producer waits until it was acknowledged.
///
/// Of a worker that was killed this is noticed by its fellows within a liveness interval, and by nobody who is merely slow. What
/// is assumed of other processes is what a [`Subscriber`](crate::Subscriber) assumes.
///
/// # Examples
///
/// ```
/// use annulus::{RecvError, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-worker-{}", std::process::id());
/// let mut tx = Ring::create("mails").dir(&dir).producer()?;
/// let worker = Ring::open("mails").dir(&dir).join_group("senders")?;
/// tx.send_batch(["to a", "to b"])?;
/// drop(tx);
/// let first = worker.recv()?;
/// assert!(!worker.recv()?.nack()); // back to the group
/// drop(first); // done
/// let again = worker.recv()?;
/// assert_eq!((&*again, again.attempts()), (&b"to b"[..], 2));
/// again.ack();
/// assert_eq!(worker.recv().unwrap_err(), RecvError::Closed);
/// # drop(worker);
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Worker {
    memory: Memory,
    core: Core,
    /// The group's number.
    number: u32,
    slot: u32,
    /// Bytes of each payload that are the ring's own.
    prefix: usize,
    keeper: Timekeeper,
    waiting: Cell<Waiting>,
    sleeping: Sleeping,
    life: Life,
    /// How often it looks for fellows that are dead.
    burying: Rate,
    /// It looks at the clock as often when it finds something.
    claims: Cell<u32>,
    /// Where records are copied that are being chosen from.
    scratch: Cell<Vec<u8>>,
    /// Whose handle this is: a forked child's copy must not free its parent's slot.
    birth: Birth,
    /// Holds the slot's lock, and a share of the group's.
    ctl: LockFile,
}

impl Worker {
    /// A worker of a group whose lock `seat`'s file shares.
    pub(crate) fn new(
        seat: Seat,
        number: u32,
        life: Life,
        keeper: Timekeeper,
        waiting: Waiting,
    ) -> Result<Worker, &'static str> {
        let Seat { memory, slot, ctl } = seat;
        let identity = *memory.identity();
        let joined = {
            let shared = memory.shared();
            // Before the first claim: who finds this worker dead finds there what it was at.
            shared.slots[slot as usize].group.preset(number + 1);
            shared.slots[slot as usize].settle();
            shared
                .group(number)
                .ok_or("group")
                .and_then(|group| Core::join(identity.shape, shared, group, slot))
        };
        let core = match joined {
            Ok(core) => core,
            Err(what) => {
                go(&memory, &ctl, number, slot);
                return Err(what);
            }
        };
        Ok(Worker {
            core,
            number,
            slot,
            prefix: identity.shape.prefix() as usize,
            keeper,
            waiting: Cell::new(waiting),
            sleeping: Sleeping::new(heavy_of(&identity)),
            burying: Rate::new(life.interval()),
            life,
            claims: Cell::new(0),
            scratch: Cell::default(),
            birth: Birth::here(),
            ctl,
            memory,
        })
    }

    /// The next record that nobody has; waits for it.
    ///
    /// It is this worker's until it is acknowledged or given back, and the producer may not overwrite it before all records up
    /// to it are acknowledged.
    ///
    /// # Errors
    ///
    /// [`RecvError`], once every record that was sent before the end is acknowledged, is in this worker's own hands, or is a dead
    /// letter: while another worker has one, which may come back, this waits.
    #[inline]
    pub fn recv(&self) -> Result<Job<'_>, RecvError> {
        at_home(self.birth)?;
        match self.claim() {
            Found::Record(claimed) => Ok(Job::new(self, claimed)),
            _ => self.recv_slow(None).map_err(|error| match error {
                RecvTimeoutError::Ended(end) => end,
                RecvTimeoutError::TimedOut => unreachable!("a wait without a deadline does not end by it"),
            }),
        }
    }

    /// The next record that nobody has, if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`], or the end as from [`recv`](Worker::recv). A crash of the producer or of a fellow is noticed within 64
    /// calls and a liveness interval.
    #[inline]
    pub fn try_recv(&self) -> Result<Job<'_>, TryRecvError> {
        self.try_claim().map(|claimed| Job::new(self, claimed))
    }

    /// The same, for who makes the [`Job`] of it at once.
    #[inline]
    pub(crate) fn try_claim(&self) -> Result<Claimed, TryRecvError> {
        at_home(self.birth)?;
        match self.claim() {
            Found::Record(claimed) => Ok(claimed),
            Found::Damaged(_) => Err(TryRecvError::Ended(RecvError::Corrupt)),
            Found::Empty | Found::Full => {
                Err(self.poll_end().map_or(TryRecvError::Empty, TryRecvError::Ended))
            }
        }
    }

    /// The next record that nobody has; waits for it, at most `timeout`. One that comes exactly then is returned.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`].
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Job<'_>, RecvTimeoutError> {
        at_home(self.birth)?;
        match self.claim() {
            Found::Record(claimed) => Ok(Job::new(self, claimed)),
            _ => self.recv_slow(Instant::now().checked_add(timeout)),
        }
    }

    /// The records that nobody has, at most `most` of them, at least one; waits for the first. For work that is done in bulk.
    ///
    /// What one worker has in its hands no other can work at: ask for few, if each takes long.
    ///
    /// # Errors
    ///
    /// As [`recv`](Worker::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-recv-batch-{}", std::process::id());
    /// # let mut tx = Ring::create("rows").dir(&dir).producer()?;
    /// # let worker = Ring::open("rows").dir(&dir).join_group("store")?;
    /// tx.send_batch(["a", "b", "c"])?;
    /// let rows = worker.recv_batch(100)?;
    /// assert_eq!(rows.len(), 3);
    /// drop(rows); // all are acknowledged
    /// # drop((worker, tx));
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_batch(&self, most: usize) -> Result<Vec<Job<'_>>, RecvError> {
        self.recv().map(|first| self.with_others(first, most))
    }

    /// The same, if there is a record.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Worker::try_recv).
    pub fn try_recv_batch(&self, most: usize) -> Result<Vec<Job<'_>>, TryRecvError> {
        self.try_recv().map(|first| self.with_others(first, most))
    }

    fn with_others<'a>(&'a self, first: Job<'a>, most: usize) -> Vec<Job<'a>> {
        let mut jobs = vec![first];
        while jobs.len() < most
            && let Found::Record(claimed) = self.claim()
        {
            jobs.push(Job::new(self, claimed));
        }
        jobs
    }

    /// Jobs as they come, until the end: `Closed` ends the iteration, any other end is its last item.
    ///
    /// # Examples
    ///
    /// ```
    /// # use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-jobs-{}", std::process::id());
    /// # let mut tx = Ring::create("jobs").dir(&dir).producer()?;
    /// # let worker = Ring::open("jobs").dir(&dir).join_group("g")?;
    /// tx.send_batch(["a", "b"])?;
    /// drop(tx);
    /// for job in &worker {
    ///     assert_eq!(job?.len(), 1); // acknowledged here
    /// }
    /// # drop(worker);
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Jobs<'_> {
        Jobs { worker: self, ended: false }
    }

    /// The oldest dead letter, if there is one: a record that was delivered as often as the
    /// [group allows](crate::Group::attempts). It holds its room in the ring until somebody takes it and acknowledges it; given back,
    /// it is a dead letter again.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`]; never the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::{Group, Ring};
    /// # let dir = format!("/dev/shm/annulus-doc-dead-{}", std::process::id());
    /// let mut tx = Ring::create("parcels").dir(&dir).producer()?;
    /// let worker = Ring::open("parcels").dir(&dir).join_group(Group::named("couriers").attempts(1))?;
    /// tx.send(b"no address")?;
    /// assert!(worker.recv()?.nack());
    /// assert!(worker.try_recv().is_err());
    /// let parcel = worker.try_dead_letter()?;
    /// assert_eq!(&*parcel, b"no address");
    /// parcel.ack();
    /// # drop((worker, tx));
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_dead_letter(&self) -> Result<Job<'_>, TryRecvError> {
        at_home(self.birth)?;
        match self.core.claim_dead(self.memory.shared(), self.group()) {
            Found::Record(claimed) => Ok(Job::new(self, claimed)),
            Found::Damaged(_) => Err(TryRecvError::Ended(RecvError::Corrupt)),
            Found::Empty | Found::Full => Err(TryRecvError::Empty),
        }
    }

    /// The sequence of the next new record that this worker looks at. Others may have it by then.
    pub fn sequence(&self) -> u64 {
        self.core.sequence()
    }

    /// How this handle waits from now on.
    pub fn set_waiting(&self, waiting: Waiting) {
        self.waiting.set(waiting);
    }

    /// Whether the ring's name still means this ring; files can be deleted under a running program, which goes on
    /// with those attached. Always of one [without a name](crate::handover), which has none to lose.
    pub fn is_linked(&self) -> bool {
        self.life.name() == Name::Ours
    }

    /// The time now, in nanoseconds by the ring's [`Clock`](crate::Clock), to compare with
    /// [`Job::time`]; by `CLOCK_MONOTONIC` on a ring without stamps.
    pub fn now(&self) -> u64 {
        self.keeper.now()
    }

    #[inline]
    pub(crate) fn prefix(&self) -> usize {
        self.prefix
    }

    pub(crate) fn keeper(&self) -> &Timekeeper {
        &self.keeper
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    #[inline]
    fn group(&self) -> Group<'_> {
        self.memory.shared().group(self.number).expect("the identity says how many there are")
    }

    #[inline]
    fn claim(&self) -> Found {
        let claims = self.claims.get().wrapping_add(1);
        self.claims.set(claims);
        if claims.is_multiple_of(POLLS) {
            self.look_after_fellows(Instant::now());
        }
        self.core.claim(self.memory.shared(), self.group())
    }

    /// Done with a record; a forked child's copy of the job is not the one that counts.
    #[inline]
    pub(crate) fn done(&self, claimed: Claimed) {
        if !self.birth.is_here() {
            return;
        }
        let (shared, bell) = (self.memory.shared(), ReaderBell::of(&self.memory));
        // One that was taken from a worker that has lost its lock is another's by now, and nothing is left to do.
        if let Ok(Some((before, after))) = self.core.done(shared, self.group(), self.number, claimed, &bell) {
            after_release(shared.ctl, before, after, &RoomBell::of(&self.memory));
        }
    }

    /// Gives a record back. Says whether it is a dead letter now.
    pub(crate) fn give_back(&self, claimed: Claimed) -> bool {
        if !self.birth.is_here() {
            return false;
        }
        let (ctl, bell) = (self.memory.ctl(), ReaderBell::of(&self.memory));
        self.core.give_back(ctl, self.group(), self.number, claimed, &bell).unwrap_or(false)
    }

    /// The end, if a poll that found nothing should say it.
    #[cold]
    fn poll_end(&self) -> Option<RecvError> {
        if !self.life.is_poll_due() {
            return self.end_of_state();
        }
        when_empty(self.memory.ctl(), &RoomBell::of(&self.memory));
        self.end(Instant::now())
    }

    /// The end that the producer's words say, once everything before it is done.
    fn end_of_state(&self) -> Option<RecvError> {
        self.core.ended(self.memory.shared(), self.group()).map(RecvError::from)
    }

    /// The end, also that of a producer that died without a word; asks the kernel once per liveness interval, also for fellows.
    fn end(&self, now: Instant) -> Option<RecvError> {
        let (shared, group) = (self.memory.shared(), self.group());
        let may_come = || self.core.may_get(shared, group);
        let end = self.life.end(shared.producer, now, || self.end_of_state(), may_come);
        // Only then: it has this worker search again, and until that is done there may be something, whenever one asks.
        if end.is_none() {
            self.look_after_fellows(now);
        }
        end
    }

    /// Gives back what dead fellows hold, at most once per liveness interval.
    fn look_after_fellows(&self, now: Instant) {
        if !self.burying.is_due(now) {
            return;
        }
        let (shared, group) = (self.memory.shared(), self.group());
        let mut returned = 0;
        for slot in bits(group.holders(self.slot)) {
            returned += bury(shared, group, slot, &SlotBytes(&self.ctl));
        }
        group.wake_for_returned(shared.ctl, self.number, returned, &ReaderBell::of(&self.memory));
        // Who gave something back may have died before it said so.
        self.core.search_again(group);
    }

    /// Whether a worker about to sleep should not.
    fn may_not_sleep(&self) -> bool {
        let (shared, group) = (self.memory.shared(), self.group());
        // A ring that has ended is no news as long as records may come back.
        self.core.last_look(shared, group) || shared.producer.epoch.look() != self.life.epoch()
    }

    #[cold]
    fn recv_slow(&self, deadline: Option<Instant>) -> Result<Job<'_>, RecvTimeoutError> {
        self.sleeping.begin();
        let mut waiter = Awaiting { worker: self };
        match wait(&mut waiter, Ladder::new(self.waiting.get()), deadline) {
            Some(got) => got.map_err(RecvTimeoutError::Ended),
            None => Err(RecvTimeoutError::TimedOut),
        }
    }
}

/// A worker that waits.
struct Awaiting<'a> {
    worker: &'a Worker,
}

impl<'a> Waiter for Awaiting<'a> {
    type Got = Result<Job<'a>, RecvError>;

    #[inline]
    fn look(&mut self) -> Option<Self::Got> {
        match self.worker.claim() {
            Found::Record(claimed) => Some(Ok(Job::new(self.worker, claimed))),
            Found::Damaged(_) => Some(Err(RecvError::Corrupt)),
            Found::Empty | Found::Full => None,
        }
    }

    fn ring(&mut self) {
        self.worker.ring();
    }

    fn end(&mut self, now: Instant) -> Option<Self::Got> {
        self.worker.end(now).map(Err)
    }

    fn patience(&self, now: Instant) -> Duration {
        Sleeper::patience(self.worker, now)
    }

    fn park(&mut self, left: Duration) {
        let Worker { memory, slot, number, sleeping, .. } = self.worker;
        sleeping.park((memory, *slot), group_bit(*number), left, || self.worker.may_not_sleep());
    }
}

/// Leaves the group and the ring.
fn go(memory: &Memory, ctl: &LockFile, number: u32, slot: u32) {
    let (readers, room) = (ReaderBell::of(memory), RoomBell::of(memory));
    leave(memory.shared(), number, slot, &SlotBytes(ctl), &GroupBytes(ctl), &readers, &room);
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.birth.is_this_process() {
            go(&self.memory, &self.ctl, self.number, self.slot);
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("group", &self.number)
            .field("slot", &self.slot)
            .field("sequence", &self.sequence())
            .finish_non_exhaustive()
    }
}

/// Jobs as they come: see [`Worker::iter`].
#[derive(Debug)]
pub struct Jobs<'a> {
    worker: &'a Worker,
    ended: bool,
}

impl<'a> Iterator for Jobs<'a> {
    type Item = Result<Job<'a>, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.worker.recv() {
            Ok(job) => Some(Ok(job)),
            Err(end) => {
                self.ended = true;
                (end != RecvError::Closed).then_some(Err(end))
            }
        }
    }
}

impl<'a> IntoIterator for &'a Worker {
    type Item = Result<Job<'a>, RecvError>;
    type IntoIter = Jobs<'a>;

    fn into_iter(self) -> Jobs<'a> {
        self.iter()
    }
}
