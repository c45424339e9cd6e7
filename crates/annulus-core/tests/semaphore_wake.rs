//! Sleep against wake over semaphores, in both directions.
//!
//! Shows: what `sleep_wake.rs` and `close_sleep.rs` show of futexes holds where a declaration beside each
//! semaphore stands for the kernel's comparison; one wake reaches readers in two slots; a declaration that a
//! waker took before it died is taken again, and by one only of two who try; posts do not pile up. Timeouts never save a sleeper here. Cannot show: that the
//! system's semaphores order memory, and that a failed `try_wait` of theirs may order nothing, since the ones
//! here are a lock.

mod common;
#[path = "common/sleeping.rs"]
mod sleeping;

use annulus_core::doorbell::{
    Heavy, Light, Park, READERS, Settled, Slept, after_release, end, leave, sleep_for_room, someone_sleeps,
    wake_everyone, wake_readers, when_empty,
};
use annulus_core::history::Start;
use annulus_core::layout::{CtlHead, SlotKind};
use annulus_core::reader::{End, Look, Reader};
use annulus_core::semaphore::{ReaderSemaphores, RoomSemaphore, Semaphores, Words};
use annulus_core::sync::FutexWord;
use annulus_core::words::{Asleep, full_fence};
use annulus_core::writer::{Refusal, Writer};
use common::{Arc, PinBits, Ring, asleep, model, thread};
use std::cell::Cell;
use std::time::Duration;

#[cfg(loom)]
use loom::sync::{Condvar, Mutex};
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex};

/// A stand-in for the system's semaphores: a count and a lock for each, found by the address of its words. No
/// wait ends by time, and more posts than are promised are an error.
struct Mock(Vec<Semaphore>);

struct Semaphore {
    address: usize,
    posts: Mutex<usize>,
    posted: Condvar,
}

/// What one declaration is worth, and one waker that was held up.
const MOST_POSTS: usize = 3;

fn address(words: &Words) -> usize {
    std::ptr::from_ref(words) as usize
}

impl Mock {
    fn new(ring: &Ring) -> Mock {
        let shared = ring.shared();
        let all = shared.slots.iter().map(|slot| &slot.semaphore).chain([&shared.ctl.room_semaphore]);
        let made =
            |words| Semaphore { address: address(words), posts: Mutex::new(0), posted: Condvar::new() };
        Mock(all.map(made).collect())
    }

    fn of(&self, words: &Words) -> &Semaphore {
        self.0.iter().find(|semaphore| semaphore.address == address(words)).unwrap()
    }

    fn posts(&self, words: &Words) -> usize {
        *self.of(words).posts.lock().unwrap()
    }
}

impl Semaphores for Mock {
    fn post(&self, words: &Words) {
        let semaphore = self.of(words);
        let mut posts = semaphore.posts.lock().unwrap();
        *posts += 1;
        assert!(*posts <= MOST_POSTS, "posts pile up");
        drop(posts);
        semaphore.posted.notify_one();
    }

    fn try_wait(&self, words: &Words) -> bool {
        let mut posts = self.of(words).posts.lock().unwrap();
        let taken = *posts > 0;
        *posts -= usize::from(taken);
        taken
    }

    fn wait(&self, words: &Words, _: Option<Duration>) -> bool {
        let semaphore = self.of(words);
        let mut posts = semaphore.posts.lock().unwrap();
        while *posts == 0 {
            posts = semaphore.posted.wait(posts).unwrap();
        }
        *posts -= 1;
        false
    }

    fn heavy(&self) -> bool {
        full_fence();
        true
    }
}

/// A ring, and its semaphores: made where the words have their last address.
fn scene(slots: usize) -> (Arc<Ring>, Arc<Mock>) {
    let ring = Arc::new(Ring::new(slots));
    let mock = Arc::new(Mock::new(&ring));
    (ring, mock)
}

fn readers<'a>(ring: &'a Ring, own: Option<usize>, mock: &'a Mock) -> ReaderSemaphores<'a, &'a Mock> {
    ReaderSemaphores { slots: ring.shared().slots, own, system: mock }
}

fn room<'a>(ring: &'a Ring, mock: &'a Mock) -> RoomSemaphore<'a, &'a Mock> {
    RoomSemaphore { ctl: ring.shared().ctl, system: mock }
}

