//! Waits that return for no reason, as futex(2) allows: a signal, or a stranger's wake of the same word.
//!
//! Shows: they cost a look, in both directions, and no wake that was meant for the sleeper goes astray with them.
//! Cannot show: what a handler of the signal does.

mod common;
#[path = "common/sleeping.rs"]
mod sleeping;

use annulus_core::doorbell::{Heavy, Light, Park, when_empty};
use common::{Arc, Futex, PinBits, Ring, model_within, thread};
use sleeping::{join, open, recv, send};

/// A producer, a reader, and a fellow who wakes both for nothing.
fn signalled(filled: u64, records: u64) {
    let ring = Arc::new(Ring::new(1));
    let park = Arc::new(Futex::default());
    let mut writer = open(&ring);
    let reader = join(&ring, 0);
    for _ in 0..filled {
        writer.publish(&ring.shared(), &[]).unwrap();
    }
    let signal = {
        let (ring, park) = (ring.clone(), park.clone());
        thread::spawn(move || {
            let ctl = ring.shared().ctl;
            park.wake(ctl.rings.futex(), 1, u32::MAX);
            park.wake(ctl.room.futex(), 1, u32::MAX);
        })
    };
    let producer = {
        let (ring, park) = (ring.clone(), park.clone());
        thread::spawn(move || {
            for _ in 0..records {
                send(&ring, &mut writer, &*park, Light::Full);
            }
        })
    };
    let pins = PinBits::new(&ring.shape);
    for _ in 0..filled.max(records) {
        assert_eq!(recv(&ring, (&reader, 0), &pins, &*park, Heavy::Full), None);
    }
    when_empty(ring.shared().ctl, &*park);
    producer.join().unwrap();
    signal.join().unwrap();
}

#[test]
fn a_reader_that_is_woken_for_nothing_is_woken_for_its_record_too() {
    model_within(2, 3400, || signalled(0, 2));
}

#[test]
fn a_producer_that_is_woken_for_nothing_is_woken_for_its_room_too() {
    model_within(2, 5200, || signalled(3, 1));
}
