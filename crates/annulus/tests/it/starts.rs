//! Where readers begin.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use annulus::{Align, CopyError, ErrorKind, Producer, RecvTimeoutError, Start, TryCopyError, TryRecvError};

use crate::copiers::{Account, Copier, KINDS, Kind};
use crate::support::{Dir, in_time, payload};

fn len_of(n: u64) -> usize {
    (n * 37 % 150) as usize
}

fn send(tx: &mut Producer, count: u64) {
    for _ in 0..count {
        tx.send(&payload(tx.sequence(), len_of(tx.sequence()))).unwrap();
    }
}

/// Reads what is there: the first sequence, how many were lost before it, and that all behind it come.
fn drain(rx: &mut Copier, published: u64) -> (u64, u64) {
    let (mut lost, mut first, mut buf) = (0, None, Vec::new());
    loop {
        match rx.try_recv_into(&mut buf) {
            Ok(received) => {
                let next = first.map_or(received.sequence, |(_, next)| next);
                assert_eq!(received.sequence, next);
                assert!(buf == payload(next, len_of(next)));
                first = Some((first.map_or(next, |(first, _)| first), next + 1));
            }
            Err(TryCopyError::Lagged(n)) if first.is_none() && lost == 0 => lost = n,
            Err(TryCopyError::Empty) => {
                let (first, next) = first.unwrap_or((rx.sequence(), rx.sequence()));
                assert!(next == published || first >= published, "{first}..{next} of {published}");
                return (first, lost);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Case 9: each start, on rings that hold everything, that were lapped, and that are empty, for readers that copy.
#[test]
fn each_start_of_a_reader_that_copies() {
    for kind in KINDS {
        for align in [Align::Line, Align::Packed] {
            for begin in [0, (1 << 32) - 10] {
                for sent in [0, 1, 5, 20, 400] {
                    let dir = Dir::new();
                    let ring = dir.create("r").capacity(4096).align(align).start_at(0, begin);
                    let mut tx = ring.producer().unwrap();
                    send(&mut tx, sent);
                    let end = begin + sent;
                    let started = |start| {
                        let mut rx = kind.open(dir.open("r").start(start));
                        let sequence = rx.sequence();
                        let (first, lost) = drain(&mut rx, end);
                        assert_eq!(rx.lost(), lost);
                        (sequence, first, lost)
                    };
                    let (_, oldest, lost) = started(Start::Oldest);
                    assert_eq!(lost, 0, "where one begins nothing is lost");
                    assert!(oldest == begin || sent == 400 && end - oldest >= 20, "{oldest} of {end}");
                    assert_eq!(started(Start::Newest), (end, end, 0));
                    assert_eq!(started(Start::Last(0)), (end, end, 0));
                    for n in [1, 2, 3, 10, 19, 1000, u64::MAX] {
                        let first = end.saturating_sub(n).max(oldest);
                        assert_eq!(started(Start::Last(n)), (first, first, 0), "the last {n} of {sent}");
                    }
                    // In the past, whether it is there or gone; now; and to come.
                    for n in [0, begin, begin + 1, end - sent.min(3), end] {
                        let (sequence, first, lost) = started(Start::Sequence(n));
                        let there = n.max(oldest);
                        assert_eq!((first, lost), (there, there - n), "sequence {n} of {begin}..{end}");
                        assert_eq!(sequence, there, "it says where it is");
                    }
                    for n in [end + 1, end + 1000, 1 << 63, u64::MAX] {
                        assert_eq!(started(Start::Sequence(n)), (n, n, 0));
                    }
                }
            }
        }
    }
}

/// Case 9: the same for one that reads in place, which is refused where it would begin with a loss.
#[test]
fn each_start_of_a_reader_in_place() {
    for begin in [0, (1 << 32) - 10] {
        for sent in [0, 1, 5, 20, 400] {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).start_at(0, begin).producer().unwrap();
            send(&mut tx, sent);
            let end = begin + sent;
            let started = |start| {
                let rx = dir.open("r").start(start).subscribe()?;
                let (sequence, mut next) = (rx.sequence(), rx.sequence());
                while let Ok(record) = rx.try_recv() {
                    assert_eq!((record.sequence(), &*record), (next, &payload(next, len_of(next))[..]));
                    next += 1;
                }
                assert_eq!((next, rx.held_bytes()), (end.max(sequence), 0));
                Ok::<u64, annulus::Error>(sequence)
            };
            let oldest = started(Start::Oldest).unwrap();
            assert!(oldest == begin || sent == 400 && end - oldest >= 20);
            assert_eq!(started(Start::Newest).unwrap(), end);
            for n in [0, 1, 2, 19, 1000, u64::MAX] {
                assert_eq!(started(Start::Last(n)).unwrap(), end.saturating_sub(n).max(oldest));
            }
            for n in [0, begin, begin + 1, end - sent.min(3), end, end + 1, 1 << 63, u64::MAX] {
                match started(Start::Sequence(n)) {
                    Ok(first) => assert_eq!(first, n),
                    Err(error) => {
                        assert_eq!(error.kind(), &ErrorKind::StartGone { oldest });
                        assert!(n < oldest && error.to_string().contains("; start there"), "{error}");
                    }
                }
            }
            // No refusal holds the producer.
            assert!(dir.open("r").info().unwrap().subscribers.is_empty());
        }
    }
}

/// Case 9: a sequence that is still to come is waited for; the records before it hold nobody back.
#[test]
fn a_sequence_to_come() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let in_place = dir.open("r").start(Start::Sequence(500)).subscribe().unwrap();
    let mut copiers = KINDS.map(|kind| kind.open(dir.open("r").start(Start::Sequence(500))));
    let mut buf = Vec::new();
    for _ in 0..500 {
        // It passes over them when it looks.
        tx.try_send(&payload(tx.sequence(), len_of(tx.sequence()))).unwrap();
        assert_eq!(in_place.try_recv().unwrap_err(), TryRecvError::Empty);
        assert_eq!(in_place.recv_timeout(Duration::ZERO).unwrap_err(), RecvTimeoutError::TimedOut);
        for rx in &mut copiers {
            assert_eq!((rx.try_recv_into(&mut buf), rx.sequence()), (Err(TryCopyError::Empty), 500));
        }
    }
    send(&mut tx, 3);
    for n in 500..503 {
        let record = in_place.recv().unwrap();
        assert_eq!((record.sequence(), &*record), (n, &payload(n, len_of(n))[..]));
        for rx in &mut copiers {
            assert_eq!((rx.recv_into(&mut buf).unwrap().sequence, rx.lost()), (n, 0));
        }
    }
    // An observer that was lapped before its record came has lost none that it wanted; behind it, all from there on.
    let mut late = [700, 1000].map(|n| Kind::Observer.open(dir.open("r").start(Start::Sequence(n))));
    (0..497).for_each(|_| {
        send(&mut tx, 1);
        drop(in_place.recv().unwrap());
        copiers[1].recv_into(&mut buf).unwrap();
    });
    let Err(CopyError::Lagged(lost)) = late[0].recv_into(&mut buf) else { panic!() };
    assert_eq!(late[0].recv_into(&mut buf).unwrap().sequence, 700 + lost);
    assert_eq!(late[1].try_recv_into(&mut buf), Err(TryCopyError::Empty));
    send(&mut tx, 1);
    assert_eq!((late[1].recv_into(&mut buf).unwrap().sequence, late[1].lost()), (1000, 0));
}

/// Joins one after another beside a producer at full speed.
fn joins(capacity: usize, count: u32, start: Start, join: impl Fn(&Dir, Start) + Send + Sync + 'static) {
    in_time(move || {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(capacity).producer().unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    tx.send(&payload(tx.sequence(), 16)).unwrap();
                }
            });
            (0..count).for_each(|_| join(&dir, start));
            over.store(true, Ordering::Relaxed);
        });
    });
}

