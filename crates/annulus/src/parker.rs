//! The one thread of a process that sleeps for all who cannot sleep themselves: tasks, and descriptors that are polled.
//!
//! ```text
//! handle (whoever polls it)                        the parker's thread
//! look: nothing                                    at each line: waits while its bell says `seen`
//! seen = bell; declare; fence; look: nothing       the bell moved: takes all who wait at that line, wakes each
//! park(line, seen, limit, waker)                   a limit has passed: wakes that one
//! woken: look again, from the top
//! ```
//!
//! A *line* is one doorbell of one ring, for one kind of sleeper. However many handles of a ring wait there, the process sleeps
//! at it once, so each publication costs one call and wakes one thread. The file that the doorbell is in says which handles those are,
//! not what is written there, so no ring can pass for another.
//!
//! Race: the bell moves between the handle's last look and `park`. The handle says which bell it has seen; if the bell says
//! something else by then, it is told to look again. If the thread still waits behind an older bell, which it is about to notice, all
//! who wait there are woken with it.
//!
//! Workers of a group are woken by number: as many sleepers as there are records. The thread is one of them, whoever waits with it. So a
//! line of theirs wakes all who wait there, and one look of any of them answers for the wake: it takes the record, or finds it
//! taken. Where nobody looks the wake is passed on to the group's other sleepers: by the thread where it finds nobody at the line that
//! rang, or gives the line up (it may have been woken there meanwhile); by a handle that was woken, and is given up or dropped before
//! it has looked.
//!
//! The thread starts with the first handle that may wait, and ends with the last one. A forked child has none of it, and
//! handles of its own get a parker of its own.

mod seat;
mod table;
mod waits;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use annulus_os::background::{PerProcess, spawn};
use annulus_os::many::{Many, Poke, Way, Word};

pub(crate) use seat::{Parked, Seat};
use table::{Change, Table};
pub(crate) use waits::{Waits, look_or_park};

/// What the thread is called: in ps(1), and where tests count it.
const NAME: &str = "annulus-parker";

/// Which doorbell, and which of its sleepers: two handles with the same can share a sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The file it is in: its device and inode.
    pub(crate) object: (u64, u64),
    /// `None`: the producer's, which sleeps for room.
    pub(crate) bits: Option<u32>,
}

/// A doorbell to wait at.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) key: Key,
    pub(crate) word: Word,
    /// Who is woken when it rings and nobody waits there.
    pub(crate) fellows: Option<Waker>,
}

static PARKER: PerProcess<Parker> = PerProcess::new();

#[derive(Debug, Default)]
struct Parker {
    table: Mutex<Table>,
    poke: Poke,
}

impl Parker {
    fn table(&self) -> MutexGuard<'_, Table> {
        // No step of the table's leaves it halfway: whoever panicked did so in an assertion.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the table, and tells the thread if it should know. What is dropped then may be a task with handles in it,
    /// which come here again: so nothing is dropped under the lock.
    fn change<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table();
        let out = work(&mut table);
        let tell = table.must_tell();
        drop(table);
        if tell {
            self.poke.poke();
        }
        out
    }

    /// The thread's life.
    fn run(&self) {
        let mut many = Many::new(self.poke.clone());
        let (mut woken, mut wakers) = (Vec::new(), Vec::new());
        loop {
            let mut table = self.table();
            let now = Instant::now();
            table.wakes_up(many.way() == Way::IoUring, &mut wakers);
            table.rung(woken.drain(..), &mut wakers);
            table.overdue(now, &mut wakers);
            let mut left = Vec::new();
            for change in table.changes() {
                match change {
                    Change::Wait { token, word, seen, bits } => many.add(token, word, seen, bits),
                    Change::Forget { token, fellows } => {
                        many.remove(token);
                        left.extend(fellows);
                    }
                }
            }
            if !left.is_empty() {
                // Not before the kernel takes no more wakes for this thread there.
                many.flush();
                wakers.append(&mut left);
            }
            // It may have lost its way to wait meanwhile, and with it the bits.
            table.wakes_up(many.way() == Way::IoUring, &mut wakers);
            if wakers.is_empty() {
                let Some(limit) = table.falls_asleep(now) else { return };
                drop(table);
                many.wait(limit, &mut woken);
            } else {
                drop(table);
                wakers.drain(..).for_each(wake);
            }
        }
    }
}

/// Wakes a task. What its runtime does then is not ours: a panic there must not end everybody's waiting.
fn wake(waker: Waker) {
    if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake())) {
        // Dropping it could panic again.
        std::mem::forget(payload);
    }
}
