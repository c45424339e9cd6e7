//! Who is waited for, and what becomes of each.

extern crate std;

use core::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec::Vec;

use super::*;
use crate::history::Start;
use crate::history::tests::{Ring, beginnings};
use crate::layout::SlotKind;
use crate::meddle::tests::meddled;
use crate::reader::{Look, Pins, Reader};
use crate::slots::{Owner, take};
use crate::worker::tests::{Alone, Locks, Rung, claim, done, ring as grouped, worker as work};
use crate::worker::{Worker, leave};

const NOBODY: Tally = Tally { of: 0, released: 0, gone: 0 };
/// Nobody has the lock of a slot, or each has its own, and there is no worker, or one at least.
const ALL_DEAD: Locks = Locks(Vec::new());
const ALONE: Alone = Alone(true, true);
const AMONG_WORKERS: Alone = Alone(false, true);

fn tally(of: u32, released: u32, gone: u32) -> Tally {
    Tally { of, released, gone }
}

/// A ring of 1 KiB, and subscribers in its first slots.
fn ring([position, sequence]: [u64; 2], slots: usize, subscribers: usize) -> (Ring, Writer, Vec<Reader>) {
    let ring = Ring::new(1024, slots);
    let writer = Writer::create(ring.shape, &ring.shared(), position, sequence, 0);
    let readers = (0..subscribers).map(|slot| join(&ring, slot)).collect();
    (ring, writer, readers)
}

fn join(ring: &Ring, slot: usize) -> Reader {
    let slot = &ring.slots[slot];
    slot.occupy(SlotKind::InPlace, 1, 1, 1);
    let reader = Reader::join(ring.shape, &ring.shared(), slot, Start::Newest).unwrap();
    slot.settle();
    reader
}

/// Reads one record and releases it.
fn consume(ring: &Ring, slot: usize, reader: &Reader) {
    let bits: Vec<Cell<u64>> = (0..Pins::words(&ring.shape)).map(|_| Cell::new(0)).collect();
    let newest = Cell::new(0);
    let Look::Record(held) = reader.look(&ring.shared()) else { panic!("no record") };
    reader.release(&ring.shared(), &ring.slots[slot], Pins::new(&bits, &newest), held).unwrap();
}

/// Notes who is there and publishes a record.
fn send<'a>(ring: &mut Ring, writer: &mut Writer, receivers: &'a mut [Receiver]) -> Acks<'a> {
    let mut acks = Acks::note(receivers, &ring.shared(), writer);
    ring.publish(writer, 8).unwrap();
    acks.published(writer);
    acks
}

fn reap(acks: &mut Acks<'_>, ring: &Ring, writer: &Writer, slots: &Locks, groups: &Alone) -> u64 {
    acks.reap(&ring.shared(), writer, slots, groups, &Rung::default())
}

/// Each that has released it counts, in whatever order; those that have none of it do not keep anybody waiting.
#[test]
fn it_ends_with_the_last_release() {
    for begin in beginnings(1024) {
        for first in 0..3 {
            let (mut ring, mut writer, readers) = ring(begin, 4, 3);
            let mut receivers = [Receiver::default(); 4];
            let mut acks = send(&mut ring, &mut writer, &mut receivers);
            for released in 0..3 {
                assert!(!acks.look(&ring.shared()));
                assert_eq!(acks.tally(), tally(3, released, 0));
                let slot = (first + released as usize) % 3;
                consume(&ring, slot, &readers[slot]);
            }
            assert!(acks.look(&ring.shared()) && acks.look(&ring.shared()));
            assert_eq!(acks.tally(), tally(3, 3, 0));
        }
    }
}

