//! Waiting for the first of several rings, in one thread.
#![allow(unsafe_code)]

mod files;
mod turns;

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use annulus::{
    CopyError, FenceMode, Producer, RecvError, Select, SelectError, Selectable, Start, Subscriber,
    TryCopyError, TryRecvError, Waiting, Wake,
};

use crate::support::{Dir, LONG, Random, each_in_time, in_time, thread_id, until_in_call};

const NEVER: Duration = Duration::from_secs(3600);
const BRIEF: Duration = Duration::from_millis(20);

/// One that sleeps at once.
fn asleep_at_once() -> Select {
    let mut select = Select::new();
    select.set_waiting(Waiting::park_after(0));
    select
}

/// So many rings that nothing but a wake ends a sleep at.
fn rings(dir: &Dir, count: usize, fence: FenceMode) -> (Vec<Producer>, Vec<Subscriber>) {
    let ring = |n: usize| {
        let name = n.to_string();
        let ring = dir.create(&name).capacity(4096).max_subscribers(2).fence(fence).liveness(NEVER);
        // Nobody sleeps at several semaphores.
        let tx = ring.wake(Wake::Futex).producer().unwrap();
        (tx, dir.open(&name).subscribe().unwrap())
    };
    (0..count).map(ring).unzip()
}

fn all<T: Selectable>(handles: &[T]) -> Vec<&dyn Selectable> {
    handles.iter().map(|handle| handle as &dyn Selectable).collect()
}

/// Waits until a thread sleeps at several futexes.
fn until_asleep_at_many(thread: u32) {
    until_in_call(thread, &[libc::SYS_futex_waitv]);
}

/// Every kind of reader, of bytes and of values, each with a record of its own and with nothing; and then their ends.
#[test]
fn every_kind_of_reader_can_be_waited_for() {
    let dir = Dir::new();
    let mut bytes: Vec<Producer> = (0..3).map(|n| dir.create(&format!("b{n}")).producer().unwrap()).collect();
    let values = |n| annulus::Ring::create_typed::<u32>(&format!("v{n}")).dir(dir.path()).producer().unwrap();
    let mut values: Vec<_> = (0..3).map(values).collect();
    let typed = |n| annulus::Ring::open_typed::<u32>(&format!("v{n}")).dir(dir.path());
    let subscriber = dir.open("b0").subscribe().unwrap();
    let mut copying = dir.open("b1").subscribe_copying().unwrap();
    let mut observer = dir.open("b2").observe().unwrap();
    let typed_subscriber = typed(0).subscribe().unwrap();
    let mut typed_copying = typed(1).subscribe_copying().unwrap();
    let mut typed_observer = typed(2).observe().unwrap();
    for waiting in [Waiting::park_after(0), Waiting::default(), Waiting::spin(), Waiting::yielding()] {
        let mut select = Select::new();
        select.set_waiting(waiting);
        for n in 0..6 {
            if n < 3 {
                bytes[n].send(b"news").unwrap();
            } else {
                values[n - 3].send(&7).unwrap();
            }
            let sources: [&dyn Selectable; 6] =
                [&subscriber, &copying, &observer, &typed_subscriber, &typed_copying, &typed_observer];
            assert_eq!(select.wait(&sources), Ok(n));
            assert_eq!(select.wait_biased(&sources), Ok(n), "nothing was taken");
            let mut buf = [0; 4];
            match n {
                0 => assert_eq!(&*subscriber.try_recv().unwrap(), b"news"),
                1 => assert_eq!(copying.try_recv(&mut buf).unwrap().len, 4),
                2 => assert_eq!(observer.try_recv(&mut buf).unwrap().len, 4),
                3 => assert_eq!(*typed_subscriber.try_recv().unwrap(), 7),
                4 => assert_eq!(*typed_copying.try_recv().unwrap(), 7),
                _ => assert_eq!(*typed_observer.try_recv().unwrap(), 7),
            }
        }
        let sources: [&dyn Selectable; 6] =
            [&subscriber, &copying, &observer, &typed_subscriber, &typed_copying, &typed_observer];
        assert_eq!(select.wait_timeout(&sources, Duration::from_millis(2)), Err(SelectError::TimedOut));
    }
    drop((bytes, values));
    let mut select = asleep_at_once();
    let mut told = [false; 6];
    for _ in 0..6 {
        let sources: [&dyn Selectable; 6] =
            [&subscriber, &copying, &observer, &typed_subscriber, &typed_copying, &typed_observer];
        told[select.wait(&sources).unwrap()] = true;
    }
    assert_eq!(told, [true; 6], "each has its turn to say that it has ended");
    assert_eq!(subscriber.try_recv().unwrap_err(), TryRecvError::Ended(RecvError::Closed));
    assert_eq!(observer.try_recv(&mut [0; 4]), Err(TryCopyError::Ended(RecvError::Closed)));
}

