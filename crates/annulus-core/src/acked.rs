//! Who has released a record: the producer's half of a rendezvous, in which a record is handed over and not left behind.
//!
//! ```text
//! a receiver:  holds ──cursor at the record's end──► released
//!                └──leaves, dies, or was given up───► gone
//! ```
//!
//! A receiver is a subscriber, or a group of workers, whose cursor is its floor: one of its workers is done with the record, and
//! as long as it has others, what a dead one held comes to them. The receivers are noted before the record is published, behind
//! the asking for room: whoever had joined by then is one, and nobody is given up from then on. While the producer waits the record
//! is the newest, so its end is the tail, and no cursor that a reader moves is past it.
//!
//! Race: a receiver releases the record and leaves at once, and another takes its place. The producer sees one of three: the
//! receiver's cursor; or a generation that was raised, behind which the place says where its last owner left; or, if that has
//! left too, neither, and calls the receiver gone. It never takes one owner's cursor for another's.

use crate::doorbell::Park;
use crate::group::{GroupLocks, help};
use crate::layout::{GroupPhase, Slot, left_at};
use crate::memory::{Memory, Shared};
use crate::slots::{SlotLocks, free_if};
use crate::words::{Cursor, Generation, NO_CURSOR, Plain64};
use crate::writer::{Who, Writer};

/// One that a record is for: a place, and whose it was.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    who: Who,
    generation: u32,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver { who: Who::Slot(0), generation: 0 }
    }
}

/// The words that say where whoever has a place is, and where its last owner was.
struct Place<'a> {
    cursor: &'a Cursor,
    generation: &'a Generation,
    left: &'a Plain64,
}

/// What became of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has not released the record yet.
    Holds,
    /// It has, or it left after it had.
    Released,
    /// It will not.
    Gone,
}

/// How many receivers a record has, and what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub of: u32,
    /// Those that have released it.
    pub released: u32,
    /// Those that never will.
    pub gone: u32,
}

/// The receivers of one record. Those that still hold it stand first in the caller's place for them.
#[derive(Debug)]
pub struct Acks<'a> {
    receivers: &'a mut [Receiver],
    holding: usize,
    /// The end of the record.
    end: u64,
    tally: Tally,
}

impl<'a> Acks<'a> {
    /// Notes who is there, before the record is published, for which there is room already. `receivers` has a place for each
    /// slot and each group; those for whom it has none are not waited for. A subscriber that was given up is gone from the beginning.
    pub fn note<M: Memory>(
        receivers: &'a mut [Receiver],
        shared: &Shared<'_, M>,
        writer: &Writer,
    ) -> Acks<'a> {
        let (mut holding, mut tally) = (0, Tally::default());
        let slots = (0..shared.slots.len() as u32).map(Who::Slot);
        let groups = (0..shared.groups.len() as u32).map(Who::Group);
        for who in slots.chain(groups).take(receivers.len()) {
            let place = Place::of(shared, who);
            let generation = place.generation.look();
            let cursor = place.cursor.look();
            if cursor == NO_CURSOR || !is_there(shared, who) {
                continue;
            }
            // Who comes while it is looked for is not waited for; nor who leaves, for whom the record comes too late.
            if place.generation.look() != generation {
                continue;
            }
            tally.of += 1;
            if writer.counts(cursor) {
                receivers[holding] = Receiver { who, generation };
                holding += 1;
            } else {
                tally.gone += 1;
            }
        }
        Acks { receivers, holding, end: u64::MAX, tally }
    }

    /// The record is published: it is the last one.
    pub fn published(&mut self, writer: &Writer) {
        self.end = writer.tail();
    }

    /// What is known of the receivers.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Looks again at those that held the record. Whether none does any more.
    pub fn look<M: Memory>(&mut self, shared: &Shared<'_, M>) -> bool {
        let end = self.end;
        self.settle(|receiver| receiver.standing(shared, end));
        self.holding == 0
    }

    /// Frees the slots of receivers that died holding the record, and helps groups that hold it: what a dead worker has goes to
    /// another; a group without any ends, unless it is kept. Returns how many slots of subscribers it freed. To be asked once per
    /// liveness interval.
    pub fn reap<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        writer: &Writer,
        slots: &impl SlotLocks,
        groups: &impl GroupLocks,
        readers: &impl Park,
    ) -> u64 {
        let (end, mut freed) = (self.end, 0);
        self.settle(|receiver| match receiver.who {
            Who::Slot(i) => {
                if !matches!(slots.try_lock(i), Ok(true)) {
                    return Standing::Holds;
                }
                // Under the lock nobody moves the cursor any more. Whose it was has the last word.
                let standing = receiver.standing(shared, end);
                if standing == Standing::Holds {
                    shared.slots[i as usize].vacate();
                    freed += 1;
                }
                slots.unlock(i);
                if standing == Standing::Holds { Standing::Gone } else { standing }
            }
            Who::Group(group) => {
                help(writer.shape(), shared, group, writer.sequence(), slots, groups, readers);
                receiver.standing(shared, end)
            }
        });
        freed
    }

    /// Asks for the standing of each that holds the record, and counts those that do not any more.
    fn settle(&mut self, mut standing: impl FnMut(Receiver) -> Standing) {
        let mut i = 0;
        while i < self.holding {
            match standing(self.receivers[i]) {
                Standing::Holds => {
                    i += 1;
                    continue;
                }
                Standing::Released => self.tally.released += 1,
                Standing::Gone => self.tally.gone += 1,
            }
            self.holding -= 1;
            self.receivers[i] = self.receivers[self.holding];
        }
    }
}