/// One that holds an older record holds all behind it; and a place that is free, or not joined yet, is nobody.
#[test]
fn only_who_is_there_is_waited_for() {
    let (mut ring, mut writer, readers) = ring([0, 0], 4, 2);
    ring.slots[1].vacate();
    ring.slots[2].occupy(SlotKind::InPlace, 1, 1, 1);
    ring.slots[2].cursor.join(0);
    // As one that died before its slot said that it was free.
    ring.slots[3].settle();
    ring.publish(&mut writer, 8).unwrap();
    let mut receivers = [Receiver::default(); 4];
    let mut acks = send(&mut ring, &mut writer, &mut receivers);
    consume(&ring, 0, &readers[0]);
    assert!(!acks.look(&ring.shared()));
    consume(&ring, 0, &readers[0]);
    assert!(acks.look(&ring.shared()));
    assert_eq!(acks.tally(), tally(1, 1, 0));
}

#[test]
fn without_a_place_for_it_nobody_is_waited_for() {
    let (mut ring, mut writer, _readers) = ring([0, 0], 3, 3);
    for places in 0..=3 {
        let mut receivers = [Receiver::default(); 3];
        let acks = send(&mut ring, &mut writer, &mut receivers[..places]);
        assert_eq!(acks.tally(), tally(places as u32, 0, 0));
    }
}

/// Given up, or where no reader can be: gone before the record is there.
#[test]
fn who_does_not_count_is_gone_from_the_beginning() {
    for begin in beginnings(1024) {
        let (mut ring, mut writer, _readers) = ring(begin, 3, 1);
        while ring.publish(&mut writer, 8).is_ok() {}
        let end = writer.tail() + 512;
        writer.evict(&ring.shared(), end).unwrap();
        let alive = join(&ring, 1);
        join(&ring, 2);
        ring.slots[2].cursor.preset(writer.tail() + 8);
        let mut receivers = [Receiver::default(); 3];
        let mut acks = send(&mut ring, &mut writer, &mut receivers);
        assert_eq!(acks.tally(), tally(3, 0, 2));
        assert!(!acks.look(&ring.shared()));
        consume(&ring, 1, &alive);
        assert!(acks.look(&ring.shared()));
        assert_eq!(acks.tally(), tally(3, 1, 2));
    }
}

#[test]
fn who_goes_where_no_reader_can_be_is_gone() {
    let (mut ring, mut writer, _readers) = ring([0, 0], 1, 1);
    let mut receivers = [Receiver::default()];
    let mut acks = send(&mut ring, &mut writer, &mut receivers);
    ring.slots[0].cursor.preset(writer.tail() + 8);
    assert!(acks.look(&ring.shared()));
    assert_eq!(acks.tally(), tally(1, 0, 1));
}

/// The place says of its last owner where it left, and of no earlier one.
#[test]
fn who_leaves_has_released_it_if_it_had() {
    for begin in beginnings(1024) {
        for (reads, successors) in [(true, 0), (true, 1), (false, 0), (false, 1), (true, 2), (false, 2)] {
            let (mut ring, mut writer, readers) = ring(begin, 1, 1);
            let mut receivers = [Receiver::default()];
            let mut acks = send(&mut ring, &mut writer, &mut receivers);
            if reads {
                consume(&ring, 0, &readers[0]);
            }
            ring.slots[0].vacate();
            for _ in 0..successors {
                // As `take` does, and all but the last leaves again.
                ring.slots[0].vacate();
                join(&ring, 0);
                if successors > 1 {
                    ring.slots[0].vacate();
                }
            }
            assert!(acks.look(&ring.shared()));
            let released = reads && successors < 2;
            assert_eq!(acks.tally(), tally(1, released.into(), (!released).into()), "{reads}, {successors}");
        }
    }
}

/// What a slot is left with: by whom, and where; however far the ring and the generations have come.
#[test]
fn what_is_left_is_of_one_owner_at_one_place() {
    let mut seen = Vec::new();
    for generation in [0, 1, 2, 0xffff] {
        for position in [0, 8, 16, 1 << 50, (1 << 51) - 8] {
            seen.push(left_at(generation, position));
        }
    }
    seen.sort_unstable();
    let all = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), all);
    assert_eq!(left_at(0x1_0002, (1 << 51) + 16), left_at(2, 16), "it comes again");
}

