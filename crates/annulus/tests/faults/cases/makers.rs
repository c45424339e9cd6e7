//! Whoever makes a ring, takes one over or removes one dies.

use std::mem::forget;
use std::time::Instant;

use annulus::{Create, ErrorKind, RecvError, Start, Waiting, Wake};

use super::{Arm, Killer};
use crate::board::Board;
use crate::check::{Dir, PATIENCE, Witnesses, cleaned, explained, next_producer, producer_died, record};
use crate::child::{Child, State, doomed};

/// A ring with two records or three whose producer died at a point, or, where there are no points, after them all;
/// and who was attached then.
fn leftover(dir: &Dir, ring: Create, kinds: [bool; 2], point: &'static str) -> Witnesses {
    let board = Board::get();
    let mut producer = Child::start(|| {
        let mut tx = ring.producer().unwrap();
        board.set_stage(1);
        board.until_stage(2);
        for n in 0..2 {
            tx.send(&record(n)).unwrap();
        }
        doomed(point);
        tx.send(&record(2)).unwrap();
        crate::child::die();
    });
    board.until_stage(1);
    let witnesses = Witnesses::attach(dir, kinds, record);
    board.set_stage(2);
    assert_eq!(producer.state(true), State::Killed);
    board.clear();
    witnesses
}

/// Has the witnesses read what is there, and notes it as sent. Returns how many records that is.
fn there(witnesses: &mut Witnesses) -> u64 {
    let published = witnesses.drain();
    Board::get().set_returned(published);
    Board::get().set_started(published);
    published
}

/// A new ring, killed anywhere: it is there and whole, or it is not there; and its name can be had.
fn create_of(dir: &Dir, killer: &mut dyn Killer, ring: Create) {
    let board = Board::get();
    dir.remove();
    let victim = |arm: Arm<'_>| {
        arm();
        let mut tx = ring.producer().unwrap();
        board.sending(1, || tx.send(&record(0)).unwrap());
        forget(tx);
    };
    killer.run(Box::new(victim), &mut |_| {});
    dir.make();
    explained(dir);
    match dir.open().start(Start::Oldest).observe() {
        Ok(rx) => {
            drop(rx);
            let mut witnesses = Witnesses::attach(dir, [true, true], record);
            let published = witnesses.bereaved(&[RecvError::ProducerLost]);
            assert!((board.returned()..=board.started()).contains(&published));
            next_producer(dir, witnesses, published);
        }
        Err(error) => {
            assert_eq!(error.kind(), &ErrorKind::NotFound, "half a ring has the name");
            assert_eq!(board.returned(), 0, "a record was sent to a ring that nobody can open");
            cleaned(dir);
        }
    }
}

pub(super) fn create(dir: &Dir, killer: &mut dyn Killer) {
    create_of(dir, killer, dir.create());
}

pub(super) fn create_with_semaphores(dir: &Dir, killer: &mut dyn Killer) {
    create_of(dir, killer, dir.open_or_create().wake(Wake::Semaphore).schema(*b"what the records mean"));
}

/// A leftover is replaced: its readers keep what it held, and are told that another has its name.
pub(super) fn create_over(dir: &Dir, killer: &mut dyn Killer) {
    let mut witnesses = leftover(dir, dir.create(), [true, true], "Tail::publish");
    let victim = |arm: Arm<'_>| {
        arm();
        forget(dir.create().producer().unwrap());
    };
    killer.run(Box::new(victim), &mut |_| {});
    explained(dir);
    assert_eq!(witnesses.bereaved(&[RecvError::ProducerLost, RecvError::Replaced]), 3);
    let tx = dir.create().producer().expect("a leftover is replaced");
    assert_eq!(witnesses.end(), Some(RecvError::Replaced));
    drop((tx, witnesses));
    cleaned(dir);
}

/// A producer goes on where one died between its record and the words that count it.
pub(super) fn takeover(dir: &Dir, killer: &mut dyn Killer) {
    let board = Board::get();
    let mut witnesses = leftover(dir, dir.create(), [true, true], "Published::publish");
    let published = there(&mut witnesses);
    let (open, payload) = (dir.open(), record(published));
    let victim = |arm: Arm<'_>| {
        arm();
        let mut tx = open.producer().unwrap();
        board.sending(1, || tx.send(&payload).unwrap());
        forget(tx);
    };
    killer.run(Box::new(victim), &mut |_| {});
    producer_died(dir, witnesses);
}

