//! Services that crash and start again with the same lines.

use std::thread;
use std::time::Duration;

use annulus::{RecvError, Ring, Start, Waiting};

use super::child::{Child, listen, say};
use super::forks::{Board, Fork, a_moment};
use super::roles::{record, wait_for_ever};
use crate::support::{Dir, LONG, Random, in_time};

const RESTARTS: u64 = 1000;
/// Both sides of a ring, each killed so many times.
const BOTH: u64 = 200;

/// As many records a service sends at most before it is killed: the readers need not have a processor of their own.
const STORM: u64 = 300;

/// What the service says.
fn line(n: u64) -> [u8; 16] {
    u128::from(n).wrapping_mul(0x1_0000_0000_0000_0001).to_le_bytes()
}

/// Promise: a service crashes and starts again with the same lines (`open_or_create`): the same ring, the sequence goes on;
/// for the readers no gap and no new handle. Also: a producer restarted 1,000 times under readers. The lines of the
/// README, killed at a random instant from their first to the middle of a storm of records, under a subscriber that
/// stays and sees every number once, and an observer that knows exactly what it lost.
#[test]
fn a_service_that_is_restarted_a_thousand_times() {
    in_time(|| {
        let dir = Dir::new();
        let mut service = Child::start("service", &[dir.text()]);
        service.expect("up");
        let open = || dir.open("quotes").stay().start(Start::Sequence(0)).waiting(Waiting::park_after(0));
        let rx = open().subscribe().unwrap();
        let mut observer = open().observe().unwrap();
        let reader = thread::spawn(move || {
            let mut next = 0;
            loop {
                match rx.recv() {
                    Ok(got) => assert!(got.sequence() == next && *got == line(next), "at {next}"),
                    Err(end) => return (next, end),
                }
                next += 1;
            }
        });
        let watcher = thread::spawn(move || {
            let (mut accounted, mut buf) = (0, Vec::new());
            loop {
                match observer.recv_into(&mut buf) {
                    Ok(got) => {
                        assert!(got.sequence == accounted && buf == line(accounted), "at {accounted}");
                        accounted += 1;
                    }
                    Err(annulus::CopyError::Lagged(n)) => accounted += n,
                    Err(end) => return (accounted, end),
                }
            }
        });
        service.tell("go");
        eprintln!("{}", service.hear());
        let tx = dir.open("quotes").producer().unwrap();
        let sent = tx.sequence();
        drop(tx);
        service.ends_well();
        assert_eq!(reader.join().unwrap(), (sent, RecvError::Closed));
        assert_eq!(watcher.join().unwrap(), (sent, annulus::CopyError::Ended(RecvError::Closed)));
        assert!(sent > RESTARTS);
    });
}

/// The service, and whoever starts it again.
pub(super) fn service(dir: &str) {
    /// Number on the board: times it came up.
    const UP: usize = 0;
    /// And whether they may send.
    const GO: usize = 1;
    let board = Board::new();
    let start = || {
        Fork::new(|| {
            let mut tx = Ring::open_or_create("quotes").dir(dir).capacity(1 << 20).producer().unwrap();
            board.count(UP);
            board.until(GO, 1);
            for n in tx.sequence()..tx.sequence() + STORM {
                tx.send(&line(n)).unwrap();
            }
            wait_for_ever();
        })
    };
    let mut random = Random::new(21);
    let first = start();
    board.until(UP, 1);
    say("up");
    assert_eq!(listen(), "go");
    board.set(GO, 1);
    first.kill();
    for _ in 1..RESTARTS {
        let before = board.get(UP);
        let service = start();
        // Some never come so far as to have the ring.
        if random.below(4) > 0 {
            board.until(UP, before + 1);
            a_moment(&mut random, 60);
        } else {
            a_moment(&mut random, 500);
        }
        service.kill();
    }
    say(&format!("{RESTARTS} starts, {} came up", board.get(UP)));
}

/// Promise: a service crashes and starts again: both sides at the same instant, 200 times, with a single place for a
/// subscriber, which the dead one still has. Both come up each time, with the very lines that they began with, and the
/// sequence goes on.
#[test]
fn both_sides_are_restarted_at_once() {
    in_time(|| {
        let dir = Dir::new();
        let mut pair = Child::start("pair", &[dir.text()]);
        eprintln!("{}", pair.hear());
        pair.ends_well();
    });
}

/// Starts both sides at once and kills both at once, again and again.
pub(super) fn pair(dir: &str) {
    /// Numbers on the board: the go for a round; where its producer began, and one more than the last number whose `send` has
    /// returned; records read in the round, and in all.
    const ROUND: usize = 0;
    const BEGAN: usize = 1;
    const SENT: usize = 2;
    const READ: usize = 3;
    const TOTAL: usize = 4;
    let board = Board::new();
    let mut random = Random::new(22);
    for round in 1..=BOTH {
        let producer = Fork::new(|| {
            board.until(ROUND, round);
            let ring = Ring::open_or_create("r").dir(dir).capacity(1 << 16).max_subscribers(1);
            let mut tx = ring.liveness(Duration::from_millis(5)).producer().unwrap();
            board.set(BEGAN, tx.sequence());
            for n in tx.sequence().. {
                tx.send(&record(n)).unwrap();
                board.set(SENT, n + 1);
            }
        });
        let reader = Fork::new(|| {
            board.until(ROUND, round);
            let open = Ring::open("r").dir(dir).stay().waiting(Waiting::park_after(0));
            let rx = open.wait(LONG).unwrap().subscribe().unwrap();
            for n in rx.sequence().. {
                let got = rx.recv().unwrap();
                assert!(got.sequence() == n && *got == record(n)[..]);
                board.count(READ);
                board.count(TOTAL);
            }
        });
        let sent = board.get(SENT);
        board.set(READ, 0);
        board.set(ROUND, round);
        // Both have come up, and go on together.
        board.until(READ, 1 + random.below(200));
        producer.signal(libc::SIGKILL);
        reader.signal(libc::SIGKILL);
        drop((producer, reader));
        let began = board.get(BEGAN);
        assert!(began == sent || began == sent + 1, "{sent} were sent, and the next began at {began}");
    }
    say(&format!("{} records sent, {} read", board.get(SENT), board.get(TOTAL)));
}
