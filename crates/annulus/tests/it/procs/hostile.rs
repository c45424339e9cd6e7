//! Processes that write anything into all that their role may write, beside everything that a ring can be asked. The
//! victims go on, or are told an end: no crash, no torn record, no call that does not come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus::{
    Create, ErrorKind, Producer, Record, RecvError, RecvTimeoutError, Start, TrySendError, Waiting,
};

use super::child::Child;
use super::scribbler::{ROOM_SEMAPHORE, SEMAPHORE, SLOT, SLOTS, What, Words};
use crate::copiers::{Account, Copier, KINDS, Kind};
use crate::support::{Dir, INTERVALS, Random, in_time, no_forks, payload};

/// Of the rings here.
const LIVENESS: Duration = Duration::from_millis(50);
/// What calls that wait are given.
const BRIEF: Duration = Duration::from_millis(2);
/// Places for subscribers.
const PLACES: u32 = 6;

/// How long a ring is scribbled over, for each of the cases below.
fn a_while() -> Duration {
    let millis = std::env::var("ANNULUS_HOSTILE_MILLIS").ok().and_then(|millis| millis.parse().ok());
    Duration::from_millis(millis.unwrap_or(400))
}

/// What the call returns, which must be soon.
#[track_caller]
fn brisk<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let got = call();
    assert!(begin.elapsed() < INTERVALS * LIVENESS, "{what}: {:?}", begin.elapsed());
    got
}

/// Says that it is over, also by a panic: who comes and goes meanwhile must not keep it from being heard of.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn len_of(n: u64) -> usize {
    // A sequence may be anything where `data` is scribbled over.
    (n.wrapping_mul(53) % 300) as usize
}

fn record(n: u64) -> Vec<u8> {
    payload(n, len_of(n))
}

fn ring(dir: &Dir) -> Create {
    dir.create("r").capacity(4096).liveness(LIVENESS).max_subscribers(PLACES)
}

/// Sends in one of all the ways there are; on a ring that gives readers up also in those that wait as long as it takes.
fn send_somehow(dir: &Dir, tx: &mut Producer, random: &mut Random, gives_up: bool) {
    let n = tx.sequence();
    let bytes = record(n);
    match random.below(if gives_up { 12 } else { 9 }) {
        0 | 1 => _ = brisk("try_send", || tx.try_send(&bytes)),
        2 | 3 => _ = brisk("send_timeout", || tx.send_timeout(&bytes, BRIEF)),
        4 => {
            brisk("try_send_batch", || tx.try_send_batch((0..9).map(|i| record(n.wrapping_add(i))))).unwrap();
        }
        5 => {
            if let Ok(mut claim) = brisk("try_claim", || tx.try_claim(bytes.len() + 20)) {
                claim.write_at(0, &bytes);
                claim.commit();
            }
        }
        6 => drop(brisk("try_claim", || tx.try_claim(300))),
        7 => {
            let n = random.below(u64::from(PLACES) + 2) as u32;
            _ = brisk("wait_for_subscribers", || tx.wait_for_subscribers_timeout(n, BRIEF));
        }
        8 => {
            assert!(brisk("is_linked", || tx.is_linked()));
            _ = brisk("info", || dir.open("r").info().map(|info| format!("{info:?}")));
        }
        9 => brisk("send", || tx.send(&bytes)).unwrap(),
        10 => _ = brisk("send_batch", || tx.send_batch((0..9).map(|i| record(n.wrapping_add(i))))).unwrap(),
        _ => drop(brisk("claim", || tx.claim(300)).unwrap()),
    }
}

/// Reads as a reader that copies until the end, and says what it got. Nothing is torn, and every loss exact.
fn account_for(mut rx: Copier, account: &mut Account) -> RecvError {
    let mut buf = Vec::new();
    loop {
        let got = match brisk("recv", || rx.recv_into_timeout(&mut buf, BRIEF)) {
            Err(annulus::CopyTimeoutError::TimedOut) => continue,
            Err(annulus::CopyTimeoutError::Lagged(lost)) => Err(annulus::CopyError::Lagged(lost)),
            Err(annulus::CopyTimeoutError::Ended(end)) => Err(annulus::CopyError::Ended(end)),
            Err(other) => panic!("{other}"),
            Ok(received) => Ok(received),
        };
        if let Some(end) = account.enter(got, &buf, record) {
            return end;
        }
    }
}

