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
//!
//! That needs a fence on both sides. Where the waker has none that can be relied on ([`Heavy::Barrier`], and readers that
//! wake the producer), it may miss a declaration that is made while its last store is still on its way out of the processor.
//! So the first sleep behind a declaration is short, and only one that has stood for so long is relied on: see [`Settled`].

use core::time::Duration;

use crate::layout::{CtlHead, GROUPS_MAX, ProducerPage, RingState, Slot};
use crate::memory::{Memory, Shared, fetch_line};
use crate::sync::{FutexWord, relax};
use crate::words::{full_fence, light_fence};
use crate::writer::Writer;

/// The readers' bit among the sleepers.
pub const READERS: u32 = 1;

/// The bit of those who sleep at many doorbells at once, and cannot say at which for which bits: see futex_waitv(2). A wake that
/// is for some of a group could be theirs, so all are woken.
pub const ANYONE: u32 = 1 << 31;

/// The bit of a group's workers among the sleepers.
#[inline]
pub const fn group_bit(group: u32) -> u32 {
    debug_assert!(group < GROUPS_MAX);
    2 << group
}

/// What the wait protocol asks of the system.
///
/// The word belongs to memory that several processes map, so implementations must use the shared form of
/// whatever they wait with. See futex(2), membarrier(2).
pub trait Park {
    /// Sleeps while `word` holds `seen`, until a [`wake`](Park::wake) of the same word with a common bit, or
    /// until `timeout` has passed (`None`: no limit). May return early for no reason. Says whether the timeout has passed.
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool;

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
    /// membarrier(2): the producer pays nothing. The kernel may leave a processor out, so it shortens the race and does not
    /// end it: the first sleep is short.
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

/// What a sleeper has learnt about its declaration: the bell behind which it has slept for a whole short sleep, so that
/// whoever looks from then on sees the declaration, and the sleeper sees whatever was stored before earlier looks. Kept from
/// one wait to the next.
///
/// A declaration that stands behind the same bell is that one, or one made after a waker took that one and before it moved
/// the bell. Such a waker moves it and wakes everyone of those bits before it publishes again; if it dies first, its
/// successor does, for everyone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settled(Option<u32>);

impl Settled {
    /// Whether a declaration is relied on, which stood before or is fresh.
    fn relies(self, stood: bool, seen: u32) -> bool {
        stood && self.0 == Some(seen)
    }

    /// The sleep behind that declaration.
    fn allows(self, stood: bool, seen: u32, [fresh, most]: Limits) -> Sleep {
        if self.relies(stood, seen) {
            return Sleep { seen, limit: most, settles: false };
        }
        let limit = fresh.map(|fresh| most.map_or(fresh, |most| most.min(fresh))).or(most);
        // A sleep that is cut short waits for nothing.
        Sleep { seen, limit, settles: limit == fresh }
    }

