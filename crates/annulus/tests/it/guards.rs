//! Records held in place, and given back in any order.

use annulus::{Align, Producer, Subscriber, TrySendError, Waiting};

use crate::support::{Dir, Random, in_time, payload};

fn ring(dir: &Dir, capacity: usize, align: Align) -> (Producer, Subscriber) {
    let tx = dir.create("r").capacity(capacity).align(align).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    (tx, rx)
}

/// Sends as many one-line records as fit.
fn fill(tx: &mut Producer) -> usize {
    (0..).take_while(|_| tx.try_send(&[1; 56]).is_ok()).count()
}

/// Every order of 0 to `n` - 1.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for shorter in permutations(n - 1) {
        for at in 0..n {
            let mut longer = shorter.clone();
            longer.insert(at, n - 1);
            all.push(longer);
        }
    }
    all
}

/// Case 10: all orders of release of 5 records: the producer gets the space of those before the oldest still held, and
/// in the end exactly all of it.
#[test]
fn every_order_of_release() {
    let orders = permutations(5);
    assert_eq!(orders.len(), 120);
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, 4096, Align::Line);
    // Everything is let go and the place moves on, so the orders meet every place in the ring.
    for order in &orders {
        for n in 0..5 {
            tx.try_send(&[n; 56]).unwrap();
        }
        let mut held: Vec<_> = (0..5).map(|_| Some(rx.recv().unwrap())).collect();
        assert_eq!(rx.held_bytes(), 5 * 64);
        assert_eq!(fill(&mut tx), 58);
        for &i in order {
            let record = held[i].take().unwrap();
            assert_eq!(&*record, [i as u8; 56]);
            drop(record);
            let oldest = held.iter().position(Option::is_some).unwrap_or(5);
            assert_eq!(rx.held_bytes(), (5 - oldest as u64) * 64, "{order:?}");
        }
        // 5 lines came back, and no more.
        assert_eq!(fill(&mut tx), 5, "{order:?}");
        while rx.try_recv().is_ok() {}
        assert_eq!(rx.held_bytes(), 0);
    }
}

/// Case 10: a record pins its own bytes and those behind it, and nothing else.
#[test]
fn an_old_record_pins_what_lies_behind_it() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, 4096, Align::Line);
    for lap in 0..10_u8 {
        tx.send(&[lap; 56]).unwrap();
        let oldest = rx.recv().unwrap();
        assert_eq!(fill(&mut tx), 62);
        while rx.try_recv().is_ok() {}
        assert_eq!(rx.held_bytes(), 63 * 64);
        assert!(matches!(tx.try_send(&[0; 56]), Err(TrySendError::Full(b)) if b.bytes == 63 * 64));
        assert_eq!(&*oldest, [lap; 56]);
        drop(oldest);
        assert_eq!(fill(&mut tx), 63);
        while rx.try_recv().is_ok() {}
    }
}

/// 10,000 records, of any size, held over wraps and given back in random order; what is held never changes.
#[test]
fn random_orders_over_wraps() {
    for align in [Align::Line, Align::Packed] {
        let dir = Dir::new();
        let (mut tx, rx) = ring(&dir, 8192, align);
        let mut random = Random::new(5);
        let mut held = Vec::new();
        let (mut sent, mut received) = (0, 0);
        while received < 10_000 {
            let len = random.below(200) as usize;
            while tx.try_send(&payload(sent, len)).is_err() {
                if held.is_empty() {
                    break;
                }
                let at = random.below(held.len() as u64) as usize;
                let (n, record): (u64, annulus::Record<'_>) = held.swap_remove(at);
                assert_eq!(&*record, payload(n, record.len()));
            }
            sent = tx.sequence();
            while let Ok(record) = rx.try_recv() {
                assert_eq!(record.sequence(), received);
                held.push((received, record));
                received += 1;
            }
        }
        while !held.is_empty() {
            let at = random.below(held.len() as u64) as usize;
            held.swap_remove(at);
        }
        assert_eq!(rx.held_bytes(), 0);
        // The whole ring is room again.
        let max = tx.max_len();
        tx.try_send(&vec![1; max]).unwrap();
    }
}

/// Thousands held at once, the whole ring of them, given back in random order.
#[test]
fn a_whole_ring_of_records_held() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, 1 << 17, Align::Packed);
    let mut random = Random::new(6);
    for _ in 0..3 {
        let n = tx.try_send_batch(std::iter::repeat_n([7_u8; 5], 1 << 20)).unwrap();
        assert_eq!(n, (1 << 17) / 16 - 1);
        let mut held: Vec<_> = (0..n).map(|_| rx.recv().unwrap()).collect();
        while !held.is_empty() {
            let at = random.below(held.len() as u64) as usize;
            assert_eq!(&*held.swap_remove(at), [7; 5]);
        }
        assert_eq!(rx.held_bytes(), 0);
    }
}

