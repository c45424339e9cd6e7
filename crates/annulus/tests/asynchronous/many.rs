//! A thousand rings, a thousand tasks.

use std::fs::OpenOptions;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annulus::{Ring, Wake};
use annulus_core::doorbell::Park;
use annulus_core::layout::CtlHead;
use annulus_os::sys::page_size;
use annulus_os::{Access, Futex, Mapping};

use crate::runtimes::{alone, current_thread, many_threads};
use crate::support::{Dir, in_time, sleeps, until};
use crate::threads::{parkers, until_one};

const MANY: usize = 1000;

/// As many descriptors as this process may have.
#[allow(unsafe_code)]
fn allow_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a struct of our own.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// A thousand tasks, each at a ring of its own: each gets what is its own, and one thread sleeps for all of them.
#[test]
fn a_thousand_rings() {
    let _alone = alone();
    allow_descriptors();
    in_time(|| {
        until("no thread of the test before", || parkers().is_empty());
        let dir = Dir::new();
        let runtime = many_threads();
        let mut producers = Vec::new();
        let mut readers = Vec::new();
        for i in 0..MANY {
            let name = format!("r{i}");
            producers.push(dir.create(&name).capacity(4096).wake(Wake::Futex).producer().unwrap());
            let mut rx = dir.open(&name).subscribe().unwrap().into_async().unwrap();
            readers.push(runtime.spawn(async move {
                let mut sum = 0;
                while let Ok(record) = rx.recv().await {
                    sum += u64::from_le_bytes((*record).try_into().unwrap());
                }
                sum
            }));
        }
        for round in 0..10u64 {
            for (i, tx) in producers.iter_mut().enumerate() {
                tx.send(&(round * i as u64).to_le_bytes()).unwrap();
            }
            until_one();
        }
        drop(producers);
        for (i, reader) in readers.into_iter().enumerate() {
            assert_eq!(runtime.block_on(reader).unwrap(), 45 * i as u64);
        }
    });
}

/// Who sleeps at the doorbell of a ring: asked by waking them, without moving the bell.
#[allow(unsafe_code)]
fn sleepers_at(dir: &Dir) -> u32 {
    let file = OpenOptions::new().read(true).write(true).open(dir.file("r", "ctl")).unwrap();
    let map = Mapping::plain(&file, page_size(), Access::ReadWrite).unwrap();
    // SAFETY: the first page of ctl holds its head, whose words are atomics; the borrow ends before the mapping.
    let ctl: &CtlHead = unsafe { map.base().cast().as_ref() };
    Futex.wake(ctl.rings.futex(), u32::MAX, u32::MAX)
}

/// A thousand tasks at one ring are one sleeper in the kernel, and each publication rings once.
#[test]
fn a_thousand_tasks_at_one_ring() {
    let _alone = alone();
    in_time(|| {
        let dir = Arc::new(Dir::new());
        let ring = dir.create("r").capacity(1 << 16).max_subscribers(MANY as u32).wake(Wake::Futex);
        let mut tx = ring.liveness(Duration::from_secs(3600)).producer().unwrap();
        let runtime = many_threads();
        let (said, heard) = std::sync::mpsc::channel();
        let readers: Vec<_> = (0..MANY)
            .map(|_| {
                let (mut rx, said) = (dir.open("r").subscribe().unwrap().into_async().unwrap(), said.clone());
                runtime.spawn(async move {
                    let mut count = 0;
                    while rx.recv().await.is_ok() {
                        count += 1;
                        said.send(()).unwrap();
                    }
                    count
                })
            })
            .collect();
        let mut most = 0;
        for n in 0..20 {
            let wakes = Ring::open("r").dir(dir.path()).info().unwrap().wakes;
            tx.send(b"for all").unwrap();
            assert!(Ring::open("r").dir(dir.path()).info().unwrap().wakes <= wakes + 1);
            (0..MANY).for_each(|_| heard.recv().unwrap());
            if n % 4 == 3 {
                let mut woken = 0;
                until("somebody sleeps there", || {
                    woken = sleepers_at(&dir);
                    woken > 0
                });
                most = most.max(woken);
            }
        }
        assert_eq!(most, 1, "sleepers for {MANY} tasks");
        drop(tx);
        for reader in readers {
            assert_eq!(runtime.block_on(reader).unwrap(), 20);
        }
    });
}

/// Wake-ups a second of a process with a thousand connections where nothing happens, of all its threads together.
const IDLE: f64 = 30.0;
const WATCHED: Duration = Duration::from_secs(3);

#[test]
fn a_thousand_idle_connections_cost_next_to_nothing() {
    let _alone = alone();
    allow_descriptors();
    in_time(|| {
        let dir = Dir::new();
        let runtime = current_thread();
        let mut producers = Vec::new();
        for i in 0..MANY {
            let name = format!("r{i}");
            producers.push(dir.create(&name).capacity(4096).wake(Wake::Futex).producer().unwrap());
            let mut rx = dir.open(&name).subscribe().unwrap().into_async().unwrap();
            runtime.spawn(async move { while rx.recv().await.is_ok() {} });
        }
        runtime.block_on(async {
            // The first sleeps are short.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let switches = || {
                let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
                let threads = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
                threads.filter_map(sleeps).sum::<u64>()
            };
            let (begin, before) = (Instant::now(), switches());
            tokio::time::sleep(WATCHED).await;
            let rate = (switches() - before) as f64 / begin.elapsed().as_secs_f64();
            eprintln!("{rate:.1} wake-ups a second");
            assert!(rate <= IDLE, "{rate:.1} wake-ups a second");
        });
    });
}
