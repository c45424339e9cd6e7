//! Other processes that write what they should not, while readers that copy read. Whoever may write `ctl` can cost
//! them records, exactly counted, and late wakes; whoever may write `data`, which is the ring's owner, wrong bytes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus::{CopyError, CopyTimeoutError, Producer, RecvError, Start, TryCopyError, Waiting};

use crate::copiers::{Account, Copier, KINDS, Kind};
use crate::support::{Dir, INTERVALS, LONG, Random, in_time, payload, thread_id, until_asleep};

/// Bytes of `data` before the producer's page.
const PRODUCER_PAGE: u64 = 8192;
/// Bytes of `data` before the records.
const RECORDS: u64 = 16384;
/// Bytes of `ctl` before the slots, and of each.
const SLOTS: u64 = 4096;
const SLOT: u64 = 256;

fn edit(dir: &Dir, file: &str) -> File {
    OpenOptions::new().read(true).write(true).open(dir.file("r", file)).unwrap()
}

fn put(file: &File, at: u64, word: u64) {
    file.write_all_at(&word.to_le_bytes(), at).unwrap();
}

fn get(file: &File, at: u64) -> u64 {
    let mut word = [0; 8];
    file.read_exact_at(&mut word, at).unwrap();
    u64::from_le_bytes(word)
}

/// A word that some other word might be, or anything.
fn any_word(random: &mut Random, tail: u64) -> u64 {
    match random.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => tail.wrapping_sub(64 * random.below(70)),
        3 => tail.wrapping_add(64 * random.below(70)),
        4 => 1 << random.below(64),
        _ => random.next(),
    }
}

fn len_of(n: u64) -> usize {
    (n * 53 % 300) as usize
}

/// Words of `ctl` while a producer, a copying subscriber and an observer run: cursors, states, sleepers and bells. No
/// record is torn, every loss is exact, and the producer always goes on.
#[test]
fn scribbles_in_ctl() {
    for waiting in [Waiting::park_after(0), Waiting::yielding()] {
        in_time(move || {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).liveness(Duration::from_millis(1)).max_subscribers(4);
            let mut tx = ring.waiting(waiting).producer().unwrap();
            let (ctl, data) = (edit(&dir, "ctl"), edit(&dir, "data"));
            let mut readers = KINDS.map(|kind| kind.open(dir.open("r").waiting(waiting)));
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                let (over, dir) = (&over, &dir);
                scope.spawn(move || {
                    let mut random = Random::new(31);
                    let heads = [128, 256, 264];
                    while !over.load(Ordering::Relaxed) {
                        let tail = get(&data, PRODUCER_PAGE + 128);
                        let slot = SLOTS + SLOT * random.below(4);
                        let at = match random.below(4) {
                            0 => heads[random.below(3) as usize],
                            1 => slot + 8 * random.below(32),
                            _ => slot,
                        };
                        put(&ctl, at, any_word(&mut random, tail));
                        if random.below(200) == 0 {
                            let _ = dir.open("r").info().map(|info| format!("{info:?}"));
                        }
                        // Those that come meanwhile are refused, or read and leave.
                        if random.below(200) == 0
                            && let Ok(mut rx) = dir.open("r").prefault(false).subscribe_copying()
                        {
                            let _ = rx.try_recv(&mut [0; 300]);
                        }
                    }
                });
                let checks: Vec<_> = readers
                    .each_mut()
                    .map(|rx| {
                        scope.spawn(move || {
                            let mut account = Account::new(0);
                            let end = account.read_all(rx, |n| payload(n, len_of(n)));
                            assert_eq!(end, RecvError::Closed);
                            account
                        })
                    })
                    .into();
                for n in 0..20_000 {
                    tx.send_timeout(&payload(n, len_of(n)), LONG / 2).unwrap();
                }
                drop(tx);
                for check in checks {
                    let account = check.join().unwrap();
                    account.balances(20_000);
                    eprintln!("{account:?}");
                }
                over.store(true, Ordering::Relaxed);
            });
        });
    }
}

