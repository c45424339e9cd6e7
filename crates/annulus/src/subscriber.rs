//! The reading end of a ring that the producer waits for.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use annulus_core::doorbell::{READERS, Sleep, Slept, after_release, has_turned, when_empty};
use annulus_core::history::Start;
use annulus_core::ladder::{Ladder, Waiting};
use annulus_core::layout::Slot;
use annulus_core::reader::{Held, JoinFailed, Look, Passed, Pins, Reader};
use annulus_os::{Birth, LockFile};

use crate::bells::RoomBell;
use crate::clock::Timekeeper;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError, at_home};
use crate::life::{Life, leave_slot};
use crate::memory::Memory;
use crate::record::Record;
use crate::registry::Name;
use crate::sleeper::{NAP_LONGEST, Sleeper, Sleeping, heavy_of};
use crate::wait::{Waiter, wait};

/// Pauses of the processor, at most, in which a stream may gather: under two microseconds.
const LONGEST_PAUSE: u64 = 64;

/// A reading end of a ring. It gets every record from its subscription on, once and in order, and borrows each
/// in place; the producer waits when it is a full ring behind.
///
/// `Send` but not `Sync`: it is one reader, at one place. Its methods take `&self`, so that records can be held
/// while others are received, and released in any order.
///
/// # What is assumed of other processes
///
/// A record is a slice of memory that the producer's process has mapped writable: in-place reading is offered
/// only for rings of one's own user, of root, and of users named by [`trust_uid`](crate::Open::trust_uid). Other
/// subscribers of the ring can free what this one borrows, if they write what this library would not. The argument is in
/// the book: *Soundness*, "Records that are borrowed".
///
/// # Examples
///
/// ```
/// use annulus::{RecvError, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-subscriber-{}", std::process::id());
/// let mut tx = Ring::create("ticks").dir(&dir).producer()?;
/// let rx = Ring::open("ticks").dir(&dir).subscribe()?;
/// tx.send_batch(["1", "2", "3"])?;
/// let first = rx.recv()?;
/// let second = rx.recv()?;
/// drop(second); // in any order
/// assert_eq!((&*first, first.sequence()), (&b"1"[..], 0));
/// drop((first, tx));
/// assert_eq!(&*rx.recv()?, b"3");
/// assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
/// # drop(rx);
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Subscriber {
    memory: Memory,
    reader: Reader,
    slot: u32,
    /// Bytes of each payload that are the ring's own.
    prefix: usize,
    keeper: Timekeeper,
    pin_bits: Box<[Cell<u64>]>,
    pin_count: Cell<u64>,
    waiting: Cell<Waiting>,
    sleeping: Sleeping,
    life: Life,
    /// The sequence at which the ring was last found empty.
    empty_at: Cell<u64>,
    /// Whose handle this is: a forked child's copy must not free its parent's slot.
    birth: Birth,
    /// Holds the slot's lock.
    ctl: LockFile,
}

impl Subscriber {
    pub(crate) fn new(
        memory: Memory,
        ctl: LockFile,
        slot: u32,
        life: Life,
        waiting: Waiting,
        start: Start,
        keeper: Timekeeper,
    ) -> Result<Subscriber, (JoinFailed, LockFile)> {
        let identity = *memory.identity();
        let reader = {
            let shared = memory.shared();
            let slot = &shared.slots[slot as usize];
            let joined = Reader::join(identity.shape, shared, slot, start);
            match joined {
                Ok(_) => slot.settle(),
                Err(_) => slot.vacate(),
            }
            // The slot's cursor has moved, maybe away from where a dead owner or a stale tail had it.
            when_empty(shared.ctl, &RoomBell::of(&memory));
            match joined {
                Ok(reader) => reader,
                Err(failed) => return Err((failed, ctl)),
            }
        };
        let reader_sequence = reader.sequence();
        Ok(Subscriber {
            reader,
            slot,
            prefix: identity.shape.prefix() as usize,
            keeper,
            pin_bits: vec![Cell::new(0); Pins::words(&identity.shape)].into_boxed_slice(),
            pin_count: Cell::new(0),
            waiting: Cell::new(waiting),
            sleeping: Sleeping::new(heavy_of(&identity)),
            life,
            empty_at: Cell::new(reader_sequence),
            birth: Birth::here(),
            ctl,
            memory,
        })
    }

