//! Readers that copy in processes of their own: beside a torrent, beside a killed producer, as another user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use annulus::{CopyTimeoutError, Create, RecvError, Resume, Ring, Start, TryCopyError, Waiting};

use super::child::{Child, listen, say};
use super::roles::record;
use crate::copiers::{Account, KINDS, Kind};
use crate::support::{Dir, INTERVALS, LONG, in_time, payload, until};

/// What the roles' rings say.
const LIVENESS: Duration = Duration::from_millis(50);
/// The longest record of the smallest ring, of lines.
const MAX: usize = 4096 - 72;

/// Length of the record of a number, known to both sides.
fn len_of(n: u64) -> usize {
    [MAX, 10, 1500, 300, MAX, 700, 0][(n % 7) as usize]
}

/// A ring of the smallest size that gives slow readers up at once, and so many of the largest records at full speed.
pub(super) fn torrent(ring: Create, count: u64) {
    let mut tx = ring.capacity(4096).no_in_place().evict_after(Duration::ZERO).producer().unwrap();
    say("ready");
    assert_eq!(listen(), "go");
    for n in 0..count {
        tx.send(&payload(n, len_of(n))).unwrap();
    }
    say("sent");
    assert_eq!(listen(), "end");
}

/// Case 2 and case 3, between two processes: no torn record, and received and lost are what was published.
#[test]
fn beside_a_torrent() {
    const COUNT: u64 = 60_000;
    for resume in [Resume::Oldest, Resume::Newest] {
        in_time(move || {
            let dir = Dir::new();
            let mut producer = Child::start("torrent", &[dir.text(), "r", &COUNT.to_string()]);
            producer.expect("ready");
            let readers: Vec<_> = KINDS
                .map(|kind| {
                    let mut rx = kind.open(dir.open("r").resume(resume).waiting(Waiting::yielding()));
                    thread::spawn(move || {
                        let mut account = Account::new(0);
                        let end = account.read_all(&mut rx, |n| payload(n, len_of(n)));
                        assert_eq!(end, RecvError::Closed);
                        account
                    })
                })
                .into();
            producer.tell("go");
            producer.expect("sent");
            producer.tell("end");
            for reader in readers {
                let account = reader.join().unwrap();
                account.balances(COUNT);
                assert!(account.lagged > 0, "{account:?}");
                eprintln!("{resume:?}: {account:?}");
            }
            producer.ends_well();
        });
    }
}

/// A producer that is killed at full speed and taken over, again and again: readers that copy and stay get every record
/// whole and know of every loss, over all takeovers.
#[test]
fn over_takeovers() {
    in_time(|| {
        let dir = Dir::new();
        let mut producer = Child::start("flood", &[dir.text(), "r"]);
        producer.expect("0");
        // From the beginning, which is gone for an observer and not for a subscriber of this ring.
        let readers: Vec<_> = KINDS
            .map(|kind| {
                let mut rx = kind.open(dir.open("r").start(Start::Sequence(0)).stay());
                thread::spawn(move || {
                    let mut account = Account::new(0);
                    (account.read_all(&mut rx, record), account)
                })
            })
            .into();
        for _ in 0..15 {
            let before = dir.open("r").info().unwrap().published;
            until("it has sent something", || dir.open("r").info().unwrap().published > before);
            producer.kill();
            producer = Child::start("flood", &[dir.text(), "r"]);
            producer.hear();
        }
        producer.kill();
        let tx = dir.open("r").producer().unwrap();
        let sent = tx.sequence();
        drop(tx);
        for reader in readers {
            let (end, account) = reader.join().unwrap();
            assert_eq!(end, RecvError::Closed);
            account.balances(sent);
            assert!(account.received > 1000, "{account:?}");
        }
    });
}