/// One word, once, at the worst place: the cursor of a copying subscriber that has read all and sleeps, put back so
/// far that nothing fits any more. The producer goes on, and the subscriber loses nothing.
#[test]
fn a_cursor_put_back() {
    for waiting in [Waiting::park_after(0), Waiting::spin(), Waiting::yielding()] {
        in_time(move || {
            let dir = Dir::new();
            let liveness = Duration::from_millis(100);
            let mut tx = dir.create("r").capacity(4096).liveness(liveness).producer().unwrap();
            let mut rx = Kind::Copying.open(dir.open("r").waiting(waiting));
            for n in 0..200 {
                tx.send(&payload(n, 56)).unwrap();
                assert_eq!(rx.recv(&mut [0; 56]).unwrap().sequence, n);
            }
            let (say, tid) = std::sync::mpsc::channel();
            let reader = thread::spawn(move || {
                say.send(thread_id()).unwrap();
                let mut account = Account::new(200);
                (account.read_all(&mut rx, |n| payload(n, 56)), account)
            });
            let tid = tid.recv().unwrap();
            if waiting == Waiting::park_after(0) {
                until_asleep(tid);
            }
            // As far back as still counts: what is granted is a ring from there on.
            let licence = get(&edit(&dir, "data"), PRODUCER_PAGE + 8);
            put(&edit(&dir, "ctl"), SLOTS, licence - 4096);
            let begin = Instant::now();
            for n in 200..300 {
                if let Err(error) = tx.send_timeout(&payload(n, 56), liveness * INTERVALS) {
                    panic!("blocked for ever by one word, {waiting:?}: {error}");
                }
            }
            assert!(begin.elapsed() < liveness * INTERVALS);
            drop(tx);
            let (end, account) = reader.join().unwrap();
            assert_eq!((end, account.received, account.lagged), (RecvError::Closed, 100, 0));
        });
    }
}

/// The same for a subscriber that borrows in place: it holds nothing, and nothing will ever come that it could give
/// back, so its cursor must come right by itself.
#[test]
fn a_cursor_put_back_of_one_that_borrows() {
    for waiting in [Waiting::park_after(0), Waiting::spin(), Waiting::yielding()] {
        in_time(move || {
            let dir = Dir::new();
            let liveness = Duration::from_millis(100);
            let mut tx = dir.create("r").capacity(4096).liveness(liveness).producer().unwrap();
            let rx = dir.open("r").waiting(waiting).subscribe().unwrap();
            for n in 0..200 {
                tx.send(&payload(n, 56)).unwrap();
                assert_eq!(*rx.recv().unwrap(), *payload(n, 56));
            }
            let (say, tid) = std::sync::mpsc::channel();
            let reader = thread::spawn(move || {
                say.send(thread_id()).unwrap();
                let mut n = 200;
                for record in &rx {
                    assert_eq!(*record.unwrap(), *payload(n, 56));
                    n += 1;
                }
                n
            });
            let tid = tid.recv().unwrap();
            if waiting == Waiting::park_after(0) {
                until_asleep(tid);
            }
            let licence = get(&edit(&dir, "data"), PRODUCER_PAGE + 8);
            put(&edit(&dir, "ctl"), SLOTS, licence - 4096);
            for n in 200..300 {
                if let Err(error) = tx.send_timeout(&payload(n, 56), liveness * INTERVALS) {
                    panic!("blocked for ever by one word, {waiting:?}: {error}");
                }
            }
            drop(tx);
            assert_eq!(reader.join().unwrap(), 300);
        });
    }
}

/// A ring full of headers that follow one another all around, and no licence that would explain it: `latest` says that
/// it is damaged instead of going round and round.
#[test]
fn headers_all_around() {
    const LIVENESS: Duration = Duration::from_millis(50);
    in_time(|| {
        for kind in KINDS {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(1 << 20).align(annulus::Align::Packed).liveness(LIVENESS);
            let mut tx = ring.producer().unwrap();
            let mut rx = kind.open(dir.open("r"));
            tx.send(b"").unwrap();
            let headers: Vec<u8> = (0..1_u64 << 17).flat_map(|n| (n << 32 | 1 << 31).to_le_bytes()).collect();
            edit(&dir, "data").write_all_at(&headers, RECORDS).unwrap();
            let begin = Instant::now();
            let corrupt = TryCopyError::Ended(RecvError::Corrupt);
            assert_eq!(rx.latest(&mut [0; 56]), Err(corrupt));
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?}", begin.elapsed());
        }
    });
}

