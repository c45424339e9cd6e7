//! What a worker claims, gives back and passes over, and who ends the group.

extern crate std;

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;
use std::vec::Vec;

use super::*;
use crate::doorbell::group_bit;
use crate::header::encode;
use crate::history::tests::{Ring, beginnings};
use crate::layout::SlotKind;
use crate::meddle::tests::meddled;
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
    let Found::Record(dead) = workers[1].claim_dead(&ring.shared(), ring.shared().group(0).unwrap()) else {
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

/// A worker that slept while its fellows went round the ring: its place is overwritten, and it goes on at the floor.
#[test]
fn who_was_left_behind_goes_on_at_the_floor() {
    for begin in beginnings(1024) {
        let (mut ring, mut writer) = ring(begin, 64, 0);
        let [awake, asleep] = [worker(&ring, 0), worker(&ring, 1)];
        for _ in 0..100 {
            publish(&mut ring, &mut writer, 1);
            let claimed = claim(&ring, &awake).unwrap();
            done(&ring, &awake, claimed);
        }
        assert!(ring.page.licence.glance() > begin[0] + 1024, "its place is overwritten");
        assert!(claim(&ring, &asleep).is_none());
        assert_eq!(asleep.sequence(), writer.sequence());
        publish(&mut ring, &mut writer, 1);
        assert_eq!(claim(&ring, &asleep).unwrap().held.sequence, begin[1].wrapping_add(100));
    }
}

/// A licence that goes back and forth has passed a worker's place whenever the worker looks there, and the floor never.
#[test]
fn a_floor_that_never_comes_is_damage() {
    let (mut ring, mut writer) = ring([0, 0], 8, 0);
    let worker = worker(&ring, 0);
    publish(&mut ring, &mut writer, 1);
    let ring = Rc::new(ring);
    let floor = core::ptr::from_ref(&ring.groups[0].floor).addr();
    let word = core::ptr::from_ref(&ring.claims[0]).addr();
    let (meddled_with, mut loads) = (ring.clone(), 0);
    let acts = move |at| {
        loads += 1;
        assert!(loads < 1_000_000, "looks for ever");
        let licence = &meddled_with.page.licence;
        match at {
            at if at == floor => licence.preset(1024),
            at if at == word => licence.preset(1025),
            _ => {}
        }
    };
    let shared = ring.shared();
    let found = meddled(acts, || worker.claim_new(&shared, shared.group(0).unwrap()));
    assert_eq!(found, Found::Damaged("floor"));
}

#[test]
fn a_header_with_more_than_a_record_can_have_is_damage() {
    let (mut ring, mut writer) = ring([0, 0], 8, 0);
    let worker = worker(&ring, 0);
    publish(&mut ring, &mut writer, 1);
    let most = (0..1024).rev().find(|&len| ring.shape.is_len(len)).unwrap();
    let shared = ring.shared();
    for len in [most + 1, crate::header::LENGTH_MAX] {
        shared.records.word(0).preset(encode(0, len));
        let met = worker.meet(&shared, shared.group(0).unwrap(), worker.place());
        assert!(matches!(met, Standing::Damaged("header")), "{len} bytes");
    }
    shared.records.word(0).preset(encode(0, most));
    let met = worker.meet(&shared, shared.group(0).unwrap(), worker.place());
    assert!(matches!(met, Standing::Free(_)));
}

/// What lies ahead of a worker is not gone through for what was given back, however much that is.
#[test]
fn a_search_for_what_was_given_back_ends_at_the_workers_place() {
    let (mut ring, mut writer) = ring([0, 0], 64, 0);
    let worker = worker(&ring, 0);
    publish(&mut ring, &mut writer, 40);
    claim(&ring, &worker).unwrap();
    let words = Cell::new(0);
    // The floor's, to begin with, and that of the one record behind the place.
    let shared = ring.asked(&words, 2);
    let group = shared.group(0).unwrap();
    let mut search = worker.search(&shared, group, Wanted::Returned).unwrap();
    assert!(search.next(&worker, &shared, group).unwrap().is_none());
    assert_eq!(words.get(), 2);
}

#[test]
fn a_search_finds_what_it_is_for() {
    let (mut ring, mut writer) = ring([0, 0], 8, 2);
    let worker = worker(&ring, 0);
    publish(&mut ring, &mut writer, 6);
    let shared = ring.shared();
    let group = shared.group(0).unwrap();
    // One is done, one is held, one was given back, one is a dead letter, and two are new.
    for (sequence, attempts, stage) in
        [(0, 0, Stage::Done), (1, 0, Stage::Claimed), (2, 1, Stage::Returned), (3, 2, Stage::Dead)]
    {
        group.table.of(sequence).preset(Claim::new(sequence, attempts, 0, stage).to_word());
    }
    for (wanted, sequences) in [
        (Wanted::Returned, Vec::from([2])),
        (Wanted::Free, Vec::from([2, 4, 5])),
        (Wanted::Dead, Vec::from([3])),
    ] {
        // Wherever it ends: what is new does not count as given back.
        let mut search = Search { end: u64::MAX, ..worker.search(&shared, group, wanted).unwrap() };
        let mut found = Vec::new();
        while let Some(candidate) = search.next(&worker, &shared, group).unwrap() {
            found.push(candidate.held.sequence);
        }
        assert_eq!(found, sequences, "{wanted:?}");
    }
}

/// A group's lock that is refused once; before it is had, another has ended the group and made one of its own there.
struct Remade<'a>(&'a Ring, Cell<bool>);

