//! Processes that are killed, or end without a word.

use std::time::{Duration, Instant};

use annulus::{Claim, Producer, RecvError, TryRecvError, Waiting};

use super::child::Child;
use super::roles::record;
use crate::support::{Dir, INTERVALS, in_time, until_asleep};

/// What the roles' rings say.
const LIVENESS: Duration = Duration::from_millis(50);

/// Promise: the producer's process ends by `exit`, `_exit`, abort, panic without drops: it is `ProducerLost`, never `Closed`, for spinning, yielding and parked readers
/// alike, within 20 liveness intervals; one that ends cleanly is `Closed`. All that was sent comes first.
#[test]
fn how_a_producer_ends() {
    for how in ["drop", "_exit", "exit", "abort", "panic", "kill"] {
        for waiting in [Waiting::spin(), Waiting::yielding(), Waiting::park_after(0)] {
            let dir = Dir::new();
            let mut producer = Child::start("end", &[dir.text(), "r", how]);
            producer.expect("ready");
            let rx = dir.open("r").waiting(waiting).subscribe().unwrap();
            producer.tell("go");
            producer.expect("sent");
            producer.tell("end");
            if how == "kill" {
                producer.kill_to_zombie();
            }
            for n in 0..3 {
                assert_eq!(&*rx.recv().unwrap(), record(n));
            }
            producer.wait();
            let begin = Instant::now();
            let end = rx.recv().unwrap_err();
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?} until {end:?}", begin.elapsed());
            let expected = if how == "drop" { RecvError::Closed } else { RecvError::ProducerLost };
            assert_eq!(end, expected, "{how}");
            assert_eq!(rx.recv().unwrap_err(), expected);
            assert_eq!(rx.recv_timeout(LONGER).unwrap_err(), annulus::RecvTimeoutError::Ended(expected));
        }
    }
}

const LONGER: Duration = Duration::from_secs(10);

/// A reader that polls notices the death too; an iteration says it as its last item.
#[test]
fn a_poller_notices_the_death() {
    let dir = Dir::new();
    let mut producer = Child::start("end", &[dir.text(), "r", "kill"]);
    producer.expect("ready");
    let rx = dir.open("r").subscribe().unwrap();
    producer.tell("go");
    producer.expect("sent");
    producer.kill();
    for n in 0..3 {
        assert_eq!(&*rx.try_recv().unwrap(), record(n));
    }
    let begin = Instant::now();
    while rx.try_recv().unwrap_err() == TryRecvError::Empty {
        assert!(begin.elapsed() < LIVENESS * INTERVALS);
        std::thread::yield_now();
    }
    let items: Vec<_> = rx.iter().collect();
    assert!(matches!(items[..], [Err(RecvError::ProducerLost)]), "{items:?}");
    // A late reader may join what is left, and is told the same.
    let late = dir.open("r").subscribe().unwrap();
    assert_eq!(late.sequence(), 3);
    assert_eq!(late.recv().unwrap_err(), RecvError::ProducerLost);
}

/// Promise: a reader is killed while it holds a record: the producer goes on, others notice nothing. Case 15: the same as
/// a zombie child of the producer, which nobody waits for. The blocked
/// producer goes on, others notice nothing, and the place is given again.
#[test]
fn a_reader_killed_with_a_record_in_its_hands() {
    for waiting in [Waiting::spin(), Waiting::yielding(), Waiting::park_after(0)] {
        in_time(move || {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).liveness(LIVENESS).max_subscribers(2);
            let mut tx = ring.waiting(waiting).producer().unwrap();
            let mut victim = Child::start("hold", &[dir.text(), "r"]);
            victim.expect("joined");
            let other = dir.open("r").subscribe().unwrap();
            let mut sent = 0_u64;
            while tx.try_send(&sent.to_le_bytes()).is_ok() {
                sent += 1;
            }
            for n in 0..sent {
                assert_eq!(&*other.recv().unwrap(), n.to_le_bytes());
            }
            victim.expect("holding");
            assert!(tx.send_timeout(b"no room", LIVENESS).is_err());
            victim.kill_to_zombie();
            let begin = Instant::now();
            for n in sent..sent + 1000 {
                tx.send(&n.to_le_bytes()).unwrap();
                assert_eq!(&*other.recv().unwrap(), n.to_le_bytes());
            }
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?}", begin.elapsed());
            let info = dir.open("r").info().unwrap();
            assert_eq!((info.reaped, info.subscribers.len()), (1, 1));
            let heir = dir.open("r").subscribe().unwrap();
            let info = dir.open("r").info().unwrap();
            assert_eq!((info.subscribers[0].slot, info.subscribers[0].pid), (0, std::process::id()));
            tx.send(b"to both").unwrap();
            assert_eq!(&*heir.recv().unwrap(), b"to both");
            victim.wait();
        });
    }
}

