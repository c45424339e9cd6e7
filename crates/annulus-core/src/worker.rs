//! One worker of a group: joining it, claiming records, being done with them.
//!
//! A worker has a place of its own, a true pair of position and sequence, and walks on from there over what others have claimed. It
//! claims the first record that it finds free, by one compare-and-exchange of the record's word; what it has read before is true if
//! that succeeds, since a record that is not done is not overwritten. What was given back lies behind the place, and is looked for
//! from the floor on when the group says that there is some.
//!
//! Race: a worker walks over a record while the others finish it, the floor passes it and the producer writes there. Each step is
//! believed only if the licence, validated after the header, has not passed it; else the worker goes on from the floor.
//!
//! Race: two workers want the same record. One exchange succeeds; the other looks at the word again, and walks on.

use core::cell::Cell;

use crate::claim::{Claim, Stage};
use crate::doorbell::{self, Park};
use crate::group::{Group, GroupLocks};
use crate::header::length_if;
use crate::history::{Spot, Start};
pub use crate::join::JoinFailed;
use crate::join::enter;
use crate::layout::{CtlHead, GroupPhase};
use crate::memory::{Memory, Shared};
use crate::reader::{End, Held, state_end};
use crate::shape::Shape;
use crate::slots::SlotLocks;
use crate::sync::relax;
use crate::words::ClaimWord;

/// Times that a word is looked at again which somebody else has just changed. Nobody who keeps to the protocol changes one so often.
const LOOKS: u32 = 1000;

/// What a look for a record found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record, which is this worker's now.
    Record(Claimed),
    /// None that is free.
    Empty,
    /// None, and there will be none before another is done with one: as many are in flight as the claim table has words.
    Full,
    /// Something that no producer and no worker writes.
    Damaged(&'static str),
}

/// A record in a worker's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The record.
    pub held: Held,
    /// How often it was delivered before, in vain.
    pub attempts: u32,
    /// Its claim word, while it is this worker's.
    word: u64,
}

/// Which records a search is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that were given back.
    Returned,
    /// Those that nobody has, given back or never delivered.
    Free,
    /// Those that were given back too often.
    Dead,
}

/// A record that was met, and not yet claimed: another may be quicker.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The record. Its bytes are copied as an observer does, and believed after [`is_intact`](Candidate::is_intact) only.
    pub held: Held,
    /// What its word said.
    word: u64,
    claim: Claim,
}

/// A search over the records in flight, from the group's floor on.
#[derive(Debug)]
pub struct Search {
    at: Spot,
    wanted: Wanted,
    /// Where it ends, if it has an end before that of what is published.
    end: u64,
    /// Records met that wait for another to be done.
    waiting: u64,
}

/// How a record stands for one who meets it.
enum Standing {
    /// Nobody's: the words before and after a claim are said by these.
    Free(Candidate),
    /// Another's, or over.
    Gone(Held),
    /// Given back too often.
    Dead(Candidate),
    /// Its word is an older record's, which is not done.
    Waits(Held),
    /// Nothing published.
    Nothing,
    /// Overwritten: this place is behind the floor.
    Behind,
    /// Something that nobody writes.
    Damaged(&'static str),
}

/// A worker's own state.
#[derive(Debug)]
pub struct Worker {
    shape: Shape,
    slot: u32,
    /// Where it looks next for what is new.
    position: Cell<u64>,
    /// The sequence there.
    sequence: Cell<u64>,
    /// What `returns` said before the last search that found none.
    returns: Cell<u32>,
    /// Whether the last record was one that had been given back: then what is new comes first.
    again: Cell<bool>,
}

/// Begins a group at a boundary, by who holds its lock alone. Once it has returned, no later record is missed. A start in the future
/// is the tail.
///
/// # Errors
///
/// [`JoinFailed`]; the group is nobody's then.
pub fn begin<M: Memory>(
    shape: &Shape,
    shared: &Shared<'_, M>,
    group: Group<'_>,
    start: Start,
    phase: GroupPhase,
    attempts_max: u32,
    name: &[u64],
) -> Result<(), JoinFailed> {
    match enter(shape, shared, &group.head.floor, start) {
        Ok((spot, _)) => {
            group.begin(spot.sequence, phase, attempts_max, name);
            Ok(())
        }
        Err(failed) => {
            group.end();
            Err(failed)
        }
    }
}

impl Worker {
    /// A worker of a group that has begun, whose lock the caller shares, as is the lock of the slot.
    ///
    /// # Errors
    ///
    /// What says what nobody stores.
    pub fn join<M: Memory>(
        shape: Shape,
        shared: &Shared<'_, M>,
        group: Group<'_>,
        slot: u32,
    ) -> Result<Worker, &'static str> {
        let spot = group.spot(&shape, &shared.view())?;
        Ok(Worker {
            shape,
            slot,
            position: Cell::new(spot.position),
            sequence: Cell::new(spot.sequence),
            // The first search is for whatever was given back before.
            returns: Cell::new(group.head.returns.look().wrapping_sub(1)),
            again: Cell::new(false),
        })
    }

