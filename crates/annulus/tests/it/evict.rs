//! Rings that lend nothing in place, and that give slow readers up.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus::{
    CopyError, ErrorKind, Producer, RecvError, Resume, SendTimeoutError, TryCopyError, TrySendError, Waiting,
};

use crate::copiers::{Account, Copier, Kind};
use crate::support::{Dir, INTERVALS, helpful, in_time, no_forks, payload, thread_id, until, until_asleep};

const PATIENCE: Duration = Duration::from_millis(5);
/// Where nobody is to be given up, however long the test is kept from running.
const ENDLESS: Duration = Duration::from_secs(3600);

fn evicting(dir: &Dir, patience: Duration) -> Producer {
    dir.create("r").capacity(4096).no_in_place().evict_after(patience).producer().unwrap()
}

/// Reads what is there.
fn drain(rx: &mut Copier, account: &mut Account) {
    let mut buf = [0; 4096];
    loop {
        let got = match rx.try_recv(&mut buf) {
            Ok(received) => Ok(received),
            Err(TryCopyError::Lagged(lost)) => Err(CopyError::Lagged(lost)),
            Err(TryCopyError::Empty) => return,
            Err(other) => panic!("{other}"),
        };
        account.enter(got, &buf, |n| payload(n, 56));
    }
}

/// A ring that lends nothing says so, and says what to do; readers that copy work.
#[test]
fn no_reading_in_place() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).no_in_place().producer().unwrap();
    let error = dir.open("r").subscribe().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::CopyingOnly);
    assert!(error.to_string().contains("; read copies with `subscribe_copying`"), "{error}");
    helpful(&error);
    let info = dir.open("r").info().unwrap();
    assert!(info.no_in_place && info.evict_after.is_none() && info.subscribers.is_empty());
    // Without a deadline a copying subscriber is waited for like any other.
    let mut rx = Kind::Copying.open(dir.open("r"));
    for n in 0..63 {
        tx.try_send(&payload(n, 56)).unwrap();
    }
    assert!(matches!(tx.try_send(b""), Err(TrySendError::Full(behind)) if behind.bytes == 63 * 64));
    assert!(matches!(tx.send_timeout(b"", PATIENCE), Err(SendTimeoutError::TimedOut(_))));
    let mut account = Account::new(0);
    drain(&mut rx, &mut account);
    assert_eq!((account.received, account.lagged, dir.open("r").info().unwrap().evicted), (63, 0, 0));
    // One that leaves, or is dropped with records unread, frees the producer.
    while tx.try_send(b"").is_ok() {}
    drop(rx);
    (0..1000).for_each(|_| tx.try_send(b"").unwrap());
}

/// Readers that borrow cannot be given up, so a deadline alone is refused.
#[test]
fn a_deadline_needs_copies() {
    let dir = Dir::missing();
    for patience in [Duration::ZERO, PATIENCE, Duration::MAX] {
        let error = dir.create("r").evict_after(patience).producer().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
        assert!(error.to_string().contains("; add `.no_in_place()`"), "{error}");
        assert!(dir.open_or_create("r").evict_after(patience).producer().is_err());
    }
    assert!(!dir.path().exists());
}

