//! A producer that waits until everyone has released the record that it has just published.
//!
//! Shows: who is asleep until two subscribers have released the record is woken, and does not go on before either has; one
//! that releases it and leaves at once has released it, one that leaves without is gone, whoever takes its slot meanwhile and
//! wherever that one stands; one that dies before whatever step holds nobody up, and has released the record only if it had.
//! One that comes while the producer looks who is there is never said to have gone. The same of a group: one of two workers that
//! is done with the record wakes the producer, and one that is done and leaves, which ends the group, has released it.
//! Cannot show: that milliseconds are longer than a store takes to leave its processor, which `settle` is about; how soon a
//! death is noticed.

mod common;
#[path = "common/stop.rs"]
mod stop;

use annulus_core::acked::{Acks, Receiver, Tally};
use annulus_core::doorbell::{
    Settled, Slept, after_release, leave, sleep_for_room, stop_waiting, when_empty,
};
use annulus_core::group::GroupLocks;
use annulus_core::history::Start;
use annulus_core::layout::{GroupPhase, SlotKind};
use annulus_core::reader::{Look, Reader};
use annulus_core::slots::SlotLocks;
use annulus_core::words::Plain32;
use annulus_core::worker::{self, Found, Worker, begin};
use annulus_core::writer::Writer;
use common::{Arc, Futex, PinBits, Ring, model, model_within, relax, thread};
use stop::{at_every_step, until};

#[cfg(loom)]
use loom::sync::Mutex;
#[cfg(not(loom))]
use std::sync::Mutex;

struct World {
    ring: Ring,
    park: Futex,
    /// Who has read the record, slot by slot, and is about to release it.
    has_read: [Plain32; 2],
    /// Who of them is dead: the kernel has dropped its lock.
    is_dead: Mutex<[bool; 2]>,
    /// Who holds the group's lock, as it is asked for: workers share it.
    workers: Mutex<usize>,
}

/// The slots' locks as the producer sees them.
struct Locks<'a>(&'a World);

impl SlotLocks for Locks<'_> {
    type Error = ();

    fn try_lock(&self, slot: u32) -> Result<bool, ()> {
        Ok(self.0.is_dead.lock().unwrap()[slot as usize])
    }

    fn unlock(&self, _: u32) {}
}

/// Has the group's lock alone where no worker shares it.
impl GroupLocks for Locks<'_> {
    fn try_own(&self, _: u32) -> bool {
        *self.0.workers.lock().unwrap() == 0
    }

    fn try_share(&self, _: u32) -> bool {
        true
    }

    fn unlock(&self, _: u32) {}
}

fn join(ring: &Ring, slot: usize) -> Reader {
    let shared = ring.shared();
    let slot = &shared.slots[slot];
    slot.occupy(SlotKind::InPlace, 1, 1, 1);
    let reader = Reader::join(ring.shape, &shared, slot, Start::Newest).unwrap();
    slot.settle();
    reader
}

impl World {
    fn new(subscribers: usize) -> (Arc<World>, Writer, Vec<Reader>) {
        let ring = Ring::of(64, subscribers.max(1));
        let writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        let readers = (0..subscribers).map(|slot| join(&ring, slot)).collect();
        let has_read = std::array::from_fn(|_| Plain32::default());
        let world = World {
            ring,
            park: Futex::default(),
            has_read,
            is_dead: Mutex::new([false; 2]),
            workers: Mutex::new(0),
        };
        (Arc::new(world), writer, readers)
    }

    /// Waits for the record, reads it and releases it.
    fn consume(&self, slot: usize, reader: &Reader) {
        let shared = self.ring.shared();
        loop {
            match reader.look(&shared) {
                Look::Record(held) => {
                    self.has_read[slot].preset(1);
                    let pins = PinBits::new(&self.ring.shape);
                    let (before, after) =
                        reader.release(&shared, &shared.slots[slot], pins.pins(), held).unwrap();
                    after_release(shared.ctl, before, after, &self.park);
                    return;
                }
                Look::Empty => relax(),
                Look::Lost => panic!("lost"),
            }
        }
    }

    fn leave(&self, slot: usize) {
        let shared = self.ring.shared();
        leave(shared.ctl, &shared.slots[slot], &self.park);
    }

    /// Publishes a record and sleeps until nobody holds it; without a limit that could save it from a wake that was lost.
    fn send(&self, writer: &mut Writer) -> Tally {
        let shared = self.ring.shared();
        let mut receivers = [Receiver::default(); 3];
        let mut acks = Acks::note(&mut receivers, &shared, writer);
        writer.publish(&shared, &[]).unwrap();
        acks.published(writer);
        self.sleep_until_released(writer, &mut acks);
        acks.tally()
    }

