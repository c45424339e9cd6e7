//! A child without exec has copies of all descriptors, and with them of the locks. A moment of that is in every
//! start of another program, so a clean end must not depend on who has copies.
#![allow(unsafe_code)]

use std::fs;
use std::io::{self, Read};
use std::time::Duration;

use annulus::{
    CopyError, CopyTimeoutError, ErrorKind, RecvError, RecvTimeoutError, Ring, SendError, SendTimeoutError,
    Start, TryCopyError, TryRecvError, TrySendError, WaitError,
};

use super::child::{Child, listen, say};
use super::forks::{Board, Fork};
use super::roles::wait_for_ever;
use crate::support::{Dir, INTERVALS, in_time};

/// A producer that ends cleanly gives the ring up at once, although a child of its process has copies.
#[test]
fn a_clean_end_with_a_forked_child() {
    let dir = Dir::new();
    let mut child = Child::start("fork", &[dir.text(), "producer"]);
    child.expect("taken over in sequence");
    child.ends_well();
}

/// A subscriber that leaves gives its place up at once, although a child of its process has copies.
#[test]
fn a_place_given_up_with_a_forked_child() {
    let dir = Dir::new();
    let mut child = Child::start("fork", &[dir.text(), "subscriber"]);
    child.expect("subscribed again");
    child.ends_well();
}

/// A child that drops its copies, as one does that returns from where they were made, does not end its parent's
/// ring: it closed it, removed its directory and freed the parent's place and records.
#[test]
fn a_child_that_drops_its_copies() {
    let dir = Dir::new();
    let mut child = Child::start("fork-and-drop", &[dir.text()]);
    child.expect("forked");
    assert_eq!(dir.entries(), ["r"]);
    child.tell("go");
    child.expect("goes on");
    child.ends_well();
    assert!(dir.entries().is_empty());
}

/// Forks with both ends open, and lets the child drop them.
pub(super) fn with_drops(dir: &str) {
    let ring = || Ring::create("r").dir(dir).capacity(4096).max_subscribers(1);
    let open = || Ring::open("r").dir(dir);
    let mut tx = ring().producer().unwrap();
    let rx = open().subscribe().unwrap();
    // SAFETY: this thread is the only one that uses the allocator meanwhile, and glibc's may be used by the child
    // anyway; the child ends without destructors of its own.
    let status = match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            drop(tx);
            drop(rx);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(7) }
        }
        child => {
            let mut status = 0;
            // SAFETY: our own child, waited for only here; writes one int.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            status
        }
    };
    assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 7));
    say("forked");
    assert_eq!(listen(), "go");
    // Both are still held, and both work.
    assert!(open().producer().unwrap_err().is_producer_alive());
    assert!(ring().producer().unwrap_err().is_already_exists());
    let refused = open().subscribe().unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::NoFreeSlot { slots: 1 });
    assert!(tx.is_linked() && rx.is_linked());
    let mut sent = 0_u64;
    while tx.try_send(&sent.to_le_bytes()).is_ok() {
        sent += 1;
        assert!(sent <= 64, "the reader's place does not count any more");
    }
    for n in 0..sent {
        assert_eq!(&*rx.recv().unwrap(), n.to_le_bytes());
    }
    assert_eq!(rx.recv_timeout(Duration::from_millis(300)).unwrap_err(), RecvTimeoutError::TimedOut);
    say("goes on");
}

/// Promise: fork without exec, and the child's handles are errors; the parent is unharmed.
#[test]
fn a_child_that_uses_its_copies() {
    let dir = Dir::new();
    let mut child = Child::start("fork-and-use", &[dir.text()]);
    child.expect("0 wrong");
    child.ends_well();
    assert!(dir.entries().is_empty());
}

