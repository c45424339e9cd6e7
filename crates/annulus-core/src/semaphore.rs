//! The second way to sleep: process-shared POSIX semaphores, for systems without futexes.
//!
//! The protocol of [`doorbell`](crate::doorbell) is the same. What a futex does in the kernel, to compare and
//! to sleep in one step, is a declaration here, one for each semaphore:
//!
//! ```text
//! sleeper:  take left posts; declare; FULL fence; bell as seen?  wait; withdraw
//! waker:    bell moved on; FULL fence; for each declaration: take it; post
//!
//! awake ──declare──► asleep ──take──► taken ──take again──► awake
//!   ▲                   └─withdraw──┬───┘
//!   └───────────────────────────────┘
//! ```
//!
//! Race: the sleeper declares while the waker moves the bell. Either the waker sees the declaration and
//! posts, or the sleeper sees that the bell has moved.
//!
//! **One semaphore for each sleeper.** Of one for all, a sleeper could take the post that was meant for
//! another, and the dead would keep theirs.
//!
//! **Posts do not pile up.** A declaration is taken at most once, and at most once again after that, so it is
//! worth two posts at most; and before a declaration the sleeper takes two, if there are as many. Those are
//! left from declarations that are over: its own, which time or the bell ended before the post came, or a
//! dead owner's. So there are never more than two, and one for each waker that was held up between taking and
//! posting. A left post costs a wake for nothing.
//!
//! **A semaphore is made once**, by the ring's creator, and never again: whoever gets a slot cannot know
//! whether a waker is about to post to it.
//!
//! **A waker that dies** between taking and posting leaves a sleeper that nobody sees any more. Its timeout
//! ends that; for a reader also the wake for everyone after a takeover, which takes such a declaration again.

use core::time::Duration;

use crate::doorbell::{Park, READERS, group_bit};
use crate::layout::{CtlHead, GROUPS_MAX, Slot};
use crate::sync::FutexWord;
use crate::words::{Asleep, Plain64};

/// Posts that one declaration can be worth, and so as many as are taken before the next.
const POSTS: usize = 2;

/// What a semaphore lies in: room for a process-shared `sem_t`. Whoever maps `ctl` can write it, so it may
/// hold anything.
pub type Words = [Plain64; 4];

/// What sleeping on semaphores asks of the system. A post orders what came before it before what comes after
/// the wait that takes it, as POSIX has it.
///
/// Whatever the words hold, the worst is a wait that ends early, or at its timeout.
pub trait Semaphores {
    /// Adds a post: one waiter goes on, or the next one does not sleep. Never blocks.
    fn post(&self, words: &Words);

    /// Takes a post if there is one; never sleeps. Says whether it did.
    fn try_wait(&self, words: &Words) -> bool;

    /// Sleeps until there is a post, and takes it; or until `timeout` has passed (`None`: no limit), and says whether it has. May
    /// return early for no reason, but where the words are no semaphore any more it naps for a while: whoever
    /// waits looks and waits again, and would spin.
    fn wait(&self, words: &Words, timeout: Option<Duration>) -> bool;

    /// As [`Park::heavy`].
    fn heavy(&self) -> bool;
}

impl<S: Semaphores + ?Sized> Semaphores for &S {
    fn post(&self, words: &Words) {
        (**self).post(words);
    }

    fn try_wait(&self, words: &Words) -> bool {
        (**self).try_wait(words)
    }

    fn wait(&self, words: &Words, timeout: Option<Duration>) -> bool {
        (**self).wait(words, timeout)
    }

    fn heavy(&self) -> bool {
        (**self).heavy()
    }
}

/// The readers' doorbell, `rings`, over the semaphores of their slots: a reader sleeps on its own slot's, and
/// the producer posts to those who sleep.
#[derive(Clone, Copy, Debug)]
pub struct ReaderSemaphores<'a, S> {
    /// All slots of the ring.
    pub slots: &'a [Slot],
    /// The slot of the reader that sleeps through this, which holds its lock. Without one, as for a producer,
    /// [`wait`](Park::wait) returns at once.
    pub own: Option<usize>,
    /// Who waits and posts.
    pub system: S,
}

/// The bit of a slot's owner among the sleepers.
fn bit_of(slot: &Slot) -> u32 {
    match slot.group.glance() {
        group @ 1..=GROUPS_MAX => group_bit(group - 1),
        // A reader's, or what no worker says.
        _ => READERS,
    }
}

impl<S: Semaphores> Park for ReaderSemaphores<'_, S> {
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool {
        let own = self.own.and_then(|i| self.slots.get(i)).filter(|slot| bits & bit_of(slot) != 0);
        own.is_some_and(|slot| wait(&self.system, &slot.asleep, &slot.semaphore, word, seen, timeout))
    }

    /// Posts to at most `count` of the slots that declared themselves asleep, and whose bit is one of `bits`;
    /// returns to how many. All bits mean everyone, so also those whose declaration another waker has taken.
    fn wake(&self, _: &FutexWord, count: u32, bits: u32) -> u32 {
        let take = if bits == u32::MAX { Asleep::take_again } else { Asleep::take };
        Asleep::before_looking();
        let mut posted = 0;
        for slot in self.slots {
            if posted == count {
                break;
            }
            if bits & bit_of(slot) != 0 && take(&slot.asleep) {
                self.system.post(&slot.semaphore);
                posted += 1;
            }
        }
        posted
    }

    fn heavy(&self) -> bool {
        self.system.heavy()
    }
}

