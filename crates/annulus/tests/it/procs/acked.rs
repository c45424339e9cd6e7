//! Rendezvous with other processes: one that holds the record is killed, stopped, or goes.

use std::time::{Duration, Instant};

use annulus::{Acks, Group, Open, Producer, SendAckedError, SendAckedTimeoutError, Waiting};

use super::child::{Child, listen, say};
use crate::support::{Dir, INTERVALS, in_time, thread_id, until, until_asleep};

const LIVENESS: Duration = Duration::from_millis(50);
const WAYS: [Waiting; 3] = [Waiting::spin(), Waiting::yielding(), Waiting::park_after(0)];

fn ring(dir: &Dir, waiting: Waiting) -> Producer {
    dir.create("r").capacity(4096).liveness(LIVENESS).waiting(waiting).producer().unwrap()
}

fn counts(acks: Acks) -> [u32; 3] {
    [acks.of, acks.released, acks.gone]
}

/// A subscriber in a process of its own, and how far it has read.
fn reader(dir: &Dir, role: &str) -> Child {
    let mut child = Child::start(role, &[dir.text(), "r", "park"]);
    if role == "consume" {
        until_asleep_again(&mut child);
    } else {
        child.expect("joined");
    }
    child
}

fn until_asleep_again(child: &mut Child) {
    let thread = child.hear().parse().unwrap();
    child.expect("joined");
    until_asleep(thread);
}

/// A holder is killed: the other's release and its death make an error that says how many released the record, within a few
/// liveness intervals of the death, however the producer waits.
#[test]
fn a_holder_that_is_killed_is_gone() {
    for waiting in WAYS {
        in_time(move || {
            let dir = Dir::new();
            let mut tx = ring(&dir, waiting);
            let mut other = reader(&dir, "consume");
            let mut victim = reader(&dir, "hold");
            let (say, tid) = std::sync::mpsc::channel();
            let sender = std::thread::spawn(move || {
                say.send(thread_id()).unwrap();
                let sent = tx.send_acked(b"x");
                (tx, sent, Instant::now())
            });
            victim.expect("holding");
            if waiting == Waiting::park_after(0) {
                until_asleep(tid.recv().unwrap());
            }
            assert!(!sender.is_finished(), "it is held");
            victim.kill_to_zombie();
            let killed = Instant::now();
            let (mut tx, sent, at) = sender.join().unwrap();
            let Err(SendAckedError::Gone(acks)) = sent else { panic!("{sent:?}") };
            assert_eq!(counts(acks), [2, 1, 1]);
            assert!(at.saturating_duration_since(killed) < LIVENESS * INTERVALS);
            assert_eq!(dir.open("r").info().unwrap().reaped, 1);
            // The dead one is nobody any more.
            assert_eq!(tx.send_acked(b"y"), Ok(1));
            drop(tx);
            assert!(other.hear().starts_with("2 "));
            other.ends_well();
        });
    }
}

/// A reader is killed while it sleeps, long before the record: after a liveness interval it is nobody, and nothing is sent.
#[test]
fn the_dead_are_nobody() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = ring(&dir, Waiting::park_after(0));
        let victim = reader(&dir, "consume");
        assert_eq!(tx.send_acked(b"x"), Ok(1));
        victim.kill_to_zombie();
        // Within the interval it may still pass for one; the record is not taken for released then.
        let mut sent = 1;
        until("nobody is there", || match tx.send_acked(b"y") {
            Err(SendAckedError::NoSubscribers) => true,
            Err(SendAckedError::Gone(acks)) => {
                assert_eq!(counts(acks), [1, 0, 1]);
                sent += 1;
                false
            }
            other => panic!("{other:?}"),
        });
        assert!(sent <= 2, "it was found dead twice");
        assert_eq!((tx.sequence(), dir.open("r").info().unwrap().reaped), (sent, 1));
    });
}

/// Promise: a process is stopped: a receiver that is stopped is slow, not dead: waited for until the time is over, when the
/// record is published; continued, it has it.
#[test]
fn a_stopped_receiver_is_waited_for() {
    in_time(|| {
        for waiting in WAYS {
            let dir = Dir::new();
            let mut tx = ring(&dir, waiting);
            let mut victim = reader(&dir, "consume");
            victim.signal(libc::SIGSTOP);
            victim.until_state('T');
            let timed_out = tx.send_acked_timeout(b"12345678", LIVENESS * INTERVALS);
            let Err(SendAckedTimeoutError::TimedOut(acks)) = timed_out else { panic!("{timed_out:?}") };
            assert_eq!((counts(acks), tx.sequence()), ([1, 0, 0], 1));
            assert_eq!(dir.open("r").info().unwrap().reaped, 0);
            let sender = std::thread::spawn(move || (tx.send_acked(b"again"), tx));
            victim.signal(libc::SIGCONT);
            let (sent, tx) = sender.join().unwrap();
            assert_eq!(sent, Ok(1));
            drop(tx);
            assert!(victim.hear().starts_with("2 "));
            victim.ends_well();
        }
    });
}