    /// The next record; waits for it.
    ///
    /// The record is borrowed in place, and the producer may not overwrite it until it is dropped (*Soundness* in the book
    /// says why). A parked reader costs one wake per liveness interval.
    ///
    /// # Errors
    ///
    /// [`RecvError`], after every record that was sent before the end.
    #[inline]
    pub fn recv(&self) -> Result<Record<'_>, RecvError> {
        at_home(self.birth)?;
        match self.reader.look(self.memory.shared()) {
            Look::Record(held) => Ok(Record::new(self, held)),
            _ => self.recv_slow(None).map_err(|error| match error {
                RecvTimeoutError::Ended(end) => end,
                RecvTimeoutError::TimedOut => unreachable!("a wait without a deadline does not end by it"),
            }),
        }
    }

    /// The next record if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`], or the end after every record that was sent before it. A crash of the producer
    /// is noticed within 64 empty calls and a liveness interval.
    #[inline]
    pub fn try_recv(&self) -> Result<Record<'_>, TryRecvError> {
        self.try_held().map(|held| Record::new(self, held))
    }

    /// The same, for who makes the [`Record`] of it at once.
    #[inline]
    pub(crate) fn try_held(&self) -> Result<Held, TryRecvError> {
        at_home(self.birth)?;
        match self.reader.look(self.memory.shared()) {
            Look::Record(held) => Ok(held),
            Look::Empty => match self.poll_end() {
                Some(end) => Err(TryRecvError::Ended(end)),
                // The end was looked for after the header: a record may have come in between.
                None => Err(TryRecvError::Empty),
            },
            Look::Lost => self.try_again(),
        }
    }

    /// The same behind records that are passed over.
    #[cold]
    fn try_again(&self) -> Result<Held, TryRecvError> {
        match self.why_lost() {
            Some(end) => Err(TryRecvError::Ended(end)),
            None => match self.reader.look(self.memory.shared()) {
                Look::Record(held) => Ok(held),
                Look::Empty | Look::Lost => Err(TryRecvError::Empty),
            },
        }
    }

    /// The next record; waits for it, at most `timeout`. A record that comes exactly then is returned.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`].
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Record<'_>, RecvTimeoutError> {
        at_home(self.birth)?;
        match self.reader.look(self.memory.shared()) {
            Look::Record(held) => Ok(Record::new(self, held)),
            _ => self.recv_slow(Instant::now().checked_add(timeout)),
        }
    }

    /// Records as they come, until the end: `Closed` ends the iteration, any other end is its last item.
    ///
    /// # Examples
    ///
    /// ```
    /// # use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-iter-{}", std::process::id());
    /// # let mut tx = Ring::create("iter").dir(&dir).producer()?;
    /// # let rx = Ring::open("iter").dir(&dir).subscribe()?;
    /// tx.send_batch(["a", "b"])?;
    /// drop(tx);
    /// for record in rx.iter() {
    ///     assert_eq!(record?.len(), 1);
    /// }
    /// # drop(rx);
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter<'_> {
        Iter { subscriber: self, ended: false }
    }

    /// The sequence of the next record.
    pub fn sequence(&self) -> u64 {
        self.reader.sequence()
    }

    /// Bytes that this reader holds: from the oldest record that was not dropped to the next one.
    pub fn held_bytes(&self) -> u64 {
        self.reader.held_bytes()
    }

    /// How this handle waits from now on.
    pub fn set_waiting(&self, waiting: Waiting) {
        self.waiting.set(waiting);
    }

    /// Whether the ring's name still means this ring; files can be deleted under a running program, which goes on
    /// with those attached. Always of one
    /// [without a name](crate::handover), which has none to lose.
    pub fn is_linked(&self) -> bool {
        self.life.name() == Name::Ours
    }

    /// The time now, in nanoseconds by the ring's [`Clock`](crate::Clock), to compare with
    /// [`Record::time`]; by `CLOCK_MONOTONIC` on a ring without stamps.
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

    /// Gives a record's space back; a forked child's copy of the record has none.
    #[inline]
    pub(crate) fn release(&self, held: Held) {
        if !self.birth.is_here() {
            return;
        }
        let shared = self.memory.shared();
        let pins = Pins::new(&self.pin_bits, &self.pin_count);
        if let Some((before, after)) = self.reader.release(shared, self.slot(), pins, held) {
            after_release(shared.ctl, before, after, &RoomBell::of(&self.memory));
        }
    }

    #[inline]
    fn slot(&self) -> &Slot {
        &self.memory.slots()[self.slot as usize]
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

    /// The end that the producer's words say, once everything before it is read.
    fn end_of_state(&self) -> Option<RecvError> {
        let shared = self.memory.shared();
        match self.reader.ended(shared) {
            Some(end) => Some(end.into()),
            None if self.reader.is_damaged() => Some(RecvError::Corrupt),
            None if self.reader.is_evicted(shared) => Some(RecvError::Evicted),
            None => None,
        }
    }

    /// The end, also that of a producer that died without a word; asks the kernel once per liveness interval.
    fn end(&self, now: Instant) -> Option<RecvError> {
        let shared = self.memory.shared();
        if self.reader.put_right(self.slot()) {
            when_empty(shared.ctl, &RoomBell::of(&self.memory));
        }
        self.life.end(shared.producer, now, || self.end_of_state(), || self.reader.is_ready(shared))
    }

    /// Whether a reader about to sleep still may.
    fn may_sleep(&self) -> bool {
        let shared = self.memory.shared();
        !(self.reader.is_ready(shared)
            || self.reader.is_evicted(shared)
            || self.reader.is_damaged()
            || has_turned(shared.producer, self.life.epoch()))
    }

    /// What a look says that found no record to take, when there is something.
    #[cold]
    fn why_lost(&self) -> Option<RecvError> {
        let shared = self.memory.shared();
        match self.reader.pass_over(shared, self.slot()) {
            // The record that is wanted, if it is there, is found at the next look.
            Passed::All | Passed::Some => {
                when_empty(shared.ctl, &RoomBell::of(&self.memory));
                None
            }
            Passed::Lost | Passed::Nothing if self.reader.is_evicted(shared) => Some(RecvError::Evicted),
            Passed::Lost | Passed::Nothing => Some(RecvError::Corrupt),
        }
    }

    #[cold]
    fn recv_slow(&self, deadline: Option<Instant>) -> Result<Record<'_>, RecvTimeoutError> {
        self.let_them_gather();
        self.sleeping.begin();
        let mut waiter = Awaiting { subscriber: self };
        match wait(&mut waiter, Ladder::new(self.waiting.get()), deadline) {
            Some(got) => got.map_err(RecvTimeoutError::Ended),
            None => Err(RecvTimeoutError::TimedOut),
        }
    }

    /// Before the first look of a wait: a short pause, if a run of records has come to its end.
    ///
    /// A reader that follows a stream at the heels takes the line away from the producer at each look, and both
    /// go at the pace of the line. A pause as long as the run lets the next records gather. After a single record,
    /// as in a dialogue, there is none.
    fn let_them_gather(&self) {
        let sequence = self.reader.sequence();
        let run = sequence.wrapping_sub(self.empty_at.replace(sequence));
        for _ in 1..run.min(LONGEST_PAUSE) {
            annulus_core::sync::relax();
        }
    }
}

