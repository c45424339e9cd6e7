//! The sending end of a ring.

use std::cell::Cell;
use std::fs::File;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use annulus_core::doorbell::{
    Light, Slept, approach, sleep_for_room, someone_sleeps, stop_waiting, wake_everyone, wake_readers,
};
use annulus_core::ladder::{Ladder, Rung, Waiting};
use annulus_core::layout::{Counter, FenceMode, Options};
use annulus_core::memory::{Mirror, Shared};
use annulus_core::writer::{Full, Refusal, Room, Writer};
use annulus_os::{Futex, lock, membarrier, sys};

use crate::claim::Claim;
use crate::error::{Behind, SendError, SendTimeoutError, TrySendError};
use crate::life::{Rate, try_lock_slot, unlock_slot};
use crate::memory::Memory;
use crate::registry::{Home, LOCK, RingDir};

/// A producer's first sleep for room: short, since a reader that goes on without a fence may miss the
/// declaration once.
const FIRST_SLEEP: Duration = Duration::from_millis(1);
/// Between two looks for room: a pause of the processor for so many bytes of a full ring, which readers work
/// through meanwhile, but no more than so many pauses.
const BYTES_A_PAUSE: u64 = 1024;
const LONGEST_PAUSE: u64 = 64;
/// Where nobody may sleep, a blocked producer naps.
const NAP: Duration = Duration::from_micros(50);

