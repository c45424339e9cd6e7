//! Readers that copy near the ends of the ranges of positions and sequences, and very far behind.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use annulus::{Align, CopyError, ErrorKind, RecvError, Resume, Start};

use crate::copiers::{Account, KINDS, Kind};
use crate::positions::starts;
use crate::support::{Dir, in_time, no_forks, payload};

const CAPACITY: usize = 4096;
/// Bytes of `data` before the producer's page, and before the records.
const PRODUCER_PAGE: u64 = 8192;
const RECORDS: u64 = 16384;

/// Case 12: from everywhere, over two laps: records, losses, the newest, and late readers from each start.
#[test]
fn everything_goes_on_over_the_edges() {
    in_time(|| {
        for (position, sequence) in starts() {
            for align in [Align::Line, Align::Packed] {
                let dir = Dir::new();
                let ring = dir.create("r").capacity(CAPACITY).align(align).start_at(position, sequence);
                let mut tx = ring.no_in_place().evict_after(Duration::ZERO).retain(5).producer().unwrap();
                let mut buf = vec![0; CAPACITY];
                let mut steady = KINDS.map(|kind| kind.open(dir.open("r")));
                let mut lapped = KINDS.map(|kind| kind.open(dir.open("r")));
                let mut accounts = [Account::new(sequence), Account::new(sequence)];
                let len_of = |n: u64| (n.wrapping_sub(sequence) * 37 % 200) as usize;
                for round in 0..60 {
                    let n = tx.sequence();
                    assert_eq!(
                        tx.send_batch([payload(n, len_of(n)), payload(n + 1, len_of(n + 1))]).unwrap(),
                        2
                    );
                    for rx in &mut steady {
                        for n in n..n + 2 {
                            let received = rx.try_recv(&mut buf).unwrap();
                            assert_eq!(received.sequence, n);
                            assert!(buf[..received.len] == payload(n, len_of(n)));
                        }
                        assert_eq!(rx.latest(&mut buf).unwrap().sequence, n + 1);
                    }
                    if round % 29 != 28 {
                        continue;
                    }
                    for kind in KINDS {
                        for (start, first) in [
                            (Start::Newest, n + 2),
                            (Start::Last(3), n - 1),
                            (Start::Sequence(n - 2), n - 2),
                            (Start::Sequence(n + 9), n + 9),
                        ] {
                            let mut rx = kind.open(dir.open("r").start(start));
                            assert_eq!(rx.sequence(), first, "{start:?}");
                            assert_eq!(rx.items_now().len() as u64, (n + 2).saturating_sub(first));
                        }
                    }
                    for (rx, account) in lapped.iter_mut().zip(&mut accounts) {
                        while account.next < tx.sequence() {
                            let got = rx.recv(&mut buf);
                            account.enter(got, &buf, |n| payload(n, len_of(n)));
                        }
                        assert!(account.lagged > 0);
                        account.balances(tx.sequence() - sequence);
                    }
                }
                assert!(steady.iter().all(|rx| rx.lost() == 0));
            }
        }
    });
}

/// Case 12: a start so far behind that 32 bits do not tell it: the loss is exact, in 64 bits, and a subscription in
/// place is refused.
#[test]
fn a_start_very_far_behind() {
    in_time(|| {
        for behind in [1, (1 << 31) + 3, (1 << 32) - 1, 1 << 32, (1 << 32) + 5, 1 << 40, (1 << 63) + 9] {
            for position in [0, 1 << 32, 1 << 63] {
                let dir = Dir::new();
                let sequence = u64::MAX - (1 << 20);
                let mut tx =
                    dir.create("r").capacity(CAPACITY).start_at(position, sequence).producer().unwrap();
                (0..10).for_each(|n| tx.send(&payload(n, 20)).unwrap());
                let start = Start::Sequence(sequence - behind);
                for kind in KINDS {
                    for resume in [Resume::Oldest, Resume::Newest] {
                        let mut rx = kind.open(dir.open("r").start(start).resume(resume));
                        let mut buf = [0; 20];
                        assert_eq!(rx.recv(&mut buf), Err(CopyError::Lagged(behind)));
                        assert_eq!((rx.recv(&mut buf).unwrap().sequence, rx.lost()), (sequence, behind));
                    }
                }
                let error = dir.open("r").start(start).subscribe().unwrap_err();
                assert_eq!(error.kind(), &ErrorKind::StartGone { oldest: sequence });
            }
        }
    });
}

/// Case 12: a reader that was attached while more than 2^32 records passed: its ring's words are put forward, as so
/// many would have put them, since sending them takes hours. The loss is exact, and it goes on.
#[test]
fn more_than_32_bits_of_records_pass() {
    in_time(|| {
        let _alone = no_forks();
        for passed in [1000, (1 << 32) - 200, 1 << 32, (1 << 32) + 5, (1 << 33) + 123_456, 1 << 62] {
            for resume in [Resume::Oldest, Resume::Newest] {
                for kind in KINDS {
                    let dir = Dir::new();
                    let ring = dir.create("r").capacity(CAPACITY).persistent(true).no_in_place();
                    let mut tx = ring.evict_after(Duration::ZERO).producer().unwrap();
                    let mut rx = kind.open(dir.open("r").resume(resume));
                    let mut account = Account::new(0);
                    let mut buf = Vec::new();
                    for n in 0..30 {
                        tx.send(&payload(n, 20)).unwrap();
                        let got = rx.recv_into(&mut buf);
                        account.enter(got, &buf, |n| payload(n, 20));
                    }
                    (30..40).for_each(|n| tx.send(&payload(n, 20)).unwrap());
                    drop(tx);
                    // A ring that is empty at the beginning of a lap, its licence a record ahead.
                    let (tail, sequence) = (1_u64 << 50, 40 + passed);
                    let data = OpenOptions::new().write(true).open(dir.file("r", "data")).unwrap();
                    let put = |at, word: u64| data.write_all_at(&word.to_le_bytes(), at).unwrap();
                    put(RECORDS, 0);
                    for (at, word) in
                        [(0, tail + 256), (8, tail + 256), (128, tail), (136, sequence), (144, u64::MAX)]
                    {
                        put(PRODUCER_PAGE + at, word);
                    }
                    put(PRODUCER_PAGE + 1280, sequence);
                    put(PRODUCER_PAGE + 1024, tail);
                    let mut tx = dir.open("r").producer().unwrap();
                    assert_eq!(tx.sequence(), sequence);
                    for _ in 0..7 {
                        tx.send(&payload(tx.sequence(), 20)).unwrap();
                    }
                    let published = tx.sequence();
                    drop(tx);
                    assert_eq!(account.read_all(&mut rx, |n| payload(n, 20)), RecvError::Closed);
                    account.balances(published);
                    let kept = if resume == Resume::Oldest { 7 } else { 0 };
                    assert_eq!(
                        (account.lagged, account.received),
                        (10 + passed + 7 - kept, 30 + kept),
                        "{kind:?}"
                    );
                }
            }
        }
    });
}

/// Case 12: a full ring and its release by a reader that copies, from everywhere.
#[test]
fn full_at_the_edges() {
    for (position, sequence) in starts() {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(CAPACITY).start_at(position, sequence).producer().unwrap();
        let mut rx = Kind::Copying.open(dir.open("r"));
        assert_eq!((0..).take_while(|_| tx.try_send(b"x").is_ok()).count(), 63);
        for n in 0..130 {
            assert_eq!(rx.recv(&mut [0]).unwrap().sequence, sequence + n);
            tx.try_send(b"y").unwrap();
            assert!(tx.try_send(b"z").is_err());
        }
    }
}
