//! Readers that are lapped: no torn record, every loss counted exactly.

use std::thread;
use std::time::Duration;

use annulus::{Align, CopyError, RecvError, Resume};

use crate::copiers::{Account, KINDS, Kind};
use crate::support::{Dir, Random, in_time, payload};

/// The length of the record of a number.
type Lengths = fn(u64) -> usize;

/// The longest record of the smallest ring, of lines.
const MAX: usize = 4096 - 72;

fn expected(lengths: Lengths) -> impl Fn(u64) -> Vec<u8> {
    move |n| payload(n, lengths(n))
}

/// Sends `count` records at full speed, in every way, to a reader that pauses now and then, and settles its account.
fn race(kind: Kind, resume: Resume, align: Align, capacity: usize, lengths: Lengths, count: u64) -> Account {
    in_time(move || {
        let dir = Dir::new();
        let ring = dir.create("r").capacity(capacity).align(align).no_in_place();
        let mut tx = ring.evict_after(Duration::ZERO).producer().unwrap();
        let mut rx = kind.open(dir.open("r").resume(resume));
        let sender = thread::spawn(move || {
            while tx.sequence() < count {
                let n = tx.sequence();
                match n % 5 {
                    0 => drop(tx.send_batch((n..n + 3).map(expected(lengths))).unwrap()),
                    1 => tx.try_send(&payload(n, lengths(n))).unwrap(),
                    2 => {
                        let bytes = payload(n, lengths(n));
                        let mut claim = tx.claim(bytes.len()).unwrap();
                        claim.write_at(0, &bytes);
                        claim.commit();
                    }
                    _ => tx.send(&payload(n, lengths(n))).unwrap(),
                }
            }
            tx.sequence()
        });
        let mut random = Random::new(21);
        let mut account = Account::new(0);
        let mut buf = vec![0; MAX.max(capacity)];
        loop {
            if random.below(50) == 0 {
                (0..random.below(20_000)).for_each(|_| std::hint::spin_loop());
            }
            let got = rx.recv(&mut buf);
            if let Some(end) = account.enter(got, &buf, expected(lengths)) {
                assert_eq!(end, RecvError::Closed);
                break;
            }
        }
        account.balances(sender.join().unwrap());
        assert_eq!(rx.lost(), account.lagged);
        account
    })
}

/// Case 2: a reader that is lapped without a pause, on the smallest ring with the largest records, never gets a torn
/// one, and the sequence never goes back.
/// Case 3: what it received and what it lost are what was published, exactly.
#[test]
fn the_smallest_ring_and_the_largest_records() {
    for kind in KINDS {
        for lengths in [|_| MAX, |n| [MAX, 0, MAX / 2, 1000][(n % 4) as usize]] as [Lengths; 2] {
            let account = race(kind, Resume::Oldest, Align::Line, 4096, lengths, 20_000);
            assert!(account.lagged > 0 && account.received > 0, "{account:?}");
        }
    }
}

/// Case 2 and case 3: records of any size, on rings of every alignment, both ways to go on after a loss.
#[test]
fn received_and_lost_are_what_was_published() {
    let any: Lengths = |n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % 700;
    for kind in KINDS {
        for resume in [Resume::Oldest, Resume::Newest] {
            for (align, capacity) in [(Align::Line, 4096), (Align::Packed, 4096), (Align::Packed, 65_536)] {
                let account = race(kind, resume, align, capacity, any, 20_000);
                assert!(account.lagged > 0, "{account:?}");
            }
        }
    }
}

