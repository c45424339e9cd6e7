//! Readers of values that met a record that is none.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use annulus::{RecvError, Ring};
use futures_core::Stream;

use crate::runtimes::alone;
use crate::support::Dir;

fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// It says so at each call, and waits for nothing.
#[test]
fn a_stuck_reader_says_so_again_at_once() {
    let _alone = alone();
    let dir = Dir::new();
    let ring = || Ring::create_typed::<u64>("r").dir(dir.path());
    ring().persistent(true).without_producer().unwrap();
    let open = || Ring::open_typed::<u64>("r").dir(dir.path()).subscribe().unwrap().into_async().unwrap();
    let (mut rx, mut stream) = (open(), open());
    // Who opens the ring without its type sends what it likes.
    let mut tx = dir.open("r").producer().unwrap();
    tx.send(b"short").unwrap();
    for _ in 0..3 {
        assert!(matches!(once(rx.recv()), Poll::Ready(Err(RecvError::Corrupt))));
        assert!(matches!(once(stream.recv()), Poll::Ready(Err(RecvError::Corrupt))));
    }
    // A stream of it that has told no end yet.
    let item = pin!(&mut stream).poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(item, Poll::Ready(Some(Err(RecvError::Corrupt)))));
}
