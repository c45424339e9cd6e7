//! Sleeping and waking, in both directions, without a lost wake and without a count that a dead process
//! could not un-count.
//!
//! ```text
//! sleeper:  seen = bell; declare; HEAVY fence; last look; wait(bell, seen)
//! waker:    store what ends the sleep; LIGHT fence; declared?  take declarations; move the bell on; wake
//! ```
//!
//! Race: the sleeper declares while the waker publishes. Either the waker sees the declaration, and the
//! sleeper's wait is refused or woken; or the sleeper's last look sees what was published.

use core::time::Duration;

use crate::layout::{CtlHead, ProducerPage, RingState, Slot};
use crate::memory::{Memory, Shared, fetch_line};
use crate::sync::FutexWord;
use crate::words::{full_fence, light_fence};
use crate::writer::Writer;

/// The readers' bit among the sleepers. The 31 others are groups'.
pub const READERS: u32 = 1;

/// What the wait protocol asks of the system.
///
/// The word belongs to memory that several processes map, so implementations must use the shared form of
/// whatever they wait with. See futex(2), membarrier(2).
pub trait Park {
    /// Sleeps while `word` holds `seen`, until a [`wake`](Park::wake) of the same word with a common bit, or
    /// until `timeout` has passed (`None`: no limit). May return early for no reason.
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>);

    /// Wakes at most `count` of those asleep on `word` whose bits meet `bits`; returns how many.
    fn wake(&self, word: &FutexWord, count: u32, bits: u32) -> u32;

    /// The heavy half of an asymmetric fence. `false`: the system refuses it, so the caller may not sleep.
    fn heavy(&self) -> bool;
}

/// What a producer pays between a publication and its look at the sleepers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light {
    /// Nothing but order in the compiler: this process is registered with membarrier(2).
    Compiler,
    /// A full fence.
    Full,
    /// Nobody may sleep: not even the look.
    Never,
}

/// What a reader pays before its last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heavy {
    /// membarrier(2): the producer pays nothing.
    Barrier,
    /// A full fence: the producer pays one too.
    Full,
    /// Sleeping is not allowed on this ring.
    Never,
}

/// How an attempt to sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// It slept, or was refused by the kernel because the bell had moved: look again.
    Woken,
    /// The last look found a reason to stay awake.
    Ready,
    /// This process may not sleep on this ring: poll instead.
    Forbidden,
}

/// Before a publication whose end is a look at the sleepers: fetches their line, which is the producer's own
/// while nobody sleeps. If somebody does, the line comes while the record is written, not after it.
#[inline]
pub fn approach(ctl: &CtlHead) {
    fetch_line(&ctl.sleepers);
}

/// Whether a reader sleeps that this publication should wake. On the path of every publication.
#[inline]
pub fn someone_sleeps(ctl: &CtlHead, light: Light) -> bool {
    match light {
        Light::Never => return false,
        Light::Compiler => light_fence(),
        Light::Full => full_fence(),
    }
    ctl.sleepers.peek() != 0
}

/// Wakes the readers that declared themselves asleep. Returns how many woke.
#[cold]
#[inline(never)]
pub fn wake_readers(ctl: &CtlHead, park: &impl Park) -> u32 {
    // The waker clears the bits: a reader that dies asleep costs one useless wake, not one for ever.
    let declared = ctl.sleepers.take();
    ctl.rings.move_on();
    // None: somebody else took them, whoever maps `ctl`.
    if declared == 0 { 0 } else { park.wake(ctl.rings.futex(), u32::MAX, declared) }
}

/// Wakes everyone, declared or not: at the end, and after a takeover, since the producer before may have died
/// between taking the declarations and the wake.
pub fn wake_everyone(ctl: &CtlHead, park: &impl Park) {
    ctl.sleepers.take();
    ctl.rings.move_on();
    park.wake(ctl.rings.futex(), u32::MAX, u32::MAX);
}

/// A producer's first words on a ring that had one before, whose records it has taken over, and whose end may have
/// come at any instruction: waiting for room, or between taking the sleepers' declarations and waking them.
pub fn succeed(ctl: &CtlHead, page: &ProducerPage, epoch: u64, park: &impl Park) {
    stop_waiting(ctl);
    page.epoch.raise(epoch);
    page.state.set(RingState::Open.to_word());
    wake_everyone(ctl, park);
}

/// A producer's last words: the state, then the wake. It drops its locks after them, so that a reader that finds the
/// lock free finds the state too.
pub fn end<M: Memory>(writer: &mut Writer, shared: &Shared<'_, M>, park: &impl Park) {
    writer.close(shared);
    wake_everyone(shared.ctl, park);
}

/// Whether the ring has ended or has another producer than that of `epoch`, which a reader about to sleep looks at
/// beside the next header.
pub fn has_turned(page: &ProducerPage, epoch: u64) -> bool {
    page.state.look() != RingState::Open.to_word() || page.epoch.look() != epoch
}

