//! The producer asks for room while subscribers join: lease and licence.
//!
//! Shows: once a join has returned, at the tail or at an older record, nothing from there on is missed or overwritten
//! while the subscriber may read it; a slot may change hands. Cannot show: a joiner that is stopped for longer than
//! the bounded number of its tries.

mod common;

use annulus_core::history::Start;
use annulus_core::reader::{JoinFailed, Look, PAYLOAD_OFFSET, Passed, Reader};
use annulus_core::writer::Writer;
use common::subscriber::{self, Subscriber};
use common::{Arc, PinBits, Ring, model, model_within, relax, thread};

/// Payload of the record with a sequence: never 0 and never a header.
fn value(sequence: u64) -> u64 {
    1000 + sequence
}

fn join_while_publishing(start: u64, records: u64) {
    let ring = Arc::new(Ring::new(1));
    let mut writer = Writer::create(ring.shape, &ring.shared(), start, start, 0);
    // One lap without readers, so that the place of a joiner holds leftovers and the licence is ahead.
    writer.publish(&ring.shared(), &value(start).to_le_bytes()).unwrap();
    let end = start + records;
    let reader = {
        let ring = ring.clone();
        thread::spawn(move || {
            let shared = ring.shared();
            let slot = &shared.slots[0];
            let reader = Reader::join(ring.shape, &shared, slot, Start::Newest).unwrap();
            let pins = PinBits::new(&ring.shape);
            while reader.sequence() < end {
                let sequence = reader.sequence();
                match reader.look(&shared) {
                    Look::Record(held) => {
                        let mut bytes = [0; 8];
                        shared.records.read(held.position + PAYLOAD_OFFSET, &mut bytes);
                        assert_eq!(u64::from_le_bytes(bytes), value(sequence));
                        reader.release(&shared, slot, pins.pins(), held).unwrap();
                    }
                    Look::Empty => relax(),
                    Look::Lost => panic!("a subscriber that had joined lost its place"),
                }
            }
            slot.vacate();
        })
    };
    for i in 1..records {
        while writer.publish(&ring.shared(), &value(start + i).to_le_bytes()).is_err() {
            relax();
        }
    }
    reader.join().unwrap();
}

#[test]
fn a_joiner_misses_nothing_after_it_has_joined() {
    model(92_000, || join_while_publishing(0, 4));
}

#[test]
fn positions_and_sequences_near_the_32_bit_wrap() {
    model(10_000, || join_while_publishing((1 << 32) - 32, 3));
}

/// A subscriber that joins at an older place while the producer asks for that room. Two of four records are there.
fn join_late(begin: u64, start: fn(u64) -> Start) {
    let ring = Arc::new(Ring::of(64, 1));
    let mut writer = Writer::create(ring.shape, &ring.shared(), begin, begin, 0);
    let mut publish = move |ring: &Ring| {
        while writer.publish(&ring.shared(), &value(writer.sequence()).to_le_bytes()).is_err() {
            relax();
        }
    };
    publish(&ring);
    publish(&ring);
    let end = begin + 4;
    let start = start(begin);
    let producer = {
        let ring = ring.clone();
        thread::spawn(move || {
            publish(&ring);
            publish(&ring);
        })
    };
    let shared = ring.shared();
    let slot = &shared.slots[0];
    // A boundary two records on is the last resort.
    let reader = match Reader::join(ring.shape, &shared, slot, start) {
        Err(JoinFailed::Gone { oldest }) => {
            // The last two fit in any case.
            assert!(matches!(start, Start::Sequence(n) if n < oldest && n < begin + 2));
            slot.vacate();
            producer.join().unwrap();
            return;
        }
        joined => joined.unwrap(),
    };
    match start {
        Start::Sequence(n) => assert!(reader.sequence() <= n),
        Start::Last(n) => assert!(reader.sequence() >= begin + 2 - n),
        _ => {}
    }
    let pins = PinBits::new(&ring.shape);
    let mut next = None;
    while reader.sequence() < end {
        match reader.look(&shared) {
            Look::Record(held) => {
                assert_eq!(held.sequence, next.unwrap_or(held.sequence));
                assert!(next.is_some() || !matches!(start, Start::Sequence(n) if n != held.sequence));
                next = Some(held.sequence + 1);
                let mut bytes = [0; 8];
                shared.records.read(held.position + PAYLOAD_OFFSET, &mut bytes);
                assert_eq!(u64::from_le_bytes(bytes), value(held.sequence));
                reader.release(&shared, slot, pins.pins(), held).unwrap();
            }
            Look::Empty => relax(),
            // Those before the first that is wanted are not all there yet.
            Look::Lost => assert_ne!(reader.pass_over(&shared, slot), Passed::Lost),
        }
    }
    producer.join().unwrap();
}

#[test]
fn joins_at_the_oldest_record() {
    model_within(2, 2800, || join_late(0, |_| Start::Oldest));
}

#[test]
fn joins_at_the_last_record() {
    model_within(2, 2800, || join_late(0, |_| Start::Last(1)));
}

