//! Each program at each fault point.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use annulus_core::fault::on_point;

use crate::board::Board;
use crate::cases::{Arm, CASES, Killer};
use crate::check::Dir;
use crate::child::{Child, LONG, State, die};
use crate::verbs;

/// More deaths than any program has points: it does not come to its end.
const DEATHS_MAX: u64 = 20_000;

thread_local! {
    /// Points to go; 0: may not be killed.
    static LEFT: Cell<u64> = const { Cell::new(0) };
    /// A point to die at when it is crossed.
    static DOOM: RefCell<Option<&'static str>> = const { RefCell::new(None) };
}

fn cross(point: &'static str) {
    if DOOM.with_borrow(|doom| *doom == Some(point)) {
        die();
    }
    match LEFT.get() {
        0 => {}
        1 => {
            Board::get().dies_at(point);
            die();
        }
        left => LEFT.set(left - 1),
    }
}

/// Has this process die at a point of this name.
pub(crate) fn doom(point: &'static str) {
    DOOM.set(Some(point));
}

/// Kills at one point.
struct AtPoint {
    /// Which one, counted from 1.
    n: u64,
    finished: bool,
}

impl Killer for AtPoint {
    fn run(&mut self, victim: Box<dyn FnOnce(Arm<'_>) + '_>, meanwhile: &mut dyn FnMut(&Child)) {
        let n = self.n;
        let mut child = Child::start(|| victim(&|| LEFT.set(n)));
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < LONG, "the victim is held up");
            match child.state(false) {
                State::Running => {
                    meanwhile(&child);
                    std::thread::yield_now();
                }
                state => {
                    self.finished = state == State::Finished;
                    return;
                }
            }
        }
    }
}

/// Kills each program at each of its points.
pub(crate) fn run(names: &[&str]) -> Result<(), String> {
    assert!(on_point(cross), "the first");
    let board = Board::get();
    let (mut deaths, mut failures) = (0, Vec::new());
    // Each point, and a program that crosses it.
    let mut crossed = BTreeMap::new();
    for case in CASES.iter().filter(|case| names.is_empty() || names.contains(&case.name)) {
        let begin = Instant::now();
        let (mut n, before) = (0, failures.len());
        loop {
            n += 1;
            assert!(n < DEATHS_MAX, "{} never ends", case.name);
            board.clear();
            let dir = Dir::new();
            let mut killer = AtPoint { n, finished: false };
            let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&dir, &mut killer)));
            let point = board.died_at();
            if let Some(point) = point {
                crossed.entry(point).or_insert(case.name);
            }
            if outcome.is_err() {
                failures.push(format!("{}, death {n}, at {}", case.name, point.unwrap_or("its end")));
                eprintln!("^ {}", failures[failures.len() - 1]);
            }
            if killer.finished || failures.len() >= before + 3 {
                break;
            }
        }
        deaths += n;
        println!("{:<20}{n:>6} deaths {:>8.1} s", case.name, begin.elapsed().as_secs_f64());
    }
    println!("faults: {} programs, {deaths} deaths, {} points", CASES.len(), crossed.len());
    if std::env::var_os("ANNULUS_FAULTS_LIST").is_some() {
        for (point, name) in &crossed {
            println!("    {point:?}, // {name}");
        }
    }
    let points: Vec<&str> = crossed.into_keys().collect();
    if !failures.is_empty() {
        return Err(format!("{} deaths left something wrong:\n{}", failures.len(), failures.join("\n")));
    }
    if names.is_empty() { verbs::compare(&points) } else { Ok(()) }
}
