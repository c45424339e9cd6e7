//! Readers that wait: woken at once, in time, and by the right things.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use annulus::{CopyTimeoutError, FenceMode, RecvError, RecvTimeoutError, Waiting, Wake};

use crate::support::{Dir, INTERVALS, each_in_time, in_time, thread_id, until_asleep, until_in_call};

const NEVER: Duration = Duration::from_secs(3600);
const SLEEPING: [FenceMode; 2] = [FenceMode::Asymmetric, FenceMode::Symmetric];

/// Case: a wake lost at the instant of going to sleep. A sleeping reader is woken by the record, by the end, and not by the clock.
#[test]
fn a_sleeping_reader_is_woken() {
    for fence in SLEEPING {
        in_time(move || {
            let dir = Dir::new();
            let mut tx = dir.create("r").fence(fence).liveness(NEVER).producer().unwrap();
            let rx = dir.open("r").waiting(Waiting::park_after(0)).subscribe().unwrap();
            let (say, tid) = mpsc::channel();
            let (got, records) = mpsc::channel();
            let reader = std::thread::spawn(move || {
                say.send(thread_id()).unwrap();
                for record in &rx {
                    got.send(record.unwrap().to_vec()).unwrap();
                }
            });
            let tid = tid.recv().unwrap();
            for n in 0..200_u64 {
                until_asleep(tid);
                tx.send(&n.to_le_bytes()).unwrap();
                assert_eq!(records.recv().unwrap(), n.to_le_bytes());
            }
            assert!(dir.open("r").info().unwrap().wakes > 0);
            until_asleep(tid);
            drop(tx);
            reader.join().unwrap();
        });
    }
}

/// How many times a record goes to and fro: 1,000,000 with `ANNULUS_TEST_PINGPONGS=1000000`, fewer else.
fn ping_pongs() -> u64 {
    std::env::var("ANNULUS_TEST_PINGPONGS").map_or(25_000, |n| n.parse().unwrap())
}

/// Case 27: both sides sleep at once: two rings, one record to and fro, without a stall: with a liveness interval of an
/// hour a wake that is lost ends the test.
#[test]
fn both_sides_sleep() {
    for fence in SLEEPING {
        each_in_time(move |trips| {
            let dir = Dir::new();
            let ring = |name| {
                let tx = dir.create(name).capacity(4096).fence(fence).liveness(NEVER).producer().unwrap();
                (tx, dir.open(name).waiting(Waiting::park_after(0)).subscribe().unwrap())
            };
            let (mut there, there_end) = ring("there");
            let (mut back, back_end) = ring("back");
            let echo = std::thread::spawn(move || {
                for record in &there_end {
                    back.send(&record.unwrap()).unwrap();
                }
            });
            let mut longest = Duration::ZERO;
            for n in 0..ping_pongs() {
                let begin = Instant::now();
                there.send(&n.to_le_bytes()).unwrap();
                let record = back_end.recv().unwrap();
                assert_eq!(&*record, n.to_le_bytes());
                longest = longest.max(begin.elapsed());
                trips.store(n, Ordering::Relaxed);
            }
            eprintln!("{fence:?}: longest round trip {longest:?}");
            drop(there);
            echo.join().unwrap();
        });
    }
}

/// Case 27: the same with readers that copy: each sleep races with a record, and no wake is lost.
#[test]
fn both_sides_sleep_on_copies() {
    for fence in SLEEPING {
        each_in_time(move |trips| {
            let dir = Dir::new();
            let ring = |name| {
                let tx = dir.create(name).capacity(4096).fence(fence).liveness(NEVER).producer().unwrap();
                (tx, dir.open(name).waiting(Waiting::park_after(0)).subscribe_copying().unwrap())
            };
            let (mut there, mut there_end) = ring("there");
            let (mut back, mut back_end) = ring("back");
            let echo = std::thread::spawn(move || {
                let mut buf = Vec::new();
                while there_end.recv_into(&mut buf).is_ok() {
                    back.send(&buf).unwrap();
                }
            });
            let mut buf = [0; 8];
            for n in 0..10_000_u64 {
                there.send(&n.to_le_bytes()).unwrap();
                back_end.recv(&mut buf).unwrap();
                assert_eq!(buf, n.to_le_bytes());
                trips.store(n, Ordering::Relaxed);
            }
            drop(there);
            echo.join().unwrap();
        });
    }
}

/// Only the first sleep is short: an idle reader is not to wake up for what a producer might have missed.
#[test]
fn who_has_slept_for_a_while_sleeps_on() {
    let dir = Dir::new();
    for (name, wake) in [("futex", Wake::Futex), ("semaphore", Wake::Semaphore)] {
        let ring = dir.create(name).wake(wake).fence(FenceMode::Asymmetric).liveness(NEVER);
        let _tx = ring.producer().unwrap();
        let waiting = Waiting::park_after(0);
        let rx = dir.open(name).waiting(waiting).subscribe().unwrap();
        let mut copying = dir.open(name).waiting(waiting).subscribe_copying().unwrap();
        for _ in 0..3 {
            assert_eq!(rx.recv_timeout(Duration::from_millis(100)).unwrap_err(), RecvTimeoutError::TimedOut);
            let nothing = copying.recv_timeout(&mut [], Duration::from_millis(100));
            assert_eq!(nothing.unwrap_err(), CopyTimeoutError::TimedOut);
        }
        let sleeps: Vec<u64> =
            dir.open(name).info().unwrap().subscribers.iter().map(|one| one.sleeps).collect();
        // A short one, and the rest of each wait. On a machine that is late, a sleep may end before its wait does.
        assert!(
            sleeps.len() == 2 && sleeps.iter().all(|sleeps| (4..=8).contains(sleeps)),
            "{name}: {sleeps:?}"
        );
    }
}

