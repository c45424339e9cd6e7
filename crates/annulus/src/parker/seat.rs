//! One handle's place with the parker.

use std::cell::Cell;
use std::io;
use std::task::Waker;
use std::time::{Duration, Instant};

use annulus_core::doorbell::{ANYONE, Settled, Sleep, Slept, stop_waiting};
use annulus_core::layout::Counter;
use annulus_core::writer::Full;
use annulus_os::{Birth, fork};

use super::{Key, Line, NAME, PARKER, Parker, spawn, wake};
use crate::error::Error;
use crate::memory::Memory;
use crate::producer::Producer;
use crate::sleeper::{NAP_FIRST, NAP_LONGEST, Sleeper};

/// What became of the wish to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Parked {
    /// The waker will be called when it is time to look again.
    Waiting,
    /// There may be something: look again now.
    LookAgain,
}

/// A handle's place with the parker: it waits there, and at most once.
#[derive(Debug)]
pub(crate) struct Seat {
    parker: &'static Parker,
    id: u64,
    /// Where it waits; `None`: nowhere, it naps.
    key: Option<Key>,
    /// Who is woken if this one was, and does not look.
    fellows: Option<Waker>,
    /// Whether it may be on the parker's lists.
    parked: Cell<bool>,
    /// The sleep that stands for this handle, and since when.
    asleep: Cell<Option<(Sleep, Instant)>>,
    /// A producer's; readers keep their own.
    settled: Cell<Settled>,
    /// Whether a producer has said that it waits for room.
    declared: Cell<bool>,
    nap: Cell<Duration>,
    birth: Birth,
}

