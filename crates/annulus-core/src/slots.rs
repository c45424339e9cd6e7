//! Who has which slot: taking one, giving it back, freeing those of the dead.
//!
//! ```text
//! free ──take──► joining ──settle──► active ──leave──► free
//!                   └────── owner dies ──┴──reap or take──► free, or the next owner's
//! ```
//!
//! Every move is made under the slot's lock, which the kernel drops when its holder dies. Race: a reaper and a joiner want
//! the slot of a dead one. One of them gets the lock; the other leaves the slot alone. A *late owner*, whose lock is gone
//! although it lives (its descriptor was closed behind its back, and is no other file's by now), finds when it leaves that the
//! lock is another's, and touches nothing. While it reads on it stores its cursor unasked: no check before a plain store could be in time, and its place
//! was given up with its lock.

use crate::claim::WORKER_SLOTS;
use crate::doorbell::{self, Park};
use crate::group::hand_back;
use crate::layout::{CtlHead, Slot, SlotKind};
use crate::memory::{Memory, Shared};
use crate::writer::{Full, Writer};

/// The locks of a ring's slots, as one open file description sees them. See fcntl(2), `F_OFD_SETLK`.
pub trait SlotLocks {
    /// Why the system could not say.
    type Error;

    /// Takes the lock of a slot. `true` also if this description has it already; `false`: another has it.
    ///
    /// # Errors
    ///
    /// The system's.
    fn try_lock(&self, slot: u32) -> Result<bool, Self::Error>;

    /// Gives a slot's lock back. What is held can be unlocked; were it to fail, the slot would only stay unused.
    fn unlock(&self, slot: u32);
}

/// For people: who an owner is.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// The process's start time in clock ticks since boot.
    pub start_time: u64,
}

/// Takes the lock of a slot and makes it the caller's. First among free ones, then among those whose owners died, whose records go
/// back to their groups. `None`: all are others'.
///
/// # Errors
///
/// The first lock that could not be asked for.
pub fn take<M: Memory, L: SlotLocks>(
    shared: &Shared<'_, M>,
    locks: &L,
    kind: SlotKind,
    owner: Owner,
    readers: &impl Park,
) -> Result<Option<u32>, L::Error> {
    let most = if kind == SlotKind::Worker { WORKER_SLOTS } else { u32::MAX };
    // Twice over all of them in the end: a reaper that holds a lock for a moment must not cost a free slot.
    for also_active in [false, true, true] {
        for (i, slot) in (0..most).zip(shared.slots) {
            if !slot.is_free() && !also_active {
                continue;
            }
            if locks.try_lock(i)? {
                // Under the lock the slot is ours, whatever it said before. Before its number is ours, too, nobody's
                // records have it.
                hand_back(shared, i, readers);
                slot.vacate();
                slot.occupy(kind, owner.pid, owner.uid, owner.start_time);
                return Ok(Some(i));
            }
        }
    }
    Ok(None)
}

/// Gives a slot back: its words first, then whoever waits for room or for readers is rung, whose wait its cursor may have
/// been, then the lock.
pub fn leave(ctl: &CtlHead, slots: &[Slot], slot: u32, locks: &impl SlotLocks, room: &impl Park) {
    // The owner has the lock, and gets it again. Who does not get it is late, and the slot is another's; or the system could
    // not say, and the slot is freed by whoever needs it once its lock has gone with the file.
    if !matches!(locks.try_lock(slot), Ok(true)) {
        return;
    }
    doorbell::leave(ctl, &slots[slot as usize], room);
    locks.unlock(slot);
}

/// Frees the slots of dead subscribers that are in the producer's way. Returns how many.
pub fn reap<M: Memory>(shared: &Shared<'_, M>, writer: &Writer, full: Full, locks: &impl SlotLocks) -> u64 {
    let mut freed = 0;
    for (i, slot) in (0..).zip(shared.slots) {
        let cursor = slot.cursor.look();
        if !writer.counts(cursor) || cursor >= full.wanted {
            continue;
        }
        freed += u64::from(free_if(slot, i, locks, || slot.cursor.look() == cursor));
    }
    freed
}