/// Promise: the producer's process ends by `exit`, `_exit`, abort, panic without drops, or is killed: for readers that copy,
/// however they wait, it is `ProducerLost`, never `Closed`, within 20 liveness intervals; one that ends cleanly is `Closed`. All
/// that was sent comes first, and `latest` still has the last record.
/// Case 9: there is a newest record also after the producer was killed.
#[test]
fn how_a_producer_ends() {
    for kind in KINDS {
        for how in ["drop", "_exit", "exit", "abort", "panic", "kill"] {
            for waiting in [Waiting::spin(), Waiting::yielding(), Waiting::park_after(0)] {
                let dir = Dir::new();
                let mut producer = Child::start("end", &[dir.text(), "r", how]);
                producer.expect("ready");
                let mut rx = kind.open(dir.open("r").waiting(waiting));
                producer.tell("go");
                producer.expect("sent");
                producer.tell("end");
                if how == "kill" {
                    producer.kill_to_zombie();
                }
                let mut buf = Vec::new();
                for n in 0..3 {
                    assert_eq!((rx.recv_into(&mut buf).unwrap().sequence, &buf), (n, &record(n)));
                }
                producer.wait();
                let begin = Instant::now();
                let expected = if how == "drop" { RecvError::Closed } else { RecvError::ProducerLost };
                let end = rx.recv_timeout(&mut [], LONG).unwrap_err();
                assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?} until {end:?}", begin.elapsed());
                assert_eq!(end, CopyTimeoutError::Ended(expected), "{how}");
                assert_eq!((rx.latest_into(&mut buf).unwrap().sequence, &buf), (2, &record(2)));
                assert_eq!(rx.recv_into(&mut buf).unwrap_err(), annulus::CopyError::Ended(expected));
                // It asks once in 64 polls, and then only once per liveness interval.
                until("it says the end", || rx.try_recv_into(&mut buf) == Err(TryCopyError::Ended(expected)));
                // Late ones find the same.
                if how != "drop" {
                    let mut late = kind.open(dir.open("r").start(Start::Last(2)));
                    assert_eq!((late.items().len(), late.lost()), (3, 0), "two records and the end");
                }
            }
        }
    }
}

/// Promise: a process is stopped (SIGSTOP): a stopped producer is silent, not dead: observers and copying subscribers,
/// spinning or parked, time out and are told no end; continued, it goes on, and its clean end is `Closed`.
#[test]
fn a_stopped_producer_is_silent() {
    in_time(|| {
        let dir = Dir::new();
        let mut producer = Child::start("end", &[dir.text(), "r", "drop"]);
        producer.expect("ready");
        let waits = [Waiting::spin(), Waiting::park_after(0)];
        let readers: Vec<_> = KINDS
            .into_iter()
            .flat_map(|kind| waits.map(|waiting| kind.open(dir.open("r").waiting(waiting))))
            .collect();
        producer.signal(libc::SIGSTOP);
        producer.until_state('T');
        let readers: Vec<_> = readers
            .into_iter()
            .map(|mut rx| {
                thread::spawn(move || {
                    let waited = rx.recv_timeout(&mut [], LIVENESS * INTERVALS);
                    assert_eq!(waited, Err(CopyTimeoutError::TimedOut));
                    rx
                })
            })
            .collect();
        let readers: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert!(dir.open("r").info().unwrap().producer_alive);
        producer.signal(libc::SIGCONT);
        producer.tell("go");
        producer.expect("sent");
        producer.tell("end");
        for mut rx in readers {
            let mut account = Account::new(0);
            assert_eq!(account.read_all(&mut rx, record), RecvError::Closed);
            account.balances(3);
        }
        producer.ends_well();
    });
}

