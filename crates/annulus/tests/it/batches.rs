//! Many records at once.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annulus::{RecvError, SendError, TryRecvError, Waiting};

use crate::support::{Dir, Random, in_time, payload, thread_id, until, until_asleep};

/// Case 4: a batch larger than the ring goes in parts, with a reader that was asleep when it began.
#[test]
fn a_batch_larger_than_the_ring_with_a_sleeping_reader() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).waiting(Waiting::park_after(0)).producer().unwrap();
        let rx = dir.open("r").waiting(Waiting::park_after(0)).subscribe().unwrap();
        let (say, tid) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            say.send(thread_id()).unwrap();
            let mut n = 0;
            for record in &rx {
                assert_eq!(&*record.unwrap(), payload(n, (n % 200) as usize));
                n += 1;
            }
            n
        });
        until_asleep(tid.recv().unwrap());
        assert_eq!(tx.send_batch((0..10_000).map(|n| payload(n, (n % 200) as usize))), Ok(10_000));
        drop(tx);
        assert_eq!(reader.join().unwrap(), 10_000);
    });
}

/// Case 4: an empty batch sends nothing and wakes nobody into anything.
#[test]
fn an_empty_batch() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    assert_eq!(tx.send_batch(Vec::<Vec<u8>>::new()), Ok(0));
    assert_eq!(tx.try_send_batch(Vec::<Vec<u8>>::new()), Ok(0));
    assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(tx.sequence(), 0);
}

/// A reader that saw the first record of a batch that fits sees all of them without waiting.
#[test]
fn a_batch_that_fits_becomes_visible_at_once() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(16384).producer().unwrap();
        let rx = dir.open("r").subscribe().unwrap();
        let read = Arc::new(AtomicU64::new(0));
        let reader = std::thread::spawn({
            let read = Arc::clone(&read);
            move || {
                loop {
                    let first = match rx.recv() {
                        Ok(record) => record,
                        Err(end) => return end,
                    };
                    let size = u64::from(first[0]);
                    for i in 1..size {
                        let record = rx.try_recv().expect("the rest of the batch is there");
                        assert_eq!(u64::from(record[1]), i);
                    }
                    read.fetch_add(size, Ordering::Release);
                }
            }
        });
        let mut random = Random::new(2);
        let mut sent = 0;
        for _ in 0..5000 {
            let size = 1 + random.below(60) as u8;
            let records = (0..size).map(|i| {
                let mut record = vec![0; 2 + random.below(150) as usize];
                (record[0], record[1]) = (size, i);
                record
            });
            sent += tx.send_batch(records).unwrap();
            // An empty ring, so that the next batch fits.
            until("the batch is read", || read.load(Ordering::Acquire) == sent);
        }
        drop(tx);
        assert_eq!(reader.join().unwrap(), RecvError::Closed);
    });
}

/// A record that is too long ends the batch; those before it were sent, those behind it not.
#[test]
fn a_record_too_long_inside_a_batch() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    let max = tx.max_len();
    let records = [vec![1; 10], vec![2; 10], vec![3; max + 1], vec![4; 10]];
    let error = SendError::TooLarge { len: max + 1, max };
    assert_eq!(tx.send_batch(&records), Err(error));
    assert_eq!(tx.try_send_batch(&records), Err(error));
    assert_eq!(tx.sequence(), 4);
    for n in [1, 2, 1, 2] {
        assert_eq!(&*rx.recv().unwrap(), [n; 10]);
    }
    assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(tx.send_batch(&records[2..]), Err(error));
    assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
}

/// Case 4, and a batch publish that forgets the limit: a batch obeys back-pressure: what fits is sent, and no more.
#[test]
fn a_batch_obeys_the_limit() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    // 63 lines of 64: the last keeps the zero behind the last record.
    assert_eq!(tx.try_send_batch((0..200_u64).map(u64::to_le_bytes)), Ok(63));
    assert_eq!(tx.try_send_batch([[0_u8; 8]]), Ok(0));
    for n in 0..10_u64 {
        assert_eq!(&*rx.recv().unwrap(), n.to_le_bytes());
    }
    assert_eq!(tx.try_send_batch((63..200_u64).map(u64::to_le_bytes)), Ok(10));
    for n in 10..73_u64 {
        assert_eq!(&*rx.recv().unwrap(), n.to_le_bytes());
    }
    assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
}

/// Case 6: an iterator that panics leaves nothing of its batch, at any place and over the wrap.
#[test]
fn a_batch_given_up_leaves_nothing() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    for round in 0..500_u64 {
        let given_up = catch_unwind(AssertUnwindSafe(|| {
            tx.send_batch((0..=round % 9).map(|i| {
                if i == round % 9 {
                    resume_unwind(Box::new("given up"));
                }
                vec![0xff_u8; 1 + (round % 300) as usize]
            }))
        }));
        assert!(given_up.is_err());
        assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
        tx.send(&round.to_le_bytes()).unwrap();
        let record = rx.recv().unwrap();
        assert_eq!((record.sequence(), &*record), (round, &round.to_le_bytes()[..]));
    }
}
