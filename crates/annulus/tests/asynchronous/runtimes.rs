//! The runtimes that the tests run in.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::support::in_time;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Held by each test: they count the threads of the process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn many_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs each pair of tasks to its end: both in one thread with a reactor, in two, and in threads that know nothing but wakers.
pub(crate) fn in_each(pair: impl Fn() -> (Work, Work) + Send + 'static) {
    let _alone = alone();
    in_time(move || {
        for runtime in [current_thread(), many_threads()] {
            let (one, other) = pair();
            runtime.block_on(async {
                let tasks = [tokio::spawn(one), tokio::spawn(other)];
                for task in tasks {
                    task.await.unwrap();
                }
            });
        }
        let (one, other) = pair();
        std::thread::scope(|scope| {
            scope.spawn(|| futures_executor::block_on(one));
            futures_executor::block_on(other);
        });
    });
}
