//! Batches over wraps, refused, dropped, and as long as the ring, against subscribers and observers.
//!
//! Shows: a subscriber that sees one record of a batch sees all of it, also over the end of the ring and after a refusal
//! in its midst; of a batch that is dropped nothing is ever seen, though its headers are those of the records that come
//! in its place; an observer believes no record of a batch before it is flushed, wherever it stands, and sees the last
//! one afterwards. Cannot show: anchors within a batch, which need more sixteenths than a model's ring has.

mod common;

use annulus_core::history::{Resume, Start};
use annulus_core::memory::Memory;
use annulus_core::observer::{Observer, Sight};
use annulus_core::writer::{Batch, Full, Refusal, Who, Writer};
use common::subscriber::{Subscriber, value};
use common::{Arc, Ring, model, model_within, relax, thread};

/// A ring of four records, or of three and the zero behind them.
fn ring(slots: usize) -> (Arc<Ring>, Writer) {
    let ring = Arc::new(Ring::of(64, slots));
    let writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
    (ring, writer)
}

fn publish(ring: &Ring, writer: &mut Writer) {
    writer.publish(&ring.shared(), &value(writer.sequence())).unwrap();
}

/// Stages the record behind those that are staged; whether there was room.
fn try_stage(ring: &Ring, writer: &mut Writer, batch: &mut Batch, staged: u64) -> bool {
    let payload = value(writer.sequence() + staged);
    match writer.stage(batch, &ring.shared(), &payload) {
        Ok(()) => true,
        Err(Refusal::Full(_)) => false,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

/// Stages so many records, as the subscribers make room.
fn stage(ring: &Ring, writer: &mut Writer, records: u64) -> Batch {
    let mut batch = writer.batch();
    for staged in 0..records {
        while !try_stage(ring, writer, &mut batch, staged) {
            relax();
        }
    }
    batch
}

/// Two records are there, behind one that was read; three more come at once, over the end of the ring.
#[test]
fn a_batch_over_the_end_of_the_ring_is_visible_at_once() {
    model(250, || {
        let (ring, mut writer) = ring(1);
        let mut subscriber = Subscriber::join(&ring, 0, Start::Newest);
        publish(&ring, &mut writer);
        assert!(subscriber.consume());
        publish(&ring, &mut writer);
        publish(&ring, &mut writer);
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || {
                let batch = stage(&ring, &mut writer, 3);
                assert_eq!(writer.flush(batch, &ring.shared()), 3);
            })
        };
        while subscriber.next < 6 {
            if !subscriber.consume() {
                assert!(subscriber.next <= 3, "a part of a batch");
                relax();
            }
        }
        assert!(!subscriber.consume());
        producer.join().unwrap();
    });
}

/// There is no room for the last record of a batch: the others are published, and it is the first of the next.
#[test]
fn a_batch_that_was_refused_a_record_is_flushed() {
    model(5600, || {
        let (ring, mut writer) = ring(1);
        let mut subscriber = Subscriber::join(&ring, 0, Start::Newest);
        publish(&ring, &mut writer);
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut batch = writer.batch();
                let mut staged = 0;
                while staged < 3 && try_stage(&ring, &mut writer, &mut batch, staged) {
                    staged += 1;
                }
                // The third needs the room of the record that is there.
                assert!(staged >= 2);
                assert_eq!(writer.flush(batch, &ring.shared()), staged);
                let batch = stage(&ring, &mut writer, 4 - staged);
                assert_eq!(writer.flush(batch, &ring.shared()), 4 - staged);
            })
        };
        while subscriber.next < 5 {
            if !subscriber.consume() {
                assert_ne!(subscriber.next, 2, "a part of a batch");
                relax();
            }
        }
        producer.join().unwrap();
    });
}

/// As many empty records as there are words but one. Another one would need the room of the batch itself: nobody else
/// is in its way, and the batch can be flushed.
#[test]
fn a_batch_fills_the_ring() {
    model(55, || {
        let (ring, mut writer) = ring(1);
        let mut subscriber = Subscriber::join(&ring, 0, Start::Newest);
        writer.publish(&ring.shared(), &[]).unwrap();
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || {
                let shared = ring.shared();
                let tail = writer.tail();
                let mut batch = writer.batch();
                for _ in 0..7 {
                    while writer.stage(&mut batch, &shared, &[]).is_err() {
                        relax();
                    }
                }
                let full = Full { who: Who::Slot(0), behind: 0, wanted: tail + 8 };
                assert_eq!(writer.stage(&mut batch, &shared, &[]), Err(Refusal::Full(full)));
                assert_eq!(writer.evict(&shared, tail + 64), Err(full), "there is nobody to give up");
                assert_eq!(writer.flush(batch, &shared), 7);
            })
        };
        while subscriber.next < 8 {
            match subscriber.next() {
                Some(payload) => assert!(payload.is_empty()),
                None => {
                    assert!(subscriber.next <= 1, "a part of a batch");
                    relax();
                }
            }
        }
        assert_eq!(subscriber.look(), None);
        producer.join().unwrap();
    });
}

