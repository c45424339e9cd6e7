//! Workers in processes of their own: killed, stopped, woken.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use annulus::{Group, Open, RecvError, Ring, SendTimeoutError, TryRecvError, Waiting, Who};

use super::child::{Child, listen, say};
use super::forks::{Board, Fork, a_moment};
use super::roles::{record, wait_for_ever};
use crate::support::{Dir, INTERVALS, Random, in_time, sleeps, thread_id, until, until_asleep};

const LIVENESS: Duration = Duration::from_millis(5);

/// Bytes of a line of the log: a sequence and an attempt. One write each, and none over two pages, between which a kill tears it: so
/// a kill leaves whole lines.
const LINE: usize = 16;

/// What workers write down before they acknowledge.
struct Log(File);

impl Log {
    fn open(dir: &str) -> Log {
        Log(OpenOptions::new().create(true).append(true).open(format!("{dir}/log")).unwrap())
    }

    fn note(&mut self, sequence: u64, attempts: u32) {
        let mut line = [0; LINE];
        line[..8].copy_from_slice(&sequence.to_le_bytes());
        line[8..].copy_from_slice(&u64::from(attempts).to_le_bytes());
        assert_eq!(self.0.write(&line).unwrap(), LINE);
    }

    /// The attempts of each record, in the order in which they were written.
    fn read(dir: &str) -> BTreeMap<u64, Vec<u32>> {
        let mut records: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for line in fs::read(format!("{dir}/log")).unwrap().chunks_exact(LINE) {
            let (sequence, attempts) = line.split_at(8);
            let attempts = u64::from_le_bytes(attempts.try_into().unwrap()).try_into().unwrap();
            records.entry(u64::from_le_bytes(sequence.try_into().unwrap())).or_default().push(attempts);
        }
        records
    }
}

/// Works to the end of the ring, with so many jobs in its hands at a time.
fn work(open: Open, log: &mut Log, most: usize, joined: impl FnOnce()) {
    let worker = open.join_group(Group::named("g").durable()).unwrap();
    joined();
    loop {
        match worker.recv_batch(most) {
            Ok(jobs) => {
                for job in &jobs {
                    assert_eq!(**job, record(job.sequence())[..], "at {}", job.sequence());
                    log.note(job.sequence(), job.attempts());
                }
            }
            Err(end) => return assert_eq!(end, RecvError::Closed),
        }
    }
}

pub(super) fn worker(dir: &str, most: usize) {
    let mut log = Log::open(dir);
    work(Ring::open("r").dir(dir), &mut log, most, || say("joined"));
    say("ended");
}

/// Holds so many, and gives none back.
pub(super) fn holder(dir: &str, count: usize) {
    let worker = Ring::open("r").dir(dir).join_group("g").unwrap();
    say("joined");
    let _jobs: Vec<_> = (0..count).map(|_| worker.recv().unwrap()).collect();
    say("holding");
    wait_for_ever();
}

/// Full speed in both: each record once, and none marked.
#[test]
fn each_record_goes_to_one_of_four_processes() {
    const RECORDS: u64 = 50_000;
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(16384).liveness(LIVENESS).producer().unwrap();
    let mut workers: Vec<Child> =
        (1..=4).map(|most| Child::start("worker", &[dir.text(), &*most.to_string()])).collect();
    workers.iter_mut().for_each(|worker| worker.expect("joined"));
    in_time(move || {
        for n in 0..RECORDS {
            tx.send(&record(n)).unwrap();
        }
        drop(tx);
        workers.iter_mut().for_each(|worker| worker.expect("ended"));
    });
    let log = Log::read(dir.text());
    assert!(log.keys().copied().eq(0..RECORDS), "{} records", log.len());
    assert!(log.values().all(|attempts| attempts == &[1]));
}

/// Workers with one record or several in their hands are killed at random instants: nothing is lost, and what is delivered again is
/// marked, with the number of attempts.
#[test]
fn workers_are_killed_at_random_instants() {
    let dir = Dir::new();
    let mut killer = Child::start("worker-killer", &[dir.text()]);
    eprintln!("{}", killer.hear());
    killer.ends_well();
}

const JOINED: usize = 0;
const SENT: usize = 1;
const STOP: usize = 2;

