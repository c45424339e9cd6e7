//! Rendezvous within one process: a send that ends when everyone has released the record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use annulus::{
    Clock, FenceMode, Group, Producer, Ring, SendAckedError, SendAckedTimeoutError, Start, Waiting, Wake, Who,
};

use crate::support::{Dir, in_time, thread_id, until_asleep};

/// Far above what a wake takes: where nothing but the wake may end a wait.
const NEVER: Duration = Duration::from_secs(3600);
const BRIEF: Duration = Duration::from_millis(20);
const WAYS: [Waiting; 4] = [Waiting::spin(), Waiting::pause(), Waiting::yielding(), Waiting::park_after(0)];

fn sleeping(dir: &Dir) -> Producer {
    dir.create("r").capacity(4096).liveness(NEVER).waiting(Waiting::park_after(0)).producer().unwrap()
}

/// What the errors say of those who were to release the record: how many, how many have, how many never will.
fn standing(error: SendAckedTimeoutError) -> (&'static str, [u32; 3]) {
    match error {
        SendAckedTimeoutError::TimedOut(acks) => ("timed out", [acks.of, acks.released, acks.gone]),
        SendAckedTimeoutError::Gone(acks) => ("gone", [acks.of, acks.released, acks.gone]),
        other => panic!("{other:?}"),
    }
}

/// Zero buffering: when a send has returned, every subscriber of whatever kind has had the record and has released it, over
/// more than two laps, however either side waits.
#[test]
fn nobody_holds_a_record_that_was_sent() {
    for waiting in WAYS {
        for fence in [FenceMode::Asymmetric, FenceMode::Symmetric, FenceMode::SpinOnly] {
            in_time(move || {
                let dir = Dir::new();
                let ring = dir.create("r").capacity(4096).liveness(NEVER).fence(fence);
                let mut tx = ring.waiting(waiting).producer().unwrap();
                let had = Arc::new([const { AtomicU64::new(0) }; 3]);
                let mut readers = Vec::new();
                for n in 0..2 {
                    let (had, rx) = (had.clone(), dir.open("r").waiting(waiting).subscribe().unwrap());
                    readers.push(std::thread::spawn(move || {
                        for record in &rx {
                            let record = record.unwrap();
                            assert_eq!(*record, had[n].load(Ordering::Relaxed).to_le_bytes());
                            had[n].fetch_add(1, Ordering::Relaxed);
                        }
                    }));
                }
                let (copied, mut rx) =
                    (had.clone(), dir.open("r").waiting(waiting).subscribe_copying().unwrap());
                readers.push(std::thread::spawn(move || {
                    // One that copies has released the record when it has it.
                    while rx.recv(&mut [0; 8]).is_ok() {
                        copied[2].fetch_add(1, Ordering::Relaxed);
                    }
                }));
                for n in 0..300_u64 {
                    assert_eq!(tx.send_acked(&n.to_le_bytes()), Ok(3));
                    let counts = [0, 1].map(|reader| had[reader].load(Ordering::Relaxed));
                    assert_eq!(counts, [n + 1; 2], "somebody has not had it");
                    let info = dir.open("r").info().unwrap();
                    assert!(info.subscribers.iter().all(|reader| reader.behind == 0), "somebody holds it");
                }
                drop(tx);
                readers.into_iter().for_each(|reader| reader.join().unwrap());
                assert_eq!(had[2].load(Ordering::Relaxed), 300);
            });
        }
    }
}

/// With nobody to wait for nothing is sent; nor if there is an observer, or if the only subscriber has left.
#[test]
fn with_nobody_there_nothing_is_sent() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let nobody = |tx: &mut Producer, sequence| {
        assert_eq!(tx.send_acked(b"x"), Err(SendAckedError::NoSubscribers));
        assert_eq!(tx.send_acked_timeout(b"x", BRIEF), Err(SendAckedTimeoutError::NoSubscribers));
        assert_eq!(tx.sequence(), sequence);
    };
    nobody(&mut tx, 0);
    let mut observer = dir.open("r").observe().unwrap();
    nobody(&mut tx, 0);
    drop(dir.open("r").subscribe().unwrap());
    nobody(&mut tx, 0);
    assert!(observer.try_recv(&mut [0; 8]).is_err());
    // What was not sent is nowhere in the way.
    tx.send(b"after").unwrap();
    assert_eq!(observer.try_recv(&mut [0; 8]).unwrap().len, 5);
    nobody(&mut tx, 1);
    let max = tx.max_len();
    let too_large = SendAckedError::TooLarge { len: max + 1, max };
    assert_eq!(tx.send_acked(&vec![0; max + 1]), Err(too_large));
    // A subscriber that begins further back than the record is one; one that begins further on has no need of it.
    for start in [Start::Oldest, Start::Sequence(1000)] {
        let rx = dir.open("r").start(start).subscribe().unwrap();
        let timed_out = tx.send_acked_timeout(b"x", Duration::ZERO).unwrap_err();
        assert_eq!(standing(timed_out), ("timed out", [1, 0, 0]));
        let _ = rx.try_recv().map(drop);
    }
}

