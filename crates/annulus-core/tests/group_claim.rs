//! Workers of a group claim records and finish them, beside a producer.
//!
//! Shows: each record goes to one worker, with the payload that was published; when all are done the floor is at the tail, whoever
//! finished last; the producer writes over no record before those who hold it are done, whoever moved the floor; a worker whose
//! place was written over goes on where its group is, as does one that joins as a record is finished, and takes nothing else for a record; a group that begins misses no record after
//! that; whoever sees a group sees its words; what was given back is found by who sees that something was. Cannot show: records
//! of different lengths, and numbers near the ends of their ranges, which the unit tests have; more than two workers that
//! finish at once; that a group's lock is what it says, which the kernel promises.

mod common;
#[path = "common/crew.rs"]
mod crew;

use annulus_core::claim::{Claim, Stage};
use annulus_core::group::help;
use annulus_core::history::Start;
use annulus_core::layout::GroupPhase;
use annulus_core::worker::{Claimed, Worker};
use common::{Arc, model, model_within, relax, thread};
use crew::{Crew, Free, GroupLock, Silent};

/// Both claim what there is, until there is no more.
fn two_workers(records: u64, claim_words: usize) {
    let (crew, writer) = Crew::begun(64, claim_words, 0, records);
    let fellow = {
        let (crew, worker) = (crew.clone(), crew.join(1));
        thread::spawn(move || crew.work(&worker))
    };
    let worker = crew.join(0);
    let mut finished = crew.work(&worker);
    finished.extend(fellow.join().unwrap());
    // Who found the table full has left the rest.
    finished.extend(crew.work(&worker));
    finished.sort_unstable();
    assert_eq!(finished, (0..records).map(|sequence| (sequence, 0)).collect::<Vec<_>>());
    crew.assert_all_done(&writer);
}

#[test]
fn each_record_goes_to_one_of_two_workers() {
    model(100, || two_workers(2, 4));
}

#[test]
fn a_table_of_one_word_lends_it_to_one_record_at_a_time() {
    model(100, || two_workers(2, 1));
}

/// A worker can be done with a record before its producer has said that there is one more. Who joins at that instant finds the floor
/// further on than the producer's words are.
#[test]
fn who_joins_just_behind_a_new_record_finds_its_place() {
    model_within(2, 20, || {
        let (crew, mut writer) = Crew::begun(64, 2, 0, 0);
        let fellow = crew.join(0);
        let works = {
            let crew = crew.clone();
            thread::spawn(move || crew.work(&fellow))
        };
        let joins = {
            let crew = crew.clone();
            thread::spawn(move || crew.join(1))
        };
        crew.publish(&mut writer);
        let mut finished = works.join().unwrap();
        let late = joins.join().unwrap();
        crew.publish(&mut writer);
        finished.extend(crew.work(&late));
        finished.sort_unstable();
        assert_eq!(finished, [(0, 0), (1, 0)]);
        crew.assert_all_done(&writer);
    });
}

/// A worker that holds a record, in a thread of its own: reads it and is done.
fn finish(crew: &Arc<Crew>, worker: Worker, held: Claimed) -> thread::JoinHandle<()> {
    let crew = crew.clone();
    thread::spawn(move || {
        crew.read(held);
        assert!(crew.done(&worker, held));
    })
}

/// Each has one of two records; the producer wants the room of the first for a long one.
#[test]
fn nothing_is_written_over_that_somebody_holds() {
    model_within(2, 60, || {
        let (crew, mut writer) = Crew::begun(64, 2, 0, 2);
        let workers = [crew.join(0), crew.join(1)];
        let held = [0, 1].map(|i: usize| crew.claim(&workers[i]).unwrap());
        let [first, second] = workers;
        let threads = [finish(&crew, first, held[0]), finish(&crew, second, held[1])];
        let mut publish = || {
            relax();
            writer.publish(&crew.ring.shared(), &[1; 32]).is_ok()
        };
        let published = publish() || publish();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(published || publish(), "the floor is stuck");
    });
}

/// The same where the first goes no further than its mark: no fence of its own orders its reads.
#[test]
fn nor_that_somebody_held_who_has_only_said_so() {
    model(30, || {
        let (crew, mut writer) = Crew::begun(64, 2, 0, 2);
        let workers = [crew.join(0), crew.join(1)];
        let held = [0, 1].map(|i: usize| crew.claim(&workers[i]).unwrap());
        let [_, second] = workers;
        let marked = {
            let crew = crew.clone();
            thread::spawn(move || {
                crew.read(held[0]);
                let word = crew.group().table.of(0);
                assert!(word.settle(word.look(), Claim::new(0, 0, 0, Stage::Done).to_word()));
            })
        };
        let finished = finish(&crew, second, held[1]);
        let published = (0..2).any(|_| {
            relax();
            writer.publish(&crew.ring.shared(), &[1; 40]).is_ok()
        });
        marked.join().unwrap();
        finished.join().unwrap();
        help(&crew.ring.shape, &crew.ring.shared(), 0, 1, &Free, &GroupLock(false, true), &Silent);
        assert!(published || writer.publish(&crew.ring.shared(), &[1; 40]).is_ok(), "the floor is stuck");
    });
}

