//! Workers of a group that sleep, and those who wake them.
//!
//! Shows: two records that follow one another, or come at once, wake two workers, each of which takes one and no more; a record that is
//! given back wakes a worker, also in the moment in which the producer wakes another for a new one; a worker that waits for a
//! word of a full claim table, or for the end while others hold records, is woken by the one it waits for, whichever of them finishes
//! first; a waker that dies between taking the declarations and leaving the group's bit leaves nobody asleep once there is a
//! successor; a blocked producer is woken when the floor moves; one that sleeps at many doorbells does not take the wake that is for
//! a record which it has not seen. No sleep has a limit here: a lost wake hangs the model. Cannot show:
//! sleeps behind membarrier(2), which `settle.rs` has for readers, by the same functions; the kernel's queue; more than two that sleep. Where there
//! are three threads or more, two preemptions are explored, or one.

mod common;
#[path = "common/crew.rs"]
mod crew;
#[path = "common/stop.rs"]
mod stop;

use annulus_core::doorbell::{
    ANYONE, Heavy, Light, Park, Settled, after_release, go_to_sleep, group_bit, sleep_for_room,
    someone_sleeps, stop_waiting, succeed, wake_readers, wake_workers, when_empty,
};
use annulus_core::reader::End;
use annulus_core::sync::FutexWord;
use annulus_core::worker::Worker;
use annulus_core::writer::{Refusal, Writer};
use common::{Arc, model, model_within, relax, thread};
use crew::Crew;
use std::sync::Mutex;
use std::time::Duration;
use stop::{at_every_step, until};

/// A worker that takes one record, asleep until there is one, and keeps it; or the ring's end.
fn one(crew: &Arc<Crew>, worker: Worker) -> thread::JoinHandle<Result<(u64, u32), End>> {
    // It has looked before: what was given back, if anything, it has met.
    assert_eq!(crew.claim(&worker), None);
    let crew = crew.clone();
    thread::spawn(move || crew.recv(&worker).map(|held| (held.held.sequence, held.attempts)))
}

/// Two workers asleep, each of which takes one record.
fn two_asleep(send: fn(&Crew, &mut Writer)) {
    let (crew, mut writer) = Crew::begun(64, 2, 0, 0);
    let workers = [one(&crew, crew.join(0)), one(&crew, crew.join(1))];
    // Most often both sleep by then.
    (0..2).for_each(|_| relax());
    send(&crew, &mut writer);
    let mut taken = workers.map(|worker| worker.join().unwrap().unwrap());
    taken.sort_unstable();
    assert_eq!(taken, [(0, 0), (1, 0)]);
}

#[test]
fn two_records_one_after_the_other_wake_two_workers() {
    model_within(1, 750, || {
        two_asleep(|crew, writer| {
            for _ in 0..2 {
                crew.publish(writer);
                crew.ring_bell(1);
            }
        });
    });
}

#[test]
fn two_records_at_once_wake_two_workers() {
    model_within(1, 750, || {
        two_asleep(|crew, writer| {
            crew.publish(writer);
            crew.publish(writer);
            crew.ring_bell(2);
        });
    });
}

#[test]
fn a_record_that_is_given_back_wakes_a_worker() {
    model(50, || {
        let (crew, _) = Crew::begun(64, 2, 0, 1);
        let worker = crew.join(0);
        let held = crew.claim(&worker).unwrap();
        let asleep = one(&crew, crew.join(1));
        assert!(crew.give_back(&worker, held));
        assert_eq!(asleep.join().unwrap(), Ok((0, 1)));
    });
}

/// Neither wake takes the other's for its own.
#[test]
fn a_record_that_is_given_back_and_a_new_one_wake_two_workers() {
    model_within(1, 5000, || {
        let (crew, mut writer) = Crew::begun(64, 2, 0, 1);
        let worker = crew.join(0);
        let held = crew.claim(&worker).unwrap();
        let asleep = [one(&crew, crew.join(1)), one(&crew, crew.join(2))];
        let nack = {
            let crew = crew.clone();
            thread::spawn(move || assert!(crew.give_back(&worker, held)))
        };
        crew.publish(&mut writer);
        crew.ring_bell(1);
        nack.join().unwrap();
        let mut taken = asleep.map(|worker| worker.join().unwrap().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [(0, 1), (1, 0)]);
    });
}

#[test]
fn a_worker_that_finds_the_table_full_is_woken_when_there_is_a_word() {
    model(25, || {
        let (crew, _) = Crew::begun(64, 1, 0, 2);
        let worker = crew.join(0);
        let held = crew.claim(&worker).unwrap();
        let asleep = one(&crew, crew.join(1));
        assert!(crew.done(&worker, held));
        assert_eq!(asleep.join().unwrap(), Ok((1, 0)));
    });
}

/// Not only for the first of those that finish, which is not the one it waits for.
#[test]
fn nor_does_another_that_finishes_leave_it_asleep() {
    model_within(2, 500, || {
        let (crew, _) = Crew::begun(64, 2, 0, 3);
        let (first, second) = (crew.join(0), crew.join(1));
        let held = [crew.claim(&first).unwrap(), crew.claim(&second).unwrap()];
        let asleep = one(&crew, crew.join(2));
        let other = {
            let crew = crew.clone();
            thread::spawn(move || assert!(crew.done(&second, held[1])))
        };
        assert!(crew.done(&first, held[0]));
        other.join().unwrap();
        assert_eq!(asleep.join().unwrap(), Ok((2, 0)));
    });
}