/// Another comes, or somebody leaves, before any of the looks: nobody is said to have gone who was not there.
#[test]
fn who_comes_meanwhile_is_not_missed() {
    for leaves in [false, true] {
        for at in 0.. {
            let (ring, writer, _readers) = ring([0, 0], 1, usize::from(leaves));
            let ring = Rc::new(ring);
            let (others, looks) = (ring.clone(), Rc::new(Cell::new(0)));
            let count = looks.clone();
            let acts = move |_| {
                if count.replace(count.get() + 1) == at {
                    others.slots[0].vacate();
                    join(&others, 0);
                }
            };
            let mut receivers = [Receiver::default()];
            let (before, shared) = (looks.get(), ring.shared());
            let noted = meddled(acts, || Acks::note(&mut receivers, &shared, &writer).tally());
            assert!(noted == NOBODY || noted == tally(1, 0, 0), "{noted:?} at {at}");
            let mut acks =
                Acks { receivers: &mut receivers, holding: noted.of as usize, end: 8, tally: noted };
            acks.look(&shared);
            let gone = acks.tally().gone;
            assert!(gone == 0, "it is there, {at}");
            if looks.get() - before <= at {
                assert!(at >= if leaves { 4 } else { 2 }, "there are looks");
                break;
            }
        }
    }
}

/// The dead, and nobody else; and each lock that was had is given back.
#[test]
fn the_dead_are_reaped() {
    let (mut ring, mut writer, readers) = ring([0, 0], 4, 4);
    let mut receivers = [Receiver::default(); 4];
    let mut acks = send(&mut ring, &mut writer, &mut receivers);
    // One lives, one has died holding the record, one after it had released it, and one has left, and another is in its place.
    consume(&ring, 2, &readers[2]);
    ring.slots[3].vacate();
    join(&ring, 3);
    let locks = Noted { others: Vec::from([0]), ..Noted::default() };
    let freed = acks.reap(&ring.shared(), &writer, &locks, &ALONE, &Rung::default());
    assert_eq!((freed, acks.tally()), (1, tally(4, 1, 2)));
    assert_eq!(locks.held.take(), [], "what is nobody's is given back");
    let free = |i: usize| ring.slots[i].is_free();
    assert_eq!([0, 1, 2, 3].map(free), [false, true, false, false]);
    assert!(!acks.look(&ring.shared()));
    consume(&ring, 0, &readers[0]);
    assert!(acks.look(&ring.shared()));
    assert_eq!(acks.tally(), tally(4, 2, 2));
}

/// Locks that say which of them are held.
#[derive(Default)]
struct Noted {
    others: Vec<u32>,
    held: RefCell<Vec<u32>>,
    /// Slots that have been asked for, in order.
    asked: RefCell<Vec<u32>>,
    /// Calls to make at the next lock.
    meanwhile: RefCell<Option<std::boxed::Box<dyn FnOnce()>>>,
}

impl SlotLocks for Noted {
    type Error = ();

    fn try_lock(&self, slot: u32) -> Result<bool, ()> {
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
        self.asked.borrow_mut().push(slot);
        let free = !self.others.contains(&slot);
        if free {
            self.held.borrow_mut().push(slot);
        }
        Ok(free)
    }

    fn unlock(&self, slot: u32) {
        self.held.borrow_mut().retain(|held| *held != slot);
    }
}