    /// The sequence of the next new record that this worker looks at.
    pub fn sequence(&self) -> u64 {
        self.sequence.get()
    }

    /// Whether something was given back since the last search for that.
    #[inline]
    pub fn has_returns(&self, group: Group<'_>) -> bool {
        group.head.returns.look() != self.returns.get()
    }

    /// The next look searches for what was given back, whether or not somebody said so: who gives back may die before it does.
    pub fn search_again(&self, group: Group<'_>) {
        self.returns.set(group.head.returns.look().wrapping_sub(1));
    }

    /// Claims a record: what is new and what was given back by turns.
    #[inline]
    pub fn claim<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>) -> Found {
        if self.has_returns(group) && !self.again.get() {
            match self.claim_returned(shared, group) {
                Found::Empty => {}
                other => return other,
            }
        }
        self.again.set(false);
        match self.claim_new(shared, group) {
            found @ (Found::Empty | Found::Full) if self.has_returns(group) => {
                match self.claim_returned(shared, group) {
                    Found::Empty => found,
                    other => other,
                }
            }
            found => found,
        }
    }

    /// Claims the next record that is new.
    #[inline]
    fn claim_new<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>) -> Found {
        let mut looks = 0;
        loop {
            let at = self.place();
            match self.meet(shared, group, at) {
                Standing::Free(candidate) => {
                    if let Some(claimed) = self.take(group, candidate) {
                        self.step(candidate.held);
                        return Found::Record(claimed);
                    }
                    looks += 1;
                    if looks == LOOKS {
                        return Found::Damaged("claim table");
                    }
                }
                Standing::Gone(held) | Standing::Dead(Candidate { held, .. }) => {
                    self.step(held);
                    looks = 0;
                }
                Standing::Waits(_) => return Found::Full,
                Standing::Nothing => return Found::Empty,
                Standing::Behind => match self.catch_up(shared, group, at) {
                    Ok(spot) => {
                        self.position.set(spot.position);
                        self.sequence.set(spot.sequence);
                        looks = 0;
                    }
                    Err(what) => return Found::Damaged(what),
                },
                Standing::Damaged(what) => return Found::Damaged(what),
            }
        }
    }

    /// The floor, for one whose place it has passed. What shows that it has is a licence, which does not order the floor: so it
    /// may be seen a moment later.
    #[cold]
    fn catch_up<M: Memory>(
        &self,
        shared: &Shared<'_, M>,
        group: Group<'_>,
        at: Spot,
    ) -> Result<Spot, &'static str> {
        for _ in 0..LOOKS {
            let spot = group.spot(&self.shape, &shared.view())?;
            if spot.position > at.position {
                return Ok(spot);
            }
            relax();
        }
        Err("floor")
    }

    fn step(&self, held: Held) {
        self.position.set(self.behind(held));
        self.sequence.set(held.sequence.wrapping_add(1));
    }

    #[inline]
    fn behind(&self, held: Held) -> u64 {
        held.position.wrapping_add(self.shape.need(held.len))
    }

    /// How the record at a true pair stands.
    #[inline]
    fn meet<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>, at: Spot) -> Standing {
        let header = shared.records.word(at.position).look();
        let word = group.table.of(at.sequence).look();
        if shared.producer.licence.validate() > at.position.saturating_add(self.shape.capacity()) {
            return Standing::Behind;
        }
        if header == 0 {
            return Standing::Nothing;
        }
        let Some(len) = length_if(header, at.sequence).filter(|&len| self.shape.is_len(len)) else {
            return Standing::Damaged("header");
        };
        let held = Held { position: at.position, len, sequence: at.sequence };
        let Some(claim) = Claim::from_word(word) else { return Standing::Damaged("claim table") };
        let candidate = Candidate { held, word, claim };
        if claim.is_over(at.sequence) {
            return Standing::Gone(held);
        }
        if claim.is_of(at.sequence) {
            return match claim.stage {
                Stage::Returned => Standing::Free(candidate),
                Stage::Dead => Standing::Dead(candidate),
                Stage::Claimed | Stage::Done => Standing::Gone(held),
            };
        }
        if claim.is_over(at.sequence.wrapping_sub(group.table.len())) {
            Standing::Free(candidate)
        } else {
            Standing::Waits(held)
        }
    }

    /// Claims a record that was met. `None`: another was quicker.
    #[inline]
    pub fn take(&self, group: Group<'_>, candidate: Candidate) -> Option<Claimed> {
        let Candidate { held, word, claim } = candidate;
        let attempts = if claim.is_of(held.sequence) { claim.attempts } else { 0 };
        let mine = Claim::new(held.sequence, attempts, self.slot, Stage::Claimed).to_word();
        group.table.of(held.sequence).claim(word, mine).then_some(Claimed { held, attempts, word: mine })
    }

    #[cold]
    fn claim_returned<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>) -> Found {
        let returns = group.head.returns.look();
        match self.claim_any(shared, group, Wanted::Returned) {
            Found::Empty => {
                self.returns.set(returns);
                Found::Empty
            }
            found => {
                self.again.set(true);
                found
            }
        }
    }

    /// Claims a dead letter, the oldest.
    pub fn claim_dead<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>) -> Found {
        self.claim_any(shared, group, Wanted::Dead)
    }

    fn claim_any<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>, wanted: Wanted) -> Found {
        let mut search = match self.search(shared, group, wanted) {
            Ok(search) => search,
            Err(what) => return Found::Damaged(what),
        };
        loop {
            match search.next(self, shared, group) {
                Ok(Some(candidate)) => {
                    if let Some(claimed) = self.take(group, candidate) {
                        return Found::Record(claimed);
                    }
                }
                Ok(None) => return Found::Empty,
                Err(what) => return Found::Damaged(what),
            }
        }
    }

    /// Begins a search from the floor on.
    ///
    /// # Errors
    ///
    /// What says what nobody stores.
    pub fn search<M: Memory>(
        &self,
        shared: &Shared<'_, M>,
        group: Group<'_>,
        wanted: Wanted,
    ) -> Result<Search, &'static str> {
        let at = group.spot(&self.shape, &shared.view())?;
        // What was never delivered lies ahead of every worker's place.
        let end = if wanted == Wanted::Returned { self.position.get() } else { u64::MAX };
        Ok(Search { at, wanted, end, waiting: 0 })
    }

    /// Done with a record: its space goes back once all before it are done. Says how the floor moved, if it was this that moved
    /// it, for a look at the producer; `Err`: the record was not this worker's any more.
    ///
    /// # Errors
    ///
    /// [`NotOurs`].
    #[inline]
    pub fn done<M: Memory>(
        &self,
        shared: &Shared<'_, M>,
        group: Group<'_>,
        number: u32,
        claimed: Claimed,
        readers: &impl Park,
    ) -> Result<Option<(u64, u64)>, NotOurs> {
        let sequence = claimed.held.sequence;
        let done = Claim::new(sequence, claimed.attempts, self.slot, Stage::Done).to_word();
        if !group.table.of(sequence).settle(claimed.word, done) {
            return Err(NotOurs);
        }
        ClaimWord::between();
        let moved = group.advance(&self.shape, &shared.view(), sequence);
        group.wake_awaiting(shared.ctl, number, readers);
        Ok(moved)
    }

    /// Gives a record back: another worker gets it, or it is a dead letter now. Says whether it is.
    ///
    /// # Errors
    ///
    /// [`NotOurs`].
    pub fn give_back(
        &self,
        ctl: &CtlHead,
        group: Group<'_>,
        number: u32,
        claimed: Claimed,
        readers: &impl Park,
    ) -> Result<bool, NotOurs> {
        let sequence = claimed.held.sequence;
        let claim = Claim::new(sequence, claimed.attempts, self.slot, Stage::Claimed);
        let back = claim.given_back(group.head.attempts_max.glance());
        if !group.table.of(sequence).settle(claimed.word, back.to_word()) {
            return Err(NotOurs);
        }
        group.head.returns.bump();
        group.wake_for_returned(ctl, number, 1, readers);
        Ok(back.stage == Stage::Dead)
    }

    /// Whether a look would find something, or might.
    pub fn is_ready<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>) -> bool {
        self.has_returns(group)
            || !matches!(self.meet(shared, group, self.place()), Standing::Nothing | Standing::Waits(_))
    }

    /// Whether a record may still come of those that are published: one that is ahead, also one that only waits for a word of the table
    /// in this worker's own hands, one that was given back, or one in the hands of others.
    pub fn may_get<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>) -> bool {
        self.has_returns(group)
            || !matches!(self.meet(shared, group, self.place()), Standing::Nothing)
            || group.has_more(self.slot)
    }

    /// The last look before sleep, behind the declaration at the doorbell: whether there is a record, or might be, or an end. One who
    /// waits for what others have in their hands says so first, for them to see; behind the declaration, because who takes that
    /// word on behalf of another would leave this one asleep without it.
    pub fn last_look<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>) -> bool {
        if state_end(shared.producer).is_some()
            || matches!(self.meet(shared, group, self.place()), Standing::Waits(_))
        {
            group.head.awaited.declare();
        }
        self.is_ready(shared, group) || self.ended(shared, group).is_some()
    }

    /// How the ring has ended, if it has and no record can come any more: all are done but those in this worker's own hands, and dead
    /// letters.
    pub fn ended<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>) -> Option<End> {
        let end = state_end(shared.producer)?;
        // The state first, then the place: the last record was published before the end. Then the words: whose record this place
        // has passed, says there what became of it.
        let last = matches!(self.meet(shared, group, self.place()), Standing::Nothing);
        (last && !group.has_more(self.slot)).then_some(end)
    }

    /// How the ring has ended, for a worker that wants none of what nobody has: if others have nothing that may come back.
    pub fn ended_for_chooser<M: Memory>(&self, shared: &Shared<'_, M>, group: Group<'_>) -> Option<End> {
        let end = state_end(shared.producer)?;
        (!self.others_hold(group)).then_some(end)
    }

    /// Whether others have records in their hands, which may come back.
    pub fn others_hold(&self, group: Group<'_>) -> bool {
        group.holders(self.slot) != [0; 4]
    }

    fn place(&self) -> Spot {
        Spot { position: self.position.get(), sequence: self.sequence.get() }
    }
}

