//! A process that may write a ring's files and writes anything, beside readers that copy.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use annulus::{RecvError, Waiting};

use super::child::{Child, say};
use crate::copiers::{Account, KINDS};
use crate::support::{Dir, LONG, Random, in_time, payload};

/// Bytes of `ctl` before the slots, and of `data` before the producer's page and the records.
const SLOTS: u64 = 4096;
const PRODUCER_PAGE: u64 = 8192;
const RECORDS: u64 = 16384;

fn len_of(n: u64) -> usize {
    (n * 53 % 300) as usize
}

/// Writes random words to `ctl`, where subscribers may, or to `data`, where the producer may, until it is killed.
pub(super) fn scribble(dir: &str, name: &str, which: &str) {
    let path = Path::new(dir).join(name).join(which);
    let file: File = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let data = File::open(Path::new(dir).join(name).join("data")).unwrap();
    say("scribbling");
    let mut random = Random::new(41);
    loop {
        let mut tail = [0; 8];
        data.read_exact_at(&mut tail, PRODUCER_PAGE + 128).unwrap();
        let near = u64::from_le_bytes(tail).wrapping_add(64 * random.below(140)).wrapping_sub(70 * 64);
        let word = [0, u64::MAX, near, near, 1 << random.below(64), random.next()][random.below(6) as usize];
        let at = match (which, random.below(3)) {
            ("ctl", 0) => [128, 256, 264][random.below(3) as usize],
            ("ctl", 1) => SLOTS + 8 * random.below(4 * 32),
            ("ctl", _) => SLOTS + 256 * random.below(4),
            (_, 0) => PRODUCER_PAGE + 8 * random.below(40),
            (_, 1) => PRODUCER_PAGE + 1024 + 8 * random.below(64),
            _ => RECORDS + 8 * random.below(512),
        };
        file.write_all_at(&word.to_le_bytes(), at).unwrap();
    }
}

/// A subscriber's process that writes anything to `ctl`: no torn record, every loss exact, and the producer goes on.
#[test]
fn a_process_that_scribbles_in_ctl() {
    for waiting in [Waiting::park_after(0), Waiting::yielding()] {
        in_time(move || {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).liveness(Duration::from_millis(1)).max_subscribers(4);
            let mut tx = ring.waiting(waiting).producer().unwrap();
            let readers = KINDS.map(|kind| kind.open(dir.open("r").waiting(waiting)));
            let mut scribbler = Child::start("scribble", &[dir.text(), "r", "ctl"]);
            scribbler.expect("scribbling");
            let readers = readers.map(|mut rx| {
                thread::spawn(move || {
                    let mut account = Account::new(0);
                    let end = account.read_all(&mut rx, |n| payload(n, len_of(n)));
                    assert_eq!(end, RecvError::Closed);
                    account
                })
            });
            for n in 0..10_000 {
                tx.send_timeout(&payload(n, len_of(n)), LONG / 2).unwrap();
            }
            drop(tx);
            for reader in readers {
                reader.join().unwrap().balances(10_000);
            }
            scribbler.kill();
        });
    }
}

/// An owner's process that writes anything to `data`: wrong bytes or an end, no panic, no hang, nothing out of bounds.
#[test]
fn a_process_that_scribbles_in_data() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).liveness(Duration::from_millis(1)).producer().unwrap();
        (0..100).for_each(|_| tx.send(&[7; 100]).unwrap());
        let mut readers = KINDS.map(|kind| kind.open(dir.open("r")));
        let mut scribbler = Child::start("scribble", &[dir.text(), "r", "data"]);
        scribbler.expect("scribbling");
        let (begin, mut buf, brief) = (Instant::now(), Vec::new(), Duration::from_micros(50));
        while begin.elapsed() < Duration::from_secs(2) {
            let _ = tx.try_send(&[7; 100]);
            for rx in &mut readers {
                let max = rx.max_len();
                if let Ok(received) = rx.recv_into_timeout(&mut buf, brief) {
                    assert!(received.len == buf.len() && received.len <= max);
                }
                if let Ok(received) = rx.latest_into(&mut buf) {
                    assert!(received.len == buf.len() && received.len <= max);
                }
            }
        }
        scribbler.kill();
    });
}
