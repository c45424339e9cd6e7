//! Takeover after the producer has stopped at any step.
//!
//! Each model runs once for each store of its producer: that one stops before it, and a successor takes over and goes
//! on, while a subscriber, an observer, a joiner or a sleeper reads through both lives.
//!
//! Shows: what was published, to the last record that readers could see, is neither lost nor doubled, and the sequence
//! goes on; nothing torn is read, in place or copied; a reader keeps its place, also one that holds a record that the dead
//! producer had announced to write over; a joiner is seen by the successor although the dead one never fenced its wish;
//! a sleeper whose waker died is woken by the successor; a takeover may itself stop at any step. Cannot show: that the
//! kernel drops a lock only when its holder stores no more, and orders what it stored before the next holder (here: they are one
//! thread); that a wake is not lost within the kernel; the life files by which readers find out that nobody lives.

mod common;
#[path = "common/stop.rs"]
mod stop;

use annulus_core::doorbell::{
    Heavy, Light, Park, Slept, someone_sleeps, succeed, wake_everyone, wake_readers,
};
use annulus_core::history::{Resume, Start};
use annulus_core::layout::RingState;
use annulus_core::observer::{Observer, Sight};
use annulus_core::reader::{End, Look, PAYLOAD_OFFSET, Reader};
use annulus_core::sync::FutexWord;
use annulus_core::writer::{Refusal, Writer};
use common::{Arc, Futex, PinBits, Ring, asleep, model, relax, thread};
use std::time::Duration;
use stop::{at_every_step, until, until_before};

/// Payload of the record with a sequence: never 0 and never a header.
fn value(sequence: u64) -> u64 {
    1000 + sequence
}

/// A record that may be empty has nothing, or its own payload.
fn check(sequence: u64, payload: &[u8]) {
    let own = value(sequence).to_le_bytes();
    assert!(payload.chunks(8).all(|word| word == own), "record {sequence} is not its own: {payload:?}");
}

/// The kernel's futex, with the point that stands before the system call.
struct Bell<'a>(&'a Futex);

impl Park for Bell<'_> {
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool {
        self.0.wait(word, seen, bits, timeout)
    }

    fn wake(&self, word: &FutexWord, count: u32, bits: u32) -> u32 {
        annulus_core::fault::point("Futex::wake");
        self.0.wake(word, count, bits)
    }

    fn heavy(&self) -> bool {
        self.0.heavy()
    }
}

struct World {
    ring: Ring,
    park: Futex,
}

impl World {
    fn new(capacity: u64, slots: usize) -> (Arc<World>, Writer) {
        let world = World { ring: Ring::of(capacity, slots), park: Futex::default() };
        let writer = Writer::create(world.ring.shape, &world.ring.shared(), 0, 0, 0);
        world.ring.shared().producer.state.set(RingState::Open.to_word());
        (Arc::new(world), writer)
    }

    fn join(&self, start: Start) -> Reader {
        let shared = self.ring.shared();
        Reader::join(self.ring.shape, &shared, &shared.slots[0], start).unwrap()
    }

    fn observe(&self) -> Observer {
        Observer::start(self.ring.shape, &self.ring.shared().view(), Start::Oldest).unwrap()
    }

    /// A record of so many words, each its own, and a wake for who sleeps.
    fn publish(&self, writer: &mut Writer, words: usize) {
        let shared = self.ring.shared();
        let payload = value(writer.sequence()).to_le_bytes().repeat(words);
        while let Err(refusal) = writer.publish(&shared, &payload) {
            assert!(matches!(refusal, Refusal::Full(_)));
            relax();
        }
        self.wake();
    }

    fn wake(&self) {
        let shared = self.ring.shared();
        if someone_sleeps(shared.ctl, Light::Full) {
            wake_readers(shared.ctl, 1, &Bell(&self.park));
        }
    }