/// A loss without a race: exactly those that are gone, from the oldest that can be read or the next one on; told
/// once, and by every verb.
#[test]
fn a_loss_is_exact() {
    in_time(|| {
        for kind in KINDS {
            for resume in [Resume::Oldest, Resume::Newest] {
                let dir = Dir::new();
                let ring = dir.create("r").capacity(4096).no_in_place().evict_after(Duration::ZERO);
                let mut tx = ring.producer().unwrap();
                let mut rx = kind.open(dir.open("r").resume(resume));
                let mut account = Account::new(0);
                let mut buf = [0; 8];
                for round in 0..300_u64 {
                    for _ in 0..60 + round {
                        tx.send(&tx.sequence().to_le_bytes()).unwrap();
                    }
                    let before = account.lagged;
                    loop {
                        let got = match round % 3 {
                            0 => rx.try_recv(&mut buf).map_err(|error| format!("{error:?}")),
                            1 => rx
                                .recv_timeout(&mut buf, Duration::ZERO)
                                .map_err(|error| format!("{error:?}")),
                            _ if account.next == tx.sequence() => Err("Empty".to_owned()),
                            _ => rx.recv(&mut buf).map_err(|error| format!("{error:?}")),
                        };
                        match got {
                            Ok(got) => drop(account.enter(Ok(got), &buf, |n| n.to_le_bytes().to_vec())),
                            Err(text) => match text.strip_prefix("Lagged(") {
                                Some(lost) => {
                                    let lost = lost.trim_end_matches(')').parse().unwrap();
                                    account.enter(Err(CopyError::Lagged(lost)), &buf, |_| Vec::new());
                                    assert_eq!(rx.sequence(), account.next);
                                }
                                None => break assert!(text == "Empty" || text == "TimedOut", "{text}"),
                            },
                        }
                    }
                    assert_eq!((account.next, rx.lost()), (tx.sequence(), account.lagged));
                    let lost = account.lagged - before;
                    match resume {
                        // Less than the ring's 64 lines, but for the sixteenth that is cleared ahead, is never lost.
                        Resume::Oldest => {
                            assert!(lost <= 20 + round, "{kind:?} lost {lost} of {}", 60 + round);
                        }
                        _ => assert!(lost == 0 || lost == 60 + round, "{lost}"),
                    }
                    assert_eq!(lost > 0, round > 4 || before < account.lagged);
                }
                account.balances(tx.sequence());
                assert!(account.lagged > 1000);
            }
        }
    });
}

/// Case 11: observers never slow the producer of a reliable ring: with its subscribers drained it is never full,
/// however far behind the observers are.
#[test]
fn observers_never_slow_a_producer() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    let mut observers: Vec<_> = (0..20).map(|_| Kind::Observer.open(dir.open("r"))).collect();
    for n in 0..10_000_u64 {
        tx.try_send(&payload(n, (n % 3000) as usize)).unwrap();
        assert_eq!(&*rx.recv().unwrap(), payload(n, (n % 3000) as usize));
        if n % 1000 == 999 {
            let mut buf = Vec::new();
            let lagged = observers[(n / 1000) as usize].try_recv_into(&mut buf).unwrap_err();
            assert!(matches!(lagged, annulus::TryCopyError::Lagged(lost) if lost > n - 100), "{lagged}");
        }
    }
    let info = dir.open("r").info().unwrap();
    assert_eq!((info.full, info.subscribers.len()), (0, 1));
    // The subscriber alone is what fills it, and the last one that leaves unbinds the producer.
    while tx.try_send(b"x").is_ok() {}
    drop(rx);
    (0..1000).for_each(|_| tx.try_send(b"x").unwrap());
    drop(observers);
}

/// Case 11: on a ring without places for subscribers observers read along; nobody else can.
#[test]
fn observers_of_a_ring_without_subscribers() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).max_subscribers(0).producer().unwrap();
    let mut rx = Kind::Observer.open(dir.open("r"));
    let refused = dir.open("r").subscribe_copying().unwrap_err();
    assert_eq!(refused.kind(), &annulus::ErrorKind::NoFreeSlot { slots: 0 });
    crate::support::helpful(&refused);
    for n in 0..10_000_u64 {
        tx.try_send(&n.to_le_bytes()).unwrap();
        if n % 3 == 0 {
            (0..3).for_each(|_| assert!(rx.try_recv(&mut [0; 8]).is_ok() || n % 3 == 0));
        }
    }
    drop(tx);
    assert!(rx.items().iter().all(Result::is_ok));
    assert_eq!((rx.sequence(), rx.lost()), (10_000, 0));
}