/// One has the last record and ends with it in some way; the others wait for the end.
fn the_end(attempts_max: u32, waiting: u32, ends: fn(&Crew, &Worker, annulus_core::worker::Claimed)) {
    let (crew, mut writer) = Crew::begun(64, 2, attempts_max, 1);
    let worker = crew.join(0);
    let held = crew.claim(&worker).unwrap();
    writer.close(&crew.ring.shared());
    let asleep: Vec<_> = (1..=waiting).map(|slot| one(&crew, crew.join(slot))).collect();
    ends(&crew, &worker, held);
    for worker in asleep {
        assert_eq!(worker.join().unwrap(), Err(End::Closed));
    }
}

#[test]
fn the_end_wakes_who_waits_for_the_last_record() {
    model(25, || the_end(0, 1, |crew, worker, held| assert!(crew.done(worker, held))));
}

#[test]
fn a_dead_letter_wakes_all_who_wait_for_the_end() {
    model_within(2, 2000, || the_end(1, 2, |crew, worker, held| assert!(crew.give_back(worker, held))));
}

/// The producer dies as it wakes a worker; the next one wakes it.
fn dead_waker(step: usize) {
    let (crew, mut writer) = Crew::begun(64, 2, 0, 0);
    let asleep = one(&crew, crew.join(0));
    crew.publish(&mut writer);
    let shared = crew.ring.shared();
    until(step, || {
        if someone_sleeps(shared.ctl, Light::Full) {
            wake_readers(shared.ctl, 1, &crew.park);
        }
    });
    succeed(shared.ctl, shared.producer, 2, &crew.park);
    assert_eq!(asleep.join().unwrap(), Ok((0, 0)));
}

#[test]
fn a_waker_that_died_leaves_nobody_asleep() {
    at_every_step(2, [3, 20], dead_waker);
}

/// Notes how many it was asked to wake last.
#[derive(Default)]
struct Counted(Mutex<u32>);

impl Park for Counted {
    fn wait(&self, _: &FutexWord, _: u32, _: u32, _: Option<Duration>) -> bool {
        unreachable!("it only wakes")
    }

    fn wake(&self, _: &FutexWord, count: u32, _: u32) -> u32 {
        *self.0.lock().unwrap() = count;
        0
    }

    fn heavy(&self) -> bool {
        true
    }
}

/// One of those that a wake reaches whatever its bits is about to sleep while a dead worker's record is given back: either it sees
/// that, or all are woken, since it could take the only wake and be of no use.
#[test]
fn who_would_take_the_only_wake_is_seen_or_sees_what_it_is_for() {
    model(10, || {
        let (crew, _) = Crew::begun(64, 2, 0, 1);
        let (dead, other) = (crew.join(0), crew.join(1));
        crew.claim(&dead).unwrap();
        assert_eq!(crew.claim(&other), None);
        let gives_back = crew.clone();
        let gives_back = thread::spawn(move || {
            let park = Counted::default();
            assert_eq!(gives_back.group().give_back_all(0), 1);
            wake_workers(gives_back.ring.shared().ctl, 0, 1, &park);
            park.0.into_inner().unwrap()
        });
        let shared = crew.ring.shared();
        let look = || other.last_look(&shared, crew.group());
        let bits = ANYONE | group_bit(0);
        let (heavy, park, settled) = (Heavy::Full, Counted::default(), Settled::default());
        let sleeps = go_to_sleep(shared.ctl, bits, heavy, &park, settled, [None; 2], look).is_ok();
        let woken = gives_back.join().unwrap();
        assert!(!sleeps || woken == u32::MAX, "it sleeps, and takes the wake of another");
    });
}

/// A ring that is full of one record; the worker that has it is done with it while the producer goes to sleep.
#[test]
fn a_blocked_producer_is_woken_when_the_floor_moves() {
    model(50, || {
        let (crew, mut writer) = Crew::begun(32, 2, 0, 1);
        let worker = crew.join(0);
        let held = crew.claim(&worker).unwrap();
        let working = {
            let crew = crew.clone();
            thread::spawn(move || {
                let shared = crew.ring.shared();
                let moved = worker.done(&shared, crew.group(), 0, held, &crew.park).unwrap();
                let (before, after) = moved.unwrap();
                after_release(shared.ctl, before, after, &crew.park);
                // As whoever finds nothing more: behind a fence, unlike the look before it.
                when_empty(shared.ctl, &crew.park);
            })
        };
        let shared = crew.ring.shared();
        let mut settled = Settled::default();
        while let Err(refusal) = crew.try_publish(&mut writer) {
            let Refusal::Full(full) = refusal else { unreachable!("{refusal:?}") };
            let end = writer.tail() + crew.ring.shape.need(8);
            sleep_for_room(shared.ctl, full.wanted, &crew.park, &mut settled, [None; 2], || {
                writer.extend(&shared, end).is_ok()
            });
        }
        stop_waiting(shared.ctl);
        working.join().unwrap();
    });
}
