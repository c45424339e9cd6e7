//! Sleeping at several shared words at once, until one of them is rung: futex_waitv(2), Linux 5.16.

#![allow(unsafe_code)]

use core::time::Duration;
use std::io;

use annulus_core::sync::FutexWord;
use rustix::io::Errno;
use rustix::thread::ClockId;
use rustix::thread::futex::{Wait, WaitFlags, WaitPtr, WaitvFlags, waitv};

use crate::futex::deadline_in;

/// Words that one call takes: `FUTEX_WAITV_MAX`.
pub const WORDS_MAX: usize = 128;
/// The longest sleep at a part of the words, where one call does not take all: at most 25 wakes a second.
pub(crate) const TURN: Duration = Duration::from_millis(40);

/// Words to sleep at. Kept from one sleep to the next, it allocates once.
///
/// A sleeper here is woken by a wake of any bits, and counts among those that the wake was for.
///
/// It holds addresses only, which the kernel looks up at each [`wait`](Waits::wait), and through which it reads at most: an address that is mapped no
/// longer is an error there.
#[derive(Debug, Default)]
pub struct Waits {
    words: Vec<Wait>,
    /// Where the next sleep begins, where one call does not take all.
    turn: usize,
}

// SAFETY: it owns addresses and reaches nothing through them; the kernel looks them up as it would a number, for whichever thread
// asks.
unsafe impl Send for Waits {}

impl Waits {
    /// None.
    #[must_use]
    pub fn new() -> Waits {
        Waits::default()
    }

    /// Forgets all words.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Sleeps at this word too, as long as it says `seen`.
    pub fn push(&mut self, word: &FutexWord, seen: u32) {
        self.words.push(wait_of(word, seen));
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Sleeps until one of the words is rung or says something else, for at most `limit` (`None`: for ever). May return early for no reason.
    /// Says whether the limit has passed.
    ///
    /// Of more than [`WORDS_MAX`] words it sleeps at a part, for at most 40 ms, and the next time at the next part.
    ///
    /// # Errors
    ///
    /// What the kernel says that has no such call (`ENOSYS`) or refuses it (`EPERM`, mostly), that has no memory for it
    /// (`ENOMEM`), or that was given no word (`EINVAL`).
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        let (words, most) = self.part();
        let cut = most.filter(|most| limit.is_none_or(|limit| *most < limit));
        Ok(sleep_at(words, cut.or(limit))? == Ended::Passed && cut.is_none())
    }

    /// The words of the next call, and how long it may take.
    fn part(&mut self) -> (&[Wait], Option<Duration>) {
        let count = self.words.len();
        let parts = count.div_ceil(WORDS_MAX);
        if parts <= 1 {
            return (&self.words, None);
        }
        self.turn = (self.turn + 1) % parts;
        let size = count.div_ceil(parts);
        let begin = self.turn * size;
        (&self.words[begin..count.min(begin + size)], Some(TURN))
    }
}

/// How a sleep at several words has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// This one of them was rung.
    Rung(usize),
    /// One says something else, or a signal came.
    Early,
    /// The limit has passed.
    Passed,
}

/// Sleeps at one word as long as it says `seen`, as all do that wait in one call.
pub(crate) fn wait_of(word: &FutexWord, seen: u32) -> Wait {
    let mut wait = Wait::new();
    wait.val = u64::from(seen);
    wait.uaddr = WaitPtr::new(word.as_ptr().cast());
    // Not private: the wakers are other processes.
    wait.flags = WaitFlags::SIZE_U32;
    wait
}

/// One call.
pub(crate) fn sleep_at(words: &[Wait], limit: Option<Duration>) -> io::Result<Ended> {
    let deadline = limit.and_then(deadline_in);
    match waitv(words, WaitvFlags::empty(), deadline.as_ref(), ClockId::Monotonic) {
        Ok(index) => Ok(Ended::Rung(index)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Ended::Early),
        Err(Errno::TIMEDOUT) => Ok(Ended::Passed),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use annulus_core::words::Bell;

    use super::*;

    /// However many there are, each has its turn, in parts that one call takes.
    #[test]
    fn each_word_has_its_turn() {
        for count in [0, 1, WORDS_MAX, WORDS_MAX + 1, 2 * WORDS_MAX, 2 * WORDS_MAX + 1, 1000] {
            let bells: Vec<Bell> = (0..count).map(|_| Bell::default()).collect();
            let mut waits = Waits::new();
            bells.iter().for_each(|bell| waits.push(bell.futex(), bell.seen()));
            let (mut seen, parts) = (HashSet::new(), count.div_ceil(WORDS_MAX));
            for _ in 0..parts {
                let (part, most) = waits.part();
                assert!(part.len() <= WORDS_MAX && most.is_some() == (parts > 1));
                seen.extend(part.iter().map(|wait| wait.uaddr.ptr.addr()));
            }
            assert_eq!(seen.len(), count);
        }
    }
}