/// The producer before has taken the declaration of a reader that sleeps, and died before it woke it.
pub(super) fn takeover_wakes(dir: &Dir, killer: &mut dyn Killer) {
    let board = Board::get();
    let ring = dir.create().wake(Wake::Semaphore);
    let mut first = Child::start(|| {
        let mut tx = ring.producer().unwrap();
        board.set_stage(1);
        board.until_stage(2);
        doomed("semaphore::post");
        tx.send(&record(0)).unwrap();
        crate::child::die();
    });
    board.until_stage(1);
    let reader = Child::start(|| {
        let rx = dir.open().stay().waiting(Waiting::park_after(0)).subscribe().unwrap();
        board.set_other(1);
        for n in 0..2 {
            assert_eq!(rx.recv().unwrap().sequence(), n);
            board.set_other(2 + n);
        }
    });
    while board.other() == 0 || !reader.is_asleep() {
        std::thread::yield_now();
    }
    let mut witnesses = Witnesses::attach(dir, [false, false], record);
    board.set_stage(2);
    assert_eq!(first.state(true), State::Killed);
    there(&mut witnesses);
    let victim = |arm: Arm<'_>| {
        arm();
        let mut tx = dir.open().producer().unwrap();
        board.sending(1, || tx.send(&record(1)).unwrap());
        forget(tx);
    };
    killer.run(Box::new(victim), &mut |_| {});
    // Whether or not the victim got so far, the reader has the first record, and gets the next.
    let published = witnesses.bereaved(&[RecvError::ProducerLost]);
    assert!((board.returned()..=board.started()).contains(&published));
    let mut tx = dir.open().producer().expect("the ring can be taken over");
    for n in published..2 {
        tx.send(&record(n)).unwrap();
    }
    let begin = Instant::now();
    while board.other() < 3 {
        assert!(begin.elapsed() < PATIENCE, "a reader sleeps for ever");
        std::thread::yield_now();
    }
    reader.finishes();
    drop((tx, witnesses));
    cleaned(dir);
}

/// A ring without a producer, and its first one.
pub(super) fn vacant(dir: &Dir, killer: &mut dyn Killer) {
    let board = Board::get();
    let victim = |arm: Arm<'_>| {
        arm();
        dir.create().persistent(true).without_producer().unwrap();
        let mut tx = dir.open_or_create().producer().unwrap();
        board.sending(1, || tx.send(&record(0)).unwrap());
        forget(tx);
    };
    killer.run(Box::new(victim), &mut |_| {});
    explained(dir);
    let mut tx = dir.open_or_create().persistent(true).producer().expect("nobody holds it");
    assert!((board.returned()..=board.started()).contains(&tx.sequence()));
    let mut witnesses = Witnesses::attach(dir, [true, true], record);
    for n in tx.sequence()..2 {
        tx.send(&record(n)).unwrap();
    }
    witnesses.go_on(2);
    drop(tx);
    drop(witnesses);
    dir.open().remove().unwrap();
    cleaned(dir);
}

/// A ring at rest is removed: it is there and whole, or it is not there.
pub(super) fn remove(dir: &Dir, killer: &mut dyn Killer) {
    let mut tx = dir.create().persistent(true).producer().unwrap();
    for n in 0..2 {
        tx.send(&record(n)).unwrap();
    }
    drop(tx);
    let victim = |arm: Arm<'_>| {
        arm();
        dir.open().remove().unwrap();
    };
    killer.run(Box::new(victim), &mut |_| {});
    explained(dir);
    if dir.open().observe().is_ok() {
        assert_eq!(Witnesses::attach(dir, [false, false], record).bereaved(&[RecvError::Closed]), 2);
    }
    match dir.open().remove() {
        Err(error) if error.is_not_found() => {}
        other => other.expect("it is not held"),
    }
    cleaned(dir);
}
