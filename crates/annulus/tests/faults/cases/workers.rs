//! A worker of a group dies.

use std::mem::forget;

use annulus::{Create, Group, RecvError, RecvTimeoutError, Start, Waiting, Wake, Worker};

use super::{Arm, Killer};
use crate::board::Board;
use crate::check::{Dir, PATIENCE, cleaned, record};
use crate::child::Child;

/// A worker of the group, which begins with the oldest record.
fn join(dir: &Dir) -> Worker {
    let open = dir.open().start(Start::Oldest).waiting(Waiting::park_after(0));
    open.join_group(Group::named("group")).unwrap()
}

/// Acknowledges all that comes until the end, which comes in time. Returns the sequences.
fn drain(worker: &Worker) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        match worker.recv_timeout(PATIENCE) {
            Ok(job) => {
                assert_eq!(&*job, &*record(job.sequence()));
                got.push(job.sequence());
                job.ack();
            }
            Err(RecvTimeoutError::Ended(RecvError::Closed)) => break,
            Err(error) => panic!("a worker waits for what a dead one has: {error:?}"),
        }
    }
    got.sort_unstable();
    got
}

/// It begins the group, is done with two records, gives one back that it takes in between, and leaves one to others. What it
/// was not done with goes to the next.
pub(super) fn work(dir: &Dir, killer: &mut dyn Killer) {
    const RECORDS: u64 = 4;
    let board = Board::get();
    // A store for each word of the table, at each of which it dies once.
    let mut tx = dir.create().claim_words(4).producer().unwrap();
    (0..RECORDS).for_each(|n| tx.send(&record(n)).unwrap());
    let victim = |arm: Arm<'_>| {
        arm();
        let worker = join(dir);
        let [first, second, third] = [(); 3].map(|()| worker.recv().unwrap());
        board.sending(1, || first.ack());
        third.nack();
        board.sending(1, || second.ack());
        forget(worker);
    };
    killer.run(Box::new(victim), &mut |_| {});
    let heir = join(dir);
    drop(tx);
    let got = drain(&heir);
    let (done, begun) = (board.returned(), board.started());
    assert!(
        (done..=begun).any(|done| got == (done..RECORDS).collect::<Vec<_>>()),
        "{got:?} came; {done} were acknowledged, and at most {begun}"
    );
    drop(heir);
    cleaned(dir);
}

/// It has the last record, and a fellow sleeps until it is done with that.
fn last_of(dir: &Dir, killer: &mut dyn Killer, ring: Create) {
    let board = Board::get();
    let mut tx = Some(ring.producer().unwrap());
    tx.iter_mut().for_each(|tx| tx.send(&record(0)).unwrap());
    let fellow = Child::start(|| {
        board.until_stage(1);
        let worker = join(dir);
        board.set_stage(2);
        assert!(drain(&worker).len() <= 1);
        drop(worker);
    });
    let victim = |arm: Arm<'_>| {
        let worker = join(dir);
        let job = worker.recv().unwrap();
        board.set_stage(1);
        board.until_stage(4);
        arm();
        job.ack();
        forget(worker);
    };
    killer.run(Box::new(victim), &mut |_| match board.stage() {
        2 => {
            drop(tx.take());
            board.set_stage(3);
        }
        3 if fellow.is_asleep() => board.set_stage(4),
        _ => {}
    });
    fellow.finishes();
    cleaned(dir);
}

pub(super) fn last(dir: &Dir, killer: &mut dyn Killer) {
    last_of(dir, killer, dir.create());
}

pub(super) fn last_by_semaphore(dir: &Dir, killer: &mut dyn Killer) {
    last_of(dir, killer, dir.create().wake(Wake::Semaphore));
}

/// It sleeps until its fellow is done with the last record.
pub(super) fn wait_for_the_last(dir: &Dir, killer: &mut dyn Killer) {
    let board = Board::get();
    let mut tx = Some(dir.create().producer().unwrap());
    tx.iter_mut().for_each(|tx| tx.send(&record(0)).unwrap());
    let fellow = join(dir);
    let mut job = fellow.recv().ok();
    let victim = |arm: Arm<'_>| {
        let worker = join(dir);
        board.set_stage(1);
        board.until_stage(2);
        arm();
        assert_eq!(worker.recv().unwrap_err(), RecvError::Closed);
        forget(worker);
    };
    killer.run(Box::new(victim), &mut |child| match board.stage() {
        1 => {
            drop(tx.take());
            board.set_stage(2);
        }
        2 if child.is_asleep() => drop(job.take()),
        _ => {}
    });
    drop(job);
    assert_eq!(drain(&fellow), []);
    drop(fellow);
    cleaned(dir);
}

/// A producer that wakes one worker of two is killed; both go on with the next one.
pub(super) fn wake(dir: &Dir, killer: &mut dyn Killer) {
    let board = Board::get();
    let fellow = Child::start(|| {
        board.until_stage(1);
        let worker = join(dir);
        board.set_stage(2);
        // Until the producer's end, whichever that is.
        while let Ok(job) = worker.recv() {
            job.ack();
        }
    });
    let victim = |arm: Arm<'_>| {
        let mut tx = dir.create().producer().unwrap();
        board.set_stage(1);
        board.until_stage(3);
        arm();
        tx.send(&record(0)).unwrap();
        forget(tx);
    };
    killer.run(Box::new(victim), &mut |_| {
        if board.stage() == 2 && fellow.is_asleep() {
            board.set_stage(3);
        }
    });
    fellow.finishes();
    cleaned(dir);
}
