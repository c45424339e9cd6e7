//! What a reader that copies gets, and how it asks.

use std::thread;
use std::time::{Duration, Instant};

use annulus::{
    Align, CopyError, CopyTimeoutError, FenceMode, RecvError, TryCopyError, TrySendError, Waiting,
};

use crate::copiers::{Account, KINDS, Kind};
use crate::support::{Dir, in_time, no_forks, payload, thread_id, until_asleep, until_in_call};

const ALIGNS: [Align; 2] = [Align::Line, Align::Packed];
/// An hour: nothing but the wake can end a sleep.
const NEVER: Duration = Duration::from_secs(3600);

/// Case 1: readers of all kinds at once each see every record once, in order.
#[test]
fn every_record_once_in_order_for_each_kind() {
    for (fence, waiting) in [
        (FenceMode::Asymmetric, Waiting::park_after(0)),
        (FenceMode::Symmetric, Waiting::park()),
        (FenceMode::SpinOnly, Waiting::park_after(0)),
    ] {
        in_time(move || {
            let dir = Dir::new();
            let count = 5000;
            // So large that the observers are never lapped.
            let mut tx = dir.create("r").capacity(1 << 22).fence(fence).producer().unwrap();
            let in_place = dir.open("r").waiting(waiting).subscribe().unwrap();
            let threads: Vec<_> = [Kind::Copying, Kind::Observer, Kind::Copying]
                .map(|kind| {
                    let mut rx = kind.open(dir.open("r").waiting(waiting));
                    thread::spawn(move || {
                        let mut account = Account::new(0);
                        let end = account.read_all(&mut rx, |n| payload(n, (n % 300) as usize));
                        assert_eq!((end, account.received), (RecvError::Closed, count));
                    })
                })
                .into();
            for n in 0..count {
                tx.send(&payload(n, (n % 300) as usize)).unwrap();
                assert_eq!(&*in_place.recv().unwrap(), payload(n, (n % 300) as usize));
            }
            drop(tx);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

/// Case 5: one record that a copying subscriber has taken admits exactly one.
#[test]
fn one_copied_record_admits_exactly_one() {
    in_time(|| {
        for (align, len, fit) in [(Align::Line, 56, 63), (Align::Packed, 0, 511)] {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).align(align).producer().unwrap();
            let mut rx = dir.open("r").subscribe_copying().unwrap();
            (0..fit).for_each(|_| tx.try_send(&vec![1; len]).unwrap());
            for _ in 0..2 * fit {
                assert!(matches!(tx.try_send(&vec![1; len]), Err(TrySendError::Full(_))));
                assert_eq!(rx.recv(&mut [0; 56]).unwrap().len, len);
                tx.try_send(&vec![1; len]).unwrap();
                assert!(matches!(tx.try_send(&vec![1; len]), Err(TrySendError::Full(_))));
            }
        }
    });
}

/// Case 7: every size from 0 to the largest with one reader that drains, and records of 0 bytes before and after
/// the wrap: nothing stalls, nothing is lost.
#[test]
fn no_size_stalls() {
    for kind in KINDS {
        for align in ALIGNS {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).align(align).producer().unwrap();
            let mut rx = kind.open(dir.open("r"));
            let max = tx.max_len();
            assert_eq!(rx.max_len(), max);
            let mut buf = vec![0; max];
            for len in (0..=max).chain((0..=max).rev()).chain([0; 1500]) {
                let n = tx.sequence();
                tx.try_send(&payload(n, len)).unwrap();
                let received = rx.try_recv(&mut buf).unwrap();
                assert_eq!((received.sequence, received.len, received.time()), (n, len, None));
                assert!(buf[..len] == payload(n, len), "{len}");
                assert_eq!(rx.try_recv(&mut buf), Err(TryCopyError::Empty));
            }
        }
    }
}

/// Case 6: a claim dropped without commit, a batch given up, at the wrap too: no reader that copies sees anything.
#[test]
fn what_is_not_committed_is_not_seen() {
    for kind in KINDS {
        for align in ALIGNS {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).align(align).producer().unwrap();
            let mut rx = kind.open(dir.open("r"));
            let mut buf = vec![0; tx.max_len()];
            for n in 0..2000_u64 {
                // One of the whole ring would overwrite the newest record, committed or not.
                let len = (n * 97 % 1800) as usize;
                let mut claim = tx.claim(len).unwrap();
                claim.write_at(0, &vec![0xff; len]);
                drop(claim);
                let given_up = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    tx.send_batch((0..=n % 5).map(|i| {
                        if i == n % 5 {
                            std::panic::resume_unwind(Box::new("given up"));
                        }
                        [0xff; 300]
                    }))
                }));
                assert!(given_up.is_err());
                assert_eq!(rx.try_recv(&mut buf), Err(TryCopyError::Empty));
                if n > 0 {
                    assert_eq!(rx.latest(&mut buf).unwrap().sequence, n - 1);
                }
                let bytes = payload(n, (n % 70) as usize);
                tx.send(&bytes).unwrap();
                let received = rx.try_recv(&mut buf).unwrap();
                assert_eq!((received.sequence, &buf[..received.len]), (n, &bytes[..]));
            }
        }
    }
}

