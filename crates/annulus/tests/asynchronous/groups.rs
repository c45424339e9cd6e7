//! Workers in tasks, beside workers in threads: each wake is for one of them, so none may be lost with whoever does not look.

use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{JoinHandle, scope, sleep, spawn, yield_now};
use std::time::{Duration, Instant};

use annulus::{Async, FenceMode, Group, RecvError, Ring, Select, Selectable, Subscriber, Waiting, Worker};

use crate::roles::{Other, say};
use crate::runtimes::{alone, current_thread, many_threads};
use crate::support::{Dir, Random, in_time, sleeps, thread_id, until, until_asleep, until_in_call};
use crate::threads::{parkers, until_one};

const INTERVAL: Duration = Duration::from_secs(10);
/// Nobody but the end of a liveness interval finds a record that has waited for so long.
const MISSED: Duration = Duration::from_secs(5);
const TASKS: usize = 4;
const PROCESSES: usize = 2;
const BURSTS: usize = 200;

/// Joins the group of the ring `r` in that directory.
fn join(dir: &str) -> Worker {
    Ring::open("r").dir(dir).waiting(Waiting::park_after(0)).join_group("g").unwrap()
}

/// A process with one worker, which says on a ring of its own what it has done.
pub(crate) fn work(dir: &str, name: &str) {
    let mut done = Ring::create(name).dir(dir).producer().unwrap();
    let worker = join(dir);
    say("ready");
    while let Ok(job) = worker.recv() {
        // sleep: the work
        sleep(Duration::from_millis(5));
        job.ack();
        done.send(b"done").unwrap();
    }
}

/// Four tasks of one process and two other processes, bursts of one to six: no record waits while a worker is free.
#[test]
fn a_burst_is_shared_by_tasks_and_processes() {
    let _alone = alone();
    for runtime in [current_thread(), many_threads()] {
        in_time(move || bursts(&runtime));
    }
}

fn bursts(runtime: &tokio::runtime::Runtime) {
    let dir = Dir::new();
    let mut tx = dir.create("r").wake(annulus::Wake::Futex).liveness(INTERVAL).producer().unwrap();
    let mut others: Vec<(Other, Subscriber)> = Vec::new();
    for name in ["done-0", "done-1"] {
        let mut other = Other::start(&format!("work-{name}"), dir.text());
        other.expect("ready");
        others.push((other, dir.open(name).subscribe().unwrap()));
    }
    assert_eq!(others.len(), PROCESSES);
    let done = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (mut worker, done) = (join(dir.text()).into_async().unwrap(), Arc::clone(&done));
            runtime.spawn(async move {
                loop {
                    match worker.recv().await {
                        Ok(job) => {
                            // sleep: the work
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            job.ack();
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(end) => return end,
                    }
                }
            })
        })
        .collect();
    runtime.block_on(async {
        let (mut random, mut sent, mut elsewhere) = (Random::new(1), 0, 0);
        for _ in 0..BURSTS {
            let burst = 1 + random.below((TASKS + PROCESSES) as u64);
            if random.below(2) == 0 {
                tx.send_batch(vec![b"job"; burst as usize]).unwrap();
            } else {
                (0..burst).for_each(|_| tx.send(b"job").unwrap());
            }
            sent += burst;
            let begin = Instant::now();
            while done.load(Ordering::SeqCst) + elsewhere < sent {
                elsewhere += others.iter().filter(|(_, done)| done.try_recv().is_ok()).count() as u64;
                assert!(begin.elapsed() < MISSED, "a record waits while workers are free");
                // sleep: leaves the processor to the workers
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            // Some sleep when the next burst comes, some do not.
            tokio::time::sleep(Duration::from_millis(random.below(4) * 5)).await;
        }
        eprintln!("{sent} jobs, {elsewhere} of them in other processes");
        assert!(elsewhere > 0 && elsewhere < sent);
        drop(tx);
        for task in tasks {
            assert_eq!(task.await.unwrap(), RecvError::Closed);
        }
    });
}

