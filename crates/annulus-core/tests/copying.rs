//! Copying subscribers: observers with a cursor, against the producer that waits for it, gives it up, or is told a
//! wrong one by somebody else.
//!
//! Shows: while its cursor is honoured a copying subscriber misses nothing; when the producer gives it up, or
//! somebody moves its cursor, it is told exactly what it lost, and never believes a torn record; after it has joined
//! again it is waited for again; a cursor from the future holds nobody back. Cannot show: that a cursor which somebody
//! moves back for ever lets the producer go on; that takes eviction.

mod common;

use annulus_core::history::{Resume, Start};
use annulus_core::layout::RingState;
use annulus_core::observer::{Observer, Sight};
use annulus_core::reader::End;
use annulus_core::writer::{Refusal, Writer};
use common::{Arc, Ring, model, model_within, relax, thread};

/// A record of two words.
fn payload(sequence: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(1000 + sequence).to_le_bytes());
    bytes[8..].copy_from_slice(&(2000 + sequence).to_le_bytes());
    bytes
}

/// What the producer does about a subscriber that is in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Wait,
    Evict,
    /// Nobody can be in the way.
    GoOn,
}

fn publish(ring: &Ring, writer: &mut Writer, policy: Policy) {
    loop {
        match writer.publish(&ring.shared(), &payload(writer.sequence())) {
            Ok(()) => return,
            Err(Refusal::Full(_)) if policy == Policy::Wait => relax(),
            Err(Refusal::Full(_)) if policy == Policy::Evict => {
                let end = writer.tail() + ring.shape.need(16);
                // Nobody, if the subscriber has just moved on.
                assert!(writer.evict(&ring.shared(), end).unwrap() <= 1);
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}

/// Publishes records, each under its policy, and ends.
fn producing(ring: &Arc<Ring>, mut writer: Writer, policies: &'static [Policy]) -> thread::JoinHandle<()> {
    let ring = ring.clone();
    thread::spawn(move || {
        for &policy in policies {
            publish(&ring, &mut writer, policy);
        }
        writer.close(&ring.shared());
    })
}

/// A ring of one slot, and its copying subscriber from the first record on.
fn ring(capacity: u64) -> (Arc<Ring>, Writer, Copying) {
    let ring = Arc::new(Ring::of(capacity, 1));
    let writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    ring.shared().producer.state.set(RingState::Open.to_word());
    let shared = ring.shared();
    let observer = Observer::join(ring.shape, &shared, &shared.slots[0], Start::Newest).unwrap();
    (ring.clone(), writer, Copying { ring, observer, next: 0, lost: 0, resume: Resume::Oldest })
}

struct Copying {
    ring: Arc<Ring>,
    observer: Observer,
    /// The sequence that is due: all before it were received, or told as lost.
    next: u64,
    lost: u64,
    resume: Resume,
}

impl Copying {
    /// One look, and what follows from it. Whether it found anything.
    fn step(&mut self) -> bool {
        let shared = self.ring.shared();
        match self.observer.look(&shared.view()) {
            Sight::Record(seen) => {
                let mut bytes = [0; 16];
                if seen.len() != bytes.len() {
                    let confirmed = self.observer.confirm(&shared.view(), seen);
                    assert!(confirmed.is_err(), "a torn header was believed");
                } else if let Ok(taken) = self.observer.take(&shared.view(), seen, &mut bytes) {
                    self.observer.hold(&shared.slots[0]);
                    assert_eq!(taken.sequence, self.next);
                    assert_eq!(bytes, payload(self.next), "a torn copy was believed");
                    self.next += 1;
                }
            }
            Sight::Empty => return false,
            Sight::Lapped => {
                let lost = self.observer.rejoin(&shared, &shared.slots[0], self.resume).unwrap();
                assert!(lost > 0, "a lap that cost nothing");
                self.next += lost;
                self.lost += lost;
                assert_eq!(self.observer.sequence(), self.next);
            }
            Sight::Damaged => panic!("sound words were taken for damage"),
        }
        true
    }

    /// Reads on until so many records are accounted for.
    fn read_to(&mut self, end: u64) {
        while self.next < end {
            if !self.step() {
                relax();
            }
        }
    }

    /// The producer has ended; returns how many records were lost.
    fn settle(mut self, producer: thread::JoinHandle<()>, end: u64) -> u64 {
        producer.join().unwrap();
        while self.step() {}
        assert_eq!(self.observer.ended(&self.ring.shared().view()), Some(End::Closed));
        assert_eq!(self.next, end, "received and lost are not what was published");
        self.lost
    }
}

#[test]
fn an_honoured_cursor_misses_nothing() {
    model(1900, || {
        let (ring, writer, mut copying) = ring(32);
        let producer = producing(&ring, writer, &[Policy::Wait; 3]);
        copying.read_to(3);
        assert_eq!(copying.settle(producer, 3), 0);
    });
}

/// Gives the subscriber up over its first record, and waits for it afterwards.
fn evicted(resume: Resume, steps: usize) {
    let (ring, mut writer, mut copying) = ring(32);
    copying.resume = resume;
    publish(&ring, &mut writer, Policy::Wait);
    let producer = producing(&ring, writer, &[Policy::Evict]);
    for _ in 0..steps {
        copying.step();
    }
    assert!(copying.settle(producer, 2) <= 2);
}

#[test]
fn an_evicted_subscriber_is_told_its_loss() {
    model(1800, || evicted(Resume::Oldest, 3));
}

#[test]
fn an_evicted_subscriber_goes_on_at_the_tail() {
    model(1900, || evicted(Resume::Newest, 3));
}

#[test]
fn a_subscriber_that_joined_again_is_waited_for() {
    model_within(2, 220, || {
        let (ring, mut writer, mut copying) = ring(32);
        publish(&ring, &mut writer, Policy::Wait);
        // The first loss, and the new place.
        publish(&ring, &mut writer, Policy::Evict);
        assert!(copying.step() && copying.lost == 1);
        let producer = producing(&ring, writer, &[Policy::Wait; 2]);
        copying.read_to(4);
        assert_eq!(copying.settle(producer, 4), 1);
    });
}

/// It joins again while the producer, which does not know, asks for room.
#[test]
fn joining_again_beside_a_running_producer() {
    model_within(2, 26_000, || {
        let (ring, mut writer, mut copying) = ring(32);
        publish(&ring, &mut writer, Policy::Wait);
        publish(&ring, &mut writer, Policy::Evict);
        let producer = producing(&ring, writer, &[Policy::Wait; 2]);
        // The loss, wherever it ends. From there on it misses nothing.
        while copying.lost == 0 {
            copying.step();
        }
        let lost = copying.lost;
        copying.read_to(4);
        assert_eq!(copying.settle(producer, 4), lost);
    });
}

/// A subscriber joins while the producer waits for nobody: it may be given up before it knows where it is.
fn joining_beside_eviction(steps: usize, start: Start) {
    let ring = Arc::new(Ring::of(32, 1));
    let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    ring.shared().producer.state.set(RingState::Open.to_word());
    publish(&ring, &mut writer, Policy::Evict);
    let producer = producing(&ring, writer, &[Policy::Evict; 2]);
    let observer = Observer::join(ring.shape, &ring.shared(), &ring.shared().slots[0], start).unwrap();
    let next = observer.sequence();
    let mut copying = Copying { ring, observer, next, lost: 0, resume: Resume::Oldest };
    for _ in 0..steps {
        copying.step();
    }
    copying.settle(producer, 3);
}

#[test]
fn joining_at_the_tail_beside_eviction() {
    model_within(2, 10_000, || joining_beside_eviction(1, Start::Newest));
}

#[test]
fn joining_at_the_oldest_record_beside_eviction() {
    model_within(1, 3800, || joining_beside_eviction(1, Start::Oldest));
}

/// Somebody moves the cursor while producer and subscriber move.
fn moved(steps: usize, cursor: u64) {
    let (ring, mut writer, mut copying) = ring(32);
    publish(&ring, &mut writer, Policy::Wait);
    let producer = {
        let ring = ring.clone();
        thread::spawn(move || {
            // Waits for the subscriber, or for the cursor that somebody else stores.
            publish(&ring, &mut writer, Policy::Wait);
            writer.close(&ring.shared());
        })
    };
    let hostile = {
        let ring = ring.clone();
        thread::spawn(move || ring.shared().slots[0].cursor.preset(cursor))
    };
    for _ in 0..steps {
        copying.step();
    }
    hostile.join().unwrap();
    // Nobody else holds the place any more.
    copying.observer.hold(&ring.shared().slots[0]);
    while copying.step() || copying.next < 2 {
        relax();
    }
    assert!(copying.settle(producer, 2) <= 1);
}

#[test]
fn a_cursor_moved_to_nowhere() {
    model_within(2, 5100, || moved(1, u64::MAX));
}

#[test]
fn a_cursor_moved_into_the_future() {
    model_within(2, 5100, || moved(1, 1 << 40));
}

#[test]
fn a_cursor_moved_forward() {
    model_within(2, 5100, || moved(1, 24));
}

#[test]
fn a_cursor_moved_beside_every_record() {
    model_within(2, 3000, || moved(1, 12));
}

/// Moved by a step between the subscriber's own, so that more records fit into the model.
fn moved_between(cursor: u64, steps: [usize; 2], policies: &'static [Policy]) {
    let (ring, mut writer, mut copying) = ring(32);
    publish(&ring, &mut writer, Policy::Wait);
    let end = 1 + policies.len() as u64;
    let producer = producing(&ring, writer, policies);
    for _ in 0..steps[0] {
        copying.step();
    }
    ring.shared().slots[0].cursor.preset(cursor);
    for _ in 0..steps[1] {
        copying.step();
    }
    if policies.contains(&Policy::Wait) {
        copying.read_to(end);
    }
    copying.settle(producer, end);
}

#[test]
fn a_cursor_moved_back_between_records() {
    model_within(1, 1700, || moved_between(0, [1, 1], &[Policy::Evict; 2]));
}

#[test]
fn a_cursor_moved_forward_between_records() {
    model_within(1, 6600, || moved_between(48, [0, 2], &[Policy::Evict; 2]));
}

/// The subscriber never moves: the producer goes on all the same.
#[test]
fn a_cursor_from_the_future_holds_nobody_back() {
    for cursor in [u64::MAX, u64::MAX - 8, 1 << 62, 25, 72] {
        model_within(2, 4, move || {
            let (ring, mut writer, mut copying) = ring(32);
            publish(&ring, &mut writer, Policy::Wait);
            ring.shared().slots[0].cursor.preset(cursor);
            let producer = producing(&ring, writer, &[Policy::GoOn]);
            let _ = copying.observer.look(&ring.shared().view());
            assert!(copying.settle(producer, 2) <= 1);
        });
    }
}
