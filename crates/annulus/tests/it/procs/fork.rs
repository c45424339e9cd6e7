//! A child without exec has copies of all descriptors, and with them of the locks. A moment of that is in every
//! start of another program, so a clean end must not depend on who has copies.
#![allow(unsafe_code)]

use std::time::Duration;

use annulus::{ErrorKind, RecvTimeoutError, Ring};

use super::child::{Child, listen, say};
use crate::support::Dir;

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
