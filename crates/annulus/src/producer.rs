//! The sending end of a ring.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use annulus_core::doorbell::{Light, approach, end, someone_sleeps, wake_readers};
use annulus_core::ladder::Waiting;
use annulus_core::layout::{Counter, FenceMode, Options};
use annulus_core::memory::{Mirror, Shared};
use annulus_core::writer::{Batch, Full, Refusal, Room, Writer};
use annulus_os::{Birth, LockFile, membarrier};

use crate::acked::Acking;
use crate::bells::ReaderBell;
use crate::claim::Claim;
use crate::clock::Timekeeper;
use crate::error::{Behind, Error, ErrorKind, SendError, SendTimeoutError, TrySendError, at_home};
use crate::life::Rate;
use crate::memory::Memory;
use crate::registry::Name;
use crate::room::Refused;
use crate::whereabouts::{Held, Whereabouts};

/// What a producer holds besides the mappings: the locks and where the ring is.
#[derive(Debug)]
pub(crate) struct Holdings {
    /// Its lock keeps other producers out.
    pub(crate) owner: Held,
    /// Its lock tells readers that this producer lives. Not of a ring that is left without a producer.
    pub(crate) life: Option<Held>,
    /// Through which the locks of dead subscribers' slots are taken.
    pub(crate) ctl: LockFile,
    pub(crate) whereabouts: Whereabouts,
}

/// The one sending end of a ring.
///
/// `Send`, not `Sync` and not `Clone`: that a ring has a single producer is a fact of the types. Dropping it ends
/// the ring cleanly: readers drain what was sent, then get [`Closed`](crate::RecvError::Closed); unless the
/// ring is persistent, its name is free again.
///
/// # Examples
///
/// ```
/// use annulus::Ring;
/// # let dir = format!("/dev/shm/annulus-doc-producer-{}", std::process::id());
/// let mut tx = Ring::create("orders").dir(&dir).producer()?;
/// let rx = Ring::open("orders").dir(&dir).subscribe()?;
/// tx.send(b"buy 100")?;
/// assert_eq!(&*rx.recv()?, b"buy 100");
/// # drop(tx);
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Producer {
    name: String,
    pub(crate) writer: Writer,
    pub(crate) memory: Memory,
    pub(crate) light: Light,
    pub(crate) waiting: Waiting,
    pub(crate) reaping: Rate,
    /// How long a record waits for slow readers, on rings that give them up.
    pub(crate) evict_after: Option<Duration>,
    pub(crate) refused: Option<Refused>,
    /// The room that the last record found none of, for who waits for it elsewhere.
    pub(crate) wanted: Option<Full>,
    pub(crate) acking: Acking,
    keeper: Timekeeper,
    pub(crate) holdings: Holdings,
    /// Whose handle this is: a forked child's copy must not end what is its parent's.
    pub(crate) birth: Birth,
    not_sync: PhantomData<Cell<()>>,
}

impl Producer {
    pub(crate) fn new(
        name: String,
        waiting: Waiting,
        writer: Writer,
        memory: Memory,
        holdings: Holdings,
    ) -> Result<Producer, Error> {
        let identity = *memory.identity();
        let keeper =
            Timekeeper::of(&identity).ok_or_else(|| Error::of(ErrorKind::Corrupt("clock"), &name))?;
        let light = match identity.fence_mode {
            FenceMode::SpinOnly => Light::Never,
            // Registered now, by this process: a stranger's registration says nothing about us.
            FenceMode::Asymmetric if membarrier::register() => Light::Compiler,
            _ => Light::Full,
        };
        let interval = Duration::from_millis(u64::from(identity.liveness_ms));
        // A nanosecond stands for none: zero says that nobody is given up.
        let evict_after = match identity.evict_after_ns {
            0 => None,
            1 => Some(Duration::ZERO),
            nanos => Some(Duration::from_nanos(nanos)),
        };
        Ok(Producer {
            name,
            writer,
            memory,
            light,
            waiting,
            reaping: Rate::new(interval),
            evict_after,
            refused: None,
            wanted: None,
            acking: Acking::new(interval),
            keeper,
            holdings,
            birth: Birth::here(),
            not_sync: PhantomData,
        })
    }

