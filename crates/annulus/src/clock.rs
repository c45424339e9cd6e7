//! The clock of a ring whose records say when they were published.

use std::fmt;

use annulus_core::layout::Identity;
use annulus_os::clock::{Calibration, calibrate, is_tick_steady, monotonic_nanos, ticks};

/// The clock by which a ring stamps its records: see [`Create::stamped`](crate::Create::stamped).
///
/// Either is told in nanoseconds of `CLOCK_MONOTONIC`, which begins at no particular time and is the same for all
/// processes of the machine. A batch's records carry the times at which they were written into it.
///
/// # Examples
///
/// ```
/// use annulus::{Clock, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-clock-{}", std::process::id());
/// let mut tx = Ring::create("ticks").dir(&dir).stamped(Clock::Monotonic).producer()?;
/// let rx = Ring::open("ticks").dir(&dir).subscribe()?;
/// tx.send(b"tick")?;
/// let record = rx.recv()?;
/// let age = rx.now() - record.time().unwrap(); // nanoseconds
/// # assert!(age < 60_000_000_000);
/// # drop(record);
/// # drop((rx, tx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Clock {
    /// The processor's counter of ticks: the cheapest. Calibrated against `CLOCK_MONOTONIC` for some 20 ms when the ring
    /// is created, so it drifts from it by parts in a million; ages and latencies, which compare it with itself, do
    /// not feel that. An error where the processor does not promise a steady rate.
    Tsc,
    /// clock_gettime(2), `CLOCK_MONOTONIC`.
    Monotonic,
}

impl Clock {
    pub(crate) const fn to_word(self) -> u32 {
        match self {
            Clock::Monotonic => 1,
            Clock::Tsc => 2,
        }
    }

    fn from_word(word: u32) -> Option<Clock> {
        match word {
            1 => Some(Clock::Monotonic),
            2 => Some(Clock::Tsc),
            _ => None,
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Clock::Tsc => "tsc",
            Clock::Monotonic => "monotonic",
        })
    }
}

/// Reads a ring's clock, and says what its stamps mean.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Timekeeper {
    /// Nothing is stamped.
    None,
    Monotonic,
    Tsc(Calibration),
}

impl Timekeeper {
    /// A new ring's calibration; `None`: this machine has no such clock.
    pub(crate) fn calibration(clock: Clock) -> Option<[u64; 4]> {
        match clock {
            Clock::Monotonic => Some([0; 4]),
            Clock::Tsc => is_tick_steady().then(|| calibrate().to_words()),
        }
    }

    /// The clock of a ring; `None` if its identity names none that there is.
    pub(crate) fn of(identity: &Identity) -> Option<Timekeeper> {
        if identity.clock == 0 {
            return Some(Timekeeper::None);
        }
        match Clock::from_word(identity.clock)? {
            Clock::Monotonic => Some(Timekeeper::Monotonic),
            Clock::Tsc => Calibration::from_words(identity.calibration).map(Timekeeper::Tsc),
        }
    }

    pub(crate) fn clock(&self) -> Option<Clock> {
        match self {
            Timekeeper::None => None,
            Timekeeper::Monotonic => Some(Clock::Monotonic),
            Timekeeper::Tsc(_) => Some(Clock::Tsc),
        }
    }

    /// The time now, as a record carries it; `None` on rings without stamps.
    #[inline]
    pub(crate) fn stamp(&self) -> Option<u64> {
        match self {
            Timekeeper::None => None,
            Timekeeper::Monotonic => Some(monotonic_nanos()),
            Timekeeper::Tsc(_) => Some(ticks()),
        }
    }

    /// A stamp's time, in nanoseconds; `None` on rings without stamps.
    #[inline]
    pub(crate) fn time(&self, stamp: u64) -> Option<u64> {
        match self {
            Timekeeper::None => None,
            Timekeeper::Monotonic => Some(stamp),
            Timekeeper::Tsc(calibration) => Some(calibration.to_nanos(stamp)),
        }
    }

    /// The time now, in nanoseconds by the ring's clock; by `CLOCK_MONOTONIC` on rings without stamps.
    pub(crate) fn now(&self) -> u64 {
        self.stamp().and_then(|stamp| self.time(stamp)).unwrap_or_else(monotonic_nanos)
    }
}
