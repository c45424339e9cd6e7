//! A group: each record to exactly one of its workers. This is what workers, a blocked producer and joiners do to the group as
//! a whole; [`worker`](crate::worker) is what one worker does.
//!
//! ```text
//! group:  free ──begin──► active or durable ──end──► free
//! floor:  past every record that is done, and none that is not; counts as a cursor
//! table:  a word for each record from the floor on that a worker has met: see [`claim`](crate::claim)
//! ```
//!
//! Beginning and ending are moves under the group's lock, held alone; each worker holds it shared, so whoever gets it alone has found
//! no worker. Everything else is a compare-and-exchange of one word.
//!
//! Race: two workers finish neighbours at once. Each marks its record, fences, and looks at the floor and what follows; at least one
//! finds both done. Who fails to move the floor looks again from where it is now.
//!
//! Race: a worker dies between marking a record and moving the floor. Nobody waits for that but a full ring, whose producer moves it,
//! and the next who finishes a record.

use crate::claim::{Claim, Stage, Table};
use crate::doorbell::{Park, wake_workers};
use crate::header::{decode, length_if};
use crate::history::{Damaged, Spot, TRIES, is_boundary, tail};
use crate::layout::{CtlHead, GroupHead, GroupPhase, leave_behind};
use crate::memory::{Memory, Shared, View};
use crate::shape::Shape;
use crate::slots::SlotLocks;
use crate::words::{ClaimWord, NO_CURSOR};

/// Times that the floor is moved by others while one looks. Nobody who keeps to the protocol moves it so often.
const MOVES: u32 = 1000;

/// One group's words.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// All but the table.
    pub head: &'a GroupHead,
    /// The claim table.
    pub table: Table<'a>,
}

