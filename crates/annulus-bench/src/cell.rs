//! One cell after the other: pairs of rounds, and the rows that they make.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::clock::Clock;
use crate::loops::Sheet;
use crate::peer::{Peer, Timing};
use crate::pin::{self, Pinned};
use crate::plan::{Bench, Plan, System, Task, Wait};
use crate::rounds::{Ratio, median, p50};
use crate::systems::{RingPlan, Teams, Way, ways};
use crate::watch::Watch;
use crate::{Error, Result, Round, Row, Values};

/// A run that has begun: the peer is there and both processes are pinned.
pub(crate) struct Run<'a> {
    plan: &'a Plan,
    began: Instant,
    clock: Clock,
    seq: u64,
    rings: u32,
    told: usize,
    sheets: Sheets,
    teams: Teams,
    cpus: [usize; 2],
    watch: Watch, // goes before the peer, whose end it would take for a fault
    peer: Peer,
    _pin: Pinned,
}

/// What comes of a pair, for the yardstick or for the system.
#[derive(Default)]
struct Sheets {
    yardstick: Half,
    system: Half,
}

/// What the rows of one cell have in common.
#[derive(Clone, Copy)]
struct Cell {
    bench: Bench,
    size: usize,
    /// How many readers, workers or rings there are.
    count: u32,
}

/// One side of a pair: a sheet for each way, of which the better counts.
#[derive(Default)]
struct Half {
    sheets: Vec<Sheet>,
    start: Duration,
    length: Duration,
}

/// A row while it grows.
struct Growing {
    system: System,
    /// How many readers, workers or rings it has.
    many: u32,
    ways: Vec<Way>,
    times: Histogram<u64>,
    rates: Vec<f64>,
    count: u64,
    awake: u64,
    ratios: Vec<f64>,
}

fn histogram() -> Result<Histogram<u64>> {
    let times = Histogram::new_with_bounds(1, u64::from(u32::MAX), 3);
    times.map_err(|e| Error::failed(format!("cannot make a histogram: {e}")))
}

impl Growing {
    fn new((system, many): (System, u32), cell: Cell) -> Result<Self> {
        let ways = ways(system, cell.bench, cell.size, many);
        let times = histogram()?;
        let (rates, ratios) = (Vec::new(), Vec::new());
        Ok(Self { system, many, ways, times, rates, count: 0, awake: 0, ratios })
    }

    /// Takes in what one round gave, and says what it is compared by: its p50, or its rate.
    fn take(&mut self, half: &mut Half, bench: Bench, scale: f64) -> Result<(f64, Option<Histogram<u64>>)> {
        let sheets = half.sheets[..self.ways.len()].iter_mut();
        if bench.is_rate() {
            let best = sheets.max_by(|a, b| a.rate.total_cmp(&b.rate));
            let Some(best) = best else { return Ok((0.0, None)) };
            self.rates.push(best.rate);
            self.count += best.count;
            return Ok((best.rate, None));
        }
        let medians = sheets.map(|sheet| (p50(&mut sheet.samples), sheet)).filter(|(p50, _)| *p50 > 0.0);
        let Some((p50, best)) = medians.min_by(|a, b| a.0.total_cmp(&b.0)) else {
            self.awake += half.sheets[0].awake;
            return Ok((0.0, None));
        };
        let mut times = histogram()?;
        let scale = scale / best.of as f64;
        for &sample in &best.samples {
            times.saturating_record(((f64::from(sample) * scale).round() as u64).max(1));
        }
        self.times.add(&times).map_err(|e| Error::failed(format!("cannot add a round: {e}")))?;
        self.awake += best.awake;
        if bench == Bench::Fanout {
            self.rates.push(best.rate);
        }
        Ok((p50, Some(times)))
    }