/// Two finish at once: one of them at least sees that all is done.
#[test]
fn the_floor_is_not_stuck_between_two_that_finish_at_once() {
    model(32, || {
        let (crew, writer) = Crew::begun(64, 2, 0, 2);
        let workers = [crew.join(0), crew.join(1)];
        let held = [0, 1].map(|i: usize| crew.claim(&workers[i]).unwrap());
        let [first, second] = workers;
        let thread = finish(&crew, first, held[0]);
        assert!(crew.done(&second, held[1]));
        thread.join().unwrap();
        crew.assert_all_done(&writer);
    });
}

/// One looks at a place that its fellow has moved the floor past and that the producer has written over since.
#[test]
fn nor_where_the_producer_writes_over_what_is_looked_at() {
    model_within(2, 60, || {
        let (crew, mut writer) = Crew::begun(64, 2, 0, 2);
        let workers = [crew.join(0), crew.join(1)];
        let held = [0, 1].map(|i: usize| crew.claim(&workers[i]).unwrap());
        let [first, second] = workers;
        let behind_both = writer.tail();
        let [first, second] = [finish(&crew, first, held[0]), finish(&crew, second, held[1])];
        first.join().unwrap();
        writer.publish(&crew.ring.shared(), &[1; 32]).unwrap();
        second.join().unwrap();
        assert_eq!(crew.group().head.floor.look(), behind_both, "the floor is stuck");
    });
}

/// While it looks, its fellow is done with the oldest, and the producer goes over its place.
#[test]
fn a_worker_that_was_lapped_goes_on_at_the_floor() {
    model_within(2, 200, || {
        let (crew, mut writer) = Crew::begun(64, 4, 0, 3);
        let late = crew.join(1);
        let worker = crew.join(0);
        let held = [0; 3].map(|_| crew.claim(&worker).unwrap());
        for held in &held[1..] {
            assert!(crew.done(&worker, *held));
        }
        let late = {
            let crew = crew.clone();
            thread::spawn(move || {
                let held = crew.claim(&late)?;
                assert!(crew.done(&late, held));
                Some((held.held.sequence, held.attempts))
            })
        };
        assert!(crew.done(&worker, held[0]));
        for _ in 0..2 {
            crew.try_publish(&mut writer).unwrap();
        }
        let mut finished: Vec<_> = late.join().unwrap().into_iter().collect();
        finished.extend(crew.work(&worker));
        finished.sort_unstable();
        assert_eq!(finished, [(3, 0), (4, 0)]);
        crew.assert_all_done(&writer);
    });
}

/// A producer that goes on meanwhile finds the group in its way, and helps as it may.
#[test]
fn a_group_that_has_begun_misses_nothing() {
    model_within(2, 200, || {
        let (crew, mut writer) = Crew::new(64, 2);
        crew.publish(&mut writer);
        let producer = {
            let crew = crew.clone();
            thread::spawn(move || {
                let shared = crew.ring.shared();
                for _ in 0..3 {
                    if crew.try_publish(&mut writer).is_err() {
                        let (near, lock) = (writer.sequence(), GroupLock(false, false));
                        assert!(!help(&crew.ring.shape, &shared, 0, near, &Free, &lock, &Silent));
                    }
                }
                writer
            })
        };
        crew.begin(Start::Oldest, 0);
        let mut writer = producer.join().unwrap();
        let worker = crew.join(0);
        let first = worker.sequence();
        let mut finished = crew.work(&worker);
        crew.publish(&mut writer);
        finished.extend(crew.work(&worker));
        assert_eq!(finished, (first..writer.sequence()).map(|n| (n, 0)).collect::<Vec<_>>());
        crew.assert_all_done(&writer);
    });
}

#[test]
fn who_sees_a_group_sees_its_words() {
    model(2, || {
        let (crew, _) = Crew::new(64, 2);
        let beginner = {
            let crew = crew.clone();
            thread::spawn(move || crew.begin(Start::Newest, 5))
        };
        let group = crew.group();
        if group.phase() == Some(GroupPhase::Active) {
            assert_eq!((group.head.name[0].glance(), group.head.attempts_max.glance()), (7, 5));
        }
        beginner.join().unwrap();
        assert_eq!(group.phase(), Some(GroupPhase::Active));
    });
}

#[test]
fn what_was_given_back_is_found_by_who_sees_that_something_was() {
    model(5, || {
        let (crew, writer) = Crew::begun(64, 2, 0, 1);
        let (worker, other) = (crew.join(0), crew.join(1));
        let held = crew.claim(&worker).unwrap();
        assert_eq!(crew.claim(&other), None);
        let nack = {
            let crew = crew.clone();
            thread::spawn(move || assert!(crew.give_back(&worker, held)))
        };
        while !other.has_returns(crew.group()) {
            relax();
        }
        assert_eq!(crew.work(&other), [(0, 1)]);
        nack.join().unwrap();
        crew.assert_all_done(&writer);
    });
}