/// The producer sleeps until the last of its readers releases the record, and is woken by that alone.
#[test]
fn the_last_release_wakes_it() {
    for wake in [Wake::Futex, Wake::Semaphore] {
        in_time(move || {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).liveness(NEVER).wake(wake);
            let mut tx = ring.waiting(Waiting::park_after(0)).producer().unwrap();
            let (first, second) = (dir.open("r").subscribe().unwrap(), dir.open("r").subscribe().unwrap());
            let (say, tid) = mpsc::channel();
            let (done, sent) = mpsc::channel();
            let sender = std::thread::spawn(move || {
                say.send(thread_id()).unwrap();
                for n in 0..20_u64 {
                    done.send(tx.send_acked(&n.to_le_bytes())).unwrap();
                }
            });
            let tid = tid.recv().unwrap();
            let mut results = Vec::new();
            for n in 0..20_u64 {
                let (one, two) = (first.recv().unwrap(), second.recv().unwrap());
                assert_eq!([&*one, &*two], [n.to_le_bytes(); 2]);
                until_asleep(tid);
                drop(if n % 2 == 0 { one } else { two });
                // `if` moved one of them; the other is dropped at the end of this turn.
                until_asleep(tid);
                results.extend(sent.try_iter());
                assert_eq!(results.len() as u64, n, "one still holds it");
            }
            drop((first, second));
            sender.join().unwrap();
            results.extend(sent);
            assert_eq!(results, [Ok(2); 20]);
        });
    }
}

/// A record is released when it is dropped and every older one is: held records may be dropped in any order.
#[test]
fn records_that_are_held_are_released_in_any_order() {
    in_time(|| {
        for newest_first in [true, false] {
            let dir = Dir::new();
            let mut tx = sleeping(&dir);
            let rx = dir.open("r").subscribe().unwrap();
            tx.send(b"older").unwrap();
            let older = rx.recv().unwrap();
            let timed_out = standing(tx.send_acked_timeout(b"newer", Duration::ZERO).unwrap_err());
            assert_eq!(timed_out, ("timed out", [1, 0, 0]));
            let newer = rx.recv().unwrap();
            assert_eq!(&*newer, b"newer");
            let (say, tid) = mpsc::channel();
            let sender = std::thread::spawn(move || {
                say.send(thread_id()).unwrap();
                tx.send_acked(b"newest")
            });
            let newest = rx.recv().unwrap();
            let tid = tid.recv().unwrap();
            let order = if newest_first { [newest, newer, older] } else { [older, newer, newest] };
            for record in order {
                until_asleep(tid);
                assert!(!sender.is_finished(), "it is still held");
                drop(record);
            }
            assert_eq!(sender.join().unwrap(), Ok(1));
        }
    });
}

/// At the end of the time the record is published, and the error says so, and how many have released it.
#[test]
fn the_time_is_over() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).liveness(NEVER).producer().unwrap();
    let mut quick = dir.open("r").subscribe_copying().unwrap();
    let slow = dir.open("r").subscribe().unwrap();
    let copies = std::thread::spawn(move || while quick.recv(&mut [0; 8]).is_ok() {});
    for (n, waiting) in WAYS.into_iter().enumerate() {
        tx.set_waiting(waiting);
        let begin = Instant::now();
        // Long enough for the quick one on any machine would be a minute: how many have is not asked here.
        let error = tx.send_acked_timeout(&[n as u8; 8], BRIEF).unwrap_err();
        assert!(begin.elapsed() >= BRIEF);
        let text = error.to_string();
        let (how, [of, released, gone]) = standing(error);
        assert_eq!((how, of, gone), ("timed out", 2, 0));
        assert!(released <= 1);
        assert!(text.contains("was sent") && text.contains(&format!("{released} of 2")), "{text}");
        assert_eq!(*slow.recv().unwrap(), [n as u8; 8]);
    }
    // A full ring: not even published.
    tx.set_waiting(Waiting::park());
    while tx.try_send(b"").is_ok() {}
    let before = tx.sequence();
    let full = tx.send_acked_timeout(b"x", BRIEF).unwrap_err();
    assert!(matches!(full, SendAckedTimeoutError::Full(behind) if behind.who == Who::Slot(1)), "{full:?}");
    assert_eq!(tx.sequence(), before);
    drop((tx, slow));
    copies.join().unwrap();
}

