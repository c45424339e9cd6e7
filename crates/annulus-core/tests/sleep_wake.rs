//! Sleep against wake, in both directions.
//!
//! Shows: a reader that goes to sleep while a record is published, and a producer that goes to sleep while
//! room is made, are woken; deadlines never save them here. Both halves of the asymmetric fence are full
//! fences in the model. Cannot show: that membarrier(2) is one.

mod common;

use annulus_core::doorbell::{
    Heavy, Light, Slept, after_release, sleep_as_reader, sleep_for_room, someone_sleeps, wake_readers,
    when_empty,
};
use annulus_core::history::Start;
use annulus_core::reader::{Look, Reader};
use annulus_core::writer::{Refusal, Writer};
use common::{Arc, Futex, PinBits, Ring, model, thread};

fn publish_and_wake(ring: &Ring, writer: &mut Writer, park: &Futex, light: Light) {
    let shared = ring.shared();
    loop {
        match writer.publish(&shared, &[]) {
            Ok(()) => break,
            Err(Refusal::Full(full)) => {
                let end = writer.tail() + ring.shape.need(0);
                sleep_for_room(shared.ctl, full.wanted, park, [None, None], || {
                    writer.extend(&shared, end).is_ok()
                });
            }
            Err(Refusal::TooLarge | Refusal::NeedsStamp) => unreachable!(),
        }
    }
    if someone_sleeps(shared.ctl, light) {
        wake_readers(shared.ctl, park);
    }
}

fn consume_asleep(ring: &Ring, reader: &Reader, pins: &PinBits, park: &Futex, heavy: Heavy) {
    let shared = ring.shared();
    loop {
        match reader.look(&shared) {
            Look::Record(held) => {
                let (before, after) = reader.release(&shared, &shared.slots[0], pins.pins(), held).unwrap();
                after_release(shared.ctl, before, after, park);
                return;
            }
            Look::Empty => {
                when_empty(shared.ctl, park);
                let slept = sleep_as_reader(shared.ctl, heavy, park, None, || reader.is_ready(&shared));
                assert_ne!(slept, Slept::Forbidden);
            }
            Look::Lost => panic!("lost"),
        }
    }
}

fn sleepers(records: u64, light: Light, heavy: Heavy) {
    let ring = Arc::new(Ring::new(1));
    let park = Arc::new(Futex::default());
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let reader = Reader::join(ring.shape, &ring.shared(), &ring.shared().slots[0], Start::Newest).unwrap();
    let producer = {
        let (ring, park) = (ring.clone(), park.clone());
        thread::spawn(move || {
            for _ in 0..records {
                publish_and_wake(&ring, &mut writer, &park, light);
            }
        })
    };
    let pins = PinBits::new(&ring.shape);
    for _ in 0..records {
        consume_asleep(&ring, &reader, &pins, &park, heavy);
    }
    // A producer that still waits when its reader stops reading: the reader looks once more, as it does
    // whenever it finds the ring empty.
    when_empty(ring.shared().ctl, &*park);
    producer.join().unwrap();
}

#[test]
fn a_sleeping_reader_is_woken_by_each_record() {
    model(680, || sleepers(2, Light::Full, Heavy::Full));
}

#[test]
fn a_sleeping_reader_is_woken_over_the_asymmetric_fence() {
    model(680, || sleepers(2, Light::Compiler, Heavy::Barrier));
}

/// Empty records in the smallest ring: the fourth waits for the first. The reader goes to sleep too.
#[test]
fn a_blocked_producer_is_woken_by_a_release() {
    model(6200, || {
        let ring = Arc::new(Ring::new(1));
        let park = Arc::new(Futex::default());
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        let reader =
            Reader::join(ring.shape, &ring.shared(), &ring.shared().slots[0], Start::Newest).unwrap();
        for _ in 0..3 {
            writer.publish(&ring.shared(), &[]).unwrap();
        }
        let producer = {
            let (ring, park) = (ring.clone(), park.clone());
            thread::spawn(move || publish_and_wake(&ring, &mut writer, &park, Light::Full))
        };
        let pins = PinBits::new(&ring.shape);
        for _ in 0..4 {
            consume_asleep(&ring, &reader, &pins, &park, Heavy::Full);
        }
        producer.join().unwrap();
    });
}
