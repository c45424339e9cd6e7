//! Observers against a producer that does not know of them: copying, validating, being lapped, resuming.
//!
//! Shows: no torn copy is believed; sequences only grow; what was received and what was told as lost are together
//! what was published, whether the reader resumes at an anchor or at the tail, starts late, or looks at a payload
//! that reads like an empty place. Cannot show: the copying loops of `copy.rs`, which a model replaces by words; a
//! producer that goes around the ring more often than a model explores.

mod common;

use annulus_core::header::encode;
use annulus_core::history::{Resume, Start};
use annulus_core::layout::RingState;
use annulus_core::memory::Memory;
use annulus_core::observer::{Observer, Seen, Sight};
use annulus_core::reader::End;
use annulus_core::shape::{Align, Shape};
use annulus_core::writer::Writer;
use common::{Arc, Ring, model, model_within, thread};

/// Where a ring begins: position and sequence.
const ZERO: [u64; 2] = [0, 0];
/// The position wraps past 32 bits within the first lap, the sequence after one record.
const WRAP: [u64; 2] = [(1 << 32) - 64, (1 << 32) - 1];

/// What a record of two words holds.
type Content = fn(u64) -> [u64; 2];

/// Never 0, never a header, and different in both words for each sequence.
fn distinct(sequence: u64) -> [u64; 2] {
    [1000 + sequence, 2000 + sequence]
}

/// Each word reads like a place where nothing is published yet.
fn zeros(_: u64) -> [u64; 2] {
    [0, 0]
}

/// Each word reads like the header of a record of this sequence, as long as fits in a ring of 64 bytes.
fn headers(sequence: u64) -> [u64; 2] {
    [encode(sequence, 48), encode(sequence, 48)]
}

fn bytes(words: [u64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&words[0].to_le_bytes());
    bytes[8..].copy_from_slice(&words[1].to_le_bytes());
    bytes
}

/// A ring that begins at this position and sequence, open.
fn ring(capacity: u64, [position, sequence]: [u64; 2]) -> (Arc<Ring>, Writer) {
    let ring = Arc::new(Ring::of(capacity, 0));
    let writer = Writer::create(ring.shape, &ring.shared(), position, sequence, 0);
    ring.shared().producer.state.set(RingState::Open.to_word());
    (ring, writer)
}

/// Nobody can stand in the way.
fn publish(ring: &Ring, writer: &mut Writer, content: Content) {
    writer.publish(&ring.shared(), &bytes(content(writer.sequence()))).unwrap();
}

/// Publishes so many records and ends.
fn producing(ring: &Arc<Ring>, mut writer: Writer, records: u64, content: Content) -> thread::JoinHandle<()> {
    let ring = ring.clone();
    thread::spawn(move || {
        for _ in 0..records {
            publish(&ring, &mut writer, content);
        }
        writer.close(&ring.shared());
    })
}

/// Copies a record that was seen. `None`: the producer was faster.
fn take(ring: &Ring, observer: &mut Observer, seen: Seen, content: Content) -> Option<u64> {
    let mut payload = [0; 16];
    // A length that was not confirmed is a hint.
    if seen.len() != payload.len() {
        assert!(observer.confirm(&ring.shared().view(), seen).is_err(), "a torn header was believed");
        return None;
    }
    let taken = observer.take(&ring.shared().view(), seen, &mut payload).ok()?;
    assert_eq!(
        payload,
        bytes(content(taken.sequence)),
        "a torn copy of record {} was believed",
        taken.sequence
    );
    Some(taken.sequence)
}

/// Where an observer is in its account.
struct Account {
    observer: Observer,
    /// The sequence that is due: all before it were received, or told as lost.
    next: u64,
    resume: Resume,
    content: Content,
    /// Whether records before `next` are passed over, which may be lost for nothing.
    unwanted: bool,
}

