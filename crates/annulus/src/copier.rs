//! What observers and copying subscribers have in common: records are copied out, and believed only if the
//! producer had not begun to overwrite them.

use std::time::{Duration, Instant};

use annulus_core::doorbell::{Heavy, READERS, Sleep, Slept, after_release, has_turned, when_empty};
use annulus_core::history::{Damaged, Resume};
use annulus_core::ladder::{Ladder, Waiting};
use annulus_core::layout::{Identity, Slot};
use annulus_core::memory::{Mirror, View};
use annulus_core::observer::{Lapped, Observer as Core, Seen, Sight};
use annulus_os::{Birth, LockFile};

use crate::bells::RoomBell;
use crate::clock::Timekeeper;
use crate::error::{CopyError, CopyTimeoutError, RecvError, TryCopyError, at_home};
use crate::life::{Life, leave_slot};
use crate::memory::{DataMemory, Memory};
use crate::received::{Received, Target};
use crate::registry::Name;
use crate::sleeper::{NAP_LONGEST, Sleeper, Sleeping, heavy_of};
use crate::wait::{Waiter, wait};

/// Tries to copy the newest record. Each fails only if the producer went around the ring meanwhile.
const NEWEST_TRIES: u32 = 64;

/// A place among the subscribers.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) memory: Memory,
    pub(crate) slot: u32,
    /// Holds the slot's lock.
    pub(crate) ctl: LockFile,
}

/// What a reader that copies has mapped.
#[derive(Debug)]
enum Mapped {
    /// An observer: nobody notices it.
    Data(DataMemory),
    /// A copying subscriber: the producer waits for it, and wakes it.
    Seat(Seat),
}