/// Who leaves without having read it is gone; who has read it and leaves has released it, also if another is in its place by then.
#[test]
fn who_leaves_has_released_it_or_is_gone() {
    in_time(|| {
        for reads in [true, false] {
            for another in [true, false] {
                let dir = Dir::new();
                let mut tx = sleeping(&dir);
                let (stays, leaves) =
                    (dir.open("r").subscribe().unwrap(), dir.open("r").subscribe().unwrap());
                let (say, tid) = mpsc::channel();
                let sender = std::thread::spawn(move || {
                    say.send(thread_id()).unwrap();
                    let sent = tx.send_acked(b"x");
                    (tx, sent)
                });
                let record = stays.recv().unwrap();
                until_asleep(tid.recv().unwrap());
                if reads {
                    drop(leaves.recv().unwrap());
                }
                drop(leaves);
                let successor = another.then(|| dir.open("r").subscribe().unwrap());
                assert!(!sender.is_finished(), "one still holds it");
                drop(record);
                let (mut tx, sent) = sender.join().unwrap();
                match sent {
                    Ok(2) if reads => {}
                    Err(SendAckedError::Gone(acks)) if !reads => {
                        assert_eq!((acks.of, acks.released, acks.gone), (2, 1, 1));
                        let text = sent.unwrap_err().to_string();
                        assert!(text.contains("1 of 2") && text.contains("; 1 died, left"), "{text}");
                    }
                    other => panic!("{other:?}, reads: {reads}"),
                }
                // The next one is another's.
                let of = standing(tx.send_acked_timeout(b"y", Duration::ZERO).unwrap_err()).1[0];
                assert_eq!(of, 1 + u32::from(successor.is_some()));
            }
        }
    });
}

/// A ring that gives slow readers up: one that was given up for the record is gone; one that is there and slow is waited for.
#[test]
fn one_that_is_given_up_is_gone() {
    let dir = Dir::new();
    let ring = dir.create("r").capacity(4096).no_in_place().evict_after(Duration::ZERO);
    let mut tx = ring.producer().unwrap();
    let mut slow = dir.open("r").subscribe_copying().unwrap();
    let mut sent = Vec::new();
    while !matches!(sent.last(), Some(("gone", _))) {
        sent.push(standing(tx.send_acked_timeout(&[1; 56], Duration::ZERO).unwrap_err()));
        assert!(sent.len() < 100, "it is never given up");
    }
    assert_eq!(sent.pop(), Some(("gone", [1, 0, 1])));
    assert!(sent.len() >= 60 && sent.iter().all(|sent| *sent == ("timed out", [1, 0, 0])), "{sent:?}");
    // It comes back, and is one again.
    while slow.try_recv(&mut [0; 56]) != Err(annulus::TryCopyError::Empty) {}
    assert_eq!(standing(tx.send_acked_timeout(b"", BRIEF).unwrap_err()), ("timed out", [1, 0, 0]));
}