impl<'a> Group<'a> {
    pub(crate) fn new(head: &'a GroupHead, words: &'a [ClaimWord]) -> Group<'a> {
        Group { head, table: Table::new(words) }
    }

    /// Whether it is somebody's. `None`: its state says what nobody stores.
    pub fn phase(&self) -> Option<GroupPhase> {
        GroupPhase::from_word(self.head.state.look())
    }

    /// The group's beginning, by who holds its lock alone and has put its floor at a boundary: see
    /// [`join_floor`](crate::worker::join_floor).
    pub(crate) fn begin(&self, first: u64, phase: GroupPhase, attempts_max: u32, name: &[u64]) {
        self.table.begin(first);
        self.head.generation.raise();
        self.head.attempts_max.preset(attempts_max);
        for (i, word) in self.head.name.iter().enumerate() {
            word.preset(name.get(i).copied().unwrap_or(0));
        }
        self.head.state.set(phase.to_word());
    }

    /// The group's end, by who holds its lock alone: nothing waits for it any more.
    pub fn end(&self) {
        leave_behind(&self.head.floor, &self.head.generation, &self.head.left);
        self.head.state.set(GroupPhase::Free.to_word());
        self.head.floor.release(NO_CURSOR);
    }

    /// Where the group is: the oldest record that is not done, or the next one.
    ///
    /// # Errors
    ///
    /// What says what no worker and no producer stores.
    pub(crate) fn spot<M: Memory>(&self, shape: &Shape, view: &View<'_, M>) -> Result<Spot, &'static str> {
        for _ in 0..TRIES {
            let position = self.head.floor.look();
            if !is_boundary(shape, position) {
                return Err("floor");
            }
            let header = view.records.word(position).look();
            let sequence = if header == 0 {
                sequence_behind(shape, view, position)?
            } else {
                decode(header, view.producer.published.look()).map(|(sequence, _)| sequence)
            };
            // Moved on meanwhile, and overwritten: what was read there means nothing.
            if view.producer.licence.validate() <= position + shape.capacity() {
                match sequence {
                    Some(sequence) => return Ok(Spot { position, sequence }),
                    None if header != 0 => return Err("header"),
                    None => {}
                }
            }
            crate::sync::relax();
        }
        Err("floor")
    }

    /// Moves the floor past all records that are done. `near` is a sequence within 2^31 of it. Returns the step that this call
    /// made, from and to. The caller holds the group's lock, shared or alone: else the words could be those of a group that has
    /// ended, and the floor that of the next one.
    pub fn advance<M: Memory>(&self, shape: &Shape, view: &View<'_, M>, near: u64) -> Option<(u64, u64)> {
        for _ in 0..MOVES {
            let floor = self.head.floor.look();
            if !is_boundary(shape, floor) {
                return None;
            }
            let (mut end, mut near) = (floor, near);
            // All that are done, however many: who finishes one behind them may have left the rest to this one.
            for met in 0..shape.capacity() / shape.align().bytes() {
                let header = view.records.word(end).look();
                // The first is known by the floor alone; those behind it by those before.
                let len = match decode(header, near) {
                    Some((sequence, len)) if met == 0 => {
                        near = sequence;
                        Some(len)
                    }
                    _ => length_if(header, near),
                };
                // Not published, or overwritten since: then the floor has moved.
                let Some(len) = len.filter(|&len| shape.is_len(len)) else { break };
                let claim = Claim::from_word(self.table.of(near).look());
                if !claim.is_some_and(|claim| claim.is_over(near)) {
                    break;
                }
                end = end.wrapping_add(shape.need(len));
                near = near.wrapping_add(1);
            }
            if end == floor {
                // Another may have moved it meanwhile, up to what this one has done, and the producer have written there. Nobody
                // is left then to move it on. Who has seen what the producer wrote sees that the floor was moved before.
                if self.head.floor.look() == floor {
                    return None;
                }
                continue;
            }
            if self.head.floor.advance(floor, end) {
                return Some((floor, end));
            }
        }
        None
    }

    /// Gives back whatever a slot's owner has in its hands: by itself when it leaves, or by who holds the slot's lock after its
    /// death. Returns how many records those were.
    pub fn give_back_all(&self, slot: u32) -> u64 {
        let max = self.head.attempts_max.glance();
        let mut returned = 0;
        for word in self.table.words() {
            let before = word.look();
            let Some(claim) = Claim::from_word(before) else { continue };
            if claim.stage == Stage::Claimed
                && claim.slot == slot
                && word.settle(before, claim.given_back(max).to_word())
            {
                returned += 1;
            }
        }
        if returned > 0 {
            self.head.returns.bump();
        }
        returned
    }

    /// The slots, other than `own`, of those who have records in their hands, as bits.
    pub fn holders(&self, own: u32) -> [u64; 4] {
        let mut holders = [0; 4];
        for word in self.table.words() {
            if let Some(Claim { stage: Stage::Claimed, slot, .. }) = Claim::from_word(word.look())
                && slot != own
            {
                holders[slot as usize / 64] |= 1 << (slot % 64);
            }
        }
        holders
    }

    /// Whether a record may come to a worker that has met all there are: another has one in its hands, or it was given back.
    /// Each word says of its record what stays true but for these two.
    pub fn has_more(&self, own: u32) -> bool {
        self.table.words().any(|word| match Claim::from_word(word.look()) {
            Some(Claim { stage: Stage::Claimed, slot, .. }) => slot != own,
            Some(Claim { stage: Stage::Returned, .. }) => true,
            _ => false,
        })
    }

    /// Wakes workers that wait for a record to be done. Behind [`ClaimWord::between`].
    #[inline]
    pub(crate) fn wake_awaiting(&self, ctl: &CtlHead, group: u32, park: &impl Park) {
        if self.head.awaited.take() {
            wake_workers(ctl, group, u64::MAX, park);
        }
    }

    /// Wakes as many workers as records were given back; or all, if some wait for the last ones in the hands of others, since
    /// a dead letter is for none of them.
    pub fn wake_for_returned(&self, ctl: &CtlHead, group: u32, returned: u64, park: &impl Park) {
        if returned == 0 {
            return;
        }
        ClaimWord::between();
        let count = if self.head.awaited.take() { u64::MAX } else { returned };
        wake_workers(ctl, group, count, park);
    }
}

/// The sequence of the record that will be at a floor behind which nothing was published a moment ago. Workers are done with a record as
/// soon as they see it, and its producer may not have said by then how many it has published, or have died before it could: so the
/// records from its tail to the floor are counted. `None`: something has been published there since.
fn sequence_behind<M: Memory>(
    shape: &Shape,
    view: &View<'_, M>,
    floor: u64,
) -> Result<Option<u64>, &'static str> {
    let mut at = tail(shape, view).map_err(|Damaged(what)| what)?;
    while at.position < floor {
        let header = view.records.word(at.position).look();
        match length_if(header, at.sequence).filter(|&len| shape.is_len(len)) {
            Some(len) => {
                let position = at.position.wrapping_add(shape.need(len));
                at = Spot { position, sequence: at.sequence.wrapping_add(1) };
            }
            // Overwritten, as the licence says then; or no producer's, and looked at for as long as that takes to be certain.
            None => return Ok(None),
        }
    }
    Ok((at.position == floor).then_some(at.sequence))
}

