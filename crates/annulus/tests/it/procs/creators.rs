//! Several creators of one name.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use annulus::ErrorKind;

use super::child::Child;
use crate::support::{Dir, Random, in_time};

/// Promise: leftovers of a crash are replaced by the next creator. Two race for what a killed producer left: one replaces it or goes on with it, the other is refused.
#[test]
fn two_processes_race_for_a_leftover() {
    let dir = Dir::new();
    let mut racers: Vec<_> = (0..2).map(|_| Child::start("race", &[dir.text(), "r"])).collect();
    for round in 0..40 {
        let mut victim = Child::start("end", &[dir.text(), "r", "kill"]);
        victim.expect("ready");
        victim.kill();
        assert_eq!(dir.entries(), ["r"]);
        let (order, refusal) =
            if round % 2 == 0 { ("create", "AlreadyExists") } else { ("open", "ProducerAlive") };
        racers.iter_mut().for_each(|racer| racer.tell(order));
        let mut said: Vec<_> = racers.iter_mut().map(Child::hear).collect();
        said.sort();
        assert_eq!(said, [refusal, "won"], "round {round}");
        for racer in &mut racers {
            racer.tell("end");
            racer.expect("ended");
        }
        assert!(dir.entries().is_empty(), "{:?}", dir.entries());
    }
}

/// Threads that create and end one ring without a pause: never two producers at once, and whoever does not get
/// it is told that it is held, not that it is broken.
#[test]
fn creators_against_enders() {
    in_time(|| {
        let dir = Arc::new(Dir::new());
        let (holders, won) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
        let start = Arc::new(Barrier::new(3));
        let threads: Vec<_> = (0..3)
            .map(|i| {
                let (dir, holders, won, start) =
                    (Arc::clone(&dir), Arc::clone(&holders), Arc::clone(&won), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    for round in 0..1500 {
                        let create = (round + i) % 2 == 0;
                        let ring = if create { dir.create("r") } else { dir.open_or_create("r") };
                        match ring.capacity(4096).max_subscribers(1).producer() {
                            Ok(tx) => {
                                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two producers");
                                won.fetch_add(1, Ordering::Relaxed);
                                holders.fetch_sub(1, Ordering::SeqCst);
                                drop(tx);
                            }
                            Err(error) => assert!(
                                matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::ProducerAlive),
                                "create: {create}, {error}"
                            ),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(won.load(Ordering::Relaxed) > 100);
        assert!(dir.entries().is_empty(), "{:?}", dir.entries());
    });
}

/// Readers that open a ring which comes and goes: they get it, or are told that it is not there.
#[test]
fn openers_against_enders() {
    in_time(|| {
        let dir = Arc::new(Dir::new());
        let over = Arc::new(AtomicBool::new(false));
        let churner = thread::spawn({
            let (dir, over) = (Arc::clone(&dir), Arc::clone(&over));
            move || {
                while !over.load(Ordering::Relaxed) {
                    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
                    tx.send(b"x").unwrap();
                    // Room for the others between a beginning and its end.
                    thread::yield_now();
                }
            }
        });
        let mut joined = 0;
        while joined < 300 {
            match dir.open("r").subscribe() {
                Ok(rx) => {
                    joined += 1;
                    assert!(rx.iter().all(|record| record.is_ok()));
                }
                Err(error) => assert!(error.is_not_found(), "{error}"),
            }
            if let Err(error) = dir.open("r").info() {
                assert!(error.is_not_found(), "{error}");
            }
        }
        over.store(true, Ordering::Relaxed);
        churner.join().unwrap();
    });
}

/// A creator is killed at a random time, 200 times: at most directories whose names begin with a dot are left, and
/// the name is usable by the next.
#[test]
fn creators_are_killed() {
    let dir = Dir::new();
    let mut random = Random::new(13);
    for round in 0..200 {
        let mut creator = Child::start("churn", &[dir.text(), "r"]);
        creator.expect("ready");
        let moment = Duration::from_micros(random.below(1500));
        let begin = Instant::now();
        while begin.elapsed() < moment {
            std::hint::spin_loop();
        }
        creator.kill();
        assert!(dir.entries().iter().all(|name| name == "r" || name.starts_with('.')), "{:?}", dir.entries());
        // Half the rounds leave what there is to the next child.
        if round % 2 == 0 {
            let mut tx = dir.create("r").capacity(4096).producer().unwrap();
            let rx = dir.open("r").subscribe().unwrap();
            tx.send(b"works").unwrap();
            assert_eq!(&*rx.recv().unwrap(), b"works");
            drop(tx);
            assert!(dir.entries().iter().all(|name| name.starts_with('.')));
        }
    }
}
