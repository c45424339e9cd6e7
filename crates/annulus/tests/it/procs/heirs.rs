//! The place of a dead reader, for which its producer, whom it blocks, and those who come after it race.

use std::time::Duration;

use annulus::{ErrorKind, Ring, Start};

use super::child::{Child, say};
use super::forks::{Board, Fork, a_moment};
use super::roles::{wait_for_ever, waiting_of};
use crate::support::{Dir, Random, in_time};

const ROUNDS: u64 = 250;
/// Records that surely fit in the ring.
const FIT: u64 = 40;
/// Records that each heir reads: more than two rings full.
const READ: u64 = 150;

/// Numbers on the board: sends that have returned, whether the producer is blocked, rounds whose victim has the place, whose
/// race has begun, and whose victim is about to be killed; owners of the place, and heirs that have had it.
const SENT: usize = 0;
const BLOCKED: usize = 1;
const HELD: usize = 2;
const BEGUN: usize = 3;
const DOOMED: usize = 4;
const OWNERS: usize = 5;
const DONE: usize = 6;

/// Promise: a reader is killed while the producer is blocked by it, and two others want its place, the only one, at the same
/// moment: many rounds, and there are never two owners, nobody has it before its owner is dead, and each newcomer's
/// cursor is respected: it gets every record from its join on, also when the producer has filled the ring meanwhile.
#[test]
fn a_dead_readers_place() {
    for waiting in ["park", "yield"] {
        in_time(move || {
            let dir = Dir::new();
            let mut heirs = Child::start("heirs", &[dir.text(), waiting]);
            eprintln!("{waiting}: {}", heirs.hear());
            heirs.ends_well();
        });
    }
}

/// Sends for ever, and says when it is blocked.
fn produce(dir: &str, waiting: &str, board: Board) {
    let ring = Ring::create("r").dir(dir).capacity(4096).max_subscribers(1);
    let mut tx = ring.liveness(Duration::from_millis(1)).waiting(waiting_of(waiting)).producer().unwrap();
    for n in 0_u64.. {
        // Nobody is read by at first: the ring would turn without end.
        if n == 0 {
            tx.wait_for_subscribers(1).unwrap();
        }
        if tx.try_send(&n.to_le_bytes()).is_err() {
            board.set(BLOCKED, 1);
            tx.send(&n.to_le_bytes()).unwrap();
            board.set(BLOCKED, 0);
        }
        board.set(SENT, n + 1);
    }
}

/// Takes the place as soon as it can be had, and reads all from its join on.
fn inherit(dir: &str, round: u64, board: Board) {
    board.until(BEGUN, round);
    let rx = loop {
        match Ring::open("r").dir(dir).start(Start::Newest).subscribe() {
            Ok(rx) => break rx,
            Err(error) => assert_eq!(error.kind(), &ErrorKind::NoFreeSlot { slots: 1 }),
        }
    };
    assert_eq!(board.count(OWNERS), 0, "two owners of a place");
    assert_eq!(board.get(DOOMED), round, "the place of a living reader");
    // Not before the ring is full of what it has not read.
    let first = rx.sequence();
    board.until(SENT, first + FIT);
    for n in first..first + READ {
        let record = rx.recv().unwrap();
        assert_eq!((record.sequence(), &*record), (n, &n.to_le_bytes()[..]), "from {first} on");
    }
    board.set(OWNERS, 0);
    drop(rx);
    board.count(DONE);
}

/// Kills readers while they block their producer, beside heirs.
pub(super) fn heirs(dir: &str, waiting: &str) {
    let (board, mut random) = (Board::new(), Random::new(61));
    let producer = Fork::new(|| produce(dir, waiting, board));
    let open = || Ring::open("r").dir(dir);
    crate::support::until("there is a ring", || open().info().is_ok());
    for round in 1..=ROUNDS {
        let victim = Fork::new(|| {
            let rx = open().subscribe().unwrap();
            let _record = rx.recv().unwrap();
            board.count(HELD);
            wait_for_ever();
        });
        board.until(HELD, round);
        let heirs = [0, 1].map(|_| Fork::new(|| inherit(dir, round, board)));
        board.until(BLOCKED, 1);
        board.set(BEGUN, round);
        a_moment(&mut random, 2000);
        board.set(DOOMED, round);
        victim.kill();
        board.until(DONE, 2 * round);
        heirs.into_iter().for_each(Fork::ends_well);
    }
    let info = open().info().unwrap();
    assert!(info.producer_alive && info.reaped <= ROUNDS);
    say(&format!("{ROUNDS} rounds, {} by the producer", info.reaped));
    producer.kill();
}
