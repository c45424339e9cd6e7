//! The parker's thread: there is one, while anybody may wait, and it leaves nothing behind.

use std::fs;
use std::task::{Context, Waker};

use annulus::{Async, Ring, Subscriber, Wake};

use crate::runtimes::{alone, current_thread, many_threads};
use crate::support::{Dir, until};

/// Threads of this process of that name.
pub(crate) fn parkers() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let named = tasks.filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "annulus-parker")
    });
    named.map(|task| task.file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Waits until there is one, which takes its name when it has started; fails if there are more.
pub(crate) fn until_one() {
    until("it has started", || !parkers().is_empty());
    assert_eq!(parkers().len(), 1);
}

/// A subscriber that waits, as far as a poll gets; the future is gone, so it does not wait any longer.
fn wait_once(rx: &mut Async<Subscriber>) {
    let mut future = std::pin::pin!(rx.recv());
    // A look again is not a wait.
    until("it waits", || future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[test]
fn it_starts_with_the_first_handle_and_ends_with_the_last() {
    let _alone = alone();
    until("no thread of the test before", || parkers().is_empty());
    let dir = Dir::new();
    let tx = dir.create("r").producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    assert!(parkers().is_empty(), "nobody waits so");
    for _ in 0..20 {
        let open = || dir.open("r").subscribe().unwrap().into_async().unwrap();
        let mut readers = [open(), open(), open()];
        readers.iter_mut().for_each(wait_once);
        until_one();
        drop(readers);
        until("it ends", || parkers().is_empty());
    }
    let pollable = rx.into_pollable().unwrap();
    until_one();
    drop(pollable);
    until("it ends", || parkers().is_empty());
    drop(tx);
}

/// A runtime that is dropped with tasks that wait leaves no thread, and of its declarations at most one useless wake.
#[test]
fn a_dropped_runtime_leaves_nothing() {
    let _alone = alone();
    for runtime in [current_thread(), many_threads()] {
        until("no thread of the test before", || parkers().is_empty());
        let dir = Dir::new();
        let mut tx = dir.create("r").max_subscribers(100).wake(Wake::Futex).producer().unwrap();
        let wakes = || Ring::open("r").dir(dir.path()).info().unwrap().wakes;
        runtime.block_on(async {
            for _ in 0..50 {
                let mut rx = dir.open("r").subscribe().unwrap().into_async().unwrap();
                tokio::spawn(async move { while rx.recv().await.is_ok() {} });
            }
            tokio::task::yield_now().await;
        });
        drop(runtime);
        until("it ends", || parkers().is_empty());
        assert_eq!(Ring::open("r").dir(dir.path()).info().unwrap().subscribers.len(), 0);
        let before = wakes();
        for _ in 0..10 {
            tx.send(b"nobody waits for this").unwrap();
        }
        assert!(wakes() <= before + 1, "{} useless wakes", wakes() - before);
    }
}
