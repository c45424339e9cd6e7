//! Sleepers and wakers that die, at whatever step.
//!
//! Shows: a reader that dies between its declaration and its sleep costs one useless wake and not one for each
//! record, and costs the other readers nothing, whether it had declared itself or was asleep; a producer that dies
//! waiting for room leaves nothing that its successor takes for its own; a producer that dies between taking the
//! declarations and the wake, before or after it has moved the bell, leaves no reader asleep once there is a
//! successor, of which a sleeper is told. A thread that goes no further stands for a dead process, and joining it for the kernel that gives
//! its lock away. Cannot show: that the kernel forgets who died in its queue.

mod common;
#[path = "common/sleeping.rs"]
mod sleeping;

use annulus_core::doorbell::{
    Heavy, Light, Park, Settled, someone_sleeps, succeed, wake_everyone, wake_readers, when_empty,
};
use annulus_core::layout::CtlHead;
use annulus_core::reader::Reader;
use annulus_core::sync::FutexWord;
use annulus_core::writer::Writer;
use common::{Arc, Futex, PinBits, Ring, model, model_within, thread};
use sleeping::{Dead, FIRST, doze, join, open, publish, recv, ring_bell, send, sleep};
use std::cell::Cell;
use std::time::Duration;

/// Goes to sleep, and no further.
fn die_asleep(ring: &Ring, reader: &Reader, park: &impl Park) {
    doze(ring, reader, FIRST, park, Heavy::Full);
}

#[test]
fn a_reader_that_died_going_to_sleep_costs_one_useless_wake() {
    model(7, || {
        let ring = Arc::new(Ring::of(64, 1));
        let mut writer = open(&ring);
        let reader = join(&ring, 0);
        let dead = {
            let ring = ring.clone();
            thread::spawn(move || die_asleep(&ring, &reader, &Dead))
        };
        let park = Futex::default();
        let mut wakes = 0;
        for _ in 0..2 {
            wakes += u32::from(send(&ring, &mut writer, &park, Light::Full));
        }
        dead.join().unwrap();
        // A declaration after the last wake is one wake more, and none is two.
        for _ in 0..3 {
            wakes += u32::from(send(&ring, &mut writer, &park, Light::Full));
        }
        assert_eq!(wakes, 1);
        assert_eq!(ring.shared().ctl.sleepers.peek(), 0);
    });
}

/// One reader sleeps and lives, another dies in the same moments: in the kernel's queue, or `Dead` before it. Whoever
/// is in the queue leaves it when it is woken, and does nothing more.
fn beside_a_living_reader(asleep: bool) {
    let ring = Arc::new(Ring::of(64, 2));
    let park = Arc::new(Futex::default());
    let mut writer = open(&ring);
    let dead = {
        let (ring, park, reader) = (ring.clone(), park.clone(), join(&ring, 1));
        thread::spawn(move || match asleep {
            true => die_asleep(&ring, &reader, &*park),
            false => die_asleep(&ring, &reader, &Dead),
        })
    };
    let living = {
        let (ring, park, reader) = (ring.clone(), park.clone(), join(&ring, 0));
        thread::spawn(move || {
            let pins = PinBits::new(&ring.shape);
            for _ in 0..2 {
                assert_eq!(recv(&ring, (&reader, 0), &pins, &*park, Heavy::Full), None);
            }
        })
    };
    for _ in 0..2 {
        send(&ring, &mut writer, &*park, Light::Full);
    }
    living.join().unwrap();
    dead.join().unwrap();
    // Whoever declared itself and did not sleep costs one wake, and nobody is left.
    ring_bell(&ring, &*park, Light::Full);
    assert!(!ring_bell(&ring, &*park, Light::Full));
}

#[test]
fn a_reader_that_died_before_it_slept_costs_the_others_nothing() {
    model_within(2, 550, || beside_a_living_reader(false));
}

#[test]
fn a_reader_that_died_asleep_costs_the_others_nothing() {
    model_within(2, 620, || beside_a_living_reader(true));
}

/// What the first sleep of a producer may last.
const FRESH: Duration = Duration::from_millis(1);

/// Notes how long the first sleep may last at most.
struct First<'a>(&'a Futex, Cell<Option<Option<Duration>>>);

impl Park for First<'_> {
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool {
        self.1.set(self.1.get().or(Some(timeout)));
        self.0.wait(word, seen, bits, timeout)
    }

    fn wake(&self, word: &FutexWord, count: u32, bits: u32) -> u32 {
        self.0.wake(word, count, bits)
    }

    fn heavy(&self) -> bool {
        self.0.heavy()
    }
}

