//! A producer and readers that sleep, as the library's waiting loops call the shipped functions.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part

use crate::common::{PinBits, Ring, asleep};
use annulus_core::doorbell::{
    Heavy, Light, Limits, Park, Settled, Slept, after_release, has_turned, sleep_for_room, someone_sleeps,
    stop_waiting, wake_readers, when_empty,
};
use annulus_core::history::Start;
use annulus_core::layout::RingState;
use annulus_core::reader::{End, Look, Reader};
use annulus_core::sync::FutexWord;
use annulus_core::words::full_fence;
use annulus_core::writer::{Refusal, Writer};
use std::time::Duration;

/// The first producer's number.
pub const FIRST: u64 = 1;

/// The first producer of a ring.
pub fn open(ring: &Ring) -> Writer {
    let shared = ring.shared();
    let writer = Writer::create(ring.shape, &shared, 0, 0, 0);
    shared.producer.epoch.raise(FIRST);
    shared.producer.state.set(RingState::Open.to_word());
    writer
}

/// A reader in a slot.
pub fn join(ring: &Ring, slot: usize) -> Reader {
    let shared = ring.shared();
    Reader::join(ring.shape, &shared, &shared.slots[slot], Start::Newest).unwrap()
}

/// Publishes an empty record, asleep until there is room.
pub fn publish(ring: &Ring, writer: &mut Writer, park: &impl Park, limits: Limits) {
    let (mut slept, mut settled) = (false, Settled::default());
    while let Err(refusal) = writer.publish(&ring.shared(), &[]) {
        sleep(ring, writer, refusal, park, &mut settled, limits);
        slept = true;
    }
    if slept {
        stop_waiting(ring.shared().ctl);
    }
}

/// A refused producer's sleep for room, once.
pub fn sleep(
    ring: &Ring,
    writer: &mut Writer,
    refusal: Refusal,
    park: &impl Park,
    settled: &mut Settled,
    limits: Limits,
) {
    let Refusal::Full(full) = refusal else { unreachable!("{refusal:?}") };
    let shared = ring.shared();
    let end = writer.tail() + ring.shape.need(0);
    sleep_for_room(shared.ctl, full.wanted, park, settled, limits, || writer.extend(&shared, end).is_ok());
}

/// Wakes readers if any sleeps; says whether one did.
pub fn ring_bell(ring: &Ring, park: &impl Park, light: Light) -> bool {
    let ctl = ring.shared().ctl;
    let rings = someone_sleeps(ctl, light);
    if rings {
        wake_readers(ctl, 1, park);
    }
    rings
}

/// Publishes a record and wakes who waits for it.
pub fn send(ring: &Ring, writer: &mut Writer, park: &impl Park, light: Light) -> bool {
    publish(ring, writer, park, [None; 2]);
    ring_bell(ring, park, light)
}

/// Takes the next record and gives it back, asleep until there is one; or says how the ring has ended.
pub fn recv(
    ring: &Ring,
    (reader, slot): (&Reader, usize),
    pins: &PinBits,
    park: &impl Park,
    heavy: Heavy,
) -> Option<End> {
    let shared = ring.shared();
    loop {
        match reader.look(&shared) {
            Look::Record(held) => {
                let (before, after) =
                    reader.release(&shared, &shared.slots[slot], pins.pins(), held).unwrap();
                after_release(shared.ctl, before, after, park);
                return None;
            }
            Look::Empty => {
                when_empty(shared.ctl, park);
                let epoch = shared.producer.epoch.look();
                if let Some(end) = reader.ended(&shared) {
                    return Some(end);
                }
                doze(ring, reader, epoch, park, heavy);
            }
            Look::Lost => panic!("lost"),
        }
    }
}

/// A reader's sleep, once, if nothing is there.
pub fn doze(ring: &Ring, reader: &Reader, epoch: u64, park: &impl Park, heavy: Heavy) {
    let shared = ring.shared();
    let news = || reader.is_ready(&shared) || has_turned(shared.producer, epoch);
    assert_ne!(asleep(shared.ctl, heavy, park, news), Slept::Forbidden);
}

/// A process that dies before it can wait or wake: nothing of it reaches the kernel.
pub struct Dead;

impl Park for Dead {
    fn wait(&self, _: &FutexWord, _: u32, _: u32, _: Option<Duration>) -> bool {
        false
    }

    fn wake(&self, _: &FutexWord, _: u32, _: u32) -> u32 {
        0
    }

    fn heavy(&self) -> bool {
        full_fence();
        true
    }
}