/// A cursor put forward, so that the producer goes over what was not read: lost, exactly counted, and then it is a
/// subscriber as before.
#[test]
fn a_cursor_put_forward() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).producer().unwrap();
        let mut rx = Kind::Copying.open(dir.open("r"));
        let ctl = edit(&dir, "ctl");
        let mut account = Account::new(0);
        for round in 1..=50 {
            for cursor in [u64::MAX, 1 << 62, u64::MAX - 1] {
                put(&ctl, SLOTS, cursor);
                (0..150).for_each(|_| tx.try_send(&payload(tx.sequence(), 56)).unwrap());
                let mut buf = [0; 56];
                while account.next < tx.sequence() {
                    let got = rx.recv(&mut buf);
                    assert_eq!(account.enter(got, &buf, |n| payload(n, 56)), None);
                }
            }
            account.balances(tx.sequence());
            assert!(account.lagged >= round * 3 * 80, "{account:?}");
            assert_eq!(dir.open("r").info().unwrap().lost, account.lagged);
            let fit = (0..).take_while(|_| tx.try_send(&payload(tx.sequence(), 56)).is_ok()).count();
            assert_eq!(fit, 63, "the producer waits for it again");
            for _ in 0..fit {
                let got = rx.recv(&mut buf_of(56));
                assert!(got.is_ok());
                account.next += 1;
                account.received += 1;
            }
        }
    });
}

fn buf_of(len: usize) -> Vec<u8> {
    vec![0; len]
}

/// Everything that can be asked of a reader that copies; only that it ends counts.
fn use_it(rx: &mut Copier, buf: &mut Vec<u8>) {
    let max = rx.max_len();
    let brief = Duration::from_micros(10);
    for _ in 0..4 {
        if let Ok(received) = rx.try_recv_into(buf) {
            assert!(received.len <= max && buf.len() == received.len);
        }
        if let Ok(received) = rx.latest_into(buf) {
            assert!(received.len <= max && buf.len() == received.len);
        }
    }
    let _ = rx.try_recv(&mut [0; 100]).map(drop);
    let _ = rx.recv_timeout(&mut [0; 100], brief).map(drop);
    let _ = rx.recv_into_timeout(buf, brief).map(drop);
    let _ = (rx.sequence(), rx.lost(), rx.now());
}

/// A ring with some records in it whose producer does nothing more, and readers of both kinds at several places.
fn readers(dir: &Dir) -> (Producer, Vec<Copier>) {
    let mut tx = dir.create("r").capacity(4096).liveness(Duration::from_millis(1)).producer().unwrap();
    let early = Kind::Observer.open(dir.open("r"));
    (0..200).for_each(|n| tx.send(&payload(n, len_of(n))).unwrap());
    let starts = [Start::Newest, Start::Oldest, Start::Sequence(3), Start::Last(5), Start::Sequence(1 << 50)];
    let mut all: Vec<_> =
        starts.iter().flat_map(|&start| KINDS.map(|kind| kind.open(dir.open("r").start(start)))).collect();
    all.push(early);
    (tx, all)
}

/// Words of the producer's page and of records while readers that copy read and come: no panic, no hang, nothing out
/// of bounds.
#[test]
fn scribbles_in_data() {
    in_time(|| {
        let mut random = Random::new(32);
        for round in 0..8 {
            let dir = Dir::new();
            let (_tx, mut all) = readers(&dir);
            let data = edit(&dir, "data");
            let tail = get(&data, PRODUCER_PAGE + 128);
            let mut buf = Vec::new();
            for _ in 0..1 + round {
                match random.below(3) {
                    0 => {
                        let header = random.next() << 32 | 1 << 31 | random.below(1 << 13);
                        let near = (150 + random.below(100)) << 32 | 1 << 31 | random.below(400);
                        let word = [0, !0, header, near, near][random.below(5) as usize];
                        put(&data, RECORDS + 64 * random.below(64), word);
                    }
                    1 => {
                        let words = [0, 8, 128, 136, 144, 256, 264];
                        let at = words[random.below(7) as usize];
                        put(&data, PRODUCER_PAGE + at, any_word(&mut random, tail));
                    }
                    _ => put(&data, PRODUCER_PAGE + 1024 + 8 * random.below(64), any_word(&mut random, tail)),
                }
            }
            for rx in &mut all {
                use_it(rx, &mut buf);
            }
            for start in [Start::Newest, Start::Oldest, Start::Sequence(1), Start::Last(9)] {
                for kind in KINDS {
                    if let Ok(mut rx) = kind.try_open(dir.open("r").start(start).prefault(false)) {
                        use_it(&mut rx, &mut buf);
                    }
                }
            }
        }
    });
}