/// The producer's doorbell, `room`, over a semaphore of its own: there is only one producer, and a post left
/// by a dead one is a wake for nothing for the next.
#[derive(Clone, Copy, Debug)]
pub struct RoomSemaphore<'a, S> {
    /// Where the semaphore is.
    pub ctl: &'a CtlHead,
    /// Who waits and posts.
    pub system: S,
}

impl<S: Semaphores> Park for RoomSemaphore<'_, S> {
    fn wait(&self, word: &FutexWord, seen: u32, _: u32, timeout: Option<Duration>) -> bool {
        wait(&self.system, &self.ctl.room_asleep, &self.ctl.room_semaphore, word, seen, timeout)
    }

    /// Posts if the producer declared itself asleep, and `count` is not 0; returns how often.
    fn wake(&self, _: &FutexWord, count: u32, _: u32) -> u32 {
        Asleep::before_looking();
        if count == 0 || !self.ctl.room_asleep.take() {
            return 0;
        }
        self.system.post(&self.ctl.room_semaphore);
        1
    }

    fn heavy(&self) -> bool {
        self.system.heavy()
    }
}

/// Sleeps on a semaphore, whose only sleeper this is, while `word` holds `seen`. Says whether the timeout has passed.
fn wait(
    system: &impl Semaphores,
    asleep: &Asleep,
    semaphore: &Words,
    word: &FutexWord,
    seen: u32,
    timeout: Option<Duration>,
) -> bool {
    // Before the declaration: what is posted for it is never taken here.
    for _ in 0..POSTS {
        if !system.try_wait(semaphore) {
            break;
        }
    }
    asleep.declare();
    let timed_out = word.glance() == seen && system.wait(semaphore, timeout);
    asleep.withdraw();
    timed_out
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use core::cell::{Cell, RefCell};
    use std::vec::Vec;

    use super::*;

    /// A system of one semaphore that notes what it is asked; its waits take a post if there is one.
    #[derive(Default)]
    struct Noted {
        posts: Cell<usize>,
        /// How many posts there were at each wait, and its limit.
        waits: RefCell<Vec<(usize, Option<Duration>)>>,
        fences: Cell<usize>,
        refuses: bool,
    }

    impl Semaphores for Noted {
        fn post(&self, _: &Words) {
            self.posts.set(self.posts.get() + 1);
        }

        fn try_wait(&self, _: &Words) -> bool {
            let posts = self.posts.get();
            self.posts.set(posts.saturating_sub(1));
            posts > 0
        }

        fn wait(&self, words: &Words, timeout: Option<Duration>) -> bool {
            self.waits.borrow_mut().push((self.posts.get(), timeout));
            !self.try_wait(words)
        }

        fn heavy(&self) -> bool {
            self.fences.set(self.fences.get() + 1);
            !self.refuses
        }
    }

    /// Who believes in a fence that the system refuses sleeps for ever.
    #[test]
    fn a_heavy_fence_is_the_systems_own() {
        let (ctl, slots) = (CtlHead::default(), [Slot::default()]);
        for refuses in [false, true] {
            let system = Noted { refuses, ..Noted::default() };
            let (reader, producer) = (
                ReaderSemaphores { slots: &slots, own: Some(0), system: &system },
                RoomSemaphore { ctl: &ctl, system: &system },
            );
            assert_eq!([reader.heavy(), producer.heavy()], [!refuses; 2]);
            assert_eq!(system.fences.get(), 2);
        }
    }

    /// What a sleep that has lasted for its whole time is worth to its declaration, one that has not is not worth.
    #[test]
    fn only_a_sleep_that_lasts_says_so() {
        let (ctl, slots) = (CtlHead::default(), [Slot::default()]);
        let limit = Some(Duration::from_secs(1));
        // More than belong to old declarations: the sleep takes one.
        for (posts, lasts) in [(0, true), (POSTS, true), (POSTS + 1, false)] {
            let system = Noted::default();
            let (reader, producer) = (
                ReaderSemaphores { slots: &slots, own: Some(0), system: &system },
                RoomSemaphore { ctl: &ctl, system: &system },
            );
            system.posts.set(posts);
            assert_eq!(reader.wait(ctl.rings.futex(), ctl.rings.seen(), READERS, limit), lasts);
            system.posts.set(posts);
            assert_eq!(producer.wait(ctl.room.futex(), ctl.room.seen(), u32::MAX, limit), lasts);
            assert_eq!(system.waits.take().len(), 2);
            // The bell has moved; bits that are not for it; a producer.
            let nobody = ReaderSemaphores { own: None, ..reader };
            let bell = ctl.rings.futex();
            assert!(!reader.wait(bell, ctl.rings.seen().wrapping_sub(1), READERS, limit));
            assert!(!reader.wait(bell, ctl.rings.seen(), !READERS, limit));
            assert!(!nobody.wait(bell, ctl.rings.seen(), READERS, limit));
            assert_eq!(system.waits.take(), []);
        }
    }

    /// So many of the posts are from declarations that are over; if there are more, somebody writes where he should not,
    /// and they cost wakes for nothing.
    #[test]
    fn what_was_left_is_taken_before_a_sleep() {
        let limit = Some(Duration::from_secs(1));
        for left in 0..5 {
            let (ctl, system) = (CtlHead::default(), Noted::default());
            system.posts.set(left);
            let bell = RoomSemaphore { ctl: &ctl, system: &system };
            bell.wait(ctl.room.futex(), ctl.room.seen(), u32::MAX, limit);
            assert_eq!(system.waits.take(), [(left.saturating_sub(POSTS), limit)]);
        }
    }
}