impl Seat {
    /// A reader's.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn of_reader(reader: &dyn Sleeper) -> Result<Seat, Error> {
        let line = reader.bell().map(|memory| Line {
            key: key_of_reader(reader, memory),
            word: memory.word_of(|ctl| &ctl.rings),
            fellows: reader.fellows(),
        });
        Seat::attach(line)
    }

    /// A producer's.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn of_producer(memory: &Memory) -> Result<Seat, Error> {
        Seat::attach(Some(Line {
            key: key_of_producer(memory),
            word: memory.word_of(|ctl| &ctl.room),
            fellows: None,
        }))
    }

    fn attach(line: Option<Line>) -> Result<Seat, Error> {
        let failed = |source: io::Error| Error::step("start the thread that waits for others", source);
        fork::watch().map_err(failed)?;
        let parker = PARKER.get();
        // Started under the lock: nobody else relies on a thread that could not be.
        let mut table = parker.table();
        let (id, start) = table.attach(line.as_ref());
        if start && let Err(source) = spawn(NAME, || parker.run()) {
            table.no_thread(id);
            return Err(failed(source));
        }
        drop(table);
        Ok(Seat {
            parker,
            id,
            key: line.as_ref().map(|line| line.key),
            fellows: line.and_then(|line| line.fellows),
            parked: Cell::new(false),
            asleep: Cell::default(),
            settled: Cell::default(),
            declared: Cell::new(false),
            nap: Cell::new(NAP_FIRST),
            birth: Birth::here(),
        })
    }

    /// Has a reader that has looked and found nothing wait. Ends by itself once a liveness interval.
    pub(crate) fn park_reader(&mut self, reader: &dyn Sleeper, waker: &Waker) -> Parked {
        let now = Instant::now();
        let key = reader.bell().map(|memory| key_of_reader(reader, memory));
        if !self.suits(key, || Seat::of_reader(reader)) {
            return Parked::LookAgain;
        }
        self.leave();
        if let Some((sleep, passed)) = self.slept(now) {
            reader.slept(sleep, passed);
        }
        reader.ring();
        if reader.has_ended(now) {
            return Parked::LookAgain;
        }
        let most = reader.patience(now);
        if reader.bell().is_some() {
            let hidden = self.parker.table().hides_bits();
            match reader.go_to_sleep(if hidden { ANYONE } else { 0 }, most) {
                Ok(sleep) => return self.sleep(sleep, hidden, now, waker),
                Err(Slept::Forbidden) => {}
                Err(_) => return Parked::LookAgain,
            }
        }
        self.nap(most, reader.longest_nap(), now, waker)
    }

    /// Has a producer wait whose record did not fit.
    pub(crate) fn park_producer(&mut self, producer: &mut Producer, full: Full, waker: &Waker) -> Parked {
        let now = Instant::now();
        if !self.suits(Some(key_of_producer(&producer.memory)), || Seat::of_producer(&producer.memory)) {
            return Parked::LookAgain;
        }
        self.leave();
        if let Some((sleep, passed)) = self.slept(now) {
            let mut settled = self.settled.get();
            settled.note(sleep, passed);
            self.settled.set(settled);
            producer.memory.head().producer.count(Counter::Sleeps, 1);
        }
        self.declared.set(true);
        match producer.go_to_sleep(full, self.settled.get()) {
            Some(Ok(sleep)) => self.sleep(sleep, true, now, waker),
            Some(Err(_)) => Parked::LookAgain,
            None => self.nap(NAP_LONGEST, NAP_LONGEST, now, waker),
        }
    }

    /// Whether this is the place of who waits at `key`, now: callers may have put another handle where the first was. `anew` takes one.
    fn suits(&mut self, key: Option<Key>, anew: impl FnOnce() -> Result<Seat, Error>) -> bool {
        if key.is_some() && key != self.key && self.birth.is_here() {
            match anew() {
                Ok(seat) => *self = seat,
                Err(_) => return false,
            }
        }
        true
    }

    /// A producer waits no longer.
    pub(crate) fn leave_room(&self, producer: &Producer) {
        if self.declared.replace(false) && self.birth.is_here() {
            self.asleep.set(None);
            self.settled.set(Settled::default());
            stop_waiting(producer.memory.ctl());
        }
        self.leave();
    }

    /// It waits no longer: there was something, or nobody wants it any more.
    pub(crate) fn leave(&self) {
        self.unpark();
    }

    /// The same, of one that may have been woken and has not looked since.
    pub(crate) fn give_up(&self, reader: &dyn Sleeper) {
        // Where there is nothing any more, somebody has looked: two that gave up in turn would wake each other for ever.
        if self.unpark() && reader.has_news() {
            self.pass_on();
        }
    }

    /// Says whether it was woken.
    fn unpark(&self) -> bool {
        let parked = self.parked.replace(false) && self.birth.is_here();
        parked && self.parker.change(|table| table.unpark(self.id)).is_none()
    }

    fn pass_on(&self) {
        self.fellows.iter().for_each(Waker::wake_by_ref);
    }

    /// There was something.
    pub(crate) fn found(&self) {
        self.nap.set(NAP_FIRST);
        self.leave();
    }

    /// The sleep that is over, and whether its limit has passed.
    fn slept(&self, now: Instant) -> Option<(Sleep, bool)> {
        let (sleep, since) = self.asleep.take()?;
        Some((sleep, sleep.limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)))
    }

    fn sleep(&self, sleep: Sleep, hidden: bool, now: Instant, waker: &Waker) -> Parked {
        self.asleep.set(Some((sleep, Instant::now())));
        self.park(Some((sleep.seen, hidden)), now, sleep.limit.unwrap_or(Duration::MAX), waker)
    }

    /// Looks again after a while, and the next time after twice as long, up to `longest`.
    fn nap(&self, most: Duration, longest: Duration, now: Instant, waker: &Waker) -> Parked {
        let nap = self.nap.get();
        self.nap.set((nap * 2).min(longest));
        self.park(None, now, nap.min(most), waker)
    }

    fn park(&self, seen: Option<(u32, bool)>, now: Instant, limit: Duration, waker: &Waker) -> Parked {
        let (mut stale, mut waker) = (Vec::new(), Some(waker.clone()));
        let parked =
            self.parker.change(|table| table.park(self.id, seen, now, limit, &mut waker, &mut stale).is_ok());
        stale.into_iter().for_each(wake);
        self.parked.set(parked);
        if parked { Parked::Waiting } else { Parked::LookAgain }
    }
}

fn key_of_reader(reader: &dyn Sleeper, memory: &Memory) -> Key {
    Key { object: memory.object(), bits: Some(reader.bits()) }
}

fn key_of_producer(memory: &Memory) -> Key {
    Key { object: memory.object(), bits: None }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.birth.is_this_process() {
            let waker = self.parker.change(|table| table.detach(self.id));
            if self.parked.get() && waker.is_none() {
                self.pass_on();
            }
        }
    }
}