    /// Sends one record, waiting while a subscriber is a full ring behind.
    ///
    /// Makes no system call while nobody sleeps and there is room. A subscriber that is stopped is slow, not
    /// dead, and is waited for; one that is dead stops counting within a liveness interval. A thread that
    /// holds a full ring's worth of records of its own and sends to it waits for ever.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`]; nothing was sent.
    #[inline]
    pub fn send(&mut self, payload: &[u8]) -> Result<(), SendError> {
        at_home(self.birth)?;
        match self.publish(payload) {
            Ok(()) => Ok(()),
            Err(refusal) => self.send_slow(payload, refusal, None).map_err(|error| match error {
                SendTimeoutError::TooLarge { len, max } => SendError::TooLarge { len, max },
                SendTimeoutError::Forked => SendError::Forked,
                SendTimeoutError::TimedOut(_) => unreachable!("a wait without a deadline does not end by it"),
            }),
        }
    }

    /// Sends one record if there is room now.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] with the reader that is furthest behind, or [`TrySendError::TooLarge`]; nothing
    /// was sent.
    #[inline]
    pub fn try_send(&mut self, payload: &[u8]) -> Result<(), TrySendError> {
        at_home(self.birth)?;
        match self.publish(payload) {
            Ok(()) => Ok(()),
            Err(refusal) => self.try_send_slow(payload, refusal),
        }
    }

    /// Sends one record, waiting at most `timeout` for room. A record that finds room at the last look is sent.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]; nothing was sent.
    pub fn send_timeout(&mut self, payload: &[u8], timeout: Duration) -> Result<(), SendTimeoutError> {
        at_home(self.birth)?;
        match self.publish(payload) {
            Ok(()) => Ok(()),
            Err(refusal) => self.send_slow(payload, refusal, Instant::now().checked_add(timeout)),
        }
    }

