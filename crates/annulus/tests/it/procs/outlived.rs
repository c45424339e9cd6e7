//! Children that outlive a producer, or end before it.
#![allow(unsafe_code)]

use std::io::Read;
use std::time::{Duration, Instant};

use annulus::{RecvError, RecvTimeoutError, Ring, Waiting};

use super::child::{Child, listen, say};
use super::forks::Fork;
use super::roles::{record, wait_for_ever};
use crate::support::{Dir, INTERVALS, LONG, in_time};

/// Long, so that three of them are long on a busy machine.
const LIVENESS: Duration = Duration::from_millis(500);

/// A producer whose child sleeps until the test has gone, or until it is told to end in some way.
pub(super) fn parent(dir: &str, how: &str) {
    let ring = Ring::open_or_create("r").dir(dir).capacity(4096);
    let mut tx = ring.liveness(LIVENESS).producer().unwrap();
    let rx = Ring::open("r").dir(dir).subscribe().unwrap();
    match how {
        "sleep" => {
            // SAFETY: the child makes system calls only. It ends when nobody has the other end of its input any more.
            match unsafe { libc::fork() } {
                -1 => panic!("fork: {}", std::io::Error::last_os_error()),
                0 => {
                    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
                    // SAFETY: ends the child at once.
                    unsafe { libc::_exit(0) };
                }
                _ => {}
            }
            tx.send(&record(0)).unwrap();
            say("forked");
            wait_for_ever();
        }
        "_exit" => Fork::new(|| {}).ends_well(),
        "exit" => Fork::new(|| std::process::exit(0)).ends_well(),
        "exec" => Fork::new(|| {
            let program = c"/bin/true".as_ptr();
            // SAFETY: strings that end with a zero, in an array that ends with a null; the process becomes another.
            unsafe { libc::execv(program, [program, std::ptr::null()].as_ptr()) };
            panic!("exec: {}", std::io::Error::last_os_error());
        })
        .ends_well(),
        "exec-and-stay" => {}
        other => panic!("what should the child do: {other}"),
    }
    let child = (how == "exec-and-stay").then(|| {
        Fork::new(|| {
            let [program, time] = [c"/bin/sleep".as_ptr(), c"1000".as_ptr()];
            // SAFETY: as above.
            unsafe { libc::execv(program, [program, time, std::ptr::null()].as_ptr()) };
        })
    });
    if let Some(child) = &child {
        let name = format!("/proc/{}/comm", child.0);
        crate::support::until("it is another program", || {
            std::fs::read_to_string(&name).unwrap().starts_with("sleep")
        });
    }
    // Unharmed: both work, and both are still held.
    assert!(Ring::open("r").dir(dir).producer().unwrap_err().is_producer_alive());
    assert!(tx.is_linked() && rx.is_linked());
    for n in 0..1000 {
        tx.send(&record(n)).unwrap();
        assert_eq!(&*rx.recv().unwrap(), record(n));
    }
    say("unharmed");
    assert_eq!(listen(), "end");
    // Ends without a word, its children with it; the one that is another program is not waited for.
    std::mem::forget(tx);
    if let Some(child) = child {
        say(&child.0.to_string());
        wait_for_ever();
    }
}

/// Promise: fork without exec: the locks of the parent are not kept alive. The producer forks a child that sleeps, and is
/// killed itself: readers see `ProducerLost` within three intervals, spinning or parked, and the next producer takes over.
#[test]
fn a_killed_producer_whose_child_sleeps() {
    for waiting in [Waiting::spin(), Waiting::park_after(0)] {
        in_time(move || {
            let dir = Dir::new();
            let mut producer = Child::start("parent", &[dir.text(), "sleep"]);
            producer.expect("forked");
            let rx = dir.open("r").waiting(waiting).subscribe().unwrap();
            assert_eq!(rx.recv_timeout(Duration::ZERO).unwrap_err(), RecvTimeoutError::TimedOut);
            producer.kill();
            let begin = Instant::now();
            let end = rx.recv_timeout(LIVENESS * 3).unwrap_err();
            assert_eq!(end, RecvTimeoutError::Ended(RecvError::ProducerLost), "{:?}", begin.elapsed());
            assert_eq!(dir.open("r").producer().unwrap().sequence(), 1);
        });
    }
}

/// Case 17: fork with open handles; the child exits by `_exit`, by `exit`, or becomes another program: the parent is
/// unharmed, and both its ends go on.
#[test]
fn children_that_end_before_their_parent() {
    for how in ["_exit", "exit", "exec"] {
        let dir = Dir::new();
        let mut parent = Child::start("parent", &[dir.text(), how]);
        parent.expect("unharmed");
        assert!(dir.open("r").info().unwrap().producer_alive);
        parent.tell("end");
        parent.ends_well();
    }
}

/// Case 17: locks die with exec. A child that has become another program and lives on keeps nothing of its dead parent
/// alive: its readers are told, its place and its ring are another's.
#[test]
fn another_program_keeps_no_locks() {
    in_time(|| {
        let dir = Dir::new();
        let mut parent = Child::start("parent", &[dir.text(), "exec-and-stay"]);
        parent.expect("unharmed");
        let rx = dir.open("r").subscribe().unwrap();
        parent.tell("end");
        let program = parent.hear();
        parent.kill();
        let comm = std::fs::read_to_string(format!("/proc/{program}/comm")).unwrap_or_default();
        let begin = Instant::now();
        assert_eq!(rx.recv_timeout(LONG).unwrap_err(), RecvTimeoutError::Ended(RecvError::ProducerLost));
        assert!(begin.elapsed() < LIVENESS * INTERVALS);
        let info = dir.open("r").info().unwrap();
        assert_eq!(info.subscribers.iter().map(|s| s.alive).collect::<Vec<_>>(), [false, true]);
        assert_eq!(dir.open("r").producer().unwrap().sequence(), 1000);
        // The other program was there all the time.
        assert_eq!(comm.trim_end(), "sleep");
        let pid: i32 = program.parse().unwrap();
        // SAFETY: the program that was started for this test, seen alive just now; at worst it is gone.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    });
}