fn join(ring: &Ring, slot: usize) -> Reader {
    let shared = ring.shared();
    Reader::join(ring.shape, &shared, &shared.slots[slot], Start::Newest).unwrap()
}

fn publish_and_wake(ring: &Ring, writer: &mut Writer, mock: &Mock, light: Light) {
    let shared = ring.shared();
    loop {
        match writer.publish(&shared, &[]) {
            Ok(()) => break,
            Err(Refusal::Full(full)) => {
                let end = writer.tail() + ring.shape.need(0);
                let (bell, mut settled) = (room(ring, mock), Settled::default());
                sleep_for_room(shared.ctl, full.wanted, &bell, &mut settled, [None, None], || {
                    writer.extend(&shared, end).is_ok()
                });
            }
            Err(refusal) => unreachable!("{refusal:?}"),
        }
    }
    if someone_sleeps(shared.ctl, light) {
        wake_readers(shared.ctl, 1, &readers(ring, None, mock));
    }
}

fn consume_asleep(ring: &Ring, (reader, slot): (&Reader, usize), pins: &PinBits, mock: &Mock, heavy: Heavy) {
    let shared = ring.shared();
    loop {
        match reader.look(&shared) {
            Look::Record(held) => {
                let (before, after) =
                    reader.release(&shared, &shared.slots[slot], pins.pins(), held).unwrap();
                after_release(shared.ctl, before, after, &room(ring, mock));
                return;
            }
            Look::Empty => {
                when_empty(shared.ctl, &room(ring, mock));
                let park = readers(ring, Some(slot), mock);
                let slept = asleep(shared.ctl, heavy, &park, || reader.is_ready(&shared));
                assert_ne!(slept, Slept::Forbidden);
            }
            Look::Lost => panic!("lost"),
        }
    }
}

fn sleepers(records: u64, light: Light, heavy: Heavy) {
    let (ring, mock) = scene(1);
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let reader = join(&ring, 0);
    let producer = {
        let (ring, mock) = (ring.clone(), mock.clone());
        thread::spawn(move || {
            for _ in 0..records {
                publish_and_wake(&ring, &mut writer, &mock, light);
            }
        })
    };
    let pins = PinBits::new(&ring.shape);
    for _ in 0..records {
        consume_asleep(&ring, (&reader, 0), &pins, &mock, heavy);
    }
    // As in `sleep_wake.rs`: whoever stops reading looks once more.
    when_empty(ring.shared().ctl, &room(&ring, &mock));
    producer.join().unwrap();
}

#[test]
fn a_reader_asleep_on_its_semaphore_is_woken_by_each_record() {
    model(980, || sleepers(2, Light::Full, Heavy::Full));
}

#[test]
fn a_reader_asleep_on_its_semaphore_is_woken_over_the_asymmetric_fence() {
    model(980, || sleepers(2, Light::Compiler, Heavy::Barrier));
}

/// Empty records in the smallest ring: the fourth waits for the first. The reader goes to sleep too.
#[test]
fn a_producer_blocked_on_its_semaphore_is_woken_by_a_release() {
    model(8100, || {
        let (ring, mock) = scene(1);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        let reader = join(&ring, 0);
        for _ in 0..3 {
            writer.publish(&ring.shared(), &[]).unwrap();
        }
        let producer = {
            let (ring, mock) = (ring.clone(), mock.clone());
            thread::spawn(move || publish_and_wake(&ring, &mut writer, &mock, Light::Full))
        };
        let pins = PinBits::new(&ring.shape);
        for _ in 0..4 {
            consume_asleep(&ring, (&reader, 0), &pins, &mock, Heavy::Full);
        }
        producer.join().unwrap();
    });
}

#[test]
fn one_wake_reaches_the_semaphores_of_two_slots() {
    model(2200, || {
        let (ring, mock) = scene(2);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        let asleep = [0, 1].map(|slot| {
            let (ring, mock, reader) = (ring.clone(), mock.clone(), join(&ring, slot));
            thread::spawn(move || {
                let pins = PinBits::new(&ring.shape);
                consume_asleep(&ring, (&reader, slot), &pins, &mock, Heavy::Full);
            })
        });
        publish_and_wake(&ring, &mut writer, &mock, Light::Full);
        for reader in asleep {
            reader.join().unwrap();
        }
    });
}