/// The numbers of the bits that are set, as [`Group::holders`] gives them.
pub fn bits(words: [u64; 4]) -> impl Iterator<Item = u32> {
    (0..256).filter(move |i| words[*i as usize / 64] & 1 << (i % 64) != 0)
}

/// The locks of a ring's groups, as one open file description sees them. See fcntl(2), `F_OFD_SETLK`.
pub trait GroupLocks {
    /// Takes the lock of a group alone. `true` also if this description had it shared, and nobody else has. `false`: there are
    /// workers, or the system could not say.
    fn try_own(&self, group: u32) -> bool;

    /// Takes the lock of a group shared. `false`: somebody has it alone, or the system could not say.
    fn try_share(&self, group: u32) -> bool;

    /// Gives a group's lock back. What is held can be unlocked; were it to fail, the group would only stay.
    fn unlock(&self, group: u32);
}

/// What a full ring's producer does about a group in its way: moves the floor, gives back what the dead hold, ends the group if
/// it has no workers and nobody wants it kept. Says whether it did something.
pub fn help<M: Memory>(
    shape: &Shape,
    shared: &Shared<'_, M>,
    group: u32,
    near: u64,
    slots: &impl SlotLocks,
    groups: &impl GroupLocks,
    readers: &impl Park,
) -> bool {
    let Some(words) = shared.group(group) else { return false };
    let end = || {
        // Being begun it has the floor already, and its beginner the lock.
        let ends = words.phase() != Some(GroupPhase::Durable);
        if ends {
            words.end();
        }
        ends
    };
    if groups.try_own(group) {
        // First, so that it says where it leaves what its last worker did.
        let moved = words.advance(shape, &shared.view(), near).is_some();
        let helped = end() || moved;
        groups.unlock(group);
        return helped;
    }
    // Nobody ends the group from here on, nor begins it anew: the words belong to the floor.
    if !groups.try_share(group) {
        return false;
    }
    let moved = words.advance(shape, &shared.view(), near).is_some();
    let mut returned = 0;
    for slot in bits(words.holders(u32::MAX)) {
        returned += bury(shared, words, slot, slots);
    }
    words.wake_for_returned(shared.ctl, group, returned, readers);
    // The last worker to leave found this lock in its way, if it left just now.
    let ended = groups.try_own(group) && end();
    groups.unlock(group);
    moved || returned > 0 || ended
}

/// Gives back what a dead worker holds, and frees its slot. Returns how many records of the group those were; none if it lives. The
/// caller wakes as many: see [`Group::wake_for_returned`].
pub fn bury<M: Memory>(shared: &Shared<'_, M>, group: Group<'_>, slot: u32, slots: &impl SlotLocks) -> u64 {
    if slot as usize >= shared.slots.len() {
        // No worker's number.
        return group.give_back_all(slot);
    }
    if !matches!(slots.try_lock(slot), Ok(true)) {
        return 0;
    }
    // Under the lock the slot is nobody's, and so is what its number holds; here, and where its owner said that it works.
    let returned = group.give_back_all(slot);
    clear(shared, slot);
    shared.slots[slot as usize].vacate();
    slots.unlock(slot);
    returned
}

/// Gives back what the last owner of a slot left in its hands, by who holds the slot's lock now and is about to free it or to
/// make it another's, and wakes workers of its group for that.
pub fn hand_back<M: Memory>(shared: &Shared<'_, M>, slot: u32, readers: &impl Park) {
    if let Some((number, returned)) = clear(shared, slot)
        && let Some(group) = shared.group(number)
    {
        group.wake_for_returned(shared.ctl, number, returned, readers);
    }
}

/// The same without a wake. Returns the owner's group, if it had one, and how many records those were.
fn clear<M: Memory>(shared: &Shared<'_, M>, slot: u32) -> Option<(u32, u64)> {
    let group = shared.slots[slot as usize].group.glance().checked_sub(1)?;
    let returned = shared.group(group)?.give_back_all(slot);
    Some((group, returned))
}

#[cfg(all(test, not(loom)))]
mod tests;
