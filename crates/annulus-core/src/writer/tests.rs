//! What a producer asks for, and what it never takes back.

extern crate std;

use core::cell::Cell;
use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;
use crate::history::Start;
use crate::history::tests::{Ring, beginnings};
use crate::reader::{Look, Pins, Reader};

fn join(ring: &Ring, slot: usize) -> Reader {
    Reader::join(ring.shape, &ring.shared(), &ring.slots[slot], Start::Newest).unwrap()
}

fn words(ring: &Ring) -> [u64; 2] {
    [ring.page.lease.glance(), ring.page.licence.glance()]
}

/// Nobody joins where a wish has passed, so a wish that cannot be granted is not announced, however often it is made.
#[test]
fn what_is_refused_is_not_announced() {
    for begin in beginnings(4096) {
        let mut ring = Ring::new(4096, 2);
        let mut writer = Writer::create(ring.shape, &ring.shared(), begin[0], begin[1], 0);
        let _reader = join(&ring, 0);
        for _ in 0..20 {
            ring.publish(&mut writer, 8).unwrap();
        }
        let before = words(&ring);
        for _ in 0..3 {
            let large = ring.publish(&mut writer, ring.shape.max_len() as usize);
            assert!(
                matches!(large, Err(Refusal::Full(Full { who: Who::Slot(0), behind: 320, .. }))),
                "{large:?}"
            );
            assert_eq!(words(&ring), before);
        }
        let late = Reader::join(ring.shape, &ring.shared(), &ring.slots[1], Start::Oldest).unwrap();
        assert_eq!(late.sequence(), begin[1], "what could be joined before still can");
    }
}

/// What an observer has validated once, and a joiner has seen once, stays true.
#[test]
fn neither_wish_nor_grant_is_taken_back() {
    for begin in beginnings(1024) {
        for retain in [0, 4, 1000] {
            let mut ring = Ring::new(1024, 1);
            let mut writer = Writer::create(ring.shape, &ring.shared(), begin[0], begin[1], retain);
            let reader = join(&ring, 0);
            let mut before = words(&ring);
            let mut check = |ring: &Ring| {
                let now = words(ring);
                assert!(now[0] >= before[0] && now[1] >= before[1], "{before:?} became {now:?}");
                assert!(now[1] <= now[0], "more was granted than announced: {now:?}");
                before = now;
            };
            for i in 0..200 {
                ring.publish(&mut writer, (i * 7 % 60) as usize).unwrap();
                let Look::Record(held) = reader.look(&ring.shared()) else { panic!() };
                ring.slots[0].cursor.release(held.position);
                // Again what is granted already, and a little more.
                for end in [writer.tail(), writer.tail() + 16] {
                    writer.extend(&ring.shared(), end).unwrap();
                    check(&ring);
                }
                if i % 50 == 20 {
                    // A successor of one that had asked for all that there is, and died.
                    ring.page.lease.preset(writer.tail() + 1024);
                    writer = Writer::take_over(ring.shape, &ring.shared(), retain).unwrap();
                }
                check(&ring);
            }
        }
    }
}

/// An eviction wishes for no more than it gets, so that those who are not given up, and who joins, lose nothing by it.
#[test]
fn an_eviction_announces_what_it_is_granted() {
    let mut ring = Ring::new(1024, 3);
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let slow = join(&ring, 0);
    ring.publish(&mut writer, 8).unwrap();
    let next = join(&ring, 1);
    while ring.publish(&mut writer, 8).is_ok() {}
    assert_eq!(writer.evict(&ring.shared(), writer.tail() + 16), Ok(1));
    assert!(slow.is_evicted(&ring.shared()) && !next.is_evicted(&ring.shared()));
    assert_eq!(words(&ring), [next.position() + 1024; 2]);
}

/// A batch whose records ask for room one by one, each as soon as a slow reader has gone on by one: still there is a
/// boundary in each sixteenth of it, and not many in the first two.
#[test]
fn a_batch_that_waits_for_a_reader_leaves_boundaries_throughout() {
    let mut ring = Ring::new(4096, 1);
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let reader = join(&ring, 0);
    while ring.publish(&mut writer, 8).is_ok() {}
    let bits: Vec<Cell<u64>> = (0..Pins::words(&ring.shape)).map(|_| Cell::new(0)).collect();
    let count = Cell::new(0);
    let start = writer.tail();
    let mut batch = writer.batch();
    for _ in 0..200 {
        assert!(matches!(writer.stage(&mut batch, &ring.shared(), &[0; 8]), Err(Refusal::Full(_))));
        let Look::Record(held) = reader.look(&ring.shared()) else { panic!() };
        reader.release(&ring.shared(), &ring.slots[0], Pins::new(&bits, &count), held).unwrap();
        writer.stage(&mut batch, &ring.shared(), &[0; 8]).unwrap();
    }
    assert_eq!(writer.flush(batch, &ring.shared()), 200);
    let chunk = ring.shape.chunk();
    let with: BTreeSet<u64> = ring.anchors().range(start..).map(|(position, _)| position / chunk).collect();
    // All that begin within the batch.
    let all: BTreeSet<u64> = (start / chunk + 1..=(writer.tail() - 1) / chunk).collect();
    assert!(all.len() >= 12 && all.is_subset(&with), "{with:?}");
}

/// Room is filled in any order and at any offset, and becomes a record of as many bytes as are wanted of it.
#[test]
fn a_claim_becomes_the_record_that_was_filled_in() {
    for begin in beginnings(1024) {
        for shape in [Some(Ring::new(1024, 1).shape), Ring::new(1024, 1).shape.stamped()] {
            let ring = Ring::shaped(shape.unwrap(), 1);
            let mut writer = Writer::create(ring.shape, &ring.shared(), begin[0], begin[1], 0);
            let prefix = ring.shape.prefix() as usize;
            for i in 0..200 {
                let payload: Vec<u8> = (0..i % 43).map(|n| (n * 5 + i) as u8).collect();
                let reader = join(&ring, 0);
                let place = writer.tail();
                let room = writer.claim(&ring.shared(), payload.len() as u64 + i % 9).unwrap();
                // The end first, then the beginning over a little of it.
                let cut = payload.len() / 2;
                writer.fill(&room, &ring.shared(), cut as u64, &payload[cut..]);
                writer.fill(&room, &ring.shared(), 0, &payload[..payload.len().min(cut + 3)]);
                if prefix > 0 {
                    writer.stamp(&room, &ring.shared(), 1000 + i);
                }
                assert_eq!(reader.look(&ring.shared()), Look::Empty, "nothing before it is committed");
                writer.commit(room, &ring.shared(), payload.len() as u64);
                let Look::Record(held) = reader.look(&ring.shared()) else { panic!("{i}") };
                assert_eq!((held.position, held.sequence), (place, begin[1] + i));
                let mut found = std::vec![0; held.len as usize];
                ring.shared().records.read(held.position + HEADER_BYTES, &mut found);
                assert_eq!(found[prefix..], payload, "{i}");
                assert!(prefix == 0 || found[..8] == (1000 + i).to_le_bytes());
                ring.slots[0].vacate();
            }
        }
    }
}