/// Forks with every kind of handle open, a record held and a claim begun, and lets the child use them all.
pub(super) fn with_uses(dir: &str) {
    let create = |name| Ring::create(name).dir(dir).capacity(4096).producer().unwrap();
    let open = |name| Ring::open(name).dir(dir).start(Start::Oldest);
    let (mut tx, mut claimer) = (create("r"), create("claims"));
    let claims = open("claims").subscribe().unwrap();
    tx.send_batch([b"first", b"other"]).unwrap();
    let rx = open("r").subscribe().unwrap();
    let mut copying = open("r").subscribe_copying().unwrap();
    let mut observer = open("r").observe().unwrap();
    let held = rx.recv().unwrap();
    let mut claim = claimer.claim(64).unwrap();
    claim.write_at(0, b"third");
    let mut pipe = [0; 2];
    // SAFETY: writes two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the child calls the handles, writes to the pipe and ends without destructors of its own.
    if unsafe { libc::fork() } == 0 {
        let (hour, end, mut buf) = (Duration::from_secs(3600), RecvError::Forked, [0; 64]);
        claim.write_at(0, b"wrong");
        claim.commit();
        drop(held);
        let right = [
            tx.send(b"x") == Err(SendError::Forked),
            tx.try_send(b"x") == Err(TrySendError::Forked),
            tx.send_timeout(b"x", hour) == Err(SendTimeoutError::Forked),
            tx.send_batch([b"x"]) == Err(SendError::Forked),
            tx.try_send_batch([b"x"]) == Err(SendError::Forked),
            matches!(tx.claim(1), Err(SendError::Forked)),
            matches!(tx.try_claim(1), Err(TrySendError::Forked)),
            tx.wait_for_subscribers(1) == Err(WaitError::Forked),
            tx.wait_for_subscribers_timeout(1, hour) == Err(WaitError::Forked),
            matches!(rx.recv(), Err(RecvError::Forked)),
            matches!(rx.try_recv(), Err(TryRecvError::Ended(RecvError::Forked))),
            matches!(rx.recv_timeout(hour), Err(RecvTimeoutError::Ended(RecvError::Forked))),
            matches!(rx.iter().next(), Some(Err(RecvError::Forked))),
            copying.recv(&mut buf) == Err(CopyError::Ended(end)),
            copying.try_recv(&mut buf) == Err(TryCopyError::Ended(end)),
            copying.recv_timeout(&mut buf, hour) == Err(CopyTimeoutError::Ended(end)),
            copying.latest(&mut buf) == Err(TryCopyError::Ended(end)),
            observer.recv(&mut buf) == Err(CopyError::Ended(end)),
            observer.try_recv(&mut buf) == Err(TryCopyError::Ended(end)),
            observer.recv_timeout(&mut buf, hour) == Err(CopyTimeoutError::Ended(end)),
            observer.latest(&mut buf) == Err(TryCopyError::Ended(end)),
            // What a child opens is its own.
            Ring::open("r").dir(dir).observe().is_ok_and(|mut own| own.latest(&mut buf).is_ok()),
        ];
        // A bit for each that was wrong: a child of a process with threads does better not to panic.
        let wrong = (0..).zip(right).fold(0_u32, |wrong, (bit, right)| wrong | u32::from(!right) << bit);
        drop((tx, rx, copying, observer));
        // SAFETY: four bytes of our own to our own pipe; ends the child at once.
        unsafe {
            libc::write(pipe[1], (&raw const wrong).cast(), size_of_val(&wrong));
            libc::_exit(0)
        }
    }
    let mut wrong = u32::MAX;
    // SAFETY: our own end, closed once; reads at most four bytes into `wrong`.
    unsafe {
        libc::close(pipe[1]);
        libc::read(pipe[0], (&raw mut wrong).cast(), size_of_val(&wrong));
    }
    say(&format!("{wrong:b} wrong"));
    // The parent's are as they were.
    assert_eq!(rx.held_bytes(), 64);
    claim.commit();
    assert_eq!(&*claims.recv().unwrap(), b"third");
    assert_eq!(&*held, b"first");
    drop(held);
    assert_eq!(&*rx.recv().unwrap(), b"other");
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    let mut buf = [0; 64];
    tx.send(b"more").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"more");
    for expected in [&b"first"[..], b"other", b"more"] {
        let n = copying.recv(&mut buf).unwrap().len;
        assert_eq!(&buf[..n], expected);
        let n = observer.recv(&mut buf).unwrap().len;
        assert_eq!(&buf[..n], expected);
    }
    drop(tx);
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
}

/// Promise: fork without exec, and the child's handles are errors, those of values like those of bytes; the parent is
/// unharmed.
#[test]
fn a_child_that_uses_its_copies_of_typed_handles() {
    let dir = Dir::new();
    let mut child = Child::start("fork-typed", &[dir.text()]);
    child.expect("all is well");
    child.ends_well();
    assert!(dir.entries().is_empty());
}

