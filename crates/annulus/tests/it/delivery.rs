//! Every record, once, in order, whatever its size and wherever it lies.

use std::collections::VecDeque;
use std::rc::Rc;

use annulus::{Align, FenceMode, Producer, RecvError, Subscriber, TryRecvError, TrySendError, Waiting};

use crate::support::{Dir, Random, in_time, payload};

const ALIGNS: [Align; 2] = [Align::Line, Align::Packed];
const FENCES: [FenceMode; 3] = [FenceMode::Asymmetric, FenceMode::Symmetric, FenceMode::SpinOnly];

/// A ring, and a queue for each subscriber of what it has yet to see.
struct Checked {
    tx: Producer,
    readers: Vec<(Subscriber, VecDeque<Rc<[u8]>>)>,
    sequence: u64,
}

impl Checked {
    fn new(dir: &Dir, capacity: usize, align: Align, fence: FenceMode, readers: usize) -> Checked {
        let tx = dir.create("r").capacity(capacity).align(align).fence(fence).producer().unwrap();
        let readers = (0..readers).map(|_| (dir.open("r").subscribe().unwrap(), VecDeque::new())).collect();
        Checked { tx, readers, sequence: 0 }
    }

    /// Sends if there is room.
    fn send(&mut self, len: usize) -> bool {
        let record: Rc<[u8]> = payload(self.sequence, len).into();
        match self.tx.try_send(&record) {
            Ok(()) => {
                self.sequence += 1;
                for (_, waiting) in &mut self.readers {
                    waiting.push_back(Rc::clone(&record));
                }
                true
            }
            Err(TrySendError::Full(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// Lets a reader read so many, as far as there are any.
    fn read(&mut self, reader: usize, n: u64) {
        let (rx, waiting) = &mut self.readers[reader];
        for _ in 0..n {
            match (rx.try_recv(), waiting.pop_front()) {
                (Ok(record), Some(expected)) => assert_eq!(&*record, &*expected),
                (Err(TryRecvError::Empty), None) => break,
                (got, expected) => panic!("got {got:?}, expected {:?} bytes", expected.map(|e| e.len())),
            }
        }
    }

    fn finish(mut self) {
        for reader in 0..self.readers.len() {
            self.read(reader, u64::MAX);
        }
        drop(self.tx);
        for (rx, _) in &self.readers {
            assert_eq!(rx.sequence(), self.sequence);
            assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
        }
    }
}

/// Case 1: four readers each see every record once, in order; also one, two and three.
#[test]
fn every_record_once_in_order_for_each_reader() {
    let mut random = Random::new(1);
    for align in ALIGNS {
        for fence in FENCES {
            for capacity in [4096, 16384, 1 << 20] {
                for readers in 1..=4 {
                    let dir = Dir::new();
                    let mut ring = Checked::new(&dir, capacity, align, fence, readers);
                    let max = ring.tx.max_len() as u64;
                    let often = 1 + random.below(max.min(2000));
                    for _ in 0..1500 {
                        let limit = if random.below(10) == 0 { max + 1 } else { often };
                        let len = random.below(limit) as usize;
                        while !ring.send(len) {
                            let reader = random.below(readers as u64) as usize;
                            ring.read(reader, 1 + random.below(20));
                        }
                        if random.below(4) == 0 {
                            let reader = random.below(readers as u64) as usize;
                            ring.read(reader, random.below(8));
                        }
                    }
                    ring.finish();
                }
            }
        }
    }
}

/// Case 1: readers in threads of their own, at full speed, over many wraps.
#[test]
fn every_record_once_in_order_in_threads() {
    for (fence, waiting) in [
        (FenceMode::Asymmetric, Waiting::park()),
        (FenceMode::Asymmetric, Waiting::park_after(0)),
        (FenceMode::Symmetric, Waiting::park_after(0)),
        (FenceMode::SpinOnly, Waiting::yielding()),
    ] {
        in_time(move || {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(8192).fence(fence).waiting(waiting).producer().unwrap();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let rx = dir.open("r").waiting(waiting).subscribe().unwrap();
                    std::thread::spawn(move || {
                        let mut n = 0;
                        for record in &rx {
                            let record = record.unwrap();
                            assert_eq!(record.sequence(), n);
                            assert_eq!(&*record, payload(n, (n % 300) as usize));
                            n += 1;
                        }
                        n
                    })
                })
                .collect();
            for n in 0..20_000 {
                tx.send(&payload(n, (n % 300) as usize)).unwrap();
            }
            drop(tx);
            for thread in threads {
                assert_eq!(thread.join().unwrap(), 20_000);
            }
        });
    }
}

/// Case 7, and the smallest and the largest record: every size from 0 to the largest, with one reader that drains, never stalls.
#[test]
fn no_size_stalls_the_smallest_ring() {
    for align in ALIGNS {
        let dir = Dir::new();
        let mut ring = Checked::new(&dir, 4096, align, FenceMode::Asymmetric, 1);
        let max = ring.tx.max_len();
        for len in (0..=max).chain((0..=max).rev()) {
            assert!(ring.send(len), "a drained ring refused {len} bytes");
            ring.read(0, 1);
        }
        ring.finish();
    }
}

/// The largest record, again and again: each wraps at another place.
#[test]
fn the_largest_record_repeatedly() {
    for align in ALIGNS {
        for capacity in [4096, 65536] {
            let dir = Dir::new();
            let mut ring = Checked::new(&dir, capacity, align, FenceMode::Asymmetric, 1);
            let max = ring.tx.max_len();
            for _ in 0..300 {
                assert!(ring.send(max));
                assert!(!ring.send(max), "two largest records cannot both be in the ring");
                ring.read(0, 1);
            }
            ring.finish();
        }
    }
}

/// Case 7: records of 0 bytes before and after the wrap, until the ring is full and over many laps.
#[test]
fn empty_records() {
    for align in ALIGNS {
        let dir = Dir::new();
        let mut ring = Checked::new(&dir, 4096, align, FenceMode::Asymmetric, 2);
        for _ in 0..5000 {
            if !ring.send(0) {
                ring.read(0, 7);
                ring.read(1, 5);
            }
        }
        ring.finish();
    }
}

/// Case: a record that ends exactly at the capacity, and one that ends a word before and after it.
#[test]
fn a_record_that_ends_exactly_at_the_capacity() {
    for last in [0_usize, 8, 56, 64, 1000, 2040] {
        for off in [-8_isize, 0, 8] {
            let dir = Dir::new();
            let mut ring = Checked::new(&dir, 4096, Align::Packed, FenceMode::Asymmetric, 1);
            // Each record takes 8 bytes more than its payload, rounded up to 8.
            let first = (4096 - (8 + last) as isize + off) as usize - 8;
            for _ in 0..3 {
                let room = first <= ring.tx.max_len();
                let lens = if room { vec![first] } else { vec![first - 80, 72] };
                for len in lens.into_iter().chain([last, 24, 4096 - 8 - 24 - 8 - off.max(0) as usize]) {
                    assert!(ring.send(len.min(ring.tx.max_len())));
                    ring.read(0, 1);
                }
            }
            ring.finish();
        }
    }
}

/// A reader that joins late sees what comes after it, from the right number on.
#[test]
fn a_late_reader_begins_with_the_next_record() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    for n in 0..1000_u64 {
        let rx = dir.open("r").subscribe().unwrap();
        assert_eq!(rx.sequence(), n);
        tx.send(&n.to_le_bytes()).unwrap();
        let record = rx.recv().unwrap();
        assert_eq!((record.sequence(), &*record), (n, &n.to_le_bytes()[..]));
    }
}

/// Case 8: once `subscribe` has returned no later record is missed, at full speed of the producer.
#[test]
fn joins_at_full_speed_miss_nothing() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    for capacity in [4096, 1 << 20] {
        in_time(move || {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(capacity).producer().unwrap();
            let over = Arc::new(AtomicBool::new(false));
            let sender = std::thread::spawn({
                let over = Arc::clone(&over);
                move || {
                    let mut n = 0_u64;
                    while !over.load(Ordering::Relaxed) {
                        tx.send(&n.to_le_bytes()).unwrap();
                        n += 1;
                    }
                    drop(tx);
                    n
                }
            });
            for _ in 0..500 {
                let rx = dir.open("r").subscribe().unwrap();
                let first = rx.sequence();
                for n in first..first + 20 {
                    let record = rx.recv().unwrap();
                    assert_eq!((record.sequence(), &*record), (n, &n.to_le_bytes()[..]));
                }
            }
            over.store(true, Ordering::Relaxed);
            assert!(sender.join().unwrap() > 0);
        });
    }
}
