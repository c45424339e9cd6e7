//! Groups of workers, within one process.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use annulus::{ErrorKind, Group, Job, RecvError, TryRecvError, TrySendError, Waiting, Who, Worker};

use crate::support::{Dir, helpful, in_time, sleeps, thread_id, until, until_asleep};

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

#[test]
fn a_ring_has_thirty_groups_and_no_more() {
    let dir = Dir::new();
    let _tx = dir.create("r").max_groups(30).claim_words(16).producer().unwrap();
    let workers: Vec<Worker> = (0..30).map(|n| join(&dir, &*format!("g{n}"))).collect();
    let error = dir.open("r").join_group("g30").unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoFreeGroup { groups: 30 });
    helpful(&error);
    drop(join(&dir, "g7"));
    // The last worker of one makes place for another.
    drop(workers.into_iter().nth(3));
    drop(join(&dir, "g30"));
    for (bad, options) in [
        ("31 groups", dir.create("s").max_groups(31)),
        ("claim words", dir.create("s").claim_words(1000)),
        ("too many claim words", dir.create("s").claim_words(1 << 21)),
        ("no place for workers", dir.create("s").max_subscribers(0).max_groups(1)),
        ("nothing lent to workers", dir.create("s").no_in_place().max_groups(1)),
    ] {
        assert!(matches!(options.producer().unwrap_err().kind(), ErrorKind::BadOption(_)), "{bad}");
    }
    let _none = dir.create("t").max_groups(0).producer().unwrap();
    let error = dir.open("t").join_group("g").unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoFreeGroup { groups: 0 });
}

#[test]
fn workers_have_the_first_256_places() {
    let dir = Dir::new();
    let _tx = dir.create("r").capacity(4096).max_subscribers(258).claim_words(16).producer().unwrap();
    let mut workers: Vec<Worker> =
        (0..256).map(|_| dir.open("r").prefault(false).join_group("g").unwrap()).collect();
    let error = dir.open("r").join_group("g").unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::TooManyWorkers { max: 256 });
    helpful(&error);
    let _subscribers = [0, 1].map(|_| dir.open("r").subscribe().unwrap());
    workers.pop();
    join(&dir, "g");
}

#[test]
fn each_group_and_each_subscriber_sees_everything() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let groups = ["a", "b", "c"].map(|name| [0, 1].map(|_| join(&dir, name)));
    let subscriber = dir.open("r").subscribe().unwrap();
    in_time(move || {
        let sending = std::thread::spawn(move || {
            for n in 0..5000_u64 {
                tx.send(&n.to_le_bytes()).unwrap();
            }
        });
        let working: Vec<_> = groups
            .into_iter()
            .map(|workers| {
                workers.map(|worker| {
                    std::thread::spawn(move || worker.iter().map(|job| job.unwrap().sequence()).collect())
                })
            })
            .collect();
        assert_eq!(subscriber.iter().map(Result::unwrap).map(|r| r.sequence()).sum::<u64>(), 5000 * 4999 / 2);
        sending.join().unwrap();
        for threads in working {
            let mut got: Vec<u64> =
                threads.into_iter().flat_map(|thread| -> Vec<u64> { thread.join().unwrap() }).collect();
            got.sort_unstable();
            assert!(got.into_iter().eq(0..5000));
        }
    });
}

#[test]
fn a_handler_that_panics_gives_its_job_back() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let worker = join(&dir, "g");
    tx.send(b"a").unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _job = worker.recv().unwrap();
        resume_unwind(Box::new("as it was told"));
    }));
    assert!(panicked.is_err());
    let again = worker.try_recv().unwrap();
    assert_eq!((again.attempts(), again.is_redelivered()), (2, true));
    again.ack();
    assert_eq!(worker.try_recv().unwrap_err(), TryRecvError::Empty);
}

#[test]
fn what_is_forgotten_goes_back_when_its_worker_leaves() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let [one, other] = [0, 1].map(|_| join(&dir, "g"));
    tx.send_batch(["a", "b"]).unwrap();
    std::mem::forget(one.recv().unwrap());
    assert_eq!(other.recv().unwrap().sequence(), 1);
    assert_eq!(other.try_recv().unwrap_err(), TryRecvError::Empty);
    drop(one);
    let job = other.try_recv().unwrap();
    assert_eq!((job.sequence(), job.attempts()), (0, 2));
}

