//! How a producer comes by room: it frees the slots of the dead, gives up the slow where the ring allows, and
//! sleeps until a reader has read.

use std::time::{Duration, Instant};

use annulus_core::doorbell::{
    Light, Settled, Sleep, Slept, go_to_sleep_for_room, sleep_for_room, stop_waiting,
};
use annulus_core::group::help;
use annulus_core::header::HEADER_BYTES;
use annulus_core::ladder::{Ladder, Rung};
use annulus_core::layout::{Counter, WakeBackend};
use annulus_core::memory::{Mirror, Shared};
use annulus_core::shape::Shape;
use annulus_core::slots;
use annulus_core::words::NO_CURSOR;
use annulus_core::writer::{Full, Refusal, Who, Writer};
use annulus_os::sys;

use crate::bells::{ReaderBell, RoomBell};
use crate::error::{WaitError, at_home};
use crate::group::GroupBytes;
use crate::life::{SlotBytes, is_slot_held};
use crate::producer::Producer;

/// A producer's first sleep for room: short, since a reader that goes on without a fence may miss the
/// declaration once. Shorter than a reader's own, since nothing but time makes that rare.
pub(crate) const FIRST_SLEEP: Duration = Duration::from_millis(1);
/// Between two looks for room: a pause of the processor for so many bytes of a full ring, which readers work
/// through meanwhile, but no more than so many pauses.
const BYTES_A_PAUSE: u64 = 1024;
const LONGEST_PAUSE: u64 = 64;
/// Where nobody may sleep, a blocked producer naps.
pub(crate) const NAP: Duration = Duration::from_micros(50);
/// So many readers that are in the way of one record have patience of their own, one after another. Whoever may write
/// `ctl` can make one look like many.
const TURNS: u32 = 8;
/// No cursor reaches it: who waits for it waits for whatever else ends the wait.
const NO_POSITION: u64 = u64::MAX - 1;

/// Since when a producer has been refused room, for rings that give up slow readers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused {
    since: Instant,
    /// Where it was then: a refusal further on is another one.
    tail: u64,
    /// Who was in the way: of a slot, its generation too. Another has patience of its own.
    who: (Who, u32),
    /// How many of those there were one after another.
    turns: u32,
}

impl Producer {
    /// Waits until the ring has `n` living subscribers of any kind; observers are not known to anybody.
    ///
    /// For a producer that starts first and wants its first records read by all. Nothing keeps a subscriber from
    /// leaving a moment later.
    ///
    /// # Errors
    ///
    /// [`WaitError::TooMany`] if the ring has fewer places.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-wait-{}", std::process::id());
    /// let mut tx = Ring::create("jobs").dir(&dir).producer()?;
    /// let path = dir.clone();
    /// let reader = std::thread::spawn(move || {
    ///     let rx = Ring::open("jobs").dir(path).subscribe().unwrap();
    ///     rx.recv().unwrap().to_vec()
    /// });
    /// tx.wait_for_subscribers(1)?;
    /// tx.send(b"the first")?;
    /// assert_eq!(reader.join().unwrap(), b"the first");
    /// # drop(tx);
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_for_subscribers(&self, n: u32) -> Result<(), WaitError> {
        self.wait_until_joined(n, None)
    }

    /// The same, waiting at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`WaitError`].
    pub fn wait_for_subscribers_timeout(&self, n: u32, timeout: Duration) -> Result<(), WaitError> {
        self.wait_until_joined(n, Instant::now().checked_add(timeout))
    }

    fn wait_until_joined(&self, n: u32, deadline: Option<Instant>) -> Result<(), WaitError> {
        at_home(self.birth)?;
        let max = self.memory.slots().len() as u32;
        if n > max {
            return Err(WaitError::TooMany { max });
        }
        let outcome = loop {
            let present = self.subscribers();
            if present >= n {
                break Ok(());
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                break Err(WaitError::TimedOut { present });
            }
            let left = deadline.map_or(self.reaping.interval(), |deadline| deadline - now);
            if self.light == Light::Never {
                sys::nap(left.min(NAP));
                continue;
            }
            // Joiners ring as readers do that find the ring empty: behind a fence. So nothing need settle.
            let (mut settled, ctl) = (Settled::default(), self.memory.ctl());
            let limits = [None, Some(left.min(self.reaping.interval()))];
            let bell = RoomBell::of(&self.memory);
            sleep_for_room(ctl, NO_POSITION, &bell, &mut settled, limits, || self.subscribers() >= n);
        };
        stop_waiting(self.memory.ctl());
        outcome
    }

    /// Living subscribers that have joined.
    fn subscribers(&self) -> u32 {
        let Ok(ctl) = self.holdings.ctl.file() else { return 0 };
        let joined = |(i, slot): &(usize, &annulus_core::layout::Slot)| {
            slot.is_active() && slot.cursor.look() != NO_CURSOR && is_slot_held(ctl, *i as u32)
        };
        self.memory.slots().iter().enumerate().filter(joined).count() as u32
    }