/// Case 4: a batch larger than the ring, with a copying subscriber that was asleep: no deadlock, nothing lost.
#[test]
fn a_batch_larger_than_the_ring() {
    for fence in [FenceMode::Asymmetric, FenceMode::Symmetric, FenceMode::SpinOnly] {
        in_time(move || {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).fence(fence).waiting(Waiting::park_after(0));
            let mut tx = ring.producer().unwrap();
            let mut rx = Kind::Copying.open(dir.open("r").waiting(Waiting::park_after(0)));
            let (say, tid) = std::sync::mpsc::channel();
            let reader = thread::spawn(move || {
                say.send(thread_id()).unwrap();
                let mut account = Account::new(0);
                let end = account.read_all(&mut rx, |n| payload(n, (n % 200) as usize));
                (end, account.received)
            });
            until_in_call(tid.recv().unwrap(), &[libc::SYS_futex, libc::SYS_clock_nanosleep]);
            assert_eq!(tx.send_batch((0..5000).map(|n| payload(n, (n % 200) as usize))), Ok(5000));
            drop(tx);
            assert_eq!(reader.join().unwrap(), (RecvError::Closed, 5000));
        });
    }
}

/// A buffer that is too short: the record stays the next, whatever verb is used; one that is as long is enough.
#[test]
fn a_short_buffer_takes_nothing() {
    in_time(|| {
        for kind in KINDS {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).producer().unwrap();
            let mut rx = kind.open(dir.open("r"));
            for len in [1, 8, 63, 64, 1000, tx.max_len()] {
                let n = tx.sequence();
                tx.send(&payload(n, len)).unwrap();
                for short in [0, len / 2, len - 1] {
                    let mut buf = vec![0; short];
                    assert_eq!(rx.try_recv(&mut buf), Err(TryCopyError::TooSmall { need: len }));
                    assert_eq!(rx.recv(&mut buf), Err(CopyError::TooSmall { need: len }));
                    let limited = rx.recv_timeout(&mut buf, NEVER);
                    assert_eq!(limited, Err(CopyTimeoutError::TooSmall { need: len }));
                    assert_eq!(rx.latest(&mut buf), Err(TryCopyError::TooSmall { need: len }));
                    assert_eq!((rx.sequence(), rx.lost()), (n, 0));
                }
                // It holds its place in the ring as well.
                assert!(kind == Kind::Observer || tx.try_send(&vec![0; tx.max_len()]).is_err());
                let mut buf = vec![0; len];
                assert_eq!(rx.try_recv(&mut buf).unwrap().len, len);
                assert!(buf == payload(n, len));
            }
            let text = CopyError::TooSmall { need: 9 }.to_string();
            assert!(text.contains("9 bytes") && text.contains("; give it so many"), "{text}");
        }
    });
}

