//! Groups of workers, within one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use annulus::{ErrorKind, Group, RecvError, TryRecvError, Waiting, Worker};

use crate::support::{Dir, in_time};

/// Joins a group of the ring `r`.
fn join(dir: &Dir, group: impl Into<Group>) -> Worker {
    dir.open("r").join_group(group).unwrap()
}

#[test]
fn any_number_is_held_and_acknowledged_in_any_order() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let worker = join(&dir, "g");
    for round in 0..50_u64 {
        for n in 0..10 {
            tx.send(&(round * 10 + n).to_le_bytes()).unwrap();
        }
        let mut jobs: Vec<_> = (0..10).map(|_| worker.recv().unwrap()).collect();
        for (i, job) in jobs.iter().enumerate() {
            assert_eq!(**job, (round * 10 + i as u64).to_le_bytes());
            assert_eq!((job.attempts(), job.is_redelivered()), (1, false));
        }
        while !jobs.is_empty() {
            drop(jobs.swap_remove(round as usize % jobs.len()));
        }
        assert_eq!(worker.try_recv().unwrap_err(), TryRecvError::Empty);
    }
}

/// At full speed, through a ring and a claim table much smaller than the work.
#[test]
fn each_record_goes_to_exactly_one_worker() {
    const RECORDS: u32 = 100_000;
    for claim_words in [4, 64, 1024] {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(8192).claim_words(claim_words).producer().unwrap();
        let workers: Vec<_> = (0..4).map(|_| join(&dir, "g")).collect();
        let counts: Arc<Vec<AtomicU32>> = Arc::new((0..RECORDS).map(|_| AtomicU32::new(0)).collect());
        let seen = Arc::clone(&counts);
        let took = in_time(move || {
            let threads: Vec<_> = workers
                .into_iter()
                .map(|worker| {
                    let counts = Arc::clone(&seen);
                    std::thread::spawn(move || {
                        let mut took = 0;
                        loop {
                            match worker.recv() {
                                Ok(job) => {
                                    assert!(!job.is_redelivered());
                                    let n = u32::from_le_bytes((*job).try_into().unwrap());
                                    assert_eq!(u64::from(n), job.sequence());
                                    counts[n as usize].fetch_add(1, Ordering::Relaxed);
                                    took += 1;
                                }
                                Err(end) => {
                                    assert_eq!(end, RecvError::Closed);
                                    return took;
                                }
                            }
                        }
                    })
                })
                .collect();
            for n in 0..RECORDS {
                tx.send(&n.to_le_bytes()).unwrap();
            }
            drop(tx);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<u32>>()
        });
        assert_eq!(took.iter().sum::<u32>(), RECORDS);
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }
}

#[test]
fn what_is_given_back_comes_again_marked_until_it_is_a_dead_letter() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let workers = [0, 1].map(|_| join(&dir, Group::named("g").attempts(3)));
    tx.send(b"a").unwrap();
    for attempts in 1..=3 {
        let job = workers[attempts % 2].recv().unwrap();
        assert_eq!((job.attempts(), job.is_redelivered()), (attempts as u32, attempts > 1));
        assert_eq!(job.nack(), attempts == 3);
    }
    assert_eq!(workers[0].try_recv().unwrap_err(), TryRecvError::Empty);
    let dead = workers[0].try_dead_letter().unwrap();
    assert_eq!((&*dead, dead.attempts()), (&b"a"[..], 4));
    assert_eq!(workers[1].try_dead_letter().unwrap_err(), TryRecvError::Empty);
    assert!(dead.nack(), "still one");
    workers[1].try_dead_letter().unwrap().ack();
    assert_eq!(workers[0].try_dead_letter().unwrap_err(), TryRecvError::Empty);
}

#[test]
fn a_sleeping_worker_is_woken_by_a_record_and_by_one_that_comes_back() {
    let dir = Dir::new();
    let mut tx = dir.create("r").liveness(Duration::from_secs(3600)).producer().unwrap();
    let [one, other] = [0, 1].map(|_| join(&dir, "g"));
    other.set_waiting(Waiting::park_after(0));
    in_time(move || {
        let asleep = std::thread::spawn(move || {
            let job = other.recv().unwrap();
            (job.sequence(), job.attempts())
        });
        tx.send(b"a").unwrap();
        // Whichever has it first.
        if let Ok(job) = one.try_recv() {
            job.nack();
        }
        let (sequence, attempts) = asleep.join().unwrap();
        assert!(sequence == 0 && attempts <= 2);
    });
}

#[test]
fn bad_names_and_wishes_are_refused() {
    let dir = Dir::new();
    let _tx = dir.create("r").max_groups(2).producer().unwrap();
    let refused = |group: Group| dir.open("r").join_group(group).unwrap_err();
    for name in ["", "a b", "a/b", "\u{e4}", &"a".repeat(65)] {
        assert_eq!(*refused(name.into()).kind(), ErrorKind::BadGroupName, "{name}");
    }
    for attempts in [0, 256, u32::MAX] {
        assert!(matches!(refused(Group::named("g").attempts(attempts)).kind(), ErrorKind::BadOption(_)));
    }
    let _full_length = join(&dir, &*"a".repeat(64));
    let _g = join(&dir, Group::named("g").attempts(5));
    for wish in [Group::named("g").attempts(4), Group::named("g").durable()] {
        assert!(matches!(refused(wish).kind(), ErrorKind::GroupMismatch { .. }));
    }
    drop(join(&dir, Group::named("g").attempts(5)));
    drop(join(&dir, "g"));
    assert_eq!(*refused("h".into()).kind(), ErrorKind::NoFreeGroup { groups: 2 });
}