pub(super) fn killer(dir: &str) {
    const KILLS: u64 = 300;
    let board = Board::new();
    let producer = Fork::new(|| {
        let ring = Ring::create("r").dir(dir).capacity(16384).claim_words(32).liveness(LIVENESS);
        let mut tx = ring.producer().unwrap();
        while board.get(STOP) == 0 {
            tx.send(&record(board.get(SENT))).unwrap();
            board.count(SENT);
        }
    });
    let start = |most: usize| {
        Fork::new(move || {
            let open = Ring::open("r").dir(dir).wait(Duration::from_secs(60)).unwrap();
            work(open, &mut Log::open(dir), most, || {
                board.count(JOINED);
            });
        })
    };
    let mut random = Random::new(7);
    let mut workers: Vec<Fork> = (0..3).map(|most| start(most * 2 + 1)).collect();
    board.until(JOINED, 3);
    for round in 0..KILLS {
        a_moment(&mut random, 3000);
        workers.swap_remove(random.below(3) as usize).kill();
        workers.push(start(random.below(6) as usize + 1));
        board.until(JOINED, round + 4);
    }
    board.set(STOP, 1);
    producer.ends_well();
    workers.into_iter().for_each(Fork::ends_well);
    let sent = board.get(SENT);
    let log = Log::read(dir);
    // What the first worker missed came before there was a group.
    let first = *log.keys().next().unwrap();
    assert!(log.keys().copied().eq(first..sent), "{first} to {sent}, {} of them", log.len());
    let mut again = 0;
    for (sequence, attempts) in &log {
        assert!(attempts.is_sorted_by(|a, b| a < b), "{sequence} was delivered as {attempts:?}");
        again += u64::from(*attempts.last().unwrap() > 1);
    }
    assert!(again > 0, "nobody died with a record");
    say(&format!("{sent} records, {again} of them delivered again"));
}

/// The others get what a killed one held; if all are killed, the next one that joins goes on with what is left.
#[test]
fn what_the_killed_held_goes_to_others_and_to_heirs() {
    let dir = Dir::new();
    let mut tx = dir.create("r").liveness(LIVENESS).producer().unwrap();
    let mut dead = Child::start("job-holder", &[dir.text(), "3"]);
    dead.expect("joined");
    let fellow = dir.open("r").join_group("g").unwrap();
    for n in 0..5 {
        tx.send(&record(n)).unwrap();
    }
    dead.expect("holding");
    dead.kill();
    in_time(move || {
        let mut got: Vec<_> =
            (0..5).map(|_| fellow.recv().unwrap()).map(|j| (j.sequence(), j.attempts())).collect();
        got.sort_unstable();
        assert_eq!(got, [(0, 2), (1, 2), (2, 2), (3, 1), (4, 1)]);
    });

    let mut dead: Vec<Child> = (0..2).map(|_| Child::start("job-holder", &[dir.text(), "2"])).collect();
    dead.iter_mut().for_each(|dead| dead.expect("joined"));
    for n in 5..9 {
        tx.send(&record(n)).unwrap();
    }
    dead.iter_mut().for_each(|dead| dead.expect("holding"));
    for n in 9..12 {
        tx.send(&record(n)).unwrap();
    }
    dead.iter_mut().for_each(Child::kill);
    let heir = dir.open("r").join_group("g").unwrap();
    in_time(move || {
        let mut got: Vec<_> =
            (0..7).map(|_| heir.recv().unwrap()).map(|j| (j.sequence(), j.attempts())).collect();
        got.sort_unstable();
        assert_eq!(got, [(5, 2), (6, 2), (7, 2), (8, 2), (9, 1), (10, 1), (11, 1)]);
        assert_eq!(heir.try_recv().unwrap_err(), TryRecvError::Empty);
    });
}

/// A full ring waits for a worker that is stopped, and not for a group whose workers are dead.
#[test]
fn a_blocked_producer_waits_for_the_stopped_and_not_for_the_dead() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).liveness(LIVENESS).producer().unwrap();
    let mut holder = Child::start("job-holder", &[dir.text(), "1"]);
    holder.expect("joined");
    tx.send(&record(0)).unwrap();
    holder.expect("holding");
    holder.signal(libc::SIGSTOP);
    holder.until_state('T');
    while tx.try_send(&record(1)).is_ok() {}
    match tx.send_timeout(&record(1), LIVENESS * INTERVALS) {
        Err(SendTimeoutError::TimedOut(behind)) => assert_eq!(behind.who, Who::Group(0)),
        other => panic!("{other:?}"),
    }
    holder.kill();
    in_time(move || {
        tx.send(&record(1)).unwrap();
    });
}