/// A vector becomes as long as each record, whatever it held before.
#[test]
fn a_vector_becomes_as_long_as_the_record() {
    in_time(|| {
        for kind in KINDS {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).producer().unwrap();
            let mut rx = kind.open(dir.open("r"));
            let mut buf = vec![0xff; 17];
            for (i, len) in [5, 1000, 0, 17, 4000, 3].into_iter().enumerate() {
                let bytes = payload(i as u64, len);
                tx.send(&bytes).unwrap();
                match i % 4 {
                    0 => drop(rx.recv_into(&mut buf).map(drop)),
                    1 => drop(rx.try_recv_into(&mut buf).map(drop)),
                    2 => drop(rx.recv_into_timeout(&mut buf, NEVER).map(drop)),
                    _ => drop(rx.latest_into(&mut buf).map(drop)),
                }
                assert!(buf == bytes, "{len}");
            }
        }
    });
}

/// A wait with a limit ends at it, not before, however it waits; a record that is there is returned at once.
#[test]
fn a_wait_times_out() {
    for fence in [FenceMode::Asymmetric, FenceMode::Symmetric, FenceMode::SpinOnly] {
        for kind in KINDS {
            let dir = Dir::new();
            let mut tx = dir.create("r").fence(fence).producer().unwrap();
            let mut rx = kind.open(dir.open("r"));
            let mut buf = Vec::new();
            for waiting in [Waiting::park(), Waiting::park_after(0), Waiting::spin(), Waiting::yielding()] {
                rx.set_waiting(waiting);
                for limit in [Duration::ZERO, Duration::from_millis(5)] {
                    let begin = Instant::now();
                    assert_eq!(rx.recv_into_timeout(&mut buf, limit), Err(CopyTimeoutError::TimedOut));
                    assert!(begin.elapsed() >= limit);
                }
                tx.send(b"x").unwrap();
                assert_eq!(rx.recv_into_timeout(&mut buf, Duration::ZERO).unwrap().len, 1);
                tx.send(b"yz").unwrap();
                assert_eq!(rx.recv_into_timeout(&mut buf, Duration::MAX).unwrap().len, 2);
            }
        }
    }
}

/// A copying subscriber that sleeps is woken by the record and by the end, not by the clock.
#[test]
fn a_sleeping_copier_is_woken() {
    for fence in [FenceMode::Asymmetric, FenceMode::Symmetric] {
        in_time(move || {
            let dir = Dir::new();
            let mut tx = dir.create("r").fence(fence).liveness(NEVER).producer().unwrap();
            let mut rx = Kind::Copying.open(dir.open("r").waiting(Waiting::park_after(0)));
            let (say, tid) = std::sync::mpsc::channel();
            let (got, records) = std::sync::mpsc::channel();
            let reader = thread::spawn(move || {
                say.send(thread_id()).unwrap();
                let mut buf = Vec::new();
                while let Ok(received) = rx.recv_into(&mut buf) {
                    got.send(received.sequence).unwrap();
                }
            });
            let tid = tid.recv().unwrap();
            for n in 0..100_u64 {
                until_asleep(tid);
                tx.send(&n.to_le_bytes()).unwrap();
                assert_eq!(records.recv().unwrap(), n);
            }
            let info = dir.open("r").info().unwrap();
            assert!(info.wakes > 0 && info.subscribers[0].copying && info.subscribers[0].sleeps > 0);
            until_asleep(tid);
            drop(tx);
            reader.join().unwrap();
        });
    }
}

