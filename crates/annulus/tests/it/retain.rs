//! Records that are kept for those who come later.

use annulus::{Align, Create, ErrorKind, Start, TrySendError, Who};

use crate::copiers::{KINDS, Kind};
use crate::support::{Dir, no_forks, payload};

fn len_of(n: u64) -> usize {
    (n * 29 % 120) as usize
}

/// Bytes that a record takes.
fn need(align: Align, len: usize) -> u64 {
    (8 + len as u64).next_multiple_of(if align == Align::Line { 64 } else { 8 })
}

/// What a late joiner of any kind finds: its first sequence.
fn oldest(dir: &Dir, start: Start, published: u64) -> u64 {
    let first = dir.open("r").start(start).subscribe().unwrap().sequence();
    let mut buf = Vec::new();
    for kind in KINDS {
        let mut rx = kind.open(dir.open("r").start(start));
        assert_eq!(rx.sequence(), first, "{kind:?}");
        for n in first..published {
            assert_eq!(rx.try_recv_into(&mut buf).unwrap().sequence, n);
            assert!(buf == payload(n, len_of(n)));
        }
        assert_eq!(rx.lost(), 0);
    }
    first
}

/// The newest records are all there if the ring holds them and the next header; if not, the oldest go first.
#[test]
fn the_newest_are_kept() {
    for align in [Align::Line, Align::Packed] {
        for retain in [1, 2, 3, 10, 30, 40, 63] {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).align(align).retain(retain).producer().unwrap();
            assert_eq!(dir.open("r").info().unwrap().retain, retain);
            for n in 0..400 {
                tx.try_send(&payload(n, len_of(n))).unwrap();
                if n % 3 != 0 {
                    continue;
                }
                // As many of the newest as the ring holds with a header behind them.
                let (mut first, mut bytes) = (n + 1, 8);
                while first > 0 && n + 1 - first < retain && bytes + need(align, len_of(first - 1)) <= 4096 {
                    first -= 1;
                    bytes += need(align, len_of(first));
                }
                assert_eq!(oldest(&dir, Start::Last(retain), n + 1), first, "{retain} retained, {align} {n}");
                assert!(oldest(&dir, Start::Oldest, n + 1) <= first);
            }
        }
    }
}

/// Retaining never makes a send wait: a ring without subscribers is never full, whatever it retains.
#[test]
fn retaining_is_no_reader() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).retain(63).producer().unwrap();
    for n in 0..10_000 {
        tx.try_send(&payload(n, (n * 173 % 4025) as usize)).unwrap();
    }
    let batch = (0..1000_u64).map(|n| payload(n, (n * 173 % 4025) as usize));
    assert_eq!(tx.send_batch(batch), Ok(1000));
    let info = dir.open("r").info().unwrap();
    assert_eq!((info.full, info.sleeps, info.published), (0, 0, 11_000));
    // One that fills the ring is the only one there.
    let max = tx.max_len();
    tx.try_send(&vec![1; max]).unwrap();
    let late = dir.open("r").start(Start::Last(63)).subscribe().unwrap();
    assert_eq!(late.recv().unwrap().len(), max);
}

/// With subscribers: a late one holds what was retained from when it has joined, and the ring is full by it only.
#[test]
fn retaining_with_subscribers() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).retain(20).producer().unwrap();
    (0..500).for_each(|n| tx.try_send(&payload(n, 56)).unwrap());
    let late = dir.open("r").start(Start::Last(20)).subscribe().unwrap();
    let early = dir.open("r").subscribe().unwrap();
    assert_eq!((late.sequence(), early.sequence()), (480, 500));
    let fit = (500..).take_while(|&n| tx.try_send(&payload(n, 56)).is_ok()).count();
    assert_eq!(fit, 63 - 20);
    assert!(matches!(tx.try_send(b""), Err(TrySendError::Full(behind)) if behind.who == Who::Slot(0)));
    for n in 480..543 {
        assert_eq!(&*late.recv().unwrap(), payload(n, 56));
    }
    assert!(matches!(tx.try_send(&[0; 2000]), Err(TrySendError::Full(behind)) if behind.who == Who::Slot(1)));
    drop(early);
    let again = dir.open("r").start(Start::Last(20)).subscribe().unwrap();
    assert_eq!(again.sequence(), 523);
}

/// The next producer keeps what the one before kept.
#[test]
fn a_takeover_keeps_what_is_retained() {
    let _alone = no_forks();
    let dir = Dir::new();
    let ring = || -> Create { dir.open_or_create("r").capacity(4096).persistent(true) };
    let mut tx = ring().retain(15).producer().unwrap();
    let mut n = 0;
    for round in 0..40_u64 {
        for _ in 0..round {
            tx.try_send(&payload(n, len_of(n))).unwrap();
            n += 1;
        }
        assert_eq!(oldest(&dir, Start::Last(15), n), n.saturating_sub(15));
        drop(tx);
        assert_eq!(oldest(&dir, Start::Last(15), n), n.saturating_sub(15), "also without a producer");
        tx = ring().producer().unwrap();
        assert_eq!(oldest(&dir, Start::Last(15), n), n.saturating_sub(15), "round {round}");
    }
    drop(tx);
    let error = ring().retain(16).producer().unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Mismatch { theirs, ours, .. } if theirs == "15" && ours == "16")
    );
}

/// More than can ever be kept is refused, and so says the text.
#[test]
fn too_many_to_retain() {
    let dir = Dir::missing();
    for (align, most) in [(Align::Line, 63), (Align::Packed, 511)] {
        let ring = || dir.create("r").capacity(4096).align(align);
        assert!(ring().retain(most).producer().is_ok());
        for records in [most + 1, 1 << 40, u64::MAX] {
            let error = ring().retain(records).producer().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
            assert!(error.to_string().contains("; ask for a larger capacity"), "{error}");
        }
    }
    assert!(dir.entries().is_empty());
}

/// Observers find the retained records beside a producer that goes on.
#[test]
fn observers_find_what_is_retained() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(8192).retain(10).producer().unwrap();
    for n in 0..3000 {
        tx.send(&payload(n, len_of(n))).unwrap();
        let mut rx = Kind::Observer.open(dir.open("r").start(Start::Last(10)));
        assert_eq!(rx.sequence(), (n + 1).saturating_sub(10));
        assert_eq!(rx.items_now().len() as u64, (n + 1).min(10));
    }
}

/// A record that is refused takes nothing from those that are kept.
#[test]
fn a_refusal_takes_nothing() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).retain(20).producer().unwrap();
    (0..20).for_each(|n| tx.send(&payload(n, 8)).unwrap());
    let _slow = dir.open("r").start(Start::Last(10)).subscribe().unwrap();
    for _ in 0..3 {
        assert!(tx.try_send(&[2; 3900]).is_err());
        assert_eq!(dir.open("r").start(Start::Last(20)).subscribe().unwrap().sequence(), 0);
        assert_eq!(dir.open("r").start(Start::Last(20)).observe().unwrap().sequence(), 0);
    }
}
