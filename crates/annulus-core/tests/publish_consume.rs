//! Publish and consume over wraps, with one in-place subscriber and with two.
//!
//! Shows: every record is seen once, in order, with its own payload, by each subscriber; the producer never writes
//! payload that one of them may still be reading, be it the slower one or one that is about to leave; the end is seen
//! only after the last record. Cannot show: anything about real processors' store buffers beyond what C++20 allows, or
//! about memory that others scribble on; that of three who wait for each other each gets its turn, since loom's turns
//! are not fair: two subscribers look so many times while the producer runs, and read the rest afterwards.

mod common;

use annulus_core::history::Start;
use annulus_core::layout::RingState;
use annulus_core::reader::{End, Look};
use annulus_core::writer::{Refusal, Writer};
use common::subscriber::{Subscriber, value};
use common::{Arc, Ring, model, relax, thread};

/// Publishes a record. Whether there was room.
fn try_publish(ring: &Ring, writer: &mut Writer) -> bool {
    match writer.publish(&ring.shared(), &value(writer.sequence())) {
        Ok(()) => true,
        Err(Refusal::Full(_)) => false,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

/// Publishes until the next record would have this sequence.
fn publish_to(ring: &Ring, writer: &mut Writer, end: u64) {
    while writer.sequence() < end {
        if !try_publish(ring, writer) {
            relax();
        }
    }
}

fn consume_to(subscriber: &mut Subscriber, end: u64) {
    while subscriber.next < end {
        if !subscriber.consume() {
            relax();
        }
    }
}

/// A ring, its producer and subscribers from the first record on.
fn ring<const N: usize>(capacity: u64) -> (Arc<Ring>, Writer, [Subscriber; N]) {
    let ring = Arc::new(Ring::of(capacity, N));
    let writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    ring.shared().producer.state.set(RingState::Open.to_word());
    let subscribers = std::array::from_fn(|slot| Subscriber::join(&ring, slot, Start::Newest));
    (ring, writer, subscribers)
}

/// Both sides move at once until so many records are through.
fn stream(ring: &Arc<Ring>, mut writer: Writer, mut subscriber: Subscriber, end: u64) {
    let producer = {
        let ring = ring.clone();
        thread::spawn(move || publish_to(&ring, &mut writer, end))
    };
    consume_to(&mut subscriber, end);
    producer.join().unwrap();
    assert!(!subscriber.consume());
}

#[test]
fn every_record_once_in_order_over_two_laps() {
    model(1200, || {
        let (ring, writer, [subscriber]) = ring(32);
        stream(&ring, writer, subscriber, 4);
    });
}

/// One look at the cursor allows several records, and no fence lies between that look and the last of them, which is
/// written where the first was read: the look itself has to wait for that reading.
#[test]
fn one_asking_covers_several_records() {
    model(1800, || {
        let (ring, mut writer, [mut subscriber]) = ring(64);
        // The third is asked for, and if the first was given back by then, the fourth is not.
        let payloads = [[1; 16].as_slice(), &[2; 8], &[3; 8], &[4; 16]];
        let shared = ring.shared();
        for payload in &payloads[..2] {
            writer.publish(&shared, payload).unwrap();
        }
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || {
                for payload in &payloads[2..] {
                    while writer.publish(&ring.shared(), payload).is_err() {
                        relax();
                    }
                }
            })
        };
        for payload in payloads {
            let seen = loop {
                match subscriber.next() {
                    Some(seen) => break seen,
                    None => relax(),
                }
            };
            assert_eq!(seen, payload);
        }
        producer.join().unwrap();
        assert_eq!(subscriber.look(), None);
    });
}

/// The producer goes on only behind the slower of the two, whichever that is.
#[test]
fn two_subscribers_see_every_record() {
    model(1500, || {
        let (ring, mut writer, subscribers) = ring::<2>(32);
        publish_to(&ring, &mut writer, 1);
        let threads = subscribers.map(|mut subscriber| {
            thread::spawn(move || {
                subscriber.consume();
                subscriber.consume();
                subscriber
            })
        });
        for _ in 0..3 {
            try_publish(&ring, &mut writer);
        }
        let mut subscribers = threads.map(|thread| thread.join().unwrap());
        // And on, over another lap: each holds the producer back, and neither for longer than it should.
        for _ in 0..3 {
            for subscriber in &mut subscribers {
                subscriber.drain(writer.sequence());
            }
            while try_publish(&ring, &mut writer) {}
            assert!(subscribers[0].consume());
            assert!(!try_publish(&ring, &mut writer), "the other has not read it");
            assert!(subscribers[1].consume());
            assert!(try_publish(&ring, &mut writer), "both have read it");
        }
    });
}

/// One of two reads a record in place and leaves; the other is ahead of it. Its reads are over before the producer
/// writes there, and afterwards nobody waits for it.
#[test]
fn one_of_two_subscribers_leaves() {
    model(180, || {
        let (ring, mut writer, [mut staying, mut leaving]) = ring(32);
        publish_to(&ring, &mut writer, 1);
        assert!(staying.consume());
        let leaving = thread::spawn(move || {
            let held = leaving.look().unwrap();
            assert_eq!(leaving.read(held), value(0));
            leaving.leave();
        });
        let staying = thread::spawn(move || {
            staying.consume();
            staying
        });
        for _ in 0..3 {
            try_publish(&ring, &mut writer);
        }
        leaving.join().unwrap();
        let mut staying = staying.join().unwrap();
        staying.drain(writer.sequence());
        for _ in 0..3 {
            assert!(try_publish(&ring, &mut writer), "nobody is in the way");
            assert!(staying.consume());
        }
    });
}

#[test]
fn a_batch_is_visible_at_once() {
    model(9, || {
        let (ring, mut writer, [mut subscriber]) = ring(32);
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
        while subscriber.next < 3 {
            match subscriber.look() {
                Some(held) => drop(subscriber.release(held)),
                // Nothing before the first, and no gap after it.
                None => {
                    assert_eq!(subscriber.next, 0);
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
        let (ring, mut writer, [mut subscriber]) = ring(32);
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || {
                publish_to(&ring, &mut writer, 1);
                writer.close(&ring.shared());
            })
        };
        loop {
            if subscriber.consume() {
                continue;
            }
            if let Some(end) = subscriber.reader.ended(&ring.shared()) {
                assert_eq!(end, End::Closed);
                break;
            }
            relax();
        }
        assert_eq!((subscriber.next, subscriber.reader.look(&ring.shared())), (1, Look::Empty));
        producer.join().unwrap();
    });
}
