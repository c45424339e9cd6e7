//! Room that is claimed, filled, and dropped or committed in part, against a subscriber and against an observer.
//!
//! Shows: nothing that was written into a claim is seen before it is committed, or ever if it was dropped, or if it lies
//! behind the part that was committed, even where each word of it reads like the header that is due there; nor are the
//! leftovers of an earlier lap; an observer that the claim's room was taken from believes the record that was there, or
//! is told exactly what it lost. Cannot show: a producer that dies with a claim, which `takeover` is about.

mod common;

use annulus_core::header::encode;
use annulus_core::history::{Resume, Start};
use annulus_core::memory::Memory;
use annulus_core::observer::{Observer, Sight};
use annulus_core::writer::Writer;
use common::subscriber::Subscriber;
use common::{Arc, Ring, model, relax, thread};

/// Words that each read like the header of an empty record of this sequence.
fn headers(sequence: u64, words: usize) -> Vec<u8> {
    encode(sequence, 0).to_le_bytes().repeat(words)
}

/// A ring of eight words.
fn ring(slots: usize) -> (Arc<Ring>, Writer) {
    let ring = Arc::new(Ring::of(64, slots));
    let writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    (ring, writer)
}

/// Claims room for so many words and fills it with what reads like headers of a sequence; commits some of them, or none.
fn claim(ring: &Ring, writer: &mut Writer, words: usize, sequence: u64, commit: Option<u64>) {
    let shared = ring.shared();
    let room = loop {
        match writer.claim(&shared, 8 * words as u64) {
            Ok(room) => break room,
            Err(_) => relax(),
        }
    };
    writer.fill(&room, &shared, 0, &headers(sequence, words));
    if let Some(words) = commit {
        writer.commit(room, &shared, 8 * words);
    }
}

/// Takes records until there were so many, and looks for more; each is as long as it should be.
fn consume(mut subscriber: Subscriber, records: &[(usize, u64)]) -> Subscriber {
    for &(words, sequence) in records {
        let payload = loop {
            match subscriber.next() {
                Some(payload) => break payload,
                None => relax(),
            }
        };
        assert_eq!(payload, headers(sequence, words), "something else than what was committed");
    }
    assert_eq!(subscriber.look(), None, "something that was not committed");
    subscriber
}

/// The claims of one producer, and what is committed of them, beside a subscriber.
fn seen(
    (ring, mut writer): (Arc<Ring>, Writer),
    subscriber: Subscriber,
    claims: fn(&Ring, &mut Writer),
    records: &'static [(usize, u64)],
) {
    let producer = {
        let ring = ring.clone();
        thread::spawn(move || {
            claims(&ring, &mut writer);
            writer
        })
    };
    let subscriber = consume(subscriber, records);
    let mut writer = producer.join().unwrap();
    let next = writer.sequence();
    assert_eq!(ring.shared().records.word(writer.tail()).look(), 0, "no zero at the tail");
    // And on: what was dropped is in nobody's way.
    claim(&ring, &mut writer, 1, next + 1, Some(1));
    consume(subscriber, &[(1, next + 1)]);
}

/// All of the room but the header is filled, and dropped; then the same again, and part of it is committed.
#[test]
fn a_claim_dropped_and_one_committed_in_part() {
    model(9, || {
        let (ring, writer) = ring(1);
        let subscriber = Subscriber::join(&ring, 0, Start::Newest);
        let claims = |ring: &Ring, writer: &mut Writer| {
            claim(ring, writer, 6, 0, None);
            claim(ring, writer, 5, 1, Some(2));
        };
        seen((ring, writer), subscriber, claims, &[(2, 1)]);
    });
}

/// The part is no word at all, and each word behind it reads like the header of the next record.
#[test]
fn a_claim_of_which_nothing_is_committed() {
    model(33, || {
        let (ring, writer) = ring(1);
        let subscriber = Subscriber::join(&ring, 0, Start::Newest);
        let claims = |ring: &Ring, writer: &mut Writer| {
            claim(ring, writer, 6, 1, Some(0));
            claim(ring, writer, 2, 2, Some(1));
        };
        seen((ring, writer), subscriber, claims, &[(0, 1), (1, 2)]);
    });
}

/// The ring is full of what reads like the headers to come; a claim takes the room of a record that is being read.
#[test]
fn a_claim_dropped_over_an_earlier_lap() {
    model(100, || {
        let (ring, mut writer) = ring(1);
        let mut subscriber = Subscriber::join(&ring, 0, Start::Newest);
        claim(&ring, &mut writer, 6, 2, Some(6));
        subscriber.next().unwrap();
        claim(&ring, &mut writer, 2, 2, Some(2));
        let claims = |ring: &Ring, writer: &mut Writer| {
            // The payload that is still read is in the way of the first, and its header of the second.
            claim(ring, writer, 5, 2, None);
            claim(ring, writer, 3, 3, Some(0));
            claim(ring, writer, 3, 4, Some(1));
        };
        seen((ring, writer), subscriber, claims, &[(2, 2), (0, 3), (1, 4)]);
    });
}

/// Sequence of the only record that an observer can take, and how many it lost.
fn observe(ring: &Ring, observer: &mut Observer, taken: &mut u64, lost: &mut u64) {
    let shared = ring.shared();
    let view = shared.view();
    match observer.look(&view) {
        Sight::Record(seen) => {
            let mut payload = vec![0; seen.len()];
            if let Ok(record) = observer.take(&view, seen, &mut payload) {
                assert_eq!(payload, headers(record.sequence + 1, 2), "a torn copy was believed");
                assert_eq!(record.sequence, *taken + *lost);
                *taken += 1;
            }
        }
        Sight::Empty => {}
        Sight::Lapped => *lost += observer.resume(&view, Resume::Oldest).unwrap(),
        Sight::Damaged => panic!("sound words were taken for damage"),
    }
    assert_eq!(observer.sequence(), *taken + *lost);
}

/// Two records are there. A claim writes over them, and is dropped; another one takes its place.
fn observed(begin: Start, commit: Option<u64>) {
    let (ring, mut writer) = ring(0);
    for sequence in 0..2 {
        claim(&ring, &mut writer, 2, sequence + 1, Some(2));
    }
    let mut observer = Observer::start(ring.shape, &ring.shared().view(), begin).unwrap();
    let producer = {
        let ring = ring.clone();
        thread::spawn(move || {
            claim(&ring, &mut writer, 6, 2, None);
            claim(&ring, &mut writer, 4, 3, commit);
        })
    };
    let (mut taken, mut lost) = (0, observer.sequence());
    for _ in 0..3 {
        observe(&ring, &mut observer, &mut taken, &mut lost);
    }
    producer.join().unwrap();
    for _ in 0..3 {
        observe(&ring, &mut observer, &mut taken, &mut lost);
    }
    assert_eq!(taken + lost, 2 + u64::from(commit.is_some()));
    assert_eq!(observer.look(&ring.shared().view()), Sight::Empty);
}

/// It stands where the claim writes.
#[test]
fn an_observer_that_a_claim_goes_over() {
    model(800, || observed(Start::Oldest, None));
    model(7500, || observed(Start::Oldest, Some(2)));
}

/// It stands where the claim begins.
#[test]
fn an_observer_before_a_claim() {
    model(21, || observed(Start::Newest, None));
    model(140, || observed(Start::Newest, Some(2)));
}
