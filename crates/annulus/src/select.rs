//! Waiting for the first of several rings.

mod afar;
mod doorbells;
mod source;
mod turns;

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use annulus_core::ladder::{Ladder, Waiting};
use annulus_os::poll;

use crate::error::SelectError;
use crate::sleeper::Sleeper;
use crate::wait::{Waiter, wait};
use doorbells::Doorbells;
pub use source::{Selectable, Source};
use turns::Turns;

/// One who always finds something looks whether the others have ended once in so many waits.
const WAITS: u32 = 64;

/// Waits until one of several rings has something, in one thread; file descriptors can be among them.
///
/// What is waited for is listed at each call, in any order, and borrowed only during it: reading ends of any kind, and whatever has a
/// [file descriptor](std::os::fd::AsFd). The answer is the index of one that is *ready*: it has a record, or a loss or an end to tell, and the `try_recv` that follows
/// says which. Very seldom it says `Empty`, where nothing but what another producer had begun lay there: wait again. A
/// [`Worker`](crate::Worker)'s says so more often: where a fellow was quicker, and once per liveness interval, when it looks for what dead fellows held. Whoever waits with one and then does not look at it keeps no record from
/// its fellows: another of them is woken.
/// A ring that has ended is ready for good: take it off the list.
///
/// # Fairness
///
/// Whoever is ready and does not get its turn waits for less than twice as many turns of others as there were ready
/// meanwhile. So a busy ring does not keep the others waiting. [`wait_biased`](Select::wait_biased) takes the first of the list that is ready instead: the most urgent one.
///
/// # How it sleeps
///
/// As the reading ends do: it looks for a while, then sleeps until a ring is rung, and once per liveness interval, the shortest of all, asks whether the
/// producers live; while it need not sleep, once in 64 calls. What it does is said by its own [`Waiting`](crate::Waiting), not by those of the handles. It sleeps at all rings by one call, futex_waitv(2), of Linux
/// 5.16. More rings than 128, and rings beside descriptors, are slept at by one thread of the library's, the same as for [`Pollable`](crate::Pollable) handles, which
/// is there as long as such a `Select` is; waking up through it takes one thread switch more.
///
/// It looks again and again, at most a millisecond apart, where a system refuses that call or that thread, where a ring's own sleeping is refused or
/// [not possible](crate::FenceMode::SpinOnly), and on rings of [`Wake::Semaphore`](crate::Wake::Semaphore). For an [`Observer`](crate::Observer), of which nobody knows, it
/// looks as that does itself, up to a liveness interval apart.
///
/// # Examples
///
/// ```
/// use annulus::{Ring, Select};
///
/// # let dir = format!("/dev/shm/annulus-doc-select-{}", std::process::id());
/// let mut trades = Ring::create("trades").dir(&dir).producer()?;
/// let orders = Ring::create("orders").dir(&dir).producer()?;
/// let from_trades = Ring::open("trades").dir(&dir).subscribe()?;
/// let from_orders = Ring::open("orders").dir(&dir).subscribe()?;
/// let mut select = Select::new();
///
/// trades.send(b"100 @ 7")?;
/// let ready = select.wait(&[&from_orders, &from_trades])?;
/// assert_eq!(ready, 1);
/// assert_eq!(&*from_trades.try_recv()?, b"100 @ 7");
/// # drop((trades, orders, from_trades, from_orders));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Select {
    waiting: Waiting,
    turns: Turns,
    doorbells: Doorbells,
    waits: u32,
    /// When the producers were last asked for, all at once.
    asked: Cell<Option<Instant>>,
}

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Order {
    Fair,
    Listed,
}

impl Select {
    /// One that spins a little, then sleeps.
    pub fn new() -> Select {
        Select {
            waiting: Waiting::default(),
            turns: Turns::default(),
            doorbells: Doorbells::new(),
            waits: 0,
            asked: Cell::new(None),
        }
    }

    /// How it waits from now on. A look at one of the rings counts as a look.
    pub fn set_waiting(&mut self, waiting: Waiting) {
        self.waiting = waiting;
    }

    /// The index of one that is ready; waits for it.
    ///
    /// # Errors
    ///
    /// [`SelectError::NoSources`] of an empty list.
    pub fn wait(&mut self, sources: &[&dyn Selectable]) -> Result<usize, SelectError> {
        self.run(sources, Order::Fair, None)
    }

    /// The same, waiting at most `timeout`. What comes exactly then is found.
    ///
    /// # Errors
    ///
    /// [`SelectError::TimedOut`]; of an empty list too. A `timeout` that no clock can say is none: [`SelectError::NoSources`] then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use annulus::{Select, SelectError};
    ///
    /// let nothing = Select::new().wait_timeout(&[], Duration::from_millis(1));
    /// assert_eq!(nothing, Err(SelectError::TimedOut));
    /// ```
    pub fn wait_timeout(
        &mut self,
        sources: &[&dyn Selectable],
        timeout: Duration,
    ) -> Result<usize, SelectError> {
        self.run(sources, Order::Fair, Instant::now().checked_add(timeout))
    }

    /// The same, waiting until `deadline`.
    ///
    /// # Errors
    ///
    /// [`SelectError::TimedOut`]; of an empty list too.
    pub fn wait_deadline(
        &mut self,
        sources: &[&dyn Selectable],
        deadline: Instant,
    ) -> Result<usize, SelectError> {
        self.run(sources, Order::Fair, Some(deadline))
    }

