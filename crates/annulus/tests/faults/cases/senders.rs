//! A producer dies.

use std::mem::forget;
use std::time::{Duration, Instant};

use annulus::{Clock, Create, Producer, RecvError, TrySendError, Waiting, Wake};

use super::Killer;
use crate::board::Board;
use crate::check::{self, Dir, PATIENCE, What, Witnesses, cleaned, large, producer_died, record};
use crate::child::Child;

/// What a second child says when its producer is lost, with the number of records it has got.
const LOST: u64 = 1000;

/// Has a producer killed that does `body`, with witnesses attached before. Returns how many records it published.
fn sender(
    dir: &Dir,
    killer: &mut dyn Killer,
    ring: Create,
    (kinds, what): ([bool; 2], What),
    body: impl FnOnce(&mut Producer),
) -> u64 {
    let board = Board::get();
    let mut witnesses = None;
    let victim = |arm: super::Arm<'_>| {
        let mut tx = ring.producer().unwrap();
        board.set_stage(1);
        board.until_stage(2);
        arm();
        body(&mut tx);
        forget(tx);
    };
    killer.run(Box::new(victim), &mut |child| match board.stage() {
        1 => {
            witnesses = Some(Witnesses::attach(dir, kinds, what));
            board.set_stage(2);
        }
        3 => {
            witnesses.as_mut().unwrap().drain();
            board.set_stage(4);
        }
        // It waits for room.
        2 if child.is_asleep() => {
            witnesses.as_mut().unwrap().drain();
        }
        _ => {}
    });
    producer_died(dir, witnesses.unwrap())
}

const ALL: [bool; 2] = [true, true];
const IN_PLACE: [bool; 2] = [true, false];
const COPYING: [bool; 2] = [false, true];
const NONE: [bool; 2] = [false, false];

fn send_some(tx: &mut Producer, what: What, records: u64) {
    for n in 0..records {
        Board::get().sending(1, || tx.send(&what(n)).unwrap());
    }
}

pub(super) fn send(dir: &Dir, killer: &mut dyn Killer) {
    let payload = record(0);
    sender(dir, killer, dir.create(), (IN_PLACE, record), |tx| {
        Board::get().sending(1, || tx.send(&payload).unwrap());
    });
}

pub(super) fn send_large(dir: &Dir, killer: &mut dyn Killer) {
    let payload = large(0);
    sender(dir, killer, dir.create(), (IN_PLACE, large), |tx| {
        Board::get().sending(1, || tx.send(&payload).unwrap());
    });
}

pub(super) fn sends(dir: &Dir, killer: &mut dyn Killer) {
    sender(dir, killer, dir.create(), (ALL, record), |tx| send_some(tx, record, 7));
}

pub(super) fn batch(dir: &Dir, killer: &mut dyn Killer) {
    let payloads = [record(0), record(1), record(2)];
    let published = sender(dir, killer, dir.create(), (IN_PLACE, record), |tx| {
        Board::get().sending(3, || assert_eq!(tx.send_batch(&payloads).unwrap(), 3));
    });
    assert!(published == 0 || published == 3, "a part of a batch: {published}");
}

pub(super) fn claim(dir: &Dir, killer: &mut dyn Killer) {
    let payload = large(0);
    sender(dir, killer, dir.create(), (IN_PLACE, large), |tx| {
        Board::get().sending(1, || {
            let mut claim = tx.claim(payload.len() + 50).unwrap();
            // In parts whose edges lie within words, and not in order.
            claim.write_at(5, &payload[5..90]);
            claim.write_at(0, &payload[..5]);
            claim.write_at(90, &payload[90..]);
            claim.commit();
        });
    });
}

pub(super) fn dropped_claim(dir: &Dir, killer: &mut dyn Killer) {
    sender(dir, killer, dir.create(), (IN_PLACE, record), |tx| {
        tx.claim(100).unwrap().write_at(0, &[0xff; 100]);
        send_some(tx, record, 1);
        tx.claim(100).unwrap().write_at(40, &[0xff; 60]);
    });
}

pub(super) fn full(dir: &Dir, killer: &mut dyn Killer) {
    sender(dir, killer, dir.create(), (ALL, large), |tx| {
        let board = Board::get();
        for n in 0..9 {
            board.set_started(n + 1);
            while let Err(refused) = tx.try_send(&large(n)) {
                assert!(matches!(refused, TrySendError::Full(_)));
                board.set_stage(3);
                board.until_stage(4);
            }
            board.set_returned(n + 1);
        }
    });
}

