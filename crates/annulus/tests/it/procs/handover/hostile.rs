//! Each end of a ring that was handed over, against the other.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus::handover::{self, Offer, Peers, Reason};
use annulus::{CopyError, CopyTimeoutError, ErrorKind, Open, RecvError, RecvTimeoutError, Waiting, Wake};

use super::super::child::{Child, listen, say};
use super::{CAPACITY, INTERVAL, INTERVALS, bind, connect, new_socket, receive, send, small};
use crate::copiers::{Account, Copier, KINDS};
use crate::handover::{CTL, DATA, memfd, reason, reopened, ring, send_with};
use crate::support::{LONG, Random, in_time, payload};

/// Bytes of `ctl` before the slots, and of `data` before the producer's page and the records.
const SLOTS: u64 = 4096;
const PRODUCER_PAGE: u64 = 8192;
const RECORDS: u64 = 16384;

/// Something that a check may have forgotten.
fn word(random: &mut Random, tail: u64) -> u64 {
    let near = tail.wrapping_add(64 * random.below(140)).wrapping_sub(70 * 64);
    [0, u64::MAX, near, near, 1 << random.below(64), random.next()][random.below(6) as usize]
}

/// Makes what passes for a sealed ring, keeps a mapping from before, and writes anything to it for ever.
pub(super) fn scribble_data(socket: &str) {
    let (bytes, ctl) = ring();
    let (data, ctl) = (memfd(&bytes, 0), memfd(&ctl, CTL));
    let write = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: maps an object of our own as long as it is, and seals it; the lock is of one byte of it.
    let base = unsafe {
        let base =
            libc::mmap(std::ptr::null_mut(), bytes.len(), write, libc::MAP_SHARED, data.as_raw_fd(), 0);
        assert!(base != libc::MAP_FAILED);
        assert_eq!(libc::fcntl(data.as_raw_fd(), libc::F_ADD_SEALS, DATA), 0);
        let mut life: libc::flock = std::mem::zeroed();
        (life.l_type, life.l_start, life.l_len) = (libc::F_WRLCK as i16, 1, 1);
        assert_eq!(libc::fcntl(data.as_raw_fd(), libc::F_OFD_SETLK, &raw mut life), 0);
        base.cast::<u64>()
    };
    let offer = Offer::from_fds("wild", reopened(&data, libc::O_RDONLY), Some(ctl)).unwrap();
    send(&connect(socket), offer);
    assert_eq!(listen(), "go");
    say("scribbling");
    let mut random = Random::new(43);
    let words = bytes.len() / 8;
    loop {
        // SAFETY: all within the mapping, which stays.
        unsafe {
            let tail = base.add(PRODUCER_PAGE as usize / 8 + 16).read_volatile();
            let at = match random.below(3) {
                0 => PRODUCER_PAGE / 8 + random.below(40),
                1 => PRODUCER_PAGE / 8 + 128 + random.below(64),
                _ => RECORDS / 8 + random.below(words as u64 - RECORDS / 8),
            };
            base.add(at as usize).write_volatile(word(&mut random, tail));
        }
    }
}

/// A producer that writes anything through a mapping from before the seal: its readers get wrong bytes or an end; no crash,
/// no call that hangs, and when it is killed all of them end.
#[test]
fn a_producer_that_scribbles_in_sealed_data() {
    in_time(|| {
        let name = new_socket();
        let listener = bind(&name);
        let mut scribbler = Child::start("handed-scribble-data", &[&name]);
        let open = receive(&listener.accept().unwrap().0).open().waiting(Waiting::yielding());
        let rx = open.clone().subscribe().unwrap();
        let mut copiers = KINDS.map(|kind| kind.open(open.clone()));
        scribbler.tell("go");
        scribbler.expect("scribbling");
        let limit = INTERVAL * INTERVALS;
        let (mut buf, brief) = (Vec::new(), Duration::from_micros(50));
        let begin = Instant::now();
        let mut ended = None;
        // Both while it writes and when it has stopped in the middle: then nothing changes any more.
        loop {
            let one = Instant::now();
            let mut ends = 0;
            match rx.recv_timeout(brief) {
                Ok(record) => assert!(
                    record.len() <= CAPACITY
                        && record.iter().map(|byte| usize::from(*byte)).sum::<usize>() <= 255 * CAPACITY
                ),
                Err(RecvTimeoutError::Ended(_)) => ends += 1,
                Err(_) => {}
            }
            for rx in &mut copiers {
                match rx.recv_into_timeout(&mut buf, brief) {
                    Ok(received) => assert!(received.len == buf.len() && received.len <= rx.max_len()),
                    Err(CopyTimeoutError::Ended(_)) => ends += 1,
                    Err(_) => {}
                }
                if ended.is_none()
                    && let Ok(received) = rx.latest_into(&mut buf)
                {
                    assert!(received.len == buf.len() && received.len <= rx.max_len());
                }
            }
            assert!(one.elapsed() < limit, "a call hangs");
            match ended {
                None if begin.elapsed() > limit => {
                    scribbler.kill();
                    ended = Some(Instant::now());
                }
                Some(_) if ends == 3 => break,
                Some(when) => assert!(when.elapsed() < 2 * limit, "only {ends} have ended"),
                None => {}
            }
        }
    });
}

/// Writes anything to the `ctl` that it was given, for ever.
pub(super) fn scribble_ctl(socket: &str) {
    let (data, ctl) = receive(&connect(socket)).into_fds();
    let (data, ctl) = (File::from(data), File::from(ctl.unwrap()));
    say("scribbling");
    let mut random = Random::new(47);
    loop {
        let mut tail = [0; 8];
        data.read_exact_at(&mut tail, PRODUCER_PAGE + 128).unwrap();
        let at = match random.below(3) {
            0 => [128, 256, 264][random.below(3) as usize],
            1 => SLOTS + 8 * random.below(4 * 32),
            _ => SLOTS + 256 * random.below(4),
        };
        let word = word(&mut random, u64::from_le_bytes(tail));
        ctl.write_all_at(&word.to_le_bytes(), at).unwrap();
    }
}