    /// The lowest index of all that are ready; waits for one. So the list begins with the most urgent, which can keep the others waiting for ever.
    ///
    /// # Errors
    ///
    /// [`SelectError::NoSources`] of an empty list.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::{Ring, Select};
    ///
    /// # let dir = format!("/dev/shm/annulus-doc-biased-{}", std::process::id());
    /// # let mut stop_tx = Ring::create("stop").dir(&dir).producer()?;
    /// # let mut work_tx = Ring::create("work").dir(&dir).producer()?;
    /// let stop = Ring::open("stop").dir(&dir).subscribe()?;
    /// let work = Ring::open("work").dir(&dir).subscribe()?;
    /// let mut select = Select::new();
    ///
    /// work_tx.send_batch(["1", "2", "3"])?;
    /// assert_eq!(select.wait_biased(&[&stop, &work])?, 1);
    /// stop_tx.send(b"now")?;
    /// assert_eq!(select.wait_biased(&[&stop, &work])?, 0);
    /// # drop((stop_tx, work_tx, stop, work));
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_biased(&mut self, sources: &[&dyn Selectable]) -> Result<usize, SelectError> {
        self.run(sources, Order::Listed, None)
    }

    /// The same, waiting at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`SelectError::TimedOut`]; of an empty list too. A `timeout` that no clock can say is none: [`SelectError::NoSources`] then.
    pub fn wait_biased_timeout(
        &mut self,
        sources: &[&dyn Selectable],
        timeout: Duration,
    ) -> Result<usize, SelectError> {
        self.run(sources, Order::Listed, Instant::now().checked_add(timeout))
    }

    /// The same, waiting until `deadline`.
    ///
    /// # Errors
    ///
    /// [`SelectError::TimedOut`]; of an empty list too.
    pub fn wait_biased_deadline(
        &mut self,
        sources: &[&dyn Selectable],
        deadline: Instant,
    ) -> Result<usize, SelectError> {
        self.run(sources, Order::Listed, Some(deadline))
    }

    fn run(
        &mut self,
        sources: &[&dyn Selectable],
        order: Order,
        deadline: Option<Instant>,
    ) -> Result<usize, SelectError> {
        if sources.is_empty() && deadline.is_none() {
            return Err(SelectError::NoSources);
        }
        self.doorbells.begin();
        self.waits = self.waits.wrapping_add(1);
        let ladder = Ladder::among(self.waiting, u32::try_from(sources.len()).unwrap_or(u32::MAX));
        let mut waiter = Selecting { select: self, sources, order, first: true };
        if waiter.select.waits.is_multiple_of(WAITS)
            && let Some(at) = waiter.ask(Instant::now())
        {
            return Ok(at);
        }
        wait(&mut waiter, ladder, deadline).ok_or(SelectError::TimedOut)
    }
}

impl Default for Select {
    fn default() -> Select {
        Select::new()
    }
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// A wait for one of several.
struct Selecting<'a> {
    select: &'a mut Select,
    sources: &'a [&'a dyn Selectable],
    order: Order,
    /// Nobody has looked yet.
    first: bool,
}

impl<'a> Selecting<'a> {
    /// The one whose turn it is, of those that are ready.
    fn pick(&mut self, is_ready: impl Fn(Source<'a>) -> bool) -> Option<usize> {
        let sources = self.sources;
        let is_ready = |at: usize| is_ready(sources[at].as_source());
        match self.order {
            Order::Fair => {
                self.select.turns.next(sources.len(), |at| sources[at].as_source().key(), is_ready)
            }
            Order::Listed => (0..sources.len()).find(|&at| is_ready(at)),
        }
    }

    /// Asks whether rings have ended though others may have something, without taking anybody's turn.
    fn ask(&mut self, now: Instant) -> Option<usize> {
        let sources = self.sources;
        let has_ended = |at: usize| sources[at].as_source().ring().is_some_and(|ring| ring.has_ended(now));
        match self.order {
            Order::Fair => {
                self.select.turns.in_round(sources.len(), |at| sources[at].as_source().key(), has_ended)
            }
            Order::Listed => self.end(now),
        }
    }

    fn rings(&self) -> impl Iterator<Item = &'a dyn Sleeper> {
        self.sources.iter().filter_map(|source| source.as_source().ring())
    }
}

/// Whether reading from a descriptor would not block: a system call, so it is asked for at the first look and then as often as the clock.
fn is_readable(source: Source<'_>) -> bool {
    source.file().is_some_and(poll::is_readable)
}

impl Waiter for Selecting<'_> {
    type Got = usize;

    #[inline]
    fn look(&mut self) -> Option<usize> {
        if std::mem::take(&mut self.first) {
            return self.pick(|source| source.has_news() || is_readable(source));
        }
        self.pick(Source::has_news)
    }

    fn ring(&mut self) {
        self.rings().for_each(Sleeper::ring);
    }

    fn end(&mut self, now: Instant) -> Option<usize> {
        self.pick(|source| {
            let has_ended = || source.ring().is_some_and(|ring| ring.has_ended(now));
            source.has_news() || has_ended() || is_readable(source)
        })
    }

    /// However far apart the askings for the single rings are, it wakes up for them together.
    fn patience(&self, now: Instant) -> Duration {
        let Some(interval) = self.rings().map(|ring| ring.life().interval()).min() else {
            return Duration::MAX;
        };
        let asked = &self.select.asked;
        let since = asked.get().map_or(interval, |asked| now.saturating_duration_since(asked));
        if since >= interval {
            asked.set(Some(now));
            return interval;
        }
        let soonest = self.rings().map(|ring| ring.patience(now)).min();
        soonest.unwrap_or(interval).max(interval - since)
    }

    fn park(&mut self, left: Duration) {
        self.select.doorbells.sleep(self.sources, left);
    }
}
