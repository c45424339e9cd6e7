//! `annulus bench`: its arguments and its output. The measuring is [`annulus_bench`]'s.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use annulus_bench::{Bench, Error, Fence, Plan, Profile, Round, Row, System, Task, Wait};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::end::{End, Result};
use crate::stop::Stop;
use crate::units::bytes;

/// Measures rings, pipes and sockets between two processes, beside the floor of this machine.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Fewer sizes (8, 64, 4096) and rounds: about 20 seconds instead of about two minutes
    #[arg(long)]
    quick: bool,
    /// What to measure: pingpong, stream, wake; and on demand fanout (1, 2, 8, 64 readers), group (1, 2, 4 workers),
    /// select (1, 16, 128 rings), async (tasks that await)
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    benches: Option<Vec<Bench>>,
    /// What carries the messages: floor, annulus, pipe, uds; of those, fanout knows annulus only, and select
    /// floor, annulus. Group knows bare-cursor, annulus, crossbeam, and async floor, annulus, tokio-uds,
    /// annulus-tasks, tokio-mpsc, tokio-mpsc-threads
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    systems: Option<Vec<System>>,
    /// Bytes of a message [default: several; 64 of what is measured on demand]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    sizes: Option<Vec<usize>>,
    /// Pairs of rounds for each cell
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// The CPUs of the two processes [default: the first two allowed]
    #[arg(long, value_parser = two_cpus, value_name = "A,B")]
    cpus: Option<[usize; 2]>,
    /// How the ends of a ring wait in pingpong and stream: spin, yield, park
    #[arg(long, visible_alias = "waiting", default_value_t = Wait::Spin, value_name = "HOW")]
    wait: Wait,
    /// How records lie in the ring: packed (8 bytes), line (64 bytes)
    #[arg(long, default_value_t = Profile::Line)]
    profile: Profile,
    /// What a producer pays for readers that may sleep: asymmetric, symmetric, spin
    #[arg(long, default_value_t = Fence::Asymmetric)]
    fence: Fence,
    /// How sleepers of a ring are woken, a row for each: futex, semaphore
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST", default_value = "futex")]
    wake: Vec<Wakes>,
    /// Also rings whose records carry their time: by the processor's counter, by CLOCK_MONOTONIC
    #[arg(long)]
    stamped: bool,
    /// Bytes of a ring
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value_t = 1 << 20)]
    capacity: usize,
    /// Print one JSON object a line instead of the table
    #[arg(long)]
    json: bool,
    /// Write a percentile file for each cell into this directory
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
    /// Write the times of each round as an interval log
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
}

/// How sleepers are woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wakes {
    Futex,
    Semaphore,
}

fn two_cpus(text: &str) -> std::result::Result<[usize; 2], String> {
    let cpus = text.split_once(',').and_then(|(a, b)| Some([a.trim().parse().ok()?, b.trim().parse().ok()?]));
    cpus.ok_or_else(|| "two numbers of CPUs are needed, as in `0,1`".into())
}

/// Measures, and prints the rows.
pub(crate) fn run(args: &BenchArgs) -> Result {
    let stop = Stop::on_signals()?;
    let plan = args.plan(&stop);
    if let Some(dir) = &args.hgrm {
        fs::create_dir_all(dir).map_err(|e| file_failed(dir, &e))?;
    }
    let bar = ProgressBar::new(1000); // hidden unless stderr is a terminal
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}").unwrap_or_else(|_| bar.style()),
    );
    let show = |round: &Round<'_>| {
        bar.set_position((round.done * 1000.0) as u64);
        bar.set_message(format!("{} {} {}", round.bench, round.system, round.size));
    };
    let rows = match &args.hlog {
        None => annulus_bench::run(&plan, |round| show(&round)),
        Some(path) => {
            let failed = |e: io::Error| file_failed(path, &e);
            let mut to = BufWriter::new(File::create(path).map_err(failed)?);
            let rows = annulus_bench::interval_log(&mut to, |log| {
                annulus_bench::run(&plan, |round| {
                    show(&round);
                    log(round);
                })
            });
            let rows = rows.map_err(|error| run_failed(&error))?;
            to.flush().map_err(failed)?;
            rows
        }
    };
    bar.finish_and_clear();
    stop.check()?; // an error then only says that it was stopped
    let rows = rows.map_err(|error| run_failed(&error))?;
    if let Some(dir) = &args.hgrm {
        rows.iter().try_for_each(|row| percentile_file(dir, row))?;
    }
    print(&rows, args.json).map_err(|e| End::output(&e))
}

fn run_failed(error: &Error) -> End {
    if error.is_usage() { End::Wrong(error.to_string()) } else { End::Lost(error.to_string()) }
}

fn file_failed(path: &Path, error: &io::Error) -> End {
    End::Lost(format!("cannot write {}: {error}", path.display()))
}

impl BenchArgs {
    fn plan(&self, stop: &Stop) -> Plan {
        let preset = if self.quick { Plan::quick() } else { Plan::full() };
        let task = |bench: Bench| Task {
            bench,
            systems: self.systems(bench),
            sizes: self.sizes.clone().unwrap_or_else(|| bench.usual_sizes(self.quick)),
        };
        let benches = self.benches.as_deref().unwrap_or(&Bench::USUAL);
        Plan {
            tasks: benches.iter().map(|&bench| task(bench)).collect(),
            rounds: self.rounds.unwrap_or(preset.rounds),
            cpus: self.cpus,
            wait: self.wait,
            profile: self.profile,
            fence: self.fence,
            capacity: self.capacity,
            stop: stop.flag(),
            ..preset
        }
    }
}

impl BenchArgs {
    /// The systems that were asked for, annulus in all the kinds that were.
    fn systems(&self, bench: Bench) -> Vec<System> {
        let asked = self.systems.clone().unwrap_or_else(|| bench.usual_systems());
        let kinds = |system| match system {
            System::Annulus => {
                let wakes = self.wake.iter().map(|wake| match wake {
                    Wakes::Futex => System::Annulus,
                    Wakes::Semaphore => System::AnnulusSemaphore,
                });
                let stamped = [System::AnnulusTsc, System::AnnulusMonotonic];
                wakes.chain(stamped.into_iter().filter(|_| self.stamped)).collect()
            }
            system => vec![system],
        };
        asked.into_iter().flat_map(kinds).collect()
    }
}

fn percentile_file(dir: &Path, row: &Row) -> Result {
    if row.bench.is_rate() {
        return Ok(());
    }
    let path = dir.join(format!("{}.hgrm", row.label()));
    let mut text = Vec::new();
    annulus_bench::percentiles(row, &mut text)
        .and_then(|()| fs::write(&path, text))
        .map_err(|e| file_failed(&path, &e))
}

fn print(rows: &[Row], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return rows.iter().try_for_each(|row| writeln!(out, "{}", annulus_bench::json(row)));
    }
    write!(out, "{}", annulus_bench::table(rows))?;
    let awake: u64 = rows.iter().map(|row| row.awake).sum();
    if awake > 0 {
        writeln!(out, "\nLeft out, as the reader was still awake: {awake} of the wakes.")?;
    }
    let trips = || rows.iter().filter(|row| row.bench == Bench::PingPong);
    let size =
        trips().map(|row| row.size).find(|size| *size == 64).or_else(|| trips().map(|r| r.size).next());
    if let Some(size) = size {
        let rows: Vec<_> = trips().filter(|row| row.size == size).collect();
        writeln!(out, "\nRound trip of {size} bytes, percentiles:\n{}", annulus_bench::curve(&rows))?;
    }
    out.flush()
}
