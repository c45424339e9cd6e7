//! Room for a record, written in pieces.

use std::io::{ErrorKind, Write};

use annulus::{Align, Producer, SendError, Subscriber, TryRecvError, TrySendError};

use crate::support::{Dir, Random};

fn ring(dir: &Dir, align: Align) -> (Producer, Subscriber) {
    let tx = dir.create("r").capacity(4096).align(align).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    (tx, rx)
}

/// Leaves 0xff in every byte of the ring that a record can have.
fn soil(tx: &mut Producer, rx: &Subscriber) {
    for _ in 0..3 {
        for len in [tx.max_len(), 1000, 8] {
            tx.send(&vec![0xff; len]).unwrap();
            drop(rx.recv().unwrap());
        }
    }
}

/// Case 6: a claim dropped without commit leaves nothing, also at the wrap.
#[test]
fn a_dropped_claim_leaves_nothing() {
    for align in [Align::Line, Align::Packed] {
        let dir = Dir::new();
        let (mut tx, rx) = ring(&dir, align);
        let mut random = Random::new(3);
        for n in 0..3000_u64 {
            let len = random.below(tx.max_len() as u64 + 1) as usize;
            let mut claim = tx.claim(len).unwrap();
            claim.write_all(&vec![0xff; len]).unwrap();
            drop(claim);
            assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
            assert_eq!(tx.sequence(), n);
            tx.send(&n.to_le_bytes()[..(n % 9) as usize]).unwrap();
            let record = rx.recv().unwrap();
            assert_eq!((record.sequence(), &*record), (n, &n.to_le_bytes()[..(n % 9) as usize]));
        }
    }
}

/// Case 6: a claim dropped after a batch, and a batch after a dropped claim: only what was sent comes.
#[test]
fn a_dropped_claim_between_batches() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, Align::Packed);
    for n in 0..2000_u64 {
        tx.send_batch([[1_u8; 20], [2; 20]]).unwrap();
        let mut claim = tx.claim(2000).unwrap();
        claim.write_at((n % 1900) as usize, &[0xff; 100]);
        drop(claim);
        tx.send_batch([[3_u8; 20]]).unwrap();
        for byte in 1..=3 {
            assert_eq!(&*rx.recv().unwrap(), [byte; 20]);
        }
        assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
    }
}

/// Writing past the end writes what fits and then nothing, as `io::Write` says.
#[test]
fn a_write_past_the_end() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, Align::Line);
    let mut claim = tx.claim(5).unwrap();
    assert_eq!(claim.write(b"abc").unwrap(), 3);
    assert_eq!(claim.write(b"defg").unwrap(), 2);
    assert_eq!(claim.write(b"h").unwrap(), 0);
    assert_eq!(claim.write_all(b"h").unwrap_err().kind(), ErrorKind::WriteZero);
    claim.flush().unwrap();
    assert_eq!((claim.written(), claim.claimed()), (5, 5));
    claim.commit();
    assert_eq!(&*rx.recv().unwrap(), b"abcde");
}

#[test]
#[should_panic(expected = "past the 8 claimed")]
fn write_at_past_the_end_panics() {
    let dir = Dir::new();
    let (mut tx, _rx) = ring(&dir, Align::Line);
    tx.claim(8).unwrap().write_at(7, b"ab");
}

#[test]
#[should_panic(expected = "past the 8 claimed")]
fn write_at_an_absurd_offset_panics() {
    let dir = Dir::new();
    let (mut tx, _rx) = ring(&dir, Align::Line);
    tx.claim(8).unwrap().write_at(usize::MAX, b"ab");
}

/// A gap that was never written reads as zeros, whatever stood there before.
#[test]
fn gaps_are_zeros() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, Align::Packed);
    soil(&mut tx, &rx);
    for at in (0..100).chain([255, 1000, 2500]) {
        let mut claim = tx.claim(3000).unwrap();
        claim.write_at(at, b"x");
        claim.write_at(at + 13, b"yz");
        assert_eq!(claim.written(), at + 15);
        claim.commit();
        let mut expected = vec![0; at + 15];
        expected[at] = b'x';
        expected[at + 13..].copy_from_slice(b"yz");
        assert_eq!(&*rx.recv().unwrap(), expected);
        soil(&mut tx, &rx);
    }
}

/// An empty piece behind a gap makes the record as long as the gap.
#[test]
fn an_empty_piece_behind_a_gap() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, Align::Line);
    soil(&mut tx, &rx);
    let mut claim = tx.claim(100).unwrap();
    claim.write_at(77, b"");
    claim.commit();
    assert_eq!(&*rx.recv().unwrap(), [0; 77]);
}

/// Pieces of any length at any offset, over one another and in any order, against a plain vector.
#[test]
fn pieces_in_any_order() {
    for align in [Align::Line, Align::Packed] {
        let dir = Dir::new();
        let (mut tx, rx) = ring(&dir, align);
        soil(&mut tx, &rx);
        let mut random = Random::new(4);
        for _ in 0..3000 {
            let len = 1 + random.below(300) as usize;
            let mut expected = Vec::new();
            let mut claim = tx.claim(len).unwrap();
            for _ in 0..random.below(12) {
                let at = random.below(len as u64) as usize;
                let n = random.below((len - at) as u64 + 1) as usize;
                let piece: Vec<u8> = (0..n).map(|_| random.next() as u8).collect();
                claim.write_at(at, &piece);
                if expected.len() < at + n {
                    expected.resize(at + n, 0);
                }
                expected[at..at + n].copy_from_slice(&piece);
            }
            assert_eq!(claim.written(), expected.len());
            claim.commit();
            assert_eq!(&*rx.recv().unwrap(), expected);
        }
    }
}

/// Less committed than was claimed: the record is what was written, the rest is room again.
#[test]
fn less_than_was_claimed() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, Align::Line);
    for n in 0..63_u8 {
        let mut claim = tx.claim(56).unwrap();
        claim.write_all(&[n; 3]).unwrap();
        claim.commit();
    }
    assert!(matches!(tx.try_claim(0), Err(TrySendError::Full(_))));
    for n in 0..63_u8 {
        assert_eq!(&*rx.recv().unwrap(), [n; 3]);
    }
    // A large claim, little of it used, leaves the rest for others.
    let max = tx.max_len();
    tx.claim(max).unwrap().commit();
    tx.try_send(&vec![7; max - 64]).unwrap();
    assert_eq!(rx.recv().unwrap().len(), 0);
    assert_eq!(&*rx.recv().unwrap(), vec![7; max - 64]);
}

#[test]
fn claims_of_nothing_and_of_too_much() {
    let dir = Dir::new();
    let (mut tx, rx) = ring(&dir, Align::Line);
    let claim = tx.claim(0).unwrap();
    assert_eq!((claim.written(), claim.claimed()), (0, 0));
    claim.commit();
    assert!(rx.recv().unwrap().is_empty());
    let max = tx.max_len();
    for len in [max + 1, 1 << 60, usize::MAX] {
        assert_eq!(tx.claim(len).unwrap_err(), SendError::TooLarge { len, max });
        assert_eq!(tx.try_claim(len).unwrap_err(), TrySendError::TooLarge { len, max });
    }
    assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
}
