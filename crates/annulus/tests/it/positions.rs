//! Positions and sequences near the ends of their ranges: they only grow, and nothing may wrap early.

use annulus::{Align, ErrorKind, TryRecvError};

use crate::support::{Dir, no_forks, payload};

const CAPACITY: u64 = 4096;

pub(crate) fn starts() -> Vec<(u64, u64)> {
    let positions = [0, (1 << 32) - CAPACITY, 1 << 32, (1 << 63) - CAPACITY, 1 << 63, (1 << 63) + CAPACITY];
    let max = u64::from(u32::MAX);
    let sequences =
        [0, max - 1, max, max + 1, (1 << 31) - 1, 3 << 31, (1 << 63) - 1, 1 << 63, u64::MAX - (1 << 20)];
    positions.iter().flat_map(|&p| sequences.iter().map(move |&s| (p, s))).collect()
}

/// Case 12: records, guards, batches and late joiners over two laps, from everywhere.
#[test]
fn everything_goes_on_over_the_edges() {
    for (position, sequence) in starts() {
        for align in [Align::Line, Align::Packed] {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(CAPACITY as usize).align(align).start_at(position, sequence);
            let mut tx = ring.producer().unwrap();
            let rx = dir.open("r").subscribe().unwrap();
            assert_eq!((tx.sequence(), rx.sequence()), (sequence, sequence));
            let mut n = sequence;
            for round in 0..120 {
                let len = (round * 37 % 300) as usize;
                assert_eq!(tx.send_batch([payload(n, len), payload(n + 1, 7)]).unwrap(), 2);
                let late = dir.open("r").subscribe().unwrap();
                assert_eq!(late.sequence(), n + 2);
                tx.send(&payload(n + 2, len)).unwrap();
                let first = rx.recv().unwrap();
                let second = rx.recv().unwrap();
                assert_eq!((first.sequence(), &*first), (n, &payload(n, len)[..]));
                assert_eq!((second.sequence(), &*second), (n + 1, &payload(n + 1, 7)[..]));
                drop(first);
                drop(second);
                for reader in [&rx, &late] {
                    let third = reader.recv().unwrap();
                    assert_eq!((third.sequence(), &*third), (n + 2, &payload(n + 2, len)[..]));
                }
                n += 3;
            }
            assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
            assert_eq!((rx.held_bytes(), tx.sequence()), (0, n));
            assert_eq!(dir.open("r").info().unwrap().published, n);
        }
    }
}

/// Case 12: a full ring and its release, at the edges.
#[test]
fn full_at_the_edges() {
    for (position, sequence) in starts() {
        let dir = Dir::new();
        let ring = dir.create("r").capacity(CAPACITY as usize).start_at(position, sequence);
        let mut tx = ring.producer().unwrap();
        let rx = dir.open("r").subscribe().unwrap();
        assert_eq!((0..).take_while(|_| tx.try_send(b"x").is_ok()).count(), 63);
        for _ in 0..130 {
            drop(rx.recv().unwrap());
            tx.try_send(b"y").unwrap();
            assert!(tx.try_send(b"z").is_err());
        }
    }
}

/// The next producer goes on in sequence from everywhere.
#[test]
fn takeover_at_the_edges() {
    let _alone = no_forks();
    for (position, sequence) in starts() {
        let dir = Dir::new();
        let ring = || dir.open_or_create("r").capacity(CAPACITY as usize).persistent(true);
        let mut tx = ring().start_at(position, sequence).producer().unwrap();
        for n in 0..100 {
            tx.send(&[n; 70]).unwrap();
        }
        drop(tx);
        let mut tx = ring().producer().unwrap();
        assert_eq!(tx.sequence(), sequence + 100);
        let rx = dir.open("r").subscribe().unwrap();
        assert_eq!(rx.sequence(), sequence + 100);
        tx.send(b"on").unwrap();
        assert_eq!(rx.recv().unwrap().sequence(), sequence + 100);
    }
}

/// A start that is no beginning of a lap, or that has no room behind it, is refused.
#[test]
fn impossible_starts() {
    let dir = Dir::new();
    for position in [1, 8, CAPACITY - 8, CAPACITY + 1, u64::MAX, u64::MAX - CAPACITY + 1] {
        let ring = dir.create("r").capacity(CAPACITY as usize).start_at(position, 0);
        let error = ring.producer().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{position}: {error}");
    }
    assert!(dir.entries().is_empty());
}