impl GroupLocks for Remade<'_> {
    fn try_own(&self, _: u32) -> bool {
        self.1.get()
    }

    fn try_share(&self, _: u32) -> bool {
        unreachable!("nobody helps")
    }

    fn unlock(&self, _: u32) {
        if !self.1.replace(true) {
            let (ring, shared) = (self.0, self.0.shared());
            let group = shared.group(0).unwrap();
            group.end();
            begin(&ring.shape, &shared, group, Start::Newest, GroupPhase::Active, 0, &[8]).unwrap();
        }
    }
}

#[test]
fn who_leaves_does_not_end_the_group_that_came_after_its_own() {
    let (mut ring, mut writer) = ring([0, 0], 8, 0);
    worker(&ring, 0);
    publish(&mut ring, &mut writer, 1);
    let shared = ring.shared();
    let groups = Remade(&ring, Cell::new(false));
    leave(&shared, 0, 0, &Locks(Vec::new()), &groups, &Rung::default(), &Rung::default());
    assert!(ring.slots[0].is_free());
    assert_eq!(shared.group(0).unwrap().phase(), Some(GroupPhase::Active));
    assert_eq!(ring.groups[0].floor.look(), writer.tail());
}

/// What is copied of a record that nobody has claimed counts up to where its space is the producer's again, and not behind.
#[test]
fn a_copy_is_believed_until_the_licence_passes_the_record() {
    for begin in beginnings(1024) {
        let (mut ring, mut writer) = ring(begin, 8, 0);
        let worker = worker(&ring, 0);
        publish(&mut ring, &mut writer, 2);
        let shared = ring.shared();
        let group = shared.group(0).unwrap();
        let mut search = worker.search(&shared, group, Wanted::Free).unwrap();
        while let Some(candidate) = search.next(&worker, &shared, group).unwrap() {
            let end = candidate.held.position + 1024;
            for (licence, intact) in [(end - 8, true), (end, true), (end + 8, false), (u64::MAX, false)] {
                ring.page.licence.preset(licence);
                assert_eq!(candidate.is_intact(&ring.shape, &shared), intact, "{licence} at {end}");
            }
            ring.page.licence.preset(end);
        }
        assert!(search.at.position > begin[0], "there was one");
    }
}
