//! A ring that is full: who is in the way, and how it goes on.

use std::time::{Duration, Instant};

use annulus::{Align, SendTimeoutError, TrySendError, Waiting, Who};

use crate::support::{Dir, in_time, payload, thread_id, until_asleep};

/// Far above what a wake takes; a wake that was lost would show.
const NEVER: Duration = Duration::from_secs(3600);

/// Case 5: a full ring refuses the next record; one release admits exactly one, over two laps.
#[test]
fn one_release_admits_exactly_one() {
    for (align, len, fit) in [(Align::Line, 56, 63), (Align::Line, 0, 63), (Align::Packed, 0, 511)] {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).align(align).producer().unwrap();
        let rx = dir.open("r").subscribe().unwrap();
        for _ in 0..fit {
            tx.try_send(&vec![1; len]).unwrap();
        }
        for _ in 0..2 * fit {
            assert!(matches!(tx.try_send(&vec![1; len]), Err(TrySendError::Full(_))));
            drop(rx.recv().unwrap());
            tx.try_send(&vec![1; len]).unwrap();
            assert!(matches!(tx.try_send(&vec![1; len]), Err(TrySendError::Full(_))));
        }
    }
}

/// `Full` says which reader is behind and by how much.
#[test]
fn full_says_who_is_behind_and_how_far() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let first = dir.open("r").subscribe().unwrap();
    let second = dir.open("r").subscribe().unwrap();
    for n in 0..63 {
        tx.try_send(&[n]).unwrap();
    }
    for _ in 0..10 {
        drop(first.recv().unwrap());
    }
    let behind = |error| match error {
        Err(TrySendError::Full(behind)) => (behind.who, behind.bytes),
        other => panic!("{other:?}"),
    };
    assert_eq!(behind(tx.try_send(b"")), (Who::Slot(1), 63 * 64));
    for _ in 0..20 {
        drop(second.recv().unwrap());
    }
    assert_eq!(behind(tx.try_send(&[0; 2000])), (Who::Slot(0), 53 * 64));
    let text = tx.try_send(&[0; 2000]).unwrap_err().to_string();
    assert!(text.contains("slot 0") && text.contains("3392 bytes"), "{text}");
    let info = dir.open("r").info().unwrap();
    let shown: Vec<_> = info.subscribers.iter().map(|s| (s.slot, s.behind)).collect();
    assert_eq!(shown, [(0, 53 * 64), (1, 43 * 64)]);
}

/// Case 11: a ring without subscribers is never full; the last one that leaves unbinds the producer.
#[test]
fn without_subscribers_nothing_is_full() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    for n in 0..1000 {
        tx.try_send(&payload(n, (n % 3000) as usize)).unwrap();
    }
    let rx = dir.open("r").subscribe().unwrap();
    while tx.try_send(&[1; 100]).is_ok() {}
    drop(rx);
    for n in 0..1000 {
        tx.try_send(&payload(n, (n % 3000) as usize)).unwrap();
    }
}

/// Case 11: with `max_subscribers(0)` nobody can ever slow the producer.
#[test]
fn a_ring_that_forbids_subscribers() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).max_subscribers(0).producer().unwrap();
    let refused = dir.open("r").subscribe().unwrap_err();
    assert_eq!(refused.kind(), &annulus::ErrorKind::NoFreeSlot { slots: 0 });
    crate::support::helpful(&refused);
    for n in 0..10_000 {
        tx.try_send(&payload(n, (n % 4000) as usize)).unwrap();
    }
    assert_eq!(tx.sequence(), 10_000);
}

/// A send with a limit gives up at it, not before, says who was in the way, and later succeeds.
#[test]
fn a_send_times_out_and_later_succeeds() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    while tx.try_send(&[1; 56]).is_ok() {}
    for waiting in [Waiting::park(), Waiting::park_after(0), Waiting::spin(), Waiting::yielding()] {
        tx.set_waiting(waiting);
        for limit in [Duration::ZERO, Duration::from_millis(20)] {
            let begin = Instant::now();
            match tx.send_timeout(&[2; 56], limit) {
                Err(SendTimeoutError::TimedOut(behind)) => {
                    assert_eq!((behind.who, behind.bytes), (Who::Slot(0), 63 * 64));
                }
                other => panic!("{other:?}"),
            }
            assert!(begin.elapsed() >= limit);
        }
    }
    drop(rx.recv().unwrap());
    tx.send_timeout(&[3; 56], Duration::ZERO).unwrap();
    let last = rx.iter().take(63).map(|record| record.unwrap()[0]).last();
    assert_eq!(last, Some(3));
    let max = tx.max_len();
    let too_large = SendTimeoutError::TooLarge { len: max + 1, max };
    assert_eq!(tx.send_timeout(&vec![0; max + 1], NEVER), Err(too_large));
    tx.send_timeout(b"", Duration::MAX).unwrap();
}

/// Case 31: a producer that sleeps for room is woken at once by the release, and by a reader that leaves, not by the clock.
#[test]
fn a_blocked_producer_is_woken_at_once() {
    for leaves in [false, true] {
        in_time(move || {
            let dir = Dir::new();
            let waiting = Waiting::park_after(0);
            let ring = dir.create("r").capacity(4096).liveness(NEVER).waiting(waiting);
            let mut tx = ring.producer().unwrap();
            let rx = dir.open("r").subscribe().unwrap();
            while tx.try_send(&[1; 56]).is_ok() {}
            let (say, tid) = std::sync::mpsc::channel();
            let sender = std::thread::spawn(move || {
                say.send(thread_id()).unwrap();
                tx.send(&[2; 56]).unwrap();
                tx
            });
            let tid = tid.recv().unwrap();
            // Its first sleep is a millisecond, its second until it is woken.
            for _ in 0..2 {
                until_asleep(tid);
                let first = Instant::now();
                while first.elapsed() < Duration::from_millis(5) {
                    std::thread::yield_now();
                }
            }
            until_asleep(tid);
            if leaves {
                drop(rx);
                drop(sender.join().unwrap());
            } else {
                drop(rx.recv().unwrap());
                drop(sender.join().unwrap());
                assert_eq!(rx.iter().count(), 63);
            }
        });
    }
}

/// A claim waits like a send, and goes on at the release.
#[test]
fn a_blocked_claim_goes_on() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).liveness(NEVER).producer().unwrap();
        let rx = dir.open("r").subscribe().unwrap();
        while tx.try_send(&[1; 56]).is_ok() {}
        let (say, tid) = std::sync::mpsc::channel();
        let sender = std::thread::spawn(move || {
            say.send(thread_id()).unwrap();
            let mut claim = tx.claim(1000).unwrap();
            claim.write_at(0, &[9; 1000]);
            claim.commit();
        });
        until_asleep(tid.recv().unwrap());
        let records: Vec<Vec<u8>> = rx.iter().map(|record| record.unwrap().to_vec()).collect();
        sender.join().unwrap();
        assert_eq!((records.len(), records.last()), (64, Some(&vec![9; 1000])));
    });
}