    fn row(self, cell: Cell, wait: Wait) -> Result<Row> {
        let Cell { bench, size, .. } = cell;
        let Self { system, many, times, rates, count, awake, ratios, .. } = self;
        let nothing = || Error::failed(format!("{bench} of {system} with {size} bytes: no round counts"));
        let is_yardstick = (system, many) == bench.yardstick(cell.count);
        let ratio = if is_yardstick { Some(Ratio::ONE) } else { Ratio::of(ratios) };
        let ratio = ratio.ok_or_else(nothing)?;
        let values = match bench {
            _ if bench.is_rate() => Values::Rate { count, per_second: median(rates).ok_or_else(nothing)? },
            _ if times.is_empty() => return Err(nothing()),
            Bench::Fanout => Values::Both { times, per_second: median(rates).ok_or_else(nothing)? },
            _ => Values::Times(times),
        };
        Ok(Row { bench, system, size, many, mode: mode(system, bench, wait), values, ratio, awake })
    }
}

/// How the ends of a system wait, in a word.
fn mode(system: System, bench: Bench, wait: Wait) -> &'static str {
    match (system, bench) {
        (System::Pipe | System::Uds, _) => "block",
        (System::Floor, Bench::Async) | (_, Bench::Wake | Bench::Select) => Wait::Park.word(),
        (_, Bench::Async) => "task",
        (_, Bench::Fanout) => "polled", // the peer's one thread goes from reader to reader
        (System::Annulus | System::Crossbeam, Bench::Group) => Wait::Park.word(),
        (system, _) if system.is_annulus() => wait.word(),
        _ => Wait::Spin.word(),
    }
}

impl<'a> Run<'a> {
    pub(crate) fn start(plan: &'a Plan, cpus: [usize; 2], began: Instant) -> Result<Self> {
        let clock = Clock::calibrate();
        let teams = Teams::new(pin::workers(plan.cpus, cpus)?);
        let peer = Peer::start(plan, cpus[1])?;
        let watch = peer.socket().and_then(Watch::start);
        let watch = watch.map_err(|e| Error::io("cannot watch the peer process", &e))?;
        let half = || Half { sheets: vec![Sheet::new(), Sheet::new()], ..Half::default() };
        let sheets = Sheets { yardstick: half(), system: half() };
        let _pin = Pinned::to(cpus[0])?;
        Ok(Self { plan, began, clock, seq: 0, rings: 0, told: 0, sheets, teams, cpus, watch, peer, _pin })
    }

