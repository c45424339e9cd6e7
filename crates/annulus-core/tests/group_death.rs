//! Workers of a group that die, at whatever step, and what becomes of the records in their hands.
//!
//! Shows: a record that a dead worker held goes to another, marked, and one that it had finished to nobody; a worker that is taken
//! for dead and is not finds its claim gone, or has finished before; what a worker gives back goes to one of the others, whoever
//! adopts at once; the floor gets to the tail, moved by the next who finishes or by a blocked producer; a group that was begun
//! or ended by half is begun anew by the next. The thread that goes on for the dead is the doomed one, which orders the two as the
//! kernel does with a lock. Cannot show: that the kernel gives a lock away only when its holder stores no more; more than one
//! death at once.

mod common;
#[path = "common/crew.rs"]
mod crew;
#[path = "common/stop.rs"]
mod stop;

use annulus_core::group::{bury, help};
use annulus_core::history::Start;
use annulus_core::layout::GroupPhase;
use annulus_core::slots::{Owner, take};
use annulus_core::worker::leave;
use common::{model, thread};
use crew::{Crew, Free, GroupLock, Silent};
use std::cell::Cell;
use stop::{at_every_step, until};

/// What a doomed worker does with the records of its life: done with the first, gives the second back.
fn die(step: usize) {
    let (crew, mut writer) = Crew::begun(64, 2, 0, 2);
    let doomed = {
        let (crew, worker) = (crew.clone(), crew.join(0));
        thread::spawn(move || {
            let first = Cell::new(None);
            let fate = until(step, || {
                if let Some(held) = crew.claim(&worker) {
                    first.set(Some(held.held.sequence));
                    assert!(crew.done(&worker, held));
                }
                if let Some(held) = crew.claim(&worker) {
                    assert!(crew.give_back(&worker, held));
                }
            });
            // Its lock is gone with it.
            bury(&crew.ring.shared(), crew.group(), 0, &Free);
            // What it was done with.
            first.get().filter(|_| fate.count("ClaimWord::settle", 1) > 0)
        })
    };
    let heir = crew.join(1);
    let mut finished = crew.work(&heir);
    let done = doomed.join().unwrap();
    heir.search_again(crew.group());
    finished.extend(crew.work(&heir));
    // What is marked was in the hands of the dead.
    assert!(finished.iter().all(|(_, attempts)| *attempts <= 1), "{finished:?}");
    let mut all: Vec<u64> = finished.iter().map(|(sequence, _)| *sequence).chain(done).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1], "each is done once");
    // A full ring's producer moves what the dead one has left.
    help(
        &crew.ring.shape,
        &crew.ring.shared(),
        0,
        writer.sequence(),
        &Free,
        &GroupLock(false, true),
        &Silent,
    );
    crew.assert_all_done(&writer);
    crew.publish(&mut writer);
    assert_eq!(crew.work(&heir), [(2, 0)]);
    crew.assert_all_done(&writer);
}

#[test]
fn what_a_dead_worker_held_goes_to_another() {
    at_every_step(2, [7, 400], die);
}

/// Of a worker that is taken for dead, and the one that takes its records, one has the record in the end.
fn adopted(finishes: bool) {
    let (crew, writer) = Crew::begun(64, 2, 0, 1);
    let late = crew.join(0);
    let held = crew.claim(&late).unwrap();
    let late = {
        let crew = crew.clone();
        thread::spawn(move || match finishes {
            true => crew.done(&late, held),
            false => crew.give_back(&late, held),
        })
    };
    let heir = crew.join(1);
    let adopted = bury(&crew.ring.shared(), crew.group(), 0, &Free);
    let mut finished = crew.work(&heir);
    let was_its = late.join().unwrap();
    finished.extend(crew.work(&heir));
    assert_eq!(adopted == 0, was_its, "one of them ended the claim");
    let expected: &[(u64, u32)] = if finishes && was_its { &[] } else { &[(0, 1)] };
    assert_eq!(finished, expected);
    crew.assert_all_done(&writer);
}

#[test]
fn a_record_that_is_finished_while_it_is_adopted() {
    model(5, || adopted(true));
}

#[test]
fn a_record_that_is_given_back_while_it_is_adopted() {
    model(5, || adopted(false));
}

/// One gives back, and two others want it.
#[test]
fn what_is_given_back_goes_to_one_of_two() {
    model(20, || {
        let (crew, writer) = Crew::begun(64, 2, 0, 1);
        let (worker, others) = (crew.join(0), [crew.join(1), crew.join(2)]);
        let held = crew.claim(&worker).unwrap();
        let [first, second] = others;
        let other = {
            let crew = crew.clone();
            thread::spawn(move || crew.work(&first))
        };
        assert!(crew.give_back(&worker, held));
        let mut finished = crew.work(&second);
        finished.extend(other.join().unwrap());
        assert_eq!(finished, [(0, 1)]);
        crew.assert_all_done(&writer);
    });
}

/// It dies as it leaves, or gives its slot to one who takes it then, and with it the records.
fn leaves(step: usize) {
    let (crew, mut writer) = Crew::begun(64, 2, 0, 1);
    let worker = crew.join(0);
    let held = crew.claim(&worker).unwrap();
    assert_eq!(held.held.sequence, 0);
    let shared = crew.ring.shared();
    let alone = GroupLock(true, true);
    until(step, || leave(&shared, 0, 0, &Free, &alone, &Silent, &Silent));
    let owner = Owner { pid: 1, uid: 1, start_time: 1 };
    let taken = take(&shared, &Free, annulus_core::layout::SlotKind::Worker, owner, &Silent);
    assert!(matches!(taken, Ok(Some(_))));
    if crew.group().phase() == Some(GroupPhase::Active) {
        // It goes on where it was, whichever of its slots were reused.
        bury(&shared, crew.group(), 0, &Free);
        let heir = crew.join(1);
        assert_eq!(crew.work(&heir), [(0, 1)]);
    } else {
        // Ended, perhaps by half: begun anew behind the record that it gave up.
        crew.begin(Start::Newest, 0);
        let heir = crew.join(1);
        crew.publish(&mut writer);
        assert_eq!(crew.work(&heir), [(1, 0)]);
    }
    crew.assert_all_done(&writer);
}

#[test]
fn a_worker_that_dies_as_it_leaves_is_cleared_away() {
    at_every_step(3, [13, 1], leaves);
}

/// It dies as it begins a group; the producer that waits for the floor finds nobody, or the next one begins it.
fn begins(step: usize) {
    let (crew, mut writer) = Crew::new(64, 2);
    crew.publish(&mut writer);
    let fate = until(step, || crew.begin(Start::Oldest, 0));
    if !fate.finished {
        assert_ne!(crew.group().phase(), Some(GroupPhase::Active), "the state comes last");
    }
    for _ in 0..8 {
        if crew.try_publish(&mut writer).is_err() {
            let near = writer.sequence();
            let alone = GroupLock(true, true);
            assert!(help(&crew.ring.shape, &crew.ring.shared(), 0, near, &Free, &alone, &Silent));
            assert_eq!(crew.group().phase(), Some(GroupPhase::Free));
        }
    }
    crew.begin(Start::Newest, 0);
    let heir = crew.join(1);
    let next = writer.sequence();
    crew.publish(&mut writer);
    assert_eq!(crew.work(&heir), [(next, 0)]);
    crew.assert_all_done(&writer);
}

#[test]
fn a_group_that_was_begun_by_half_is_in_nobodys_way() {
    at_every_step(3, [14, 1], begins);
}
