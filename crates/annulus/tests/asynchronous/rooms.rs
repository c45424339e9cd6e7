//! Producers in tasks that wait for room.

use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use annulus::{Ring, Wake};

use crate::runtimes::{alone, current_thread};
use crate::support::{Dir, in_time};

/// A producer that gave up leaves no declaration: readers do not ring for it.
#[test]
fn a_dropped_wait_for_room_is_withdrawn() {
    let _alone = alone();
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).wake(Wake::Futex).producer().unwrap().into_async().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    while tx.get_mut().try_send(&[1; 100]).is_ok() {}
    let blocked = || blocked_word(&dir);
    {
        let mut send = std::pin::pin!(tx.send(&[1; 100]));
        assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_ne!(blocked(), 0);
    }
    assert_eq!(blocked(), 0, "nobody waits for room");
    drop(rx);
}

/// The word of ctl that says that the producer waits for room.
fn blocked_word(dir: &Dir) -> u64 {
    let at = std::mem::offset_of!(annulus_core::layout::CtlHead, blocked);
    let bytes = std::fs::read(dir.file("r", "ctl")).unwrap();
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A slow reader is given up while the producer waits in a task, as while it keeps a thread.
#[test]
fn a_slow_reader_is_given_up() {
    let _alone = alone();
    in_time(|| {
        let dir = Dir::new();
        let ring = dir.create("r").capacity(4096).no_in_place().evict_after(Duration::from_millis(20));
        let mut tx = ring.producer().unwrap().into_async().unwrap();
        let mut rx = dir.open("r").subscribe_copying().unwrap();
        current_thread().block_on(async {
            for _ in 0..200 {
                tx.send(&[1; 100]).await.unwrap();
            }
        });
        assert!(matches!(rx.recv(&mut [0; 100]), Err(annulus::CopyError::Lagged(lost)) if lost > 0));
        let info = Ring::open("r").dir(dir.path()).info().unwrap();
        assert_eq!(info.subscribers.len(), 1);
    });
}