    /// After a sleep; `passed`: its limit has.
    pub fn note(&mut self, sleep: Sleep, passed: bool) {
        if passed && sleep.settles {
            self.0 = Some(sleep.seen);
        }
    }
}

/// A sleep that nothing speaks against: what is left is to wait at the doorbell.
#[derive(Clone, Copy, Debug)]
#[must_use = "whoever has declared itself asleep sleeps"]
pub struct Sleep {
    /// What the doorbell's word said: who waits does so while it says that.
    pub seen: u32,
    /// How long at most.
    pub limit: Option<Duration>,
    /// Whether the declaration has settled when the limit has passed.
    settles: bool,
}

/// How long a sleep may last: behind a declaration that has not settled yet (milliseconds; `None`: it need not settle), and in
/// any case (`None`: no limit).
pub type Limits = [Option<Duration>; 2];

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

/// Wakes those who declared themselves asleep, after `published` records: all readers, and of each group as many workers as
/// there are records. Returns how many woke.
#[cold]
#[inline(never)]
pub fn wake_readers(ctl: &CtlHead, published: u64, park: &impl Park) -> u32 {
    // The waker clears the bits: a reader that dies asleep costs one useless wake, not one for ever.
    let declared = ctl.sleepers.take();
    ctl.rings.move_on();
    wake_declared(ctl, declared, published, park)
}

/// Wakes as many workers of a group as there are `records` for them to look at: after records were given back, or done that others
/// wait for. Returns how many woke.
///
/// Race: the producer wakes some of the same group at once. Whoever takes a declaration while the other looks hides it from that
/// one. So this one neither takes declarations nor goes by them: what it stored before is seen by who sees the bell moved, and who
/// does not is asleep, or refused. It is not so often that somebody gives a record back.
pub fn wake_workers(ctl: &CtlHead, group: u32, records: u64, park: &impl Park) -> u32 {
    ctl.rings.move_on();
    full_fence();
    let anyone = ctl.sleepers.peek() & ANYONE != 0;
    let records = if anyone { u32::MAX } else { u32::try_from(records).unwrap_or(u32::MAX) };
    park.wake(ctl.rings.futex(), records, group_bit(group))
}

/// Wakes those whose declarations were taken, behind the bell's move.
fn wake_declared(ctl: &CtlHead, declared: u32, records: u64, park: &impl Park) -> u32 {
    let bell = ctl.rings.futex();
    let groups = declared & !(READERS | ANYONE);
    if groups == 0 || declared & ANYONE != 0 {
        // None: somebody else took them, whoever maps `ctl`.
        return if declared == 0 { 0 } else { park.wake(bell, u32::MAX, declared) };
    }
    let mut woken = if declared & READERS == 0 { 0 } else { park.wake(bell, u32::MAX, READERS) };
    let records = u32::try_from(records).unwrap_or(u32::MAX);
    for group in 0..GROUPS_MAX {
        let bit = group_bit(group);
        if groups & bit != 0 {
            let workers = park.wake(bell, records, bit);
            // As many as were asked for: others may be asleep.
            if workers >= records {
                ctl.sleepers.leave(bit);
            }
            woken += workers;
        }
    }
    woken
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

/// Pauses of the processor between two last looks where the heavy fence may have left the producer out: by then its stores
/// have nearly always left its processor, and a sleeper rarely has to find them at the end of its short sleep.
const PAUSES: u32 = if cfg!(loom) { 0 } else { 64 };

/// Puts a reader to sleep at its ring's doorbell, unless `look` finds a reason not to: see [`go_to_sleep`].
pub fn sleep_as_reader(
    ctl: &CtlHead,
    bits: u32,
    heavy: Heavy,
    park: &impl Park,
    settled: &mut Settled,
    limits: Limits,
    look: impl FnMut() -> bool,
) -> Slept {
    match go_to_sleep(ctl, bits, heavy, park, *settled, limits, look) {
        Ok(sleep) => {
            let passed = park.wait(ctl.rings.futex(), sleep.seen, bits, sleep.limit);
            settled.note(sleep, passed);
            Slept::Woken
        }
        Err(awake) => awake,
    }
}

/// A reader's steps up to its sleep: [`READERS`] or a group's bit, with [`ANYONE`] if it sleeps at many doorbells at once.
/// `look` is the last look at header, licence, state and epoch. Behind full fences on both sides a declaration need not settle.
///
/// # Errors
///
/// Why it should not sleep: [`Slept::Ready`] or [`Slept::Forbidden`].
pub fn go_to_sleep(
    ctl: &CtlHead,
    bits: u32,
    heavy: Heavy,
    park: &impl Park,
    settled: Settled,
    [fresh, most]: Limits,
    mut look: impl FnMut() -> bool,
) -> Result<Sleep, Slept> {
    let seen = ctl.rings.seen();
    let (stood, limits) = match heavy {
        Heavy::Never => return Err(Slept::Forbidden),
        Heavy::Full => {
            let stood = ctl.sleepers.declare(bits);
            full_fence();
            (stood, [None, most])
        }
        Heavy::Barrier => {
            let stood = ctl.sleepers.declare(bits);
            if !park.heavy() {
                return Err(Slept::Forbidden);
            }
            (stood, [fresh, most])
        }
    };
    if look() {
        return Err(Slept::Ready);
    }
    if heavy == Heavy::Barrier && !settled.relies(stood, seen) {
        (0..PAUSES).for_each(|_| relax());
        if look() {
            return Err(Slept::Ready);
        }
    }
    Ok(settled.allows(stood, seen, limits))
}

/// Puts the producer to sleep until the cursors allow `wanted`, unless `look` finds the room at last: see [`go_to_sleep_for_room`].
pub fn sleep_for_room(
    ctl: &CtlHead,
    wanted: u64,
    park: &impl Park,
    settled: &mut Settled,
    limits: Limits,
    look: impl FnOnce() -> bool,
) -> Slept {
    match go_to_sleep_for_room(ctl, wanted, *settled, limits, look) {
        Ok(sleep) => {
            let passed = park.wait(ctl.room.futex(), sleep.seen, u32::MAX, sleep.limit);
            settled.note(sleep, passed);
            Slept::Woken
        }
        Err(awake) => awake,
    }
}

/// A producer's steps up to its sleep, at the bell of `room`.
///
/// A reader that goes on without a fence can miss a fresh declaration once. A declaration stands until a reader takes it or
/// [`stop_waiting`].
///
/// # Errors
///
/// [`Slept::Ready`].
pub fn go_to_sleep_for_room(
    ctl: &CtlHead,
    wanted: u64,
    settled: Settled,
    limits: Limits,
    look: impl FnOnce() -> bool,
) -> Result<Sleep, Slept> {
    let seen = ctl.room.seen();
    let stood = ctl.blocked.declare(wanted);
    full_fence();
    if look() {
        return Err(Slept::Ready);
    }
    Ok(settled.allows(stood, seen, limits))
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
        // All: at most one producer sleeps there, but an older request of its parker's may still be there, and take one wake.
        park.wake(ctl.room.futex(), u32::MAX, u32::MAX);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use core::cell::{Cell, RefCell};
    use std::vec::Vec;

    use super::*;

    const FRESH: Option<Duration> = Some(Duration::from_millis(1));
    const MOST: Option<Duration> = Some(Duration::from_secs(1));

    /// A system that notes what it is asked, and lets time pass at once.
    #[derive(Default)]
    struct Noted {
        /// Bits and limit of each.
        waits: RefCell<Vec<(u32, Option<Duration>)>>,
        /// Count and bits of each.
        wakes: RefCell<Vec<(u32, u32)>>,
        refuses: bool,
        /// Sleeps end before their time.
        signals: Cell<bool>,
    }

    impl Park for Noted {
        fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool {
            assert_eq!(word.glance(), seen, "nobody rang");
            self.waits.borrow_mut().push((bits, timeout));
            !self.signals.get()
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
        assert_eq!((system.wakes.take(), ctl.room.seen()), (Vec::from([(u32::MAX, u32::MAX)]), 1));
    }

    /// A waker without a fence may miss a declaration once: the sleep behind one must be short, and that behind one which
    /// has stood for as long need not be.
    #[test]
    fn a_producers_sleep_is_short_until_its_declaration_has_settled() {
        let (ctl, system) = (CtlHead::default(), Noted::default());
        let sleep = |settled: &mut Settled, wanted| {
            let slept = sleep_for_room(&ctl, wanted, &system, settled, [FRESH, MOST], || false);
            assert_eq!(slept, Slept::Woken);
            let [(u32::MAX, limit)] = system.waits.take()[..] else { panic!("no sleep of all bits") };
            limit
        };
        let mut settled = Settled::default();
        assert_eq!(sleep(&mut settled, 16), FRESH);
        assert_eq!(sleep(&mut settled, 16), MOST);
        assert_eq!(sleep(&mut settled, 16), MOST);
        assert_eq!(sleep(&mut settled, 24), FRESH, "another wish, which a reader may not have seen");
        assert_eq!(sleep(&mut settled, 24), MOST);
        assert_eq!(ctl.blocked.peek(), Some(24));
        after_release(&ctl, 0, 24, &system);
        assert_eq!(sleep(&mut settled, 32), FRESH, "a reader took it");
        stop_waiting(&ctl);
        assert_eq!(sleep(&mut settled, 0), FRESH, "it was taken back");
        assert_eq!(sleep(&mut settled, 0), MOST);
        assert_eq!(sleep(&mut Settled::default(), 0), FRESH, "it stands from another wait");
        let ready = sleep_for_room(&ctl, 0, &system, &mut settled, [FRESH, MOST], || true);
        assert_eq!((ready, system.waits.take()), (Slept::Ready, Vec::new()));
    }

    #[test]
    fn a_readers_sleep_is_short_until_its_declaration_has_settled() {
        let (ctl, system) = (CtlHead::default(), Noted::default());
        let sleep = |settled: &mut Settled, limits| {
            let slept = sleep_as_reader(&ctl, READERS, Heavy::Barrier, &system, settled, limits, || false);
            assert_eq!(slept, Slept::Woken);
            let [(READERS, limit)] = system.waits.take()[..] else { panic!("no sleep of a reader") };
            limit
        };
        let mut settled = Settled::default();
        system.signals.set(true);
        assert_eq!([FRESH; 2], [(); 2].map(|()| sleep(&mut settled, [FRESH, MOST])), "cut short by a signal");
        system.signals.set(false);
        assert_eq!([MOST; 2], [(); 2].map(|()| sleep(&mut settled, [MOST, MOST])));
        settled = Settled::default();
        assert_eq!(sleep(&mut settled, [MOST, FRESH]), FRESH, "cut short by its own limit");
        assert_eq!(sleep(&mut settled, [FRESH, MOST]), FRESH);
        system.signals.set(true);
        assert_eq!(
            [MOST; 2],
            [(); 2].map(|()| sleep(&mut settled, [FRESH, MOST])),
            "a signal unsettles nothing"
        );
        system.signals.set(false);
        // Taken, and the bell is not moved yet: whoever takes it may die there.
        ctl.sleepers.take();
        assert_eq!(sleep(&mut settled, [FRESH, MOST]), FRESH);
        assert_eq!(sleep(&mut settled, [FRESH, MOST]), MOST);
        // Taken, and another reader has declared itself.
        wake_readers(&ctl, 1, &system);
        ctl.sleepers.declare(READERS);
        assert_eq!(sleep(&mut settled, [FRESH, MOST]), FRESH);
        assert_eq!(sleep(&mut settled, [FRESH, None]), None);
        assert_eq!(sleep(&mut Settled::default(), [FRESH, None]), FRESH);
        assert_eq!(sleep(&mut Settled::default(), [None, MOST]), MOST, "it need not settle");
    }

    #[test]
    fn who_may_not_sleep_does_not() {
        for (heavy, refuses) in [(Heavy::Never, false), (Heavy::Never, true), (Heavy::Barrier, true)] {
            let (ctl, system) = (CtlHead::default(), Noted { refuses, ..Noted::default() });
            let looked = Cell::new(false);
            let mut settled = Settled::default();
            let look = || looked.replace(true);
            let slept = sleep_as_reader(&ctl, READERS, heavy, &system, &mut settled, [FRESH, None], look);
            assert_eq!(slept, Slept::Forbidden);
            assert!(!looked.get(), "a look without its fence says nothing");
            assert_eq!(system.waits.take(), []);
            if heavy == Heavy::Never {
                assert_eq!(ctl.sleepers.peek(), 0, "and costs nobody a wake");
            }
        }
        for heavy in [Heavy::Barrier, Heavy::Full] {
            let (ctl, system) = (CtlHead::default(), Noted::default());
            let mut settled = Settled::default();
            let mut sleep =
                |news| sleep_as_reader(&ctl, READERS, heavy, &system, &mut settled, [FRESH, MOST], || news);
            assert_eq!(sleep(true), Slept::Ready);
            assert_eq!(system.waits.take(), []);
            assert_eq!(sleep(false), Slept::Woken);
            // Between two full fences nothing is missed.
            let limit = if heavy == Heavy::Full { MOST } else { FRESH };
            assert_eq!(system.waits.take(), [(READERS, limit)]);
            assert!(someone_sleeps(&ctl, Light::Full) && !someone_sleeps(&ctl, Light::Never));
        }
    }

    /// Where no fence can be relied on, a last look is worth little before the stores of the other side have had the time to come.
    #[test]
    fn who_is_not_protected_by_a_fence_looks_twice_at_first() {
        for (heavy, first) in [(Heavy::Barrier, 2), (Heavy::Full, 1)] {
            let (ctl, system, looks) = (CtlHead::default(), Noted::default(), Cell::new(0));
            let sleep = |settled: &mut Settled, news| {
                let look = || looks.replace(looks.get() + 1) == news;
                let slept = sleep_as_reader(&ctl, READERS, heavy, &system, settled, [FRESH, MOST], look);
                (slept, looks.replace(0))
            };
            let mut settled = Settled::default();
            for news in 0..first {
                assert_eq!(sleep(&mut settled, news), (Slept::Ready, news + 1));
            }
            assert_eq!(sleep(&mut settled, first), (Slept::Woken, first));
            assert_eq!(sleep(&mut settled, 1), (Slept::Woken, 1), "it has settled");
            assert_eq!(sleep(&mut settled, 0), (Slept::Ready, 1));
        }
    }

    /// Whoever supersedes a ring takes the declarations beside its producer, and anybody may empty the word: then there
    /// is nobody to ask the system for, which refuses to wake no bits at all.
    #[test]
    fn declarations_that_somebody_else_took_are_asked_for_nothing() {
        let (ctl, system) = (CtlHead::default(), Noted::default());
        assert_eq!(wake_readers(&ctl, 1, &system), 0);
        assert_eq!(system.wakes.take(), []);
        for bits in [READERS, ANYONE, READERS | ANYONE | group_bit(5)] {
            ctl.sleepers.declare(bits);
            assert_eq!(wake_readers(&ctl, 1, &system), 1);
            assert_eq!(system.wakes.take(), [(u32::MAX, bits)]);
            assert_eq!(ctl.sleepers.peek(), 0);
        }
        wake_everyone(&ctl, &system);
        assert_eq!(system.wakes.take(), [(u32::MAX, u32::MAX)], "declared or not");
    }

    /// Of each group as many as there are records; and if so many were asleep, others may be, who will be looked for.
    #[test]
    fn groups_are_woken_by_the_record() {
        let (ctl, system) = (CtlHead::default(), Noted::default());
        let (first, last) = (group_bit(0), group_bit(GROUPS_MAX - 1));
        ctl.sleepers.declare(READERS | first | last);
        assert_eq!(wake_readers(&ctl, 1, &system), 3);
        assert_eq!(system.wakes.take(), [(u32::MAX, READERS), (1, first), (1, last)]);
        assert_eq!(ctl.sleepers.peek(), first | last, "one of each woke, as was asked for");
        assert_eq!(wake_readers(&ctl, 4, &system), 2);
        assert_eq!(system.wakes.take(), [(4, first), (4, last)]);
        assert_eq!(ctl.sleepers.peek(), 0, "not so many slept");
        ctl.sleepers.declare(first);
        assert_eq!(wake_readers(&ctl, 1 << 40, &system), 1);
        assert_eq!(system.wakes.take(), [(u32::MAX, first)]);
    }

    /// One worker of one group, for a record that was given back; nobody else is disturbed, and no declaration taken.
    #[test]
    fn a_record_that_was_given_back_wakes_one_of_its_group() {
        let (ctl, system) = (CtlHead::default(), Noted::default());
        let others = READERS | group_bit(2);
        ctl.sleepers.declare(others);
        // The producer has taken the group's own, and may not have woken anybody yet.
        assert_eq!(wake_workers(&ctl, 1, 1, &system), 1);
        assert_eq!((system.wakes.take(), ctl.rings.seen()), (std::vec![(1, group_bit(1))], 1));
        assert_eq!(wake_workers(&ctl, 1, 1 << 40, &system), 1);
        assert_eq!((system.wakes.take(), ctl.rings.seen()), (std::vec![(u32::MAX, group_bit(1))], 2));
        assert_eq!(ctl.sleepers.peek(), others);
        // Who cannot say for what it sleeps would be woken instead: so all are.
        ctl.sleepers.declare(ANYONE);
        assert_eq!(wake_workers(&ctl, 1, 1, &system), 1);
        assert_eq!(system.wakes.take(), [(u32::MAX, group_bit(1))]);
        assert_eq!(ctl.sleepers.peek(), others | ANYONE);
    }
}