/// Forks with every kind of handle of values open and a record held, and lets the child use them all.
pub(super) fn with_typed(dir: &str) {
    let open = || Ring::open_typed::<u64>("r").dir(dir).start(Start::Oldest);
    let mut tx = Ring::create_typed::<u64>("r").dir(dir).capacity(4096).producer().unwrap();
    tx.send_batch([1, 2]).unwrap();
    let rx = open().subscribe().unwrap();
    let mut copying = open().subscribe_copying().unwrap();
    let mut observer = open().observe().unwrap();
    let held = rx.recv().unwrap();
    Fork::new(|| {
        let (hour, end, mut value) = (Duration::from_secs(3600), RecvError::Forked, 0);
        assert_eq!(tx.send(&9), Err(SendError::Forked));
        assert_eq!(tx.try_send(&9), Err(TrySendError::Forked));
        assert_eq!(tx.send_timeout(&9, hour), Err(SendTimeoutError::Forked));
        assert_eq!(tx.send_batch([9]), Err(SendError::Forked));
        assert_eq!(tx.try_send_batch([9]), Err(SendError::Forked));
        assert_eq!(tx.wait_for_subscribers(1), Err(WaitError::Forked));
        assert_eq!(tx.wait_for_subscribers_timeout(1, hour), Err(WaitError::Forked));
        assert_eq!(rx.recv().map(drop).unwrap_err(), end);
        assert_eq!(rx.try_recv().map(drop).unwrap_err(), TryRecvError::Ended(end));
        assert_eq!(rx.recv_timeout(hour).map(drop).unwrap_err(), RecvTimeoutError::Ended(end));
        assert_eq!(rx.iter().next().unwrap().map(drop).unwrap_err(), end);
        macro_rules! copies {
            ($rx:expr) => {
                assert_eq!($rx.recv().map(drop).unwrap_err(), CopyError::Ended(end));
                assert_eq!($rx.try_recv().map(drop).unwrap_err(), TryCopyError::Ended(end));
                assert_eq!($rx.recv_timeout(hour).map(drop).unwrap_err(), CopyTimeoutError::Ended(end));
                assert_eq!($rx.recv_into(&mut value).unwrap_err(), CopyError::Ended(end));
                assert_eq!($rx.try_recv_into(&mut value).unwrap_err(), TryCopyError::Ended(end));
                assert_eq!(
                    $rx.recv_into_timeout(&mut value, hour).unwrap_err(),
                    CopyTimeoutError::Ended(end)
                );
                assert_eq!($rx.latest().map(drop).unwrap_err(), TryCopyError::Ended(end));
                assert_eq!($rx.latest_into(&mut value).unwrap_err(), TryCopyError::Ended(end));
                assert_eq!($rx.iter().next().unwrap().map(drop).unwrap_err(), CopyError::Ended(end));
            };
        }
        copies!(copying);
        copies!(observer);
        // What a child opens is its own.
        assert_eq!(open().observe().unwrap().recv().unwrap().payload, 1);
    })
    .ends_well();
    assert_eq!((*held, rx.held_bytes()), (1, 64));
    drop(held);
    tx.send(&3).unwrap();
    assert_eq!([*rx.recv().unwrap(), *rx.recv().unwrap()], [2, 3]);
    for expected in 1..=3 {
        assert_eq!(copying.recv().unwrap().payload, expected);
        assert_eq!(observer.recv().unwrap().payload, expected);
    }
    drop(tx);
    assert_eq!(rx.recv().map(drop).unwrap_err(), RecvError::Closed);
    say("all is well");
}

/// Promise: fork without exec, and what only says how to open or to make a ring is as good in the child: what it
/// opens is the child's own, counts as its own, and goes with it; the parent's stays.
#[test]
fn builders_that_are_kept_over_a_fork() {
    let dir = Dir::new();
    let mut child = Child::start("fork-builders", &[dir.text()]);
    child.expect("all is well");
    child.ends_well();
    assert!(dir.entries().is_empty());
}

