//! A producer that finds the ring full, and asks again.
//!
//! Shows: a refusal names the reader that is furthest behind, how far that is, and a position that it has not reached;
//! nothing has changed by it; once that reader has reached the position it is not named for this record again, and once
//! every reader has, the record is admitted, also by the mere asking that goes before a sleep; what was granted stays
//! granted, whoever joins. Cannot show: the sleep itself, which `sleep_wake` is about.

mod common;

use annulus_core::header::HEADER_BYTES;
use annulus_core::history::Start;
use annulus_core::memory::Memory;
use annulus_core::writer::{Full, Refusal, Who, Writer};
use common::subscriber::{Subscriber, value};
use common::{Arc, Ring, model, model_within, relax, thread};

/// Bytes of one of these records, header included.
const RECORD: u64 = 16;

fn try_publish(ring: &Ring, writer: &mut Writer) -> Result<(), Full> {
    match writer.publish(&ring.shared(), &value(writer.sequence())) {
        Ok(()) => Ok(()),
        Err(Refusal::Full(full)) => Err(full),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

/// A ring that three records fill, and its subscribers, each of which has had so many of them.
fn full<const N: usize>(had: [u64; N]) -> (Arc<Ring>, Writer, [Subscriber; N]) {
    let ring = Arc::new(Ring::of(64, N));
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let mut subscribers: [_; N] = std::array::from_fn(|slot| Subscriber::join(&ring, slot, Start::Newest));
    for _ in 0..3 {
        try_publish(&ring, &mut writer).unwrap();
    }
    for (subscriber, had) in subscribers.iter_mut().zip(had) {
        for _ in 0..had {
            assert!(subscriber.consume());
        }
    }
    (ring, writer, subscribers)
}

/// What a refusal says, against what can be seen.
fn check(ring: &Ring, writer: &Writer, full: Full) {
    let shared = ring.shared();
    let (tail, end) = (writer.tail(), writer.tail() + RECORD);
    assert_eq!(full.wanted, end + HEADER_BYTES - ring.shape.capacity());
    let cursor = tail.checked_sub(full.behind).unwrap();
    assert!(cursor < full.wanted, "it is not in the way");
    assert!(cursor.is_multiple_of(RECORD), "a reader was never there");
    for (slot, words) in shared.slots.iter().enumerate() {
        // Cursors only move up.
        assert!(words.cursor.look() >= cursor, "slot {slot} is further behind");
    }
    // Nothing has changed.
    assert_eq!(shared.records.word(tail).look(), 0);
    assert_eq!([shared.producer.tail.look(), shared.producer.published.look()], [tail, writer.sequence()]);
    assert!(shared.producer.licence.validate() < end + HEADER_BYTES, "granted and refused");
}

/// Publishes records as the subscribers make room. Each refusal names another one.
fn wait_for_those_named(ring: &Ring, writer: &mut Writer, records: u64, ask_first: bool) {
    for _ in 0..records {
        let mut named = [false; 2];
        loop {
            let shared = ring.shared();
            let asked = if ask_first {
                let end = writer.tail() + RECORD;
                writer.extend(&shared, end)
            } else {
                try_publish(ring, writer)
            };
            let Err(full) = asked else { break };
            check(ring, writer, full);
            let Who::Slot(slot) = full.who else { unreachable!("there are no groups") };
            let slot = slot as usize;
            assert!(!named[slot], "it had made room");
            named[slot] = true;
            while shared.slots[slot].cursor.look() < full.wanted {
                relax();
            }
        }
        if ask_first {
            try_publish(ring, writer).expect("what was granted stays granted");
        }
    }
}

/// Two more records, of which the second is over the first lap's; subscribers that have had less than they need.
fn two_in_the_way(had: [u64; 2], ask_first: bool) {
    let (ring, mut writer, subscribers) = full(had);
    let threads = subscribers.map(|mut subscriber| {
        thread::spawn(move || {
            while subscriber.next < 2 {
                assert!(subscriber.consume());
            }
            subscriber
        })
    });
    wait_for_those_named(&ring, &mut writer, 2, ask_first);
    for thread in threads {
        thread.join().unwrap().drain(5);
    }
}

#[test]
fn one_of_two_subscribers_is_in_the_way() {
    model(1000, || two_in_the_way([2, 0], false));
    model(760, || two_in_the_way([0, 2], false));
}

#[test]
fn both_subscribers_are_in_the_way() {
    model_within(1, 760, || two_in_the_way([0, 0], false));
    model_within(2, 3400, || two_in_the_way([1, 0], false));
}

/// As who is about to sleep asks.
#[test]
fn asking_is_refused_and_granted_as_publishing_is() {
    model_within(2, 3400, || two_in_the_way([1, 0], true));
}

/// Nobody moves: each try is refused alike, and changes nothing.
#[test]
fn a_refusal_is_repeated_until_somebody_moves() {
    model(36, || {
        let (ring, mut writer, [mut ahead, mut behind]) = full([1, 0]);
        let before = try_publish(&ring, &mut writer).unwrap_err();
        assert_eq!(before, Full { who: Who::Slot(1), behind: 48, wanted: 8 });
        let moving = thread::spawn(move || {
            // It is not the one that is waited for.
            assert!(ahead.consume());
            ahead
        });
        for _ in 0..2 {
            assert_eq!(try_publish(&ring, &mut writer), Err(before));
            check(&ring, &writer, before);
        }
        let mut ahead = moving.join().unwrap();
        assert!(behind.consume());
        try_publish(&ring, &mut writer).unwrap();
        let after = try_publish(&ring, &mut writer).unwrap_err();
        assert_eq!(after, Full { who: Who::Slot(1), behind: 48, wanted: 24 });
        ahead.drain(4);
        behind.drain(4);
    });
}

/// The producer has asked with success and not published yet; somebody joins as far back as it can.
#[test]
fn who_joins_takes_nothing_that_was_granted() {
    model_within(2, 15_000, || {
        let (ring, mut writer, [subscriber]) = full([3]);
        subscriber.leave();
        let joining = {
            let ring = ring.clone();
            thread::spawn(move || Subscriber::join(&ring, 0, Start::Oldest))
        };
        for _ in 0..2 {
            let end = writer.tail() + RECORD;
            if writer.extend(&ring.shared(), end).is_ok() {
                try_publish(&ring, &mut writer).expect("what was granted stays granted");
            }
        }
        joining.join().unwrap().drain(writer.sequence());
    });
}