/// Wherever they are, but no worker, whose records would be lost with its slot, nor one that has not joined, whether or not its
/// cursor is there; and whose slot is none of these is not disturbed, who may be about to take its lock.
#[test]
fn all_dead_subscribers_are_reaped() {
    let (ring, _writer, _readers) = ring([0, 0], 6, 3);
    ring.slots[3].occupy(SlotKind::Worker, 1, 1, 1);
    ring.slots[3].group.preset(1);
    ring.slots[3].settle();
    for slot in &ring.slots[4..] {
        slot.occupy(SlotKind::InPlace, 1, 1, 1);
    }
    ring.slots[5].cursor.join(0);
    let locks = Noted { others: Vec::from([1]), ..Noted::default() };
    assert_eq!(reap_all(&ring.shared(), &locks), 2);
    assert_eq!(locks.held.take(), []);
    assert_eq!(locks.asked.take(), [0, 1, 2]);
    let free = |i: usize| ring.slots[i].is_free();
    assert_eq!([0, 1, 2, 3, 4, 5].map(free), [true, false, true, false, false, false]);
    assert_eq!(ring.slots[3].group.glance(), 1);
    assert_eq!(reap_all(&ring.shared(), &locks), 0);
}

/// A worker takes a dead subscriber's slot and dies with records, until the lock is had.
#[test]
fn a_worker_that_came_in_between_is_left_to_its_fellows() {
    let (ring, _writer, _readers) = ring([0, 0], 1, 1);
    let ring = Rc::new(ring);
    let worker = ring.clone();
    let comes = move || {
        let slot = &worker.slots[0];
        slot.vacate();
        slot.occupy(SlotKind::Worker, 1, 1, 1);
        slot.group.preset(1);
        slot.settle();
    };
    let locks = Noted { meanwhile: RefCell::new(Some(std::boxed::Box::new(comes))), ..Noted::default() };
    assert_eq!(reap_all(&ring.shared(), &locks), 0);
    assert_eq!((ring.slots[0].group.glance(), ring.slots[0].is_free()), (1, false));
    assert_eq!(locks.held.take(), []);
}

/// A ring with a group, and workers in its first slots.
fn group(begin: [u64; 2], workers: u32) -> (Ring, Writer, Vec<Worker>) {
    let (ring, writer) = grouped(begin, 8, 0);
    let workers = (0..workers).map(|slot| work(&ring, slot)).collect();
    (ring, writer, workers)
}

/// One worker of it is enough, once all older records are done, too; given back it is held still.
#[test]
fn a_group_releases_what_one_of_its_workers_has_done() {
    for begin in beginnings(1024) {
        let (mut ring, mut writer, workers) = group(begin, 2);
        let mut receivers = [Receiver::default(); 6];
        ring.publish(&mut writer, 8).unwrap();
        let older = claim(&ring, &workers[0]).unwrap();
        let mut acks = send(&mut ring, &mut writer, &mut receivers);
        assert_eq!(acks.tally(), tally(1, 0, 0), "workers are not subscribers, and a free group is none");
        let newer = claim(&ring, &workers[1]).unwrap();
        done(&ring, &workers[1], newer);
        assert!(!acks.look(&ring.shared()), "an older one is not done");
        let shared = ring.shared();
        workers[0].give_back(shared.ctl, shared.group(0).unwrap(), 0, older, &Rung::default()).unwrap();
        assert!(!acks.look(&shared), "nobody has it");
        let again = claim(&ring, &workers[1]).unwrap();
        assert!(!acks.look(&shared));
        done(&ring, &workers[1], again);
        assert!(acks.look(&shared));
        assert_eq!(acks.tally(), tally(1, 1, 0));
    }
}

/// The last worker leaves, having done the record or with it in its hands.
#[test]
fn a_group_that_ends_has_released_it_if_it_was_done() {
    for begin in beginnings(1024) {
        for (is_done, another) in [(true, false), (true, true), (false, false), (false, true)] {
            let (mut ring, mut writer, workers) = group(begin, 1);
            let mut receivers = [Receiver::default(); 6];
            let mut acks = send(&mut ring, &mut writer, &mut receivers);
            let claimed = claim(&ring, &workers[0]).unwrap();
            if is_done {
                done(&ring, &workers[0], claimed);
            }
            let shared = ring.shared();
            leave(&shared, 0, 0, &ALL_DEAD, &ALONE, &Rung::default(), &Rung::default());
            if another {
                let words = shared.group(0).unwrap();
                let (start, phase) = (Start::Newest, GroupPhase::Active);
                crate::worker::begin(&ring.shape, &shared, words, start, phase, 0, &[8]).unwrap();
            }
            assert!(acks.look(&shared));
            assert_eq!(acks.tally(), tally(1, is_done.into(), (!is_done).into()));
        }
    }
}