/// Promise: a reader is slow: the producer goes on without one that copies. With no patience a subscriber never holds
/// the producer back, whichever verb it sends with; what the subscriber lost it is told exactly, and the ring says
/// how many were given up and what they lost.
#[test]
fn with_no_patience_nobody_is_waited_for() {
    in_time(|| {
        type Verb = (&'static str, fn(&mut Producer));
        let verbs: [Verb; 6] = [
            ("send", |tx| tx.send(&payload(tx.sequence(), 56)).unwrap()),
            ("try_send", |tx| tx.try_send(&payload(tx.sequence(), 56)).unwrap()),
            ("send_timeout", |tx| tx.send_timeout(&payload(tx.sequence(), 56), Duration::ZERO).unwrap()),
            ("claim", |tx| {
                let bytes = payload(tx.sequence(), 56);
                let mut claim = tx.claim(56).unwrap();
                claim.write_at(0, &bytes);
                claim.commit();
            }),
            ("try_claim", |tx| {
                let bytes = payload(tx.sequence(), 56);
                let mut claim = tx.try_claim(56).unwrap();
                claim.write_at(0, &bytes);
                claim.commit();
            }),
            ("try_send_batch", |tx| {
                let n = tx.sequence();
                assert_eq!(tx.try_send_batch((n..n + 7).map(|n| payload(n, 56))).unwrap(), 7);
            }),
        ];
        for (how, send) in verbs {
            for resume in [Resume::Oldest, Resume::Newest] {
                let dir = Dir::new();
                let mut tx = evicting(&dir, Duration::ZERO);
                let mut slow = Kind::Copying.open(dir.open("r").resume(resume));
                let mut fast = Kind::Copying.open(dir.open("r"));
                let (mut slow_has, mut fast_has) = (Account::new(0), Account::new(0));
                for round in 1..=20 {
                    for _ in 0..100 {
                        send(&mut tx);
                        drain(&mut fast, &mut fast_has);
                    }
                    let info = dir.open("r").info().unwrap();
                    assert_eq!(
                        (info.evicted, info.full > 0),
                        (round, true),
                        "{how}: once until it has rejoined"
                    );
                    drain(&mut slow, &mut slow_has);
                    assert_eq!(slow_has.next, tx.sequence(), "{how}");
                    let info = dir.open("r").info().unwrap();
                    let lost: Vec<u64> = info.subscribers.iter().map(|subscriber| subscriber.lost).collect();
                    assert_eq!(lost, [slow_has.lagged, 0], "{how}");
                    assert_eq!((info.lost, info.evict_after), (slow_has.lagged, Some(Duration::ZERO)));
                }
                fast_has.balances(tx.sequence());
                slow_has.balances(tx.sequence());
                assert_eq!((fast_has.lagged, slow_has.lagged >= 20 * 40), (0, true), "{how}: {slow_has:?}");
            }
        }
    });
}

/// Promise: a reader is slow: the producer goes on without one that copies, once `evict_after` is over. With patience
/// a send waits so long for a slow subscriber, once.
#[test]
fn a_slow_reader_is_waited_for_so_long() {
    in_time(|| {
        for waiting in [Waiting::park_after(0), Waiting::yielding(), Waiting::spin()] {
            let patience = PATIENCE * 4;
            let dir = Dir::new();
            let mut tx = evicting(&dir, patience);
            tx.set_waiting(waiting);
            let mut slow = Kind::Copying.open(dir.open("r"));
            let mut slow_has = Account::new(0);
            for n in 0..63 {
                tx.try_send(&payload(n, 56)).unwrap();
            }
            // Who does not wait is refused until the time is over, and counts from its first refusal on.
            let begin = Instant::now();
            assert!(matches!(tx.try_send(b""), Err(TrySendError::Full(_))));
            assert_eq!(dir.open("r").info().unwrap().evicted, 0);
            for n in 63..200 {
                tx.send(&payload(n, 56)).unwrap();
            }
            assert!(begin.elapsed() >= patience, "{:?}", begin.elapsed());
            assert_eq!(dir.open("r").info().unwrap().evicted, 1);
            drain(&mut slow, &mut slow_has);
            slow_has.balances(200);
            assert!(slow_has.lagged >= 100, "{slow_has:?}");
            // It is a subscriber like before: waited for again, and given up again.
            for n in 200..263 {
                tx.try_send(&payload(n, 56)).unwrap();
            }
            let again = Instant::now();
            assert!(tx.try_send(b"").is_err());
            until("given up again", || tx.try_send(&payload(263, 56)).is_ok());
            assert!(again.elapsed() >= patience, "{:?}", again.elapsed());
            drain(&mut slow, &mut slow_has);
            slow_has.balances(264);
            assert_eq!(dir.open("r").info().unwrap().evicted, 2);
        }
    });
}

/// A subscriber that is in the way and then reads is not given up: one record read is room for one.
#[test]
fn one_that_reads_meanwhile_is_not_given_up() {
    in_time(|| {
        for waiting in [Waiting::park_after(0), Waiting::yielding(), Waiting::spin()] {
            let dir = Dir::new();
            let mut tx = evicting(&dir, ENDLESS);
            tx.set_waiting(waiting);
            let mut slow = Kind::Copying.open(dir.open("r"));
            let mut slow_has = Account::new(0);
            for n in 0..63 {
                tx.try_send(&payload(n, 56)).unwrap();
            }
            let mut buf = [0; 56];
            for n in 63..200 {
                assert!(matches!(tx.try_send(b""), Err(TrySendError::Full(_))));
                let got = slow.recv(&mut buf);
                assert_eq!(slow_has.enter(got, &buf, |n| payload(n, 56)), None);
                tx.send(&payload(n, 56)).unwrap();
            }
            assert_eq!(dir.open("r").info().unwrap().evicted, 0);
            drain(&mut slow, &mut slow_has);
            slow_has.balances(200);
            assert_eq!(slow_has.lagged, 0);
        }
    });
}

/// Case: a batch that forgets the limit. One larger than the ring, over a subscriber that does not read and one that
/// sleeps: it ends, and both are told exactly what they lost; the one asleep is woken.
#[test]
fn a_batch_over_readers_that_sleep() {
    for patience in [Duration::ZERO, PATIENCE] {
        in_time(move || {
            let dir = Dir::new();
            let mut tx = evicting(&dir, patience);
            let mut slow = Kind::Copying.open(dir.open("r"));
            let mut sleeper = Kind::Copying.open(dir.open("r").waiting(Waiting::park_after(0)));
            let (say, tid) = std::sync::mpsc::channel();
            let reader = thread::spawn(move || {
                say.send(thread_id()).unwrap();
                let mut account = Account::new(0);
                assert_eq!(account.read_all(&mut sleeper, |n| payload(n, 56)), RecvError::Closed);
                account
            });
            until_asleep(tid.recv().unwrap());
            assert_eq!(tx.send_batch((0..3000).map(|n| payload(n, 56))), Ok(3000));
            let mut slow_has = Account::new(0);
            drain(&mut slow, &mut slow_has);
            slow_has.balances(3000);
            drop(tx);
            reader.join().unwrap().balances(3000);
        });
    }
}

/// A batch that fills the ring by itself is no reader's fault: nobody is given up for what cannot be sent anyway.
#[test]
fn nobody_is_given_up_for_nothing() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = evicting(&dir, Duration::ZERO);
        let mut rx = Kind::Copying.open(dir.open("r"));
        let mut account = Account::new(0);
        for _ in 0..50 {
            tx.send(&payload(tx.sequence(), 56)).unwrap();
            let n = tx.sequence();
            // The first takes half the ring, the second would take the other half and the header behind.
            assert_eq!(tx.try_send_batch([payload(n, 2000), payload(n + 1, 2040)]), Ok(1));
            let mut buf = [0; 4096];
            let got = rx.recv(&mut buf);
            account.enter(got, &buf, |n| payload(n, 56));
            let got = rx.recv(&mut buf);
            account.enter(got, &buf, |n| payload(n, 2000));
        }
        account.balances(100);
        assert_eq!((account.lagged, dir.open("r").info().unwrap().evicted), (0, 0));
    });
}