/// Comes, looks around and leaves, as every kind of reader and from every place, until it is over.
fn come_and_go(dir: &Dir, seed: u64, over: &AtomicBool, intact: bool) {
    let mut random = Random::quiet(seed);
    let mut buf = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let n = random.below(200);
        let starts =
            [Start::Newest, Start::Oldest, Start::Last(n), Start::Sequence(n), Start::Sequence(1 << 40)];
        let open = || dir.open("r").start(starts[n as usize % 5]).waiting(Waiting::park_after(3));
        if n.is_multiple_of(3) {
            match brisk("subscribe", || open().subscribe()) {
                Ok(rx) => borrow(&rx, &mut random),
                Err(error) => refused(error.kind()),
            }
            continue;
        }
        let kind = KINDS[n as usize % 2];
        let mut rx = match brisk("attach", || kind.try_open(open())) {
            Ok(rx) => rx,
            Err(error) => {
                refused(error.kind());
                continue;
            }
        };
        let max = rx.max_len();
        let check = |received: annulus::Received, buf: &[u8]| {
            assert!(received.len == buf.len() && received.len <= max);
            assert!(!intact || buf == record(received.sequence), "a torn record");
        };
        for _ in 0..random.below(8) {
            if let Ok(received) = brisk("latest", || rx.latest_into(&mut buf)) {
                check(received, &buf);
            }
            if let Ok(received) = brisk("try_recv", || rx.try_recv_into(&mut buf)) {
                check(received, &buf);
            }
            if let Ok(received) = brisk("recv_timeout", || rx.recv_into_timeout(&mut buf, BRIEF)) {
                check(received, &buf);
            }
        }
        brisk("drop", || drop(rx));
    }
}

