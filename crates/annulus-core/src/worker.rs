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
pub(crate) mod tests {
    extern crate std;

    use core::cell::RefCell;
    use core::time::Duration;
    use std::vec::Vec;

    use super::*;
    use crate::doorbell::group_bit;
    use crate::history::tests::{Ring, beginnings};
    use crate::layout::SlotKind;
    use crate::sync::FutexWord;
    use crate::words::NO_CURSOR;
    use crate::writer::{Refusal, Who, Writer};

    /// Counts of wakes, of workers and of the producer.
    #[derive(Default)]
    pub(crate) struct Rung(RefCell<Vec<(u32, u32)>>);

    impl Rung {
        /// Those since the last time, count and bits of each.
        pub(crate) fn take(&self) -> Vec<(u32, u32)> {
            self.0.take()
        }
    }

    impl Park for Rung {
        fn wait(&self, _: &FutexWord, _: u32, _: u32, _: Option<Duration>) -> bool {
            false
        }

        fn wake(&self, _: &FutexWord, count: u32, bits: u32) -> u32 {
            self.0.borrow_mut().push((count, bits));
            1
        }

        fn heavy(&self) -> bool {
            true
        }
    }

    /// Which slots' locks another has.
    pub(crate) struct Locks(pub(crate) Vec<u32>);

    impl SlotLocks for Locks {
        type Error = ();

        fn try_lock(&self, slot: u32) -> Result<bool, ()> {
            Ok(!self.0.contains(&slot))
        }

        fn unlock(&self, _: u32) {}
    }

    /// Whether the group's lock can be had alone, and shared.
    pub(crate) struct Alone(pub(crate) bool, pub(crate) bool);

    impl GroupLocks for Alone {
        fn try_own(&self, _: u32) -> bool {
            self.0
        }

        fn try_share(&self, _: u32) -> bool {
            self.1
        }

        fn unlock(&self, _: u32) {}
    }

    /// A ring of 1 KiB with one group of so many claim words, begun where the ring is.
    pub(crate) fn ring([position, sequence]: [u64; 2], words: usize, attempts_max: u32) -> (Ring, Writer) {
        let ring = Ring::new(1024, 4).with_groups(2, words);
        let writer = Writer::create(ring.shape, &ring.shared(), position, sequence, 0);
        begin(
            &ring.shape,
            &ring.shared(),
            ring.shared().group(0).unwrap(),
            Start::Newest,
            GroupPhase::Active,
            attempts_max,
            &[7],
        )
        .unwrap();
        (ring, writer)
    }

    pub(crate) fn worker(ring: &Ring, slot: u32) -> Worker {
        let words = &ring.slots[slot as usize];
        words.occupy(SlotKind::Worker, 1, 1, 1);
        words.group.preset(1);
        words.settle();
        Worker::join(ring.shape, &ring.shared(), ring.shared().group(0).unwrap(), slot).unwrap()
    }

    pub(crate) fn claim(ring: &Ring, worker: &Worker) -> Option<Claimed> {
        match worker.claim(&ring.shared(), ring.shared().group(0).unwrap()) {
            Found::Record(claimed) => Some(claimed),
            Found::Empty | Found::Full => None,
            Found::Damaged(what) => panic!("{what}"),
        }
    }

    pub(crate) fn done(ring: &Ring, worker: &Worker, claimed: Claimed) -> Option<(u64, u64)> {
        worker.done(&ring.shared(), ring.shared().group(0).unwrap(), 0, claimed, &Rung::default()).unwrap()
    }

    fn back(ring: &Ring, worker: &Worker, claimed: Claimed) -> bool {
        let shared = ring.shared();
        worker.give_back(shared.ctl, shared.group(0).unwrap(), 0, claimed, &Rung::default()).unwrap()
    }

    fn publish(ring: &mut Ring, writer: &mut Writer, records: u64) {
        for _ in 0..records {
            ring.publish(writer, 8).unwrap();
        }
    }