    /// Sends many records, waiting while the ring is full; returns how many. As many as fit become visible at
    /// once, in one store; a batch larger than the ring goes in parts.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`] at a record that is too long; those before it were sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-batch-{}", std::process::id());
    /// # let mut tx = Ring::create("batch").dir(&dir).producer()?;
    /// # let rx = Ring::open("batch").dir(&dir).subscribe()?;
    /// assert_eq!(tx.send_batch(["one", "two", "three"])?, 3);
    /// assert_eq!(rx.iter().take(3).map(|r| r.unwrap().len()).sum::<usize>(), 11);
    /// # drop(tx);
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_batch<I>(&mut self, records: I) -> Result<u64, SendError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut sent = 0;
        let mut batch = self.writer.batch();
        for record in records {
            at_home(self.birth)?;
            let payload = record.as_ref();
            match self.stage(&mut batch, payload) {
                Ok(()) => {}
                Err(refusal) => {
                    // What fits goes out first: a reader may be asleep, and must read to make room.
                    sent += self.flush(batch);
                    if refusal == Refusal::TooLarge {
                        return Err(self.too_large(payload));
                    }
                    // Waits and sends this one alone; the next begin a new batch behind it.
                    self.send(payload)?;
                    sent += 1;
                    batch = self.writer.batch();
                }
            }
        }
        Ok(sent + self.flush(batch))
    }

    /// Sends the first of many records that fit now, visible at once; returns how many those are, which may be
    /// none.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`] if the first that does not fit now can never fit; those before it were sent.
    pub fn try_send_batch<I>(&mut self, records: I) -> Result<u64, SendError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut batch = self.writer.batch();
        for record in records {
            at_home(self.birth)?;
            let payload = record.as_ref();
            match self.stage(&mut batch, payload) {
                Ok(()) => {}
                Err(refusal) => {
                    let keeper = self.keeper;
                    let again = self.after_reaping(refusal, |writer, shared| {
                        stage(writer, &keeper, &mut batch, shared, payload)
                    });
                    match again {
                        Ok(()) => {}
                        Err(Refusal::Full(_)) => break,
                        Err(Refusal::TooLarge | Refusal::NeedsStamp) => {
                            self.flush(batch);
                            return Err(self.too_large(payload));
                        }
                    }
                }
            }
        }
        Ok(self.flush(batch))
    }

    /// Room for one record of up to `len` bytes, to be written in pieces and committed; waits while the ring
    /// is full. Dropped without commit it leaves nothing.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// # use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-claim-{}", std::process::id());
    /// # let mut tx = Ring::create("claim").dir(&dir).producer()?;
    /// # let rx = Ring::open("claim").dir(&dir).subscribe()?;
    /// let mut claim = tx.claim(64)?;
    /// claim.write_all(b"hello")?;
    /// claim.commit();
    /// assert_eq!(&*rx.recv()?, b"hello");
    /// # drop(tx);
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn claim(&mut self, len: usize) -> Result<Claim<'_>, SendError> {
        at_home(self.birth)?;
        let room = match self.writer.claim(self.memory.shared(), len as u64) {
            Ok(room) => room,
            Err(refusal) => self
                .wait_for(refusal, None, |writer, shared| writer.claim(shared, len as u64))
                .map_err(|_| SendError::TooLarge { len, max: self.max_len() })?,
        };
        Ok(Claim::new(self, room))
    }

    /// The same if there is room now.
    ///
    /// # Errors
    ///
    /// [`TrySendError`].
    pub fn try_claim(&mut self, len: usize) -> Result<Claim<'_>, TrySendError> {
        at_home(self.birth)?;
        match self.writer.claim(self.memory.shared(), len as u64) {
            Ok(room) => Ok(Claim::new(self, room)),
            Err(refusal) => {
                let again = self.after_reaping(refusal, |writer, shared| writer.claim(shared, len as u64));
                match again {
                    Ok(room) => Ok(Claim::new(self, room)),
                    Err(Refusal::Full(full)) => Err(TrySendError::Full(behind(full))),
                    Err(Refusal::TooLarge | Refusal::NeedsStamp) => {
                        Err(TrySendError::TooLarge { len, max: self.max_len() })
                    }
                }
            }
        }
    }

    /// Bytes of record space.
    pub fn capacity(&self) -> usize {
        self.writer.shape().capacity() as usize
    }

    /// Longest record, in bytes.
    pub fn max_len(&self) -> usize {
        self.writer.shape().max_user_len() as usize
    }

    /// The sequence of the next record: how many this ring has published.
    pub fn sequence(&self) -> u64 {
        self.writer.sequence()
    }

    /// The ring's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How this handle waits from now on.
    pub fn set_waiting(&mut self, waiting: Waiting) {
        self.waiting = waiting;
    }

    /// Whether the ring's name still means this ring; files can be deleted under a running program. Always of one
    /// [without a name](crate::handover), which has none to lose.
    pub fn is_linked(&self) -> bool {
        self.holdings.whereabouts.meaning() == Name::Ours
    }

    /// Writes into claimed room. A forked child's copy of the claim writes nothing and sends nothing.
    pub(crate) fn fill(&mut self, room: &Room, offset: u64, bytes: &[u8]) {
        if !self.birth.is_here() {
            return;
        }
        self.writer.fill(room, self.memory.shared(), offset, bytes);
    }

    /// Publishes claimed room.
    #[inline]
    pub(crate) fn commit(&mut self, room: Room, len: u64) {
        if !self.birth.is_here() {
            return;
        }
        if let Some(stamp) = self.keeper.stamp() {
            self.writer.stamp(&room, self.memory.shared(), stamp);
        }
        self.writer.commit(room, self.memory.shared(), len);
        self.ring_bell(1);
    }

    fn flush(&mut self, batch: Batch) -> u64 {
        if !self.birth.is_here() {
            return 0;
        }
        let sent = self.writer.flush(batch, self.memory.shared());
        if sent > 0 {
            self.ring_bell(sent);
        }
        sent
    }

    /// Publishes one record and wakes who waits for it.
    #[inline]
    fn publish(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        approach(self.memory.ctl());
        self.writer.publish(self.memory.shared(), payload)?;
        self.ring_bell(1);
        Ok(())
    }

    /// Wakes readers if any sleeps: after each publication.
    #[inline]
    fn ring_bell(&self, records: u64) {
        if someone_sleeps(self.memory.ctl(), self.light) {
            wake_readers(self.memory.ctl(), records, &ReaderBell::of(&self.memory));
            self.memory.head().producer.count(Counter::Wakes, 1);
        }
    }

    /// Adds a record to a batch.
    #[inline]
    fn stage(&mut self, batch: &mut Batch, payload: &[u8]) -> Result<(), Refusal> {
        match self.writer.stage(batch, self.memory.shared(), payload) {
            Err(Refusal::NeedsStamp) => {
                stage(&mut self.writer, &self.keeper, batch, self.memory.shared(), payload)
            }
            other => other,
        }
    }

    pub(crate) fn too_large(&self, payload: &[u8]) -> SendError {
        SendError::TooLarge { len: payload.len(), max: self.max_len() }
    }

    /// What is left to try when the quick way did not publish: with a stamp, and over the dead.
    #[cold]
    fn try_send_slow(&mut self, payload: &[u8], refusal: Refusal) -> Result<(), TrySendError> {
        self.publish_slow(payload, refusal).map_err(|refusal| match refusal {
            Refusal::Full(full) => TrySendError::Full(behind(full)),
            Refusal::TooLarge | Refusal::NeedsStamp => self.too_large(payload).into(),
        })
    }

    /// Publishes if there is room now.
    pub(crate) fn publish_now(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        let outcome = self.publish(payload).or_else(|refusal| self.publish_slow(payload, refusal));
        self.wanted = match outcome {
            Err(Refusal::Full(full)) => Some(full),
            _ => None,
        };
        outcome
    }

    fn publish_slow(&mut self, payload: &[u8], refusal: Refusal) -> Result<(), Refusal> {
        let keeper = self.keeper;
        self.with_stamp(payload, refusal).or_else(|refusal| {
            self.after_reaping(refusal, |writer, shared| publish(writer, &keeper, shared, payload))
        })?;
        self.ring_bell(1);
        Ok(())
    }

    #[cold]
    fn send_slow(
        &mut self,
        payload: &[u8],
        refusal: Refusal,
        deadline: Option<Instant>,
    ) -> Result<(), SendTimeoutError> {
        let keeper = self.keeper;
        let outcome = self.with_stamp(payload, refusal).or_else(|refusal| {
            self.wait_for(refusal, deadline, |writer, shared| publish(writer, &keeper, shared, payload))
        });
        match outcome {
            Ok(()) => {
                self.ring_bell(1);
                Ok(())
            }
            Err(Refusal::Full(full)) => Err(SendTimeoutError::TimedOut(behind(full))),
            Err(Refusal::TooLarge | Refusal::NeedsStamp) => {
                Err(SendTimeoutError::TooLarge { len: payload.len(), max: self.max_len() })
            }
        }
    }

    /// On a ring with stamps, which the quick way refuses, publishes with one.
    fn with_stamp(&mut self, payload: &[u8], refusal: Refusal) -> Result<(), Refusal> {
        match refusal {
            Refusal::NeedsStamp => publish(&mut self.writer, &self.keeper, self.memory.shared(), payload),
            refusal => Err(refusal),
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("name", &self.name)
            .field("sequence", &self.sequence())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Publishes one record, with its time if the ring's records have one.
fn publish(
    writer: &mut Writer,
    keeper: &Timekeeper,
    shared: &Shared<'_, Mirror<'_>>,
    payload: &[u8],
) -> Result<(), Refusal> {
    match keeper.stamp() {
        None => writer.publish(shared, payload),
        Some(stamp) => writer.publish_stamped(shared, stamp, payload),
    }
}

/// Adds a record to a batch, with its time if the ring's records have one.
fn stage(
    writer: &mut Writer,
    keeper: &Timekeeper,
    batch: &mut Batch,
    shared: &Shared<'_, Mirror<'_>>,
    payload: &[u8],
) -> Result<(), Refusal> {
    match keeper.stamp() {
        None => writer.stage(batch, shared, payload),
        Some(stamp) => writer.stage_stamped(batch, shared, stamp, payload),
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if !self.birth.is_this_process() {
            return;
        }
        // Before the locks.
        end(&mut self.writer, self.memory.shared(), &ReaderBell::of(&self.memory));
        if !self.memory.identity().options.has(Options::PERSISTENT) {
            self.holdings.whereabouts.retire();
        }
        if let Some(life) = &self.holdings.life {
            life.release();
        }
        self.holdings.owner.release();
    }
}

pub(crate) fn behind(full: Full) -> Behind {
    Behind { who: full.who, bytes: full.behind }
}
