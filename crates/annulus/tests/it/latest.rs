//! The newest record: what `latest` returns.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annulus::{Align, CopyError, RecvError, Start, TryCopyError};

use crate::copiers::{KINDS, Kind};
use crate::support::{Dir, in_time, no_forks, payload};

/// A ring that holds something has a newest record, for one who has just come too; an empty one has none.
/// Case 9: also after the producer closed.
#[test]
fn there_is_a_newest_record() {
    let _alone = no_forks();
    for kind in KINDS {
        for start in
            [Start::Newest, Start::Oldest, Start::Sequence(0), Start::Sequence(1 << 40), Start::Last(1)]
        {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).persistent(true).producer().unwrap();
            let open = || kind.open(dir.open("r").start(start));
            let mut buf = vec![0; tx.max_len()];
            let mut early = open();
            assert_eq!(early.latest(&mut buf), Err(TryCopyError::Empty));
            for n in 0..130 {
                tx.send(&payload(n, (n * 41 % 900) as usize)).unwrap();
                for rx in [&mut early, &mut open()] {
                    // Again and again the same.
                    for _ in 0..2 {
                        let received = rx.latest(&mut buf).unwrap();
                        assert_eq!(received.sequence, n);
                        assert!(buf[..received.len] == payload(n, (n * 41 % 900) as usize));
                    }
                }
            }
            drop(tx);
            for rx in [&mut early, &mut open()] {
                assert_eq!(rx.latest(&mut buf).unwrap().sequence, 129);
            }
            let mut tx = dir.open("r").producer().unwrap();
            for rx in [&mut early, &mut open()] {
                assert_eq!(rx.latest(&mut buf).unwrap().sequence, 129);
            }
            tx.send(b"on").unwrap();
            assert_eq!((early.latest(&mut buf).unwrap().sequence, &buf[..2]), (130, &b"on"[..]));
            drop((tx, early));
            dir.open("r").remove().unwrap();
        }
    }
}

/// It goes on behind the newest; what it passed over is no loss, and gives its room back.
#[test]
fn what_is_passed_over_is_no_loss() {
    for kind in KINDS {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).producer().unwrap();
        let mut rx = kind.open(dir.open("r"));
        let mut buf = [0; 8];
        for round in 0..200_u64 {
            for _ in 0..60 {
                tx.try_send(&tx.sequence().to_le_bytes()).unwrap();
            }
            let newest = tx.sequence() - 1;
            assert_eq!(rx.latest(&mut buf).unwrap().sequence, newest);
            assert_eq!(rx.try_recv(&mut buf), Err(TryCopyError::Empty));
            tx.try_send(b"next").unwrap();
            assert_eq!(rx.try_recv(&mut buf).unwrap().sequence, newest + 1);
            assert_eq!((rx.sequence(), rx.lost()), (61 * (round + 1), 0));
        }
    }
}

/// One who started with records that are gone and asks for the newest has passed them over: no loss, then or later.
#[test]
fn the_newest_after_a_start_that_is_gone() {
    in_time(|| {
        for kind in KINDS {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).no_in_place().evict_after(Duration::ZERO);
            let mut tx = ring.producer().unwrap();
            (0..1000_u64).for_each(|n| tx.send(&n.to_le_bytes()).unwrap());
            let mut rx = kind.open(dir.open("r").start(Start::Sequence(10)));
            let mut buf = [0; 8];
            assert_eq!(rx.latest(&mut buf).unwrap().sequence, 999);
            assert_eq!(rx.lost(), 0);
            (1000..2000_u64).for_each(|n| tx.send(&n.to_le_bytes()).unwrap());
            let Err(CopyError::Lagged(lost)) = rx.recv(&mut buf) else { panic!() };
            assert_eq!((rx.recv(&mut buf).unwrap().sequence, rx.lost()), (1000 + lost, lost), "{kind:?}");
        }
    });
}

