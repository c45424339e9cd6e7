//! Records that carry the time at which they were published.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use annulus::{
    Align, Clock, CopyError, Create, ErrorKind, Producer, RecvError, SendError, TryCopyError, TryRecvError,
    TrySendError,
};

use crate::copiers::{KINDS, Kind};
use crate::support::{Dir, in_time, no_forks, payload};

const CLOCKS: [Clock; 2] = [Clock::Monotonic, Clock::Tsc];
/// Bytes of `data` before the records.
const RECORDS: u64 = 16384;

/// A ring with the clock; `None`, after saying so, if this processor has no such clock.
fn ring(create: Create, clock: Clock) -> Option<Producer> {
    match create.stamped(clock).producer() {
        Ok(tx) => Some(tx),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::BadOption(_)) && clock == Clock::Tsc, "{error}");
            eprintln!("NOT TESTED: no steady counter here");
            None
        }
    }
}

type Verb = fn(&mut Producer, &[u8]);

/// Every way to send one record.
const VERBS: [Verb; 7] = [
    |tx, bytes| tx.send(bytes).unwrap(),
    |tx, bytes| tx.try_send(bytes).unwrap(),
    |tx, bytes| tx.send_timeout(bytes, std::time::Duration::ZERO).unwrap(),
    |tx, bytes| assert_eq!(tx.send_batch([bytes]).unwrap(), 1),
    |tx, bytes| assert_eq!(tx.try_send_batch([bytes]).unwrap(), 1),
    |tx, bytes| {
        let mut claim = tx.claim(bytes.len() + 7).unwrap();
        claim.write_at(0, bytes);
        assert_eq!((claim.claimed(), claim.written()), (bytes.len() + 7, bytes.len()));
        claim.commit();
    },
    |tx, bytes| {
        let mut claim = tx.try_claim(bytes.len()).unwrap();
        for (i, byte) in bytes.iter().enumerate().rev() {
            claim.write_at(i, &[*byte]);
        }
        claim.commit();
    },
];

/// Both clocks, every way to send, every kind of reader: the bytes are those that were sent, the times never go back,
/// and each lies between what the clock said before and after.
#[test]
fn every_record_has_its_time() {
    in_time(|| {
        for clock in CLOCKS {
            for align in [Align::Line, Align::Packed] {
                let dir = Dir::new();
                let create = dir.create("r").capacity(4096).align(align);
                let Some(mut tx) = ring(create, clock) else { continue };
                let in_place = dir.open("r").subscribe().unwrap();
                let mut copiers = KINDS.map(|kind| kind.open(dir.open("r")));
                assert_eq!(dir.open("r").info().unwrap().clock, Some(clock));
                let mut last = 0;
                let mut buf = Vec::new();
                for n in 0..2000_u64 {
                    // Empty ones among them, and the longest; the claim asks for seven more.
                    let len = [0, 1, 7, 8, 48, 56, 1000, tx.max_len() - 7][(n % 8) as usize];
                    let bytes = payload(n, len);
                    let before = in_place.now();
                    VERBS[(n % 7) as usize](&mut tx, &bytes);
                    let after = in_place.now();
                    let record = in_place.recv().unwrap();
                    let time = record.time().unwrap();
                    assert!(*record == *bytes, "{len} bytes by verb {}", n % 7);
                    assert!(before <= time && time <= after, "{before} {time} {after} by verb {}", n % 7);
                    assert!(last <= time, "the time went back");
                    last = time;
                    for rx in &mut copiers {
                        let received = rx.recv_into(&mut buf).unwrap();
                        assert_eq!((received.time(), received.len, received.sequence), (Some(time), len, n));
                        assert!(buf == bytes);
                        let again = rx.latest_into(&mut buf).unwrap();
                        assert_eq!((again.time(), &buf), (Some(time), &bytes));
                        assert!(rx.now() >= after);
                    }
                }
            }
        }
    });
}