/// Both doorbells of a ring, each over its own semaphores.
struct Bells<'a> {
    ring: &'a Ring,
    own: Option<usize>,
    mock: &'a Mock,
}

impl Bells<'_> {
    fn is_room(&self, word: &FutexWord) -> bool {
        std::ptr::eq(word, self.ring.shared().ctl.room.futex())
    }
}

impl Park for Bells<'_> {
    fn wait(&self, word: &FutexWord, seen: u32, bits: u32, timeout: Option<Duration>) -> bool {
        match self.is_room(word) {
            true => room(self.ring, self.mock).wait(word, seen, bits, timeout),
            false => readers(self.ring, self.own, self.mock).wait(word, seen, bits, timeout),
        }
    }

    fn wake(&self, word: &FutexWord, count: u32, bits: u32) -> u32 {
        match self.is_room(word) {
            true => room(self.ring, self.mock).wake(word, count, bits),
            false => readers(self.ring, None, self.mock).wake(word, count, bits),
        }
    }

    fn heavy(&self) -> bool {
        self.mock.heavy()
    }
}

#[test]
fn a_reader_asleep_on_its_semaphore_has_the_last_record_before_the_end() {
    model(540, || {
        let (ring, mock) = scene(1);
        let mut writer = sleeping::open(&ring);
        let reader = join(&ring, 0);
        let asleep = {
            let (ring, mock) = (ring.clone(), mock.clone());
            thread::spawn(move || {
                let (pins, park) =
                    (PinBits::new(&ring.shape), Bells { ring: &ring, own: Some(0), mock: &mock });
                let next = || sleeping::recv(&ring, (&reader, 0), &pins, &park, Heavy::Full);
                assert_eq!([next(), next()], [None, Some(End::Closed)]);
            })
        };
        let park = Bells { ring: &ring, own: None, mock: &mock };
        sleeping::send(&ring, &mut writer, &park, Light::Full);
        end(&mut writer, &ring.shared(), &park);
        asleep.join().unwrap();
    });
}

#[test]
fn a_producer_blocked_on_its_semaphore_is_woken_by_the_last_subscriber_that_leaves() {
    model(45, || {
        let (ring, mock) = scene(1);
        let mut writer = sleeping::open(&ring);
        join(&ring, 0);
        for _ in 0..3 {
            writer.publish(&ring.shared(), &[]).unwrap();
        }
        let producer = {
            let (ring, mock) = (ring.clone(), mock.clone());
            thread::spawn(move || {
                let park = Bells { ring: &ring, own: None, mock: &mock };
                sleeping::publish(&ring, &mut writer, &park, [None; 2]);
            })
        };
        leave(ring.shared().ctl, &ring.shared().slots[0], &Bells { ring: &ring, own: Some(0), mock: &mock });
        producer.join().unwrap();
    });
}

/// A producer that dies just before it posts, at a record or at the end; the next one wakes everyone.
fn dead_waker(wake: fn(&CtlHead, &ReaderSemaphores<'_, Dead>)) {
    let (ring, mock) = scene(1);
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    let reader = join(&ring, 0);
    let asleep = {
        let (ring, mock) = (ring.clone(), mock.clone());
        thread::spawn(move || {
            let pins = PinBits::new(&ring.shape);
            consume_asleep(&ring, (&reader, 0), &pins, &mock, Heavy::Full);
        })
    };
    let shared = ring.shared();
    writer.publish(&shared, &[]).unwrap();
    if someone_sleeps(shared.ctl, Light::Full) {
        wake(shared.ctl, &ReaderSemaphores { slots: shared.slots, own: None, system: Dead });
    }
    wake_everyone(shared.ctl, &readers(&ring, None, &mock));
    asleep.join().unwrap();
}

#[test]
fn a_semaphore_that_a_dead_waker_did_not_post_to_is_posted_to_by_the_next() {
    model(120, || {
        dead_waker(|ctl, park| {
            wake_readers(ctl, 1, park);
        });
    });
}

#[test]
fn nor_is_a_semaphore_forgotten_by_one_who_died_waking_everyone() {
    model(130, || dead_waker(|ctl, park| wake_everyone(ctl, park)));
}

/// A process that dies before it posts.
struct Dead;

impl Semaphores for Dead {
    fn post(&self, _: &Words) {}

    fn try_wait(&self, _: &Words) -> bool {
        unreachable!("it never sleeps")
    }

    fn wait(&self, _: &Words, _: Option<Duration>) -> bool {
        unreachable!("it never sleeps")
    }

    fn heavy(&self) -> bool {
        true
    }
}

/// A system whose waits end by time, each at the moment in which `meanwhile` has happened.
struct TimesOut<'a, F>(&'a Mock, F);