/// What calls that wait are given.
const BRIEF: Duration = Duration::from_millis(2);

/// What the call returns, which must be soon.
#[track_caller]
fn brisk<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let got = call();
    assert!(begin.elapsed() < INTERVAL * INTERVALS, "{what}: {:?}", begin.elapsed());
    got
}

/// Reads as a reader that copies, to its end, which must be a clean one. Nothing is torn, and every loss exact.
fn copy_all(mut rx: Copier, record: impl Fn(u64) -> Vec<u8>) -> Account {
    let (mut account, mut buf) = (Account::new(0), Vec::new());
    loop {
        let got = match brisk("recv", || rx.recv_into_timeout(&mut buf, BRIEF)) {
            Ok(received) => Ok(received),
            Err(CopyTimeoutError::TimedOut) => continue,
            Err(CopyTimeoutError::Lagged(lost)) => Err(CopyError::Lagged(lost)),
            Err(CopyTimeoutError::Ended(end)) => Err(CopyError::Ended(end)),
            Err(other) => panic!("{other}"),
        };
        if let Some(end) = account.enter(got, &buf, &record) {
            assert_eq!(end, RecvError::Closed);
            return account;
        }
    }
}

/// Comes, borrows and leaves, until it is over; says how many records it saw. What they say may change, since whoever
/// may write `ctl` can free them; that they are the ring's own memory may not.
fn borrow_all(open: &Open, over: &AtomicBool) -> u64 {
    let mut seen = 0;
    while !over.load(Ordering::Relaxed) {
        let rx = match brisk("subscribe", || open.clone().subscribe()) {
            Ok(rx) => rx,
            Err(error) => {
                let known = matches!(error.kind(), ErrorKind::Corrupt(_) | ErrorKind::NoFreeSlot { .. });
                assert!(known, "{error}");
                continue;
            }
        };
        for _ in 0..50 {
            match brisk("recv_timeout in place", || rx.recv_timeout(BRIEF)) {
                Ok(record) => {
                    assert!(record.len() <= CAPACITY);
                    std::hint::black_box(record.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
                    seen += 1;
                }
                Err(RecvTimeoutError::TimedOut) => {}
                Err(_) => break,
            }
        }
        brisk("leave", || drop(rx));
    }
    seen
}

/// Promise: a receiver that writes anything to `ctl`: copying readers get no torn record and exact losses, those that
/// borrow stay in the ring's memory, the producer goes on, and no call of any of them takes longer than 20 liveness
/// intervals beyond the time that it was given.
#[test]
fn a_receiver_that_scribbles_in_ctl() {
    in_time(|| {
        let name = new_socket();
        let listener = bind(&name);
        let record = |n: u64| payload(n, (n.wrapping_mul(53) % 300) as usize);
        // Semaphores are for those who trust each other: see the guide.
        let mut tx = small("wild").max_subscribers(4).wake(Wake::Futex).producer().unwrap();
        let mut scribbler = Child::start("handed-scribble-ctl", &[&name]);
        send(&listener.accept().unwrap().0, tx.offer().unwrap());
        let open = tx.offer().unwrap().open().waiting(Waiting::park_after(0));
        let readers = KINDS.map(|kind| kind.open(open.clone()));
        scribbler.expect("scribbling");
        let readers = readers.map(|rx| thread::spawn(move || copy_all(rx, record)));
        let over = Arc::new(AtomicBool::new(false));
        let borrower = {
            let (open, over) = (open.clone(), Arc::clone(&over));
            thread::spawn(move || borrow_all(&open, &over))
        };
        let begin = Instant::now();
        while begin.elapsed() < INTERVAL * INTERVALS {
            let bytes = record(tx.sequence());
            _ = brisk("try_send", || tx.try_send(&bytes));
            let bytes = record(tx.sequence());
            _ = brisk("send_timeout", || tx.send_timeout(&bytes, BRIEF));
            _ = brisk("info", || open.clone().info().map(|info| format!("{info:?}")));
        }
        assert!(tx.sequence() > 0, "nothing was sent");
        scribbler.kill();
        over.store(true, Ordering::Relaxed);
        assert!(borrower.join().unwrap() > 0, "nothing was borrowed");
        // What it left behind stops nobody.
        for n in tx.sequence()..tx.sequence() + 200 {
            tx.send_timeout(&record(n), INTERVAL * INTERVALS).unwrap();
        }
        let published = tx.sequence();
        brisk("drop", || drop(tx));
        for reader in readers {
            reader.join().unwrap().balances(published);
        }
    });
}

/// A message with a file in it that is pulled away while it is read: refused before it is mapped.
#[test]
fn what_could_be_pulled_away_is_never_mapped() {
    in_time(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let (data, ctl) = ring();
        let (data, ctl) = (memfd(&data, CTL & !libc::F_SEAL_SHRINK & !libc::F_SEAL_SEAL), memfd(&ctl, CTL));
        let mut message = [0; 256];
        message[..12].copy_from_slice(b"annulusH\x01\x02\x01r");
        send_with(&here, &message, &[data.as_raw_fd(), ctl.as_raw_fd()]);
        File::from(data).set_len(0).unwrap();
        let error = handover::receive(&there, &Peers::new(), LONG).unwrap_err();
        assert_eq!(reason(&error), Reason::Unsealed("data"));
    });
}