/// While another holds a record, which may come back, the ring has not ended; its own do not keep a worker.
#[test]
fn a_closed_ring_ends_once_nobody_else_holds_a_record() {
    let dir = Dir::new();
    let mut tx = dir.create("r").liveness(Duration::from_secs(3600)).producer().unwrap();
    let [one, other] = [0, 1].map(|_| join(&dir, "g"));
    tx.send_batch(["a", "b", "c"]).unwrap();
    let held = one.recv().unwrap();
    drop(tx);
    let own = other.recv().unwrap();
    drop(other.recv().unwrap());
    assert_eq!(other.try_recv().unwrap_err(), TryRecvError::Empty);
    drop(own);
    let (says, thread) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        other.set_waiting(Waiting::park_after(0));
        says.send(thread_id()).unwrap();
        let again = other.recv().unwrap();
        assert_eq!((again.sequence(), again.attempts()), (0, 2));
        let end = |own| assert_eq!(other.recv().unwrap_err(), RecvError::Closed, "{own}");
        end("in its own hands");
        again.ack();
        end("all are done");
    });
    until_asleep(thread.recv().unwrap());
    held.nack();
    in_time(move || other.join().unwrap());
    drop(one);
}

/// As many are in flight as the table has words: who waits for the slow one sleeps, and is woken when it is done.
#[test]
fn a_full_table_lets_the_others_sleep() {
    let dir = Dir::new();
    let mut tx = dir.create("r").claim_words(2).liveness(Duration::from_secs(3600)).producer().unwrap();
    let [slow, other] = [0, 1].map(|_| join(&dir, "g"));
    tx.send_batch(["a", "b", "c"]).unwrap();
    let held = slow.recv().unwrap();
    assert_eq!(other.recv().unwrap().sequence(), 1);
    assert_eq!(other.try_recv().unwrap_err(), TryRecvError::Empty);
    let (says, thread) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        other.set_waiting(Waiting::park_after(0));
        says.send(thread_id()).unwrap();
        assert_eq!(other.recv().unwrap().sequence(), 2);
    });
    let id = thread.recv().unwrap();
    until_asleep(id);
    let before = sleeps(id);
    // sleep: some liveness intervals of other tests; one that polls would have gone to sleep many times
    std::thread::sleep(Duration::from_millis(50));
    until_asleep(id);
    assert!(sleeps(id) <= before.map(|before| before + 3), "it does not spin");
    drop(held);
    in_time(move || other.join().unwrap());
    drop(slow);
}

/// It wants nothing of what wakes it, and leaves that to the one that does.
#[test]
fn who_chooses_takes_no_wake_from_others() {
    let dir = Dir::new();
    let mut tx = dir.create("r").claim_words(256).liveness(Duration::from_secs(3600)).producer().unwrap();
    let mut tids = Vec::new();
    let mut start = |work: fn(Worker) -> u64| {
        let worker = join(&dir, "g");
        worker.set_waiting(Waiting::park_after(0));
        let (says, thread) = std::sync::mpsc::channel();
        let running = std::thread::spawn(move || {
            says.send(thread_id()).unwrap();
            work(worker)
        });
        tids.push(thread.recv().unwrap());
        running
    };
    let open = dir.open("r");
    let choose = |worker: Worker| {
        let mut took = 0;
        while let Ok(job) = worker.claim_where(|bytes| bytes == b"wanted") {
            assert_eq!(&*job, b"wanted");
            took += 1;
        }
        took
    };
    let choosers = [start(choose), start(choose)];
    let plain = start(|worker| worker.iter().map(Result::unwrap).count() as u64);
    in_time(move || {
        for round in 0..200_u64 {
            tids.iter().for_each(|&tid| until_asleep(tid));
            let kind = if round % 3 == 0 { &b"wanted"[..] } else { b"other" };
            tx.send(kind).unwrap();
            // Whoever it is, it is done before the liveness interval.
            until("the record is acknowledged", || open.clone().info().unwrap().groups[0].behind == 0);
        }
        drop(tx);
        let chosen: u64 = choosers.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(chosen + plain.join().unwrap(), 200);
    });
}