/// Borrows records, holds some, and drops them in another order. What they say may change, since whoever may write
/// `ctl` can free them; that they are the ring's own memory, all of it, may not.
fn borrow(rx: &annulus::Subscriber, random: &mut Random) {
    let mut held: Vec<Record<'_>> = Vec::new();
    for _ in 0..random.below(40) {
        let got = match random.below(3) {
            0 => brisk("recv_timeout", || rx.recv_timeout(BRIEF)),
            _ => brisk("try_recv", || rx.try_recv()).map_err(|error| match error {
                annulus::TryRecvError::Ended(end) => RecvTimeoutError::Ended(end),
                _ => RecvTimeoutError::TimedOut,
            }),
        };
        match got {
            Ok(record) => {
                assert!(record.len() <= 4096 - 8);
                // Every byte is looked at.
                std::hint::black_box(record.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
                held.push(record);
            }
            Err(RecvTimeoutError::TimedOut) => {}
            Err(_) => break,
        }
        if held.len() > 5 {
            held.swap_remove(random.below(5) as usize);
        }
    }
    let _ = (rx.held_bytes(), rx.sequence());
}

/// What who attaches may be told.
fn refused(kind: &ErrorKind) {
    assert!(
        matches!(
            kind,
            ErrorKind::NotARing(_)
                | ErrorKind::Corrupt(_)
                | ErrorKind::NoFreeSlot { .. }
                | ErrorKind::NotFound
                | ErrorKind::StartGone { .. }
                | ErrorKind::LayoutVersion { .. }
                | ErrorKind::CopyingOnly
        ),
        "{kind:?}"
    );
}

/// All of `ctl` and its locks, beside a producer that sends in every way, readers that copy, which must be able to
/// account for every record, and readers that come and go.
fn ctl_of(ring: impl Fn(&Dir) -> Create, what: What, waiting: Waiting, gives_up: bool, seed: u64) {
    let dir = Dir::new();
    let mut tx = brisk("create", || ring(&dir).waiting(waiting).producer()).unwrap();
    let readers = KINDS.map(|kind| kind.open(dir.open("r").waiting(waiting)));
    let mut scribbler = what.start(&dir, seed);
    let over = AtomicBool::new(false);
    let accounts = thread::scope(|scope| {
        let (over, dir) = (&over, &dir);
        let readers = readers.map(|rx| {
            scope.spawn(move || {
                let mut account = Account::new(0);
                assert_eq!(account_for(rx, &mut account), RecvError::Closed);
                account
            })
        });
        scope.spawn(move || come_and_go(dir, seed, over, true));
        let _over = Over(over);
        let (begin, mut random) = (Instant::now(), Random::quiet(seed));
        while begin.elapsed() < a_while() {
            send_somehow(dir, &mut tx, &mut random, gives_up);
        }
        assert!(tx.sequence() > 0, "nothing was sent");
        scribbler.kill();
        // It is gone, and with it its locks: what it left behind stops nobody.
        over.store(true, Ordering::Relaxed);
        for n in tx.sequence()..tx.sequence() + 200 {
            tx.send_timeout(&record(n), INTERVALS * LIVENESS).unwrap();
        }
        let published = tx.sequence();
        brisk("drop", || drop(tx));
        readers.map(|reader| (reader.join().unwrap(), published))
    });
    for (account, published) in accounts {
        account.balances(published);
        eprintln!("{account:?}");
    }
}

/// Promise: a subscriber writes garbage over all that it may write: the producer goes on, and readers that copy count
/// every loss and get nothing torn, see docs/guide/trust.md. While the scribbler runs, every call comes back.
#[test]
fn a_subscriber_scribbles_beside_who_waits_for_readers() {
    in_time(|| {
        for (i, waiting) in
            [Waiting::park_after(0), Waiting::yielding(), Waiting::spin()].into_iter().enumerate()
        {
            ctl_of(ring, What::Ctl, waiting, false, 50 + i as u64);
        }
        ctl_of(ring, What::CtlAndItsName, Waiting::park(), false, 54);
    });
}

/// Promise: a subscriber writes garbage over all that it may write. Where slow readers are given up, nothing holds
/// the producer: `send` itself always comes back soon.
#[test]
fn a_subscriber_scribbles_beside_who_gives_readers_up() {
    in_time(|| {
        for (i, waiting) in [Waiting::park_after(0), Waiting::yielding()].into_iter().enumerate() {
            for patience in [Duration::ZERO, Duration::from_millis(1)] {
                let ring = |dir: &Dir| ring(dir).no_in_place().evict_after(patience);
                ctl_of(ring, What::Ctl, waiting, true, 60 + i as u64);
            }
        }
    });
}

/// Promise: a subscriber writes garbage over all that it may write. Producers that come and go meanwhile: each goes
/// on where the one before was, and readers lose count of nothing.
#[test]
fn a_subscriber_scribbles_beside_takeovers() {
    in_time(|| {
        let dir = Dir::new();
        let (open, over) = (|| ring(&dir).persistent(true), AtomicBool::new(false));
        drop(open().producer().unwrap());
        let mut scribbler = What::Ctl.start(&dir, 70);
        let _alone = no_forks();
        thread::scope(|scope| {
            let (over, dir) = (&over, &dir);
            let readers = KINDS.map(|kind| {
                scope.spawn(move || {
                    let mut account = Account::new(0);
                    loop {
                        let ended = over.load(Ordering::Relaxed);
                        // Refused while the scribbler has all the locks.
                        if let Ok(rx) = kind.try_open(dir.open("r").start(Start::Sequence(account.next))) {
                            assert_eq!(account_for(rx, &mut account), RecvError::Closed);
                            if ended {
                                return account;
                            }
                        }
                    }
                })
            });
            let _over = Over(over);
            let (begin, mut random, mut n) = (Instant::now(), Random::quiet(70), 0);
            while begin.elapsed() < 2 * a_while() {
                let mut tx = brisk("take over", || dir.open_or_create("r").producer()).unwrap();
                assert_eq!(tx.sequence(), n, "a sequence that goes on");
                (0..30).for_each(|_| send_somehow(dir, &mut tx, &mut random, false));
                n = tx.sequence();
                brisk("drop", || drop(tx));
            }
            assert!(n > 0, "nothing was sent");
            scribbler.kill();
            over.store(true, Ordering::Relaxed);
            readers.map(|reader| reader.join().unwrap()).iter().for_each(|account| account.balances(n));
        });
    });
}

/// A crash while somebody scribbles: whoever creates the ring again, over what is left, has one that works.
#[test]
fn a_subscriber_scribbles_in_what_is_left() {
    in_time(|| {
        for seed in 80..83 {
            let dir = Dir::new();
            let mut sender = Child::start("flood", &[dir.text(), "r"]);
            sender.expect("0");
            let mut scribbler = What::CtlAndItsName.start(&dir, seed);
            let _alone = no_forks();
            sender.kill();
            // The name of the old `ctl` is scribbled over, too: a ring without its ctl is no ring any more.
            let taken = brisk("take over", || dir.open("r").producer());
            if let Err(error) = &taken {
                assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{error}");
            }
            drop(taken);
            let mut tx = brisk("create", || ring(&dir).producer()).unwrap();
            let rx = dir.open("r").subscribe().unwrap();
            for n in 0..500 {
                tx.try_send(&record(n)).unwrap();
                assert_eq!(*rx.try_recv().unwrap(), *record(n));
            }
            scribbler.kill();
        }
    });
}

/// Promise: a subscriber writes garbage over all that it may write, which may change what another has borrowed in
/// place: that stays memory of the ring, and everything works again once the scribbler is gone.
#[test]
fn a_subscriber_scribbles_beside_those_that_borrow() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = ring(&dir).producer().unwrap();
        let mut scribbler = What::Ctl.start(&dir, 90);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let (over, dir) = (&over, &dir);
            let borrower = scope.spawn(move || {
                let (mut random, mut times) = (Random::quiet(91), 0);
                while !over.load(Ordering::Relaxed) {
                    match brisk("subscribe", || dir.open("r").waiting(Waiting::park_after(0)).subscribe()) {
                        Ok(rx) => {
                            borrow(&rx, &mut random);
                            times += 1;
                        }
                        Err(error) => refused(error.kind()),
                    }
                }
                times
            });
            let _over = Over(over);
            let (begin, mut random) = (Instant::now(), Random::quiet(92));
            while begin.elapsed() < 2 * a_while() {
                send_somehow(dir, &mut tx, &mut random, false);
            }
            over.store(true, Ordering::Relaxed);
            assert!(borrower.join().unwrap() > 0, "nobody ever got a place");
            scribbler.kill();
        });
        // What is left stops nobody: not those that come, nor the producer.
        let rx = dir.open("r").subscribe().unwrap();
        for n in tx.sequence()..tx.sequence() + 500 {
            tx.send_timeout(&record(n), INTERVALS * LIVENESS).unwrap();
            assert_eq!(*rx.recv_timeout(INTERVALS * LIVENESS).unwrap(), *record(n));
        }
    });
}

