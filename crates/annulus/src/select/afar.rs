//! Having the parker sleep, which tells a descriptor: where one call cannot sleep at all that is waited for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use annulus_os::{Birth, EventFd, poll};

use crate::error::Error;
use crate::memory::Memory;
use crate::parker::{Parked, Seat};
use crate::pollable::Flag;
use crate::sleeper::Sleeper;

/// A handle, and what it sleeps at. A place with the parker keeps that mapped, so while there is one no other handle is there.
type Who = (usize, [u64; 2]);

/// This thread's places with the parker, kept from one sleep to the next.
pub(super) struct Afar {
    flag: Arc<Flag>,
    waker: Waker,
    seats: HashMap<Who, Seat>,
    /// Whose they are: a forked child would lower its parent's descriptor.
    birth: Birth,
}

impl Afar {
    pub(super) fn new() -> std::io::Result<Afar> {
        let flag = Arc::new(Flag(EventFd::new()?));
        Ok(Afar { waker: Waker::from(Arc::clone(&flag)), flag, seats: HashMap::new(), birth: Birth::here() })
    }

    pub(super) fn is_here(&self) -> bool {
        self.birth.is_here()
    }

    /// Sleeps until a ring or a descriptor may have something, for at most `left`.
    ///
    /// # Errors
    ///
    /// No thread could be started, or the system has no memory left.
    pub(super) fn sleep(
        &mut self,
        rings: &[(&dyn Sleeper, &Memory)],
        files: &[BorrowedFd<'_>],
        left: Duration,
    ) -> Result<(), Error> {
        if self.seats.len() > rings.len() {
            let mut before = std::mem::take(&mut self.seats);
            self.seats = rings.iter().filter_map(|ring| before.remove_entry(&who(ring))).collect();
        }
        // Before the last looks: what comes after them raises it again.
        self.flag.0.lower();
        for ring in rings {
            let seat = match self.seats.entry(who(ring)) {
                Entry::Occupied(seat) => seat.into_mut(),
                Entry::Vacant(place) => place.insert(Seat::of_reader(ring.0)?),
            };
            if seat.park_reader(ring.0, &self.waker) == Parked::LookAgain {
                self.give_up(rings);
                return Ok(());
            }
        }
        let all: Vec<BorrowedFd<'_>> = files.iter().copied().chain([self.flag.0.as_fd()]).collect();
        let waited = poll::wait_readable(&all, Some(left));
        self.give_up(rings);
        waited.map_err(|source| Error::step("wait for descriptors", source))
    }

    /// The places of a group's workers wait only while somebody does who looks; nobody knows when the caller does.
    fn give_up(&self, rings: &[(&dyn Sleeper, &Memory)]) {
        for ring in rings.iter().filter(|(ring, _)| ring.fellows().is_some()) {
            if let Some(seat) = self.seats.get(&who(ring)) {
                seat.give_up(ring.0);
            }
        }
    }
}

fn who(&(ring, memory): &(&dyn Sleeper, &Memory)) -> Who {
    (ring.key(), memory.identity().uuid)
}

impl fmt::Debug for Afar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Afar").field("seats", &self.seats.len()).finish_non_exhaustive()
    }
}