/// Forks with what opens and makes rings, of which one is the parent's.
pub(super) fn with_builders(dir: &str) {
    let liveness = Duration::from_millis(50);
    let make = |name| Ring::create(name).dir(dir).capacity(4096).liveness(liveness).max_subscribers(2);
    let (theirs, own, open) = (make("r"), make("own"), Ring::open("r").dir(dir));
    let mut tx = theirs.clone().producer().unwrap();
    let rx = open.clone().subscribe().unwrap();
    let (board, [ready, received]) = (Board::new(), [0, 1]);
    let child = Fork::new(|| {
        // Somebody else has it, and that is its parent.
        assert!(theirs.clone().producer().unwrap_err().is_already_exists());
        assert!(open.clone().producer().unwrap_err().is_producer_alive());
        let mut own = own.clone().producer().unwrap();
        let own_rx = Ring::open("own").dir(dir).subscribe().unwrap();
        own.send(b"own").unwrap();
        assert_eq!(&*own_rx.recv().unwrap(), b"own");
        let rx = open.clone().subscribe().unwrap();
        assert_eq!(open.clone().subscribe().unwrap_err().kind(), &ErrorKind::NoFreeSlot { slots: 2 });
        board.count(ready);
        assert_eq!(&*rx.recv().unwrap(), b"to both");
        board.count(received);
        wait_for_ever();
    });
    board.until(ready, 1);
    let places = || -> Vec<(u32, bool)> {
        let info = open.clone().info().unwrap();
        info.subscribers.iter().map(|subscriber| (subscriber.pid, subscriber.alive)).collect()
    };
    let (us, its) = (std::process::id(), child.0.cast_unsigned());
    assert_eq!(places(), [(us, true), (its, true)]);
    assert!(own.clone().producer().unwrap_err().is_already_exists());
    tx.send(b"to both").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"to both");
    board.until(received, 1);
    child.kill();
    assert_eq!(places(), [(us, true), (its, false)]);
    for n in 0..200_u64 {
        tx.send_timeout(&n.to_le_bytes(), liveness * INTERVALS).unwrap();
        assert_eq!(*rx.recv().unwrap(), n.to_le_bytes());
    }
    assert_eq!(places(), [(us, true)]);
    // Over what the child has left.
    let mut own = own.producer().unwrap();
    own.send(b"ours").unwrap();
    say("all is well");
}

/// Leaves a child behind that sleeps until the test has gone; says its pid.
pub(super) fn leave_a_child() {
    // SAFETY: the child makes system calls only. It ends when nobody has the other end of its input any more.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            let _ = io::stdin().lock().read_to_end(&mut Vec::new());
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) };
        }
        child => say(&child.to_string()),
    }
}

/// Whether the process is there, and no zombie.
pub(super) fn is_there(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

/// Holds the first record, and has a child.
pub(super) fn with_a_sleeper(dir: &str) {
    let rx = Ring::open("r").dir(dir).subscribe().unwrap();
    say("joined");
    let _record = rx.recv().unwrap();
    leave_a_child();
    wait_for_ever();
}

/// Promise: fork without exec: the locks of the parent are not kept alive. A subscriber that holds a record forks a child
/// that sleeps, and is killed: the blocked producer goes on, and the place is free.
#[test]
fn a_killed_subscriber_whose_child_sleeps() {
    in_time(|| {
        let (dir, liveness) = (Dir::new(), Duration::from_millis(50));
        let ring = dir.create("r").capacity(4096).liveness(liveness).max_subscribers(1);
        let mut tx = ring.producer().unwrap();
        let mut holder = Child::start("fork-and-hold", &[dir.text()]);
        holder.expect("joined");
        tx.send(&[0; 64]).unwrap();
        let child = holder.hear();
        while tx.try_send(&[0; 64]).is_ok() {}
        holder.kill();
        for _ in 0..200 {
            tx.send_timeout(&[0; 64], liveness * INTERVALS).unwrap();
        }
        assert!(dir.open("r").info().unwrap().subscribers.is_empty());
        dir.open("r").subscribe().unwrap();
        assert!(is_there(&child), "the child was there all the time");
    });
}

/// A child that has copies of everything and does nothing. Dropped, it is killed.
struct Copy(libc::pid_t);

impl Copy {
    fn new() -> Copy {
        // SAFETY: the child makes system calls only, until it is killed, with this process at the latest.
        unsafe {
            let parent = libc::getpid();
            match libc::fork() {
                -1 => panic!("fork: {}", std::io::Error::last_os_error()),
                0 => {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    // The parent may have been gone before.
                    while libc::getppid() == parent {
                        libc::pause();
                    }
                    libc::_exit(0);
                }
                child => Copy(child),
            }
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // SAFETY: our own child, waited for only here.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// Forks with both ends open, ends one of them, and has it again.
pub(super) fn with_copies(dir: &str, which: &str) {
    let ring = || Ring::open_or_create("r").dir(dir).persistent(true).max_subscribers(1);
    let mut tx = ring().capacity(4096).producer().unwrap();
    let rx = Ring::open("r").dir(dir).subscribe().unwrap();
    tx.send(b"before").unwrap();
    let _copy = Copy::new();
    if which == "producer" {
        drop(tx);
        let mut next = match ring().producer() {
            Ok(tx) => tx,
            Err(error) => return say(&error.to_string()),
        };
        next.send(b"after").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"before");
        assert_eq!(&*rx.recv_timeout(Duration::from_secs(5)).unwrap(), b"after");
        say("taken over in sequence");
    } else {
        drop(rx);
        match Ring::open("r").dir(dir).subscribe() {
            Ok(_) => say("subscribed again"),
            Err(error) => say(&error.to_string()),
        }
    }
}
