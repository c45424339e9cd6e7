//! One cell after the other: pairs of rounds, and the rows that they make.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::clock::Clock;
use crate::loops::Sheet;
use crate::peer::{Peer, Timing};
use crate::pin::Pinned;
use crate::plan::{Bench, Fence, Plan, System, Wait};
use crate::rounds::{Ratio, median, p50};
use crate::systems::{RingPlan, Way, ways};
use crate::watch::Watch;
use crate::{Error, Result, Round, Row, Values};

/// A run that has begun: the peer is there and both processes are pinned.
pub(crate) struct Run<'a> {
    plan: &'a Plan,
    began: Instant,
    clock: Clock,
    seq: u64,
    rings: u32,
    rounds: usize,
    sheets: Sheets,
    watch: Watch, // goes before the peer, whose end it would take for a fault
    peer: Peer,
    _pin: Pinned,
}

/// What comes of a pair, for the floor or for the system.
#[derive(Default)]
struct Sheets {
    floor: Half,
    system: Half,
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
    fn new(system: System, bench: Bench, size: usize) -> Result<Self> {
        let ways = ways(system, bench, size);
        let times = histogram()?;
        Ok(Self { system, ways, times, rates: Vec::new(), count: 0, awake: 0, ratios: Vec::new() })
    }

    /// Takes in what one round gave, and says what it is compared by: its p50, or its rate.
    fn take(&mut self, half: &mut Half, bench: Bench, scale: f64) -> Result<(f64, Option<Histogram<u64>>)> {
        let sheets = half.sheets[..self.ways.len()].iter_mut();
        if bench == Bench::Stream {
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
        for &sample in &best.samples {
            times.saturating_record(((f64::from(sample) * scale).round() as u64).max(1));
        }
        self.times.add(&times).map_err(|e| Error::failed(format!("cannot add a round: {e}")))?;
        self.awake += best.awake;
        Ok((p50, Some(times)))
    }

    fn row(self, bench: Bench, size: usize, wait: Wait) -> Result<Row> {
        let Self { system, times, rates, count, awake, ratios, .. } = self;
        let nothing = || Error::failed(format!("{bench} of {system} with {size} bytes: no round counts"));
        let ratio = if system == System::Floor { Some(Ratio::ONE) } else { Ratio::of(ratios) };
        let ratio = ratio.ok_or_else(nothing)?;
        let values = match bench {
            Bench::Stream => Values::Rate { count, per_second: median(rates).ok_or_else(nothing)? },
            _ if times.is_empty() => return Err(nothing()),
            _ => Values::Times(times),
        };
        Ok(Row { bench, system, size, mode: mode(system, bench, wait), values, ratio, awake })
    }
}

/// How the ends of a system wait, in a word.
fn mode(system: System, bench: Bench, wait: Wait) -> &'static str {
    match (system, bench) {
        (System::Pipe | System::Uds, _) => "block",
        (_, Bench::Wake) => Wait::Park.word(),
        (system, _) if system.is_annulus() => wait.word(),
        _ => Wait::Spin.word(),
    }
}

impl<'a> Run<'a> {
    pub(crate) fn start(plan: &'a Plan, cpus: [usize; 2], began: Instant) -> Result<Self> {
        let clock = Clock::calibrate();
        let peer = Peer::start(plan, cpus[1])?;
        let watch = peer.socket().and_then(Watch::start);
        let watch = watch.map_err(|e| Error::io("cannot watch the peer process", &e))?;
        let half = || Half { sheets: vec![Sheet::new(), Sheet::new()], ..Half::default() };
        let sheets = Sheets { floor: half(), system: half() };
        let _pin = Pinned::to(cpus[0])?;
        Ok(Self { plan, began, clock, seq: 0, rings: 0, rounds: 0, sheets, watch, peer, _pin })
    }

