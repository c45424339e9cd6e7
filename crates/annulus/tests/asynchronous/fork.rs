//! A child without exec has no parker, and gets one of its own.
#![allow(unsafe_code)]

use std::future::Future;
use std::task::{Context, Waker};

use annulus::{RecvError, Ring, SendError};

use crate::roles::{Other, say};
use crate::runtimes::alone;
use crate::support::Dir;
use crate::threads::{parkers, until_one};

#[test]
fn a_forked_child_waits_for_itself() {
    let _alone = alone();
    let dir = Dir::new();
    let mut other = Other::start("fork", dir.text());
    other.expect("both wait");
}

/// Forks while tasks wait; each side goes on with what is its own.
pub(crate) fn with_both(dir: &str) {
    let open = || Ring::open("r").dir(dir).subscribe().unwrap().into_async().unwrap();
    let mut tx = Ring::create("r").dir(dir).producer().unwrap().into_async().unwrap();
    let mut rx = open();
    let poll = |future: std::pin::Pin<&mut dyn Future<Output = ()>>| {
        assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    };
    poll(std::pin::pin!(async { drop(rx.recv().await) }));
    until_one();
    // SAFETY: glibc's allocator may be used by the child; it ends without destructors of the test harness.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let told = futures_executor::block_on(async {
            let told = rx.recv().await.map(drop) == Err(RecvError::Forked);
            told && tx.send(b"not ours").await == Err(SendError::Forked)
        });
        drop((rx, tx));
        let none = parkers().is_empty();
        let mut rx = open();
        let got = futures_executor::block_on(async { rx.recv().await.map(|record| record.to_vec()) });
        until_one();
        drop(rx);
        let well = told && none && got == Ok(b"after the fork".to_vec());
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(!well)) }
    }
    tx.get_mut().wait_for_subscribers(2).unwrap();
    futures_executor::block_on(async {
        tx.send(b"after the fork").await.unwrap();
        assert_eq!(&*rx.recv().await.unwrap(), b"after the fork");
    });
    let mut status = 0;
    // SAFETY: our own child, waited for only here; writes one int.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 0));
    say("both wait");
}