    /// Over many laps of ring and table, from positions near the ends of their ranges; done in an order of their own.
    #[test]
    fn each_record_goes_to_one_worker() {
        for begin in beginnings(1024) {
            for words in [1, 2, 16, 256] {
                let (mut ring, mut writer) = ring(begin, words, 0);
                let workers = [worker(&ring, 0), worker(&ring, 1), worker(&ring, 2)];
                let mut next = begin[1];
                for lap in 0..200 {
                    publish(&mut ring, &mut writer, 3);
                    let mut held: Vec<(usize, Claimed)> = Vec::new();
                    let mut seen = Vec::new();
                    while seen.len() < 3 {
                        for (i, worker) in workers.iter().enumerate() {
                            if let Some(claimed) = claim(&ring, worker) {
                                assert_eq!(claimed.attempts, 0);
                                assert_eq!(ring.places[&claimed.held.sequence], claimed.held.position);
                                seen.push(claimed.held.sequence);
                                held.push((i, claimed));
                            }
                        }
                        if !held.is_empty() {
                            let (i, claimed) = held.swap_remove(lap % held.len());
                            done(&ring, &workers[i], claimed);
                        }
                    }
                    for (i, claimed) in held {
                        done(&ring, &workers[i], claimed);
                    }
                    seen.sort_unstable();
                    let expected: Vec<u64> = (next..next.wrapping_add(3)).collect();
                    assert_eq!(seen, expected);
                    next = next.wrapping_add(3);
                    assert_eq!(ring.groups[0].floor.look(), writer.tail(), "all are done");
                }
            }
        }
    }

    /// The producer is refused by the oldest record that is not done, and by nothing else.
    #[test]
    fn the_floor_holds_the_producer_until_the_oldest_is_done() {
        for begin in beginnings(1024) {
            let (mut ring, mut writer) = ring(begin, 64, 0);
            let workers = [worker(&ring, 0), worker(&ring, 1)];
            publish(&mut ring, &mut writer, 1);
            let oldest = claim(&ring, &workers[0]).unwrap();
            while ring.publish(&mut writer, 8).is_ok() {
                let next = claim(&ring, &workers[1]).unwrap();
                assert_eq!(done(&ring, &workers[1], next), None, "behind one that is not done");
            }
            let Err(Refusal::Full(full)) = ring.publish(&mut writer, 8) else { panic!("there is room") };
            assert_eq!((full.who, full.behind), (Who::Group(0), writer.tail() - begin[0]));
            assert_eq!(done(&ring, &workers[0], oldest), Some((begin[0], writer.tail())));
            publish(&mut ring, &mut writer, 1);
        }
    }

    #[test]
    fn what_is_given_back_goes_to_the_next_until_it_is_a_dead_letter() {
        let (mut ring, mut writer) = ring([0, 0], 4, 3);
        let workers = [worker(&ring, 0), worker(&ring, 1)];
        publish(&mut ring, &mut writer, 2);
        for attempts in 0..3 {
            let first = claim(&ring, &workers[0]).unwrap();
            assert_eq!((first.held.sequence, first.attempts), (0, attempts));
            assert_eq!(back(&ring, &workers[0], first), attempts == 2);
            if attempts == 0 {
                let second = claim(&ring, &workers[1]).filter(|c| c.held.sequence == 0).unwrap();
                assert_eq!(second.attempts, 1, "the other one gets it as well");
                back(&ring, &workers[1], second);
                let third = claim(&ring, &workers[0]).unwrap();
                // What is new and what was given back by turns.
                let third = if third.held.sequence == 1 {
                    done(&ring, &workers[0], third);
                    claim(&ring, &workers[0]).unwrap()
                } else {
                    third
                };
                assert_eq!((third.held.sequence, third.attempts), (0, 2));
                assert!(back(&ring, &workers[0], third), "the third time was the last");
                break;
            }
        }
        while let Some(claimed) = claim(&ring, &workers[0]) {
            assert_eq!(claimed.held.sequence, 1);
            done(&ring, &workers[0], claimed);
        }
        assert_eq!(ring.groups[0].floor.look(), 0, "a dead letter is kept");
        let Found::Record(dead) = workers[1].claim_dead(&ring.shared(), ring.shared().group(0).unwrap())
        else {
            panic!("no dead letter")
        };
        assert_eq!((dead.held.sequence, dead.attempts), (0, 3));
        done(&ring, &workers[1], dead);
        assert_eq!(ring.groups[0].floor.look(), writer.tail());
    }

    #[test]
    fn what_the_dead_held_goes_to_others_and_their_slots_are_free() {
        let (mut ring, mut writer) = ring([0, 0], 8, 0);
        let (dead, heir) = (worker(&ring, 0), worker(&ring, 1));
        publish(&mut ring, &mut writer, 3);
        let held: Vec<Claimed> = (0..2).filter_map(|_| claim(&ring, &dead)).collect();
        assert_eq!(held.len(), 2);
        let shared = ring.shared();
        let group = shared.group(0).unwrap();
        assert_eq!(crate::group::bits(group.holders(1)).collect::<Vec<_>>(), [0]);
        assert_eq!(crate::group::bury(&shared, group, 0, &Locks(Vec::from([0]))), 0, "it lives");
        assert_eq!(crate::group::bury(&shared, group, 0, &Locks(Vec::new())), 2);
        assert!(ring.slots[0].is_free());
        let mut got = Vec::new();
        while let Some(claimed) = claim(&ring, &heir) {
            got.push((claimed.held.sequence, claimed.attempts));
            done(&ring, &heir, claimed);
        }
        got.sort_unstable();
        assert_eq!(got, [(0, 1), (1, 1), (2, 0)]);
        // A late owner finds that they are not its any more.
        let outcome = dead.done(&shared, group, 0, held[0], &Rung::default());
        assert_eq!(outcome, Err(NotOurs));
        assert_eq!(ring.groups[0].floor.look(), writer.tail());
    }