    /// All pairs of one bench and size: a row for each system.
    pub(crate) fn cell(
        &mut self,
        bench: Bench,
        size: usize,
        each: &mut dyn FnMut(Round<'_>),
    ) -> Result<Vec<Row>> {
        let plan = self.plan;
        let others = plan.systems.iter().filter(|&&system| system != System::Floor);
        let mut floor = Growing::new(System::Floor, bench, size)?;
        let mut others = others.map(|&s| Growing::new(s, bench, size)).collect::<Result<Vec<_>>>()?;
        for kind in plan.systems.iter().filter(|system| system.is_annulus()) {
            self.open_rings(*kind, bench)?;
        }
        self.measure(Which::Floor, &floor.ways, bench, size)?; // to warm up
        for other in &others {
            self.measure(Which::System, &other.ways, bench, size)?;
        }
        for _ in 0..plan.rounds {
            if others.is_empty() {
                self.measure(Which::Floor, &floor.ways, bench, size)?;
                self.settle(Which::Floor, &mut floor, bench, size, each)?;
            }
            for other in &mut others {
                self.measure(Which::Floor, &floor.ways, bench, size)?;
                self.measure(Which::System, &other.ways, bench, size)?;
                let yardstick = self.settle(Which::Floor, &mut floor, bench, size, each)?;
                let value = self.settle(Which::System, other, bench, size, each)?;
                if yardstick > 0.0 && value > 0.0 {
                    other.ratios.push(value / yardstick);
                }
            }
        }
        self.peer.close_rings()?;
        let asked = plan.systems.contains(&System::Floor);
        let rows = asked.then_some(floor).into_iter().chain(others);
        let mut rows = rows.map(|row| row.row(bench, size, plan.wait)).collect::<Result<Vec<_>>>()?;
        rows.sort_by_key(|row| plan.systems.iter().position(|system| *system == row.system));
        Ok(rows)
    }

    fn open_rings(&mut self, kind: System, bench: Bench) -> Result<()> {
        let &Plan { wait, profile, fence, capacity, .. } = self.plan;
        let wait = if bench == Bench::Wake { Wait::Park } else { wait };
        let fence: Fence = fence;
        self.rings += 1;
        let name = (std::process::id(), self.rings);
        self.peer.open_rings(&RingPlan { name, kind, capacity, wait, profile, fence })
    }

    /// One round of each way, nothing but rounds.
    fn measure(&mut self, which: Which, ways: &[Way], bench: Bench, size: usize) -> Result<()> {
        if self.plan.stop.load(Relaxed) {
            self.peer.close_rings()?; // the peer is killed at the end, and its ring would stay
            return Err(Error::failed("the run was stopped"));
        }
        let half = self.sheets.half(which);
        half.start = self.began.elapsed();
        for (way, sheet) in ways.iter().zip(&mut half.sheets) {
            let (length, clock, seq) = (self.plan.round, self.clock, self.seq);
            let mut timing = Timing { bench, size, length, clock, seq };
            let round = self.peer.round(*way, &mut timing, sheet);
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
        bench: Bench,
        size: usize,
        each: &mut dyn FnMut(Round<'_>),
    ) -> Result<f64> {
        let scale = if bench == Bench::Wake { 1.0 } else { self.clock.ns_per_tick() };
        let half = self.sheets.half(which);
        let (value, times) = row.take(half, bench, scale)?;
        self.rounds += 1;
        let others = self.plan.systems.iter().filter(|s| **s != System::Floor).count();
        let cells = self.plan.benches.len() * self.plan.sizes.len();
        let done = self.rounds as f64 / (cells * self.plan.rounds * (2 * others).max(1)) as f64;
        let (start, length) = (half.start, half.length);
        each(Round { bench, system: row.system, size, done, start, length, times: times.as_ref() });
        Ok(value)
    }
}

#[derive(Clone, Copy)]
enum Which {
    Floor,
    System,
}

impl Sheets {
    fn half(&mut self, which: Which) -> &mut Half {
        match which {
            Which::Floor => &mut self.floor,
            Which::System => &mut self.system,
        }
    }
}