/// A producer that dies waiting for room: in the kernel's queue, or `Dead` before it. Then the next one waits, in the
/// same thread, since it has the dead one's locks.
fn blocked(asleep: bool) {
    let ring = Arc::new(Ring::new(1));
    let park = Arc::new(Futex::default());
    let mut writer = open(&ring);
    let reader = join(&ring, 0);
    for _ in 0..3 {
        publish(&ring, &mut writer, &Dead, [None; 2]);
    }
    let producers = {
        let (ring, park) = (ring.clone(), park.clone());
        thread::spawn(move || {
            let shared = ring.shared();
            if let Err(refusal) = writer.publish(&shared, &[]) {
                let mut settled = Settled::default();
                match asleep {
                    true => sleep(&ring, &mut writer, refusal, &*park, &mut settled, [None; 2]),
                    false => sleep(&ring, &mut writer, refusal, &Dead, &mut settled, [None; 2]),
                }
            }
            let mut writer = Writer::take_over(ring.shape, &shared, 0).unwrap();
            succeed(shared.ctl, shared.producer, FIRST + 1, &*park);
            let first = First(&park, Cell::new(None));
            publish(&ring, &mut writer, &first, [Some(FRESH), None]);
            // Not behind the declaration of the dead, which stands from a sleep of its own.
            assert_eq!(first.1.get().flatten(), first.1.get().map(|_| FRESH));
        })
    };
    let pins = PinBits::new(&ring.shape);
    for _ in 0..3 {
        assert_eq!(recv(&ring, (&reader, 0), &pins, &*park, Heavy::Full), None);
    }
    when_empty(ring.shared().ctl, &*park);
    producers.join().unwrap();
}

#[test]
fn a_producer_that_died_before_it_slept_costs_its_successor_nothing() {
    model_within(2, 2800, || blocked(false));
}

#[test]
fn a_producer_that_died_asleep_costs_its_successor_nothing() {
    model_within(2, 1000, || blocked(true));
}

/// A producer that publishes one record, begins to wake as `wake` does and dies; the next one has no record for the
/// sleeper, whose own is there already.
fn dead_waker(wake: fn(&CtlHead)) {
    let ring = Arc::new(Ring::new(1));
    let park = Arc::new(Futex::default());
    let mut writer = open(&ring);
    let reader = join(&ring, 0);
    let asleep = {
        let (ring, park) = (ring.clone(), park.clone());
        thread::spawn(move || {
            let pins = PinBits::new(&ring.shape);
            assert_eq!(recv(&ring, (&reader, 0), &pins, &*park, Heavy::Full), None);
        })
    };
    let shared = ring.shared();
    publish(&ring, &mut writer, &Dead, [None; 2]);
    if someone_sleeps(shared.ctl, Light::Full) {
        wake(shared.ctl);
    }
    Writer::take_over(ring.shape, &shared, 0).unwrap();
    succeed(shared.ctl, shared.producer, FIRST + 1, &*park);
    asleep.join().unwrap();
}

#[test]
fn a_producer_that_died_before_the_wake_leaves_nobody_asleep() {
    model(1100, || {
        dead_waker(|ctl| {
            wake_readers(ctl, 1, &Dead);
        });
    });
}

#[test]
fn nor_does_one_that_died_before_it_moved_the_bell() {
    model(810, || {
        dead_waker(|ctl| {
            ctl.sleepers.take();
        });
    });
}

#[test]
fn nor_does_one_that_died_waking_everyone() {
    model(1100, || dead_waker(|ctl| wake_everyone(ctl, &Dead)));
}

/// No record tells it.
#[test]
fn a_sleeping_reader_learns_of_the_next_producer() {
    model(290, || {
        let ring = Arc::new(Ring::new(1));
        let park = Arc::new(Futex::default());
        open(&ring);
        let reader = join(&ring, 0);
        let asleep = {
            let (ring, park) = (ring.clone(), park.clone());
            thread::spawn(move || {
                while ring.shared().producer.epoch.look() == FIRST {
                    doze(&ring, &reader, FIRST, &*park, Heavy::Full);
                }
            })
        };
        let shared = ring.shared();
        Writer::take_over(ring.shape, &shared, 0).unwrap();
        succeed(shared.ctl, shared.producer, FIRST + 1, &*park);
        asleep.join().unwrap();
    });
}