/// Records of one batch have the times at which they were written into it; iterators tell them too.
#[test]
fn the_times_of_a_batch() {
    for clock in CLOCKS {
        let dir = Dir::new();
        let Some(mut tx) = ring(dir.create("r"), clock) else { continue };
        let rx = dir.open("r").subscribe().unwrap();
        let mut copiers = KINDS.map(|kind| kind.open(dir.open("r")));
        let mut written = Vec::new();
        tx.send_batch((0..100).map(|n| {
            written.push(rx.now());
            payload(n, 30)
        }))
        .unwrap();
        written.push(rx.now());
        drop(tx);
        let times: Vec<u64> = rx.iter().map(|record| record.unwrap().time().unwrap()).collect();
        assert!(times.len() == 100 && times.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(times.iter().enumerate().all(|(i, time)| written[i] <= *time && *time <= written[i + 1]));
        for rx in &mut copiers {
            let owned: Vec<u64> = rx.items().into_iter().map(|item| item.unwrap().time().unwrap()).collect();
            assert_eq!(owned, times);
        }
    }
}

/// A record is eight bytes shorter at most, and everybody says so.
#[test]
fn eight_bytes_less() {
    for (align, max) in [(Align::Line, 4096 - 80), (Align::Packed, 4096 - 24)] {
        let dir = Dir::new();
        let mut tx = ring(dir.create("r").capacity(4096).align(align), Clock::Monotonic).unwrap();
        assert_eq!(tx.max_len(), max);
        assert_eq!(dir.open("r").info().unwrap().max_len, max as u64);
        let mut rx = Kind::Copying.open(dir.open("r"));
        assert_eq!(rx.max_len(), max);
        for len in [max + 1, max + 8, max + 9, 1 << 20] {
            let record = vec![0; len];
            assert_eq!(tx.send(&record), Err(SendError::TooLarge { len, max }));
            assert_eq!(tx.try_send(&record), Err(TrySendError::TooLarge { len, max }));
            assert_eq!(tx.send_batch([&record]), Err(SendError::TooLarge { len, max }));
            assert_eq!(tx.try_send_batch([&record]), Err(SendError::TooLarge { len, max }));
            assert_eq!(tx.claim(len).unwrap_err(), SendError::TooLarge { len, max });
            assert_eq!(tx.try_claim(len).unwrap_err(), TrySendError::TooLarge { len, max });
        }
        assert_eq!(tx.claim(usize::MAX).unwrap_err(), SendError::TooLarge { len: usize::MAX, max });
        for _ in 0..100 {
            tx.try_send(&vec![7; max]).unwrap();
            assert!(matches!(tx.try_send(b""), Err(TrySendError::Full(_))));
            assert_eq!(rx.recv(&mut vec![0; max - 1]), Err(CopyError::TooSmall { need: max }));
            assert_eq!(rx.recv(&mut vec![0; max]).unwrap().len, max);
        }
        // Short ones keep their line: 48 bytes with header and time.
        if align == Align::Line {
            assert_eq!(tx.try_send_batch([[1; 48]; 100]), Ok(63));
        }
    }
}

/// Without a clock there is no time, and `now` is that of `CLOCK_MONOTONIC`.
#[test]
fn without_a_clock() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    tx.send(&[0xff; 40]).unwrap();
    assert_eq!(rx.recv().unwrap().time(), None);
    assert!(dir.open("r").info().unwrap().clock.is_none() && rx.now() > 0);
}

/// The next producer goes on by the same clock; another one is a mismatch.
#[test]
fn a_takeover_keeps_the_clock() {
    in_time(|| {
        let _alone = no_forks();
        for clock in CLOCKS {
            let dir = Dir::new();
            let again = || dir.open_or_create("r").capacity(4096).persistent(true);
            let Some(mut tx) = ring(again(), clock) else { continue };
            let mut rx = Kind::Copying.open(dir.open("r"));
            let (mut last, mut buf) = (0, Vec::new());
            for round in 0..10 {
                tx.send(b"before").unwrap();
                drop(tx);
                for other in CLOCKS.into_iter().filter(|&other| other != clock) {
                    let error = again().stamped(other).producer().unwrap_err();
                    let field = ErrorKind::Mismatch {
                        field: "clock of stamps",
                        theirs: clock.to_string(),
                        ours: other.to_string(),
                    };
                    assert_eq!(error.kind(), &field);
                }
                tx = if round % 2 == 0 { again() } else { again().stamped(clock) }.producer().unwrap();
                assert_eq!(tx.max_len(), 4096 - 80);
                tx.send(b"after").unwrap();
                for _ in 0..2 {
                    let time = rx.recv_into(&mut buf).unwrap().time().unwrap();
                    assert!(last <= time && time <= rx.now());
                    last = time;
                }
            }
        }
        // And one with a clock is not one without.
        let dir = Dir::new();
        drop(dir.create("r").persistent(true).producer().unwrap());
        let error = dir.open_or_create("r").stamped(Clock::Monotonic).producer().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Mismatch { theirs, .. } if theirs == "none"), "{error}");
    });
}

/// A record that is too short for its time, which no producer writes: `Corrupt` for all, no panic.
#[test]
fn a_record_without_room_for_its_time() {
    for len in 0..8_u64 {
        let dir = Dir::new();
        let tx = ring(dir.create("r").capacity(4096), Clock::Monotonic).unwrap();
        let in_place = dir.open("r").subscribe().unwrap();
        let mut copiers = KINDS.map(|kind| kind.open(dir.open("r")));
        let header = 1_u64 << 31 | len;
        let data = OpenOptions::new().write(true).open(dir.file("r", "data")).unwrap();
        data.write_all_at(&header.to_le_bytes(), RECORDS).unwrap();
        for _ in 0..3 {
            assert_eq!(in_place.try_recv().unwrap_err(), TryRecvError::Ended(RecvError::Corrupt));
            assert_eq!(in_place.recv().unwrap_err(), RecvError::Corrupt);
            for rx in &mut copiers {
                let mut buf = [0; 64];
                assert_eq!(rx.try_recv(&mut buf), Err(TryCopyError::Ended(RecvError::Corrupt)));
                assert_eq!(rx.recv(&mut buf), Err(CopyError::Ended(RecvError::Corrupt)));
                assert_eq!(rx.latest(&mut buf), Err(TryCopyError::Ended(RecvError::Corrupt)));
            }
        }
        drop(tx);
    }
}