    /// All pairs of one bench, size by size: a row for each system.
    pub(crate) fn task(&mut self, task: &Task, each: &mut dyn FnMut(Round<'_>)) -> Result<Vec<Row>> {
        let bench = task.bench;
        let mut rows = Vec::new();
        for &size in &task.sizes {
            for &count in bench.counts() {
                rows.extend(self.cell(task, Cell { bench, size, count }, each)?);
            }
        }
        Ok(rows)
    }

    fn cell(&mut self, task: &Task, cell: Cell, each: &mut dyn FnMut(Round<'_>)) -> Result<Vec<Row>> {
        let plan = self.plan;
        let mut yardstick = Growing::new(cell.bench.yardstick(cell.count), cell)?;
        let others = task.others(cell.count).map(|system| Growing::new((system, cell.count), cell));
        let mut others = others.collect::<Result<Vec<_>>>()?;
        others.iter().chain([&yardstick]).try_for_each(|row| self.prepare(row, cell))?;
        self.measure(Which::Yardstick, &yardstick.ways, cell)?; // to warm up
        for other in &others {
            self.measure(Which::System, &other.ways, cell)?;
        }
        for _ in 0..plan.rounds {
            if others.is_empty() {
                self.measure(Which::Yardstick, &yardstick.ways, cell)?;
                self.settle(Which::Yardstick, &mut yardstick, cell, each)?;
            }
            for other in &mut others {
                self.measure(Which::Yardstick, &yardstick.ways, cell)?;
                self.measure(Which::System, &other.ways, cell)?;
                let base = self.settle(Which::Yardstick, &mut yardstick, cell, each)?;
                let value = self.settle(Which::System, other, cell, each)?;
                if base > 0.0 && value > 0.0 {
                    other.ratios.push(value / base);
                }
            }
        }
        self.peer.close_rings()?;
        self.teams.clear();
        let asked = task.systems.contains(&yardstick.system) && yardstick.many == cell.count;
        let rows = asked.then_some(yardstick).into_iter().chain(others);
        let mut rows = rows.map(|row| row.row(cell, plan.wait)).collect::<Result<Vec<_>>>()?;
        rows.sort_by_key(|row| task.systems.iter().position(|system| *system == row.system));
        Ok(rows)
    }

    /// Makes what lasts for a cell: rings, and teams of workers.
    fn prepare(&mut self, row: &Growing, cell: Cell) -> Result<()> {
        let &Plan { wait, profile, fence, capacity, .. } = self.plan;
        let wait = match cell.bench {
            Bench::Wake | Bench::Group | Bench::Select => Wait::Park,
            Bench::Fanout => Wait::Spin,
            _ => wait,
        };
        // Many rings need not be large: one message at a time is on its way.
        let small = (4 * cell.size).next_power_of_two().max(1 << 16);
        let capacity = if cell.bench == Bench::Select { capacity.min(small) } else { capacity };
        self.rings += 1;
        let name = (std::process::id(), self.rings);
        let plan = RingPlan { name, kind: row.system, capacity, wait, profile, fence };
        row.ways.iter().try_for_each(|way| match *way {
            Way::Team(_, workers) => self.teams.make(&plan, workers, cell.size),
            way if row.system.is_annulus() => self.peer.open_rings(way, &plan),
            _ => Ok(()),
        })
    }

    /// One round of each way, nothing but rounds.
    fn measure(&mut self, which: Which, ways: &[Way], cell: Cell) -> Result<()> {
        if self.plan.stop.load(Relaxed) {
            self.peer.close_rings()?; // the peer is killed at the end, and its ring would stay
            return Err(Error::failed("the run was stopped"));
        }
        let Cell { bench, size, .. } = cell;
        let half = self.sheets.half(which);
        half.start = self.began.elapsed();
        for (way, sheet) in ways.iter().zip(&mut half.sheets) {
            let (length, clock, seq, capacity) = (self.plan.round, self.clock, self.seq, self.plan.capacity);
            let mut timing = Timing { bench, size, length, clock, seq, capacity };
            let round = match *way {
                Way::Team(system, _) => self.teams.round(system, &mut timing, sheet),
                way if way.is_within() => self.peer.alone(way, &mut timing, sheet, self.cpus[1]),
                way => self.peer.round(way, &mut timing, sheet),
            };
            round.map_err(|e| Error::failed(format!("{bench} of {way} with {size} bytes: {e}")))?;
            self.seq = timing.seq;
            self.watch.round();
        }
        half.length = self.began.elapsed() - half.start;
        Ok(())
    }

    /// Puts a round that is over into its row. Done after the pair, so that nothing parts its halves.
    fn settle(
        &mut self,
        which: Which,
        row: &mut Growing,
        cell: Cell,
        each: &mut dyn FnMut(Round<'_>),
    ) -> Result<f64> {
        let Cell { bench, size, .. } = cell;
        let scale = if matches!(bench, Bench::Wake | Bench::Select) { 1.0 } else { self.clock.ns_per_tick() };
        let half = self.sheets.half(which);
        let (value, times) = row.take(half, bench, scale)?;
        self.told += 1;
        let all: usize = self.plan.tasks.iter().map(Task::told).sum();
        let done = self.told as f64 / (all * self.plan.rounds) as f64;
        let (system, many, start, length) = (row.system, row.many, half.start, half.length);
        each(Round { bench, system, size, many, done, start, length, times: times.as_ref() });
        Ok(value)
    }
}

#[derive(Clone, Copy)]
enum Which {
    Yardstick,
    System,
}

impl Sheets {
    fn half(&mut self, which: Which) -> &mut Half {
        match which {
            Which::Yardstick => &mut self.yardstick,
            Which::System => &mut self.system,
        }
    }
}
