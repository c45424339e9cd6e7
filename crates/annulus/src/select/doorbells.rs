//! Sleeping at the doorbells of several rings.

use std::os::fd::BorrowedFd;
use std::task::Waker;
use std::time::Duration;

use annulus_core::doorbell::{ANYONE, Park, Sleep};
use annulus_os::waitv::WORDS_MAX;
use annulus_os::{Futex, Waits, poll, sys};

use super::Selectable;
use super::afar::Afar;
use crate::memory::Memory;
use crate::sleeper::{NAP_FIRST, NAP_LONGEST, Sleeper};

#[derive(Debug)]
pub(super) struct Doorbells {
    waits: Waits,
    /// Whether the system lets nobody sleep at several.
    refused: bool,
    /// Where one call is not enough.
    afar: Option<Afar>,
    /// Whether there can be no parker.
    alone: bool,
    nap: Duration,
}

impl Doorbells {
    pub(super) fn new() -> Doorbells {
        Doorbells { waits: Waits::new(), refused: false, afar: None, alone: false, nap: NAP_FIRST }
    }

    /// A wait begins: its naps are short at first.
    pub(super) fn begin(&mut self) {
        self.nap = NAP_FIRST;
    }

    /// Sleeps until one of them may have something, for at most `left`.
    pub(super) fn sleep(&mut self, sources: &[&dyn Selectable], left: Duration) {
        let (mut belled, mut longest) = (Vec::new(), None::<Duration>);
        for ring in sources.iter().filter_map(|source| source.as_source().ring()) {
            match ring.bell() {
                Some(memory) => belled.push((ring, memory)),
                None => {
                    let most = ring.longest_nap();
                    longest = Some(longest.map_or(most, |longest| longest.min(most)));
                }
            }
        }
        let files: Vec<BorrowedFd<'_>> =
            sources.iter().filter_map(|source| source.as_source().file()).collect();
        let mut left = longest.map_or(left, |longest| self.nap(left, longest));
        let far = (!files.is_empty() && !belled.is_empty()) || belled.len() > WORDS_MAX;
        if far && self.sleep_afar(&belled, &files, left) {
            return;
        }
        if belled.len() > 1 && self.refused || !files.is_empty() && !belled.is_empty() {
            belled.clear();
            left = self.nap(left, NAP_LONGEST);
        }
        match belled[..] {
            [] if files.is_empty() => sys::nap(left),
            [] => {
                if poll::wait_readable(&files, Some(left)).is_err() {
                    sys::nap(left.min(NAP_LONGEST));
                }
            }
            [(ring, memory)] => sleep_at(ring, memory, left),
            _ => self.sleep_at_all(&belled, left),
        }
    }

    /// Has the parker sleep at the rings; `false` if there can be none.
    fn sleep_afar(
        &mut self,
        rings: &[(&dyn Sleeper, &Memory)],
        files: &[BorrowedFd<'_>],
        left: Duration,
    ) -> bool {
        if self.alone {
            return false;
        }
        if self.afar.as_ref().is_none_or(|afar| !afar.is_here()) {
            self.afar = Afar::new().ok();
        }
        let slept = self.afar.as_mut().is_some_and(|afar| afar.sleep(rings, files, left).is_ok());
        if !slept {
            (self.alone, self.afar) = (true, None);
        }
        slept
    }

    /// How long to sleep where somebody has to be looked at, who cannot wake this thread.
    fn nap(&mut self, left: Duration, longest: Duration) -> Duration {
        let nap = self.nap.min(longest);
        self.nap = nap * 2;
        left.min(nap)
    }

    fn sleep_at_all(&mut self, rings: &[(&dyn Sleeper, &Memory)], left: Duration) {
        self.waits.clear();
        let (mut asleep, mut limit): (Vec<(&dyn Sleeper, Sleep)>, _) =
            (Vec::with_capacity(rings.len()), left);
        for &(ring, memory) in rings {
            // One that has something, or may not sleep, is looked at; the others stay declared, which costs each a wake at most.
            let Ok(sleep) = ring.go_to_sleep(ANYONE, left) else { return };
            self.waits.push(memory.ctl().rings.futex(), sleep.seen);
            limit = sleep.limit.map_or(limit, |its| its.min(limit));
            asleep.push((ring, sleep));
        }
        match self.waits.wait(Some(limit)) {
            Ok(passed) => {
                for (ring, sleep) in asleep {
                    ring.slept(sleep, passed && sleep.limit == Some(limit));
                }
            }
            Err(_) => self.refused = true,
        }
    }
}

fn sleep_at(ring: &dyn Sleeper, memory: &Memory, left: Duration) {
    if let Ok(sleep) = ring.go_to_sleep(0, left) {
        let passed = Futex.wait(memory.ctl().rings.futex(), sleep.seen, ring.bits(), sleep.limit);
        ring.slept(sleep, passed);
        // Nobody knows when the caller looks.
        if ring.has_news() {
            ring.fellows().iter().for_each(Waker::wake_by_ref);
        }
    }
}