impl Mapped {
    #[inline]
    fn view(&self) -> View<'_, Mirror<'_>> {
        match self {
            Mapped::Data(data) => *data.view(),
            Mapped::Seat(seat) => seat.memory.shared().view(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Copier {
    core: Core,
    mapped: Mapped,
    /// What the slot's cursor says.
    cursor: u64,
    life: Life,
    keeper: Timekeeper,
    resume: Resume,
    waiting: Waiting,
    sleeping: Sleeping,
    lost: u64,
    /// Whose handle this is: a forked child's copy must not free its parent's slot.
    birth: Birth,
}

impl Copier {
    pub(crate) fn observer(
        data: DataMemory,
        core: Core,
        life: Life,
        keeper: Timekeeper,
        waiting: Waiting,
        resume: Resume,
    ) -> Copier {
        Copier::new(Mapped::Data(data), core, life, keeper, waiting, resume)
    }

    pub(crate) fn subscriber(
        seat: Seat,
        core: Core,
        life: Life,
        keeper: Timekeeper,
        waiting: Waiting,
        resume: Resume,
    ) -> Copier {
        seat.slot().settle();
        // The slot's cursor has moved, maybe away from where a dead owner had it.
        when_empty(seat.memory.ctl(), &RoomBell::of(&seat.memory));
        Copier::new(Mapped::Seat(seat), core, life, keeper, waiting, resume)
    }

    fn new(
        mapped: Mapped,
        core: Core,
        life: Life,
        keeper: Timekeeper,
        waiting: Waiting,
        resume: Resume,
    ) -> Copier {
        let heavy = match &mapped {
            Mapped::Data(_) => Heavy::Never,
            Mapped::Seat(seat) => heavy_of(seat.memory.identity()),
        };
        Copier {
            cursor: core.position(),
            core,
            mapped,
            life,
            keeper,
            resume,
            waiting,
            sleeping: Sleeping::new(heavy),
            lost: 0,
            birth: Birth::here(),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        match &self.mapped {
            Mapped::Data(data) => data.identity(),
            Mapped::Seat(seat) => seat.memory.identity(),
        }
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.core.sequence()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    pub(crate) fn now(&self) -> u64 {
        self.keeper.now()
    }

    pub(crate) fn set_waiting(&mut self, waiting: Waiting) {
        self.waiting = waiting;
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.life.name() == Name::Ours
    }

    pub(crate) fn recv(&mut self, target: &mut impl Target) -> Result<Received, CopyError> {
        at_home(self.birth)?;
        match self.attempt(target) {
            Some(got) => got,
            None => match self.wait(target, None) {
                Some(got) => got,
                None => unreachable!("a wait without a deadline does not end by it"),
            },
        }
    }

    pub(crate) fn try_recv(&mut self, target: &mut impl Target) -> Result<Received, TryCopyError> {
        at_home(self.birth)?;
        match self.attempt(target) {
            Some(got) => got.map_err(TryCopyError::from),
            None => match self.poll_end() {
                Some(end) => Err(TryCopyError::Ended(end)),
                None => Err(TryCopyError::Empty),
            },
        }
    }

    pub(crate) fn recv_timeout(
        &mut self,
        target: &mut impl Target,
        timeout: Duration,
    ) -> Result<Received, CopyTimeoutError> {
        at_home(self.birth)?;
        let got = match self.attempt(target) {
            Some(got) => Some(got),
            None => self.wait(target, Instant::now().checked_add(timeout)),
        };
        got.map_or(Err(CopyTimeoutError::TimedOut), |got| got.map_err(CopyTimeoutError::from))
    }

    pub(crate) fn latest(&mut self, target: &mut impl Target) -> Result<Received, TryCopyError> {
        at_home(self.birth)?;
        for _ in 0..NEWEST_TRIES {
            match self.core.newest(&self.mapped.view()) {
                Sight::Record(seen) => match self.copy(seen, target) {
                    Ok(Some(received)) => return Ok(received),
                    Ok(None) => {}
                    Err(error) => return Err(error.into()),
                },
                Sight::Empty => {
                    return Err(self.poll_end().map_or(TryCopyError::Empty, TryCopyError::Ended));
                }
                // It has tried often enough.
                Sight::Lapped => break,
                Sight::Damaged => return Err(TryCopyError::Ended(RecvError::Corrupt)),
            }
        }
        // Records of about the ring's size, one upon the other: none stays long enough to be copied.
        match self.lag(Resume::Newest) {
            Some(Err(error)) => Err(error.into()),
            _ => Err(TryCopyError::Empty),
        }
    }

    /// The next record or loss, if there is one.
    #[inline]
    fn attempt(&mut self, target: &mut impl Target) -> Option<Result<Received, CopyError>> {
        loop {
            match self.core.look(&self.mapped.view()) {
                Sight::Record(seen) => match self.copy(seen, target) {
                    Ok(Some(received)) => return Some(Ok(received)),
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                },
                Sight::Empty => {
                    self.follow();
                    return None;
                }
                Sight::Lapped => {
                    if let Some(lost) = self.lag(self.resume) {
                        return Some(lost);
                    }
                }
                Sight::Damaged => return Some(Err(CopyError::Ended(RecvError::Corrupt))),
            }
        }
    }

    /// Copies a record that was seen; `None` if the producer went over it meanwhile.
    #[inline]
    fn copy(&mut self, seen: Seen, target: &mut impl Target) -> Result<Option<Received>, CopyError> {
        let view = self.mapped.view();
        let len = seen.len();
        // A length is believed before anything is made as long as it, and before it is told.
        if !target.holds(len) {
            if self.core.confirm(&view, seen) == Err(Lapped) {
                return Ok(None);
            }
            if !target.grow(len) {
                return Err(CopyError::TooSmall { need: len });
            }
        }
        let Ok(taken) = self.core.take(&view, seen, target.room(len)) else { return Ok(None) };
        self.follow();
        Ok(Some(Received::new(taken.sequence, len, self.keeper.time(taken.stamp))))
    }

    /// The slot's cursor follows the reader.
    #[inline]
    fn follow(&mut self) {
        let Mapped::Seat(seat) = &self.mapped else { return };
        let (before, after) = (self.cursor, self.core.position());
        if before != after {
            self.cursor = after;
            self.core.hold(seat.slot());
            after_release(seat.memory.ctl(), before, after, &RoomBell::of(&seat.memory));
        }
    }

    /// Whoever may write `ctl` can put the cursor back so far that the producer has no room, and no record would ever
    /// come that moves it on.
    #[cold]
    fn put_cursor_right(&self) {
        let Mapped::Seat(seat) = &self.mapped else { return };
        if seat.slot().cursor.look() != self.core.position() {
            self.core.hold(seat.slot());
            when_empty(seat.memory.ctl(), &RoomBell::of(&seat.memory));
        }
    }

    /// Finds the way again after the producer has gone on without this reader. `None` if nothing was lost that
    /// was wanted.
    #[cold]
    fn lag(&mut self, resume: Resume) -> Option<Result<Received, CopyError>> {
        let outcome = match &self.mapped {
            Mapped::Data(data) => self.core.resume(data.view(), resume),
            Mapped::Seat(seat) => {
                let outcome = self.core.rejoin(seat.memory.shared(), seat.slot(), resume);
                self.cursor = self.core.position();
                if let Ok(lost) = outcome {
                    seat.slot().lost.count(lost);
                }
                // The cursor has moved, away from where somebody else may have put it.
                when_empty(seat.memory.ctl(), &RoomBell::of(&seat.memory));
                outcome
            }
        };
        match outcome {
            Ok(0) => None,
            Ok(lost) => {
                // A producer may say anything.
                self.lost = self.lost.saturating_add(lost);
                Some(Err(CopyError::Lagged(lost)))
            }
            Err(Damaged(_)) => Some(Err(CopyError::Ended(RecvError::Corrupt))),
        }
    }

    /// The end, if a poll that found nothing should say it.
    #[cold]
    fn poll_end(&self) -> Option<RecvError> {
        let view = self.mapped.view();
        if !self.life.is_poll_due() {
            return self.core.ended(&view).map(RecvError::from);
        }
        self.ring();
        self.end_at(Instant::now())
    }

    #[cold]
    fn wait(
        &mut self,
        target: &mut impl Target,
        deadline: Option<Instant>,
    ) -> Option<Result<Received, CopyError>> {
        self.sleeping.begin();
        let ladder = Ladder::new(self.waiting);
        wait(&mut Copying { copier: self, target }, ladder, deadline)
    }

    fn park(&self, left: Duration) {
        match &self.mapped {
            Mapped::Seat(seat) => {
                let place = (&seat.memory, seat.slot);
                self.sleeping.park(place, READERS, left, || !self.may_sleep());
            }
            Mapped::Data(_) => self.sleeping.nap(left, self.longest_nap()),
        }
    }

    /// Whether a reader about to sleep still may.
    fn may_sleep(&self) -> bool {
        let view = self.mapped.view();
        !(self.core.is_ready(&view) || has_turned(view.producer, self.life.epoch()))
    }
}

impl Sleeper for Copier {
    fn bell(&self) -> Option<&Memory> {
        match &self.mapped {
            Mapped::Data(_) => None,
            Mapped::Seat(seat) => self.sleeping.bell(&seat.memory),
        }
    }

    fn key(&self) -> usize {
        match &self.mapped {
            Mapped::Data(data) => std::ptr::from_ref(data.head()).addr(),
            Mapped::Seat(seat) => std::ptr::from_ref(seat.memory.ctl()).addr(),
        }
    }

    fn bits(&self) -> u32 {
        READERS
    }

    fn longest_nap(&self) -> Duration {
        match self.mapped {
            // Nobody knows of this reader, so nobody can wake it.
            Mapped::Data(_) => self.life.interval(),
            Mapped::Seat(_) => NAP_LONGEST,
        }
    }

    fn has_news(&self) -> bool {
        let view = self.mapped.view();
        !self.birth.is_here() || self.core.is_ready(&view) || self.core.ended(&view).is_some()
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn end_at(&self, now: Instant) -> Option<RecvError> {
        self.put_cursor_right();
        let view = self.mapped.view();
        self.life.end(
            view.producer,
            now,
            || self.core.ended(&view).map(RecvError::from),
            || self.core.is_ready(&view),
        )
    }

    fn ring(&self) {
        if let Mapped::Seat(seat) = &self.mapped {
            when_empty(seat.memory.ctl(), &RoomBell::of(&seat.memory));
        }
    }

    fn go_to_sleep(&self, extra: u32, most: Duration) -> Result<Sleep, Slept> {
        let Mapped::Seat(seat) = &self.mapped else { return Err(Slept::Forbidden) };
        let place = (&seat.memory, seat.slot);
        self.sleeping.go_to_sleep(place, READERS | extra, most, || !self.may_sleep())
    }

    fn slept(&self, sleep: Sleep, passed: bool) {
        if let Mapped::Seat(seat) = &self.mapped {
            self.sleeping.slept((&seat.memory, seat.slot), sleep, passed);
        }
    }
}

impl Seat {
    #[inline]
    pub(crate) fn slot(&self) -> &Slot {
        &self.memory.slots()[self.slot as usize]
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        if let Mapped::Seat(seat) = &self.mapped
            && self.birth.is_this_process()
        {
            leave_slot(&seat.memory, &seat.ctl, seat.slot);
        }
    }
}

/// A copier that waits, and where the record is to go.
struct Copying<'a, T> {
    copier: &'a mut Copier,
    target: &'a mut T,
}

impl<T: Target> Waiter for Copying<'_, T> {
    type Got = Result<Received, CopyError>;

    #[inline]
    fn look(&mut self) -> Option<Self::Got> {
        self.copier.attempt(self.target)
    }

    fn ring(&mut self) {
        self.copier.ring();
    }

    fn end(&mut self, now: Instant) -> Option<Self::Got> {
        self.copier.end_at(now).map(|end| Err(CopyError::Ended(end)))
    }

    fn patience(&self, now: Instant) -> Duration {
        self.copier.life.patience(now)
    }

    fn park(&mut self, left: Duration) {
        self.copier.park(left);
    }
}