/// The record was another's by then: its claim was taken from a worker whose slot's lock was lost, as if it were dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOurs;

impl Search {
    /// How many records it has met whose claim word is an older one's, which is not done.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The next record that is wanted, or `None` at the end.
    ///
    /// # Errors
    ///
    /// What says what nobody stores.
    pub fn next<M: Memory>(
        &mut self,
        worker: &Worker,
        shared: &Shared<'_, M>,
        group: Group<'_>,
    ) -> Result<Option<Candidate>, &'static str> {
        while self.at.position < self.end {
            let standing = worker.meet(shared, group, self.at);
            let held = match standing {
                Standing::Free(Candidate { held, .. })
                | Standing::Dead(Candidate { held, .. })
                | Standing::Gone(held)
                | Standing::Waits(held) => held,
                Standing::Nothing => return Ok(None),
                Standing::Behind => {
                    self.at = worker.catch_up(shared, group, self.at)?;
                    continue;
                }
                Standing::Damaged(what) => return Err(what),
            };
            self.at = Spot { position: worker.behind(held), sequence: held.sequence.wrapping_add(1) };
            self.waiting += u64::from(matches!(standing, Standing::Waits(_)));
            match (standing, self.wanted) {
                (Standing::Free(candidate), Wanted::Free) => return Ok(Some(candidate)),
                (Standing::Free(candidate), Wanted::Returned) if candidate.claim.is_of(held.sequence) => {
                    return Ok(Some(candidate));
                }
                (Standing::Dead(candidate), Wanted::Dead) => return Ok(Some(candidate)),
                _ => {}
            }
        }
        Ok(None)
    }
}

