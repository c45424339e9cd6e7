//! Rings of values: what comes out is what went in, at every kind of reader, near the ends of sequences and positions.

use annulus::{
    Align, Resume, TryCopyError, TryRecvError, TrySendError, TypedCopyingSubscriber, TypedObserver,
    TypedRing, TypedSubscriber,
};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::case::{position, sequence};
use crate::dir::Dir;
use crate::runner::{Tell, check};

annulus::payload! {
    #[derive(Debug, PartialEq)]
    struct Reading {
        number: u64,
        values: [i16; 5],
        kind: u8,
        flags: [u8; 5],
    }
}

fn reading(n: u64) -> Reading {
    let noise = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Reading {
        number: noise,
        values: [noise as i16; 5],
        kind: n as u8,
        flags: noise.to_be_bytes()[..5].try_into().expect("five"),
    }
}

#[derive(Debug, Clone)]
enum Op {
    Send,
    Batch(u8),
    InPlace(u8),
    Copying(u8),
    Observe(u8),
    Latest,
}

#[derive(Debug, Clone)]
struct Case {
    capacity: u64,
    align: Align,
    begin: (u64, u64),
    ops: Vec<Op>,
}

impl Tell for Case {}

fn case() -> impl Strategy<Value = Case> {
    let page = annulus_os::sys::page_size() as u64;
    let op = prop_oneof![
        4 => any::<bool>().prop_map(|_| Op::Send),
        3 => (0..80_u8).prop_map(Op::Batch),
        2 => (0..60_u8).prop_map(Op::InPlace),
        2 => (0..60_u8).prop_map(Op::Copying),
        1 => (0..60_u8).prop_map(Op::Observe),
        1 => any::<bool>().prop_map(|_| Op::Latest),
    ];
    (select(vec![page, 2 * page]), select(vec![Align::Packed, Align::Line]), sequence(), vec(op, 1..60))
        .prop_flat_map(|(capacity, align, sequence, ops)| {
            position(capacity).prop_map(move |position| Case {
                capacity,
                align,
                begin: (position, sequence),
                ops: ops.clone(),
            })
        })
}

struct Ends {
    in_place: TypedSubscriber<Reading>,
    copying: TypedCopyingSubscriber<Reading>,
    observer: TypedObserver<Reading>,
    /// The next sequence of each, in this order.
    next: [u64; 3],
}

impl Ends {
    fn borrow(&mut self, published: u64) -> bool {
        match self.in_place.try_recv() {
            Ok(record) => {
                assert_eq!((record.sequence(), *record), (self.next[0], reading(self.next[0])));
                self.next[0] += 1;
                true
            }
            Err(TryRecvError::Empty) => {
                assert_eq!(self.next[0], published, "not seen");
                false
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn copy(&mut self, published: u64) -> bool {
        match self.copying.try_recv() {
            Ok(record) => {
                assert_eq!((record.sequence, record.payload), (self.next[1], reading(self.next[1])));
                self.next[1] += 1;
                true
            }
            Err(TryCopyError::Empty) => {
                assert_eq!(self.next[1], published, "not seen");
                false
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Nobody is ahead of the two that the producer waits for by more than a ring, so an observer may lose as much.
    fn observe(&mut self, published: u64) -> bool {
        match self.observer.try_recv() {
            Ok(record) => {
                assert_eq!((record.sequence, record.payload), (self.next[2], reading(self.next[2])));
                self.next[2] += 1;
            }
            Err(TryCopyError::Lagged(lost)) => {
                self.next[2] += lost;
                assert!(lost > 0 && self.next[2] <= published);
                assert_eq!(self.observer.sequence(), self.next[2]);
            }
            Err(TryCopyError::Empty) => {
                assert_eq!(self.next[2], published, "not seen");
                return false;
            }
            Err(other) => panic!("{other:?}"),
        }
        true
    }
}

/// Lists over a ring of values.
#[test]
fn rings_of_values() {
    check(400, case(), |case| {
        let dir = Dir::new();
        let (position, first) = case.begin;
        let ring =
            TypedRing::<Reading>::create("r").dir(&dir.0).capacity(case.capacity as usize).align(case.align);
        let mut tx = ring.start_at(position, first).producer().expect("a new ring");
        let open = || TypedRing::<Reading>::open("r").dir(&dir.0);
        let mut ends = Ends {
            in_place: open().subscribe().expect("a subscriber"),
            copying: open().subscribe_copying().expect("one that copies"),
            observer: open().resume(Resume::Oldest).observe().expect("an observer"),
            next: [first; 3],
        };
        // As many as the ring holds with a header behind them.
        let need = (8 + size_of::<Reading>() as u64).next_multiple_of(case.align.bytes());
        let fit = (case.capacity - 8) / need;
        let mut published = first;
        for op in &case.ops {
            let room = fit - (published - ends.next[0].min(ends.next[1]));
            match *op {
                Op::Send => {
                    let got = tx.try_send(&reading(published));
                    assert!(got.is_ok() == (room > 0), "{got:?}, room for {room}");
                    assert!(matches!(got, Ok(()) | Err(TrySendError::Full(_))));
                    published += u64::from(got.is_ok());
                }
                Op::Batch(count) => {
                    let values = (published..).take(count.into()).map(reading);
                    let sent = tx.try_send_batch(values).expect("values fit");
                    assert_eq!(sent, room.min(count.into()));
                    published += sent;
                }
                Op::InPlace(count) => drop((0..count).take_while(|_| ends.borrow(published)).count()),
                Op::Copying(count) => drop((0..count).take_while(|_| ends.copy(published)).count()),
                Op::Observe(count) => drop((0..count).take_while(|_| ends.observe(published)).count()),
                Op::Latest => match ends.copying.latest() {
                    Ok(record) => {
                        assert_eq!(
                            (record.sequence, record.payload),
                            (published - 1, reading(published - 1))
                        );
                        ends.next[1] = published;
                    }
                    Err(TryCopyError::Empty) => assert_eq!(published, first),
                    Err(other) => panic!("{other:?}"),
                },
            }
            assert_eq!(tx.sequence(), published);
        }
        while ends.borrow(published) {}
        while ends.copy(published) {}
        while ends.observe(published) {}
        assert_eq!(ends.copying.lost(), 0);
    });
}