/// A send that is already asleep for room when the reader in its way is killed.
#[test]
fn a_reader_killed_while_the_producer_sleeps() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).liveness(LIVENESS).producer().unwrap();
        tx.set_waiting(Waiting::park_after(0));
        let mut victim = Child::start("hold", &[dir.text(), "r"]);
        victim.expect("joined");
        while tx.try_send(&[1; 100]).is_ok() {}
        victim.expect("holding");
        let (say, tid) = std::sync::mpsc::channel();
        let sender = std::thread::spawn(move || {
            say.send(crate::support::thread_id()).unwrap();
            tx.send(&[2; 100]).unwrap();
            Instant::now()
        });
        until_asleep(tid.recv().unwrap());
        victim.kill_to_zombie();
        let dead = Instant::now();
        let went_on = sender.join().unwrap();
        assert!(went_on.saturating_duration_since(dead) < LIVENESS * INTERVALS);
    });
}

/// A reader is killed asleep: one useless wake at most, the producer goes on when the ring is full, and a place
/// whose owner is dead is given to the next reader even before anybody was blocked by it.
#[test]
fn a_reader_killed_asleep() {
    in_time(|| {
        let dir = Dir::new();
        let ring = dir.create("r").capacity(4096).liveness(LIVENESS).max_subscribers(1);
        let mut tx = ring.producer().unwrap();
        for round in 0..3 {
            let mut victim = Child::start("sleep", &[dir.text(), "r"]);
            until_asleep(victim.hear().parse().unwrap());
            victim.kill_to_zombie();
            let before = dir.open("r").info().unwrap();
            let begin = Instant::now();
            for _ in 0..1000 {
                tx.send(&[1; 100]).unwrap();
            }
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?}", begin.elapsed());
            let info = dir.open("r").info().unwrap();
            assert!(info.wakes <= before.wakes + 1, "woken {} times", info.wakes - before.wakes);
            assert_eq!(info.reaped, round + 1);
            victim.wait();
        }
        let mut victim = Child::start("sleep", &[dir.text(), "r"]);
        until_asleep(victim.hear().parse().unwrap());
        assert!(dir.open("r").subscribe().is_err());
        victim.kill_to_zombie();
        let rx = dir.open("r").subscribe().unwrap();
        tx.send(b"mine").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"mine");
    });
}

/// Case taken from others: 64 readers, as many as there are places, that all die at once.
#[test]
fn many_readers_die_at_once() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).liveness(LIVENESS).producer().unwrap();
        let mut victims: Vec<_> = (0..64).map(|_| Child::start("hold", &[dir.text(), "r"])).collect();
        victims.iter_mut().for_each(|victim| victim.expect("joined"));
        while tx.try_send(&[1; 100]).is_ok() {}
        victims.iter_mut().for_each(|victim| victim.expect("holding"));
        victims.iter().for_each(|victim| victim.signal(libc::SIGKILL));
        victims.iter().for_each(Child::until_zombie);
        let begin = Instant::now();
        for _ in 0..1000 {
            tx.send(&[1; 100]).unwrap();
        }
        assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?}", begin.elapsed());
        let info = dir.open("r").info().unwrap();
        assert_eq!((info.reaped, info.subscribers.len()), (64, 0));
    });
}

/// The ways to send that do not wait go on too, when the reader that filled the ring is killed: `try_claim` and
/// `try_send_batch` found the ring full for ever.
#[test]
fn a_reader_killed_before_one_that_does_not_wait() {
    type Attempt = fn(&mut Producer) -> bool;
    let attempts: [(&str, Attempt); 3] = [
        ("try_send", |tx| tx.try_send(&[2; 100]).is_ok()),
        ("try_claim", |tx| tx.try_claim(100).map(Claim::commit).is_ok()),
        ("try_send_batch", |tx| tx.try_send_batch([[2; 100]]).unwrap() == 1),
    ];
    for (how, attempt) in attempts {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).liveness(LIVENESS).producer().unwrap();
        let mut victim = Child::start("hold", &[dir.text(), "r"]);
        victim.expect("joined");
        while tx.try_send(&[1; 100]).is_ok() {}
        victim.expect("holding");
        assert!(!attempt(&mut tx), "{how} before the death");
        victim.kill_to_zombie();
        let begin = Instant::now();
        while !attempt(&mut tx) {
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "{how}");
            std::thread::yield_now();
        }
        assert_eq!(dir.open("r").info().unwrap().reaped, 1);
    }
}

/// Case 15: a subscriber that holds a record is stopped: slow, not dead, so it is not reaped; and killed while it is stopped:
/// dead.
#[test]
fn a_reader_stopped_and_then_killed() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).liveness(LIVENESS).producer().unwrap();
        let mut victim = Child::start("hold", &[dir.text(), "r"]);
        victim.expect("joined");
        while tx.try_send(&[1; 100]).is_ok() {}
        victim.expect("holding");
        victim.signal(libc::SIGSTOP);
        victim.until_state('T');
        assert!(tx.send_timeout(&[2; 100], LIVENESS * INTERVALS).is_err());
        let info = dir.open("r").info().unwrap();
        assert_eq!((info.reaped, info.subscribers[0].alive), (0, true));
        victim.kill_to_zombie();
        let begin = Instant::now();
        tx.send(&[2; 100]).unwrap();
        assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?}", begin.elapsed());
        assert_eq!(dir.open("r").info().unwrap().reaped, 1);
    });
}