/// The next producer gives up readers as the one before did.
#[test]
fn a_takeover_keeps_the_deadline() {
    in_time(|| {
        let _alone = no_forks();
        let dir = Dir::new();
        let ring = || dir.open_or_create("r").capacity(4096).persistent(true);
        let mut tx = ring().no_in_place().evict_after(PATIENCE).producer().unwrap();
        let mut rx = Kind::Copying.open(dir.open("r"));
        (0..50).for_each(|n| tx.send(&payload(n, 56)).unwrap());
        drop(tx);
        for error in [
            ring().evict_after(PATIENCE).producer().unwrap_err(),
            ring().no_in_place().evict_after(PATIENCE * 2).producer().unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::BadOption(_) | ErrorKind::Mismatch { .. }), "{error}");
        }
        let mut tx = ring().producer().unwrap();
        (50..200).for_each(|n| tx.send(&payload(n, 56)).unwrap());
        let info = dir.open("r").info().unwrap();
        assert_eq!((info.evicted, info.evict_after, info.takeovers), (1, Some(PATIENCE), 1));
        let mut account = Account::new(0);
        drain(&mut rx, &mut account);
        account.balances(200);
    });
}

/// Patience with one reader is none with another: who joins later is waited for as long, though nothing was sent
/// since the first refusal.
#[test]
fn each_reader_has_patience_of_its_own() {
    let dir = Dir::new();
    let mut tx = evicting(&dir, PATIENCE);
    let first = dir.open("r").subscribe_copying().unwrap();
    while tx.try_send(&payload(0, 56)).is_ok() {}
    drop(first);
    // sleep: the patience with the first one must be over
    thread::sleep(PATIENCE);
    let mut second = dir.open("r").start(annulus::Start::Oldest).subscribe_copying().unwrap();
    // Nobody is given up but by an attempt to send, and the only one is the first that it is in the way of.
    assert!(matches!(tx.try_send(&[2; 3900]), Err(TrySendError::Full(_))));
    assert!(second.try_recv(&mut [0; 4096]).is_ok(), "it was not given up");
    assert_eq!(dir.open("r").info().unwrap().evicted, 0);
    // And one that stays in the way has no more than that.
    let mut tx = {
        drop(tx);
        evicting(&dir, Duration::from_millis(1))
    };
    let mut slow = dir.open("r").subscribe_copying().unwrap();
    for n in 0..200 {
        tx.send(&payload(n, 56)).unwrap();
    }
    assert!(matches!(slow.try_recv(&mut [0; 4096]), Err(TryCopyError::Lagged(_))));
}

/// Promise: a subscriber writes garbage over all that it may write, and a ring that gives slow readers up is not held
/// back: patience has an end, however often somebody writes into `ctl` that another reader is in the way now.
#[test]
fn patience_cannot_be_made_to_last() {
    /// Bytes of `ctl` before the slots, and of a slot before its generation.
    const GENERATION: u64 = 4096 + 132;
    let liveness = Duration::from_millis(50);
    for waits in [false, true] {
        in_time(move || {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).liveness(liveness).no_in_place().evict_after(liveness);
            let mut tx = ring.producer().unwrap();
            let _rx = dir.open("r").subscribe_copying().unwrap();
            let ctl = std::fs::OpenOptions::new().write(true).open(dir.file("r", "ctl")).unwrap();
            while tx.try_send(&payload(0, 56)).is_ok() {}
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for n in 0_u32.. {
                        ctl.write_all_at(&n.to_le_bytes(), GENERATION).unwrap();
                        if over.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                });
                let begin = Instant::now();
                if waits {
                    let sent = tx.send_timeout(b"on", liveness * INTERVALS);
                    over.store(true, Ordering::Relaxed);
                    sent.unwrap();
                } else {
                    while tx.try_send(b"on").is_err() && begin.elapsed() < liveness * INTERVALS {}
                    over.store(true, Ordering::Relaxed);
                    assert!(begin.elapsed() < liveness * INTERVALS, "never given up");
                }
            });
        });
    }
}
