//! SIGINT and SIGTERM ask a command to end; it looks between its steps whether they did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::end::{End, Result};

/// How long a step may block before it looks again: what a blocked end of a ring takes between two looks whether
/// the other lives.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// Whether a signal has asked to end.
#[derive(Debug)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Listens from now on: before anything is made that a signal must not leave behind.
    ///
    /// A second signal ends the process where it is: it may hang in a write that nobody reads.
    pub(crate) fn on_signals() -> Result<Self> {
        let stop = Self { asked: Arc::default(), signal: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds `asked` unset and sets it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop.asked))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&stop.signal), signal as usize))
                .and_then(|_| flag::register(signal, Arc::clone(&stop.asked)))
                .map_err(|e| End::Lost(format!("cannot listen for signals: {e}")))?;
        }
        Ok(stop)
    }

    /// Goes on unless a signal has asked to end.
    pub(crate) fn check(&self) -> Result {
        // Relaxed: a number that nothing else hangs on.
        match self.signal.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(End::Signal(signal as u8)),
        }
    }

    /// Sleeps for a while, unless a signal has asked to end or does.
    pub(crate) fn sleep(&self, time: Duration) -> Result {
        self.sleep_until(Instant::now().checked_add(time))
    }

    /// Sleeps until a time, for ever if there is none, unless a signal has asked to end or does.
    pub(crate) fn sleep_until(&self, time: Option<Instant>) -> Result {
        loop {
            self.check()?;
            let left = time.map_or(LOOK, |time| time.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK));
        }
    }

    /// The flag that a signal sets, for who looks by themselves.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }
}