/// Promise: a producer's process writes garbage over `data`: wrong bytes or an end, for readers of every kind, for
/// `info`, and for whoever attaches or takes over; and the running producer, which has its own copies, goes on.
#[test]
fn a_process_that_scribbles_in_data() {
    in_time(|| {
        for (what, seed) in [(What::Data, 100), (What::DataAndItsName, 101)] {
            let dir = Dir::new();
            let mut tx = ring(&dir).retain(5).producer().unwrap();
            (0..100).for_each(|n| tx.send(&record(n)).unwrap());
            let mut scribbler = what.start(&dir, seed);
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                let (over, dir) = (&over, &dir);
                scope.spawn(move || come_and_go(dir, seed, over, false));
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        _ = brisk("info", || dir.open("r").info().map(|info| format!("{info:?}")));
                    }
                });
                let _over = Over(over);
                let (begin, mut random, mut buf) = (Instant::now(), Random::quiet(seed), Vec::new());
                let mut seen = 0_u64;
                while begin.elapsed() < 2 * a_while() {
                    // Those that were told an end would hold the producer back for good: they leave, others come.
                    let in_place = dir.open("r").subscribe().ok();
                    let mut readers = KINDS.map(|kind| kind.try_open(dir.open("r")).ok());
                    for _ in 0..20 {
                        send_somehow(dir, &mut tx, &mut random, false);
                        for rx in readers.iter_mut().flatten() {
                            let max = rx.max_len();
                            for got in [
                                brisk("recv", || rx.recv_into_timeout(&mut buf, Duration::ZERO)).ok(),
                                brisk("latest", || rx.latest_into(&mut buf)).ok(),
                            ] {
                                assert!(got.is_none_or(|received| received.len <= max));
                                seen += u64::from(got.is_some());
                            }
                        }
                        in_place.iter().for_each(|rx| borrow(rx, &mut random));
                    }
                }
                eprintln!("{seen} records seen of {}", tx.sequence());
            });
            drop(tx);
            scribbler.kill();
        }
    });
}

