//! What others find of a group: where it is, also behind a producer that died, and what the dead have left in it.

extern crate std;

use std::rc::Rc;
use std::vec::Vec;

use super::*;
use crate::doorbell::group_bit;
use crate::header::{LENGTH_MAX, encode};
use crate::history::tests::{Ring, beginnings};
use crate::layout::SlotKind;
use crate::meddle::tests::meddled;
use crate::slots::{Owner, take};
use crate::worker::tests::{Locks, Rung, claim, done, ring, worker};
use crate::writer::Writer;

/// Bytes of a record that [`publish`] makes.
const RECORD: u64 = 16;
/// Each slot's owner is dead.
const ALL_DEAD: Locks = Locks(Vec::new());

fn group(ring: &Ring) -> Group<'_> {
    ring.shared().group(0).unwrap()
}

fn spot(ring: &Ring) -> Result<(u64, u64), &'static str> {
    group(ring).spot(&ring.shape, &ring.view()).map(|spot| (spot.position, spot.sequence))
}

fn publish(ring: &mut Ring, writer: &mut Writer, records: u64) {
    for _ in 0..records {
        ring.publish(writer, 8).unwrap();
    }
}

/// Stores a header where it belongs, as no producer of this ring does.
fn forge(ring: &Ring, position: u64, header: u64) {
    ring.shared().records.word(position).prepare(header);
}

/// A record's claim word says that it is in the hands of a slot's owner.
fn in_hands(sequence: u64, slot: u32) -> u64 {
    Claim::new(sequence, 0, slot, Stage::Claimed).to_word()
}

/// How a group's table says that its records stand.
fn stages(ring: &Ring, number: u32) -> Vec<Stage> {
    let group = ring.shared().group(number).unwrap();
    group.table.words().map(|word| Claim::from_word(word.glance()).unwrap().stage).collect()
}

/// It died between its last headers and the words that say how far it has come, and workers have done those records.
#[test]
fn the_floor_may_be_ahead_of_what_a_dead_producer_has_said() {
    for begin in beginnings(1024) {
        for unsaid in 0..=3 {
            let (mut ring, mut writer) = ring(begin, 8, 0);
            let worker = worker(&ring, 0);
            publish(&mut ring, &mut writer, 3);
            for _ in 0..3 {
                let claimed = claim(&ring, &worker).unwrap();
                done(&ring, &worker, claimed);
            }
            ring.page.tail.preset(writer.tail() - unsaid * RECORD);
            ring.page.published.preset(writer.sequence().wrapping_sub(unsaid));
            assert_eq!(spot(&ring), Ok((begin[0] + 3 * RECORD, begin[1].wrapping_add(3))), "{unsaid} unsaid");
        }
    }
}

/// A header between the tail and the floor that is longer than any record counts for none, wherever it would lead.
#[test]
fn no_floor_is_found_behind_a_record_that_cannot_be() {
    let (mut ring, mut writer) = ring([0, 0], 8, 0);
    publish(&mut ring, &mut writer, 1);
    let len = ring.shape.max_len() + 24;
    forge(&ring, RECORD, encode(1, len));
    let floor = RECORD + ring.shape.need(len);
    assert_eq!(ring.shared().records.word(floor).look(), 0);
    ring.groups[0].floor.preset(floor);
    assert_eq!(spot(&ring), Err("floor"));
}

#[test]
fn a_floor_that_nobody_stores_is_damage() {
    let (mut ring, mut writer) = ring([0, 0], 8, 0);
    publish(&mut ring, &mut writer, 1);
    assert_eq!(spot(&ring), Ok((0, 0)));
    for floor in [4, RECORD + 1, NO_CURSOR, u64::MAX - 7] {
        ring.groups[0].floor.preset(floor);
        assert_eq!(spot(&ring), Err("floor"), "{floor}");
    }
    ring.groups[0].floor.preset(0);
    forge(&ring, 0, 8);
    assert_eq!(spot(&ring), Err("header"));
}

/// While one looks there the floor moves on, and the producer writes in the place where it was.
#[test]
fn what_has_been_overwritten_meanwhile_is_not_believed() {
    let (mut ring, mut writer) = ring([0, 0], 8, 0);
    publish(&mut ring, &mut writer, 2);
    let ring = Rc::new(ring);
    let theirs = ring.clone();
    let at = core::ptr::from_ref(ring.shared().records.word(0)).addr();
    let overwrite = move |address| {
        if address == at {
            theirs.groups[0].floor.preset(RECORD);
            theirs.page.licence.preset(1024 + RECORD);
            forge(&theirs, 1024, encode(64, 8));
        }
    };
    assert_eq!(meddled(overwrite, || spot(&ring)), Ok((RECORD, 1)));
}