impl Receiver {
    fn standing<M: Memory>(self, shared: &Shared<'_, M>, end: u64) -> Standing {
        let place = Place::of(shared, self.who);
        let cursor = place.cursor.look();
        if place.generation.look() != self.generation {
            // Raised behind the words that an owner leaves behind.
            return if place.left.glance() == left_at(self.generation, end) {
                Standing::Released
            } else {
                Standing::Gone
            };
        }
        // No successor's: that one's is stored behind the generation that ended its predecessor.
        if cursor < end {
            Standing::Holds
        } else if cursor == end {
            Standing::Released
        } else {
            // Past the tail is no reader.
            Standing::Gone
        }
    }
}

impl<'a> Place<'a> {
    fn of<M: Memory>(shared: &Shared<'a, M>, who: Who) -> Place<'a> {
        match who {
            Who::Slot(i) => {
                let slot = &shared.slots[i as usize];
                Place { cursor: &slot.cursor, generation: &slot.generation, left: &slot.left }
            }
            Who::Group(g) => {
                let head = &shared.groups[g as usize];
                Place { cursor: &head.floor, generation: &head.generation, left: &head.left }
            }
        }
    }
}

/// Whether a place is somebody's who has joined, behind the look at its cursor.
fn is_there<M: Memory>(shared: &Shared<'_, M>, who: Who) -> bool {
    match who {
        Who::Slot(i) => shared.slots[i as usize].is_active(),
        Who::Group(g) => {
            let phase = shared.group(g).and_then(|group| group.phase());
            matches!(phase, Some(GroupPhase::Active | GroupPhase::Durable))
        }
    }
}

/// Frees the slots of subscribers that have died, wherever they are. Returns how many. To be asked once per liveness interval, before
/// [`Acks::note`]: the dead are nobody. (Workers' have no cursor: what those held is given back first, by their fellows.)
pub fn reap_all<M: Memory>(shared: &Shared<'_, M>, locks: &impl SlotLocks) -> u64 {
    let is_subscribers = |slot: &Slot| slot.is_active() && slot.cursor.look() != NO_CURSOR;
    let mut freed = 0;
    for (i, slot) in (0..).zip(shared.slots).filter(|(_, slot)| is_subscribers(slot)) {
        freed += u64::from(free_if(slot, i, locks, || is_subscribers(slot)));
    }
    freed
}

#[cfg(all(test, not(loom)))]
mod tests;
