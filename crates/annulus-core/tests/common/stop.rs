//! A producer that dies at a step of the model's choice.
//!
//! A fault point stands before every store of shared memory. The doomed thread crosses so many of them and goes no
//! further: it unwinds to where it began, with a payload that nobody else has, so that none of its code runs on. Its
//! `owner` lock goes with it; the model's thread that goes on as the successor is the same one, which orders the two as
//! the kernel does.
//!
//! The points are there under loom, and in plain stress under `--cfg annulus_faults`. Without either, the doomed
//! producer comes to its end, so plain stress shows what follows a whole life only.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part

use crate::common::model_within;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Whether there are points to stop at.
pub const STEPS: bool = cfg!(any(loom, annulus_faults));

/// Nothing but the mark of a producer that was stopped.
struct Stopped;

/// How far a doomed producer came.
#[derive(Debug)]
pub struct Fate {
    /// Whether it came to its end.
    pub finished: bool,
    /// The points it crossed: each store behind one of them happened.
    crossed: Vec<&'static str>,
}

impl Fate {
    /// Stores that a verb made. Without points: `all`, which is what a whole life makes.
    pub fn count(&self, verb: &str, all: usize) -> usize {
        if STEPS { self.crossed.iter().filter(|point| **point == verb).count() } else { all }
    }
}

struct Doom {
    #[cfg(loom)]
    thread: loom::thread::ThreadId,
    at: At,
    crossed: Vec<&'static str>,
}

/// Where a doomed producer stops.
#[derive(Clone, Copy)]
enum At {
    /// Before its store number so many, counted from 0.
    Step(usize),
    /// Before the first store of a verb.
    Verb(&'static str),
}

// loom runs the threads of a model on one thread of the system, in turn; other models run on others.
thread_local! {
    static DOOM: RefCell<Option<Doom>> = const { RefCell::new(None) };
    static STOPPED: Cell<bool> = const { Cell::new(false) };
}

#[cfg(any(loom, annulus_faults))]
fn cross(verb: &'static str) {
    let stops = DOOM.with_borrow_mut(|doom| {
        let Some(doom) = doom else { return false };
        #[cfg(loom)]
        if doom.thread != loom::thread::current().id() {
            return false;
        }
        let stops = match doom.at {
            At::Step(step) => step == doom.crossed.len(),
            At::Verb(at) => at == verb,
        };
        if !stops {
            doom.crossed.push(verb);
        }
        stops
    });
    if stops {
        // Past the panic hook: this is no failure, and says nothing.
        resume_unwind(Box::new(Stopped));
    }
}

/// Does `work` until it would make its store number `step`, counted from 0.
pub fn until(step: usize, work: impl FnOnce()) -> Fate {
    live(At::Step(step), work)
}

/// Does `work` until it would make the first store of a verb. This is not one of the steps that are explored.
pub fn until_before(verb: &'static str, work: impl FnOnce()) -> Fate {
    let fate = live(At::Verb(verb), work);
    STOPPED.set(false);
    fate
}

fn live(at: At, work: impl FnOnce()) -> Fate {
    #[cfg(any(loom, annulus_faults))]
    annulus_core::fault::on_point(cross);
    DOOM.set(Some(Doom {
        #[cfg(loom)]
        thread: loom::thread::current().id(),
        at,
        crossed: Vec::new(),
    }));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let crossed = DOOM.take().map_or_else(Vec::new, |doom| doom.crossed);
    match outcome {
        Ok(()) => Fate { finished: true, crossed },
        Err(payload) if payload.is::<Stopped>() => {
            STOPPED.set(true);
            Fate { finished: false, crossed }
        }
        Err(failure) => resume_unwind(failure),
    }
}

/// Explores a scenario once for each step that its doomed producer can be stopped before, and once more in which it is
/// not stopped. `steps` is how many stores its whole life makes; `floor` the least number of executions at each.
pub fn at_every_step(
    preemptions: usize,
    [steps, floor]: [usize; 2],
    scenario: impl Fn(usize) + Copy + Sync + Send + 'static,
) {
    for step in 0.. {
        STOPPED.set(false);
        model_within(preemptions, floor as u64, move || scenario(step));
        if !STOPPED.get() {
            println!("stopped before each of {step} steps");
            // Mutated code may have others.
            if STEPS && std::env::var_os("ANNULUS_MODEL_FLOORS").is_none_or(|v| v != "off") {
                assert_eq!(step, steps, "steps before which the producer was stopped");
            }
            return;
        }
    }
}
