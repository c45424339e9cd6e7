//! The doorbells of one ring: how its sleepers are woken, as the ring was built.

use std::time::Duration;

use annulus_core::doorbell::Park;
use annulus_core::layout::WakeBackend;
use annulus_core::semaphore::{ReaderSemaphores, RoomSemaphore, Semaphores, Words};
use annulus_core::sync::FutexWord;
use annulus_os::semaphore::{self, Outcome};
use annulus_os::{Futex, membarrier, sys};

use crate::memory::Memory;

/// A reader whose semaphore somebody has overwritten naps instead.
const NAP: Duration = Duration::from_millis(1);

/// The doorbell at which readers sleep. Which kind it is, is looked up when somebody sleeps or is woken, never on the
/// path of a record.
#[derive(Clone, Copy)]
pub(crate) struct ReaderBell<'a> {
    memory: &'a Memory,
    own: Option<u32>,
}

/// The doorbell at which the producer sleeps.
#[derive(Clone, Copy)]
pub(crate) struct RoomBell<'a>(&'a Memory);

/// Makes what the doorbells of a new ring need besides zeros. Once, before anybody can attach.
pub(crate) fn make_bells(memory: &Memory) -> std::io::Result<()> {
    if memory.identity().wake == WakeBackend::Semaphore {
        semaphore::init(&memory.ctl().room_semaphore)?;
        for slot in memory.slots() {
            semaphore::init(&slot.semaphore)?;
        }
    }
    Ok(())
}

impl<'a> ReaderBell<'a> {
    /// As the producer has it, who only wakes.
    #[inline]
    pub(crate) fn of(memory: &'a Memory) -> ReaderBell<'a> {
        ReaderBell { memory, own: None }
    }

    /// As the reader has it whose slot this is.
    #[inline]
    pub(crate) fn at(memory: &'a Memory, slot: u32) -> ReaderBell<'a> {
        ReaderBell { memory, own: Some(slot) }
    }

    fn semaphores(&self) -> ReaderSemaphores<'a, Posix> {
        let own = self.own.map(|slot| slot as usize);
        ReaderSemaphores { slots: self.memory.slots(), own, system: Posix }
    }
}

impl<'a> RoomBell<'a> {
    #[inline]
    pub(crate) fn of(memory: &'a Memory) -> RoomBell<'a> {
        RoomBell(memory)
    }

    fn semaphore(&self) -> RoomSemaphore<'a, Posix> {
        RoomSemaphore { ctl: self.0.ctl(), system: Posix }
    }
}

impl Park for ReaderBell<'_> {
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool {
        match self.memory.identity().wake {
            WakeBackend::Semaphore => self.semaphores().wait(word, seen, bits, timeout),
            _ => Futex.wait(word, seen, bits, timeout),
        }
    }

    fn wake(&self, word: &FutexWord, count: u32, bits: u32) -> u32 {
        match self.memory.identity().wake {
            WakeBackend::Semaphore => self.semaphores().wake(word, count, bits),
            _ => Futex.wake(word, count, bits),
        }
    }

    fn heavy(&self) -> bool {
        membarrier::heavy()
    }
}

impl Park for RoomBell<'_> {
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool {
        match self.0.identity().wake {
            WakeBackend::Semaphore => self.semaphore().wait(word, seen, bits, timeout),
            _ => Futex.wait(word, seen, bits, timeout),
        }
    }

    fn wake(&self, word: &FutexWord, count: u32, bits: u32) -> u32 {
        match self.0.identity().wake {
            WakeBackend::Semaphore => self.semaphore().wake(word, count, bits),
            _ => Futex.wake(word, count, bits),
        }
    }

    fn heavy(&self) -> bool {
        membarrier::heavy()
    }
}

/// The C library's semaphores: sem_overview(7).
#[derive(Clone, Copy)]
struct Posix;

impl Semaphores for Posix {
    fn post(&self, words: &Words) {
        // One that is no semaphore any more, or holds as many posts as it can, is woken by its timeout.
        semaphore::post(words);
    }

    fn try_wait(&self, words: &Words) -> bool {
        semaphore::try_wait(words)
    }

    fn wait(&self, words: &Words, timeout: Option<Duration>) -> bool {
        let outcome = semaphore::wait(words, timeout);
        if outcome == Outcome::Broken {
            sys::nap(timeout.map_or(NAP, |timeout| timeout.min(NAP)));
        }
        outcome == Outcome::TimedOut
    }

    fn heavy(&self) -> bool {
        membarrier::heavy()
    }
}