/// Drained, then `Closed`, however it is asked; the iteration ends there, and `latest` still has the last record.
#[test]
fn drained_then_closed() {
    in_time(|| {
        for kind in KINDS {
            for waiting in [Waiting::spin(), Waiting::yielding(), Waiting::park_after(0)] {
                let dir = Dir::new();
                let mut tx = dir.create("r").producer().unwrap();
                let mut rx = kind.open(dir.open("r").waiting(waiting));
                assert!(rx.is_linked());
                (0..50).for_each(|n| tx.send(&[n]).unwrap());
                drop(tx);
                assert!(dir.entries().is_empty() && !rx.is_linked());
                let items = rx.items();
                let bytes: Vec<u8> = items.iter().map(|item| item.as_ref().unwrap()[0]).collect();
                assert_eq!(bytes, (0..50).collect::<Vec<u8>>());
                let mut buf = [0; 8];
                for _ in 0..200 {
                    assert_eq!(rx.recv(&mut buf), Err(CopyError::Ended(RecvError::Closed)));
                    assert_eq!(rx.try_recv(&mut buf), Err(TryCopyError::Ended(RecvError::Closed)));
                    let end = Err(CopyTimeoutError::Ended(RecvError::Closed));
                    assert_eq!(rx.recv_timeout(&mut buf, Duration::MAX), end);
                }
                assert!(rx.items().is_empty());
                assert_eq!((rx.latest(&mut buf).unwrap().sequence, buf[0]), (49, 49));
                assert_eq!(rx.recv(&mut buf), Err(CopyError::Ended(RecvError::Closed)));
            }
        }
    });
}

/// A persistent ring goes on under the next producer, and readers that copy with it, also where they were lapped.
#[test]
fn a_persistent_ring_goes_on() {
    let _alone = no_forks();
    for kind in KINDS {
        let dir = Dir::new();
        let ring = || dir.open_or_create("r").capacity(4096).persistent(true);
        let ring = || ring().no_in_place().evict_after(Duration::ZERO);
        let mut account = Account::new(0);
        drop(ring().producer().unwrap());
        let mut rx = kind.open(dir.open("r"));
        for round in 0..30_u64 {
            let mut tx = ring().producer().unwrap();
            for _ in 0..round * 7 {
                tx.send(&payload(tx.sequence(), 20)).unwrap();
            }
            let sent = tx.sequence();
            drop(tx);
            assert_eq!(account.read_all(&mut rx, |n| payload(n, 20)), RecvError::Closed);
            account.balances(sent);
        }
        assert!(account.lagged > 100 && account.received > 100, "{account:?}");
        assert_eq!(dir.open("r").info().unwrap().takeovers, 30);
    }
}

/// An iteration yields losses as items and goes on behind them; any end but `Closed` is its last item.
#[test]
fn losses_are_items() {
    let dir = Dir::new();
    let ring = dir.create("r").capacity(4096).no_in_place().evict_after(Duration::ZERO);
    let mut tx = ring.producer().unwrap();
    let mut readers = KINDS.map(|kind| kind.open(dir.open("r")));
    (0..500_u64).for_each(|n| tx.send(&n.to_le_bytes()).unwrap());
    drop(tx);
    for rx in &mut readers {
        let items = rx.items();
        let Err(CopyError::Lagged(lost)) = items[0] else { panic!("{:?}", items[0]) };
        assert_eq!(items.len() as u64, 1 + 500 - lost);
        for (n, item) in (lost..).zip(&items[1..]) {
            let record = item.as_ref().unwrap();
            assert_eq!((record.sequence, &record[..]), (n, &n.to_le_bytes()[..]));
        }
        assert!(rx.items().is_empty());
    }
    let text = CopyError::Lagged(7).to_string();
    assert!(text.contains("7 records") && text.contains("; read on"), "{text}");
}

/// A producer that sleeps for room is woken by one record that a copying subscriber has taken, and by one that leaves,
/// not by the clock.
#[test]
fn a_blocked_producer_is_woken() {
    for leaves in [false, true] {
        in_time(move || {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).liveness(NEVER).waiting(Waiting::park_after(0));
            let mut tx = ring.producer().unwrap();
            let mut rx = Kind::Copying.open(dir.open("r"));
            while tx.try_send(&[1; 56]).is_ok() {}
            let (say, tid) = std::sync::mpsc::channel();
            let sender = thread::spawn(move || {
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
                    thread::yield_now();
                }
            }
            until_asleep(tid);
            if leaves {
                drop(rx);
            } else {
                rx.recv(&mut [0; 56]).unwrap();
            }
            drop(sender.join().unwrap());
        });
    }
}
