//! Handles in tokio's reactor.

use annulus::{CopyError, RecvError, TokioError};

use crate::runtimes::{alone, current_thread, many_threads};
use crate::support::{Dir, WAYS, in_time, payload};

const COUNT: u64 = 5000;

/// Records of all kinds of readers, through a ring much smaller than they are, for each way to sleep.
#[test]
fn everybody_gets_everything() {
    let _alone = alone();
    in_time(|| {
        for (fence, wake) in WAYS {
            for runtime in [current_thread(), many_threads()] {
                let dir = Dir::new();
                let tx = dir.create("r").capacity(4096).fence(fence).wake(wake).producer().unwrap();
                runtime.block_on(async {
                    let mut tx = tx.into_pollable().unwrap().into_tokio().unwrap();
                    let open = || dir.open("r");
                    let mut rx = open().subscribe().unwrap().into_pollable().unwrap().into_tokio().unwrap();
                    let copying = open().subscribe_copying().unwrap().into_pollable().unwrap();
                    let mut copying = copying.into_tokio().unwrap();
                    let worker = open().join_group("g").unwrap().into_pollable().unwrap();
                    let mut worker = worker.into_tokio().unwrap();
                    let lends = tokio::spawn(async move {
                        for n in 0..COUNT {
                            assert_eq!(*rx.recv().await.unwrap(), payload(n, 100));
                        }
                        matches!(rx.recv().await.unwrap_err(), TokioError::Ring(RecvError::Closed))
                    });
                    let copies = tokio::spawn(async move {
                        let mut buf = Vec::new();
                        for n in 0..COUNT {
                            copying.recv_into(&mut buf).await.unwrap();
                            assert_eq!(buf, payload(n, 100));
                        }
                        let end = copying.recv_into(&mut buf).await.unwrap_err();
                        matches!(end, TokioError::Ring(CopyError::Ended(RecvError::Closed)))
                    });
                    let works = tokio::spawn(async move {
                        for n in 0..COUNT {
                            let job = worker.recv().await.unwrap();
                            assert_eq!(*job, payload(n, 100));
                            job.ack();
                        }
                        matches!(worker.recv().await.unwrap_err(), TokioError::Ring(RecvError::Closed))
                    });
                    for n in 0..COUNT {
                        tx.send(&payload(n, 100)).await.unwrap();
                    }
                    drop(tx);
                    for task in [lends, copies, works] {
                        assert!(task.await.unwrap());
                    }
                });
            }
        }
    });
}

/// One that waits in a runtime that goes away is told, and comes out whole.
#[test]
fn the_handle_outlives_its_runtime() {
    let _alone = alone();
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let runtime = current_thread();
    let rx = dir.open("r").subscribe().unwrap().into_pollable().unwrap();
    let mut rx = runtime.block_on(async { rx.into_tokio().unwrap() });
    drop(runtime);
    let gone = futures_executor::block_on(rx.recv()).map(drop).unwrap_err();
    assert!(matches!(&gone, TokioError::Runtime(_)) && gone.to_string().contains("; "), "{gone}");
    tx.send(b"still there").unwrap();
    let rx = rx.into_inner();
    current_thread().block_on(async {
        assert_eq!(&*rx.into_tokio().unwrap().recv().await.unwrap(), b"still there");
    });
}