    /// Tries once more if the ring was full and a dead subscriber was in the way.
    #[cold]
    pub(crate) fn after_reaping<T>(
        &mut self,
        refusal: Refusal,
        mut attempt: impl FnMut(&mut Writer, &Shared<'_, Mirror<'_>>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Refusal::Full(full) = refusal else { return Err(refusal) };
        self.writer.note_full(self.memory.shared());
        let now = Instant::now();
        if self.reap(full, now) || self.give_up(full, now) {
            attempt(&mut self.writer, self.memory.shared())
        } else {
            Err(refusal)
        }
    }

    /// Tries until it succeeds, the deadline has passed, or it is too large.
    pub(crate) fn wait_for<T>(
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
        let (mut ladder, mut settled) = (Ladder::new(self.waiting), Settled::default());
        let pauses = (self.writer.shape().capacity() / BYTES_A_PAUSE).clamp(1, LONGEST_PAUSE);
        loop {
            let rung = ladder.step();
            // A deadline for readers counts from the first refusal, and none is waited for that has none.
            if ladder.due(rung) || self.evict_after.is_some() {
                let now = Instant::now();
                self.reap(full, now);
                self.give_up(full, now);
                if deadline.is_some_and(|deadline| now >= deadline) {
                    return attempt(&mut self.writer, self.memory.shared());
                }
                if rung == Rung::Park {
                    self.sleep(full, deadline.map(|deadline| deadline - now), &mut settled);
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
    fn sleep(&mut self, full: Full, left: Option<Duration>, settled: &mut Settled) {
        let most = self.patience(left);
        if self.light == Light::Never {
            sys::nap(most.min(NAP));
            return;
        }
        let limits = [FIRST_SLEEP, most].map(Some);
        let shared = self.memory.shared();
        let end = end_of(full, self.writer.shape());
        let writer = &mut self.writer;
        let bell = RoomBell::of(&self.memory);
        let look = || writer.extend(shared, end).is_ok();
        let slept = sleep_for_room(shared.ctl, full.wanted, &bell, settled, limits, look);
        if slept == Slept::Woken {
            shared.producer.count(Counter::Sleeps, 1);
        }
    }

    /// How long it may sleep before it looks after its readers.
    fn patience(&self, left: Option<Duration>) -> Duration {
        let patience = match (self.evict_after, self.refused) {
            (Some(patience), Some(refused)) => patience.saturating_sub(refused.since.elapsed()),
            _ => Duration::MAX,
        };
        left.map_or(Duration::MAX, |left| left).min(self.reaping.interval()).min(patience)
    }

    /// Declares itself asleep at the bell of `room`, for somebody else who does the sleeping. `None`: nobody can, so look again
    /// in a while.
    ///
    /// # Errors
    ///
    /// Why it should not sleep.
    pub(crate) fn go_to_sleep(&mut self, full: Full, settled: Settled) -> Option<Result<Sleep, Slept>> {
        if self.light == Light::Never || self.memory.identity().wake != WakeBackend::Futex {
            return None;
        }
        let limits = [FIRST_SLEEP, self.patience(None)].map(Some);
        let shared = self.memory.shared();
        let end = end_of(full, self.writer.shape());
        let writer = &mut self.writer;
        let look = || writer.extend(shared, end).is_ok();
        Some(go_to_sleep_for_room(shared.ctl, full.wanted, settled, limits, look))
    }

    /// Goes on without the readers that are in the way, if the ring allows that and they have been waited for long
    /// enough. Says whether it did.
    fn give_up(&mut self, full: Full, now: Instant) -> bool {
        let Some(patience) = self.evict_after else { return false };
        let tail = self.writer.tail();
        let slot = match full.who {
            Who::Slot(slot) => self.memory.slots().get(slot as usize),
            // Rings with groups give up nobody.
            Who::Group(_) => None,
        };
        let who = (full.who, slot.map_or(0, |slot| slot.generation.glance()));
        let refused = match self.refused {
            Some(refused) if refused.tail != tail => Refused { since: now, tail, who, turns: 1 },
            Some(refused) if refused.who != who && refused.turns < TURNS => {
                Refused { since: now, who, turns: refused.turns + 1, ..refused }
            }
            Some(refused) => refused,
            None => Refused { since: now, tail, who, turns: 1 },
        };
        self.refused = Some(refused);
        if now.saturating_duration_since(refused.since) < patience {
            return false;
        }
        let shared = self.memory.shared();
        match self.writer.evict(shared, end_of(full, self.writer.shape())) {
            Ok(evicted) => {
                shared.producer.count(Counter::Evicted, evicted);
                true
            }
            // A batch that fills the ring by itself, which no reader is to blame for.
            Err(_) => false,
        }
    }

    /// Frees the slots of dead subscribers that are in the way, and helps the groups that are, at most once per liveness
    /// interval. Locks tell who is dead: the kernel drops them when the holder dies. Says whether there may be room now.
    fn reap(&self, full: Full, now: Instant) -> bool {
        if !self.reaping.is_due(now) {
            return false;
        }
        let locks = SlotBytes(&self.holdings.ctl);
        let freed = slots::reap(self.memory.shared(), &self.writer, full, &locks);
        if freed > 0 {
            self.memory.head().producer.count(Counter::Reaped, freed);
        }
        self.help(full) || freed > 0
    }

    /// Does for the groups in the way what their workers have not done, or cannot any more.
    fn help(&self, full: Full) -> bool {
        let (shared, shape, ctl) = (self.memory.shared(), self.writer.shape(), &self.holdings.ctl);
        let mut helped = false;
        for (number, words) in shared.all_groups() {
            let floor = words.head.floor.look();
            if self.writer.counts(floor) && floor < full.wanted {
                let (slots, groups, bell) = (SlotBytes(ctl), GroupBytes(ctl), ReaderBell::of(&self.memory));
                // Any sequence near enough will do, to tell the header at the floor.
                helped |= help(shape, shared, number, self.writer.sequence(), &slots, &groups, &bell);
            }
        }
        helped
    }
}

/// The end of the record that was refused, or of the smallest that would have been.
fn end_of(full: Full, shape: &Shape) -> u64 {
    full.wanted + shape.capacity() - HEADER_BYTES
}
