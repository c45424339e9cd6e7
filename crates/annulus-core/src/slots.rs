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

use crate::doorbell::{self, Park};
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

/// Takes the lock of a slot and makes it the caller's. First among free ones, then among those whose owners died. `None`:
/// all are others'.
///
/// # Errors
///
/// The first lock that could not be asked for.
pub fn take<L: SlotLocks>(
    slots: &[Slot],
    locks: &L,
    kind: SlotKind,
    owner: Owner,
) -> Result<Option<u32>, L::Error> {
    // Twice over all of them in the end: a reaper that holds a lock for a moment must not cost a free slot.
    for also_active in [false, true, true] {
        for (i, slot) in (0..).zip(slots) {
            if !slot.is_free() && !also_active {
                continue;
            }
            if locks.try_lock(i)? {
                // Under the lock the slot is ours, whatever it said before.
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
        if matches!(locks.try_lock(i), Ok(true)) {
            // Under the lock the slot is nobody's, whatever its words say, and stays so until it is unlocked.
            slot.vacate();
            freed += 1;
            locks.unlock(i);
        }
    }
    freed
}
