//! Publish and consume over wraps, with one in-place subscriber.
//!
//! Shows: every record is seen once, in order, with its own payload; the producer never writes payload that
//! the subscriber may still be reading; the end is seen only after the last record. Cannot show: anything
//! about real processors' store buffers beyond what C++20 allows, or about memory that others scribble on.

mod common;

use annulus_core::history::Start;
use annulus_core::layout::RingState;
use annulus_core::reader::{End, Look, PAYLOAD_OFFSET, Reader};
use annulus_core::writer::{Refusal, Writer};
use common::{Arc, PinBits, Ring, model, relax, thread};

fn publish(ring: &Ring, writer: &mut Writer, value: u64) {
    while let Err(refusal) = writer.publish(&ring.shared(), &value.to_le_bytes()) {
        assert!(matches!(refusal, Refusal::Full(_)));
        relax();
    }
}

/// Takes the next record and gives it back, or says that there is none yet.
fn consume(ring: &Ring, reader: &Reader, pins: &PinBits) -> Option<u64> {
    let shared = ring.shared();
    match reader.look(&shared) {
        Look::Record(held) => {
            assert_eq!(held.len, 8);
            let mut bytes = [0; 8];
            shared.records.read(held.position + PAYLOAD_OFFSET, &mut bytes);
            reader.release(&shared, &shared.slots[0], pins.pins(), held).unwrap();
            Some(u64::from_le_bytes(bytes))
        }
        Look::Empty => None,
        Look::Lost => panic!("a subscriber lost its place"),
    }
}

#[test]
fn every_record_once_in_order_over_two_laps() {
    model(1200, || stream(32, 4));
}

/// One look at the cursor allows several records, without a fence between them.
#[test]
fn one_asking_covers_several_records() {
    model(490_000, || stream(64, 6));
}

fn stream(capacity: u64, records: u64) {
    let ring = Arc::new(Ring::of(capacity, 1));
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let reader = Reader::join(ring.shape, &ring.shared(), &ring.shared().slots[0], Start::Newest).unwrap();
    let producer = {
        let ring = ring.clone();
        thread::spawn(move || {
            for i in 0..records {
                publish(&ring, &mut writer, 100 + i);
            }
        })
    };
    let pins = PinBits::new(&ring.shape);
    let mut seen = 0;
    while seen < records {
        match consume(&ring, &reader, &pins) {
            Some(value) => {
                assert_eq!(value, 100 + seen);
                seen += 1;
            }
            None => relax(),
        }
    }
    producer.join().unwrap();
    assert_eq!(consume(&ring, &reader, &pins), None);
}

#[test]
fn a_batch_is_visible_at_once() {
    model(9, || {
        let ring = Arc::new(Ring::new(1));
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        let reader =
            Reader::join(ring.shape, &ring.shared(), &ring.shared().slots[0], Start::Newest).unwrap();
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || {
                let shared = ring.shared();
                let mut batch = writer.batch();
                for _ in 0..3 {
                    writer.stage(&mut batch, &shared, &[]).unwrap();
                }
                assert_eq!(writer.flush(batch, &shared), 3);
            })
        };
        let shared = ring.shared();
        let pins = PinBits::new(&ring.shape);
        let mut seen = 0;
        while seen < 3 {
            match reader.look(&shared) {
                Look::Record(held) => {
                    seen += 1;
                    reader.release(&shared, &shared.slots[0], pins.pins(), held);
                }
                // Nothing before the first, and no gap after it.
                look => {
                    assert_eq!((look, seen), (Look::Empty, 0));
                    relax();
                }
            }
        }
        producer.join().unwrap();
    });
}

#[test]
fn the_end_comes_after_the_last_record() {
    model(35, || {
        let ring = Arc::new(Ring::new(1));
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        ring.shared().producer.state.set(RingState::Open.to_word());
        let reader =
            Reader::join(ring.shape, &ring.shared(), &ring.shared().slots[0], Start::Newest).unwrap();
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || {
                publish(&ring, &mut writer, 7);
                writer.close(&ring.shared());
            })
        };
        let pins = PinBits::new(&ring.shape);
        let mut seen = 0;
        loop {
            if consume(&ring, &reader, &pins).is_some() {
                seen += 1;
            } else if let Some(end) = reader.ended(&ring.shared()) {
                assert_eq!(end, End::Closed);
                break;
            } else {
                relax();
            }
        }
        assert_eq!(seen, 1);
        producer.join().unwrap();
    });
}