#[test]
fn records_are_chosen_past_others_and_as_often_as_they_come_back() {
    let dir = Dir::new();
    let mut tx = dir.create("r").stamped(annulus::Clock::Monotonic).producer().unwrap();
    let worker = join(&dir, "g");
    tx.send_batch(["low 0", "high 1", "low 2", "high 3"]).unwrap();
    let high = |bytes: &[u8]| bytes.starts_with(b"high");
    let first = worker.claim_where(high).unwrap();
    assert_eq!((first.sequence(), &*first), (1, &b"high 1"[..]));
    assert!(first.time().is_some());
    let second = worker.try_claim_where(high).unwrap();
    assert_eq!(second.sequence(), 3);
    assert_eq!(worker.try_claim_where(high).unwrap_err(), TryRecvError::Empty);
    first.nack();
    let again = worker.try_claim_where(high).unwrap();
    assert_eq!((again.sequence(), again.attempts()), (1, 2));
    drop((again, second));
    assert_eq!(worker.try_recv_batch(10).unwrap().iter().map(Job::sequence).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(worker.try_recv_batch(10).unwrap_err(), TryRecvError::Empty);
    tx.send_batch(["a", "b", "c"]).unwrap();
    assert_eq!(worker.recv_batch(2).unwrap().len(), 2);
    assert_eq!(worker.recv_batch(0).unwrap().len(), 1, "one at least");
    drop(tx);
    assert_eq!(worker.claim_where(high).unwrap_err(), RecvError::Closed);
    assert_eq!(worker.try_claim_where(high).unwrap_err(), TryRecvError::Ended(RecvError::Closed));
}

/// What is not acknowledged holds a full ring's producer, whoever holds it, and a group without workers holds it only if durable.
#[test]
fn the_producer_waits_for_a_group() {
    let dir = Dir::new();
    for durable in [false, true] {
        let mut tx = dir.create("r").capacity(4096).liveness(Duration::from_millis(1)).producer().unwrap();
        let group = || if durable { Group::named("g").durable() } else { "g".into() };
        let worker = join(&dir, group());
        let fill = |tx: &mut annulus::Producer| loop {
            match tx.try_send(&[0; 100]) {
                Ok(()) => {}
                Err(TrySendError::Full(behind)) => break behind.who,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(fill(&mut tx), Who::Group(0));
        let job = worker.recv().unwrap();
        assert_eq!(tx.try_send(&[0; 100]).map_err(|e| matches!(e, TrySendError::Full(_))), Err(true));
        drop(job);
        tx.send(&[0; 100]).unwrap();
        fill(&mut tx);
        drop(worker);
        assert_eq!(tx.try_send(&[0; 100]).is_ok(), !durable, "a durable group stays");
        if durable {
            let heir = join(&dir, group());
            assert_eq!(heir.recv().unwrap().sequence(), 1);
            tx.send(&[0; 100]).unwrap();
        }
    }
}

#[test]
fn info_shows_groups() {
    let dir = Dir::new();
    let mut tx = dir.create("r").max_groups(3).producer().unwrap();
    let workers = [0, 1].map(|_| join(&dir, Group::named("g").attempts(1).durable()));
    tx.send_batch(["a", "b", "c"]).unwrap();
    let held = workers[0].recv().unwrap();
    workers[1].recv().unwrap().nack();
    let info = dir.open("r").info().unwrap();
    assert_eq!((info.max_groups, info.groups.len(), info.subscribers.len()), (3, 1, 0));
    let group = &info.groups[0];
    assert_eq!((&*group.name, group.number, group.durable, group.workers), ("g", 0, true, 2));
    assert_eq!((group.held, group.returned, group.dead_letters, group.attempts), (1, 0, 1, Some(1)));
    assert_eq!(group.behind, 3 * 64);
    drop(held);
}

#[test]
fn workers_of_a_ring_without_a_name_and_of_values() {
    let mut tx = annulus::Ring::anonymous("r").producer().unwrap();
    let open = tx.offer().unwrap().open();
    let workers = [0, 1].map(|_| open.clone().join_group("g").unwrap());
    tx.send_batch(["a", "b"]).unwrap();
    let jobs = [workers[0].recv().unwrap(), workers[1].recv().unwrap()];
    assert_eq!(jobs.each_ref().map(Job::sequence), [0, 1]);
    drop(jobs);
    assert!(workers[0].is_linked());

    let dir = Dir::new();
    let mut tx = annulus::Ring::create_typed::<u64>("v").dir(dir.path()).producer().unwrap();
    let worker = annulus::Ring::open_typed::<u64>("v").dir(dir.path()).join_group("g").unwrap();
    tx.send(&7).unwrap();
    let job = worker.recv().unwrap();
    assert_eq!((*job, job.attempts()), (7, 1));
    job.nack();
    let again = worker.try_recv().unwrap();
    assert_eq!((*again, again.is_redelivered()), (7, true));
    again.ack();
    drop(tx);
    assert_eq!(worker.recv().unwrap_err(), RecvError::Closed);
}
