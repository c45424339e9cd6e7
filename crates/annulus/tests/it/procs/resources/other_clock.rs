//! Clocks that are not the same on both sides: time_namespaces(7).
#![allow(unsafe_code)]

use std::fs;
use std::time::Duration;

use annulus::{RecvError, RecvTimeoutError, Ring, Waiting};

use crate::procs::child::{Child, listen, say};
use crate::support::{Dir, INTERVALS, LONG, in_time, may_do_all, thread_id};

const INTERVAL: Duration = Duration::from_millis(50);
const DAYS: i64 = 10;
const ROUNDS: u64 = 500;

fn monotonic() -> i64 {
    // SAFETY: all-zero is a value of this struct, which the call fills in.
    unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        assert_eq!(libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now), 0);
        now.tv_sec
    }
}

/// Moves to a clock that is days ahead, and runs the other end there.
pub(super) fn move_ahead(dir: &str) {
    // SAFETY: concerns the children of this process only.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWTIME) }, 0);
    // That of this thread, which need not be the first of its process.
    let offsets = format!("/proc/{}/timens_offsets", thread_id());
    fs::write(offsets, format!("monotonic {} 0\n", DAYS * 86_400)).unwrap();
    let mut there = Child::start("resources", &["days-ahead", dir, &monotonic().to_string()]);
    loop {
        let said = there.hear();
        say(&said);
        if said == "echoing" {
            assert_eq!(listen(), "kill");
            there.kill();
            return say("killed");
        }
    }
}

/// Sends back what it gets, by a clock that is days ahead.
pub(super) fn echo(dir: &str, before: i64) {
    assert!(monotonic() - before >= (DAYS - 1) * 86_400, "the clock is the same");
    let parked = Waiting::park_after(0);
    let rx = Ring::open("there").dir(dir).waiting(parked).subscribe().unwrap();
    let back = Ring::create("back").dir(dir).capacity(4096).liveness(INTERVAL).waiting(parked);
    let mut tx = back.producer().unwrap();
    // Several intervals in which nothing comes, and nobody is lost.
    assert_eq!(rx.recv_timeout(INTERVAL * 3).map(drop), Err(RecvTimeoutError::TimedOut));
    say("echoing");
    loop {
        tx.send(&rx.recv().unwrap()).unwrap();
    }
}

/// Case: clock steps. The two ends live by clocks that are ten days apart: nobody is given up, deadlines and wakes are
/// those of each one's own clock, and a death is noticed.
#[test]
fn clocks_that_are_days_apart() {
    if !may_do_all() || !fs::exists("/proc/self/timens_offsets").unwrap() {
        return eprintln!("NOT TESTED: needs root and time namespaces");
    }
    in_time(|| {
        let dir = Dir::new();
        let parked = Waiting::park_after(0);
        let mut tx = dir.create("there").liveness(INTERVAL).waiting(parked).producer().unwrap();
        let mut mover = Child::start("resources", &["another-clock", dir.text()]);
        mover.expect("echoing");
        let rx = dir.open("back").waiting(parked).subscribe().unwrap();
        for n in 0..ROUNDS {
            tx.send(&n.to_le_bytes()).unwrap();
            assert_eq!(&*rx.recv_timeout(LONG).unwrap(), n.to_le_bytes());
        }
        assert_eq!(rx.recv_timeout(INTERVAL * 3).map(drop), Err(RecvTimeoutError::TimedOut));
        mover.tell("kill");
        mover.expect("killed");
        let end = rx.recv_timeout(INTERVAL * INTERVALS).map(drop).unwrap_err();
        assert_eq!(end, RecvTimeoutError::Ended(RecvError::ProducerLost));
        mover.ends_well();
    });
}
