//! A ring over a heap block, and one way to run a scenario: every interleaving under loom, many runs as
//! plain stress otherwise.
#![allow(dead_code, unused_imports, unreachable_pub)] // each test binary uses its part

use annulus_core::doorbell::{Heavy, Park, READERS, Settled, Slept, sleep_as_reader};
use annulus_core::layout::{CtlHead, GroupHead, ProducerPage, Slot};
use annulus_core::memory::{Block, BlockWord, Shared};
use annulus_core::reader::Pins;
use annulus_core::shape::{Align, Shape};
use annulus_core::words::ClaimWord;
use std::cell::Cell;

pub mod subscriber;

#[cfg(loom)]
pub use annulus_core::sync::MockFutex as Futex;
#[cfg(loom)]
pub use loom::{sync::Arc, thread};
#[cfg(not(loom))]
pub use std::{sync::Arc, thread};

/// Runs a scenario: all its executions under loom, some thousand times as stress. Under loom fewer executions than
/// `floor` fail: a model that explores nothing shows nothing.
pub fn model(floor: u64, scenario: impl Fn() + Sync + Send + 'static) {
    model_within(usize::MAX, floor, scenario);
}

/// The same for a scenario that is too large for every interleaving: with so many preemptions at most. What a weak
/// machine may do with loads and stores costs none, and is explored in full.
#[cfg(loom)]
pub fn model_within(preemptions: usize, floor: u64, scenario: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    let asked = builder.preemption_bound.unwrap_or(usize::MAX);
    builder.preemption_bound = Some(asked.min(preemptions)).filter(|bound| *bound != usize::MAX);
    let explored = std::sync::Arc::new(std::sync::Mutex::new(0));
    let count = explored.clone();
    builder.check(move || {
        *count.lock().unwrap() += 1;
        scenario();
    });
    let explored: u64 = *explored.lock().unwrap();
    println!("explored {explored} executions of {}", std::thread::current().name().unwrap_or("a model"));
    // Floors are for the bound that `cargo xtask loom` sets; and mutated code has other executions.
    let holds =
        asked >= preemptions.min(3) && std::env::var_os("ANNULUS_MODEL_FLOORS").is_none_or(|v| v != "off");
    assert!(
        !holds || explored >= floor,
        "only {explored} executions were explored, and {floor} are the floor"
    );
}

/// The same, as stress.
#[cfg(not(loom))]
pub fn model_within(_: usize, _: u64, scenario: impl Fn() + Sync + Send + 'static) {
    for _ in 0..2000 {
        scenario();
    }
}

/// The shared words of one ring on the heap.
pub struct Ring {
    pub shape: Shape,
    producer: ProducerPage,
    ctl: CtlHead,
    slots: Vec<Slot>,
    groups: Vec<GroupHead>,
    claims: Vec<ClaimWord>,
    words: Vec<BlockWord>,
}

impl Ring {
    /// The smallest ring: 4 words, packed, so that each record of a word is a wrap or half of one.
    pub fn new(slots: usize) -> Ring {
        Ring::of(32, slots)
    }

    pub fn of(capacity: u64, slots: usize) -> Ring {
        Ring::shaped(Shape::new(capacity, Align::Packed).unwrap(), slots)
    }

    pub fn shaped(shape: Shape, slots: usize) -> Ring {
        Ring {
            shape,
            producer: ProducerPage::default(),
            ctl: CtlHead::default(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            groups: Vec::new(),
            claims: Vec::new(),
            words: (0..shape.capacity() / 8).map(|_| BlockWord::default()).collect(),
        }
    }

    /// The same ring with places for groups, each with so many claim words.
    pub fn with_groups(mut self, groups: usize, claim_words: usize) -> Ring {
        self.groups = (0..groups).map(|_| GroupHead::default()).collect();
        self.claims = (0..groups * claim_words).map(|_| ClaimWord::default()).collect();
        self
    }

    pub fn shared(&self) -> Shared<'_, Block<'_>> {
        Shared {
            producer: &self.producer,
            ctl: &self.ctl,
            slots: &self.slots,
            groups: &self.groups,
            claims: &self.claims,
            records: Block::new(&self.words).unwrap(),
        }
    }
}

/// The private bits of one subscriber.
pub struct PinBits(Vec<Cell<u64>>, Cell<u64>);

impl PinBits {
    pub fn new(shape: &Shape) -> PinBits {
        PinBits((0..Pins::words(shape)).map(|_| Cell::new(0)).collect(), Cell::new(0))
    }

    pub fn pins(&self) -> Pins<'_> {
        Pins::new(&self.0, &self.1)
    }
}

/// Lets others run: a turn of a loop that waits for another thread.
pub fn relax() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::thread::yield_now();
}

/// A reader's sleep, once, without a limit that could save it from a wake that was lost.
pub fn asleep(ctl: &CtlHead, heavy: Heavy, park: &impl Park, look: impl FnMut() -> bool) -> Slept {
    sleep_as_reader(ctl, READERS, heavy, park, &mut Settled::default(), [None; 2], look)
}

/// A stand-in for the kernel in plain stress: what futex(2) says, with one lock for all words. No deadlines, so
/// that a lost wake hangs the test instead of passing late.
#[cfg(not(loom))]
#[derive(Default)]
pub struct Futex {
    queue: std::sync::Mutex<Queue>,
    woken: std::sync::Condvar,
}

#[cfg(not(loom))]
#[derive(Default)]
struct Queue {
    /// The word, the bits and the number of each that sleeps, oldest first.
    asleep: Vec<(usize, u32, u64)>,
    last: u64,
}

#[cfg(not(loom))]
impl annulus_core::doorbell::Park for Futex {
    fn wait(
        &self,
        word: &annulus_core::sync::FutexWord,
        seen: u32,
        bits: u32,
        _: Option<std::time::Duration>,
    ) -> bool {
        let mut queue = self.queue.lock().unwrap();
        if bits == 0 || word.glance() != seen {
            return false;
        }
        queue.last += 1;
        let me = queue.last;
        queue.asleep.push((word.as_ptr() as usize, bits, me));
        let asleep = |queue: &mut Queue| queue.asleep.iter().any(|sleeper| sleeper.2 == me);
        drop(self.woken.wait_while(queue, asleep).unwrap());
        false
    }

    fn wake(&self, word: &annulus_core::sync::FutexWord, count: u32, bits: u32) -> u32 {
        let mut n = 0;
        self.queue.lock().unwrap().asleep.retain(|sleeper| {
            let woken = n < count && sleeper.0 == word.as_ptr() as usize && sleeper.1 & bits != 0;
            n += u32::from(woken);
            !woken
        });
        self.woken.notify_all();
        n
    }

    fn heavy(&self) -> bool {
        annulus_core::words::full_fence();
        true
    }
}
