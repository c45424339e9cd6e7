//! Two processes, from one end to the other.

use std::time::{Duration, Instant};

use annulus::Waiting;

use super::child::Child;
use crate::support::{Dir, INTERVALS, in_time, until_asleep, until_in_call};

const COUNT: &str = "100000";

/// 100,000 records from process to process, spinning, yielding and parked, with a checksum.
#[test]
fn between_two_processes() {
    for waiting in ["spin", "park"] {
        let dir = Dir::new();
        let mut publisher = Child::start("publish", &[dir.text(), "r", COUNT]);
        publisher.expect("ready");
        let mut readers: Vec<_> =
            (0..2).map(|_| Child::start("consume", &[dir.text(), "r", waiting])).collect();
        for reader in &mut readers {
            reader.hear();
            reader.expect("joined");
        }
        publisher.tell("go");
        let sent = publisher.hear();
        publisher.tell("end");
        publisher.ends_well();
        for reader in &mut readers {
            reader.expect(&sent);
            reader.ends_well();
        }
        assert!(dir.entries().is_empty());
    }
}

/// The reader starts first and waits for the ring, in a directory that is there and in one that is not.
#[test]
fn the_reader_starts_first() {
    for exists in [true, false] {
        let dir = if exists { Dir::new() } else { Dir::missing() };
        let mut reader = Child::start("consume", &[dir.text(), "r", "park"]);
        let thread = reader.hear().parse().unwrap();
        if exists {
            until_in_call(thread, &[libc::SYS_poll, libc::SYS_ppoll]);
        } else {
            until_in_call(thread, &[libc::SYS_nanosleep, libc::SYS_clock_nanosleep]);
        }
        // Another name is not the one that it waits for.
        let other = dir.create("other").capacity(4096).producer().unwrap();
        let mut tx = dir.create("r").capacity(4096).producer().unwrap();
        drop(other);
        reader.expect("joined");
        tx.send(b"at last").unwrap();
        drop(tx);
        assert!(reader.hear().starts_with("1 "));
        reader.ends_well();
    }
}

/// Case 27: 20,000 records to and fro between two processes, both sides asleep at each step, without a stall. With a liveness interval of an
/// hour nothing but the wake can end a sleep.
#[test]
fn a_sleeper_is_woken_across_processes() {
    for fence in [annulus::FenceMode::Asymmetric, annulus::FenceMode::Symmetric] {
        in_time(move || {
            let dir = Dir::new();
            let hour = Duration::from_secs(3600);
            let ring = |name| dir.create(name).capacity(4096).fence(fence).liveness(hour);
            let mut there = ring("there").producer().unwrap();
            drop(ring("back").persistent(true).producer().unwrap());
            let mut echo = Child::start("echo", &[dir.text(), "there", "back"]);
            echo.expect("ready");
            let back = dir.open("back").waiting(Waiting::park_after(0)).subscribe().unwrap();
            let mut longest = Duration::ZERO;
            for n in 0..10_000_u64 {
                let begin = Instant::now();
                there.send(&n.to_le_bytes()).unwrap();
                let record = back.recv().unwrap();
                assert_eq!(&*record, n.to_le_bytes());
                longest = longest.max(begin.elapsed());
            }
            eprintln!("{fence:?}: longest round trip {longest:?}");
            drop(there);
            echo.ends_well();
        });
    }
}

/// Promise: a process is stopped (SIGSTOP): a stopped subscriber is slow, not dead: the producer waits; continued, it loses nothing.
#[test]
fn a_stopped_reader_is_waited_for() {
    let dir = Dir::new();
    let liveness = Duration::from_millis(10);
    let mut tx = dir.create("r").capacity(4096).liveness(liveness).producer().unwrap();
    let mut reader = Child::start("consume", &[dir.text(), "r", "park"]);
    let thread = reader.hear().parse().unwrap();
    reader.expect("joined");
    until_asleep(thread);
    reader.signal(libc::SIGSTOP);
    reader.until_state('T');
    let mut sent = 0_u64;
    while tx.try_send(&[1; 100]).is_ok() {
        sent += 1;
    }
    assert!(tx.send_timeout(&[1; 100], liveness * INTERVALS).is_err());
    let info = dir.open("r").info().unwrap();
    assert_eq!((info.reaped, info.subscribers.len()), (0, 1));
    reader.signal(libc::SIGCONT);
    for _ in 0..1000 {
        tx.send(&[1; 100]).unwrap();
        sent += 1;
    }
    drop(tx);
    assert!(reader.hear().starts_with(&format!("{sent} ")));
    reader.ends_well();
}

/// Promise: a process is stopped: a stopped producer is silent, not lost.
#[test]
fn a_stopped_producer_is_not_lost() {
    let dir = Dir::new();
    let mut producer = Child::start("end", &[dir.text(), "r", "drop"]);
    producer.expect("ready");
    let rx = dir.open("r").subscribe().unwrap();
    producer.signal(libc::SIGSTOP);
    producer.until_state('T');
    // The role's ring has intervals of 50 ms.
    let nothing = rx.recv_timeout(Duration::from_millis(50) * INTERVALS).unwrap_err();
    assert_eq!(nothing, annulus::RecvTimeoutError::TimedOut);
    producer.signal(libc::SIGCONT);
    producer.tell("go");
    producer.expect("sent");
    producer.tell("end");
    assert_eq!(rx.iter().map(|record| record.unwrap().sequence()).sum::<u64>(), 3);
    producer.ends_well();
}