/// Beside a producer at full speed, with payloads that look like headers: whole records only, never an older one than
/// before, never `Corrupt`, and as many calls succeed as not.
#[test]
fn the_newest_at_full_speed() {
    for kind in KINDS {
        for (align, words) in [(Align::Packed, 1), (Align::Packed, 200), (Align::Line, 40)] {
            in_time(move || {
                let dir = Dir::new();
                let ring = dir.create("r").capacity(4096).align(align).no_in_place();
                let mut tx = ring.evict_after(Duration::ZERO).producer().unwrap();
                let mut rx = kind.open(dir.open("r"));
                let over = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let mut bytes = vec![0; words * 8];
                        while !over.load(Ordering::Relaxed) {
                            // Published, of no length, numbered on.
                            for (i, word) in bytes.chunks_exact_mut(8).enumerate() {
                                let header = (tx.sequence() + i as u64) << 32 | 1 << 31;
                                word.copy_from_slice(&header.to_le_bytes());
                            }
                            tx.send(&bytes).unwrap();
                        }
                    });
                    let (mut last, mut got, mut calls) = (0, 0, 0);
                    let mut buf = Vec::new();
                    while got < 20_000 && calls < 1_000_000 {
                        calls += 1;
                        match rx.latest_into(&mut buf) {
                            Ok(received) => {
                                got += 1;
                                assert!(received.sequence >= last, "{} after {last}", received.sequence);
                                last = received.sequence;
                                assert_eq!(buf.len(), words * 8, "{received:?}");
                                for (i, word) in buf.chunks_exact(8).enumerate() {
                                    assert_eq!(word, ((last + i as u64) << 32 | 1 << 31).to_le_bytes());
                                }
                            }
                            Err(TryCopyError::Empty | TryCopyError::Lagged(_)) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                    over.store(true, Ordering::Relaxed);
                    assert!(got >= 20_000, "{got} of {calls} calls");
                });
            });
        }
    }
}

/// One that has looked where the newest record is, and then was lapped before it went there, finds a payload that looks
/// like a record: it is none, and no damage. Its moment is too short to be hit, so the word is set back instead.
#[test]
fn a_place_that_was_the_newest_once() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).align(Align::Packed).producer().unwrap();
        let early = Kind::Observer.open(dir.open("r").start(Start::Sequence(1000)));
        // A record is 64 bytes, seven of its words being headers of one that ends where the last lap still is.
        let header = 500_u64 << 32 | 1 << 31 | 504;
        let bytes = [header.to_le_bytes(); 7].concat();
        (0..200).for_each(|_| tx.send(&bytes).unwrap());
        let tail = dir.open("r").info().unwrap().bytes;
        let data = OpenOptions::new().write(true).open(dir.file("r", "data")).unwrap();
        let old = tail - 56 - 4096;
        data.write_all_at(&old.to_le_bytes(), 8192 + 144).unwrap();
        for mut rx in KINDS.map(|kind| kind.open(dir.open("r"))).into_iter().chain([early]) {
            assert_eq!(rx.latest_into(&mut Vec::new()), Err(TryCopyError::Empty));
        }
    });
}

/// The end is said only on a ring that never held anything.
#[test]
fn an_empty_ring_that_ends() {
    for kind in KINDS {
        let dir = Dir::new();
        let tx = dir.create("r").producer().unwrap();
        let mut rx = kind.open(dir.open("r"));
        drop(tx);
        assert_eq!(rx.latest(&mut []), Err(TryCopyError::Ended(RecvError::Closed)));
    }
}

/// The kinds differ in one thing: a copying subscriber that conflates frees the producer by it.
#[test]
fn conflating_frees_the_producer() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let mut rx = Kind::Copying.open(dir.open("r"));
    for _ in 0..100 {
        while tx.try_send(b"x").is_ok() {}
        assert_eq!(rx.latest(&mut [0]).unwrap().sequence, tx.sequence() - 1);
        assert_eq!((0..).take_while(|_| tx.try_send(b"y").is_ok()).count(), 63);
    }
}
