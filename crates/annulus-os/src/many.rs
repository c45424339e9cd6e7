//! Waiting at any number of shared words at once, in one thread.
//!
//! | way | at how many | idle | tells the waker its bits |
//! |---|---|---|---|
//! | [`Way::IoUring`]: io_uring(7), Linux 6.7 | any number | asleep | yes |
//! | [`Way::Waitv`]: futex_waitv(2), Linux 5.16 | 127 | asleep | no |
//! | | more | a look at all words each 40 ms | no |
//! | [`Way::Naps`] | any number | a look at all words after 1 to 40 ms | never asleep there |
//!
//! What the machine refuses, now or later, is replaced by the next. In every way a word that has changed is found; what
//! differs is how soon.

mod uring;
mod word;

use core::marker::PhantomData;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use annulus_core::doorbell::Park;
use annulus_core::words::Bell;
use rustix::io::Errno;
use rustix::thread::futex::Wait;

use crate::Futex;
use crate::machine::{WaitMany, wait_many};
use crate::waitv::{Ended, TURN, WORDS_MAX, sleep_at, wait_of};
use uring::{Answer, NOBODY, Uring};
pub use word::Word;

/// The first nap after something came.
const NAP: Duration = Duration::from_millis(1);
/// The token of one's own bell.
const OWN: u64 = NOBODY - 1;

/// How a [`Many`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// io_uring(7) with `IORING_OP_FUTEX_WAIT`.
    IoUring,
    /// futex_waitv(2).
    Waitv,
    /// Sleeping for a while, and then looking.
    Naps,
}

/// Ends the wait of a [`Many`] from another thread of the process.
#[derive(Clone, Debug, Default)]
pub struct Poke(Arc<Bell>);

impl Poke {
    /// Ends the wait, or the next one.
    pub fn poke(&self) {
        self.0.move_on();
        // All: an older request of a ring that is being torn down may be there beside the one that waits.
        Futex.wake(self.0.futex(), u32::MAX, u32::MAX);
    }
}

#[derive(Debug)]
struct Armed {
    word: Word,
    seen: u32,
}

impl Armed {
    fn has_moved(&self) -> bool {
        self.word.get().glance() != self.seen
    }
}

#[derive(Debug)]
enum Kernel {
    Uring {
        ring: Uring,
        /// Whether it waits at one's own bell.
        own: bool,
        /// Words that requests name which the kernel has not taken over yet.
        leaving: Vec<Word>,
    },
    Waitv {
        waits: Vec<Wait>,
        tokens: Vec<u64>,
    },
    Naps(Duration),
}

/// Words to wait at, each under a token of the caller's. It stays in the thread that made it.
#[derive(Debug)]
pub struct Many {
    kernel: Kernel,
    armed: BTreeMap<u64, Armed>,
    poke: Poke,
    /// What one's own bell said after the last wait.
    seen: u32,
    /// io_uring lets only the thread that made a ring hand requests over.
    not_send: PhantomData<*const ()>,
}

impl Many {
    /// In the best way that this machine allows.
    #[must_use]
    pub fn new(poke: Poke) -> Many {
        let kernel = Many::kernel_of(Way::IoUring).unwrap_or_else(|_| second());
        Many::over(kernel, poke)
    }

    /// In a certain way.
    ///
    /// # Errors
    ///
    /// What the kernel said that does not offer it.
    pub fn with(way: Way, poke: Poke) -> io::Result<Many> {
        Ok(Many::over(Many::kernel_of(way)?, poke))
    }

    fn over(kernel: Kernel, poke: Poke) -> Many {
        // Behind none of the pokes so far: whatever they were for, the caller is about to look at.
        let seen = poke.0.seen();
        Many { kernel, armed: BTreeMap::new(), poke, seen, not_send: PhantomData }
    }

    fn kernel_of(way: Way) -> io::Result<Kernel> {
        match way {
            Way::IoUring => {
                let mut ring = Uring::new()?;
                probe(&mut ring)?;
                Ok(Kernel::Uring { ring, own: false, leaving: Vec::new() })
            }
            Way::Waitv => match wait_many() {
                WaitMany::Offered => Ok(Kernel::Waitv { waits: Vec::new(), tokens: Vec::new() }),
                WaitMany::Missing => Err(Errno::NOSYS.into()),
                WaitMany::Refused => Err(Errno::PERM.into()),
            },
            Way::Naps => Ok(Kernel::Naps(NAP)),
        }
    }

    /// How it waits now; may change in [`wait`](Many::wait), to what is less well.
    #[must_use]
    pub fn way(&self) -> Way {
        match self.kernel {
            Kernel::Uring { .. } => Way::IoUring,
            Kernel::Waitv { .. } => Way::Waitv,
            Kernel::Naps(_) => Way::Naps,
        }
    }

    /// Waits at `word` too, as long as it says `seen`, for wakes that share a bit with `bits`. `token` is none that is waited with,
    /// or was removed before the last wait, and neither of the two highest.
    pub fn add(&mut self, token: u64, word: Word, seen: u32, bits: u32) {
        debug_assert!(token < OWN && !self.armed.contains_key(&token));
        if let Kernel::Uring { ring, .. } = &mut self.kernel
            && ring.wait_at(word.get(), seen, bits, token).is_err()
        {
            self.fall_back();
        }
        self.armed.insert(token, Armed { word, seen });
    }