impl<F: Fn()> Semaphores for TimesOut<'_, F> {
    fn post(&self, words: &Words) {
        self.0.post(words);
    }

    fn try_wait(&self, words: &Words) -> bool {
        self.0.try_wait(words)
    }

    fn wait(&self, _: &Words, _: Option<Duration>) -> bool {
        (self.1)();
        true
    }

    fn heavy(&self) -> bool {
        true
    }
}

/// However many waits end without the posts that were meant for them, and whoever has the slot.
#[test]
fn posts_do_not_pile_up_in_a_semaphore() {
    model(1, || {
        let (ring, mock) = scene(1);
        let (shared, waker) = (ring.shared(), readers(&ring, None, &mock));
        let bell = shared.ctl.rings.futex();
        let everyone = Cell::new(false);
        let rings = TimesOut(&mock, || {
            let first = if everyone.get() { u32::MAX } else { READERS };
            assert_eq!(waker.wake(bell, 1, first), 1);
            assert_eq!(waker.wake(bell, 1, READERS), 0, "the same declaration");
            assert_eq!(waker.wake(bell, 1, u32::MAX), 1, "everyone: the waker may have died");
            assert_eq!(waker.wake(bell, 1, u32::MAX), 0, "the same declaration");
        });
        let asleep = ReaderSemaphores { slots: shared.slots, own: Some(0), system: &rings };
        for i in 0..6 {
            everyone.set(i % 2 == 1);
            asleep.wait(bell, bell.glance(), READERS, None);
            assert_eq!(mock.posts(&shared.slots[0].semaphore), 2);
        }
        let bell = shared.ctl.room.futex();
        let rooms = TimesOut(&mock, || assert_eq!(room(&ring, &mock).wake(bell, 1, u32::MAX), 1));
        for _ in 0..5 {
            RoomSemaphore { ctl: shared.ctl, system: &rooms }.wait(bell, bell.glance(), u32::MAX, None);
            assert_eq!(mock.posts(&shared.ctl.room_semaphore), 1);
        }
    });
}

/// A new owner's first sleeps: what the dead one left is gone, and not for its own declaration.
#[test]
fn what_a_dead_owner_left_in_its_semaphore_is_taken() {
    model(1, || {
        let (ring, mock) = scene(1);
        let (shared, waker) = (ring.shared(), readers(&ring, None, &mock));
        let (slot, bell) = (&shared.slots[0], shared.ctl.rings.futex());
        slot.occupy(SlotKind::InPlace, 1, 1, 1);
        slot.asleep.declare();
        waker.wake(bell, 1, READERS);
        slot.asleep.declare();
        slot.vacate();
        slot.occupy(SlotKind::InPlace, 2, 2, 2);
        assert_eq!(waker.wake(bell, 1, u32::MAX), 0, "nobody sleeps in the slot");
        let found = TimesOut(&mock, || assert_eq!(mock.posts(&slot.semaphore), 0));
        let asleep = ReaderSemaphores { slots: shared.slots, own: Some(0), system: &found };
        asleep.wait(bell, bell.glance(), READERS, None);
        assert_eq!(waker.wake(bell, 1, READERS), 0, "withdrawn");
    });
}