#[test]
fn joins_at_a_sequence() {
    model_within(2, 2400, || join_late(0, |first| Start::Sequence(first + 1)));
}

#[test]
fn joins_at_a_sequence_to_come() {
    model_within(2, 690, || join_late(0, |first| Start::Sequence(first + 3)));
}

#[test]
fn joins_late_near_the_32_bit_wrap() {
    model_within(1, 360, || join_late((1 << 32) - 64, |_| Start::Oldest));
    model_within(1, 150, || join_late((1 << 32) - 64, |first| Start::Sequence(first + 3)));
}

/// One subscriber reads in place and leaves; the next takes its slot, as behind the slot's lock, and joins further on.
/// The producer may see no cursor but the second's, and waits for the reads of the first all the same. Records of so many
/// words are published before, and while that happens.
fn slot_changes_hands(before: &[usize], after: &[usize]) {
    let ring = Arc::new(Ring::of(64, 1));
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let shared = ring.shared();
    writer.publish(&shared, &value(0).to_le_bytes()).unwrap();
    let first = Reader::join(ring.shape, &shared, &shared.slots[0], Start::Oldest).unwrap();
    let payload = |writer: &Writer, words| value(writer.sequence()).to_le_bytes().repeat(words);
    for &words in before {
        let payload = payload(&writer, words);
        writer.publish(&shared, &payload).unwrap();
    }
    let end = 1 + (before.len() + after.len()) as u64;
    let second = {
        let ring = ring.clone();
        thread::spawn(move || {
            let shared = ring.shared();
            let slot = &shared.slots[0];
            let Look::Record(held) = first.look(&shared) else { panic!("a record is there") };
            let mut bytes = [0; 8];
            shared.records.read(held.position + PAYLOAD_OFFSET, &mut bytes);
            assert_eq!(u64::from_le_bytes(bytes), value(0));
            slot.vacate();
            let ring = ring.clone();
            thread::spawn(move || {
                let shared = ring.shared();
                let reader = Reader::join(ring.shape, &shared, &shared.slots[0], Start::Newest).unwrap();
                let pins = PinBits::new(&ring.shape);
                while reader.sequence() < end {
                    match reader.look(&shared) {
                        Look::Record(held) => {
                            reader.release(&shared, &shared.slots[0], pins.pins(), held).unwrap();
                        }
                        Look::Empty => relax(),
                        Look::Lost => panic!("a subscriber that had joined lost its place"),
                    }
                }
            })
        })
    };
    for &words in after {
        let payload = payload(&writer, words);
        while writer.publish(&shared, &payload).is_err() {
            relax();
        }
    }
    second.join().unwrap().join().unwrap();
}

#[test]
fn a_slot_changes_hands() {
    model(21_000, || slot_changes_hands(&[1, 1], &[1, 1]));
}

/// The producer's one look finds the second's cursor, behind its fence, and allows both records: the second is written
/// over what the first read, without a fence in between.
#[test]
fn a_slot_changes_hands_while_the_producer_asks_once() {
    model_within(2, 18_000, || slot_changes_hands(&[1], &[2, 2]));
}

/// Two join at once while the producer asks for the room that they look at. loom's turns are not fair to three who wait
/// for each other, so the producer tries so many times, and what is there is read afterwards.
#[test]
fn two_joiners() {
    model_within(1, 9800, || {
        let ring = Arc::new(Ring::new(2));
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        let publish = |writer: &mut Writer| {
            writer.publish(&ring.shared(), &subscriber::value(writer.sequence())).is_ok()
        };
        assert!(publish(&mut writer));
        let joiners = [0, 1].map(|slot| {
            let ring = ring.clone();
            thread::spawn(move || Subscriber::join(&ring, slot, Start::Newest))
        });
        for _ in 0..2 {
            publish(&mut writer);
        }
        let mut joiners = joiners.map(|joiner| joiner.join().unwrap());
        for joiner in &mut joiners {
            joiner.drain(writer.sequence());
        }
        // And on: the producer waits for each of them.
        for _ in 0..2 {
            while publish(&mut writer) {}
            for joiner in &mut joiners {
                assert!(!publish(&mut writer), "one has not read what is in the way");
                joiner.drain(writer.sequence());
            }
        }
    });
}

/// So many records pass between two looks of the joiner that a header's 32 bits do not tell them apart, as empty ones can
/// in a ring of many gigabytes: the word that counts them moves on at once here, and the licence stays. It looks again.
#[test]
fn more_records_pass_than_headers_tell_apart() {
    model(11, || {
        let ring = Arc::new(Ring::new(1));
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        writer.publish(&ring.shared(), &[]).unwrap();
        let joining = {
            let ring = ring.clone();
            thread::spawn(move || {
                let shared = ring.shared();
                let reader = Reader::join(ring.shape, &shared, &shared.slots[0], Start::Newest).unwrap();
                assert_eq!(reader.position(), 8);
                assert!([1, 1 << 31].contains(&reader.sequence()), "{}", reader.sequence());
            })
        };
        ring.shared().producer.published.publish(1 << 31);
        joining.join().unwrap();
    });
}