    /// Waits no longer with that token.
    pub fn remove(&mut self, token: u64) {
        let Some(armed) = self.armed.remove(&token) else { return };
        if let Kernel::Uring { ring, leaving, .. } = &mut self.kernel {
            leaving.push(armed.word);
            if ring.cancel(token).is_err() {
                self.fall_back();
            }
        }
    }

    /// Has the kernel know what was removed: no wake from now on is for that. Otherwise it does from the next wait on.
    pub fn flush(&mut self) {
        if let Kernel::Uring { ring, .. } = &mut self.kernel
            && (ring.enter(None).is_err() || ring.has_queued())
        {
            self.fall_back();
        }
    }

    /// Waits until something comes, at most `limit`; adds the tokens to `woken` whose words have moved, or were rung. Those are removed.
    /// A [`Poke`], a signal, and nothing at all end it too.
    pub fn wait(&mut self, limit: Option<Duration>, woken: &mut Vec<u64>) {
        let before = woken.len();
        match &mut self.kernel {
            Kernel::Uring { .. } => {
                if self.wait_in_ring(limit, woken).is_err() {
                    self.fall_back();
                }
            }
            Kernel::Waitv { .. } => {
                if self.look(woken, before) == 0 {
                    let outcome = self.wait_in_turn(limit, woken);
                    self.look(woken, before);
                    if outcome.is_err() {
                        self.kernel = Kernel::Naps(NAP);
                    }
                }
            }
            Kernel::Naps(nap) => {
                let nap = *nap;
                if self.look(woken, before) == 0 && self.poke.0.seen() == self.seen {
                    let at_most = if self.armed.is_empty() {
                        limit
                    } else {
                        Some(limit.map_or(nap, |limit| limit.min(nap)))
                    };
                    Futex.wait(self.poke.0.futex(), self.seen, u32::MAX, at_most);
                }
                let came = self.look(woken, before) > 0;
                self.kernel = Kernel::Naps(if came { NAP } else { (nap * 2).min(TURN) });
            }
        }
        self.seen = self.poke.0.seen();
    }

    /// Looks at all words; returns how many tokens are behind the first `before`.
    fn look(&mut self, woken: &mut Vec<u64>, before: usize) -> usize {
        for token in &woken[before..] {
            self.armed.remove(token);
        }
        self.armed.retain(|&token, armed| {
            let stays = !armed.has_moved();
            if !stays {
                woken.push(token);
            }
            stays
        });
        woken.len() - before
    }

    fn wait_in_ring(&mut self, limit: Option<Duration>, woken: &mut Vec<u64>) -> io::Result<()> {
        let Kernel::Uring { ring, own, leaving } = &mut self.kernel else { return Ok(()) };
        if !*own {
            ring.wait_at(self.poke.0.futex(), self.seen, u32::MAX, OWN)?;
            *own = true;
        }
        ring.enter(Some(limit))?;
        if ring.has_queued() {
            // The kernel stopped at one; a second time it has no memory for them.
            ring.enter(None)?;
            if ring.has_queued() {
                return Err(Errno::NOMEM.into());
            }
        }
        leaving.clear();
        while let Some(answer) = ring.answer() {
            match answer.token {
                OWN => *own = false,
                NOBODY => {}
                token => {
                    if self.armed.remove(&token).is_some() {
                        woken.push(token);
                    }
                }
            }
            if !is_expected(answer) {
                return Err(io::Error::from_raw_os_error(-answer.result));
            }
        }
        Ok(())
    }

    /// Waits at one's own bell and as many of the others as one call takes; the rest is looked at afterwards.
    fn wait_in_turn(&mut self, limit: Option<Duration>, woken: &mut Vec<u64>) -> io::Result<()> {
        let Kernel::Waitv { waits, tokens } = &mut self.kernel else { return Ok(()) };
        waits.clear();
        tokens.clear();
        waits.push(wait_of(self.poke.0.futex(), self.seen));
        // Those added last, if there are too many: what rang lately rings again, and tokens mostly grow.
        for (&token, armed) in self.armed.iter().rev().take(WORDS_MAX - 1) {
            waits.push(wait_of(armed.word.get(), armed.seen));
            tokens.push(token);
        }
        let all = tokens.len() == self.armed.len();
        let limit = if all { limit } else { Some(limit.map_or(TURN, |limit| limit.min(TURN))) };
        if let Ended::Rung(index @ 1..) = sleep_at(waits, limit)? {
            woken.extend(tokens.get(index - 1));
        }
        Ok(())
    }

    /// Goes on without io_uring.
    fn fall_back(&mut self) {
        self.kernel = second();
    }
}

/// What there is without io_uring.
fn second() -> Kernel {
    Many::kernel_of(Way::Waitv).unwrap_or(Kernel::Naps(NAP))
}

/// Whether the kernel knows the request: a wait at a word that says something else is refused as such.
fn probe(ring: &mut Uring) -> io::Result<()> {
    let bell = Bell::default();
    ring.wait_at(bell.futex(), bell.seen().wrapping_add(1), u32::MAX, OWN)?;
    ring.enter(Some(Some(TURN)))?;
    match ring.answer() {
        Some(answer) if answer.result == -Errno::AGAIN.raw_os_error() => Ok(()),
        _ => Err(Errno::NOSYS.into()),
    }
}

fn is_expected(answer: Answer) -> bool {
    let passing = [Errno::AGAIN, Errno::CANCELED, Errno::INTR, Errno::NOENT, Errno::ALREADY];
    answer.result >= 0 || passing.iter().any(|errno| answer.result == -errno.raw_os_error())
}