/// Frees a slot whose owner is dead if it is still the one that was seen. Says whether it did.
pub(crate) fn free_if(
    slot: &Slot,
    number: u32,
    locks: &impl SlotLocks,
    is_still: impl FnOnce() -> bool,
) -> bool {
    if !matches!(locks.try_lock(number), Ok(true)) {
        return false;
    }
    // Under the lock the slot is nobody's, whatever its words say, and stays so until it is unlocked. Another may have had it since
    // the look: a dead worker's, which has no cursor, is left to those who give back what it holds.
    let freed = is_still();
    if freed {
        slot.vacate();
    }
    locks.unlock(number);
    freed
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use core::cell::{Cell, RefCell};
    use core::time::Duration;
    use std::vec::Vec;

    use super::*;
    use crate::history::Start;
    use crate::history::tests::Ring;
    use crate::reader::Reader;
    use crate::sync::FutexWord;
    use crate::words::NO_CURSOR;
    use crate::writer::Refusal;

    const OWNER: Owner = Owner { pid: 7, uid: 8, start_time: 9 };

    /// One description's view: which slots others have, and which it has.
    #[derive(Default)]
    struct Locks {
        others: Vec<u32>,
        own: RefCell<Vec<u32>>,
        /// Slots that have been asked for, in order.
        asked: RefCell<Vec<u32>>,
    }

    impl SlotLocks for Locks {
        type Error = ();

        fn try_lock(&self, slot: u32) -> Result<bool, ()> {
            self.asked.borrow_mut().push(slot);
            let free = !self.others.contains(&slot);
            if free && !self.own.borrow().contains(&slot) {
                self.own.borrow_mut().push(slot);
            }
            Ok(free)
        }

        fn unlock(&self, slot: u32) {
            self.own.borrow_mut().retain(|own| *own != slot);
        }
    }

    /// Rings of the producer's bell.
    #[derive(Default)]
    struct Rung(Cell<u32>);

    impl Park for Rung {
        fn wait(&self, _: &FutexWord, _: u32, _: u32, _: Option<Duration>) -> bool {
            false
        }

        fn wake(&self, _: &FutexWord, _: u32, _: u32) -> u32 {
            self.0.set(self.0.get() + 1);
            1
        }

        fn heavy(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_free_slot_comes_before_those_of_the_dead() {
        let ring = Ring::new(1024, 4);
        let slots = &ring.slots;
        // Another's, a dead one's, and one whose lock somebody has for a moment.
        for slot in &slots[..2] {
            slot.occupy(SlotKind::InPlace, 1, 1, 1);
            slot.settle();
        }
        let locks = Locks { others: Vec::from([0, 2]), ..Locks::default() };
        let take = || take(&ring.shared(), &locks, SlotKind::Copying, OWNER, &Rung::default()).unwrap();
        let died = slots[1].generation.glance();
        assert_eq!(take(), Some(3));
        assert_eq!(locks.asked.take(), [2, 3], "whoever is there is not disturbed");
        let taken = &slots[3];
        assert!(!taken.is_free() && !taken.is_active());
        assert_eq!([taken.pid.glance(), taken.uid.glance()], [7, 8]);
        assert_eq!(taken.kind.glance(), SlotKind::Copying.to_word());
        assert_eq!(take(), Some(1), "no free one is left");
        assert_ne!(slots[1].generation.glance(), died, "it is not the dead one's any more");
        assert_eq!(locks.own.take(), [3, 1]);
        let locks = Locks { others: Vec::from([0, 1, 2, 3]), ..Locks::default() };
        let words = slots.iter().map(|slot| slot.generation.glance()).collect::<Vec<_>>();
        assert_eq!(super::take(&ring.shared(), &locks, SlotKind::InPlace, OWNER, &Rung::default()), Ok(None));
        assert_eq!(slots.iter().map(|slot| slot.generation.glance()).collect::<Vec<_>>(), words);
    }

    /// Of the dead, those in the way; of the others none, and no lock of who is not in the way is asked for.
    #[test]
    fn the_dead_in_the_way_are_reaped() {
        let mut ring = Ring::new(1024, 6);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 4096, 0, 0);
        let join = |ring: &Ring, slot: usize| {
            let shared = ring.shared();
            shared.slots[slot].occupy(SlotKind::InPlace, 1, 1, 1);
            Reader::join(ring.shape, &shared, &shared.slots[slot], Start::Newest).unwrap();
            shared.slots[slot].settle();
        };
        (0..2).for_each(|slot| join(&ring, slot));
        let full = loop {
            match ring.publish(&mut writer, 8) {
                // One further on, one that was given up a lap ago, one that has not joined, and one that no reader can have.
                Ok(()) if writer.sequence() == 20 => {
                    join(&ring, 2);
                    ring.slots[3].cursor.preset(4096 - 1024);
                    ring.slots[4].occupy(SlotKind::InPlace, 1, 1, 1);
                    ring.slots[5].cursor.preset(1 << 40);
                }
                Ok(()) => {}
                Err(Refusal::Full(full)) => break full,
                Err(refusal) => panic!("{refusal:?}"),
            }
        };
        assert!(ring.slots[2].cursor.look() >= full.wanted);
        let shared = ring.shared();
        let locks = Locks { others: Vec::from([0]), ..Locks::default() };
        let cursors = || shared.slots.iter().map(|slot| slot.cursor.look()).collect::<Vec<_>>();
        let before = cursors();
        assert_eq!(reap(&shared, &writer, full, &locks), 1);
        assert_eq!(locks.asked.take(), [0, 1]);
        assert_eq!(locks.own.take(), [], "what is nobody's is given back");
        let mut after = before;
        after[1] = NO_CURSOR;
        assert_eq!(cursors(), after);
        assert!(shared.slots[1].is_free() && shared.slots[0].is_active() && shared.slots[2].is_active());
        // The living one is still in the way; then it is not.
        assert_eq!(reap(&shared, &writer, full, &locks), 0);
        assert_eq!(reap(&shared, &writer, full, &Locks::default()), 1);
        ring.publish(&mut writer, 8).unwrap();
    }

    /// Between the look and the lock, the one in the way left, and a worker took the slot and died.
    struct Meanwhile<'a>(&'a Slot);

    impl SlotLocks for Meanwhile<'_> {
        type Error = ();

        fn try_lock(&self, _: u32) -> Result<bool, ()> {
            self.0.vacate();
            self.0.occupy(SlotKind::Worker, 1, 1, 1);
            self.0.group.preset(1);
            self.0.settle();
            Ok(true)
        }

        fn unlock(&self, _: u32) {}
    }

    #[test]
    fn a_dead_worker_is_not_reaped_for_who_was_there_before() {
        let mut ring = Ring::new(1024, 1);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        ring.slots[0].occupy(SlotKind::InPlace, 1, 1, 1);
        Reader::join(ring.shape, &ring.shared(), &ring.slots[0], Start::Newest).unwrap();
        let full = loop {
            match ring.publish(&mut writer, 8) {
                Ok(()) => {}
                Err(Refusal::Full(full)) => break full,
                Err(refusal) => panic!("{refusal:?}"),
            }
        };
        let slot = &ring.slots[0];
        assert_eq!(reap(&ring.shared(), &writer, full, &Meanwhile(slot)), 0);
        assert_eq!(
            (slot.group.glance(), slot.is_free()),
            (1, false),
            "what it holds is to be given back first"
        );
    }

    #[test]
    fn who_leaves_frees_its_slot_and_rings_unless_it_is_anothers() {
        let ring = Ring::new(1024, 2);
        let (shared, bell) = (ring.shared(), Rung::default());
        for slot in shared.slots {
            slot.occupy(SlotKind::InPlace, 1, 1, 1);
            slot.cursor.join(0);
            slot.settle();
        }
        shared.ctl.blocked.declare(8);
        let locks = Locks { others: Vec::from([1]), own: RefCell::new(Vec::from([0])), ..Locks::default() };
        leave(shared.ctl, shared.slots, 1, &locks, &bell);
        assert_eq!((bell.0.get(), shared.slots[1].cursor.look()), (0, 0), "a late owner touches nothing");
        assert!(shared.slots[1].is_active());
        leave(shared.ctl, shared.slots, 0, &locks, &bell);
        assert_eq!((bell.0.get(), shared.slots[0].cursor.look()), (1, NO_CURSOR));
        assert!(shared.slots[0].is_free());
        assert_eq!(locks.own.take(), []);
    }
}
