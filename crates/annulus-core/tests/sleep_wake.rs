//! Sleep against wake, in both directions.
//!
//! Shows: a reader that goes to sleep while a record or a batch is published, and a producer that goes to sleep
//! while room is made, are woken; deadlines never save them here. Both halves of the asymmetric fence are full
//! fences in the model; `settle.rs` is about one that is none. Cannot show: that membarrier(2) is one.

mod common;
#[path = "common/sleeping.rs"]
mod sleeping;

use annulus_core::doorbell::{Heavy, Light, when_empty};
use common::{Arc, Futex, PinBits, Ring, model, model_within, thread};
use sleeping::{join, open, recv, ring_bell, send};

fn sleepers(filled: u64, records: u64, light: Light, heavy: Heavy) {
    let ring = Arc::new(Ring::new(1));
    let park = Arc::new(Futex::default());
    let mut writer = open(&ring);
    let reader = join(&ring, 0);
    for _ in 0..filled {
        writer.publish(&ring.shared(), &[]).unwrap();
    }
    let producer = {
        let (ring, park) = (ring.clone(), park.clone());
        thread::spawn(move || {
            for _ in 0..records {
                send(&ring, &mut writer, &*park, light);
            }
        })
    };
    let pins = PinBits::new(&ring.shape);
    for _ in 0..filled + records {
        assert_eq!(recv(&ring, (&reader, 0), &pins, &*park, heavy), None);
    }
    // A producer that still waits when its reader stops reading: the reader looks once more, as it does
    // whenever it finds the ring empty.
    when_empty(ring.shared().ctl, &*park);
    producer.join().unwrap();
}

#[test]
fn a_sleeping_reader_is_woken_by_each_record() {
    model(540, || sleepers(0, 2, Light::Full, Heavy::Full));
}

#[test]
fn a_sleeping_reader_is_woken_over_the_asymmetric_fence() {
    model(540, || sleepers(0, 2, Light::Compiler, Heavy::Barrier));
}

/// Empty records in the smallest ring: the fourth waits for the first. The reader goes to sleep too.
#[test]
fn a_blocked_producer_is_woken_by_a_release() {
    model(11_000, || sleepers(3, 1, Light::Full, Heavy::Full));
}

#[test]
fn a_blocked_producer_is_woken_over_the_asymmetric_fence() {
    model_within(2, 1400, || sleepers(3, 1, Light::Compiler, Heavy::Barrier));
}

/// One look at the sleepers for all records of a batch.
fn batches(light: Light, heavy: Heavy) {
    let ring = Arc::new(Ring::new(1));
    let park = Arc::new(Futex::default());
    let mut writer = open(&ring);
    let reader = join(&ring, 0);
    let producer = {
        let (ring, park) = (ring.clone(), park.clone());
        thread::spawn(move || {
            for records in [2, 1] {
                let shared = ring.shared();
                let mut batch = writer.batch();
                for _ in 0..records {
                    writer.stage(&mut batch, &shared, &[]).unwrap();
                }
                assert_eq!(writer.flush(batch, &shared), records);
                ring_bell(&ring, &*park, light);
            }
        })
    };
    let pins = PinBits::new(&ring.shape);
    for _ in 0..3 {
        assert_eq!(recv(&ring, (&reader, 0), &pins, &*park, heavy), None);
    }
    producer.join().unwrap();
}

#[test]
fn a_sleeping_reader_is_woken_by_each_batch() {
    model(1000, || batches(Light::Full, Heavy::Full));
}

#[test]
fn a_sleeping_reader_is_woken_by_each_batch_over_the_asymmetric_fence() {
    model(1000, || batches(Light::Compiler, Heavy::Barrier));
}