    /// Becomes the producer after one that is gone, as a process does that has got the `owner` lock.
    fn take_over(&self) -> Writer {
        let shared = self.ring.shared();
        let epoch = shared.producer.epoch.look() + 1;
        let writer = Writer::take_over(self.ring.shape, &shared, 0).unwrap();
        succeed(shared.ctl, shared.producer, epoch, &Bell(&self.park));
        writer
    }

    /// Takes over, finds what was published, no more and no less, and publishes up to a sequence.
    fn succeed(&self, published: u64, end: u64) {
        let mut writer = self.take_over();
        assert_eq!(writer.sequence(), published, "the successor's first record");
        // The first of another length than the dead one's, so that what that has scribbled lies under headers to come.
        let mut words = 0;
        while writer.sequence() < end {
            self.publish(&mut writer, words);
            words = 1;
        }
    }

    /// Takes the next record in place; what is there must be the reader's own sequence.
    fn consume(&self, reader: &Reader, pins: &PinBits) -> bool {
        let shared = self.ring.shared();
        match reader.look(&shared) {
            Look::Record(held) => {
                let mut payload = vec![0; held.len as usize];
                shared.records.read(held.position + PAYLOAD_OFFSET, &mut payload);
                check(held.sequence, &payload);
                reader.release(&shared, &shared.slots[0], pins.pins(), held).unwrap();
                true
            }
            Look::Empty => false,
            Look::Lost => panic!("a subscriber lost its place at {}", reader.sequence()),
        }
    }

    fn read(&self, reader: &Reader, end: u64) {
        let pins = PinBits::new(&self.ring.shape);
        while reader.sequence() < end {
            if !self.consume(reader, &pins) {
                relax();
            }
        }
    }

    /// The same by a copying reader, which is told of each record that it missed.
    fn watch(&self, mut observer: Observer, end: u64) {
        let view = self.ring.shared().view();
        while observer.sequence() < end {
            let before = observer.sequence();
            match observer.look(&view) {
                Sight::Record(seen) => {
                    let mut payload = vec![0; seen.len()];
                    if let Ok(taken) = observer.take(&view, seen, &mut payload) {
                        assert_eq!(taken.sequence, before);
                        check(taken.sequence, &payload);
                    }
                }
                Sight::Empty => relax(),
                Sight::Lapped => {
                    let lost = observer.resume(&view, Resume::Oldest).unwrap();
                    assert_eq!(observer.sequence(), before + lost);
                }
                Sight::Damaged => panic!("an observer found what no producer writes, at {before}"),
            }
        }
        assert_eq!(observer.sequence(), end);
    }
}

/// Who reads through both lives.
#[derive(Clone, Copy)]
enum Who {
    Subscriber,
    Observer,
}

/// A ring of four words that holds one record, so that the next one wraps around, and `work` by a producer that stops.
/// `visible` says how many records each header that it publishes makes visible.
fn over_a_wrap(step: usize, who: Who, visible: &[u64], work: fn(&World, &mut Writer)) {
    let (world, mut writer) = World::new(32, usize::from(matches!(who, Who::Subscriber)));
    let end = 2 + visible.iter().sum::<u64>();
    let reader = match who {
        Who::Subscriber => {
            let reader = world.join(Start::Newest);
            world.publish(&mut writer, 1);
            let world = world.clone();
            thread::spawn(move || world.read(&reader, end))
        }
        Who::Observer => {
            world.publish(&mut writer, 1);
            let observer = world.observe();
            let world = world.clone();
            thread::spawn(move || world.watch(observer, end))
        }
    };
    let fate = until(step, || work(&world, &mut writer));
    let headers = fate.count("Header::publish", visible.len());
    world.succeed(1 + visible[..headers].iter().sum::<u64>(), end);
    reader.join().unwrap();
}

fn one_record(world: &World, writer: &mut Writer) {
    world.publish(writer, 1);
}

/// Two records, which become visible at once.
fn a_batch(world: &World, writer: &mut Writer) {
    let shared = world.ring.shared();
    let mut batch = writer.batch();
    for _ in 0..2 {
        while writer.stage(&mut batch, &shared, &[]).is_err() {
            relax();
        }
    }
    assert_eq!(writer.flush(batch, &shared), 2);
    world.wake();
}