/// Says that it was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A worker in a thread, which begins to wait when it is told.
struct Fellow {
    begin: Arc<AtomicBool>,
    took: Arc<AtomicU32>,
    id: u32,
    thread: JoinHandle<()>,
}

impl Fellow {
    fn start(worker: Worker) -> Fellow {
        let (begin, took) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (says, heard) = std::sync::mpsc::channel();
        let (begins, takes) = (Arc::clone(&begin), Arc::clone(&took));
        let thread = spawn(move || {
            says.send(thread_id()).unwrap();
            // Not asleep before: that is seen in its system calls.
            while !begins.load(Ordering::SeqCst) {
                yield_now();
            }
            while let Ok(job) = worker.recv() {
                job.ack();
                takes.fetch_add(1, Ordering::SeqCst);
            }
        });
        Fellow { begin, took, id: heard.recv().unwrap(), thread }
    }
}

/// One waits in the way of `hold`, then a fellow in a thread, so that the wake for one record is the former's; who does not look.
/// The fellow gets the record, and no timeout helps. `hold` calls what it is given to publish, and asks by the other whether the fellow has got it.
fn the_fellow_gets_it(hold: impl Fn(Worker, &mut dyn FnMut(), &dyn Fn() -> bool) + Send + 'static) {
    let _alone = alone();
    in_time(move || {
        for _ in 0..5 {
            until("no thread of the round before", || parkers().is_empty());
            let dir = Dir::new();
            let ring = dir.create("r").fence(FenceMode::Symmetric).wake(annulus::Wake::Futex);
            let mut tx = ring.liveness(Duration::from_secs(3600)).producer().unwrap();
            // The parker's thread knows by now whether it tells the kernel whom it waits for.
            let _quiet = dir.create("quiet").wake(annulus::Wake::Futex).producer().unwrap();
            let mut stays = dir.open("quiet").subscribe().unwrap().into_async().unwrap();
            park(std::pin::pin!(stays.recv()));
            let fellow = Fellow::start(join(dir.text()));
            let mut publish = || {
                fellow.begin.store(true, Ordering::SeqCst);
                until_asleep(fellow.id);
                tx.send(b"for one").unwrap();
            };
            let took = || fellow.took.load(Ordering::SeqCst) == 1;
            hold(join(dir.text()), &mut publish, &took);
            drop(tx);
            fellow.thread.join().unwrap();
        }
    });
}

/// Waits until the parker's thread waits, having been told what there is to wait for.
fn until_parked() {
    until_one();
    let parker = parkers()[0];
    until("it sleeps on", || {
        until_in_call(parker, &[libc::SYS_io_uring_enter, libc::SYS_futex_waitv, libc::SYS_futex]);
        let before = sleeps(parker);
        // sleep: longer than it takes to get there; where it does not, the fellow is woken first, which shows nothing
        sleep(Duration::from_millis(10));
        sleeps(parker) == before
    });
}

/// Polls it until it waits with the parker; says what tells that it was woken.
fn park<F: Future>(mut future: Pin<&mut F>) -> Arc<Flag> {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    until("it waits", || {
        flag.0.store(false, Ordering::SeqCst);
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        !flag.0.load(Ordering::SeqCst)
    });
    until_parked();
    flag
}

#[test]
fn a_woken_future_that_is_dropped_passes_the_wake_on() {
    the_fellow_gets_it(|worker, publish, took| {
        let mut worker = worker.into_async().unwrap();
        let mut recv = Box::pin(worker.recv());
        let flag = park(recv.as_mut());
        publish();
        until("one of them is woken", || flag.0.load(Ordering::SeqCst) || took());
        drop(recv);
        until("the fellow has got it", took);
    });
}

