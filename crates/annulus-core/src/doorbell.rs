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

/// The readers' bit among the sleepers.
pub const READERS: u32 = 1;
/// Bits that mean something: readers, and 31 groups.
const KNOWN: u32 = u32::MAX;

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
    let declared = ctl.sleepers.take() & KNOWN;
    ctl.rings.move_on();
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
    if ctl.blocked.take() {
        ctl.room.move_on();
        park.wake(ctl.room.futex(), 1, u32::MAX);
    }
}