/// Case 10: a subscriber that is dropped frees the producer, records unread or not.
#[test]
fn a_dropped_subscriber_frees_the_producer() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, 4096, Align::Line);
    for rx in [rx, dir.open("r").subscribe().unwrap()] {
        fill(&mut tx);
        drop(rx.recv());
        drop(rx);
    }
    assert!(fill_many(&mut tx));
    assert_eq!(dir.open("r").info().unwrap().subscribers.len(), 0);
}

fn fill_many(tx: &mut Producer) -> bool {
    (0..1000).all(|_| tx.try_send(&[1; 56]).is_ok())
}

/// Nothing rests on a destructor: a claim that is left alone sends nothing, and a record that is forgotten holds the
/// producer back, whatever else is given back, until its subscriber goes.
#[test]
fn what_is_forgotten() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, 4096, Align::Line);
    let mut claim = tx.claim(56).unwrap();
    claim.write_at(0, &[9; 56]);
    // A claim has no destructor: this is all there is of dropping one, too.
    tx.send(&[1; 8]).unwrap();
    let record = rx.recv().unwrap();
    assert_eq!((&*record, record.sequence()), (&[1; 8][..], 0));
    std::mem::forget(record);
    fill(&mut tx);
    while let Ok(record) = rx.try_recv() {
        assert_eq!(*record, [1; 56]);
    }
    assert!(matches!(tx.try_send(&[2; 56]), Err(TrySendError::Full(_))));
    drop(rx);
    assert!(fill_many(&mut tx));
}

/// Case 10: a reader that panics with a record in its hands frees the producer.
#[test]
fn a_reader_that_panics_frees_the_producer() {
    in_time(|| {
        let dir = Dir::new();
        let (mut tx, rx) = ring(&dir, 4096, Align::Line);
        tx.set_waiting(Waiting::park_after(0));
        fill(&mut tx);
        let reader = std::thread::spawn(move || {
            let _first = rx.recv().unwrap();
            let _second = rx.recv().unwrap();
            std::panic::resume_unwind(Box::new("the handler failed"));
        });
        for _ in 0..1000 {
            tx.send(&[2; 56]).unwrap();
        }
        assert!(reader.join().is_err());
    });
}

/// A slow reader holds the ring for all; a fast one beside it is not given anything twice.
#[test]
fn readers_hold_independently() {
    let dir = Dir::new();
    let (mut tx, slow) = ring(&dir, 4096, Align::Line);
    let fast = dir.open("r").subscribe().unwrap();
    let n = fill(&mut tx);
    assert_eq!((0..n).map(|_| fast.recv().unwrap().len()).sum::<usize>(), n * 56);
    assert!(fast.try_recv().is_err());
    assert_eq!((fast.held_bytes(), tx.try_send(b"").is_err()), (0, true));
    let held: Vec<_> = (0..n).map(|_| slow.recv().unwrap()).collect();
    assert!(tx.try_send(b"").is_err());
    drop(held);
    assert_eq!(fill(&mut tx), n);
}
