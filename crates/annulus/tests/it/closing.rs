//! How a ring ends, cleanly, and how its name is used again.

use annulus::{RecvError, RecvTimeoutError, TryCopyError, TryRecvError};

use crate::copiers::KINDS;
use crate::support::{Dir, no_forks};

/// Promise: the producer ends cleanly. Drained, then `Closed`, and `Closed` again however it is asked; the directory
/// is gone.
#[test]
fn drained_then_closed() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let readers: Vec<_> = (0..3).map(|_| dir.open("r").subscribe().unwrap()).collect();
    for n in 0..50 {
        tx.send(&[n]).unwrap();
    }
    drop(tx);
    assert!(dir.entries().is_empty());
    for rx in &readers {
        for n in 0..50 {
            assert_eq!(&*rx.recv().unwrap(), [n]);
        }
        for _ in 0..200 {
            assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
            assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Ended(RecvError::Closed));
            let end = rx.recv_timeout(std::time::Duration::MAX).unwrap_err();
            assert_eq!(end, RecvTimeoutError::Ended(RecvError::Closed));
        }
        assert!(!rx.is_linked());
    }
}

/// Promise: the producer ends cleanly. The last record comes before the end, however close they are, for every kind
/// of reader.
#[test]
fn the_last_record_before_the_end() {
    let dir = Dir::new();
    let mut buf = [0; 8];
    for n in 0..1000_u64 {
        let mut tx = dir.create("r").capacity(4096).prefault(false).max_subscribers(2).producer().unwrap();
        let open = || dir.open("r").prefault(false);
        let (in_place, mut copiers) = (open().subscribe().unwrap(), KINDS.map(|kind| kind.open(open())));
        let sender = std::thread::spawn(move || {
            (0..n % 50).for_each(|_| std::hint::spin_loop());
            tx.send(&n.to_le_bytes()).unwrap();
        });
        let first = loop {
            match n % 3 {
                0 => match in_place.try_recv() {
                    Err(TryRecvError::Empty) => {}
                    other => break other.map(|record| record.sequence()).map_err(|end| end.to_string()),
                },
                kind => match copiers[kind as usize - 1].try_recv(&mut buf) {
                    Err(TryCopyError::Empty) => {}
                    other => break other.map(|got| got.sequence).map_err(|end| end.to_string()),
                },
            }
        };
        assert_eq!(first, Ok(0), "round {n}");
        sender.join().unwrap();
    }
}

/// An iteration ends with the ring, and stays ended.
#[test]
fn an_iteration_ends() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    tx.send_batch(["a", "b", "c"]).unwrap();
    drop(tx);
    let mut iter = rx.iter();
    assert_eq!(iter.by_ref().map(|record| record.unwrap().len()).sum::<usize>(), 3);
    assert!(iter.next().is_none());
    assert!((&rx).into_iter().next().is_none());
}

/// A record in somebody's hands outlives the producer.
#[test]
fn a_held_record_outlives_the_ring() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    tx.send(b"mine").unwrap();
    let record = rx.recv().unwrap();
    drop(tx);
    assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
    assert_eq!(&*record, b"mine");
}

/// Promise: the producer ends cleanly. The name is free at once, hundreds of times, and a reader of the old ring
/// never sees the new one's records.
#[test]
fn the_name_is_free_again() {
    let dir = Dir::new();
    for n in 0..300_u32 {
        let mut tx = dir.create("r").capacity(4096).producer().unwrap();
        let rx = dir.open("r").subscribe().unwrap();
        assert_eq!((tx.sequence(), rx.sequence()), (0, 0));
        tx.send(&n.to_le_bytes()).unwrap();
        drop(tx);
        let _new = dir.create("r").capacity(4096).producer().unwrap();
        assert_eq!(&*rx.recv().unwrap(), n.to_le_bytes());
        assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
    }
    assert!(dir.entries().is_empty());
}

/// Promise: a service starts again with the same lines. A persistent ring stays when its producer ends; the next one
/// goes on in sequence, and readers with it.
#[test]
fn a_persistent_ring_goes_on() {
    let _alone = no_forks();
    let dir = Dir::new();
    let ring = || dir.open_or_create("r").capacity(4096).persistent(true);
    let mut tx = ring().producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    for round in 0..20_u64 {
        assert_eq!(tx.sequence(), round * 10);
        for n in 0..10 {
            tx.send(&(round * 10 + n).to_le_bytes()).unwrap();
        }
        drop(tx);
        assert_eq!(dir.entries(), ["r"]);
        let info = dir.open("r").info().unwrap();
        assert_eq!((info.state, info.producer_alive, info.published), ("closed", false, round * 10 + 10));
        // It may be neither replaced nor made anew.
        assert!(dir.create("r").producer().unwrap_err().is_already_exists());
        if round % 2 == 0 {
            for n in 0..10 {
                assert_eq!(&*rx.recv().unwrap(), (round * 10 + n).to_le_bytes());
            }
            assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
        }
        tx = if round % 3 == 0 { dir.open("r").producer().unwrap() } else { ring().producer().unwrap() };
        if round % 2 == 1 {
            for n in 0..10 {
                assert_eq!(&*rx.recv().unwrap(), (round * 10 + n).to_le_bytes());
            }
        }
        assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
        let info = dir.open("r").info().unwrap();
        assert_eq!((info.epoch, info.takeovers, info.state), (round + 2, round + 1, "open"));
        assert_eq!(crate::support::entries(&dir.path().join("r")).len(), 4, "earlier lives are removed");
    }
}

/// A reader can subscribe to a ring that has no producer now, and gets what the next one sends.
#[test]
fn a_reader_before_the_next_producer() {
    let _alone = no_forks();
    let dir = Dir::new();
    drop(dir.create("r").persistent(true).producer().unwrap());
    let rx = dir.open("r").subscribe().unwrap();
    assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
    let mut tx = dir.open("r").producer().unwrap();
    tx.send(b"here").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"here");
}

/// `info` shows how a ring stands.
#[test]
fn info_shows_how_it_stands() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).max_subscribers(7).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    tx.send_batch([[0; 10]; 5]).unwrap();
    drop(rx.recv().unwrap());
    let info = dir.open("r").info().unwrap();
    assert_eq!((info.name.as_str(), info.capacity, info.max_len), ("r", 4096, 4024));
    assert_eq!((info.published, info.bytes, info.epoch, info.max_subscribers), (5, 320, 1, 7));
    assert_eq!((info.state, info.producer_alive, info.producer_pid), ("open", true, std::process::id()));
    assert_eq!(info.subscribers.len(), 1);
    assert_eq!((info.subscribers[0].slot, info.subscribers[0].behind), (0, 256));
    assert_eq!(info.subscribers[0].pid, std::process::id());
    assert!(!info.persistent && info.uuid != 0 && info.created_unix_ns > 1 << 60);
}
