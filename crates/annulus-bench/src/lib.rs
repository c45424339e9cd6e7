//! Measures annulus, and what else could carry the messages, beside the physical floor of the machine.
//!
//! [`run`] starts a second process, pins both, and for each cell of a [`Plan`] makes many short rounds,
//! each right after a round of its yardstick on the same two CPUs. A machine that is shared or slow for
//! a while moves both, so the ratio of a pair holds where a bare time does not.
//!
//! The program that calls [`run`] must call [`peer_main`] when it is started with
//! [`Plan::peer_args`]: it is its own peer.

mod cell;
mod clock;
mod error;
mod floor;
mod loops;
mod peer;
mod pin;
mod plan;
mod plot;
mod report;
mod rounds;
mod sleep;
mod systems;
mod tasks;
mod watch;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub use crate::error::Error;
pub(crate) use crate::error::Result;
pub use crate::peer::peer_main;
pub use crate::plan::{Bench, Fence, Plan, Profile, System, Task, Wait};
pub use crate::plot::curve;
pub use crate::report::{interval_log, json, percentiles, table};
pub use crate::rounds::Ratio;

/// One line of the result: a system in one bench with one size of message.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub bench: Bench,
    /// What carried the messages.
    pub system: System,
    /// Bytes of a message.
    pub size: usize,
    /// How many readers, workers or rings there were, where the bench has [`Bench::many`].
    pub many: u32,
    /// How its ends waited: `spin`, `yield`, `park`, `block` in the kernel's own objects, `task`: awaited on a runtime of
    /// one thread, or `polled`: one thread went from reader to reader.
    pub mode: &'static str,
    /// The figures.
    pub values: Values,
    /// To the yardstick's, pair by pair: of the medians, or of the rates.
    pub ratio: Ratio,
    /// Wakes that do not count because the reader was awake.
    pub awake: u64,
}

/// The figures of one row.
#[derive(Clone, Debug)]
pub enum Values {
    /// Nanoseconds of each round trip or wake, over all rounds.
    Times(Histogram<u64>),
    /// Nanoseconds of one publication, each sample the mean of a burst, and how much went through.
    Both {
        /// The times.
        times: Histogram<u64>,
        /// Messages a second that all readers have read, the median over all rounds.
        per_second: f64,
    },
    /// The median over all rounds.
    Rate {
        /// Messages in all rounds.
        count: u64,
        /// Messages a second.
        per_second: f64,
    },
}

impl Row {
    /// The word and the number of what there were several of.
    pub fn several(&self) -> Option<(&'static str, u32)> {
        self.bench.many().map(|word| (word, self.many))
    }

    /// What tells its cell and system from others, in a file name or a tag.
    pub fn label(&self) -> String {
        label(self.bench, self.system, self.size, self.many)
    }
}

fn label(bench: Bench, system: System, size: usize, many: u32) -> String {
    let several = bench.many().map_or(String::new(), |_| format!("-{many}"));
    format!("{bench}-{system}-{size}{several}")
}

/// Told after each round of a system or of the yardstick.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// What was measured.
    pub bench: Bench,
    /// What carried the messages.
    pub system: System,
    /// Bytes of a message.
    pub size: usize,
    /// How many readers, workers or rings there were.
    pub many: u32,
    /// How much of the run is done, from 0 to 1.
    pub done: f64,
    /// When the round began, since the start of the run.
    pub start: Duration,
    /// How long it took.
    pub length: Duration,
    /// Its times in nanoseconds; a rate has none.
    pub times: Option<&'a Histogram<u64>>,
}

/// Measures all cells of `plan`, and calls `each` after each round. The rows come bench by bench, size
/// by size, in the order of the plan.
///
/// The calling thread stays on one CPU meanwhile. The whole process ends, with a sentence on stderr and
/// exit code 1, if the peer ends or hangs in the middle of a round: this side then spins for ever on an
/// answer, and the floor's loops may hold nothing that would stop them.
///
/// # Errors
///
/// Wrong use ([`Error::is_usage`]) if the plan cannot be; else whatever failed, in one sentence.
pub fn run(plan: &Plan, mut each: impl FnMut(Round<'_>)) -> std::result::Result<Vec<Row>, Error> {
    plan.check()?;
    let cpus = pin::choose(plan.cpus)?;
    let mut run = cell::Run::start(plan, cpus, Instant::now())?;
    let mut rows = Vec::new();
    for task in &plan.tasks {
        rows.extend(run.task(task, &mut each)?);
    }
    Ok(rows)
}
