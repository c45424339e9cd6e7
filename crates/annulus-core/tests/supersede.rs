//! A creator replaces a leftover while another process takes that over, and a reader of it waits.
//!
//! Shows: with the steps in the order that `annulus` makes them, the name never has two producers; the reader of the old ring
//! gets every record of it, that of a producer that came in between too, and finds `Superseded` only behind the last, asleep
//! or not. Cannot show: the kernel's side, which is two mutexes here: the `owner` lock of each ring, and the directory in which
//! a name means one ring and renaming is one step. The two who decide are written out below as in `make.rs` of the crate
//! `annulus` (`leftover` and `create`, `take_over`), not called; what they do to the ring's words is called.

mod common;

use annulus_core::doorbell::{Heavy, succeed, wake_everyone};
use annulus_core::history::Start;
use annulus_core::layout::RingState;
use annulus_core::reader::{End, Look, Reader};
use annulus_core::writer::Writer;
use common::{Arc, Futex, PinBits, Ring, asleep, model_within, thread};

#[cfg(loom)]
use loom::sync::Mutex;
#[cfg(not(loom))]
use std::sync::Mutex;

const OLD: usize = 0;
const NEW: usize = 1;

struct World {
    /// The leftover. The new ring's words play no part.
    ring: Ring,
    park: Futex,
    /// Which ring the name means.
    name: Mutex<usize>,
    /// Whether somebody has the `owner` lock of a ring.
    owned: [Mutex<bool>; 2],
}

/// What became of an attempt to be the producer.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Producer(usize),
    /// Somebody else is.
    Alive,
}

impl World {
    fn try_own(&self, ring: usize) -> bool {
        !std::mem::replace(&mut *self.owned[ring].lock().unwrap(), true)
    }

    fn disown(&self, ring: usize) {
        *self.owned[ring].lock().unwrap() = false;
    }

    fn means(&self) -> usize {
        *self.name.lock().unwrap()
    }

    /// A creator with its own ring ready, whose `owner` it has from the beginning. It keeps that.
    fn replace(&self) -> Outcome {
        let old = self.means();
        if !self.try_own(old) {
            return Outcome::Alive;
        }
        // Under the lock the name is nobody else's to change, if it still means what was opened.
        assert_eq!(self.means(), old, "nobody else replaces here");
        *self.name.lock().unwrap() = NEW;
        let shared = self.ring.shared();
        shared.producer.state.set(RingState::Superseded.to_word());
        wake_everyone(shared.ctl, &self.park);
        self.disown(old);
        Outcome::Producer(NEW)
    }

    /// A service that goes on with what has the name. It publishes a record and dies, if `mortal`.
    fn take_over(&self) -> Outcome {
        loop {
            let found = self.means();
            if !self.try_own(found) {
                // A creator that looks is there for a while only, and is waited for.
                if found == NEW || self.means() == found && self.is_open() {
                    return Outcome::Alive;
                }
                common::relax();
                continue;
            }
            if self.means() != found {
                self.disown(found);
                continue;
            }
            let shared = self.ring.shared();
            assert!(self.is_open(), "what has the name is superseded");
            let epoch = shared.producer.epoch.look() + 1;
            let mut writer = Writer::take_over(self.ring.shape, &shared, 0).unwrap();
            succeed(shared.ctl, shared.producer, epoch, &self.park);
            writer.publish(&shared, &[]).unwrap();
            wake_everyone(shared.ctl, &self.park);
            assert_eq!(self.means(), found, "two producers on one name");
            return Outcome::Producer(found);
        }
    }

    fn is_open(&self) -> bool {
        RingState::from_word(self.ring.shared().producer.state.look()) == Some(RingState::Open)
    }

    /// Reads to the end of the old ring, or to a sequence.
    fn read(&self, reader: &Reader, end: u64) -> Option<End> {
        let shared = self.ring.shared();
        let pins = PinBits::new(&self.ring.shape);
        while reader.sequence() < end {
            match reader.look(&shared) {
                Look::Record(held) => {
                    reader.release(&shared, &shared.slots[0], pins.pins(), held).unwrap();
                }
                Look::Empty => {
                    if let Some(end) = reader.ended(&shared) {
                        return Some(end);
                    }
                    asleep(shared.ctl, Heavy::Full, &self.park, || {
                        reader.is_ready(&shared) || reader.ended(&shared).is_some()
                    });
                }
                Look::Lost => panic!("lost"),
            }
        }
        None
    }
}

/// `dies`: the one that takes over dies behind its record, so the creator, who tries again, finds a leftover once more.
fn two_who_want_one_name(dies: bool) {
    let world = Arc::new(World {
        ring: Ring::new(1),
        park: Futex::default(),
        name: Mutex::new(OLD),
        owned: [Mutex::new(false), Mutex::new(true)],
    });
    let shared = world.ring.shared();
    // Its first producer published a record and died.
    let mut writer = Writer::create(world.ring.shape, &shared, 0, 0, 0);
    shared.producer.state.set(RingState::Open.to_word());
    let reader = Reader::join(world.ring.shape, &shared, &shared.slots[0], Start::Newest).unwrap();
    writer.publish(&shared, &[]).unwrap();
    let service = {
        let world = world.clone();
        thread::spawn(move || {
            let outcome = world.take_over();
            if dies && outcome == Outcome::Producer(OLD) {
                world.disown(OLD);
            }
            outcome
        })
    };
    let replaced = {
        let world = world.clone();
        thread::spawn(move || world.replace())
    };
    let mut last = None;
    // A ring that goes on has two records and no end yet.
    let end = world.read(&reader, 2);
    let (service, replaced) = (service.join().unwrap(), replaced.join().unwrap());
    if end.is_none() {
        last = reader.ended(&shared);
    }
    match (service, replaced) {
        (Outcome::Producer(OLD), Outcome::Alive) => {
            assert_eq!((end, last, reader.sequence()), (None, None, 2));
        }
        (Outcome::Alive, Outcome::Producer(NEW)) => {
            assert_eq!((end, reader.sequence()), (Some(End::Superseded), 1));
        }
        (Outcome::Producer(OLD), Outcome::Producer(NEW)) if dies => {
            assert_eq!((end.or(last), reader.sequence()), (Some(End::Superseded), 2));
        }
        both => panic!("two producers on one name, or none: {both:?}"),
    }
}

#[test]
fn a_creator_and_a_service_want_the_name() {
    model_within(2, 900, || two_who_want_one_name(false));
}

/// The record of a producer that came and went in between is read before the end is found.
#[test]
fn a_leftover_is_replaced_behind_its_last_record() {
    model_within(2, 1600, || two_who_want_one_name(true));
}