impl Candidate {
    /// Whether what was copied of it is the record: the producer has not begun to overwrite it.
    pub fn is_intact<M: Memory>(&self, shape: &Shape, shared: &Shared<'_, M>) -> bool {
        shared.producer.licence.validate() <= self.held.position.saturating_add(shape.capacity())
    }
}

/// A worker's end: what it holds goes back, then its slot, then the group if it was the last and the group is not kept. The producer
/// is rung, whose wait the floor may have been.
pub fn leave<M: Memory>(
    shared: &Shared<'_, M>,
    number: u32,
    slot: u32,
    slots: &impl SlotLocks,
    groups: &impl GroupLocks,
    readers: &impl Park,
    room: &impl Park,
) {
    let (Some(group), Some(words)) = (shared.group(number), shared.slots.get(slot as usize)) else { return };
    // As any owner: see `slots::leave`.
    if matches!(slots.try_lock(slot), Ok(true)) {
        let returned = group.give_back_all(slot);
        group.wake_for_returned(shared.ctl, number, returned, readers);
        doorbell::leave(shared.ctl, words, room);
        slots.unlock(slot);
    }
    // Of several that leave at once each may be refused while the others have their shares: so once more without one's own.
    // Whoever comes in between finds the group as it was, or makes another in its place.
    let generation = group.head.generation.glance();
    let mut alone = groups.try_own(number);
    if !alone {
        groups.unlock(number);
        alone = groups.try_own(number);
    }
    let is_same = group.head.generation.glance() == generation;
    if alone && is_same && group.phase() != Some(GroupPhase::Durable) {
        group.end();
        doorbell::when_empty(shared.ctl, room);
    }
    groups.unlock(number);
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