    #[test]
    fn the_last_worker_ends_a_group_that_is_not_kept() {
        let (mut ring, mut writer) = ring([0, 0], 8, 0);
        let workers = [worker(&ring, 0), worker(&ring, 1)];
        publish(&mut ring, &mut writer, 1);
        claim(&ring, &workers[0]).unwrap();
        let (readers, room) = (Rung::default(), Rung::default());
        let shared = ring.shared();
        shared.ctl.sleepers.declare(group_bit(0));
        leave(&shared, 0, 0, &Locks(Vec::new()), &Alone(false, true), &readers, &room);
        assert_eq!(readers.0.take(), [(1, group_bit(0))], "what it held goes to another");
        assert!(ring.slots[0].is_free());
        assert_eq!(ring.groups[0].floor.look(), 0);
        let claimed = claim(&ring, &workers[1]).unwrap();
        assert_eq!((claimed.held.sequence, claimed.attempts), (0, 1));
        leave(&shared, 0, 1, &Locks(Vec::new()), &Alone(true, true), &readers, &room);
        assert_eq!(ring.groups[0].floor.look(), NO_CURSOR);
        assert_eq!(shared.group(0).unwrap().phase(), Some(GroupPhase::Free));
    }

    /// What a full ring's producer does.
    fn help(ring: &Ring, writer: &Writer, slots: &Locks, groups: &Alone) -> bool {
        let near = writer.sequence();
        crate::group::help(&ring.shape, &ring.shared(), 0, near, slots, groups, &Rung::default())
    }

    /// One marked its record and went no further; those behind it are done, more than the table has words.
    #[test]
    fn the_floor_passes_all_that_are_done() {
        for words in [1, 2, 4] {
            let (mut ring, mut writer) = ring([0, 0], words, 0);
            let worker = worker(&ring, 0);
            publish(&mut ring, &mut writer, 7);
            for sequence in 0..6 {
                let claimed = claim(&ring, &worker).unwrap();
                let done = Claim::new(sequence, 0, 0, Stage::Done).to_word();
                assert!(ring.shared().group(0).unwrap().table.of(sequence).settle(claimed.word, done));
            }
            assert_eq!(ring.groups[0].floor.look(), 0);
            assert!(help(&ring, &writer, &Locks(Vec::from([0])), &Alone(false, true)));
            // The last record's word says whose it is from, if the table has but one.
            assert_eq!(ring.groups[0].floor.look(), 6 * 16, "{words} words");
            let last = claim(&ring, &worker).unwrap();
            assert_eq!(done(&ring, &worker, last), Some((6 * 16, 7 * 16)));
            assert!(!help(&ring, &writer, &Locks(Vec::from([0])), &Alone(false, true)));
        }
    }

    /// While a group is begun its floor is there, and the table is still that of the one before, in which all is done.
    #[test]
    fn nobody_moves_the_floor_of_a_group_that_is_being_begun() {
        let (mut ring, mut writer) = ring([0, 0], 8, 0);
        let first = worker(&ring, 0);
        publish(&mut ring, &mut writer, 4);
        while let Some(claimed) = claim(&ring, &first) {
            done(&ring, &first, claimed);
        }
        let shared = ring.shared();
        leave(&shared, 0, 0, &Locks(Vec::new()), &Alone(true, true), &Rung::default(), &Rung::default());
        let head = &ring.groups[0];
        head.floor.join(0);
        assert!(!help(&ring, &writer, &Locks(Vec::new()), &Alone(false, false)));
        assert_eq!(head.floor.look(), 0);
        // Its beginner is dead.
        assert!(help(&ring, &writer, &Locks(Vec::new()), &Alone(true, true)));
        assert_eq!(head.floor.look(), NO_CURSOR);
    }