/// From now on this thread, and those that it starts, run on one processor.
fn stay_here() {
    // SAFETY: sets where this thread runs; all-zero is an empty set.
    unsafe {
        let mut here: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut here);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&here), &raw const here), 0);
    }
}

/// Case 31: a wait with a limit ends at it, not before, however it waits.
#[test]
fn a_wait_times_out() {
    for fence in [FenceMode::Asymmetric, FenceMode::Symmetric, FenceMode::SpinOnly] {
        let dir = Dir::new();
        let mut tx = dir.create("r").fence(fence).producer().unwrap();
        let rx = dir.open("r").subscribe().unwrap();
        for waiting in
            [Waiting::park(), Waiting::park_after(0), Waiting::spin(), Waiting::pause(), Waiting::yielding()]
        {
            rx.set_waiting(waiting);
            for limit in [Duration::ZERO, Duration::from_millis(10)] {
                let begin = Instant::now();
                assert_eq!(rx.recv_timeout(limit).unwrap_err(), RecvTimeoutError::TimedOut);
                assert!(begin.elapsed() >= limit);
            }
        }
        tx.send(b"x").unwrap();
        assert_eq!(&*rx.recv_timeout(Duration::ZERO).unwrap(), b"x");
        tx.send(b"y").unwrap();
        assert_eq!(&*rx.recv_timeout(Duration::MAX).unwrap(), b"y");
    }
}

/// On a ring where nobody may sleep on the futex, a parking reader naps and still gets everything.
#[test]
fn a_parking_reader_on_a_spin_only_ring() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").fence(FenceMode::SpinOnly).producer().unwrap();
        let rx = dir.open("r").waiting(Waiting::park_after(0)).subscribe().unwrap();
        let (say, tid) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            say.send(thread_id()).unwrap();
            (rx.iter().map(|record| record.unwrap().len()).sum::<usize>(), rx.recv().unwrap_err())
        });
        until_in_call(tid.recv().unwrap(), &[libc::SYS_nanosleep, libc::SYS_clock_nanosleep]);
        for _ in 0..100 {
            tx.send(&[1; 10]).unwrap();
        }
        drop(tx);
        assert_eq!(reader.join().unwrap(), (1000, RecvError::Closed));
    });
}

/// Case 28: a signal that interrupts the sleep is neither an error nor an end.
#[test]
fn a_signal_is_not_an_end() {
    extern "C" fn nothing(_: libc::c_int) {}
    in_time(|| {
        // SAFETY: an all-zero `sigaction` has no flags and an empty mask; the handler does nothing.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()), 0);
        }
        let dir = Dir::new();
        let mut tx = dir.create("r").liveness(NEVER).producer().unwrap();
        let rx = dir.open("r").waiting(Waiting::park_after(0)).subscribe().unwrap();
        let (say, tid) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            say.send(thread_id()).unwrap();
            rx.recv().map(|record| record.to_vec())
        });
        let tid = tid.recv().unwrap();
        for _ in 0..50 {
            until_asleep(tid);
            // SAFETY: signals a thread of this process; one that is gone makes the call fail.
            let sent = unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), tid, libc::SIGUSR2) };
            assert_eq!(sent, 0);
        }
        until_asleep(tid);
        tx.send(b"x").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), b"x");
    });
}

/// Both sides in one process, in one thread even, far more records than fit, by turns.
#[test]
fn both_sides_in_one_thread() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    for n in 0..100_000_u64 {
        tx.send(&n.to_le_bytes()).unwrap();
        assert_eq!(&*rx.recv().unwrap(), n.to_le_bytes());
    }
}

/// One that yields looks at the clock at each turn: with others at work on its processor, a turn is as long as
/// their time slices, and a limit of milliseconds took many seconds.
#[test]
fn a_limit_while_others_work() {
    const LIVENESS: Duration = Duration::from_millis(100);
    in_time(|| {
        let dir = Dir::new();
        let _tx = dir.create("r").capacity(4096).liveness(LIVENESS).producer().unwrap();
        let rx = dir.open("r").waiting(Waiting::yielding()).subscribe().unwrap();
        stay_here();
        let over = AtomicBool::new(false);
        let took = std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let begin = Instant::now();
            let nothing = rx.recv_timeout(Duration::from_millis(20)).map(drop);
            let took = begin.elapsed();
            over.store(true, Ordering::Relaxed);
            assert_eq!(nothing.unwrap_err(), RecvTimeoutError::TimedOut);
            took
        });
        assert!(took < LIVENESS * INTERVALS, "{took:?}");
    });
}