#[test]
fn a_bell_that_has_moved_lets_nobody_sleep_on_a_semaphore() {
    model(1, || {
        let (ring, mock) = scene(1);
        let shared = ring.shared();
        let awake = TimesOut(&mock, || panic!("it slept"));
        let seen = shared.ctl.rings.seen();
        shared.ctl.rings.move_on();
        let park = ReaderSemaphores { slots: shared.slots, own: Some(0), system: &awake };
        park.wait(shared.ctl.rings.futex(), seen, READERS, None);
        // Nor do those who have no slot, or no bit, which nobody could wake.
        let seen = shared.ctl.rings.seen();
        park.wait(shared.ctl.rings.futex(), seen, !READERS, None);
        for own in [None, Some(1), Some(usize::MAX)] {
            ReaderSemaphores { own, ..park }.wait(shared.ctl.rings.futex(), seen, READERS, None);
        }
        assert_eq!(readers(&ring, None, &mock).wake(shared.ctl.rings.futex(), 1, u32::MAX), 0);
    });
}

#[test]
fn only_semaphores_of_sleepers_are_posted_to_and_no_more_than_asked() {
    model(1, || {
        let (ring, mock) = scene(4);
        let shared = ring.shared();
        let (bell, waker) = (shared.ctl.rings.futex(), readers(&ring, None, &mock));
        for i in [0, 2, 3] {
            shared.slots[i].asleep.declare();
        }
        assert_eq!(waker.wake(bell, u32::MAX, !READERS), 0);
        assert_eq!(waker.wake(bell, 0, READERS), 0);
        assert_eq!(waker.wake(bell, 2, READERS), 2);
        let posts = |i: usize| mock.posts(&shared.slots[i].semaphore);
        assert_eq!([0, 1, 2, 3].map(posts), [1, 0, 1, 0]);
        assert_eq!(waker.wake(bell, u32::MAX, READERS), 1);
        assert_eq!([0, 1, 2, 3].map(posts), [1, 0, 1, 1]);
        shared.ctl.room_asleep.declare();
        assert_eq!(room(&ring, &mock).wake(shared.ctl.room.futex(), 0, u32::MAX), 0);
        assert_eq!(room(&ring, &mock).wake(shared.ctl.room.futex(), 1, u32::MAX), 1);
        assert_eq!(room(&ring, &mock).wake(shared.ctl.room.futex(), 1, u32::MAX), 0);
    });
}

/// Whatever stands in the words of another process: at most a post for nothing, and the next declaration
/// counts.
#[test]
fn garbage_beside_a_semaphore_costs_a_wake_at_most() {
    model(1, || {
        let (ring, mock) = scene(1);
        let shared = ring.shared();
        let (bell, waker) = (shared.ctl.rings.futex(), readers(&ring, None, &mock));
        for garbage in [2, 3, 77, u32::MAX] {
            shared.slots[0].asleep.preset(garbage);
            shared.ctl.room_asleep.preset(garbage);
            assert_eq!(waker.wake(bell, 1, READERS), 0);
            assert_eq!(waker.wake(bell, 1, u32::MAX), 1);
            assert_eq!(waker.wake(bell, 1, u32::MAX), 0);
            assert_eq!(room(&ring, &mock).wake(shared.ctl.room.futex(), 1, u32::MAX), 0);
            let woken = TimesOut(&mock, || assert_eq!(waker.wake(bell, 1, READERS), 1));
            let park = ReaderSemaphores { slots: shared.slots, own: Some(0), system: &woken };
            park.wait(bell, bell.glance(), READERS, None);
        }
    });
}

/// Two wakers at one declaration, each of which asks twice as `take` does; how many posts it was worth.
fn worth(take: fn(&Asleep) -> bool) -> usize {
    let ring = Arc::new(Ring::new(1));
    ring.shared().ctl.room_asleep.declare();
    let wakers = [(); 2].map(|()| {
        let ring = ring.clone();
        thread::spawn(move || {
            let mut taken = 0;
            for _ in 0..2 {
                Asleep::before_looking();
                taken += usize::from(take(&ring.shared().ctl.room_asleep));
            }
            taken
        })
    });
    wakers.into_iter().map(|waker| waker.join().unwrap()).sum()
}

#[test]
fn of_two_wakers_at_once_one_has_the_declaration() {
    model(40, || assert_eq!(worth(Asleep::take), 1));
}

#[test]
fn two_who_wake_everyone_at_once_have_it_twice_at_most() {
    model(180, || assert_eq!(worth(Asleep::take_again), 2));
}
