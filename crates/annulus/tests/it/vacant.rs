//! Rings without a producer, and rings that are removed.

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use annulus::{CopyError, CopyTimeoutError, ErrorKind, RecvError, RecvTimeoutError, Start, Waiting};

use crate::copiers::{KINDS, Kind};
use crate::support::{Dir, INTERVALS, helpful, in_time, no_forks, payload, thread_id, until_asleep};

const LIVENESS: Duration = Duration::from_millis(50);

fn vacant(dir: &Dir) -> annulus::Create {
    dir.create("r").capacity(4096).persistent(true).liveness(LIVENESS)
}

/// Readers join a ring that had no producer yet, and wait: nobody has died. Its first producer begins at 0.
#[test]
fn readers_before_the_first_producer() {
    in_time(|| {
        let _alone = no_forks();
        let dir = Dir::new();
        vacant(&dir).without_producer().unwrap();
        let info = dir.open("r").info().unwrap();
        assert_eq!((info.epoch, info.state, info.producer_alive, info.takeovers), (0, "open", false, 0));
        let in_place = dir.open("r").subscribe().unwrap();
        let mut copiers = KINDS.map(|kind| kind.open(dir.open("r").start(Start::Oldest)));
        // Several liveness intervals.
        assert_eq!(in_place.recv_timeout(LIVENESS * 5).unwrap_err(), RecvTimeoutError::TimedOut);
        for rx in &mut copiers {
            assert_eq!(rx.recv_timeout(&mut [], LIVENESS * 5), Err(CopyTimeoutError::TimedOut));
        }
        let mut tx = dir.open("r").producer().unwrap();
        let info = dir.open("r").info().unwrap();
        assert_eq!((info.epoch, info.producer_alive, info.takeovers, tx.sequence()), (1, true, 0, 0));
        tx.send(b"first").unwrap();
        assert_eq!(&*in_place.recv().unwrap(), b"first");
        let mut buf = Vec::new();
        for rx in &mut copiers {
            assert_eq!((rx.recv_into(&mut buf).unwrap().sequence, &buf[..]), (0, &b"first"[..]));
        }
        drop(tx);
        assert_eq!(in_place.recv().unwrap_err(), RecvError::Closed);
        let mut tx = dir.open_or_create("r").producer().unwrap();
        assert_eq!((tx.sequence(), dir.open("r").info().unwrap().takeovers), (1, 1));
        tx.send(b"second").unwrap();
        assert_eq!(&*in_place.recv().unwrap(), b"second");
    });
}

/// A reader asleep is woken by the first producer, not by the clock.
#[test]
fn a_reader_asleep_before_the_first_producer() {
    in_time(|| {
        let dir = Dir::new();
        vacant(&dir).liveness(Duration::from_secs(3600)).without_producer().unwrap();
        let rx = dir.open("r").waiting(Waiting::park_after(0)).subscribe().unwrap();
        let (say, tid) = mpsc::channel();
        let reader = thread::spawn(move || {
            say.send(thread_id()).unwrap();
            rx.recv().map(|record| record.to_vec())
        });
        until_asleep(tid.recv().unwrap());
        let mut tx = dir.open("r").producer().unwrap();
        tx.send(b"woken").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), b"woken");
    });
}

/// Only a ring that stays can be without a producer; made twice it is left as it is, by one who makes it if it is not
/// there, and refused to one who wants a new one.
#[test]
fn who_may_make_a_ring_without_a_producer() {
    let _alone = no_forks();
    let dir = Dir::new();
    for ring in [dir.create("r"), dir.create("r").persistent(false), dir.open_or_create("r")] {
        let error = ring.without_producer().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
    }
    assert!(dir.entries().is_empty());
    vacant(&dir).without_producer().unwrap();
    assert!(vacant(&dir).without_producer().unwrap_err().is_already_exists());
    let rx = dir.open("r").subscribe().unwrap();
    let again = || dir.open_or_create("r").capacity(4096).persistent(true).without_producer();
    // Before its first producer, beside a living one, and behind one that has ended.
    again().unwrap();
    assert_eq!(dir.open("r").info().unwrap().epoch, 0, "nobody has produced");
    assert_eq!(rx.recv_timeout(LIVENESS * 5).unwrap_err(), RecvTimeoutError::TimedOut);
    let mut tx = dir.open("r").producer().unwrap();
    again().unwrap();
    tx.send(b"x").unwrap();
    drop(tx);
    again().unwrap();
    let info = dir.open("r").info().unwrap();
    assert_eq!((info.epoch, info.state, info.takeovers, info.published), (1, "closed", 0, 1));
    assert_eq!(&*rx.recv().unwrap(), b"x");
    assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
}

