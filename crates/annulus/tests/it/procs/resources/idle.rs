//! What waiting costs: counted by the kernel, for each blocked thread.
#![allow(unsafe_code)]

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use annulus::{Select, Selectable, Wake};

use crate::support::{Dir, in_time};

const INTERVAL: Duration = Duration::from_millis(100);
/// Wake-ups besides one for each interval: a producer's first sleep is a millisecond, an observer's naps grow from short
/// ones to the interval, and the first look may be late.
const FEW: i64 = 16;

/// Voluntary switches of this thread, and microseconds of processor time that it used.
fn used() -> (i64, i64) {
    // SAFETY: all-zero is a value of this struct of integers, which the kernel fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    (usage.ru_nvcsw, micros(usage.ru_utime) + micros(usage.ru_stime))
}

/// How long each waits: intervals enough for those few not to matter.
const LIMIT: Duration = Duration::from_secs(2);

/// Case 29: an idle reader of every kind and a blocked producer use less than 0.1 % of a processor, and wake up no more
/// often than the liveness interval asks; with the default way to wait, in which they spin first.
#[test]
fn who_waits_costs_nothing() {
    in_time(|| {
        let dir = Dir::new();
        let ring = |name: &str| dir.create(name).capacity(4096).liveness(INTERVAL);
        let full = |name: &str| {
            let mut tx = ring(name).producer().unwrap();
            let rx = dir.open(name).subscribe_copying().unwrap();
            while tx.try_send(&[1; 100]).is_ok() {}
            (tx, rx)
        };
        // Who waits for several sleeps at futexes, and looks at semaphores again and again.
        let futex = |name: &str| ring(name).wake(Wake::Futex).producer().unwrap();
        let _tx = ring("r").producer().unwrap();
        ring("vacant").persistent(true).without_producer().unwrap();
        let open = || dir.open("r");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let rx = open().subscribe().unwrap();
                measured("a subscriber", || rx.recv_timeout(LIMIT).is_err());
            });
            scope.spawn(|| {
                let mut rx = open().subscribe_copying().unwrap();
                measured("a copying subscriber", || rx.recv_timeout(&mut [0; 8], LIMIT).is_err());
            });
            scope.spawn(|| {
                let mut rx = open().observe().unwrap();
                measured("an observer", || rx.recv_timeout(&mut [0; 8], LIMIT).is_err());
            });
            scope.spawn(|| {
                let rx = dir.open("vacant").subscribe().unwrap();
                measured("a subscriber without a producer", || rx.recv_timeout(LIMIT).is_err());
            });
            scope.spawn(|| {
                let names: Vec<String> = (0..3).map(|n| format!("one-of-many-{n}")).collect();
                let _txs: Vec<_> = names.iter().map(|name| futex(name)).collect();
                let rxs: Vec<_> = names.iter().map(|name| dir.open(name).subscribe().unwrap()).collect();
                let sources: Vec<_> = rxs.iter().map(|rx| rx as &dyn Selectable).collect();
                let mut select = Select::new();
                measured("a wait for many", || select.wait_timeout(&sources, LIMIT).is_err());
            });
            scope.spawn(|| {
                let _tx = futex("beside-a-descriptor");
                let rx = dir.open("beside-a-descriptor").subscribe().unwrap();
                let (near, _far) = UnixStream::pair().unwrap();
                let wait = || Select::new().wait_timeout(&[&rx, &near], LIMIT).is_err();
                measured("a wait for a ring and a descriptor", wait);
            });
            scope.spawn(|| {
                let (mut tx, _rx) = full("full");
                measured("a blocked producer", || tx.send_timeout(&[1; 100], LIMIT).is_err());
            });
            scope.spawn(|| {
                let tx = ring("alone").producer().unwrap();
                let alone = || tx.wait_for_subscribers_timeout(1, LIMIT).is_err();
                measured("a producer without subscribers", alone);
            });
        });
    });
}

/// What a wait to its limit uses, measured against the time that it really took: on a busy machine that is longer.
fn measured(who: &str, wait: impl FnOnce() -> bool) {
    let (before, begin) = (used(), Instant::now());
    assert!(wait(), "{who} did not wait to the end");
    let (after, took) = (used(), begin.elapsed());
    let (switches, micros) = (after.0 - before.0, after.1 - before.1);
    eprintln!("{who}: {switches} switches and {micros} us in {took:?}");
    let intervals = took.as_micros().div_ceil(INTERVAL.as_micros()) as i64;
    assert!(switches <= intervals + FEW, "{who} woke up {switches} times in {intervals} intervals");
    assert!(micros * 1000 < took.as_micros() as i64, "{who} used {micros} us of {took:?}");
}