pub(super) fn blocked(dir: &Dir, killer: &mut dyn Killer) {
    let ring = dir.create().waiting(Waiting::park_after(0));
    sender(dir, killer, ring, (IN_PLACE, large), |tx| send_some(tx, large, 7));
}

pub(super) fn blocked_on_a_semaphore(dir: &Dir, killer: &mut dyn Killer) {
    let ring = dir.create().waiting(Waiting::park_after(0)).wake(Wake::Semaphore);
    sender(dir, killer, ring, (COPYING, large), |tx| send_some(tx, large, 7));
}

pub(super) fn evict(dir: &Dir, killer: &mut dyn Killer) {
    let ring = dir.create().no_in_place().evict_after(Duration::ZERO);
    sender(dir, killer, ring, (COPYING, large), |tx| send_some(tx, large, 8));
}

pub(super) fn retain(dir: &Dir, killer: &mut dyn Killer) {
    sender(dir, killer, dir.create().retain(2), (NONE, large), |tx| send_some(tx, large, 14));
}

pub(super) fn stamped(dir: &Dir, killer: &mut dyn Killer) {
    let ring = dir.create().stamped(Clock::Monotonic);
    sender(dir, killer, ring, (ALL, record), |tx| {
        let board = Board::get();
        send_some(tx, record, 1);
        board.sending(3, || tx.send_batch((1..4).map(record)).unwrap());
        board.sending(1, || {
            let mut claim = tx.claim(2000).unwrap();
            claim.write_at(0, &record(4));
            claim.commit();
        });
    });
}

/// A reader in a child of its own that sleeps for the first record. It must get all that were published, and then
/// the end.
fn sleeper(dir: &Dir) -> Child {
    let board = Board::get();
    let reader = Child::start(|| {
        let rx = dir.open().waiting(Waiting::park_after(0)).subscribe().unwrap();
        board.set_other(1);
        let mut next = 0;
        let end = loop {
            match rx.recv() {
                Ok(got) => {
                    assert_eq!((got.sequence(), &*got), (next, &*record(next)));
                    next += 1;
                }
                Err(end) => break end,
            }
        };
        assert_eq!(end, RecvError::ProducerLost);
        board.set_other(LOST + next);
    });
    while board.other() == 0 || !reader.is_asleep() {
        std::thread::yield_now();
    }
    reader
}

fn wake_of(dir: &Dir, killer: &mut dyn Killer, ring: Create) {
    let board = Board::get();
    let (mut witnesses, mut reader) = (None, None);
    let victim = |arm: super::Arm<'_>| {
        let mut tx = ring.producer().unwrap();
        board.set_stage(1);
        board.until_stage(2);
        arm();
        send_some(&mut tx, record, 2);
        forget(tx);
    };
    killer.run(Box::new(victim), &mut |_| {
        if board.stage() == 1 {
            reader = Some(sleeper(dir));
            witnesses = Some(Witnesses::attach(dir, IN_PLACE, record));
            board.set_stage(2);
        }
    });
    let begin = Instant::now();
    while board.other() < LOST {
        assert!(begin.elapsed() < PATIENCE, "a reader sleeps for ever");
        std::thread::yield_now();
    }
    reader.unwrap().finishes();
    let mut witnesses = witnesses.unwrap();
    let published = witnesses.bereaved(&[RecvError::ProducerLost]);
    assert_eq!(board.other() - LOST, published, "the sleeping reader got something else");
    assert!((board.returned()..=board.started()).contains(&published));
    check::next_producer(dir, witnesses, published);
}

pub(super) fn wake(dir: &Dir, killer: &mut dyn Killer) {
    wake_of(dir, killer, dir.create());
}

pub(super) fn wake_by_semaphore(dir: &Dir, killer: &mut dyn Killer) {
    wake_of(dir, killer, dir.create().wake(Wake::Semaphore));
}

pub(super) fn close(dir: &Dir, killer: &mut dyn Killer) {
    let board = Board::get();
    let mut witnesses = None;
    let victim = |arm: super::Arm<'_>| {
        let mut tx = dir.create().producer().unwrap();
        board.set_stage(1);
        board.until_stage(2);
        send_some(&mut tx, record, 2);
        arm();
        drop(tx);
    };
    killer.run(Box::new(victim), &mut |_| {
        if board.stage() == 1 {
            witnesses = Some(Witnesses::attach(dir, ALL, record));
            board.set_stage(2);
        }
    });
    let mut witnesses = witnesses.unwrap();
    assert_eq!(witnesses.bereaved(&[RecvError::Closed, RecvError::ProducerLost]), 2);
    drop(witnesses);
    cleaned(dir);
}