/// Of several that are waited for, each wakes the sleeper: by a record, and by its end.
#[test]
fn each_of_them_wakes_the_sleeper() {
    for fence in [FenceMode::Asymmetric, FenceMode::Symmetric] {
        for count in [1, 2, 3, 128] {
            each_in_time(move |trips| {
                let dir = Dir::new();
                let (mut producers, subscribers) = rings(&dir, count, fence);
                let (say, thread) = mpsc::channel();
                let (found, answers) = mpsc::channel();
                let reader = std::thread::spawn(move || {
                    say.send(thread_id()).unwrap();
                    let (mut select, mut left) = (asleep_at_once(), subscribers);
                    while !left.is_empty() {
                        let at = select.wait(&all(&left)).unwrap();
                        match left[at].try_recv().map(|record| record.to_vec()) {
                            Ok(record) => found.send(Some(record)).unwrap(),
                            Err(TryRecvError::Ended(RecvError::Closed)) => {
                                left.remove(at);
                                found.send(None).unwrap();
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
                let thread = thread.recv().unwrap();
                let until_it_sleeps = |left: usize| match left {
                    1 => crate::support::until_asleep(thread),
                    _ => until_asleep_at_many(thread),
                };
                let mut random = Random::quiet(count as u64);
                for n in 0..100_u64 {
                    until_it_sleeps(count);
                    let which = random.below(count as u64) as usize;
                    producers[which].send(&n.to_le_bytes()).unwrap();
                    assert_eq!(answers.recv().unwrap().unwrap(), n.to_le_bytes());
                    trips.store(n, Ordering::Relaxed);
                }
                while !producers.is_empty() {
                    until_it_sleeps(producers.len());
                    producers.swap_remove(random.below(producers.len() as u64) as usize);
                    assert_eq!(answers.recv().unwrap(), None);
                }
                reader.join().unwrap();
            });
        }
    }
}

/// More than one call takes: each wakes the sleeper all the same.
#[test]
fn more_rings_than_one_call_takes() {
    const COUNT: usize = 300;
    each_in_time(|trips| {
        let dir = Dir::new();
        let (mut producers, subscribers) = rings(&dir, COUNT, FenceMode::Symmetric);
        let (say, thread) = mpsc::channel();
        let (found, answers) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            say.send(thread_id()).unwrap();
            let mut select = asleep_at_once();
            for _ in 0..COUNT {
                let at = select.wait(&all(&subscribers)).unwrap();
                found.send((at, subscribers[at].try_recv().unwrap().to_vec())).unwrap();
            }
        });
        let thread = thread.recv().unwrap();
        for n in (0..COUNT).rev() {
            until_in_call(thread, &[libc::SYS_ppoll]);
            producers[n].send(&n.to_le_bytes()).unwrap();
            assert_eq!(answers.recv().unwrap(), (n, n.to_le_bytes().to_vec()));
            trips.store(n as u64, Ordering::Relaxed);
        }
        reader.join().unwrap();
    });
}

/// Rings at which nobody can sleep, and an observer, whom nobody wakes: they are looked at again and again, alone and among others.
#[test]
fn those_who_cannot_wake_are_looked_at() {
    in_time(|| {
        let dir = Dir::new();
        let ring = |name: &str| dir.create(name).capacity(4096).liveness(NEVER);
        let mut producers = [
            ring("futex").producer().unwrap(),
            ring("semaphore").wake(Wake::Semaphore).producer().unwrap(),
            ring("spin").fence(FenceMode::SpinOnly).producer().unwrap(),
        ];
        let [futex, semaphore, spin] =
            ["futex", "semaphore", "spin"].map(|name| dir.open(name).subscribe().unwrap());
        let mut select = asleep_at_once();
        for (first, sources) in [
            (0, &[&futex as &dyn Selectable, &semaphore, &spin][..]),
            (1, &[&semaphore, &spin]),
            (2, &[&spin]),
        ] {
            for (n, tx) in producers.iter_mut().enumerate().skip(first) {
                sent_to_sleeper(
                    || tx.send(b"news").unwrap(),
                    || assert_eq!(select.wait(sources), Ok(n - first)),
                );
                drop([&futex, &semaphore, &spin][n].try_recv().unwrap());
            }
        }
    });
}

/// Sends once the caller sleeps.
fn sent_to_sleeper(mut send: impl FnMut() + Send, wait: impl FnOnce()) {
    let thread = thread_id();
    let napping =
        [libc::SYS_clock_nanosleep, libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_ppoll, libc::SYS_poll];
    std::thread::scope(|scope| {
        scope.spawn(move || {
            until_in_call(thread, &napping);
            send();
        });
        wait();
    });
}

#[test]
fn an_observer_among_others() {
    in_time(|| {
        let dir = Dir::new();
        let ring = |name: &str| dir.create(name).capacity(4096).producer().unwrap();
        let (mut watched, mut read) = (ring("watched"), ring("read"));
        let mut observer = dir.open("watched").observe().unwrap();
        let subscriber = dir.open("read").subscribe().unwrap();
        let mut select = asleep_at_once();
        for _ in 0..10 {
            sent_to_sleeper(
                || watched.send(b"seen").unwrap(),
                || assert_eq!(select.wait(&[&subscriber, &observer]), Ok(1)),
            );
            assert_eq!(observer.try_recv(&mut [0; 8]).unwrap().len, 4);
            sent_to_sleeper(
                || read.send(b"read").unwrap(),
                || assert_eq!(select.wait(&[&subscriber, &observer]), Ok(0)),
            );
            assert_eq!(&*subscriber.try_recv().unwrap(), b"read");
        }
        // A loss is something to tell.
        (0..1000).for_each(|_| watched.send(&[0; 100]).unwrap());
        assert_eq!(select.wait(&[&subscriber, &observer]), Ok(1));
        assert!(matches!(observer.recv(&mut [0; 100]), Err(CopyError::Lagged(_))));
    });
}

/// A limit: never earlier, and not missed; what is there when it passes is found.
#[test]
fn the_limit_is_kept() {
    in_time(|| {
        let dir = Dir::new();
        let (mut producers, subscribers) = rings(&dir, 3, FenceMode::Asymmetric);
        for waiting in [Waiting::park_after(0), Waiting::default(), Waiting::spin(), Waiting::yielding()] {
            let mut select = Select::new();
            select.set_waiting(waiting);
            for count in [0, 1, 3] {
                let sources = all(&subscribers[..count]);
                let begin = Instant::now();
                assert_eq!(select.wait_timeout(&sources, BRIEF), Err(SelectError::TimedOut));
                assert!(begin.elapsed() >= BRIEF);
                let deadline = Instant::now() + BRIEF;
                assert_eq!(select.wait_deadline(&sources, deadline), Err(SelectError::TimedOut));
                assert!(Instant::now() >= deadline);
                let deadline = Instant::now() + BRIEF;
                assert_eq!(select.wait_biased_deadline(&sources, deadline), Err(SelectError::TimedOut));
                assert!(Instant::now() >= deadline);
                let nothing = select.wait_biased_timeout(&sources, Duration::ZERO);
                assert_eq!(nothing, Err(SelectError::TimedOut));
            }
            producers[2].send(b"late").unwrap();
            assert_eq!(select.wait_deadline(&all(&subscribers), Instant::now() - BRIEF), Ok(2));
            assert_eq!(select.wait_timeout(&all(&subscribers), Duration::MAX), Ok(2));
            drop(subscribers[2].try_recv().unwrap());
        }
    });
}

/// Nothing to wait for and no limit: an error, not a wait for ever.
#[test]
fn an_empty_list_is_not_waited_for_for_ever() {
    in_time(|| {
        let mut select = Select::default();
        assert_eq!(select.wait(&[]), Err(SelectError::NoSources));
        assert_eq!(select.wait_biased(&[]), Err(SelectError::NoSources));
        assert_eq!(select.wait_timeout(&[], Duration::MAX), Err(SelectError::NoSources));
        let text = SelectError::NoSources.to_string();
        assert!(text.contains("; list a ring"), "{text}");
    });
}

/// The next producer of a ring that is waited for: neither an end nor a record, and then its records.
#[test]
fn a_takeover_is_followed() {
    in_time(|| {
        let dir = Dir::new();
        let (_others, subscribers) = rings(&dir, 1, FenceMode::Asymmetric);
        let ring = || dir.create("kept").capacity(4096).liveness(NEVER).persistent(true);
        let tx = ring().producer().unwrap();
        let rx = dir.open("kept").start(Start::Oldest).subscribe().unwrap();
        drop(tx);
        let mut select = asleep_at_once();
        assert_eq!(select.wait(&[&subscribers[0], &rx]), Ok(1));
        assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Ended(RecvError::Closed));
        let mut tx = dir.open("kept").producer().unwrap();
        let nothing = select.wait_timeout(&[&subscribers[0], &rx], BRIEF);
        assert_eq!(nothing, Err(SelectError::TimedOut));
        sent_to_sleeper(
            || tx.send(b"next").unwrap(),
            || assert_eq!(select.wait(&[&subscribers[0], &rx]), Ok(1)),
        );
        assert_eq!(&*rx.try_recv().unwrap(), b"next");
    });
}

/// A producer that waits for room is rung when its ring is found empty, also by who looks at many.
#[test]
fn a_blocked_producer_is_let_go() {
    in_time(|| {
        let dir = Dir::new();
        let (mut producers, subscribers) = rings(&dir, 3, FenceMode::Asymmetric);
        let sender = std::thread::spawn(move || {
            for n in 0..2000_u64 {
                producers[(n % 3) as usize].send(&[n as u8; 500]).unwrap();
            }
        });
        let mut select = asleep_at_once();
        let mut left = subscribers;
        let mut received = 0;
        while !left.is_empty() {
            let at = select.wait(&all(&left)).unwrap();
            loop {
                match left[at].try_recv().map(drop) {
                    Ok(_) => received += 1,
                    Err(TryRecvError::Empty) => break,
                    Err(_) => {
                        left.remove(at);
                        break;
                    }
                }
            }
        }
        assert_eq!(received, 2000);
        sender.join().unwrap();
    });
}

/// It can be kept where handles are kept, and moves with them.
#[test]
fn it_moves_between_threads() {
    let mut select = Select::new();
    let (dir, wait) = (Dir::new(), LONG);
    let (mut producers, subscribers) = rings(&dir, 2, FenceMode::Asymmetric);
    producers[1].send(b"there").unwrap();
    let found = std::thread::spawn(move || select.wait_timeout(&all(&subscribers), wait));
    assert_eq!(found.join().unwrap(), Ok(1));
}