/// It is killed while it is stopped: dead.
#[test]
fn a_receiver_stopped_and_then_killed_is_gone() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = ring(&dir, Waiting::park_after(0));
        let victim = reader(&dir, "consume");
        victim.signal(libc::SIGSTOP);
        victim.until_state('T');
        let sender = std::thread::spawn(move || tx.send_acked(b"x"));
        victim.kill_to_zombie();
        let sent = sender.join().unwrap();
        // Dead before the record, or after.
        match sent {
            Err(SendAckedError::Gone(acks)) => assert_eq!(counts(acks), [1, 0, 1]),
            other => assert_eq!(other, Err(SendAckedError::NoSubscribers)),
        }
    });
}

/// Leaves as it is told to, without having read anything.
pub(super) fn leave_unread(open: Open) {
    let rx = open.subscribe().unwrap();
    say("joined");
    assert_eq!(listen(), "leave");
    drop(rx);
    say("left");
}

/// A subscriber that leaves without having read the record is gone, and wakes the producer by that: nobody looks for the dead.
#[test]
fn who_leaves_without_reading_is_gone() {
    in_time(|| {
        let dir = Dir::new();
        let never = Duration::from_secs(3600);
        let ring = dir.create("r").capacity(4096).liveness(never).waiting(Waiting::park_after(0));
        let mut tx = ring.producer().unwrap();
        let mut other = reader(&dir, "consume");
        let mut leaver = reader(&dir, "leave-unread");
        let (say, tid) = std::sync::mpsc::channel();
        let sender = std::thread::spawn(move || {
            say.send(thread_id()).unwrap();
            (tx.send_acked(b"x"), tx.send_acked(b"y"), tx)
        });
        let tid = tid.recv().unwrap();
        until("the other has read it", || {
            dir.open("r").info().unwrap().subscribers.iter().any(|s| s.behind == 0)
        });
        until_asleep(tid);
        assert!(!sender.is_finished(), "it is not released");
        leaver.tell("leave");
        leaver.expect("left");
        let (first, second, tx) = sender.join().unwrap();
        let Err(SendAckedError::Gone(acks)) = first else { panic!("{first:?}") };
        assert_eq!((counts(acks), second), ([2, 1, 1], Ok(1)));
        assert_eq!(dir.open("r").info().unwrap().reaped, 0);
        drop(tx);
        assert!(other.hear().starts_with("2 "));
        other.ends_well();
        leaver.ends_well();
    });
}

/// Works in a group, and acknowledges each record when it is told to.
pub(super) fn work(open: Open, kind: &str) {
    let group = Group::named("g");
    let worker = open.join_group(if kind == "durable" { group.durable() } else { group }).unwrap();
    say("joined");
    while let Ok(job) = worker.recv() {
        say(&format!("holding {}", job.attempts()));
        assert_eq!(listen(), "ack");
        job.ack();
    }
}

fn worker(dir: &Dir, kind: &str) -> Child {
    let mut child = Child::start("work-when-told", &[dir.text(), "r", kind]);
    child.expect("joined");
    child
}

/// What a killed worker held is delivered again, to one that is there or joins later if the group is kept, and the send ends
/// when that one has acknowledged it.
#[test]
fn what_a_killed_worker_held_is_waited_for() {
    for waiting in WAYS {
        for kind in ["plain", "durable"] {
            in_time(move || {
                let dir = Dir::new();
                let mut tx = ring(&dir, waiting);
                let mut victim = worker(&dir, kind);
                let sender = std::thread::spawn(move || (tx.send_acked(b"x"), tx));
                victim.expect("holding 1");
                let there = (kind == "plain").then(|| worker(&dir, kind));
                victim.kill_to_zombie();
                let mut heir = there.unwrap_or_else(|| worker(&dir, kind));
                heir.expect("holding 2");
                assert!(!sender.is_finished(), "it is held");
                heir.tell("ack");
                let (sent, tx) = sender.join().unwrap();
                assert_eq!(sent, Ok(1));
                drop(tx);
                heir.ends_well();
            });
        }
    }
}

/// A group whose workers are all dead is gone, unless it is kept: then it is waited for.
#[test]
fn a_group_without_workers_is_gone() {
    in_time(|| {
        for kind in ["plain", "durable"] {
            let dir = Dir::new();
            let mut tx = ring(&dir, Waiting::park_after(0));
            let mut victim = worker(&dir, kind);
            let sender = std::thread::spawn(move || (tx.send_acked_timeout(b"x", LIVENESS * INTERVALS), tx));
            victim.expect("holding 1");
            victim.kill_to_zombie();
            let (sent, mut tx) = sender.join().unwrap();
            if kind == "plain" {
                let Err(SendAckedTimeoutError::Gone(acks)) = sent else { panic!("{sent:?}") };
                assert_eq!(counts(acks), [1, 0, 1]);
                assert_eq!(tx.send_acked(b"y"), Err(SendAckedError::NoSubscribers));
            } else {
                let Err(SendAckedTimeoutError::TimedOut(acks)) = sent else { panic!("{sent:?}") };
                assert_eq!(counts(acks), [1, 0, 0]);
            }
        }
    });
}