/// `remove` takes a ring away, persistent or not, unless a producer holds it, and leaves nothing behind.
#[test]
fn removing() {
    in_time(|| {
        let _alone = no_forks();
        let dir = Dir::new();
        let error = dir.open("r").remove().unwrap_err();
        assert!(error.is_not_found(), "{error}");
        helpful(&error);
        for persistent in [true, false] {
            let mut tx = dir.create("r").capacity(4096).persistent(persistent).producer().unwrap();
            let error = dir.open("r").remove().unwrap_err();
            assert!(error.is_producer_alive(), "{error}");
            helpful(&error);
            tx.send(b"still here").unwrap();
            assert!(tx.is_linked());
            let rx = dir.open("r").subscribe().unwrap();
            let mut copiers = KINDS.map(|kind| kind.open(dir.open("r").start(Start::Oldest)));
            tx.send(b"last").unwrap();
            drop(tx);
            if persistent {
                dir.open("r").remove().unwrap();
            }
            assert!(dir.entries().is_empty() && !rx.is_linked());
            assert!(dir.open("r").remove().unwrap_err().is_not_found());
            // Readers go on to the end.
            assert_eq!(&*rx.recv().unwrap(), b"last");
            assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
            for rx in &mut copiers {
                assert_eq!(rx.items().len(), 2);
                assert_eq!(rx.recv(&mut []), Err(CopyError::Ended(RecvError::Closed)));
            }
        }
        // And the name is free.
        vacant(&dir).without_producer().unwrap();
        dir.open("r").remove().unwrap();
        let tx = dir.create("r").producer().unwrap();
        assert_eq!(tx.sequence(), 0);
    });
}

/// Where there is no directory neither `remove` nor one who wants to go on with a ring makes one.
#[test]
fn removing_from_nowhere() {
    let dir = Dir::missing();
    let error = dir.open("r").remove().unwrap_err();
    assert!(!dir.path().exists(), "remove made the directory");
    assert!(error.is_not_found(), "{error}");
    let error = dir.open("r").producer().unwrap_err();
    assert!(!dir.path().exists(), "it made the directory");
    assert!(error.is_not_found(), "{error}");
}

/// Readers of a ring that never had a producer, and never will, since it was removed: they are told, staying or not.
#[test]
fn a_vacant_ring_is_removed() {
    for stay in [false, true] {
        for waiting in [Waiting::spin(), Waiting::park_after(0)] {
            in_time(move || {
                let dir = Dir::new();
                vacant(&dir).without_producer().unwrap();
                let open = || if stay { dir.open("r").stay() } else { dir.open("r") }.waiting(waiting);
                let rx = open().subscribe().unwrap();
                let mut copiers = KINDS.map(|kind| kind.open(open()));
                dir.open("r").remove().unwrap();
                let begin = Instant::now();
                let limit = LIVENESS * INTERVALS;
                let end = rx.recv_timeout(limit).unwrap_err();
                assert_eq!(end, RecvTimeoutError::Ended(RecvError::ProducerLost));
                for rx in &mut copiers {
                    let end = rx.recv_timeout(&mut [], limit);
                    assert_eq!(end, Err(CopyTimeoutError::Ended(RecvError::ProducerLost)));
                }
                assert!(begin.elapsed() < limit);
            });
        }
    }
}

/// Vacant rings have all that rings have: stamps, schema, retained records, copies.
#[test]
fn a_vacant_ring_with_options() {
    let _alone = no_forks();
    let dir = Dir::new();
    let ring = vacant(&dir).retain(5).no_in_place().evict_after(LIVENESS).schema(b"some");
    ring.stamped(annulus::Clock::Monotonic).without_producer().unwrap();
    let info = dir.open("r").info().unwrap();
    assert_eq!((info.retain, info.no_in_place, info.evict_after), (5, true, Some(LIVENESS)));
    assert_eq!((info.schema, info.clock), (b"some".to_vec(), Some(annulus::Clock::Monotonic)));
    let mut tx = dir.open("r").producer().unwrap();
    (0..300).for_each(|n| tx.send(&payload(n, 20)).unwrap());
    let mut rx = Kind::Observer.open(dir.open("r").start(Start::Last(5)));
    drop(tx);
    let items = rx.items();
    assert_eq!(items.len(), 5);
    assert!(items.iter().all(|item| item.as_ref().unwrap().time().is_some()));
}

/// Several that make it at once, each if it is not there: all succeed, there is one ring, and nobody has produced.
#[test]
fn made_by_several_at_once() {
    let dir = Dir::new();
    for _ in 0..30 {
        let ready = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    ready.wait();
                    dir.open_or_create("r").capacity(4096).persistent(true).without_producer().unwrap();
                });
            }
        });
        let info = dir.open("r").info().unwrap();
        assert_eq!((info.epoch, info.state, dir.entries()), (0, "open", vec!["r".to_owned()]));
        dir.open("r").remove().unwrap();
    }
}
