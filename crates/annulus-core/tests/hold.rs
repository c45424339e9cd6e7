//! Records that an in-place subscriber holds and gives back in any order, against a producer that is full.
//!
//! Shows: the cursor moves past the oldest record that is held and no further, past all at once that were given back
//! before their turn, also over the end of the ring; no record is written over while it is held; once all were given
//! back the producer has room again. Cannot show: more records at once than a ring of eight words holds; what a held
//! record costs the producer that waits.

mod common;

use annulus_core::history::Start;
use annulus_core::reader::Held;
use annulus_core::writer::Writer;
use common::subscriber::{Subscriber, value};
use common::{Arc, Ring, model, thread};

/// Bytes of one of these records, header included.
const RECORD: u64 = 16;

/// A ring that is full, and a subscriber that holds all three records of it. The second and third lie on either side
/// of the ring's end.
fn full() -> (Arc<Ring>, Writer, Subscriber, [Held; 3]) {
    let ring = Arc::new(Ring::of(64, 1));
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let mut subscriber = Subscriber::join(&ring, 0, Start::Newest);
    for _ in 0..2 {
        assert!(try_publish(&ring, &mut writer));
        assert!(subscriber.consume());
    }
    for _ in 0..3 {
        assert!(try_publish(&ring, &mut writer));
    }
    assert!(!try_publish(&ring, &mut writer));
    let held = std::array::from_fn(|_| subscriber.look().unwrap());
    (ring, writer, subscriber, held)
}

fn try_publish(ring: &Ring, writer: &mut Writer) -> bool {
    writer.publish(&ring.shared(), &value(writer.sequence())).is_ok()
}

/// Reads and gives back three records in an order, beside a producer that takes all the room that it gets.
fn given_back(order: [usize; 3]) {
    let (ring, mut writer, subscriber, held) = full();
    let reading = thread::spawn(move || {
        let mut free = [false; 3];
        for i in order {
            assert_eq!(subscriber.read(held[i]), value(held[i].sequence));
            let before = free.iter().take_while(|free| **free).count() as u64;
            free[i] = true;
            let after = free.iter().take_while(|free| **free).count() as u64;
            let step = [before, after].map(|records| held[0].position + records * RECORD);
            assert_eq!(subscriber.release(held[i]), (before < after).then_some(step.into()));
        }
        subscriber
    });
    for _ in 0..3 {
        try_publish(&ring, &mut writer);
    }
    let mut subscriber = reading.join().unwrap();
    assert_eq!(subscriber.reader.held_bytes(), 0);
    while try_publish(&ring, &mut writer) {}
    assert_eq!(writer.sequence(), 8, "what was given back is room");
    subscriber.drain(8);
}

#[test]
fn the_oldest_is_given_back_first() {
    model(290, || given_back([0, 1, 2]));
    model(90, || given_back([0, 2, 1]));
}

#[test]
fn the_oldest_is_given_back_second() {
    model(76, || given_back([1, 0, 2]));
    model(90, || given_back([2, 0, 1]));
}

#[test]
fn the_oldest_is_given_back_last() {
    model(21, || given_back([1, 2, 0]));
    model(21, || given_back([2, 1, 0]));
}

/// One record stays while those behind it come and go.
#[test]
fn one_record_is_held_while_others_pass() {
    model(140, || {
        let (ring, mut writer, mut subscriber, [first, second, third]) = full();
        let reading = thread::spawn(move || {
            subscriber.release(first).unwrap();
            assert_eq!(subscriber.release(third), None);
            // Behind it, if it has come yet.
            if let Some(fourth) = subscriber.look() {
                assert_eq!(subscriber.read(fourth), value(5));
                assert_eq!(subscriber.release(fourth), None);
            }
            assert_eq!(subscriber.read(second), value(3));
            let (_, cursor) = subscriber.release(second).unwrap();
            assert_eq!(cursor, subscriber.reader.position(), "nothing else is held");
            subscriber
        });
        for _ in 0..3 {
            try_publish(&ring, &mut writer);
        }
        let mut subscriber = reading.join().unwrap();
        while try_publish(&ring, &mut writer) {}
        subscriber.drain(writer.sequence());
        assert!(writer.sequence() >= 8);
    });
}