/// Promise: a producer's process writes garbage over `data`. Takeovers of a ring whose `data` is scribbled over: a
/// typed error, or a producer that works.
#[test]
fn a_process_that_scribbles_in_data_beside_takeovers() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = ring(&dir).retain(5).persistent(true).producer().unwrap();
        (0..100).for_each(|n| tx.send(&record(n)).unwrap());
        drop(tx);
        let mut scribbler = What::Data.start(&dir, 110);
        let _alone = no_forks();
        let (begin, mut random, mut taken) = (Instant::now(), Random::quiet(110), 0);
        while begin.elapsed() < 2 * a_while() {
            match brisk("take over", || dir.open("r").producer()) {
                Ok(mut tx) => {
                    taken += 1;
                    (0..20).for_each(|_| send_somehow(&dir, &mut tx, &mut random, false));
                }
                Err(error) => refused(error.kind()),
            }
        }
        eprintln!("taken over {taken} times");
        scribbler.kill();
        dir.open("r").remove().unwrap();
        let mut tx = ring(&dir).producer().unwrap();
        assert_eq!(tx.try_send(b"again"), Ok::<(), TrySendError>(()));
    });
}

/// Semaphores that are none any more, on a ring that wakes with them: sleepers nap, and nothing is lost. The bytes are
/// spoilt before anybody looks; see docs/guide/trust.md for what cannot be promised when that happens in between.
#[test]
fn semaphores_that_are_spoilt() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx =
            ring(&dir).wake(annulus::Wake::Semaphore).waiting(Waiting::park_after(0)).producer().unwrap();
        let ctl = std::fs::OpenOptions::new().read(true).write(true).open(dir.file("r", "ctl")).unwrap();
        let words = Words::map(&ctl, true);
        let places = (0..u64::from(PLACES)).map(|i| SLOTS + i * SLOT + SEMAPHORE).chain([ROOM_SEMAPHORE]);
        places.for_each(|at| (8..32).step_by(8).for_each(|word| words.put(at + word, !0)));
        let rx = Kind::Copying.open(dir.open("r").waiting(Waiting::park_after(0)));
        let mut scribbler = What::Ctl.start(&dir, 120);
        let account = thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let mut account = Account::new(0);
                assert_eq!(account_for(rx, &mut account), RecvError::Closed);
                account
            });
            let (begin, mut random) = (Instant::now(), Random::quiet(120));
            while begin.elapsed() < a_while() {
                send_somehow(&dir, &mut tx, &mut random, false);
            }
            scribbler.kill();
            tx.send_timeout(&record(tx.sequence()), INTERVALS * LIVENESS).unwrap();
            let published = tx.sequence();
            drop(tx);
            (reader.join().unwrap(), published)
        });
        account.0.balances(account.1);
    });
}