/// Puts a reader to sleep unless `look`, the last look at header, licence, state and epoch, says not to.
pub fn sleep_as_reader(
    ctl: &CtlHead,
    heavy: Heavy,
    park: &impl Park,
    timeout: Option<Duration>,
    look: impl FnOnce() -> bool,
) -> Slept {
    let seen = ctl.rings.seen();
    let allowed = match heavy {
        Heavy::Never => false,
        Heavy::Full => {
            ctl.sleepers.declare(READERS);
            full_fence();
            true
        }
        Heavy::Barrier => {
            ctl.sleepers.declare(READERS);
            park.heavy()
        }
    };
    if !allowed {
        return Slept::Forbidden;
    }
    if look() {
        return Slept::Ready;
    }
    park.wait(ctl.rings.futex(), seen, READERS, timeout);
    Slept::Woken
}

/// Puts the producer to sleep until the cursors allow `wanted`, unless `look` finds the room at last.
///
/// A reader that goes on without a fence can miss a fresh declaration once, so the sleep behind one is limited by
/// `fresh`, a millisecond say, and only behind one that stands from the sleep before by `standing`. A declaration
/// stands until a reader takes it or [`stop_waiting`].
pub fn sleep_for_room(
    ctl: &CtlHead,
    wanted: u64,
    park: &impl Park,
    [fresh, standing]: [Option<Duration>; 2],
    look: impl FnOnce() -> bool,
) -> Slept {
    let seen = ctl.room.seen();
    let stood = ctl.blocked.declare(wanted);
    full_fence();
    if look() {
        return Slept::Ready;
    }
    park.wait(ctl.room.futex(), seen, u32::MAX, if stood { standing } else { fresh });
    Slept::Woken
}

/// The producer has what it waited for, or gives up.
pub fn stop_waiting(ctl: &CtlHead) {
    ctl.blocked.withdraw();
}

/// A reader's look after it has moved its cursor from `before` to `after`: wakes the producer if this step
/// reached what it waits for. No fence; see [`sleep_for_room`].
#[inline]
pub fn after_release(ctl: &CtlHead, before: u64, after: u64, park: &impl Park) {
    // Only the step that crosses: a reader far ahead must not ring at each of its records.
    if ctl.blocked.peek().is_some_and(|wanted| before < wanted && wanted <= after) {
        wake_producer(ctl, park);
    }
}

/// A reader's look when it finds the ring empty, or leaves: behind a fence, so that this one cannot miss.
pub fn when_empty(ctl: &CtlHead, park: &impl Park) {
    full_fence();
    if ctl.blocked.peek().is_some() {
        wake_producer(ctl, park);
    }
}

/// Frees a slot, by its owner that leaves or by a reaper, either of which holds its lock and gives that back
/// afterwards; and wakes the producer, whose wait the slot's cursor may have been.
pub fn leave(ctl: &CtlHead, slot: &Slot, park: &impl Park) {
    slot.vacate();
    when_empty(ctl, park);
}

