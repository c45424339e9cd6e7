//! The producer's process dies while tasks wait.

use annulus::RecvError;

use crate::roles::Other;
use crate::runtimes::{alone, current_thread, many_threads};
use crate::support::{Dir, in_time};

#[test]
fn all_that_wait_are_told() {
    let _alone = alone();
    in_time(|| {
        for runtime in [current_thread(), many_threads()] {
            let dir = Dir::new();
            let mut producer = Other::start("hold", dir.text());
            producer.expect("ready");
            runtime.block_on(async {
                let mut tasks = Vec::new();
                for _ in 0..50 {
                    let mut rx = dir.open("r").subscribe().unwrap().into_async().unwrap();
                    tasks.push(tokio::spawn(async move { rx.recv().await.map(drop) }));
                    let mut rx = dir.open("r").subscribe_copying().unwrap().into_async().unwrap();
                    tasks.push(tokio::spawn(async move {
                        rx.recv(&mut [0; 8]).await.map(drop).map_err(|error| match error {
                            annulus::CopyError::Ended(end) => end,
                            other => panic!("{other}"),
                        })
                    }));
                }
                tokio::task::yield_now().await;
                drop(producer);
                for task in tasks {
                    assert_eq!(task.await.unwrap(), Err(RecvError::ProducerLost));
                }
            });
        }
    });
}
