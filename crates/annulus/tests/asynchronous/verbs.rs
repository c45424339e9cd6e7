//! What each handle does in a task, and as a stream or a sink.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use annulus::{Async, Clock, CopyError, Producer, RecvError, SendError};
use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;

use crate::runtimes::{alone, in_each};
use crate::support::{Dir, WAYS, payload};

const COUNT: u64 = 500;

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

async fn put<B: AsRef<[u8]>>(sink: &mut Async<Producer>, record: B) -> Result<(), SendError> {
    let ready = poll_fn(|cx| Sink::<B>::poll_ready(Pin::new(&mut *sink), cx)).await;
    ready?;
    Pin::new(sink).start_send(record)
}

async fn send_all(mut tx: Async<Producer>) {
    for n in 0..COUNT {
        tx.send(&payload(n, 100)).await.unwrap();
    }
}

fn is_send<T: Send>(value: T) -> T {
    value
}

/// A small ring, so that both sides wait for each other again and again, over each fence and each way to wake.
#[test]
fn a_subscriber_and_a_producer_wait_for_each_other() {
    for (fence, wake) in WAYS {
        in_each(move || {
            let dir = Arc::new(Dir::new());
            let ring = dir.create("r").capacity(4096).fence(fence).wake(wake).stamped(Clock::Monotonic);
            let tx = ring.producer().unwrap().into_async().unwrap();
            let mut rx = dir.open("r").subscribe().unwrap().into_async().unwrap();
            let reader = is_send(async move {
                let _dir = dir;
                for n in 0..COUNT {
                    let record = rx.recv().await.unwrap();
                    assert_eq!((record.sequence(), &*record), (n, &payload(n, 100)[..]));
                }
                assert_eq!(rx.recv().await.unwrap_err(), RecvError::Closed);
                assert_eq!(rx.recv().await.unwrap_err(), RecvError::Closed, "again");
            });
            (Box::pin(is_send(send_all(tx))), Box::pin(reader))
        });
    }
}

#[test]
fn readers_that_copy() {
    in_each(|| {
        let dir = Arc::new(Dir::new());
        let tx = dir.create("r").capacity(4096).producer().unwrap().into_async().unwrap();
        let mut copying = dir.open("r").subscribe_copying().unwrap().into_async().unwrap();
        let mut observer = dir.open("r").observe().unwrap().into_async().unwrap();
        let reader = is_send(async move {
            let _dir = dir;
            let (mut buf, mut last) = (Vec::new(), 0);
            assert_eq!(copying.recv(&mut [0; 4]).await.unwrap_err(), CopyError::TooSmall { need: 100 });
            for n in 0..COUNT {
                let received = copying.recv_into(&mut buf).await.unwrap();
                assert_eq!((received.sequence, &buf), (n, &payload(n, 100)));
            }
            loop {
                match observer.recv(&mut [0; 100]).await {
                    Ok(received) => last = received.sequence,
                    Err(CopyError::Lagged(lost)) => assert!(lost > 0),
                    Err(end) => break assert_eq!(end, CopyError::Ended(RecvError::Closed)),
                }
            }
            assert_eq!(last, COUNT - 1);
        });
        (Box::pin(send_all(tx)), Box::pin(reader))
    });
}

#[test]
fn values() {
    in_each(|| {
        let dir = Arc::new(Dir::new());
        let ring = annulus::Ring::create_typed::<[u64; 4]>("r").dir(dir.path()).capacity(4096);
        let mut tx = ring.producer().unwrap().into_async().unwrap();
        let open = || annulus::Ring::open_typed::<[u64; 4]>("r").dir(dir.path());
        let mut rx = open().subscribe().unwrap().into_async().unwrap();
        let mut stream = open().subscribe().unwrap().into_async().unwrap();
        let mut copying = open().subscribe_copying().unwrap().into_async().unwrap();
        let sender = async move {
            for n in 0..COUNT {
                if n % 2 == 0 {
                    tx.send(&[n; 4]).await.unwrap();
                } else {
                    poll_fn(|cx| Sink::<[u64; 4]>::poll_ready(Pin::new(&mut tx), cx)).await.unwrap();
                    Pin::new(&mut tx).start_send([n; 4]).unwrap();
                }
            }
            poll_fn(|cx| Sink::<[u64; 4]>::poll_close(Pin::new(&mut tx), cx)).await.unwrap();
        };
        let reader = async move {
            let _dir = dir;
            for n in 0..COUNT {
                assert_eq!(*rx.recv().await.unwrap(), [n; 4]);
                let value = next(&mut stream).await.unwrap().unwrap();
                assert_eq!((value.sequence, value.payload), (n, [n; 4]));
                assert_eq!(*copying.recv().await.unwrap(), [n; 4]);
            }
            assert_eq!(rx.recv().await.unwrap_err(), RecvError::Closed);
            assert_eq!(copying.recv().await.unwrap_err(), CopyError::Ended(RecvError::Closed));
            assert!(next(&mut stream).await.is_none());
        };
        (Box::pin(is_send(sender)), Box::pin(is_send(reader)))
    });
}

/// A sink takes a record that there is no room for, and sends it before the next; nothing is out of order, also if somebody
/// sends past it.
#[test]
fn streams_and_sinks() {
    in_each(|| {
        let dir = Arc::new(Dir::new());
        let mut tx = dir.create("r").capacity(4096).producer().unwrap().into_async().unwrap();
        let mut stream = dir.open("r").subscribe().unwrap().into_async().unwrap();
        let mut copying = dir.open("r").subscribe_copying().unwrap().into_async().unwrap();
        let sender = async move {
            for n in 0..COUNT {
                if n % 3 == 0 {
                    tx.send(&payload(n, 100)).await.unwrap();
                } else {
                    put(&mut tx, payload(n, 100)).await.unwrap();
                }
            }
            assert!(matches!(put(&mut tx, vec![0; 5000]).await, Err(SendError::TooLarge { len: 5000, .. })));
            poll_fn(|cx| Sink::<&[u8]>::poll_flush(Pin::new(&mut tx), cx)).await.unwrap();
        };
        let reader = async move {
            let _dir = dir;
            for n in 0..COUNT {
                let record = next(&mut stream).await.unwrap().unwrap();
                assert_eq!((record.sequence, &record.payload), (n, &payload(n, 100)));
                assert_eq!(next(&mut copying).await.unwrap().unwrap().payload, payload(n, 100));
            }
            assert!(!stream.is_terminated());
            assert!(next(&mut stream).await.is_none() && next(&mut copying).await.is_none());
            assert!(stream.is_terminated() && next(&mut stream).await.is_none());
        };
        (Box::pin(is_send(sender)), Box::pin(is_send(reader)))
    });
}

/// The handle comes out as it was, and what it had not received is still there.
#[test]
fn the_handle_comes_out_again() {
    let _alone = alone();
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let mut rx = dir.open("r").subscribe().unwrap().into_async().unwrap();
    tx.send_batch(["1", "2", "3"]).unwrap();
    futures_executor::block_on(async { assert_eq!(&*rx.recv().await.unwrap(), b"1") });
    assert_eq!(&*rx.get_mut().recv().unwrap(), b"2");
    assert_eq!(rx.get_ref().sequence(), 2);
    assert_eq!(&*rx.into_inner().recv().unwrap(), b"3");
}