/// The headers that were staged are those of the records that come instead, and stand where the next is due.
#[test]
fn a_batch_that_is_dropped_leaves_nothing() {
    model(89, || {
        let (ring, mut writer) = ring(1);
        let mut subscriber = Subscriber::join(&ring, 0, Start::Newest);
        publish(&ring, &mut writer);
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || {
                let _dropped = stage(&ring, &mut writer, 3);
                assert_eq!(ring.shared().records.word(writer.tail()).look(), 0, "no zero at the tail");
                publish(&ring, &mut writer);
                let _dropped = stage(&ring, &mut writer, 2);
                let empty = writer.batch();
                assert_eq!(writer.flush(empty, &ring.shared()), 0);
                let batch = stage(&ring, &mut writer, 1);
                assert_eq!(writer.flush(batch, &ring.shared()), 1);
            })
        };
        while subscriber.next < 3 {
            if !subscriber.consume() {
                relax();
            }
        }
        assert_eq!(subscriber.look(), None, "a record of a batch that was dropped");
        producer.join().unwrap();
        assert_eq!(subscriber.look(), None, "a record of a batch that was dropped");
    });
}

/// An observer's account: what it took and what it lost.
struct Account {
    observer: Observer,
    next: u64,
}

impl Account {
    /// One look. Whether it found anything.
    fn step(&mut self, ring: &Ring) -> bool {
        let shared = ring.shared();
        let view = shared.view();
        match self.observer.look(&view) {
            Sight::Record(seen) => {
                let mut payload = [0; 8];
                if seen.len() != 8 {
                    assert!(self.observer.confirm(&view, seen).is_err(), "a torn header was believed");
                } else if let Ok(taken) = self.observer.take(&view, seen, &mut payload) {
                    assert_eq!((taken.sequence, payload), (self.next, value(self.next)));
                    self.next += 1;
                }
            }
            Sight::Empty => return false,
            Sight::Lapped => {
                let lost = self.observer.resume(&view, Resume::Oldest).unwrap();
                assert!(lost > 0, "a lap that cost nothing");
                self.next += lost;
            }
            Sight::Damaged => panic!("sound words were taken for damage"),
        }
        true
    }

    /// The newest record, if it was not overwritten meanwhile.
    fn newest(&mut self, ring: &Ring) -> Option<u64> {
        let shared = ring.shared();
        let view = shared.view();
        match self.observer.newest(&view) {
            Sight::Record(seen) => {
                let mut payload = [0; 8];
                let taken = self.observer.take(&view, seen, &mut payload).ok()?;
                assert_eq!(payload, value(taken.sequence));
                self.next = taken.sequence + 1;
                Some(taken.sequence)
            }
            Sight::Lapped => None,
            sight => panic!("{sight:?}, though something was published"),
        }
    }
}

/// Two records are there, then a batch of two, over the first of them; then it is flushed, or dropped and another one flushed.
fn observed(start: Start, dropped: bool, newest: bool) {
    let (ring, mut writer) = ring(0);
    publish(&ring, &mut writer);
    publish(&ring, &mut writer);
    let observer = Observer::start(ring.shape, &ring.shared().view(), start).unwrap();
    let mut account = Account { next: observer.sequence(), observer };
    let producer = {
        let ring = ring.clone();
        thread::spawn(move || {
            if dropped {
                let _dropped = stage(&ring, &mut writer, 3);
            }
            let batch = stage(&ring, &mut writer, 2);
            writer.flush(batch, &ring.shared())
        })
    };
    for _ in 0..2 {
        if newest {
            // Two were there before, and a batch is seen whole.
            assert!(matches!(account.newest(&ring), None | Some(1 | 3)), "a part of a batch");
        } else {
            let (before, found) = (account.next, account.step(&ring));
            assert!(found || matches!(before, 2 | 4), "nothing where something was published");
        }
    }
    assert_eq!(producer.join().unwrap(), 2);
    assert_eq!(account.newest(&ring), Some(3));
    assert!(!account.step(&ring));
}

/// It stands where the batch begins.
#[test]
fn an_observer_before_a_batch() {
    model(54, || observed(Start::Newest, false, false));
    model(120, || observed(Start::Newest, true, false));
}

/// It stands where the batch goes over it.
#[test]
fn an_observer_that_a_batch_goes_over() {
    model(350, || observed(Start::Oldest, false, false));
    model(2400, || observed(Start::Oldest, true, false));
}

#[test]
fn the_newest_record_is_a_whole_batch_further_on() {
    model(2600, || observed(Start::Oldest, false, true));
    model_within(2, 4500, || observed(Start::Oldest, true, true));
}