#[test]
fn a_line_where_nobody_waits_any_more_passes_the_wake_on() {
    the_fellow_gets_it(|worker, publish, took| {
        let mut worker = worker.into_async().unwrap();
        {
            let mut recv = std::pin::pin!(worker.recv());
            park(recv.as_mut());
        }
        publish();
        until("the fellow has got it", took);
    });
}

/// The worker leaves while it is being woken: before the wake, behind it, or in the midst of it.
#[test]
fn a_worker_that_leaves_passes_the_wake_on() {
    the_fellow_gets_it(|worker, publish, took| {
        let mut worker = worker.into_async().unwrap();
        {
            let mut recv = std::pin::pin!(worker.recv());
            park(recv.as_mut());
        }
        scope(|scope| {
            scope.spawn(move || drop(worker));
            publish();
        });
        until("the fellow has got it", took);
    });
}

#[test]
fn a_descriptor_that_is_dropped_passes_the_wake_on() {
    the_fellow_gets_it(|worker, publish, took| {
        let mut worker = worker.into_pollable().unwrap();
        let readable = |worker: &annulus::Pollable<Worker>| {
            Select::new().wait_timeout(&[&worker.as_fd()], Duration::ZERO).is_ok()
        };
        until("it waits", || worker.try_recv().is_err() && !readable(&worker));
        until_parked();
        publish();
        until("one of them is woken", || readable(&worker) || took());
        drop(worker);
        until("the fellow has got it", took);
    });
}

/// Whoever selects may do anything with the answer: alone at its doorbell, and with a descriptor beside it.
#[test]
fn a_select_whose_caller_does_not_look_passes_the_wake_on() {
    for beside in [false, true] {
        the_fellow_gets_it(move |worker, publish, took| {
            let (says, heard) = std::sync::mpsc::channel();
            assert!(worker.try_recv().is_err(), "the first look is for what was given back before");
            let thread = spawn(move || {
                let (never, _never) = std::os::unix::net::UnixStream::pair().unwrap();
                let mut select = Select::new();
                select.set_waiting(Waiting::park_after(0));
                let list: &[&dyn Selectable] = if beside { &[&worker, &never] } else { &[&worker] };
                // The first time it asks for dead fellows it says so whatever it finds.
                while select.wait_timeout(list, Duration::ZERO).is_ok() {
                    assert!(worker.try_recv().is_err());
                }
                says.send(thread_id()).unwrap();
                select.wait(list).unwrap();
                // It does not look, and keeps all it has until the test ends it.
                std::thread::park();
            });
            until_in_call(heard.recv().unwrap(), &[libc::SYS_futex, libc::SYS_poll, libc::SYS_ppoll]);
            if beside {
                until_parked();
            }
            publish();
            until("the fellow has got it", took);
            thread.thread().unpark();
        });
    }
}

/// A job that a task drops before it has said that it is done goes to another, who is told.
#[test]
fn a_job_that_is_dropped_goes_back() {
    let _alone = alone();
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").producer().unwrap();
        let open = || dir.open("r").join_group(Group::named("g").attempts(3)).unwrap().into_async().unwrap();
        let (mut one, mut other): (Async<Worker>, Async<Worker>) = (open(), open());
        tx.send(b"job").unwrap();
        many_threads().block_on(async {
            let begun = Arc::new(tokio::sync::Notify::new());
            let says = Arc::clone(&begun);
            let task = tokio::spawn(async move {
                let job = one.recv().await.unwrap();
                says.notify_one();
                std::future::pending::<()>().await;
                job.ack();
            });
            begun.notified().await;
            task.abort();
            let job = other.recv().await.unwrap();
            assert_eq!((&*job, job.attempts(), job.is_redelivered()), (&b"job"[..], 2, true));
            assert!(!job.nack());
            other.recv().await.unwrap().ack();
            drop(tx);
            assert_eq!(other.recv().await.unwrap_err(), RecvError::Closed);
        });
    });
}
