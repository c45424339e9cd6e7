//! A producer is killed, and the next one goes on.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use annulus::{Record, RecvError};

use super::child::Child;
use super::roles::record;
use crate::support::{Dir, Random, in_time, no_forks, sleeps, thread_id, until, until_asleep};

const KILLS: u64 = 50;

/// Lets a producer run at full speed for a moment, and kills it wherever it is. Returns where it began.
fn run_and_kill(dir: &Dir, random: &mut Random) -> u64 {
    let mut producer = Child::start("flood", &[dir.text(), "r"]);
    let began = producer.hear().parse().unwrap();
    let moment = Duration::from_micros(random.below(4000));
    let begin = Instant::now();
    while begin.elapsed() < moment {
        std::hint::spin_loop();
    }
    producer.kill();
    began
}

fn check(record_: &Record<'_>, next: u64) {
    assert_eq!(record_.sequence(), next, "a gap or a record twice");
    assert_eq!(&**record_, record(next), "a torn record");
}

/// Case 18 and promise: the producer is killed in the middle of a write, a new one goes on in sequence. At a random instant
/// at full speed, 50 times: a reader that stays sees the sequence
/// without a gap or a record twice, and every record whole; never an end before the clean one.
#[test]
fn a_reader_that_stays() {
    in_time(|| {
        let dir = Dir::new();
        let mut random = Random::new(11);
        let mut producer = Child::start("flood", &[dir.text(), "r"]);
        producer.expect("0");
        let rx = dir.open("r").stay().subscribe().unwrap();
        let reader = thread::spawn(move || {
            let mut next = rx.sequence();
            loop {
                match rx.recv() {
                    Ok(record) => check(&record, next),
                    Err(end) => return (next, end),
                }
                next += 1;
            }
        });
        producer.kill();
        let mut last = 0;
        for _ in 0..KILLS {
            let began = run_and_kill(&dir, &mut random);
            assert!(began >= last, "the sequence went back");
            last = began;
        }
        let tx = dir.open("r").producer().unwrap();
        let sent = tx.sequence();
        drop(tx);
        assert_eq!(reader.join().unwrap(), (sent, RecvError::Closed));
        eprintln!("{sent} records over {KILLS} kills");
        assert!(sent > 1000);
    });
}

/// Case 18: the same for one that is told of each death and asks again.
#[test]
fn a_reader_that_is_told() {
    in_time(|| {
        let dir = Dir::new();
        let mut random = Random::new(12);
        let mut producer = Child::start("flood", &[dir.text(), "r"]);
        producer.expect("0");
        let rx = dir.open("r").subscribe().unwrap();
        let mut next = rx.sequence();
        producer.kill();
        let mut told = 0;
        for _ in 0..10 {
            // Everything that it left, then the news, with the same place kept.
            loop {
                match rx.recv() {
                    Ok(record) => check(&record, next),
                    Err(end) => {
                        assert_eq!(end, RecvError::ProducerLost);
                        told += 1;
                        break;
                    }
                }
                next += 1;
            }
            // The next runs until the ring is full or it is killed.
            assert_eq!(run_and_kill(&dir, &mut random), next);
        }
        assert_eq!(told, 10);
    });
}

/// A new ring over a leftover: the old one's readers are told that they were replaced, staying or not, and parked.
#[test]
fn a_leftover_is_replaced() {
    for stay in [false, true] {
        in_time(move || {
            let dir = Dir::new();
            let mut producer = Child::start("end", &[dir.text(), "r", "kill"]);
            producer.expect("ready");
            let open = dir.open("r");
            let rx = if stay { open.stay() } else { open }.subscribe().unwrap();
            producer.tell("go");
            producer.expect("sent");
            producer.kill();
            let mut tx = dir.create("r").capacity(8192).producer().unwrap();
            assert_eq!((tx.sequence(), tx.capacity()), (0, 8192));
            tx.send(b"new").unwrap();
            for n in 0..3 {
                assert_eq!(&*rx.recv().unwrap(), record(n));
            }
            for _ in 0..3 {
                assert_eq!(rx.recv().unwrap_err(), RecvError::Replaced);
            }
            assert!(!rx.is_linked());
            assert_eq!(dir.entries(), ["r"]);
            let items: Vec<_> = rx.iter().collect();
            assert!(matches!(items[..], [Err(RecvError::Replaced)]));
        });
    }
}

/// Promise: a service crashes and starts again. A reader that stays sleeps through the death, and is woken by the
/// next producer.
#[test]
fn a_reader_asleep_over_the_death() {
    in_time(|| {
        let dir = Dir::new();
        let mut producer = Child::start("end", &[dir.text(), "r", "kill"]);
        producer.expect("ready");
        let rx = dir.open("r").stay().waiting(annulus::Waiting::park_after(0)).subscribe().unwrap();
        let (say, tid) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            say.send(thread_id()).unwrap();
            rx.iter().map(|record| record.unwrap().to_vec()).collect::<Vec<_>>()
        });
        let tid = tid.recv().unwrap();
        until_asleep(tid);
        producer.kill();
        // It looks for a producer once for each liveness interval, and goes to sleep again.
        let before = sleeps(tid).expect("a reader that has not ended");
        until("it has looked several times", || sleeps(tid).is_none_or(|now| now >= before + 4));
        until_asleep(tid);
        assert!(!reader.is_finished());
        let mut tx = dir.open_or_create("r").producer().unwrap();
        tx.send(b"next").unwrap();
        drop(tx);
        assert_eq!(reader.join().unwrap(), [b"next"]);
    });
}

/// Promise: the producer is killed in the middle of a write: readers see every record that was published, and the
/// next one goes on with the next number. It dies after the store that makes a record, or a whole batch, visible, and
/// before it has noted that: a window too short to be hit by kills, so its words are set back to what they were.
#[test]
fn a_death_right_after_the_publication() {
    let _alone = no_forks();
    /// Bytes of `data` where `tail` and `published` stand.
    const WORDS: [u64; 2] = [8192 + 128, 8192 + 136];
    for unnoted in 0..20_u64 {
        for published_noted in [false, true] {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).persistent(true).producer().unwrap();
            let rx = dir.open("r").subscribe().unwrap();
            for n in 0..100 {
                tx.send(&[n; 40]).unwrap();
                assert_eq!(rx.recv().unwrap().sequence(), u64::from(n));
            }
            drop(tx);
            let data = OpenOptions::new().write(true).open(dir.file("r", "data")).unwrap();
            let published = if published_noted { 100 } else { 100 - unnoted };
            data.write_all_at(&((100 - unnoted) * 64).to_le_bytes(), WORDS[0]).unwrap();
            data.write_all_at(&published.to_le_bytes(), WORDS[1]).unwrap();
            let mut tx = dir.open("r").producer().unwrap();
            assert_eq!(tx.sequence(), 100);
            tx.send(b"next").unwrap();
            let next = rx.recv().unwrap();
            assert_eq!((next.sequence(), &*next), (100, &b"next"[..]));
        }
    }
}