impl Account {
    /// One look, and what follows from it. Whether it found anything.
    fn step(&mut self, ring: &Ring) -> bool {
        let shared = ring.shared();
        let view = shared.view();
        match self.observer.look(&view) {
            Sight::Record(seen) => {
                if let Some(sequence) = take(ring, &mut self.observer, seen, self.content) {
                    assert_eq!(sequence, self.next);
                    self.next += 1;
                }
            }
            Sight::Empty => return false,
            Sight::Lapped => {
                let lost = self.observer.resume(&view, self.resume).unwrap();
                assert!(lost > 0 || self.unwanted, "a lap that cost nothing");
                self.next += lost;
                assert_eq!(self.observer.sequence(), self.next);
            }
            Sight::Damaged => panic!("sound words were taken for damage"),
        }
        true
    }

    /// Looks so many times while the producer publishes, then after it has ended until nothing is left.
    fn settle(mut self, ring: &Ring, steps: usize, producer: thread::JoinHandle<()>, end: u64) {
        for _ in 0..steps {
            if !self.step(ring) && self.observer.ended(&ring.shared().view()).is_some() {
                assert_eq!(self.next, end, "the end came before the last record");
            }
        }
        producer.join().unwrap();
        // Everything, and only then the end.
        while self.observer.ended(&ring.shared().view()) != Some(End::Closed) {
            assert!(self.step(ring), "nothing to see, and no end");
        }
        assert_eq!(self.next, end, "received and lost are not what was published");
    }
}

/// An observer from the first record on, of which `before` are published when the producer and it begin to move.
fn lapped(
    capacity: u64,
    [before, during]: [u64; 2],
    steps: usize,
    begin: [u64; 2],
    resume: Resume,
    content: Content,
) {
    let (ring, mut writer) = ring(capacity, begin);
    let observer = Observer::start(ring.shape, &ring.shared().view(), Start::Newest).unwrap();
    for _ in 0..before {
        publish(&ring, &mut writer, content);
    }
    let account = Account { observer, next: begin[1], resume, content, unwanted: false };
    let producer = producing(&ring, writer, during, content);
    account.settle(&ring, steps, producer, begin[1] + before + during);
}

#[test]
fn nothing_torn_is_believed() {
    model(3100, || lapped(32, [1, 1], 3, ZERO, Resume::Oldest, distinct));
}

#[test]
fn nothing_torn_is_believed_over_two_laps() {
    model_within(1, 4800, || lapped(32, [1, 2], 2, ZERO, Resume::Oldest, distinct));
}

#[test]
fn a_payload_of_zeros_is_no_empty_place() {
    model(3100, || lapped(32, [1, 1], 3, ZERO, Resume::Oldest, zeros));
}

#[test]
fn a_payload_of_headers_is_no_record() {
    model(3100, || lapped(32, [1, 1], 3, ZERO, Resume::Oldest, headers));
}

#[test]
fn a_lapped_observer_resumes_at_the_tail() {
    model(2500, || lapped(32, [1, 1], 3, ZERO, Resume::Newest, distinct));
}

#[test]
fn a_lapped_observer_resumes_at_the_tail_of_a_running_producer() {
    model_within(1, 1100, || lapped(32, [1, 2], 2, ZERO, Resume::Newest, distinct));
}

/// The anchor is two records on, and two more are behind it.
#[test]
fn a_lapped_observer_resumes_at_an_anchor() {
    model_within(2, 1000, || lapped(64, [2, 2], 2, ZERO, Resume::Oldest, distinct));
}

#[test]
fn laps_near_the_32_bit_wrap() {
    model(3100, || lapped(32, [1, 1], 3, WRAP, Resume::Oldest, distinct));
    model(2500, || lapped(32, [1, 1], 3, WRAP, Resume::Newest, distinct));
}

/// The second record needs the whole ring but eight bytes: the anchor before it is passed, and its place in the table
/// is that of the record's own.
#[test]
fn an_anchor_takes_the_place_of_one_that_was_passed() {
    model(7000, || {
        let (ring, mut writer) = ring(64, ZERO);
        writer.publish(&ring.shared(), &[]).unwrap();
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || writer.publish(&ring.shared(), &[7; 48]).unwrap())
        };
        let shared = ring.shared();
        let view = shared.view();
        let mut observer = Observer::start(ring.shape, &view, Start::Oldest).unwrap();
        let mut next = observer.sequence();
        let mut step = || {
            match observer.look(&view) {
                Sight::Record(seen) => {
                    let mut payload = [0; 48];
                    let payload = &mut payload[..seen.len()];
                    if let Ok(taken) = observer.take(&view, seen, payload) {
                        assert_eq!((taken.sequence, seen.len()), (next, 48 * next as usize));
                        assert!(payload.iter().all(|&byte| byte == 7), "a torn copy was believed");
                        next += 1;
                    }
                }
                Sight::Empty => return None,
                Sight::Lapped => next += observer.resume(&view, Resume::Oldest).unwrap(),
                Sight::Damaged => panic!("sound words were taken for damage"),
            }
            Some(next)
        };
        step();
        step();
        producer.join().unwrap();
        while step().is_some() {}
        assert_eq!(next, 2, "received and lost are not what was published");
        assert_eq!(Observer::start(ring.shape, &view, Start::Oldest).unwrap().sequence(), 1);
    });
}