/// The same without a pause, beside them.
#[test]
fn scribbles_in_data_at_full_speed() {
    in_time(|| {
        let dir = Dir::new();
        let (mut tx, mut all) = readers(&dir);
        let data = edit(&dir, "data");
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let over = &over;
            scope.spawn(move || {
                let mut random = Random::new(33);
                while !over.load(Ordering::Relaxed) {
                    let tail = get(&data, PRODUCER_PAGE + 128);
                    let at = match random.below(4) {
                        0 => RECORDS + 8 * random.below(512),
                        1 => RECORDS + 64 * random.below(64),
                        2 => PRODUCER_PAGE + 8 * [0, 1, 16, 17, 18, 32][random.below(6) as usize],
                        _ => PRODUCER_PAGE + 1024 + 8 * random.below(64),
                    };
                    put(&data, at, any_word(&mut random, tail));
                    // The real producer, whose own copies are right, goes on between.
                    (0..random.below(20)).for_each(|_| tx.try_send(&[7; 100]).unwrap_or_default());
                }
            });
            let begin = Instant::now();
            let mut buf = Vec::new();
            let mut turns = 0;
            while begin.elapsed() < Duration::from_secs(2) {
                all.iter_mut().for_each(|rx| use_it(rx, &mut buf));
                turns += 1;
            }
            over.store(true, Ordering::Relaxed);
            eprintln!("{turns} turns");
        });
    });
}

/// A header that no producer writes is `Corrupt`, again and again, never a record longer than the ring.
#[test]
fn headers_that_no_producer_writes() {
    in_time(|| {
        for kind in KINDS {
            let dir = Dir::new();
            let _tx = dir.create("r").capacity(4096).producer().unwrap();
            let data = edit(&dir, "data");
            for header in
                [1, 1 << 31 | 4096, 1 << 31 | 1 << 30, 1 << 32 | 1 << 31, !0, 1 << 31 | ((1 << 30) - 1)]
            {
                put(&data, RECORDS, 0);
                let mut rx = kind.open(dir.open("r"));
                put(&data, RECORDS, header);
                let corrupt = RecvError::Corrupt;
                for _ in 0..3 {
                    assert_eq!(rx.recv(&mut [0; 64]), Err(CopyError::Ended(corrupt)), "{header:#x}");
                    assert_eq!(rx.try_recv(&mut [0; 64]), Err(TryCopyError::Ended(corrupt)));
                    assert_eq!(rx.recv_timeout(&mut [0; 64], LONG), Err(CopyTimeoutError::Ended(corrupt)));
                }
                assert_eq!(rx.items().len(), 1);
            }
        }
    });
}

/// Positions as far as a word goes: a reader that follows them does not overflow.
#[test]
fn positions_at_the_end_of_their_range() {
    // The last that a reader takes for one, or nearly.
    let far = u64::MAX - 5 * 4096 + 1;
    for kind in KINDS {
        let dir = Dir::new();
        let _tx = dir.create("r").capacity(4096).producer().unwrap();
        let data = edit(&dir, "data");
        for (at, word) in
            [(0, far), (8, far), (128, far), (136, 1000), (144, far - 64), (1024, far), (1280, 1000)]
        {
            put(&data, PRODUCER_PAGE + at, word);
        }
        put(&data, RECORDS, 0);
        let mut rx = kind.open(dir.open("r"));
        assert_eq!(rx.sequence(), 1000);
        for n in 1000..1500_u64 {
            // A record of a line, wherever the reader is.
            for line in 0..64 {
                put(&data, RECORDS + 64 * line, n << 32 | 1 << 31 | 56);
            }
            match rx.try_recv(&mut [0; 56]) {
                Ok(received) => assert_eq!(received.sequence, n),
                Err(end) => {
                    assert!(n > 1000 + 4 * 64, "{n}: {end}");
                    break;
                }
            }
            let _ = rx.latest(&mut [0; 56]).map(drop);
        }
    }
}