/// A record that is written into its room byte by byte, and is shorter than its room.
fn a_claim(world: &World, writer: &mut Writer) {
    let shared = world.ring.shared();
    let room = loop {
        match writer.claim(&shared, 16) {
            Ok(room) => break room,
            Err(_) => relax(),
        }
    };
    let payload = value(writer.sequence()).to_le_bytes();
    writer.fill(&room, &shared, 0, &payload[..3]);
    writer.fill(&room, &shared, 3, &payload[3..]);
    writer.fill(&room, &shared, 8, &payload);
    writer.commit(room, &shared, 8);
    world.wake();
}

/// Its asking for room, the zero behind it, payload, header and the words behind that.
#[test]
fn a_publication_over_a_wrap() {
    at_every_step(2, [11, 20], |step| over_a_wrap(step, Who::Subscriber, &[1], one_record));
    at_every_step(1, [10, 240], |step| over_a_wrap(step, Who::Observer, &[1], one_record));
}

#[test]
fn a_batch_over_a_wrap() {
    at_every_step(2, [12, 35], |step| over_a_wrap(step, Who::Subscriber, &[2], a_batch));
}

#[test]
fn a_claim_over_a_wrap() {
    at_every_step(2, [13, 20], |step| over_a_wrap(step, Who::Subscriber, &[1], a_claim));
    at_every_step(1, [12, 240], |step| over_a_wrap(step, Who::Observer, &[1], a_claim));
}

/// A producer that asks for more than it gets: its wish reaches over the first record, which a subscriber reads in place.
/// Only what it was granted is its successor's.
#[test]
fn a_wish_is_not_inherited() {
    at_every_step(3, [11, 7], |step| {
        let (world, mut writer) = World::new(64, 1);
        let reader = world.join(Start::Newest);
        // The third record asks for a chunk behind it, half the ring here.
        world.publish(&mut writer, 1);
        world.publish(&mut writer, 1);
        let fate = until(step, || world.publish(&mut writer, 1));
        let page = world.ring.shared().producer;
        // Without loom a chunk is less than a record here, and no more is wished for than is needed.
        let is_left = page.lease.glance() > page.licence.glance();
        assert!(is_left || !fate.finished || cfg!(not(loom)), "no wish was left");
        let reader = {
            let world = world.clone();
            thread::spawn(move || world.read(&reader, 1))
        };
        world.succeed(2 + fate.count("Header::publish", 1) as u64, 5);
        reader.join().unwrap();
    });
}

/// The dead one's wish was never fenced, so a joiner may not see it: the successor's fence is what makes the two a pair
/// again.
#[test]
fn a_joiner_and_a_wish_that_was_not_fenced() {
    at_every_step(1, [10, 600], |step| {
        let (world, mut writer) = World::new(32, 1);
        let joiner = {
            let world = world.clone();
            thread::spawn(move || world.join(Start::Newest))
        };
        // The third asks for more than a lap behind where the joiner may think that the tail is.
        let shared = world.ring.shared();
        for _ in 0..2 {
            writer.publish(&shared, &[]).unwrap();
        }
        let fate = until(step, || {
            let _ = writer.publish(&shared, &[]);
        });
        let mut writer = world.take_over();
        assert_eq!(writer.sequence(), 2 + fate.count("Header::publish", 1) as u64);
        // The fourth is written over the first, unless the joiner is there.
        while writer.sequence() < 4 && writer.publish(&shared, &[]).is_ok() {}
        let reader = joiner.join().unwrap();
        while reader.sequence() < writer.sequence() {
            assert!(matches!(reader.look(&shared), Look::Record(_)), "a joiner lost its place");
        }
    });
}