/// Neither from where no record can begin, nor past one that no producer publishes.
#[test]
fn a_floor_moves_over_records_only() {
    let (mut ring, mut writer) = ring([0, 0], 8, 0);
    publish(&mut ring, &mut writer, 1);
    let advance = || group(&ring).advance(&ring.shape, &ring.view(), 0);
    group(&ring).table.of(0).preset(Claim::new(0, 0, 0, Stage::Done).to_word());
    for floor in [4, NO_CURSOR, u64::MAX - 7] {
        ring.groups[0].floor.preset(floor);
        assert_eq!((advance(), ring.groups[0].floor.look()), (None, floor));
    }
    ring.groups[0].floor.preset(0);
    for len in [ring.shape.max_len() + 1, LENGTH_MAX] {
        forge(&ring, 0, encode(0, len));
        assert_eq!((advance(), ring.groups[0].floor.look()), (None, 0), "{len} bytes");
    }
    forge(&ring, 0, encode(0, 8));
    assert_eq!(advance(), Some((0, RECORD)));
}

#[test]
fn who_asks_for_the_holders_is_none_of_them() {
    let (ring, _writer) = ring([0, 0], 4, 0);
    group(&ring).table.of(0).preset(in_hands(0, 1));
    group(&ring).table.of(1).preset(in_hands(1, 255));
    let holders = |own| bits(group(&ring).holders(own)).collect::<Vec<_>>();
    assert_eq!(
        [holders(0), holders(1), holders(255)],
        [Vec::from([1, 255]), Vec::from([255]), Vec::from([1])]
    );
}

/// A worker that is done with a record rings once for whoever said that it waits for that, and else moves no bell.
#[test]
fn who_waits_for_nothing_is_not_woken() {
    let (mut ring, mut writer) = ring([0, 0], 4, 0);
    let worker = worker(&ring, 0);
    publish(&mut ring, &mut writer, 3);
    let shared = ring.shared();
    for (waits, bell) in [(false, 0), (true, 1), (false, 1)] {
        if waits {
            group(&ring).head.awaited.declare();
        }
        let (claimed, readers) = (claim(&ring, &worker).unwrap(), Rung::default());
        worker.done(&shared, group(&ring), 0, claimed, &readers).unwrap();
        assert_eq!(shared.ctl.rings.seen(), bell);
        let wakes = if waits { Vec::from([(u32::MAX, group_bit(0))]) } else { Vec::new() };
        assert_eq!(readers.take(), wakes);
    }
}

/// What a slot's number holds in the group that its owner said it works in, beside that of those who bury it.
#[test]
fn the_dead_leave_nothing_behind_in_their_own_group() {
    let (ring, _writer) = ring([0, 0], 2, 0);
    worker(&ring, 0);
    ring.slots[0].group.preset(2);
    for number in 0..2 {
        let group = ring.shared().group(number).unwrap();
        (0..2).for_each(|i| group.table.of(i).preset(in_hands(i, i as u32)));
    }
    assert_eq!(bury(&ring.shared(), group(&ring), 0, &ALL_DEAD), 1, "of their group");
    for number in 0..2 {
        assert_eq!(stages(&ring, number), [Stage::Returned, Stage::Claimed], "group {number}");
    }
    assert_eq!((ring.slots[0].group.glance(), ring.slots[0].is_free()), (0, true));
}

/// Who takes the slot of a dead worker gives its records back before their number is its own, and wakes as many workers.
#[test]
fn a_slot_is_taken_without_what_its_last_owner_held() {
    for held in 0..3 {
        let (mut ring, mut writer) = ring([0, 0], 8, 0);
        let dead = worker(&ring, 0);
        for slot in &ring.slots[1..] {
            slot.occupy(SlotKind::InPlace, 1, 1, 1);
            slot.settle();
        }
        publish(&mut ring, &mut writer, held);
        (0..held).for_each(|_| assert!(claim(&ring, &dead).is_some()));
        let owner = Owner { pid: 1, uid: 1, start_time: 1 };
        let readers = Rung::default();
        let taken = take(&ring.shared(), &Locks(Vec::from([1, 2, 3])), SlotKind::Worker, owner, &readers);
        assert_eq!(taken, Ok(Some(0)));
        assert_eq!(group(&ring).holders(u32::MAX), [0; 4]);
        let returned = stages(&ring, 0).into_iter().filter(|stage| *stage == Stage::Returned).count();
        assert_eq!(returned as u64, held);
        let wakes = if held > 0 { Vec::from([(held as u32, group_bit(0))]) } else { Vec::new() };
        assert_eq!(readers.take(), wakes);
    }
}