#[test]
fn a_stamp_is_no_more_torn_than_its_payload() {
    model(3200, || {
        let shape = Shape::new(32, Align::Packed).unwrap().stamped().unwrap();
        let ring = Arc::new(Ring::shaped(shape, 0));
        let mut writer = Writer::create(shape, &ring.shared(), 0, 0, 0);
        let mut publish = move |ring: &Ring, n: u64| {
            writer.publish_stamped(&ring.shared(), 2000 + n, &(1000 + n).to_le_bytes()).unwrap();
        };
        publish(&ring, 0);
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || publish(&ring, 1))
        };
        let shared = ring.shared();
        let view = shared.view();
        let mut observer = Observer::start(shape, &view, Start::Oldest).unwrap();
        if let Sight::Record(seen) = observer.look(&view) {
            let mut payload = [0; 8];
            if seen.len() == 8
                && let Ok(taken) = observer.take(&view, seen, &mut payload)
            {
                assert_eq!(u64::from_le_bytes(payload), 1000 + taken.sequence);
                assert_eq!(taken.stamp, 2000 + taken.sequence);
            }
        }
        producer.join().unwrap();
    });
}

/// An observer that begins while the producer runs, with `before` records already published.
fn started([before, during]: [u64; 2], steps: usize, begin: [u64; 2], start: fn(u64) -> Start) {
    let (ring, mut writer) = ring(64, begin);
    for _ in 0..before {
        publish(&ring, &mut writer, distinct);
    }
    let (first, end) = (begin[1], begin[1] + before + during);
    let start = start(first);
    let producer = producing(&ring, writer, during, distinct);
    let observer = Observer::start(ring.shape, &ring.shared().view(), start).unwrap();
    let next = match start {
        // What it has missed is a loss.
        Start::Sequence(n) => n,
        // What it has missed is not.
        _ => observer.sequence(),
    };
    match start {
        Start::Oldest => assert!((first..=end).contains(&next)),
        Start::Last(n) => assert!((first + before - n..=end).contains(&next)),
        Start::Newest => assert!((first + before..=end).contains(&next)),
        _ => {}
    }
    let unwanted = matches!(start, Start::Sequence(_));
    let account = Account { observer, next, resume: Resume::Oldest, content: distinct, unwanted };
    account.settle(&ring, steps, producer, end);
}

#[test]
fn starts_with_the_oldest() {
    model_within(2, 770, || started([2, 1], 1, ZERO, |_| Start::Oldest));
}

#[test]
fn starts_with_the_newest() {
    model_within(2, 6300, || started([1, 2], 1, ZERO, |_| Start::Newest));
}

#[test]
fn starts_with_the_last() {
    model_within(2, 960, || started([2, 1], 1, ZERO, |_| Start::Last(1)));
}

#[test]
fn starts_with_a_sequence() {
    model_within(2, 710, || started([2, 1], 1, ZERO, |first| Start::Sequence(first + 1)));
}

/// The record is published while it is looked for.
#[test]
fn starts_with_a_sequence_to_come() {
    model_within(2, 12_000, || started([1, 2], 1, ZERO, |first| Start::Sequence(first + 2)));
}