    fn sleep_until_released(&self, writer: &Writer, acks: &mut Acks<'_>) {
        let shared = self.ring.shared();
        let mut settled = Settled::default();
        while !acks.look(&shared) {
            let end = writer.tail();
            let slept =
                sleep_for_room(shared.ctl, end, &self.park, &mut settled, [None; 2], || acks.look(&shared));
            assert_ne!(slept, Slept::Forbidden);
        }
        stop_waiting(shared.ctl);
    }

    fn has_read(&self, slot: usize) -> bool {
        self.has_read[slot].glance() == 1
    }
}

/// Each has the record already when the producer begins to wait, and looks behind a fence in the end, as who finds the ring
/// empty does.
fn asleep_until_released(subscribers: usize) {
    let (world, mut writer, readers) = World::new(subscribers);
    let shared = world.ring.shared();
    let mut receivers = [Receiver::default(); 2];
    let mut acks = Acks::note(&mut receivers, &shared, &writer);
    writer.publish(&shared, &[]).unwrap();
    acks.published(&writer);
    let threads: Vec<_> = readers
        .into_iter()
        .enumerate()
        .map(|(slot, reader)| {
            let world = world.clone();
            thread::spawn(move || {
                world.consume(slot, &reader);
                when_empty(world.ring.shared().ctl, &world.park);
            })
        })
        .collect();
    world.sleep_until_released(&writer, &mut acks);
    let of = subscribers as u32;
    assert_eq!(acks.tally(), Tally { of, released: of, gone: 0 });
    assert!((0..subscribers).all(|slot| world.has_read(slot)), "somebody still holds it");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_subscriber_releases_while_the_producer_sleeps() {
    model_within(3, 330, || asleep_until_released(1));
}

#[test]
fn two_subscribers_release_while_the_producer_sleeps() {
    model_within(1, 880, || asleep_until_released(2));
}

/// A subscriber leaves, having read the record or not, and the next one has its slot at once and stands at the record's end.
fn changes_hands(reads: bool) {
    let (world, mut writer, mut readers) = World::new(1);
    let (owner, reader) = (world.clone(), readers.remove(0));
    let owner = thread::spawn(move || {
        if reads {
            owner.consume(0, &reader);
        } else {
            while !reader.is_ready(&owner.ring.shared()) {
                relax();
            }
        }
        owner.leave(0);
        join(&owner.ring, 0);
    });
    let tally = world.send(&mut writer);
    assert_eq!(tally, Tally { of: 1, released: u32::from(reads), gone: u32::from(!reads) });
    assert_eq!(world.has_read(0), reads);
    owner.join().unwrap();
}

#[test]
fn one_that_has_read_leaves_and_another_takes_its_slot() {
    model_within(3, 11_900, || changes_hands(true));
}

#[test]
fn one_that_has_not_read_leaves_and_another_takes_its_slot() {
    model_within(3, 3100, || changes_hands(false));
}

/// It reads the record and leaves, or dies before any of the steps that this takes, which the producer finds out by its
/// lock; another lives.
#[test]
fn one_of_two_dies_at_any_step() {
    at_every_step(1, [8, 12], |step| {
        let (world, mut writer, mut readers) = World::new(2);
        let producer = {
            let world = world.clone();
            thread::spawn(move || {
                let shared = world.ring.shared();
                let mut receivers = [Receiver::default(); 2];
                let mut acks = Acks::note(&mut receivers, &shared, &writer);
                writer.publish(&shared, &[]).unwrap();
                acks.published(&writer);
                while !acks.look(&shared) {
                    if acks.reap(&shared, &writer, &Locks(&world), &Locks(&world), &world.park) == 0 {
                        relax();
                    }
                }
                (acks.tally(), world.has_read(0), world.has_read(1))
            })
        };
        let (other, doomed) = (readers.remove(1), readers.remove(0));
        let fate = until(step, || {
            world.consume(0, &doomed);
            world.leave(0);
        });
        world.is_dead.lock().unwrap()[0] = true;
        world.consume(1, &other);
        let (tally, doomed_has_read, other_has_read) = producer.join().unwrap();
        let released = fate.count("Cursor::release", 2) > 0;
        assert_eq!(tally, Tally { of: 2, released: 1 + u32::from(released), gone: u32::from(!released) });
        assert!(other_has_read && (doomed_has_read || !released));
        let slot = &world.ring.shared().slots[0];
        assert!(released || slot.is_free(), "nobody would free it before it is in somebody's way");
    });
}

/// A subscriber comes while the producer looks who is there, and in the place of another that leaves or in a free one: it is
/// a receiver or it is not, and in neither case has it gone.
#[test]
fn one_that_comes_meanwhile_has_not_gone() {
    model(590, || {
        let (world, mut writer, _) = World::new(0);
        let comes = world.clone();
        let comes = thread::spawn(move || {
            join(&comes.ring, 0);
        });
        let shared = world.ring.shared();
        let mut receivers = [Receiver::default(); 2];
        let mut acks = Acks::note(&mut receivers, &shared, &writer);
        writer.publish(&shared, &[]).unwrap();
        acks.published(&writer);
        acks.look(&shared);
        assert_eq!(acks.tally().gone, 0);
        comes.join().unwrap();
    });
}

/// A world with a group, and workers of it in its slots.
fn group_of(workers: usize) -> (Arc<World>, Writer, Vec<Worker>) {
    let ring = Ring::of(64, 2).with_groups(1, 2);
    let writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let group = ring.shared().group(0).unwrap();
    begin(&ring.shape, &ring.shared(), group, Start::Newest, GroupPhase::Active, 0, &[7]).unwrap();
    let workers: Vec<_> = (0..workers)
        .map(|i| {
            let slot = &ring.shared().slots[i];
            slot.occupy(SlotKind::Worker, 1, 1, 1);
            slot.group.preset(1);
            slot.settle();
            Worker::join(ring.shape, &ring.shared(), ring.shared().group(0).unwrap(), i as u32).unwrap()
        })
        .collect();
    let has_read = std::array::from_fn(|_| Plain32::default());
    let count = Mutex::new(workers.len());
    let world =
        World { ring, park: Futex::default(), has_read, is_dead: Mutex::new([false; 2]), workers: count };
    (Arc::new(world), writer, workers)
}

impl World {
    /// Waits for a record, or for another worker to be done with it.
    fn work(&self, slot: usize, worker: &Worker) {
        let shared = self.ring.shared();
        let group = shared.group(0).unwrap();
        loop {
            match worker.claim(&shared, group) {
                Found::Record(claimed) => {
                    self.has_read[slot].preset(1);
                    // The doorbell of the workers, of whom none sleeps.
                    let moved = worker.done(&shared, group, 0, claimed, &self.park).unwrap();
                    if let Some((before, after)) = moved {
                        after_release(shared.ctl, before, after, &self.park);
                    }
                    return;
                }
                Found::Empty if worker.sequence() > 0 => return,
                Found::Empty => relax(),
                other => panic!("{other:?}"),
            }
        }
    }

    fn leave_group(&self, slot: usize) {
        *self.workers.lock().unwrap() -= 1;
        let locks = Locks(self);
        self.is_dead.lock().unwrap()[slot] = true;
        worker::leave(&self.ring.shared(), 0, slot as u32, &locks, &locks, &self.park, &self.park);
    }
}

/// Of two workers one is done with the record; each looks behind a fence in the end, as who finds the ring empty does.
#[test]
fn one_of_two_workers_wakes_the_producer() {
    model_within(1, 380, || {
        let (world, mut writer, workers) = group_of(2);
        let shared = world.ring.shared();
        let mut receivers = [Receiver::default(); 3];
        let mut acks = Acks::note(&mut receivers, &shared, &writer);
        writer.publish(&shared, &[]).unwrap();
        acks.published(&writer);
        let threads: Vec<_> = workers
            .into_iter()
            .enumerate()
            .map(|(slot, worker)| {
                let world = world.clone();
                thread::spawn(move || {
                    world.work(slot, &worker);
                    when_empty(world.ring.shared().ctl, &world.park);
                })
            })
            .collect();
        world.sleep_until_released(&writer, &mut acks);
        assert_eq!(acks.tally(), Tally { of: 1, released: 1, gone: 0 });
        assert!(world.has_read(0) || world.has_read(1), "nobody is done with it");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// The only worker is done with the record or not, and leaves; the group ends, and another takes its place at once.
fn ends(works: bool) {
    let (world, mut writer, mut workers) = group_of(1);
    let (last, worker) = (world.clone(), workers.remove(0));
    let last = thread::spawn(move || {
        let shared = last.ring.shared();
        if works {
            last.work(0, &worker);
        } else {
            // Not before the producer has looked who is there.
            while shared.producer.published.look() == 0 {
                relax();
            }
        }
        last.leave_group(0);
        let group = shared.group(0).unwrap();
        begin(&last.ring.shape, &shared, group, Start::Newest, GroupPhase::Active, 0, &[8]).unwrap();
    });
    let tally = world.send(&mut writer);
    assert_eq!(tally, Tally { of: 1, released: u32::from(works), gone: u32::from(!works) });
    assert_eq!(world.has_read(0), works);
    last.join().unwrap();
}

#[test]
fn a_group_whose_last_worker_has_done_it_and_leaves() {
    model_within(2, 5600, || ends(true));
}

#[test]
fn a_group_whose_last_worker_leaves_without() {
    model_within(2, 2100, || ends(false));
}
