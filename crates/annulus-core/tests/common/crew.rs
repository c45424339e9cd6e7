//! A group of workers on one ring, as the library calls the shipped functions.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part

use crate::common::subscriber::value;
use crate::common::{Arc, Futex, Ring, relax};
use annulus_core::doorbell::{
    Heavy, Light, Park, Settled, Slept, group_bit, sleep_as_reader, someone_sleeps, wake_readers,
};
use annulus_core::group::{Group, GroupLocks};
use annulus_core::history::Start;
use annulus_core::layout::{GroupPhase, RingState, SlotKind};
use annulus_core::reader::{End, PAYLOAD_OFFSET};
use annulus_core::slots::SlotLocks;
use annulus_core::sync::FutexWord;
use annulus_core::worker::{Claimed, Found, Worker, begin};
use annulus_core::writer::{Refusal, Writer};
use std::time::Duration;

/// Nobody asleep, and no system: for those who neither wait nor wake.
pub struct Silent;

impl Park for Silent {
    fn wait(&self, _: &FutexWord, _: u32, _: u32, _: Option<Duration>) -> bool {
        unreachable!("nobody waits")
    }

    fn wake(&self, _: &FutexWord, _: u32, _: u32) -> u32 {
        0
    }

    fn heavy(&self) -> bool {
        unreachable!("nobody waits")
    }
}

/// Locks of slots that are all the caller's to take: their owners are dead, or it is the owner.
pub struct Free;

impl SlotLocks for Free {
    type Error = ();

    fn try_lock(&self, _: u32) -> Result<bool, ()> {
        Ok(true)
    }

    fn unlock(&self, _: u32) {}
}

/// A group's lock: whether it can be had alone, and shared.
#[derive(Clone, Copy)]
pub struct GroupLock(pub bool, pub bool);

impl GroupLocks for GroupLock {
    fn try_own(&self, _: u32) -> bool {
        self.0
    }

    fn try_share(&self, _: u32) -> bool {
        self.1
    }

    fn unlock(&self, _: u32) {}
}

/// A ring with one group and the kernel's queue of sleepers.
pub struct Crew {
    pub ring: Ring,
    pub park: Futex,
}

impl Crew {
    /// A ring of so many bytes, each record of one word of payload 16 of them, and its producer. The claim table has so many words.
    pub fn new(capacity: u64, claim_words: usize) -> (Arc<Crew>, Writer) {
        let crew = Crew { ring: Ring::of(capacity, 3).with_groups(1, claim_words), park: Futex::default() };
        let writer = Writer::create(crew.ring.shape, &crew.ring.shared(), 0, 0, 0);
        crew.ring.shared().producer.state.set(RingState::Open.to_word());
        (Arc::new(crew), writer)
    }

    /// The same with a group that has begun, and records.
    pub fn begun(capacity: u64, claim_words: usize, attempts_max: u32, records: u64) -> (Arc<Crew>, Writer) {
        let (crew, mut writer) = Crew::new(capacity, claim_words);
        crew.begin(Start::Newest, attempts_max);
        for _ in 0..records {
            crew.try_publish(&mut writer).unwrap();
        }
        (crew, writer)
    }

    pub fn begin(&self, start: Start, attempts_max: u32) {
        let shared = self.ring.shared();
        let phase = GroupPhase::Active;
        begin(&self.ring.shape, &shared, self.group(), start, phase, attempts_max, &[7]).unwrap();
    }

    pub fn group(&self) -> Group<'_> {
        self.ring.shared().group(0).unwrap()
    }

    /// A worker in a slot.
    pub fn join(&self, slot: u32) -> Worker {
        let shared = self.ring.shared();
        let words = &shared.slots[slot as usize];
        words.occupy(SlotKind::Worker, 1, 1, 1);
        words.group.preset(1);
        words.settle();
        Worker::join(self.ring.shape, &shared, self.group(), slot).unwrap()
    }

    pub fn try_publish(&self, writer: &mut Writer) -> Result<(), Refusal> {
        writer.publish(&self.ring.shared(), &value(writer.sequence()))
    }

    /// Publishes the next record as soon as there is room.
    pub fn publish(&self, writer: &mut Writer) {
        while let Err(refusal) = self.try_publish(writer) {
            assert!(matches!(refusal, Refusal::Full(_)), "{refusal:?}");
            relax();
        }
    }

    /// Wakes as many as there are new records.
    pub fn ring_bell(&self, records: u64) {
        let ctl = self.ring.shared().ctl;
        if someone_sleeps(ctl, Light::Full) {
            wake_readers(ctl, records, &self.park);
        }
    }

    /// The record that a worker claims, if there is one, with its payload as it should be.
    pub fn claim(&self, worker: &Worker) -> Option<Claimed> {
        match worker.claim(&self.ring.shared(), self.group()) {
            Found::Record(claimed) => {
                self.read(claimed);
                Some(claimed)
            }
            Found::Empty | Found::Full => None,
            Found::Damaged(what) => panic!("sound words were taken for damage: {what}"),
        }
    }

    /// Reads a record in place.
    pub fn read(&self, claimed: Claimed) {
        let mut bytes = vec![0; claimed.held.len as usize];
        self.ring.shared().records.read(claimed.held.position + PAYLOAD_OFFSET, &mut bytes);
        assert_eq!(bytes, value(claimed.held.sequence), "record {} is not its own", claimed.held.sequence);
    }

    /// Done with a record; says whether it was still this worker's.
    pub fn done(&self, worker: &Worker, claimed: Claimed) -> bool {
        worker.done(&self.ring.shared(), self.group(), 0, claimed, &self.park).is_ok()
    }

    /// Gives a record back; says whether it was still this worker's.
    pub fn give_back(&self, worker: &Worker, claimed: Claimed) -> bool {
        worker.give_back(self.ring.shared().ctl, self.group(), 0, claimed, &self.park).is_ok()
    }

    /// Claims and finishes what there is. Sequence and attempts of each.
    pub fn work(&self, worker: &Worker) -> Vec<(u64, u32)> {
        let mut finished = Vec::new();
        while let Some(claimed) = self.claim(worker) {
            assert!(self.done(worker, claimed), "nobody takes what a worker holds that lives");
            finished.push((claimed.held.sequence, claimed.attempts));
        }
        finished
    }

    /// The next record, asleep until there is one, without a look at its payload; or how the ring has ended.
    pub fn recv(&self, worker: &Worker) -> Result<Claimed, End> {
        let shared = self.ring.shared();
        loop {
            match worker.claim(&shared, self.group()) {
                Found::Record(claimed) => return Ok(claimed),
                Found::Empty | Found::Full => {}
                Found::Damaged(what) => panic!("sound words were taken for damage: {what}"),
            }
            if let Some(end) = worker.ended(&shared, self.group()) {
                return Err(end);
            }
            let slept = sleep_as_reader(
                shared.ctl,
                group_bit(0),
                Heavy::Full,
                &self.park,
                &mut Settled::default(),
                [None; 2],
                || worker.last_look(&shared, self.group()),
            );
            assert_ne!(slept, Slept::Forbidden);
        }
    }

    /// The floor is where the producer is.
    pub fn assert_all_done(&self, writer: &Writer) {
        assert_eq!(self.group().head.floor.look(), writer.tail(), "the floor is stuck");
    }
}
