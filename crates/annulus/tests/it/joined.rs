//! A producer that waits for its subscribers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use annulus::{FenceMode, WaitError};

use crate::copiers::Kind;
use crate::support::{Dir, in_time, thread_id, until_asleep};

/// An hour: nothing but the wake can end a sleep.
const NEVER: Duration = Duration::from_secs(3600);

/// It sleeps in the kernel and is woken by each join, of either kind; observers are not known to it.
#[test]
fn woken_by_each_join() {
    for (fence, copying) in
        [(FenceMode::Asymmetric, true), (FenceMode::Asymmetric, false), (FenceMode::Symmetric, true)]
    {
        in_time(move || {
            let dir = Dir::new();
            let tx = dir.create("r").fence(fence).liveness(NEVER).producer().unwrap();
            assert_eq!(tx.wait_for_subscribers(0), Ok(()));
            let (say, tid) = mpsc::channel();
            let waiter = thread::spawn(move || {
                say.send(thread_id()).unwrap();
                tx.wait_for_subscribers(3).unwrap();
                tx
            });
            let tid = tid.recv().unwrap();
            // Its first sleep is limited to a moment only where there is a shorter liveness interval.
            until_asleep(tid);
            let _observers: Vec<_> = (0..5).map(|_| Kind::Observer.open(dir.open("r"))).collect();
            let first = dir.open("r").subscribe().unwrap();
            until_asleep(tid);
            let _second = Kind::Copying.open(dir.open("r"));
            until_asleep(tid);
            // One that leaves does not count any more.
            drop(first);
            let _third = dir.open("r").subscribe().unwrap();
            until_asleep(tid);
            assert!(!waiter.is_finished());
            // By the clock it would wake in an hour, which the test does not live to see.
            let _fourth = (
                copying.then(|| dir.open("r").subscribe_copying().unwrap()),
                (!copying).then(|| dir.open("r").subscribe().unwrap()),
            );
            let tx = waiter.join().unwrap();
            assert_eq!(tx.wait_for_subscribers(3), Ok(()));
        });
    }
}

/// On a ring where nobody sleeps it naps, and still sees them come.
#[test]
fn on_a_ring_that_only_spins() {
    in_time(|| {
        let dir = Dir::new();
        let tx = dir.create("r").fence(FenceMode::SpinOnly).liveness(NEVER).producer().unwrap();
        let waiter = thread::spawn(move || tx.wait_for_subscribers(2));
        let _rx = [dir.open("r").subscribe().unwrap(), dir.open("r").subscribe().unwrap()];
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

/// It gives up at the limit, not before, and says how many came; more than there are places is refused at once.
#[test]
fn too_few_in_time() {
    for fence in [FenceMode::Asymmetric, FenceMode::Symmetric, FenceMode::SpinOnly] {
        let dir = Dir::new();
        let tx = dir.create("r").fence(fence).max_subscribers(4).producer().unwrap();
        let _observer = Kind::Observer.open(dir.open("r"));
        let mut readers = Vec::new();
        for present in 0..4 {
            for limit in [Duration::ZERO, Duration::from_millis(5)] {
                let begin = Instant::now();
                let waited = tx.wait_for_subscribers_timeout(4, limit);
                assert_eq!(waited, Err(WaitError::TimedOut { present }));
                assert!(begin.elapsed() >= limit);
            }
            readers.push(dir.open("r").subscribe().unwrap());
        }
        assert_eq!(tx.wait_for_subscribers_timeout(4, Duration::ZERO), Ok(()));
        assert_eq!(tx.wait_for_subscribers_timeout(4, Duration::MAX), Ok(()));
        for n in [5, u32::MAX] {
            assert_eq!(tx.wait_for_subscribers(n), Err(WaitError::TooMany { max: 4 }));
            assert_eq!(tx.wait_for_subscribers_timeout(n, NEVER), Err(WaitError::TooMany { max: 4 }));
        }
        let text = WaitError::TooMany { max: 4 }.to_string();
        assert!(text.contains("for 4 subscribers") && text.contains("; create it with more"), "{text}");
        let text = WaitError::TimedOut { present: 1 }.to_string();
        assert!(text.contains("only 1") && text.contains("; start the others"), "{text}");
    }
}

/// Threads that join and leave while it waits: it ends, whatever comes and goes meanwhile.
#[test]
fn joins_and_leaves_at_once() {
    in_time(|| {
        let dir = Dir::new();
        let tx = dir.create("r").capacity(4096).liveness(NEVER).max_subscribers(3).producer().unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let _rx = dir.open("r").prefault(false).subscribe().unwrap();
                        thread::yield_now();
                    }
                });
            }
            (0..100).for_each(|i| tx.wait_for_subscribers(1 + i % 3).unwrap());
            over.store(true, Ordering::Relaxed);
        });
    });
}
