//! Sleepers that no fence protects: the kernel leaves the waker's processor out of membarrier(2), or the waker is a reader
//! that goes on without a fence.
//!
//! Shows: who sleeps for a short time first, and longer only behind a declaration that has stood for so long, is woken, or
//! sees at the end of the short sleep what it was not woken for; also if a signal cuts that short, and if another reader
//! declares itself in between. The long sleep has no limit here. Time is a lock here: between a store and the look that
//! follows it no short sleep ends. Cannot show: that milliseconds are longer than a store takes to leave its processor.

mod common;
#[path = "common/sleeping.rs"]
mod sleeping;

use annulus_core::doorbell::{
    Heavy, Light, Park, READERS, Settled, Slept, after_release, has_turned, sleep_as_reader, stop_waiting,
};
use annulus_core::reader::{Look, Reader};
use annulus_core::sync::FutexWord;
use common::{Arc, Futex, PinBits, Ring, model_within, thread};
use sleeping::{Dead, FIRST, join, open, ring_bell, sleep};
use std::cell::Cell;
use std::time::Duration;

#[cfg(loom)]
use loom::sync::Mutex;
#[cfg(not(loom))]
use std::sync::Mutex;

const FRESH: Option<Duration> = Some(Duration::from_millis(1));

#[derive(Default)]
struct Time(Mutex<()>);

impl Time {
    /// A store, and the look at the declarations behind it.
    fn at_once<T>(&self, work: impl FnOnce() -> T) -> T {
        let _stands = self.0.lock().unwrap();
        work()
    }

    fn passes(&self) {
        drop(self.0.lock().unwrap());
    }
}

/// A system whose heavy fence reaches nobody.
struct Unfenced<'a> {
    futex: &'a Futex,
    time: &'a Time,
    /// Short sleeps that a signal ends at once.
    signals: Cell<u32>,
}

impl Park for Unfenced<'_> {
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool {
        if timeout.is_none() {
            return self.futex.wait(word, seen, bits, None);
        }
        let signals = self.signals.get();
        if word.glance() != seen || signals > 0 {
            self.signals.set(signals.saturating_sub(1));
            return false;
        }
        self.time.passes();
        true
    }

    fn wake(&self, word: &FutexWord, count: u32, bits: u32) -> u32 {
        self.futex.wake(word, count, bits)
    }

    fn heavy(&self) -> bool {
        true
    }
}

/// Takes the next record, asleep until it is there. It is not given back: the ring has room for all.
fn take(ring: &Ring, reader: &Reader, park: &impl Park) {
    let (shared, mut settled) = (ring.shared(), Settled::default());
    loop {
        match reader.look(&shared) {
            Look::Record(_) => return,
            Look::Empty => {
                let news = || reader.is_ready(&shared) || has_turned(shared.producer, FIRST);
                let limits = [FRESH, None];
                let slept =
                    sleep_as_reader(shared.ctl, READERS, Heavy::Barrier, park, &mut settled, limits, news);
                assert_ne!(slept, Slept::Forbidden);
            }
            Look::Lost => panic!("lost"),
        }
    }
}

fn readers<const COUNT: usize>(records: u64, signals: u32) {
    let ring = Arc::new(Ring::of(64, COUNT));
    let (futex, time) = (Arc::new(Futex::default()), Arc::new(Time::default()));
    let mut writer = open(&ring);
    let readers: [_; COUNT] = std::array::from_fn(|slot| {
        let (ring, futex, time, reader) = (ring.clone(), futex.clone(), time.clone(), join(&ring, slot));
        thread::spawn(move || {
            let park = Unfenced { futex: &futex, time: &time, signals: Cell::new(signals) };
            for _ in 0..records {
                take(&ring, &reader, &park);
            }
        })
    });
    for _ in 0..records {
        time.at_once(|| {
            writer.publish(&ring.shared(), &[]).unwrap();
            ring_bell(&ring, &*futex, Light::Compiler)
        });
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn a_reader_is_woken_by_each_record() {
    model_within(2, 640, || readers::<1>(2, 0));
}

#[test]
fn a_reader_whose_short_sleep_a_signal_ends() {
    model_within(2, 2800, || readers::<1>(2, 1));
}

#[test]
fn one_reader_declares_itself_for_two() {
    model_within(2, 2900, || readers::<2>(1, 0));
}

/// The producer is stopped between its first record and the look behind it, for which the reader does not wait; then
/// another declares itself, and dies.
#[test]
fn a_declaration_behind_a_bell_that_has_moved_is_another() {
    model_within(2, 12000, || {
        let ring = Arc::new(Ring::of(64, 1));
        let (futex, time) = (Arc::new(Futex::default()), Arc::new(Time::default()));
        let mut writer = open(&ring);
        let reader = join(&ring, 0);
        let reader = {
            let (ring, futex, time) = (ring.clone(), futex.clone(), time.clone());
            thread::spawn(move || {
                let park = Unfenced { futex: &futex, time: &time, signals: Cell::new(0) };
                take(&ring, &reader, &park);
                take(&ring, &reader, &park);
            })
        };
        let other = {
            let ring = ring.clone();
            thread::spawn(move || {
                let (ctl, limits) = (ring.shared().ctl, [FRESH, None]);
                sleep_as_reader(ctl, READERS, Heavy::Barrier, &Dead, &mut Settled::default(), limits, || {
                    false
                })
            })
        };
        time.at_once(|| writer.publish(&ring.shared(), &[]).unwrap());
        time.at_once(|| ring_bell(&ring, &*futex, Light::Compiler));
        time.at_once(|| {
            writer.publish(&ring.shared(), &[]).unwrap();
            ring_bell(&ring, &*futex, Light::Compiler)
        });
        other.join().unwrap();
        reader.join().unwrap();
    });
}

/// Reads what is there, and does not look again: a reader with a lot to do.
fn read_on(ring: &Ring, reader: &Reader, pins: &PinBits, (futex, time): (&Futex, &Time)) {
    let shared = ring.shared();
    while let Look::Record(held) = reader.look(&shared) {
        time.at_once(|| {
            let (before, after) = reader.release(&shared, &shared.slots[0], pins.pins(), held).unwrap();
            after_release(shared.ctl, before, after, futex);
        });
    }
}

fn producer(signals: u32) {
    let ring = Arc::new(Ring::new(1));
    let (futex, time) = (Arc::new(Futex::default()), Arc::new(Time::default()));
    let mut writer = open(&ring);
    let reader = join(&ring, 0);
    while writer.publish(&ring.shared(), &[]).is_ok() {}
    let blocked = {
        let (ring, futex, time) = (ring.clone(), futex.clone(), time.clone());
        thread::spawn(move || {
            let park = Unfenced { futex: &futex, time: &time, signals: Cell::new(signals) };
            let mut settled = Settled::default();
            while let Err(refusal) = writer.publish(&ring.shared(), &[]) {
                sleep(&ring, &mut writer, refusal, &park, &mut settled, [FRESH, None]);
            }
            stop_waiting(ring.shared().ctl);
        })
    };
    read_on(&ring, &reader, &PinBits::new(&ring.shape), (&futex, &time));
    blocked.join().unwrap();
}

#[test]
fn a_producer_is_woken_by_a_reader_that_goes_on() {
    model_within(2, 1500, || producer(0));
}

#[test]
fn a_producer_whose_short_sleep_a_signal_ends() {
    model_within(2, 4300, || producer(1));
}
