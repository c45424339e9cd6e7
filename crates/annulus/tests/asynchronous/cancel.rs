//! Futures that are dropped before they are done.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use annulus::{FenceMode, Wake};

use crate::runtimes::{alone, many_threads};
use crate::support::{Dir, Random, in_time, payload, until};

const COUNT: u64 = 20_000;

/// Polls a few times, as chance has it, and drops it; or awaits it.
async fn perhaps<T>(random: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match random % 4 {
        0 => Some(future.await),
        1 => match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        },
        2 => tokio::time::timeout(Duration::from_micros(random / 4 % 50), future).await.ok(),
        _ => {
            tokio::select! {
                biased;
                done = &mut future => Some(done),
                () = tokio::task::yield_now() => None,
            }
        }
    }
}

/// What is woken, and how many have it.
struct Nobody;

impl std::task::Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// A future that is dropped, or done, leaves no waker with anybody.
#[test]
fn a_dropped_future_leaves_no_waker() {
    let _alone = alone();
    let dir = Dir::new();
    // Nothing but the drop ends the reader's wait.
    let ring = dir.create("r").capacity(4096).fence(FenceMode::Symmetric).liveness(Duration::from_secs(3600));
    let mut tx = ring.wake(Wake::Futex).producer().unwrap().into_async().unwrap();
    let mut rx = dir.open("r").subscribe().unwrap().into_async().unwrap();
    let nobody = Arc::new(Nobody);
    let waker = Waker::from(Arc::clone(&nobody));
    for _ in 0..3 {
        {
            let mut recv = std::pin::pin!(rx.recv());
            until("it waits", || {
                assert!(recv.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                Arc::strong_count(&nobody) > 2
            });
        }
        until("the reader's is gone", || Arc::strong_count(&nobody) == 2);
        while tx.get_mut().try_send(&[1; 100]).is_ok() {}
        {
            let mut send = std::pin::pin!(tx.send(&[1; 100]));
            until("it waits", || {
                assert!(send.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                Arc::strong_count(&nobody) > 2
            });
        }
        until("the producer's is gone", || Arc::strong_count(&nobody) == 2);
        while rx.get_ref().try_recv().is_ok() {}
    }
}

/// Both sides drop their futures at random, under load: every record comes once and in order.
#[test]
fn a_dropped_future_loses_nothing() {
    let _alone = alone();
    in_time(|| {
        let dir = Dir::new();
        let mut tx =
            dir.create("r").capacity(4096).wake(Wake::Futex).producer().unwrap().into_async().unwrap();
        let mut rx = dir.open("r").subscribe().unwrap().into_async().unwrap();
        let mut copying = dir.open("r").subscribe_copying().unwrap().into_async().unwrap();
        let sender = async move {
            let mut random = Random::new(1);
            for n in 0..COUNT {
                let record = payload(n, 100);
                while perhaps(random.next(), tx.send(&record)).await.is_none() {}
            }
        };
        let reader = async move {
            let mut random = Random::new(2);
            for n in 0..COUNT {
                loop {
                    if let Some(record) = perhaps(random.next(), rx.recv()).await {
                        assert_eq!(*record.unwrap(), payload(n, 100));
                        break;
                    }
                }
            }
        };
        let copier = async move {
            let (mut random, mut buf) = (Random::new(3), Vec::new());
            for n in 0..COUNT {
                while perhaps(random.next(), copying.recv_into(&mut buf)).await.is_none() {}
                assert_eq!(buf, payload(n, 100));
            }
        };
        let runtime = many_threads();
        let tasks = [runtime.spawn(sender), runtime.spawn(reader), runtime.spawn(copier)];
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
    });
}
