//! How readers sleep, one at its own doorbell or many at once.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use annulus_core::doorbell::{self, Heavy, Settled, Sleep, Slept, sleep_as_reader, wake_workers};
use annulus_core::layout::{FenceMode, Identity, WakeBackend};
use annulus_os::{Futex, sys};

use crate::bells::ReaderBell;
use crate::error::RecvError;
use crate::life::Life;
use crate::memory::{Ctl, Memory};
use crate::wait::FIRST_SLEEP;

/// Where a reader may not sleep it naps, longer and longer.
pub(crate) const NAP_FIRST: Duration = Duration::from_micros(50);
/// The longest nap of one that somebody could have woken.
pub(crate) const NAP_LONGEST: Duration = Duration::from_millis(1);

/// A handle that can wait together with others. None of this takes a record or tells an end.
pub(crate) trait Sleeper {
    /// The ring, if this handle may sleep at its futex, `ctl.rings`. `None`: it can only look again and again, as observers
    /// do, and readers of a ring of semaphores.
    fn bell(&self) -> Option<&Memory>;

    /// Who it is: where the ring's `ctl` is mapped, or what there is of it, which no other handle that is alive has.
    fn key(&self) -> usize;

    /// Which sleepers of the ring it is one of.
    fn bits(&self) -> u32;

    /// Who is to be woken instead of this one, should it be woken and not look. A group's workers are woken by number, as many as
    /// there are records: one that does not look has taken the wake away from another. `None`: all of its kind are woken.
    fn fellows(&self) -> Option<Waker> {
        None
    }

    /// The longest nap of one without a bell.
    fn longest_nap(&self) -> Duration;

    /// Whether a look would find a record, a loss, or an end that the ring's own words say. Seldom the look finds that what
    /// is there is none of its own, and passes over it.
    fn has_news(&self) -> bool;

    /// Its account of whether the producer lives.
    fn life(&self) -> &Life;

    /// How the ring has ended for this reader, also by the death of its producer, about which it asks the kernel once per liveness
    /// interval.
    fn end_at(&self, now: Instant) -> Option<RecvError>;

    /// Whether it has. If so, the next look says it. To be asked before each sleep: it follows the ring to a next producer.
    fn has_ended(&self, now: Instant) -> bool {
        let ended = self.end_at(now).is_some();
        if ended {
            self.life().ask_soon();
        }
        ended
    }

    /// How long until it asks the kernel again.
    fn patience(&self, now: Instant) -> Duration {
        self.life().patience(now)
    }

    /// Wakes the producer if it waits for this reader: once per emptiness.
    fn ring(&self);

    /// Declares this reader asleep, for at most `most`, as [`bits`](Sleeper::bits) and `extra` say, and looks a last time.
    ///
    /// # Errors
    ///
    /// Why it should not sleep.
    fn go_to_sleep(&self, extra: u32, most: Duration) -> Result<Sleep, Slept>;

    /// After that sleep; `passed`: its limit has.
    fn slept(&self, sleep: Sleep, passed: bool);
}

/// What a reader keeps from one sleep to the next.
#[derive(Debug)]
pub(crate) struct Sleeping {
    heavy: Cell<Heavy>,
    settled: Cell<Settled>,
    nap: Cell<Duration>,
}

impl Sleeping {
    pub(crate) fn new(heavy: Heavy) -> Sleeping {
        Sleeping { heavy: Cell::new(heavy), settled: Cell::default(), nap: Cell::new(NAP_FIRST) }
    }

    /// A wait begins: its naps are short at first.
    pub(crate) fn begin(&self) {
        self.nap.set(NAP_FIRST);
    }

    /// The ring, if a reader of it may sleep at its futex.
    pub(crate) fn bell<'a>(&self, memory: &'a Memory) -> Option<&'a Memory> {
        let sleeps = self.heavy.get() != Heavy::Never && memory.identity().wake == WakeBackend::Futex;
        sleeps.then_some(memory)
    }

    /// As far as the sleep.
    ///
    /// # Errors
    ///
    /// Why it should not sleep.
    pub(crate) fn go_to_sleep(
        &self,
        (memory, slot): (&Memory, u32),
        bits: u32,
        most: Duration,
        look: impl FnMut() -> bool,
    ) -> Result<Sleep, Slept> {
        let (bell, limits) = (ReaderBell::at(memory, slot), [FIRST_SLEEP, most].map(Some));
        let (heavy, settled) = (self.heavy.get(), self.settled.get());
        let sleep = doorbell::go_to_sleep(memory.ctl(), bits, heavy, &bell, settled, limits, look);
        if matches!(sleep, Err(Slept::Forbidden)) {
            self.forbid();
        }
        sleep
    }

    /// After that sleep; `passed`: its limit has.
    pub(crate) fn slept(&self, (memory, slot): (&Memory, u32), sleep: Sleep, passed: bool) {
        let mut settled = self.settled.get();
        settled.note(sleep, passed);
        self.settled.set(settled);
        memory.slots()[slot as usize].sleeps.count(1);
    }

    /// Sleeps at the doorbell, or naps where that is forbidden.
    pub(crate) fn park(
        &self,
        (memory, slot): (&Memory, u32),
        bits: u32,
        left: Duration,
        look: impl FnMut() -> bool,
    ) {
        let (bell, limits) = (ReaderBell::at(memory, slot), [FIRST_SLEEP, left].map(Some));
        let mut settled = self.settled.get();
        let slept = sleep_as_reader(memory.ctl(), bits, self.heavy.get(), &bell, &mut settled, limits, look);
        self.settled.set(settled);
        match slept {
            Slept::Woken => memory.slots()[slot as usize].sleeps.count(1),
            Slept::Ready => {}
            Slept::Forbidden => {
                self.forbid();
                self.nap(left, NAP_LONGEST);
            }
        }
    }

    /// Naps for at most `left`, and the next time twice as long, up to `longest`.
    pub(crate) fn nap(&self, left: Duration, longest: Duration) {
        let nap = self.nap.get();
        sys::nap(left.min(nap));
        self.nap.set((nap * 2).min(longest));
    }

    /// For good: each further try would declare a sleeper that does not sleep.
    fn forbid(&self) {
        self.heavy.set(Heavy::Never);
    }
}

/// Wakes one of a group's workers: see [`Sleeper::fellows`].
struct Fellows {
    ctl: Ctl,
    group: u32,
}

impl Wake for Fellows {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever was woken in the kernel slept at a futex, so its fellows do.
        wake_workers(self.ctl.head(), self.group, 1, &Futex);
    }
}

/// The workers of a group, as one who is woken on behalf of another.
pub(crate) fn fellows(memory: &Memory, group: u32) -> Waker {
    Waker::from(Arc::new(Fellows { ctl: memory.shared_ctl(), group }))
}

/// What a sleeper of a ring pays.
pub(crate) fn heavy_of(identity: &Identity) -> Heavy {
    match identity.fence_mode {
        FenceMode::Asymmetric => Heavy::Barrier,
        FenceMode::Symmetric => Heavy::Full,
        _ => Heavy::Never,
    }
}