/// The producer dies and another takes over: workers that stay go on, in sequence, with what was left.
#[test]
fn a_group_outlives_its_producer() {
    let dir = Dir::new();
    let mut producer = Child::start("publish-and-die", &[dir.text()]);
    producer.expect("made");
    let workers = [0, 1].map(|_| dir.open("r").stay().join_group("g").unwrap());
    let leaves = dir.open("r").join_group("h").unwrap();
    producer.tell("send");
    producer.expect("sent");
    let held = workers[0].recv().unwrap();
    producer.kill();
    in_time(move || {
        assert!((0..10).eq((0..10).map(|_| leaves.recv().unwrap().sequence())));
        assert_eq!(leaves.recv().unwrap_err(), RecvError::ProducerLost);
    });
    let mut tx = dir.open_or_create("r").producer().unwrap();
    tx.send(&record(10)).unwrap();
    assert_eq!(held.sequence(), 0);
    let got = [&workers[1]; 10].map(|worker| worker.recv().unwrap().sequence());
    assert!(got.into_iter().eq(1..11));
    drop(held);
    assert_eq!(workers[0].try_recv().unwrap_err(), TryRecvError::Empty);
}

pub(super) fn publish_and_die(dir: &str) {
    let mut tx = Ring::open_or_create("r").dir(dir).liveness(LIVENESS).producer().unwrap();
    say("made");
    assert_eq!(listen(), "send");
    for n in 0..10 {
        tx.send(&record(n)).unwrap();
    }
    say("sent");
    wait_for_ever();
}

/// A forked child's copies are errors, and take nothing from the parent.
#[test]
fn a_forked_childs_worker_is_an_error() {
    let mut child = Child::start("fork-a-worker", &[]);
    child.expect("fine");
    child.ends_well();
}

pub(super) fn fork_a_worker() {
    let dir = Dir::new();
    let mut tx = dir.create("r").liveness(LIVENESS).producer().unwrap();
    let worker = dir.open("r").join_group("g").unwrap();
    tx.send_batch(["a", "b"]).unwrap();
    let (held, given) = (worker.recv().unwrap(), worker.recv().unwrap());
    let mut copies = Some((tx, &worker, held, given));
    Fork::new(|| {
        let (_tx, worker, held, given) = copies.take().unwrap();
        assert_eq!(worker.recv().unwrap_err(), RecvError::Forked);
        assert_eq!(worker.try_recv().unwrap_err(), TryRecvError::Ended(RecvError::Forked));
        assert_eq!(worker.claim_where(|_| true).unwrap_err(), RecvError::Forked);
        assert_eq!(worker.try_dead_letter().unwrap_err(), TryRecvError::Ended(RecvError::Forked));
        held.ack();
        assert!(!given.nack());
    })
    .ends_well();
    let (mut tx, _, held, given) = copies.take().unwrap();
    assert_eq!(dir.open("r").info().unwrap().groups[0].held, 2, "the child has settled nothing");
    held.ack();
    given.nack();
    assert_eq!(worker.recv().unwrap().attempts(), 2);
    tx.send(b"c").unwrap();
    assert_eq!(worker.recv().unwrap().sequence(), 2);
    drop(tx);
    say("fine");
}

/// Workers that sleep, and how long each burst may take.
const PARKED: u64 = 4;
const WORK: Duration = Duration::from_millis(50);
const BURST: Duration = Duration::from_millis(80);
const ROUNDS: u32 = 200;
/// A machine that lets a thread wait longer than this beside a round has spoiled it.
const STALL: Duration = Duration::from_millis(4);
/// Who sleeps so long in spite of a record has missed its wake: much longer than any stall, and shorter than the liveness interval.
const MISSED: Duration = Duration::from_secs(5);

/// Four parked workers, 50 ms of work each, a burst of four by one `send_batch` or four sends: done within 80 ms, 200 times each way;
/// so all four work at once. With a liveness interval of 10 s no timeout hides a lost wake. A round in which the machine itself
/// stood still is tried again, if every worker was woken in it.
#[test]
fn a_burst_wakes_as_many_workers_as_it_has_records() {
    for batch in [true, false] {
        bursts(batch);
    }
}