impl Sleeper for Subscriber {
    fn bell(&self) -> Option<&Memory> {
        self.sleeping.bell(&self.memory)
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self.memory.ctl()).addr()
    }

    fn bits(&self) -> u32 {
        READERS
    }

    fn longest_nap(&self) -> Duration {
        NAP_LONGEST
    }

    fn has_news(&self) -> bool {
        !self.birth.is_here() || self.reader.is_ready(self.memory.shared()) || self.end_of_state().is_some()
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn end_at(&self, now: Instant) -> Option<RecvError> {
        self.end(now)
    }

    fn ring(&self) {
        when_empty(self.memory.ctl(), &RoomBell::of(&self.memory));
    }

    fn go_to_sleep(&self, extra: u32, most: Duration) -> Result<Sleep, Slept> {
        self.sleeping.go_to_sleep((&self.memory, self.slot), READERS | extra, most, || !self.may_sleep())
    }

    fn slept(&self, sleep: Sleep, passed: bool) {
        self.sleeping.slept((&self.memory, self.slot), sleep, passed);
    }
}

/// A subscriber that waits.
struct Awaiting<'a> {
    subscriber: &'a Subscriber,
}

impl<'a> Waiter for Awaiting<'a> {
    type Got = Result<Record<'a>, RecvError>;

    #[inline]
    fn look(&mut self) -> Option<Self::Got> {
        match self.subscriber.reader.look(self.subscriber.memory.shared()) {
            Look::Record(held) => Some(Ok(Record::new(self.subscriber, held))),
            Look::Lost => self.subscriber.why_lost().map(Err),
            Look::Empty => None,
        }
    }

    fn ring(&mut self) {
        self.subscriber.ring();
    }

    fn end(&mut self, now: Instant) -> Option<Self::Got> {
        self.subscriber.end(now).map(Err)
    }

    fn patience(&self, now: Instant) -> Duration {
        self.subscriber.life.patience(now)
    }

    fn park(&mut self, left: Duration) {
        let Subscriber { memory, slot, sleeping, .. } = self.subscriber;
        sleeping.park((memory, *slot), READERS, left, || !self.subscriber.may_sleep());
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if !self.birth.is_this_process() {
            return;
        }
        leave_slot(&self.memory, &self.ctl, self.slot);
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("slot", &self.slot)
            .field("sequence", &self.sequence())
            .field("held_bytes", &self.held_bytes())
            .finish_non_exhaustive()
    }
}

/// Records as they come: see [`Subscriber::iter`].
#[derive(Debug)]
pub struct Iter<'a> {
    subscriber: &'a Subscriber,
    ended: bool,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Record<'a>, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.subscriber.recv() {
            Ok(record) => Some(Ok(record)),
            Err(end) => {
                self.ended = true;
                (end != RecvError::Closed).then_some(Err(end))
            }
        }
    }
}

impl<'a> IntoIterator for &'a Subscriber {
    type Item = Result<Record<'a>, RecvError>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