/// The one that an observer notices last: it was parked before the producer died. With a long interval, so that the
/// limit means something: two intervals, one since it asked last and one that it may sleep, and a third for a machine with
/// other things to do.
#[test]
fn an_observer_notices_a_death_in_two_intervals() {
    let dir = Dir::new();
    let liveness = Duration::from_millis(250);
    let mut producer = Child::start("long-lived", &[dir.text(), "r", &liveness.as_millis().to_string()]);
    producer.expect("ready");
    for waiting in [Waiting::park_after(0), Waiting::spin()] {
        let mut rx = Kind::Observer.open(dir.open("r").waiting(waiting));
        let reader = thread::spawn(move || (rx.recv(&mut []).unwrap_err(), Instant::now()));
        // Watches beside it for a while, so that it has come to its longest naps.
        let other = Kind::Observer.open(dir.open("r")).recv_timeout(&mut [], liveness * 4);
        assert_eq!(other, Err(CopyTimeoutError::TimedOut));
        producer.kill();
        let dead = Instant::now();
        let (end, noticed) = reader.join().unwrap();
        assert_eq!(end, annulus::CopyError::Ended(RecvError::ProducerLost));
        let took = noticed.saturating_duration_since(dead);
        assert!(took < liveness * 3, "{took:?}");
        producer = Child::start("long-lived", &[dir.text(), "r", &liveness.as_millis().to_string()]);
        producer.expect("ready");
    }
}

/// Holds a ring and does nothing.
pub(super) fn long_lived(dir: &str, name: &str, liveness: u64) {
    let ring = Ring::open_or_create(name).dir(dir).capacity(4096);
    let _tx = ring.liveness(Duration::from_millis(liveness)).producer().unwrap();
    say("ready");
    listen();
}

/// A new ring over a leftover: readers that copy are told that theirs was replaced, staying or not.
#[test]
fn a_leftover_is_replaced() {
    for kind in KINDS {
        for stay in [false, true] {
            let dir = Dir::new();
            let mut producer = Child::start("end", &[dir.text(), "r", "kill"]);
            producer.expect("ready");
            let open = if stay { dir.open("r").stay() } else { dir.open("r") };
            let mut rx = kind.open(open.waiting(Waiting::park_after(0)));
            producer.tell("go");
            producer.expect("sent");
            producer.kill();
            let inodes = || ["", "data", "ctl"].map(|file| fs::metadata(dir.file("r", file)).unwrap().ino());
            let before = inodes();
            let mut tx = dir.create("r").capacity(8192).producer().unwrap();
            // Another ring: nothing of the old one is used again, which is in use.
            for (old, new) in before.into_iter().zip(inodes()) {
                assert_ne!(old, new);
            }
            tx.send(b"new").unwrap();
            let items = rx.items();
            assert_eq!(items.len(), 4);
            for (n, item) in items[..3].iter().enumerate() {
                assert_eq!(item.as_ref().unwrap().payload, record(n as u64));
            }
            assert_eq!(items[3], Err(annulus::CopyError::Ended(RecvError::Replaced)));
            assert!(!rx.is_linked());
        }
    }
}

/// Dead subscribers are not counted by a producer that waits for some.
#[test]
fn the_dead_do_not_count() {
    let dir = Dir::new();
    let tx = dir.create("r").capacity(4096).liveness(LIVENESS).producer().unwrap();
    // One after the other, so that their places are known.
    let mut victims = Vec::new();
    for _ in 0..2 {
        victims.push(Child::start("hold", &[dir.text(), "r"]));
        victims.last_mut().unwrap().expect("joined");
    }
    assert_eq!(tx.wait_for_subscribers_timeout(2, Duration::ZERO), Ok(()));
    victims[0].kill_to_zombie();
    let waited = tx.wait_for_subscribers_timeout(2, LIVENESS);
    assert_eq!(waited, Err(annulus::WaitError::TimedOut { present: 1 }));
    // Its place is shown as a dead one's meanwhile.
    let alive: Vec<bool> = dir.open("r").info().unwrap().subscribers.iter().map(|s| s.alive).collect();
    assert_eq!(alive, [false, true]);
    let waiter = thread::spawn(move || (tx.wait_for_subscribers(2), tx));
    let mut another = Child::start("hold", &[dir.text(), "r"]);
    another.expect("joined");
    let (waited, tx) = waiter.join().unwrap();
    assert_eq!(waited, Ok(()));
    // Before the ring: they wait for a record.
    drop((victims, another));
    drop(tx);
}