/// Zero buffering with groups: each is one, and one of its workers has had the record and is done with it.
#[test]
fn of_each_group_one_worker_releases_it() {
    for waiting in WAYS {
        in_time(move || {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).liveness(NEVER).waiting(waiting).producer().unwrap();
            let had = Arc::new([const { AtomicU64::new(0) }; 3]);
            let mut readers = Vec::new();
            for group in [0, 0, 1, 1] {
                let (had, open) = (had.clone(), dir.open("r").waiting(waiting));
                let worker = open.join_group(["g", "h"][group]).unwrap();
                readers.push(std::thread::spawn(move || {
                    while let Ok(job) = worker.recv() {
                        assert_eq!(*job, had[group].fetch_add(1, Ordering::Relaxed).to_le_bytes());
                    }
                }));
            }
            let (seen, rx) = (had.clone(), dir.open("r").waiting(waiting).subscribe().unwrap());
            readers.push(std::thread::spawn(move || {
                rx.iter().for_each(|record| {
                    assert_eq!(*record.unwrap(), seen[2].fetch_add(1, Ordering::Relaxed).to_le_bytes());
                });
            }));
            for n in 0..300_u64 {
                assert_eq!(tx.send_acked(&n.to_le_bytes()), Ok(3));
                assert_eq!([0, 1, 2].map(|i| had[i].load(Ordering::Relaxed)), [n + 1; 3]);
            }
            drop(tx);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }
}

/// Given back, a dead letter, or behind an older one in another's hands: a group holds it still.
#[test]
fn a_group_holds_a_record_until_it_is_acknowledged() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = sleeping(&dir);
        let [one, other] = [0, 1].map(|_| dir.open("r").join_group(Group::named("g").attempts(2)).unwrap());
        tx.send(b"older").unwrap();
        let older = one.recv().unwrap();
        let (say, tid) = mpsc::channel();
        let sender = std::thread::spawn(move || {
            say.send(thread_id()).unwrap();
            tx.send_acked(b"newer")
        });
        let tid = tid.recv().unwrap();
        let held = || {
            until_asleep(tid);
            assert!(!sender.is_finished(), "it is not acknowledged");
        };
        let newer = other.recv().unwrap();
        held();
        newer.ack();
        held();
        assert!(!older.nack());
        held();
        assert!(one.recv().unwrap().nack(), "twice is all");
        held();
        let letter = other.try_dead_letter().unwrap();
        held();
        letter.ack();
        assert_eq!(sender.join().unwrap(), Ok(1));
    });
}

/// The last worker leaves: having acknowledged the record, or with it in its hands.
#[test]
fn a_group_whose_last_worker_leaves_has_released_it_or_is_gone() {
    in_time(|| {
        for acks in [true, false] {
            let dir = Dir::new();
            let mut tx = sleeping(&dir);
            let (stays, worker) =
                (dir.open("r").subscribe().unwrap(), dir.open("r").join_group("g").unwrap());
            let (say, tid) = mpsc::channel();
            let sender = std::thread::spawn(move || {
                say.send(thread_id()).unwrap();
                (tx.send_acked(b"x"), tx.send_acked_timeout(b"y", Duration::ZERO))
            });
            let record = stays.recv().unwrap();
            let job = worker.recv().unwrap();
            until_asleep(tid.recv().unwrap());
            if acks {
                job.ack();
            } else {
                std::mem::forget(job);
            }
            drop(worker);
            assert!(!sender.is_finished(), "one still holds it");
            drop(record);
            let (sent, next) = sender.join().unwrap();
            match sent {
                Ok(2) if acks => {}
                Err(SendAckedError::Gone(of)) if !acks => {
                    assert_eq!((of.of, of.released, of.gone), (2, 1, 1));
                }
                other => panic!("{other:?}, acks: {acks}"),
            }
            assert_eq!(standing(next.unwrap_err()), ("timed out", [1, 0, 0]));
        }
    });
}

/// Values, and records with their times.
#[test]
fn values_and_stamps() {
    in_time(|| {
        let dir = Dir::new();
        let ring = Ring::create_typed::<u64>("r").dir(dir.path()).capacity(4096);
        let mut tx = ring.stamped(Clock::Monotonic).producer().unwrap();
        assert_eq!(tx.send_acked(&1), Err(SendAckedError::NoSubscribers));
        let rx = Ring::open_typed::<u64>("r").dir(dir.path()).subscribe().unwrap();
        let reader = std::thread::spawn(move || {
            for (n, value) in (0..200_u64).zip(&rx) {
                let value = value.unwrap();
                assert_eq!((*value, value.time().is_some()), (n, true));
            }
            rx
        });
        for n in 0..200 {
            assert_eq!(tx.send_acked(&n), Ok(1));
        }
        let rx = reader.join().unwrap();
        let timed_out = tx.send_acked_timeout(&7, Duration::ZERO).unwrap_err();
        assert_eq!(standing(timed_out), ("timed out", [1, 0, 0]));
        assert_eq!(*rx.recv().unwrap(), 7);
        assert_eq!(tx.sequence(), 201);
    });
}