/// The successor stops, too, at each step of its takeover and its first record, and another one follows.
#[test]
fn a_takeover_that_stops() {
    at_every_step(2, [16, 300], |step| {
        let (world, mut writer) = World::new(32, 1);
        let reader = world.join(Start::Newest);
        let reader = {
            let world = world.clone();
            thread::spawn(move || world.read(&reader, 3))
        };
        // Its record is visible, and none of its words says so.
        let first = until_before("Published::publish", || world.publish(&mut writer, 1));
        let second = until(step, || {
            let mut writer = world.take_over();
            assert_eq!(writer.sequence(), 1);
            world.publish(&mut writer, 0);
        });
        world.succeed(1 + second.count("Header::publish", 1) as u64, 3);
        assert_eq!(first.count("Header::publish", 1), 1);
        reader.join().unwrap();
    });
}

/// Its header was all that the dead one stored. Who asks for the newest record is shown it, though the successor's words
/// come one by one.
#[test]
fn the_newest_record_of_a_ring_that_is_taken_over() {
    model(100, || {
        let (world, mut writer) = World::new(32, 0);
        let observer = world.observe();
        let first = until_before("Published::publish", || world.publish(&mut writer, 1));
        assert_eq!(first.count("Header::publish", 1), 1);
        let watcher = {
            let world = world.clone();
            thread::spawn(move || observer.newest(&world.ring.shared().view()))
        };
        world.take_over();
        let sight = watcher.join().unwrap();
        assert!(matches!(sight, Sight::Record(seen) if seen.len() == 8), "{sight:?}");
    });
}

/// Sleeps until there is a record, without a deadline that could save it from a wake that was lost.
fn read_asleep(world: &World, reader: &Reader, end: u64) {
    let shared = world.ring.shared();
    let pins = PinBits::new(&world.ring.shape);
    while reader.sequence() < end {
        if !world.consume(reader, &pins) {
            let slept = asleep(shared.ctl, Heavy::Full, &Bell(&world.park), || reader.is_ready(&shared));
            assert_ne!(slept, Slept::Forbidden);
        }
    }
}

/// The dead one has published, or taken the sleeper's declaration, or moved the bell, and has not woken it.
#[test]
fn a_sleeper_whose_waker_died() {
    at_every_step(3, [11, 25], |step| {
        let (world, mut writer) = World::new(32, 1);
        let reader = world.join(Start::Newest);
        let reader = {
            let world = world.clone();
            thread::spawn(move || read_asleep(&world, &reader, 1))
        };
        let fate = until(step, || world.publish(&mut writer, 0));
        if !fate.finished {
            world.succeed(fate.count("Header::publish", 1) as u64, 1);
        }
        reader.join().unwrap();
    });
}

/// A producer that stops while it ends: its reader, asleep, finds the end behind the last record, or the successor's.
#[test]
fn an_end_that_stops() {
    at_every_step(1, [15, 34], |step| {
        let (world, mut writer) = World::new(32, 1);
        let reader = world.join(Start::Newest);
        let reader = {
            let world = world.clone();
            thread::spawn(move || {
                let shared = world.ring.shared();
                let pins = PinBits::new(&world.ring.shape);
                let is_over = || reader.ended(&shared).is_some();
                loop {
                    if world.consume(&reader, &pins) {
                        continue;
                    }
                    if let Some(end) = reader.ended(&shared) {
                        assert_eq!(end, End::Closed);
                        return reader.sequence();
                    }
                    asleep(shared.ctl, Heavy::Full, &Bell(&world.park), || {
                        reader.is_ready(&shared) || is_over()
                    });
                }
            })
        };
        let end = |writer: &mut Writer| {
            world.publish(writer, 0);
            writer.close(&world.ring.shared());
            wake_everyone(world.ring.shared().ctl, &Bell(&world.park));
        };
        let fate = until(step, || end(&mut writer));
        let published = fate.count("Header::publish", 1) as u64;
        if !fate.finished {
            let mut writer = world.take_over();
            assert_eq!(writer.sequence(), published);
            end(&mut writer);
        }
        let read = reader.join().unwrap();
        // It went on to the second of the two, unless the first had said the end.
        let said = fate.count("State::set", 1) > 0 && read == published;
        assert!(said || !fate.finished && read == published + 1, "{read} records read");
    });
}