/// What a producer holds besides the mappings: the locks and where they are.
#[derive(Debug)]
pub(crate) struct Holdings {
    /// Its lock keeps other producers out.
    pub(crate) owner: File,
    /// Its lock tells readers that this producer lives.
    pub(crate) life: File,
    /// Through which the locks of dead subscribers' slots are taken.
    pub(crate) ctl: File,
    pub(crate) ring: RingDir,
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
#[derive(Debug)]
pub struct Producer {
    name: String,
    writer: Writer,
    memory: Memory,
    light: Light,
    waiting: Waiting,
    reaping: Rate,
    holdings: Holdings,
    home: Home,
    /// Whose handle this is: a forked child's copy must not end what is its parent's.
    pid: u32,
    not_sync: PhantomData<Cell<()>>,
}

impl Producer {
    pub(crate) fn new(
        name: String,
        waiting: Waiting,
        writer: Writer,
        memory: Memory,
        holdings: Holdings,
        home: Home,
    ) -> Producer {
        let light = match memory.identity().fence_mode {
            FenceMode::SpinOnly => Light::Never,
            // Registered now, by this process: a stranger's registration says nothing about us.
            FenceMode::Asymmetric if membarrier::register() => Light::Compiler,
            _ => Light::Full,
        };
        let interval = Duration::from_millis(u64::from(memory.identity().liveness_ms));
        let reaping = Rate::new(interval);
        Producer {
            name,
            writer,
            memory,
            light,
            waiting,
            reaping,
            holdings,
            home,
            pid: sys::pid(),
            not_sync: PhantomData,
        }
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
        match self.publish(payload) {
            Ok(()) => Ok(()),
            Err(refusal) => self.send_slow(payload, refusal, None).map_err(|error| match error {
                SendTimeoutError::TooLarge { len, max } => SendError::TooLarge { len, max },
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
            let payload = record.as_ref();
            match self.writer.stage(&mut batch, self.memory.shared(), payload) {
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
            let payload = record.as_ref();
            match self.writer.stage(&mut batch, self.memory.shared(), payload) {
                Ok(()) => {}
                Err(refusal) => {
                    let again = self
                        .after_reaping(refusal, |writer, shared| writer.stage(&mut batch, shared, payload));
                    match again {
                        Ok(()) => {}
                        Err(Refusal::Full(_)) => break,
                        Err(Refusal::TooLarge) => {
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
        match self.writer.claim(self.memory.shared(), len as u64) {
            Ok(room) => Ok(Claim::new(self, room)),
            Err(refusal) => {
                let again = self.after_reaping(refusal, |writer, shared| writer.claim(shared, len as u64));
                match again {
                    Ok(room) => Ok(Claim::new(self, room)),
                    Err(Refusal::TooLarge) => Err(TrySendError::TooLarge { len, max: self.max_len() }),
                    Err(Refusal::Full(full)) => Err(TrySendError::Full(behind(full))),
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
        self.writer.shape().max_len() as usize
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

    /// Whether the ring's name still means this ring; files can be deleted under a running program.
    pub fn is_linked(&self) -> bool {
        self.home.still_means(&self.name, &self.holdings.ring)
    }

    /// Writes into claimed room.
    pub(crate) fn fill(&mut self, room: &Room, offset: u64, bytes: &[u8]) {
        self.writer.fill(room, self.memory.shared(), offset, bytes);
    }

    /// Publishes claimed room.
    #[inline]
    pub(crate) fn commit(&mut self, room: Room, len: u64) {
        self.writer.commit(room, self.memory.shared(), len);
        self.ring_bell();
    }

    fn flush(&mut self, batch: annulus_core::writer::Batch) -> u64 {
        let sent = self.writer.flush(batch, self.memory.shared());
        if sent > 0 {
            self.ring_bell();
        }
        sent
    }

    /// Publishes one record and wakes who waits for it.
    #[inline]
    fn publish(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        approach(self.memory.ctl());
        self.writer.publish(self.memory.shared(), payload)?;
        self.ring_bell();
        Ok(())
    }

    /// Wakes readers if any sleeps: after each publication.
    #[inline]
    fn ring_bell(&self) {
        if someone_sleeps(self.memory.ctl(), self.light) {
            wake_readers(self.memory.ctl(), &Futex);
            self.memory.head().producer.count(Counter::Wakes, 1);
        }
    }

    fn too_large(&self, payload: &[u8]) -> SendError {
        SendError::TooLarge { len: payload.len(), max: self.max_len() }
    }

    #[cold]
    fn try_send_slow(&mut self, payload: &[u8], refusal: Refusal) -> Result<(), TrySendError> {
        match self.after_reaping(refusal, |writer, shared| writer.publish(shared, payload)) {
            Ok(()) => {
                self.ring_bell();
                Ok(())
            }
            Err(Refusal::Full(full)) => Err(TrySendError::Full(behind(full))),
            Err(Refusal::TooLarge) => Err(self.too_large(payload).into()),
        }
    }

    /// Tries once more if the ring was full and a dead subscriber was in the way.
    #[cold]
    fn after_reaping<T>(
        &mut self,
        refusal: Refusal,
        mut attempt: impl FnMut(&mut Writer, &Shared<'_, Mirror<'_>>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Refusal::Full(full) = refusal else { return Err(refusal) };
        self.writer.note_full(self.memory.shared());
        if self.reap(full, Instant::now()) {
            attempt(&mut self.writer, self.memory.shared())
        } else {
            Err(refusal)
        }
    }

    #[cold]
    fn send_slow(
        &mut self,
        payload: &[u8],
        refusal: Refusal,
        deadline: Option<Instant>,
    ) -> Result<(), SendTimeoutError> {
        match self.wait_for(refusal, deadline, |writer, shared| writer.publish(shared, payload)) {
            Ok(()) => {
                self.ring_bell();
                Ok(())
            }
            Err(Refusal::Full(full)) => Err(SendTimeoutError::TimedOut(behind(full))),
            Err(Refusal::TooLarge) => {
                Err(SendTimeoutError::TooLarge { len: payload.len(), max: self.max_len() })
            }
        }
    }

    /// Tries until it succeeds, the deadline has passed, or it is too large.
    fn wait_for<T>(
        &mut self,
        refusal: Refusal,
        deadline: Option<Instant>,
        attempt: impl FnMut(&mut Writer, &Shared<'_, Mirror<'_>>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let outcome = self.keep_trying(refusal, deadline, attempt);
        stop_waiting(self.memory.ctl());
        outcome
    }

    fn keep_trying<T>(
        &mut self,
        refusal: Refusal,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Writer, &Shared<'_, Mirror<'_>>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Refusal::Full(mut full) = refusal else { return Err(refusal) };
        self.writer.note_full(self.memory.shared());
        let mut ladder = Ladder::new(self.waiting);
        let pauses = (self.writer.shape().capacity() / BYTES_A_PAUSE).clamp(1, LONGEST_PAUSE);
        loop {
            let rung = ladder.step();
            if ladder.due(rung) {
                let now = Instant::now();
                self.reap(full, now);
                if deadline.is_some_and(|deadline| now >= deadline) {
                    return attempt(&mut self.writer, self.memory.shared());
                }
                if rung == Rung::Park {
                    self.sleep(full, deadline.map(|deadline| deadline - now));
                }
            }
            match rung {
                // A full ring holds work for its readers; each look at their cursors slows them down.
                Rung::Spin | Rung::Pause => (0..pauses).for_each(|_| annulus_core::sync::relax()),
                Rung::Yield => std::thread::yield_now(),
                Rung::Park => {}
            }
            match attempt(&mut self.writer, self.memory.shared()) {
                Err(Refusal::Full(still)) => full = still,
                other => return other,
            }
        }
    }

    /// Sleeps until a reader says that the wanted position is reached.
    fn sleep(&mut self, full: Full, left: Option<Duration>) {
        let at_most = |limit: Duration| left.map_or(limit, |left| left.min(limit));
        if self.light == Light::Never {
            std::thread::sleep(at_most(NAP));
            return;
        }
        let limits = [at_most(FIRST_SLEEP), at_most(self.reaping.interval())].map(Some);
        let shared = self.memory.shared();
        let end = full.wanted + self.writer.shape().capacity() - annulus_core::header::HEADER_BYTES;
        let writer = &mut self.writer;
        let slept =
            sleep_for_room(shared.ctl, full.wanted, &Futex, limits, || writer.extend(shared, end).is_ok());
        if slept == Slept::Woken {
            shared.producer.count(Counter::Sleeps, 1);
        }
    }

    /// Frees the slots of dead subscribers that are in the way, at most once per liveness interval. Their
    /// locks tell: the kernel drops them when the holder dies. Says whether it freed any.
    fn reap(&self, full: Full, now: Instant) -> bool {
        if !self.reaping.is_due(now) {
            return false;
        }
        let mut freed = 0;
        for (i, slot) in self.memory.slots().iter().enumerate() {
            let cursor = slot.cursor.look();
            if !self.writer.counts(cursor) || cursor >= full.wanted {
                continue;
            }
            if matches!(try_lock_slot(&self.holdings.ctl, i as u32), Ok(true)) {
                // Under the lock the slot is nobody's, whatever its words say, and stays so until it is unlocked.
                slot.vacate();
                freed += 1;
                // Unlocking what we hold does not fail; were it to, the slot would only stay unused.
                let _ = unlock_slot(&self.holdings.ctl, i as u32);
            }
        }
        if freed > 0 {
            self.memory.head().producer.count(Counter::Reaped, freed);
        }
        freed > 0
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if self.pid != sys::pid() {
            return;
        }
        // The state first, then the wake, then the locks: a reader that finds the lock free finds the state too.
        self.writer.close(self.memory.shared());
        wake_everyone(self.memory.ctl(), &Futex);
        if !self.memory.identity().options.has(Options::PERSISTENT) {
            self.home.retire(&self.name, &self.holdings.ring);
        }
        // Not left to the descriptors: a child between fork and exec has copies, which would keep the locks.
        // Were unlocking to fail, closing would still do it.
        let _ = lock::unlock(&self.holdings.life, LOCK);
        let _ = lock::unlock(&self.holdings.owner, LOCK);
    }
}

fn behind(full: Full) -> Behind {
    Behind { slot: full.slot, bytes: full.behind }
}
