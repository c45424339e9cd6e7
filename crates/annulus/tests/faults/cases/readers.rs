//! A subscriber dies.

use std::mem::forget;
use std::time::{Duration, Instant};

use annulus::{CopyError, Create, Producer, RecvError, Start, Waiting, Wake};

use super::{Arm, Killer};
use crate::board::Board;
use crate::check::{Dir, PATIENCE, Witnesses, cleaned, large};
use crate::child::{Child, State};

/// A producer in this process, with records in its ring, and its witnesses.
fn stage(dir: &Dir, ring: Create, kinds: [bool; 2], records: u64) -> (Producer, Witnesses) {
    let mut tx = ring.producer().unwrap();
    let mut witnesses = Witnesses::attach(dir, kinds, large);
    for n in 0..records {
        tx.send(&large(n)).unwrap();
        witnesses.drain();
    }
    (tx, witnesses)
}

/// The producer and the others go on, whatever the dead one held, and its place is free again.
fn reader_died(dir: &Dir, mut tx: Producer, mut witnesses: Witnesses) {
    let from = tx.sequence();
    for n in from..from + 10 {
        tx.send_timeout(&large(n), PATIENCE).expect("a producer is freed of a dead reader");
        witnesses.go_on(n + 1);
    }
    // Three places, and one is a witness's.
    let places = [(); 2].map(|()| dir.open().subscribe_copying().expect("a dead reader's place can be had"));
    drop(places);
    drop(tx);
    if let Some(end) = witnesses.end() {
        assert_eq!(end, RecvError::Closed);
    }
    drop(witnesses);
    cleaned(dir);
}

pub(super) fn join(dir: &Dir, killer: &mut dyn Killer) {
    let (tx, witnesses) = stage(dir, dir.create(), [true, false], 2);
    let open = dir.open();
    let victim = |arm: Arm<'_>| {
        arm();
        forget(open.subscribe().unwrap());
    };
    killer.run(Box::new(victim), &mut |_| {});
    reader_died(dir, tx, witnesses);
}

pub(super) fn join_oldest(dir: &Dir, killer: &mut dyn Killer) {
    let (tx, witnesses) = stage(dir, dir.create(), [true, false], 6);
    let victim = |arm: Arm<'_>| {
        arm();
        let rx = dir.open().start(Start::Oldest).subscribe().unwrap();
        drop(rx.recv().unwrap());
        forget(rx);
    };
    killer.run(Box::new(victim), &mut |_| {});
    reader_died(dir, tx, witnesses);
}

pub(super) fn release(dir: &Dir, killer: &mut dyn Killer) {
    let (tx, witnesses) = stage(dir, dir.create(), [true, false], 3);
    let victim = |arm: Arm<'_>| {
        let rx = dir.open().start(Start::Oldest).subscribe().unwrap();
        let [a, b, c] = [(); 3].map(|()| rx.recv().unwrap());
        arm();
        drop(b);
        drop(a);
        drop(c);
        drop(rx);
    };
    killer.run(Box::new(victim), &mut |_| {});
    reader_died(dir, tx, witnesses);
}

pub(super) fn copying(dir: &Dir, killer: &mut dyn Killer) {
    let (tx, witnesses) = stage(dir, dir.create(), [true, false], 3);
    let victim = |arm: Arm<'_>| {
        arm();
        let mut rx = dir.open().start(Start::Oldest).subscribe_copying().unwrap();
        let mut buf = [0; 1000];
        for n in 0..3 {
            let got = rx.recv(&mut buf[..]).unwrap();
            assert_eq!((got.sequence, &buf[..got.len]), (n, &*large(n)));
        }
        drop(rx);
    };
    killer.run(Box::new(victim), &mut |_| {});
    reader_died(dir, tx, witnesses);
}

pub(super) fn lagging(dir: &Dir, killer: &mut dyn Killer) {
    let board = Board::get();
    let ring = dir.create().no_in_place().evict_after(Duration::ZERO);
    let (mut tx, mut witnesses) = stage(dir, ring, [false, true], 1);
    let victim = |arm: Arm<'_>| {
        let mut rx = dir.open().subscribe_copying().unwrap();
        board.set_stage(1);
        board.until_stage(2);
        arm();
        let mut buf = [0; 1000];
        let lost = rx.recv(&mut buf[..]);
        assert!(matches!(lost, Err(CopyError::Lagged(_))), "{lost:?}");
        rx.recv(&mut buf[..]).unwrap();
        drop(rx);
    };
    killer.run(Box::new(victim), &mut |_| {
        if board.stage() == 1 {
            for n in 1..10 {
                tx.send(&large(n)).unwrap();
                witnesses.drain();
            }
            board.set_stage(2);
        }
    });
    reader_died(dir, tx, witnesses);
}

/// A reader that sleeps until a record comes.
fn sleep_of(dir: &Dir, killer: &mut dyn Killer, ring: Create) {
    let (mut tx, mut witnesses) = stage(dir, ring, [true, false], 0);
    let board = Board::get();
    let victim = |arm: Arm<'_>| {
        let rx = dir.open().waiting(Waiting::park_after(0)).subscribe().unwrap();
        board.set_stage(1);
        arm();
        drop(rx.recv().unwrap());
        forget(rx);
    };
    killer.run(Box::new(victim), &mut |child| {
        if board.stage() == 1 && tx.sequence() == 0 && child.is_asleep() {
            tx.send(&large(0)).unwrap();
            witnesses.drain();
        }
    });
    reader_died(dir, tx, witnesses);
}

pub(super) fn sleep(dir: &Dir, killer: &mut dyn Killer) {
    sleep_of(dir, killer, dir.create());
}

pub(super) fn sleep_on_a_semaphore(dir: &Dir, killer: &mut dyn Killer) {
    sleep_of(dir, killer, dir.create().wake(Wake::Semaphore));
}

/// A reader that frees a producer which sleeps for room, in a process of its own.
fn free_of(dir: &Dir, killer: &mut dyn Killer, ring: Create) {
    const RECORDS: u64 = 8;
    let board = Board::get();
    let mut producer = Child::start(|| {
        let mut tx = ring.waiting(Waiting::park_after(0)).producer().unwrap();
        board.set_stage(1);
        board.until_stage(2);
        for n in 0..RECORDS {
            tx.send(&large(n)).unwrap();
        }
        board.set_other(1);
        board.until_stage(9);
    });
    board.until_stage(1);
    let mut witnesses = Witnesses::attach(dir, [false, false], large);
    let victim = |arm: Arm<'_>| {
        let rx = dir.open().subscribe().unwrap();
        board.set_stage(2);
        board.until_stage(3);
        arm();
        for _ in 0..RECORDS {
            drop(rx.recv().unwrap());
        }
        forget(rx);
    };
    killer.run(Box::new(victim), &mut |_| {
        if board.stage() == 2 && producer.is_asleep() {
            board.set_stage(3);
        }
    });
    let begin = Instant::now();
    while board.other() == 0 {
        assert_eq!(producer.state(false), State::Running);
        assert!(begin.elapsed() < PATIENCE, "a producer waits for a dead reader");
        std::thread::yield_now();
    }
    board.set_stage(9);
    producer.finishes();
    assert_eq!(witnesses.bereaved(&[RecvError::Closed]), RECORDS);
    drop(witnesses);
    cleaned(dir);
}

pub(super) fn free(dir: &Dir, killer: &mut dyn Killer) {
    free_of(dir, killer, dir.create());
}

pub(super) fn free_by_semaphore(dir: &Dir, killer: &mut dyn Killer) {
    free_of(dir, killer, dir.create().wake(Wake::Semaphore));
}
