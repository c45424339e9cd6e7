//! Close against sleep, and leaving against the sleep for room.
//!
//! Shows: a reader that goes to sleep while the producer ends, with or without a last record, is told of the end, and
//! of the record before it; two readers are; the state of a ring that is opened again comes after its producer's number. A producer that goes to sleep for room while the subscriber in its way
//! leaves, or is reaped, is woken, also where two are in its way. Cannot show: an end that nobody says, which is a lock's.

mod common;
#[path = "common/sleeping.rs"]
mod sleeping;

use annulus_core::doorbell::{Heavy, Light, end, leave, succeed, when_empty};
use annulus_core::layout::RingState;
use annulus_core::reader::End;
use annulus_core::writer::Writer;
use common::{Arc, Futex, PinBits, Ring, model, model_within, thread};
use sleeping::{FIRST, join, open, publish, recv, send};

/// Readers that wait for the end of a ring of so many records.
fn closed(readers: usize, records: u64, light: Light, heavy: Heavy) {
    let ring = Arc::new(Ring::new(readers));
    let park = Arc::new(Futex::default());
    let mut writer = open(&ring);
    let asleep: Vec<_> = (0..readers)
        .map(|slot| {
            let (ring, park, reader) = (ring.clone(), park.clone(), join(&ring, slot));
            thread::spawn(move || {
                let pins = PinBits::new(&ring.shape);
                let mut seen = 0;
                let said = loop {
                    match recv(&ring, (&reader, slot), &pins, &*park, heavy) {
                        None => seen += 1,
                        Some(end) => break end,
                    }
                };
                assert_eq!((said, seen), (End::Closed, records));
            })
        })
        .collect();
    for _ in 0..records {
        send(&ring, &mut writer, &*park, light);
    }
    end(&mut writer, &ring.shared(), &*park);
    for reader in asleep {
        reader.join().unwrap();
    }
}

#[test]
fn a_sleeping_reader_is_woken_by_the_end() {
    model(140, || closed(1, 0, Light::Full, Heavy::Full));
}

#[test]
fn a_sleeping_reader_has_the_last_record_before_the_end() {
    model(850, || closed(1, 1, Light::Full, Heavy::Full));
}

#[test]
fn a_sleeping_reader_has_the_last_record_before_the_end_over_the_asymmetric_fence() {
    model(850, || closed(1, 1, Light::Compiler, Heavy::Barrier));
}

#[test]
fn two_sleeping_readers_are_woken_by_the_end() {
    model_within(2, 1500, || closed(2, 0, Light::Full, Heavy::Full));
}

/// A reader that stays when the ring has closed, and asks the kernel whether its producer lives, must not ask for the one
/// that has closed it.
#[test]
fn who_finds_a_closed_ring_open_again_finds_its_producer_too() {
    model(5, || {
        let ring = Arc::new(Ring::new(1));
        let park = Arc::new(Futex::default());
        let mut writer = open(&ring);
        end(&mut writer, &ring.shared(), &*park);
        let reader = {
            let ring = ring.clone();
            thread::spawn(move || {
                let page = ring.shared().producer;
                let state = page.state.look();
                assert!(state == RingState::Closed.to_word() || page.epoch.look() == FIRST + 1);
            })
        };
        let shared = ring.shared();
        Writer::take_over(ring.shape, &shared, 0).unwrap();
        succeed(shared.ctl, shared.producer, FIRST + 1, &*park);
        reader.join().unwrap();
    });
}

/// A full ring, whose subscribers read nothing.
fn filled(slots: usize) -> (Arc<Ring>, Arc<Futex>, Writer) {
    let ring = Arc::new(Ring::new(slots));
    let park = Arc::new(Futex::default());
    let mut writer = open(&ring);
    for slot in 0..slots {
        join(&ring, slot);
    }
    for _ in 0..3 {
        publish(&ring, &mut writer, &*park, [None; 2]);
    }
    (ring, park, writer)
}

/// The same, and its producer, which wants one record more.
fn full(slots: usize) -> (Arc<Ring>, Arc<Futex>, thread::JoinHandle<()>) {
    let (ring, park, mut writer) = filled(slots);
    let producer = {
        let (ring, park) = (ring.clone(), park.clone());
        thread::spawn(move || {
            send(&ring, &mut writer, &*park, Light::Full);
        })
    };
    (ring, park, producer)
}

/// By its owner, or by a reaper that has found its lock free: both do the same.
#[test]
fn a_blocked_producer_is_woken_by_the_last_subscriber_that_leaves() {
    model(37, || {
        let (ring, park, producer) = full(1);
        leave(ring.shared().ctl, &ring.shared().slots[0], &*park);
        producer.join().unwrap();
    });
}

/// The first to leave may ring too early, and takes the declaration: the second finds the next one, or the producer finds
/// the room.
#[test]
fn a_blocked_producer_is_woken_when_two_leave_at_once() {
    model_within(2, 660, || {
        let (ring, park, producer) = full(2);
        let reaper = {
            let (ring, park) = (ring.clone(), park.clone());
            thread::spawn(move || leave(ring.shared().ctl, &ring.shared().slots[1], &*park))
        };
        leave(ring.shared().ctl, &ring.shared().slots[0], &*park);
        reaper.join().unwrap();
        producer.join().unwrap();
    });
}

/// One thread leaves twice, as a process with two subscriptions does, or one that reaps: what it takes for the first it must
/// have taken before the bell has moved, or else it takes what the producer declares for the second.
#[test]
fn a_blocked_producer_is_woken_when_one_leaves_after_the_other() {
    model_within(3, 760, || {
        let (ring, park, mut writer) = filled(2);
        let leaver = {
            let (ring, park) = (ring.clone(), park.clone());
            thread::spawn(move || {
                for slot in ring.shared().slots {
                    leave(ring.shared().ctl, slot, &*park);
                }
            })
        };
        send(&ring, &mut writer, &*park, Light::Full);
        leaver.join().unwrap();
    });
}

/// One reads, and looks without a fence; the other is reaped. The one that reads looks behind a fence in the end.
#[test]
fn a_blocked_producer_is_woken_when_one_reads_and_one_leaves() {
    model_within(1, 160, || {
        let ring = Arc::new(Ring::new(2));
        let park = Arc::new(Futex::default());
        let mut writer = open(&ring);
        let reader = join(&ring, 0);
        join(&ring, 1);
        for _ in 0..3 {
            publish(&ring, &mut writer, &*park, [None; 2]);
        }
        let producer = {
            let (ring, park) = (ring.clone(), park.clone());
            thread::spawn(move || {
                send(&ring, &mut writer, &*park, Light::Full);
            })
        };
        let reaper = {
            let (ring, park) = (ring.clone(), park.clone());
            thread::spawn(move || leave(ring.shared().ctl, &ring.shared().slots[1], &*park))
        };
        let pins = PinBits::new(&ring.shape);
        for _ in 0..3 {
            assert_eq!(recv(&ring, (&reader, 0), &pins, &*park, Heavy::Full), None);
        }
        when_empty(ring.shared().ctl, &*park);
        producer.join().unwrap();
        reaper.join().unwrap();
    });
}