/// The same in a ring that holds both records: found at the tail or behind it, it is not lost.
#[test]
fn a_record_that_comes_while_it_is_looked_for_is_no_loss() {
    model(140, || {
        let (ring, mut writer) = ring(64, ZERO);
        publish(&ring, &mut writer, distinct);
        let producer = producing(&ring, writer, 1, distinct);
        let mut observer = Observer::start(ring.shape, &ring.shared().view(), Start::Sequence(1)).unwrap();
        producer.join().unwrap();
        let Sight::Record(seen) = observer.look(&ring.shared().view()) else { panic!("it is there") };
        assert_eq!(take(&ring, &mut observer, seen, distinct), Some(1));
    });
}

#[test]
fn starts_near_the_32_bit_wrap() {
    model_within(1, 170, || started([2, 1], 1, WRAP, |_| Start::Oldest));
    model_within(1, 230, || started([2, 1], 1, WRAP, |_| Start::Last(1)));
    model_within(1, 2600, || started([1, 2], 1, WRAP, |first| Start::Sequence(first + 2)));
}

/// The newest record, twice while the producer publishes and once afterwards.
fn newest(capacity: u64, [before, during]: [u64; 2], begin: [u64; 2], content: Content) {
    let (ring, mut writer) = ring(capacity, begin);
    for _ in 0..before {
        publish(&ring, &mut writer, content);
    }
    let mut observer = Observer::start(ring.shape, &ring.shared().view(), Start::Newest).unwrap();
    let producer = producing(&ring, writer, during, content);
    let mut had = None;
    for _ in 0..2 {
        let there = before > 0 || had.is_some() || observer.is_ready(&ring.shared().view());
        match observer.newest(&ring.shared().view()) {
            Sight::Record(seen) => {
                if let Some(sequence) = take(&ring, &mut observer, seen, content) {
                    assert!(had <= Some(sequence), "older than what was taken before");
                    assert!(sequence + 1 >= begin[1] + before);
                    had = Some(sequence);
                }
            }
            Sight::Empty => assert!(!there, "nothing, though something was published"),
            Sight::Lapped => {}
            Sight::Damaged => panic!("sound words were taken for damage"),
        }
    }
    producer.join().unwrap();
    let Sight::Record(seen) = observer.newest(&ring.shared().view()) else { panic!("a producer at rest") };
    let last = begin[1] + before + during - 1;
    assert_eq!(take(&ring, &mut observer, seen, content), Some(last));
    assert_eq!(observer.sequence(), last + 1);
}

#[test]
fn the_newest_record_of_a_running_producer() {
    model_within(2, 4400, || newest(32, [1, 1], ZERO, distinct));
}

#[test]
fn the_newest_record_where_there_was_none() {
    model_within(2, 34_000, || newest(64, [0, 2], ZERO, distinct));
}

/// More records pass than a header's 32 bits tell apart, as empty ones can in a ring of many gigabytes; here only one in
/// 2^29 is there. Who sees where the newest is sees `published` past it, and looks again if that has gone so far.
#[test]
fn the_newest_record_after_more_than_headers_tell_apart() {
    model_within(1, 1900, || {
        let ring = Arc::new(Ring::of(128, 0));
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        writer.publish(&ring.shared(), &[]).unwrap();
        let observing = {
            let ring = ring.clone();
            thread::spawn(move || {
                let view = ring.shared().view();
                let mut observer = Observer::start(ring.shape, &view, Start::Oldest).unwrap();
                let Sight::Record(seen) = observer.newest(&view) else { panic!("a record is there") };
                let taken = observer.take(&view, seen, &mut []).unwrap();
                assert!((0..6).any(|i| taken.sequence == i << 29), "{}", taken.sequence);
            })
        };
        let shared = ring.shared();
        for i in 1..6 {
            shared.records.word(16 * i).publish(encode(i << 29, 0));
            shared.producer.published.publish((i << 29) + 1);
            shared.producer.newest.publish(16 * i);
            shared.producer.tail.publish(16 * i + 8);
        }
        observing.join().unwrap();
    });
}

/// Where the newest record was, payload looks like a header with a length that leads out of what was overwritten.
#[test]
fn the_newest_record_among_payloads_of_headers() {
    model_within(2, 24_000, || newest(64, [1, 2], ZERO, headers));
}

#[test]
fn the_newest_record_near_the_32_bit_wrap() {
    model_within(1, 1100, || newest(32, [1, 1], WRAP, distinct));
}