#[cold]
#[inline(never)]
fn wake_producer(ctl: &CtlHead, park: &impl Park) {
    // Taken before the bell moves: who has seen it move declares anew, and that is not this one's to take.
    if ctl.blocked.take() {
        ctl.room.move_on();
        park.wake(ctl.room.futex(), 1, u32::MAX);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use core::cell::{Cell, RefCell};
    use std::vec::Vec;

    use super::*;

    const FRESH: Option<Duration> = Some(Duration::from_millis(1));
    const STANDING: Option<Duration> = Some(Duration::from_secs(1));

    /// A system that notes what it is asked, and returns at once.
    #[derive(Default)]
    struct Noted {
        /// Bits and limit of each.
        waits: RefCell<Vec<(u32, Option<Duration>)>>,
        /// Count and bits of each.
        wakes: RefCell<Vec<(u32, u32)>>,
        refuses: bool,
    }

    impl Park for Noted {
        fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) {
            assert_eq!(word.glance(), seen, "nobody rang");
            self.waits.borrow_mut().push((bits, timeout));
        }

        fn wake(&self, _: &FutexWord, count: u32, bits: u32) -> u32 {
            self.wakes.borrow_mut().push((count, bits));
            1
        }

        fn heavy(&self) -> bool {
            !self.refuses
        }
    }

    #[test]
    fn only_the_step_that_crosses_rings() {
        let steps = [(0, 8), (0, 15), (0, 16), (8, 16), (8, 24), (15, 17), (16, 16), (16, 24), (24, 32)];
        for (before, after) in steps {
            let (ctl, system) = (CtlHead::default(), Noted::default());
            after_release(&ctl, before, after, &system);
            assert_eq!(system.wakes.take(), [], "nobody waits");
            ctl.blocked.declare(16);
            let seen = ctl.room.seen();
            after_release(&ctl, before, after, &system);
            let crosses = before < 16 && after >= 16;
            assert_eq!(system.wakes.take().len(), usize::from(crosses), "{before} to {after}");
            assert_eq!(ctl.room.seen() != seen, crosses);
            // What is not reached yet stands for whoever reaches it.
            assert_eq!(ctl.blocked.peek(), (!crosses).then_some(16));
        }
    }

    #[test]
    fn who_finds_the_ring_empty_or_leaves_rings_wherever_it_is() {
        let (ctl, slot, system) = (CtlHead::default(), Slot::default(), Noted::default());
        when_empty(&ctl, &system);
        leave(&ctl, &slot, &system);
        assert_eq!((system.wakes.take(), ctl.room.seen()), (Vec::new(), 0), "nobody waits");
        ctl.blocked.declare(u64::MAX - 1);
        when_empty(&ctl, &system);
        ctl.blocked.declare(0);
        leave(&ctl, &slot, &system);
        assert_eq!((system.wakes.take().len(), ctl.room.seen()), (2, 2));
    }

    /// Two readers may have seen it before one has taken it. The bell of the second would end the producer's next sleep,
    /// which is not for it.
    #[test]
    fn one_declaration_is_worth_one_wake() {
        let (ctl, system) = (CtlHead::default(), Noted::default());
        ctl.blocked.declare(16);
        for _ in 0..2 {
            wake_producer(&ctl, &system);
        }
        assert_eq!((system.wakes.take(), ctl.room.seen()), (Vec::from([(1, u32::MAX)]), 1));
    }

    /// A reader without a fence may miss a declaration once: the sleep behind one must be short, and that behind one
    /// which nobody has taken since need not be.
    #[test]
    fn a_sleep_is_short_unless_its_declaration_stands_from_the_one_before() {
        let (ctl, system) = (CtlHead::default(), Noted::default());
        let sleep = |wanted| {
            let slept = sleep_for_room(&ctl, wanted, &system, [FRESH, STANDING], || false);
            assert_eq!(slept, Slept::Woken);
            system.waits.take()
        };
        assert_eq!(sleep(16), [(u32::MAX, FRESH)]);
        assert_eq!(sleep(16), [(u32::MAX, STANDING)]);
        assert_eq!(sleep(24), [(u32::MAX, STANDING)]);
        assert_eq!(ctl.blocked.peek(), Some(24));
        after_release(&ctl, 0, 24, &system);
        assert_eq!(sleep(32), [(u32::MAX, FRESH)], "a reader took it");
        stop_waiting(&ctl);
        assert_eq!(sleep(0), [(u32::MAX, FRESH)], "it was taken back");
        assert_eq!(sleep(0), [(u32::MAX, STANDING)]);
        assert_eq!(sleep_for_room(&ctl, 0, &system, [FRESH, STANDING], || true), Slept::Ready);
        assert_eq!(system.waits.take(), []);
    }

    #[test]
    fn who_may_not_sleep_does_not() {
        for (heavy, refuses) in [(Heavy::Never, false), (Heavy::Never, true), (Heavy::Barrier, true)] {
            let (ctl, system) = (CtlHead::default(), Noted { refuses, ..Noted::default() });
            let looked = Cell::new(false);
            let slept = sleep_as_reader(&ctl, heavy, &system, None, || looked.replace(true));
            assert_eq!(slept, Slept::Forbidden);
            assert!(!looked.get(), "a look without its fence says nothing");
            assert_eq!(system.waits.take(), []);
            if heavy == Heavy::Never {
                assert_eq!(ctl.sleepers.peek(), 0, "and costs nobody a wake");
            }
        }
        for heavy in [Heavy::Barrier, Heavy::Full] {
            let (ctl, system) = (CtlHead::default(), Noted::default());
            assert_eq!(sleep_as_reader(&ctl, heavy, &system, None, || true), Slept::Ready);
            assert_eq!(system.waits.take(), []);
            assert_eq!(sleep_as_reader(&ctl, heavy, &system, STANDING, || false), Slept::Woken);
            assert_eq!(system.waits.take(), [(READERS, STANDING)]);
            assert!(someone_sleeps(&ctl, Light::Full) && !someone_sleeps(&ctl, Light::Never));
        }
    }

    /// Whoever supersedes a ring takes the declarations beside its producer, and anybody may empty the word: then there
    /// is nobody to ask the system for, which refuses to wake no bits at all.
    #[test]
    fn declarations_that_somebody_else_took_are_asked_for_nothing() {
        let (ctl, system) = (CtlHead::default(), Noted::default());
        assert_eq!(wake_readers(&ctl, &system), 0);
        assert_eq!(system.wakes.take(), []);
        for bits in [READERS, 1 << 31, READERS | 1 << 5] {
            ctl.sleepers.declare(bits);
            assert_eq!(wake_readers(&ctl, &system), 1);
            assert_eq!(system.wakes.take(), [(u32::MAX, bits)]);
            assert_eq!(ctl.sleepers.peek(), 0);
        }
        wake_everyone(&ctl, &system);
        assert_eq!(system.wakes.take(), [(u32::MAX, u32::MAX)], "declared or not");
    }
}
