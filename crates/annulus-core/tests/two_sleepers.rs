//! Two subscribers asleep at one doorbell.
//!
//! Shows: each of the two is woken by each record, whenever each declares itself: before the waker takes the
//! declarations, between that and the moving of the bell, between that and the wake, and after it. Two declarations
//! share a bit. Cannot show: more than two; a third meets what the second does.

mod common;
#[path = "common/sleeping.rs"]
mod sleeping;

use annulus_core::doorbell::{Heavy, Light};
use common::{Arc, Futex, PinBits, Ring, model_within, thread};
use sleeping::{join, open, recv, send};

fn both(records: u64, light: Light, heavy: Heavy) {
    let ring = Arc::new(Ring::of(64, 2));
    let park = Arc::new(Futex::default());
    let mut writer = open(&ring);
    let readers = [0, 1].map(|slot| {
        let (ring, park, reader) = (ring.clone(), park.clone(), join(&ring, slot));
        thread::spawn(move || {
            let pins = PinBits::new(&ring.shape);
            for _ in 0..records {
                assert_eq!(recv(&ring, (&reader, slot), &pins, &*park, heavy), None);
            }
        })
    });
    for _ in 0..records {
        send(&ring, &mut writer, &*park, light);
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn one_record_wakes_both() {
    model_within(3, 2000, || both(1, Light::Full, Heavy::Full));
}

#[test]
fn each_record_wakes_both() {
    model_within(2, 1300, || both(2, Light::Full, Heavy::Full));
}

#[test]
fn one_record_wakes_both_over_the_asymmetric_fence() {
    model_within(3, 2600, || both(1, Light::Compiler, Heavy::Barrier));
}