/// What a dead worker held comes to another; without another the group ends, unless it is kept.
#[test]
fn the_producer_helps_a_group_that_holds_it() {
    for (others, phase) in
        [(true, GroupPhase::Active), (false, GroupPhase::Active), (false, GroupPhase::Durable)]
    {
        let (mut ring, mut writer, workers) = group([0, 0], 2);
        ring.groups[0].state.set(phase.to_word());
        let mut receivers = [Receiver::default(); 6];
        let mut acks = send(&mut ring, &mut writer, &mut receivers);
        claim(&ring, &workers[0]).unwrap();
        // A group that nobody waits for is left alone.
        let locks = Locks(Vec::from([1]));
        let groups = if others { AMONG_WORKERS } else { ALONE };
        assert_eq!(reap(&mut acks, &ring, &writer, &locks, &groups), 0);
        assert_eq!(ring.slots[0].is_free(), others);
        if others {
            let again = claim(&ring, &workers[1]).unwrap();
            assert_eq!(again.attempts, 1);
            done(&ring, &workers[1], again);
            assert!(acks.look(&ring.shared()));
            assert_eq!(acks.tally(), tally(1, 1, 0));
        } else {
            let ended = phase == GroupPhase::Active;
            assert_eq!(acks.look(&ring.shared()), ended);
            assert_eq!(acks.tally(), tally(1, 0, ended.into()));
        }
    }
}

/// Its only worker marked it done and died before it moved the floor.
#[test]
fn what_was_done_is_released_though_its_worker_died() {
    for groups in [ALONE, AMONG_WORKERS] {
        let (mut ring, mut writer, workers) = group([0, 0], 1);
        let mut receivers = [Receiver::default(); 6];
        let mut acks = send(&mut ring, &mut writer, &mut receivers);
        claim(&ring, &workers[0]).unwrap();
        let word = ring.shared().group(0).unwrap().table.of(0);
        let mark = crate::claim::Claim::new(0, 0, 0, crate::claim::Stage::Done).to_word();
        assert!(word.settle(word.look(), mark));
        assert!(!acks.look(&ring.shared()));
        reap(&mut acks, &ring, &writer, &ALL_DEAD, &groups);
        assert!(acks.look(&ring.shared()));
        assert_eq!(acks.tally(), tally(1, 1, 0));
    }
}

/// Its floor is there before it is anybody's.
#[test]
fn a_group_that_is_being_begun_is_not_waited_for() {
    let (ring, mut writer, _workers) = group([0, 0], 0);
    let mut ring = ring;
    ring.groups[1].floor.join(0);
    ring.groups[0].state.set(77);
    let mut receivers = [Receiver::default(); 6];
    assert_eq!(send(&mut ring, &mut writer, &mut receivers).tally(), NOBODY);
}

/// A slot that is taken for another owner says that the one before has left, and where.
#[test]
fn a_slot_that_is_taken_from_the_dead_was_left_by_them() {
    let (mut ring, mut writer, _readers) = ring([0, 0], 1, 1);
    let mut receivers = [Receiver::default()];
    let mut acks = send(&mut ring, &mut writer, &mut receivers);
    let owner = Owner { pid: 1, uid: 1, start_time: 1 };
    let taken = take(&ring.shared(), &ALL_DEAD, SlotKind::Copying, owner, &Rung::default());
    assert_eq!(taken, Ok(Some(0)));
    assert!(acks.look(&ring.shared()));
    assert_eq!(acks.tally(), tally(1, 0, 1));
}