    #[test]
    fn a_blocked_producer_ends_a_group_without_workers_unless_it_is_kept() {
        for phase in [GroupPhase::Active, GroupPhase::Durable] {
            let (mut ring, mut writer) = ring([0, 0], 8, 0);
            let dead = worker(&ring, 0);
            publish(&mut ring, &mut writer, 2);
            ring.groups[0].state.set(phase.to_word());
            let claimed = claim(&ring, &dead).unwrap();
            assert!(claimed.word != 0);
            let helped = help(&ring, &writer, &Locks(Vec::new()), &Alone(true, true));
            let ended = phase == GroupPhase::Active;
            assert_eq!((helped, ring.groups[0].floor.look() == NO_CURSOR), (ended, ended));
            // With workers it stays, and what the dead held is given back.
            if !ended {
                assert!(help(&ring, &writer, &Locks(Vec::new()), &Alone(false, true)));
                assert!(ring.slots[0].is_free());
                assert!(!help(&ring, &writer, &Locks(Vec::new()), &Alone(false, true)));
                let heir = worker(&ring, 1);
                assert_eq!(claim(&ring, &heir).unwrap().attempts, 1);
            }
        }
    }

    /// Not while a record may come that another has, or that waits for a word of the table.
    #[test]
    fn the_end_is_behind_all_that_may_come_back() {
        let (mut ring, mut writer) = ring([0, 0], 1, 1);
        let workers = [worker(&ring, 0), worker(&ring, 1)];
        publish(&mut ring, &mut writer, 2);
        writer.close(&ring.shared());
        let shared = ring.shared();
        let group = shared.group(0).unwrap();
        let ended = |i: usize| workers[i].ended(&shared, group);
        let awaited = || group.head.awaited.take();
        let first = claim(&ring, &workers[0]).unwrap();
        assert_eq!(workers[0].claim(&shared, group), Found::Full);
        assert_eq!((ended(0), ended(1)), (None, None), "there is another record");
        assert!(workers[1].last_look(&shared, group), "to pass over what the other has");
        assert_eq!(workers[1].claim(&shared, group), Found::Full);
        awaited();
        assert!(!workers[1].last_look(&shared, group) && awaited());
        done(&ring, &workers[0], first);
        let second = claim(&ring, &workers[0]).unwrap();
        assert!(claim(&ring, &workers[1]).is_none());
        assert_eq!((ended(0), ended(1)), (Some(End::Closed), None), "it may come back");
        assert!(!workers[1].last_look(&shared, group));
        // A dead letter is for nobody who waits: all of them are told.
        let readers = Rung::default();
        assert_eq!(workers[0].give_back(shared.ctl, group, 0, second, &readers), Ok(true));
        assert_eq!(readers.0.take(), [(u32::MAX, group_bit(0))]);
        assert!(!awaited());
        assert!(claim(&ring, &workers[1]).is_none());
        assert!(workers[1].last_look(&shared, group));
        assert_eq!(ended(1), Some(End::Closed));
        // Given back, and nobody has said so yet.
        let back = Claim::new(1, 1, 0, Stage::Returned).to_word();
        group.table.of(1).preset(back);
        assert_eq!(ended(1), None);
    }

    /// What waits for a word of the table in the worker's own hands is still to come: no end of a producer that died.
    #[test]
    fn what_waits_for_a_workers_own_hands_may_come() {
        let (mut ring, mut writer) = ring([0, 0], 1, 0);
        let worker = worker(&ring, 0);
        publish(&mut ring, &mut writer, 2);
        let shared = ring.shared();
        let group = shared.group(0).unwrap();
        assert!(worker.may_get(&shared, group));
        for left in [1, 0] {
            let held = claim(&ring, &worker).unwrap();
            assert!(!worker.is_ready(&shared, group));
            assert_eq!(worker.may_get(&shared, group), left > 0);
            done(&ring, &worker, held);
            assert_eq!(worker.may_get(&shared, group), left > 0);
        }
    }

    /// A ring that is open is waited for at its end, without a word to the others.
    #[test]
    fn who_waits_for_what_is_new_says_nothing_to_its_fellows() {
        let (mut ring, mut writer) = ring([0, 0], 4, 0);
        let workers = [worker(&ring, 0), worker(&ring, 1)];
        publish(&mut ring, &mut writer, 1);
        ring.page.state.set(crate::layout::RingState::Open.to_word());
        let shared = ring.shared();
        let group = shared.group(0).unwrap();
        assert!(workers[1].last_look(&shared, group));
        let held = claim(&ring, &workers[0]).unwrap();
        assert!(claim(&ring, &workers[1]).is_none());
        assert!(!workers[1].last_look(&shared, group) && !group.head.awaited.take());
        back(&ring, &workers[0], held);
        assert!(workers[1].last_look(&shared, group), "somebody gave one back");
    }
}
