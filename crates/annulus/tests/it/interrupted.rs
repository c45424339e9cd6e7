//! Signals that come while somebody waits: neither an error, nor an end, nor the peer's death.
#![allow(unsafe_code)]

use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annulus::{Select, SelectError, Selectable, Waiting};

use crate::support::{Dir, in_time, thread_id, until};

/// An hour: nothing but the wake can end a sleep.
const NEVER: Duration = Duration::from_secs(3600);
/// How many signals each wait gets, one as soon as the one before was handled.
const SIGNALS: u64 = 500;
/// A limit that passes in the midst of them.
const BRIEF: Duration = Duration::from_millis(30);

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// A handler without SA_RESTART: every system call that waits ends with EINTR.
fn install() {
    // SAFETY: an all-zero `sigaction` has no flags and an empty mask; the handler only counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
}

fn interrupt(thread: u32) {
    let before = HANDLED.load(Ordering::Relaxed);
    // SAFETY: signals a thread of this process; one that is gone makes the call fail.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, libc::SIGUSR1) };
    until("the signal is handled", || HANDLED.load(Ordering::Relaxed) > before);
}

/// The caller waits and is interrupted again and again; then `event`, in another thread, ends its wait.
fn stormed<T>(wait: impl FnOnce() -> T, event: impl FnOnce() + Send) -> T {
    let thread = thread_id();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..SIGNALS {
                interrupt(thread);
                assert!(!over.load(Ordering::Relaxed), "the wait has ended after {n} signals");
            }
            event();
        });
        let got = wait();
        over.store(true, Ordering::Relaxed);
        got
    })
}

/// Case 28: EINTR is neither an error nor "peer dead": a storm of signals against every call that waits, each of which
/// ends by its event and by nothing else.
#[test]
fn a_storm_of_signals_ends_no_wait() {
    in_time(|| {
        install();
        for waiting in [Waiting::park_after(0), Waiting::default()] {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).liveness(NEVER).waiting(waiting).producer().unwrap();
            let open = || dir.open("r").waiting(waiting);
            let rx = open().subscribe().unwrap();
            let mut copying = open().subscribe_copying().unwrap();
            stormed(|| assert_eq!(&*rx.recv().unwrap(), b"one"), || tx.send(b"one").unwrap());
            let two = || assert_eq!(&*rx.recv_timeout(NEVER).unwrap(), b"two");
            stormed(two, || tx.send(b"two").unwrap());
            (0..2).for_each(|_| assert_eq!(copying.recv(&mut [0; 8]).unwrap().len, 3));
            stormed(|| assert_eq!(copying.recv(&mut [0; 8]).unwrap().len, 5), || tx.send(b"three").unwrap());
            drop(copying);
            assert_eq!(&*rx.recv().unwrap(), b"three");
            // A producer that waits for room, and for somebody to come.
            while tx.try_send(&[1; 100]).is_ok() {}
            stormed(|| tx.send(&[2; 100]).unwrap(), || drop(rx));
            let rx = open().subscribe().unwrap();
            while tx.try_send(&[1; 100]).is_ok() {}
            stormed(|| tx.claim(100).unwrap().commit(), || drop(rx));
            let rx = open().subscribe().unwrap();
            stormed(|| assert_eq!(tx.send_batch([[3; 100]; 50]), Ok(50)), || drop(rx));
            let came = Mutex::new(None);
            let come = || *came.lock().unwrap() = Some(open().subscribe().unwrap());
            stormed(|| tx.wait_for_subscribers(1).unwrap(), come);
            // Whoever waits for a ring to appear.
            let late = Mutex::new(None);
            let appear =
                || *late.lock().unwrap() = Some(dir.create("late").capacity(4096).producer().unwrap());
            stormed(|| dir.open("late").wait(NEVER).map(drop).unwrap(), appear);
        }
    });
}

/// Case 28: nor the waits for several: rings by one call, and rings beside a descriptor, where the library's thread sleeps for them.
#[test]
fn a_storm_of_signals_ends_no_select() {
    in_time(|| {
        install();
        for waiting in [Waiting::park_after(0), Waiting::default()] {
            let dir = Dir::new();
            let create = |name| dir.create(name).capacity(4096).liveness(NEVER).producer().unwrap();
            let (mut tx, _quiet) = (create("r"), create("quiet"));
            let [rx, quiet] = ["r", "quiet"].map(|name| dir.open(name).subscribe().unwrap());
            let (never, _never) = UnixStream::pair().unwrap();
            let mut select = Select::new();
            select.set_waiting(waiting);
            let lists: [&[&dyn Selectable]; 3] = [&[&rx], &[&rx, &quiet], &[&rx, &quiet, &never]];
            for list in lists {
                stormed(|| assert_eq!(select.wait(list), Ok(0)), || tx.send(b"one").unwrap());
                assert_eq!(&*rx.try_recv().unwrap(), b"one");
            }
        }
    });
}

/// Case 28: and those that nothing ends but their limit: not before it, and not never, as a wait begun anew at each
/// signal would.
#[test]
fn a_storm_of_signals_moves_no_limit() {
    in_time(|| {
        install();
        let dir = Dir::new();
        let ring = dir.create("r").capacity(4096).liveness(NEVER).waiting(Waiting::park_after(0));
        let mut tx = ring.producer().unwrap();
        let open = || dir.open("r").waiting(Waiting::park_after(0));
        let rx = open().subscribe().unwrap();
        let mut copying = open().subscribe_copying().unwrap();
        let mut observer = open().observe().unwrap();
        let limited = |wait: &mut dyn FnMut() -> bool| {
            let (thread, over, begin) = (thread_id(), AtomicBool::new(false), Instant::now());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        interrupt(thread);
                    }
                });
                let (nothing, took) = (wait(), begin.elapsed());
                over.store(true, Ordering::Relaxed);
                assert!(nothing && took >= BRIEF, "{nothing} after {took:?}");
            });
        };
        limited(&mut || rx.recv_timeout(BRIEF).is_err());
        limited(&mut || copying.recv_timeout(&mut [0; 8], BRIEF).is_err());
        limited(&mut || observer.recv_timeout(&mut [0; 8], BRIEF).is_err());
        let (never, _never) = UnixStream::pair().unwrap();
        let other = open().subscribe().unwrap();
        let mut select = Select::new();
        select.set_waiting(Waiting::park_after(0));
        let lists: [&[&dyn Selectable]; 3] = [&[&rx, &other], &[&rx, &never], &[&never]];
        for list in lists {
            limited(&mut || select.wait_timeout(list, BRIEF) == Err(SelectError::TimedOut));
        }
        drop(other);
        limited(&mut || dir.open("none").wait(BRIEF).is_err());
        limited(&mut || tx.wait_for_subscribers_timeout(3, BRIEF).is_err());
        while tx.try_send(&[1; 100]).is_ok() {}
        limited(&mut || tx.send_timeout(&[2; 100], BRIEF).is_err());
    });
}