/// Case 8, and a reader that joins at full speed of the producer: once it has subscribed no reader misses a record, at full speed, on rings of three sizes, in place and
/// copying, from everywhere. 100,000 joins of each kind with `ANNULUS_TEST_JOINS=100000`, about a hundredth else.
#[test]
fn joins_miss_nothing() {
    let all = std::env::var("ANNULUS_TEST_JOINS").map_or(1200, |n| n.parse().unwrap());
    let starts = [Start::Newest, Start::Oldest, Start::Last(5)];
    let rings = [4096, 65_536, 1 << 20];
    for start in starts {
        for capacity in rings {
            // In parts, so that each part ends in time.
            let mut left = all / (starts.len() * rings.len()) as u32;
            while left > 0 {
                let count = left.min(2000);
                left -= count;
                joins(capacity, count, start, |dir, start| {
                    let rx = dir.open("r").prefault(false).start(start).subscribe().unwrap();
                    let first = rx.sequence();
                    for n in first..first + 8 {
                        let record = rx.recv().unwrap();
                        assert_eq!((record.sequence(), &*record), (n, &payload(n, 16)[..]));
                    }
                });
                joins(capacity, count, start, |dir, start| {
                    let mut rx = Kind::Copying.open(dir.open("r").prefault(false).start(start));
                    let mut account = Account::new(rx.sequence());
                    let mut buf = [0; 16];
                    for _ in 0..8 {
                        let got = rx.recv(&mut buf);
                        assert_eq!(account.enter(got, &buf, |n| payload(n, 16)), None);
                    }
                    assert_eq!((account.received, account.lagged), (8, 0));
                });
            }
        }
    }
}