fn bursts(batch: bool) {
    let dir = Dir::new();
    let mut tx = dir.create("r").liveness(Duration::from_secs(10)).producer().unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let (says, heard) = mpsc::channel();
    let threads: Vec<_> = (0..PARKED)
        .map(|_| {
            let worker = dir.open("r").waiting(Waiting::park_after(0)).join_group("g").unwrap();
            let (done, says) = (Arc::clone(&done), says.clone());
            thread::spawn(move || {
                says.send(thread_id()).unwrap();
                for job in &worker {
                    let job = job.unwrap();
                    // sleep: the work, which takes no processor from the other workers
                    thread::sleep(WORK);
                    job.ack();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let ids: Vec<u32> = threads.iter().map(|_| heard.recv().unwrap()).collect();
    let stalls = Stalls::watch();
    let (mut good, mut spoiled, mut slowest) = (0, 0, Duration::ZERO);
    while good < ROUNDS {
        settle(&ids);
        let before: Vec<_> = ids.iter().map(|&id| sleeps(id).unwrap()).collect();
        let queued: Duration = ids.iter().map(|&id| queued(id)).sum();
        stalls.longest();
        let begin = Instant::now();
        let all = done.load(Ordering::SeqCst) + PARKED;
        if batch {
            tx.send_batch(["a", "b", "c", "d"]).unwrap();
        } else {
            for record in ["a", "b", "c", "d"] {
                tx.send(record.as_bytes()).unwrap();
            }
        }
        until("all are done", || {
            // sleep: whoever looks for ever keeps the workers from the processor
            thread::sleep(Duration::from_micros(500));
            done.load(Ordering::SeqCst) == all
        });
        let took = begin.elapsed();
        // Woken at all, however late: that is no matter of the machine's.
        while ids.iter().zip(&before).any(|(&id, before)| sleeps(id).unwrap() == *before) {
            assert!(begin.elapsed() < MISSED, "a worker was never woken, after {good} rounds");
            thread::yield_now();
        }
        if took <= BURST {
            good += 1;
            slowest = slowest.max(took);
        } else {
            // Either of them: a worker that was woken and got no processor, or a machine that stood still.
            let waited = ids.iter().map(|&id| self::queued(id)).sum::<Duration>() - queued;
            let stall = stalls.longest().max(waited);
            assert!(
                stall > STALL,
                "{took:?} after {good} rounds, and the machine stood still for {stall:?} only"
            );
            spoiled += 1;
            assert!(spoiled < 5 * ROUNDS, "only {good} rounds went well on this machine");
        }
    }
    eprintln!("batch {batch}: {good} rounds, the slowest {slowest:?}; {spoiled} spoiled by the machine");
    drop(tx);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Waits until all sleep, and the first, short sleep of each is over.
fn settle(ids: &[u32]) {
    loop {
        ids.iter().for_each(|&id| until_asleep(id));
        let before: Vec<_> = ids.iter().map(|&id| sleeps(id)).collect();
        // sleep: longer than a first sleep: who has not woken since sleeps until it is woken
        thread::sleep(Duration::from_millis(12));
        ids.iter().for_each(|&id| until_asleep(id));
        if ids.iter().map(|&id| sleeps(id)).eq(before) {
            return;
        }
    }
}

/// How long a thread has waited for a processor in all, since it was woken or lost one. See proc(5), `schedstat`.
fn queued(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).unwrap();
    Duration::from_nanos(stat.split_whitespace().nth(1).unwrap().parse().unwrap())
}

/// A thread that notices when it is kept from running.
struct Stalls {
    longest: Arc<AtomicU64>,
    /// Times that it has looked.
    looks: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Stalls {
    fn watch() -> Stalls {
        let (longest, looks) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let ends = Arc::new(AtomicBool::new(false));
        let (says, counts, end) = (Arc::clone(&longest), Arc::clone(&looks), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let mut last = Instant::now();
            while !end.load(Ordering::Relaxed) {
                // sleep: what comes on top of it is the machine's
                thread::sleep(Duration::from_millis(1));
                let late = last.elapsed().saturating_sub(Duration::from_millis(1));
                says.fetch_max(late.as_micros() as u64, Ordering::SeqCst);
                counts.fetch_add(1, Ordering::SeqCst);
                last = Instant::now();
            }
        });
        Stalls { longest, looks, ends, thread: Some(thread) }
    }

    /// The longest since the last call, once the thread has run again: it may still be kept from it.
    fn longest(&self) -> Duration {
        let looks = self.looks.load(Ordering::SeqCst);
        until("the machine goes on", || {
            thread::yield_now();
            self.looks.load(Ordering::SeqCst) > looks
        });
        Duration::from_micros(self.longest.swap(0, Ordering::SeqCst))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}
