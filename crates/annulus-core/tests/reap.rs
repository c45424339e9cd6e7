//! The slot of a dead subscriber: the blocked producer that frees it, a joiner that takes it, and a late owner.
//!
//! Shows: reaper and joiner never both have the slot, so a joiner that has joined misses nothing, whoever was first; the
//! producer gets its room from one of them; a late owner, whose lock has gone to another, leaves without touching that one's
//! cursor, and a free slot can be taken afterwards; whoever dies leaving, at whatever step, leaves no slot that says it is free
//! and holds the producer back. Cannot show: that the kernel's locks are what `Locks` here says
//! (fcntl(2): a description gets again what it has); what a late owner does that reads on, which stores its cursor unasked.

mod common;
#[path = "common/stop.rs"]
mod stop;

use annulus_core::history::Start;
use annulus_core::layout::SlotKind;
use annulus_core::reader::{Look, PAYLOAD_OFFSET, Reader};
use annulus_core::slots::{self, Owner, SlotLocks};
use annulus_core::words::NO_CURSOR;
use annulus_core::writer::{Refusal, Writer};
use common::{Arc, Futex, PinBits, Ring, model_within, relax, thread};
use stop::{at_every_step, until};

#[cfg(loom)]
use loom::sync::Mutex;
#[cfg(not(loom))]
use std::sync::Mutex;

const SOMEBODY: Owner = Owner { pid: 1, uid: 1, start_time: 1 };

struct World {
    ring: Ring,
    park: Futex,
    /// Who has the lock of the one slot.
    holder: Mutex<Option<u32>>,
}

/// The kernel's lock as one description sees it.
struct Locks<'a>(&'a World, u32);

impl SlotLocks for Locks<'_> {
    type Error = ();

    fn try_lock(&self, _: u32) -> Result<bool, ()> {
        let mut holder = self.0.holder.lock().unwrap();
        let free = holder.is_none_or(|who| who == self.1);
        if free {
            *holder = Some(self.1);
        }
        Ok(free)
    }

    fn unlock(&self, _: u32) {
        let mut holder = self.0.holder.lock().unwrap();
        if *holder == Some(self.1) {
            *holder = None;
        }
    }
}

impl World {
    fn new() -> (Arc<World>, Writer) {
        let world = World { ring: Ring::new(1), park: Futex::default(), holder: Mutex::new(None) };
        let writer = Writer::create(world.ring.shape, &world.ring.shared(), 0, 0, 0);
        (Arc::new(world), writer)
    }

    fn subscribe(&self, who: u32) -> Option<Reader> {
        let shared = self.ring.shared();
        let slot =
            slots::take(&shared, &Locks(self, who), SlotKind::InPlace, SOMEBODY, &self.park).unwrap()?;
        let reader =
            Reader::join(self.ring.shape, &shared, &shared.slots[slot as usize], Start::Newest).unwrap();
        shared.slots[slot as usize].settle();
        Some(reader)
    }

    /// The process dies: its lock goes, its words stay.
    fn die(&self, who: u32) {
        Locks(self, who).unlock(0);
    }

    fn leave(&self, who: u32) {
        let shared = self.ring.shared();
        slots::leave(shared.ctl, shared.slots, 0, &Locks(self, who), &self.park);
    }

    fn read(&self, reader: &Reader, end: u64) {
        let shared = self.ring.shared();
        let pins = PinBits::new(&self.ring.shape);
        while reader.sequence() < end {
            match reader.look(&shared) {
                Look::Record(held) => {
                    let mut bytes = [0; 8];
                    shared.records.read(held.position + PAYLOAD_OFFSET, &mut bytes);
                    assert_eq!(u64::from_le_bytes(bytes), 1000 + held.sequence);
                    reader.release(&shared, &shared.slots[0], pins.pins(), held).unwrap();
                }
                Look::Empty => relax(),
                Look::Lost => panic!("a subscriber that had joined lost its place"),
            }
        }
    }

    fn publish(&self, writer: &mut Writer, end: u64) {
        let shared = self.ring.shared();
        while writer.sequence() < end {
            match writer.publish(&shared, &(1000 + writer.sequence()).to_le_bytes()) {
                Ok(()) => {}
                Err(Refusal::Full(full)) => {
                    if slots::reap(&shared, writer, full, &Locks(self, 0)) == 0 {
                        relax();
                    }
                }
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }
}

/// The producer is blocked by a dead subscriber's cursor, and somebody joins in the same slot.
#[test]
fn a_reaper_and_a_joiner_want_the_same_slot() {
    model_within(2, 18_000, || {
        let (world, mut writer) = World::new();
        assert!(world.subscribe(1).is_some());
        world.publish(&mut writer, 1);
        world.die(1);
        let joiner = {
            let world = world.clone();
            thread::spawn(move || {
                // The reaper may have the lock for a moment, at each of the looks.
                let reader = loop {
                    match world.subscribe(2) {
                        Some(reader) => break reader,
                        None => relax(),
                    }
                };
                world.read(&reader, 3);
                world.leave(2);
            })
        };
        world.publish(&mut writer, 3);
        joiner.join().unwrap();
        assert!(world.ring.shared().slots[0].is_free());
        assert!(world.holder.lock().unwrap().is_none());
    });
}

/// A subscriber lives on without its lock, and leaves while another takes its slot. The other misses nothing.
#[test]
fn a_late_owner_leaves_its_successors_slot_alone() {
    model_within(2, 18_000, || {
        let (world, mut writer) = World::new();
        assert!(world.subscribe(1).is_some());
        world.publish(&mut writer, 1);
        world.die(1);
        let owner = {
            let world = world.clone();
            thread::spawn(move || world.leave(1))
        };
        let reader = {
            let world = world.clone();
            thread::spawn(move || {
                let reader = loop {
                    match world.subscribe(2) {
                        Some(reader) => break reader,
                        None => relax(),
                    }
                };
                world.read(&reader, 2);
                reader
            })
        };
        world.publish(&mut writer, 2);
        let reader = reader.join().unwrap();
        owner.join().unwrap();
        let shared = world.ring.shared();
        assert!(shared.slots[0].is_active(), "somebody else freed its slot");
        assert_eq!(shared.slots[0].cursor.look(), reader.position(), "somebody else moved its cursor");
        assert_eq!(*world.holder.lock().unwrap(), Some(2));
    });
}

/// Whoever clears up behind the dead passes over slots that say they are free.
#[test]
fn who_dies_leaving_leaves_no_free_slot_with_a_cursor() {
    at_every_step(1, [6, 1], |step| {
        let (world, mut writer) = World::new();
        assert!(world.subscribe(1).is_some());
        world.publish(&mut writer, 1);
        until(step, || world.leave(1));
        world.die(1);
        let slot = &world.ring.shared().slots[0];
        assert!(!slot.is_free() || slot.cursor.look() == NO_CURSOR, "nobody would look at it");
        world.publish(&mut writer, 3);
        assert!(world.subscribe(2).is_some());
    });
}
