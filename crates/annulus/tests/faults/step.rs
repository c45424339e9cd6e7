//! Each program at every instruction: a tracer steps it so far, kills it there, and the rest is checked as ever.
//!
//! Stepping from the beginning each time would take time with the square of the length. So the first run of a program
//! is stepped to its end, and its path kept; every later one runs at full speed to an instruction of that path shortly
//! before the one where it shall die, with a breakpoint of the processor, and is stepped from there. ptrace(2).
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::time::Instant;

use crate::board::Board;
use crate::cases::{Arm, CASES, Case, Killer};
use crate::check::Dir;
use crate::child::{Child, LONG, State};

/// Stops that a run costs, by breakpoints and steps, are looked for to be few among so many instructions.
const WINDOW: usize = 256;
/// Runs that are sent to one place, if they stray from the way.
const TRIES: u32 = 4;
/// Wrong ends of one program after which it is given up.
const FAILURES_MAX: usize = 5;

/// The addresses of the instructions that a program executes, in order, from where it may be killed.
type Path = Vec<u64>;

/// How a run stops shortly before an instruction: at the `times`th coming to an address, and then so many steps.
struct Way {
    address: u64,
    times: u64,
    steps: usize,
}

/// Runs the victim to one place of its path, and kills it there.
struct AtStep<'a> {
    way: Option<&'a Way>,
    /// What was executed: all of it if no way is given.
    path: Path,
    /// Where it stood when it was killed; 0 if it had come to its end.
    last: u64,
}

impl Killer for AtStep<'_> {
    fn run(&mut self, victim: Box<dyn FnOnce(Arm<'_>) + '_>, meanwhile: &mut dyn FnMut(&Child)) {
        let mut child = Child::start(|| victim(&stand));
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < LONG, "the victim is held up");
            match child.state(false) {
                State::Running => {
                    meanwhile(&child);
                    std::thread::yield_now();
                }
                State::Stopped(libc::SIGSTOP) => break,
                other => panic!("the victim does not come to its beginning: {other:?}"),
            }
        }
        let mut traced = Traced(&mut child);
        match self.way {
            None => {
                while traced.goes_on(libc::PTRACE_SINGLESTEP) {
                    self.path.push(traced.address());
                }
            }
            Some(way) => {
                traced.breakpoint(way.address);
                if (0..way.times).all(|_| traced.goes_on(libc::PTRACE_CONT)) {
                    traced.no_breakpoint();
                    if (0..way.steps).all(|_| traced.goes_on(libc::PTRACE_SINGLESTEP)) {
                        self.last = traced.address();
                    }
                }
            }
        }
        child.kill();
    }
}

/// Stands still for the tracer: the place from which on the victim may be killed.
fn stand() {
    // SAFETY: makes the parent this process's tracer, and stops it until that goes on. Touches no memory.
    unsafe {
        libc::ptrace(libc::PTRACE_TRACEME, 0, null_mut::<libc::c_void>(), null_mut::<libc::c_void>());
        libc::raise(libc::SIGSTOP);
    }
}

/// A child that stands for us, its tracer.
struct Traced<'a>(&'a mut Child);

impl Traced<'_> {
    /// Lets it go on; says whether it stands again, and has not come to its end.
    fn goes_on(&mut self, request: libc::c_uint) -> bool {
        self.ask(request, 0, 0);
        match self.0.state(true) {
            State::Stopped(libc::SIGTRAP) => true,
            State::Finished => false,
            other => panic!("the victim does not step: {other:?}"),
        }
    }

    fn ask(&self, request: libc::c_uint, address: usize, data: u64) {
        // SAFETY: the child is ours and stands. None of the requests made here reads or writes memory of this process.
        let done = unsafe { libc::ptrace(request, self.0.pid(), address, data) };
        assert_eq!(done, 0, "ptrace {request}: {}", std::io::Error::last_os_error());
    }

    /// Of the instruction that is next.
    fn address(&self) -> u64 {
        let place = offset_of!(libc::user, regs) + offset_of!(libc::user_regs_struct, rip);
        // SAFETY: as above; this request returns the word. An address is never -1, which would be an error.
        let address = unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, self.0.pid(), place, 0) };
        assert_ne!(address, -1, "ptrace: {}", std::io::Error::last_os_error());
        address as u64
    }

    /// Stops it from now on before it executes what is at an address.
    fn breakpoint(&self, address: u64) {
        let place = offset_of!(libc::user, u_debugreg);
        self.ask(libc::PTRACE_POKEUSER, place, address);
        // The control word: the first breakpoint, in this process, at execution.
        self.ask(libc::PTRACE_POKEUSER, place + 7 * size_of::<u64>(), 1);
    }

    fn no_breakpoint(&self) {
        self.ask(libc::PTRACE_POKEUSER, offset_of!(libc::user, u_debugreg) + 7 * size_of::<u64>(), 0);
    }
}

/// The cheapest way to each place of a path.
fn ways(path: &Path) -> Vec<Way> {
    let mut times = HashMap::new();
    let mut before = None;
    // At each instruction: how often a breakpoint there has stopped by then; none in the middle of a string copy, whose
    // turns are steps, but one instruction for a breakpoint.
    let stops: Vec<Option<u64>> = path
        .iter()
        .map(|&address| {
            if before.replace(address) == Some(address) {
                return None;
            }
            let n = times.entry(address).or_insert(0_u64);
            *n += 1;
            Some(*n)
        })
        .collect();
    (0..path.len())
        .map(|place| {
            let near = (place.saturating_sub(WINDOW)..=place).filter_map(|at| Some((at, stops[at]?)));
            let best = near.min_by_key(|&(at, times)| times + (place - at) as u64);
            // Within a string copy that is longer than the window, from its beginning.
            let (at, times) = best.unwrap_or_else(|| {
                let at = (0..place).rev().find(|&at| stops[at].is_some()).expect("the first is one");
                (at, stops[at].expect("found by it"))
            });
            Way { address: path[at], times, steps: place - at }
        })
        .collect()
}

/// What was done to one program.
#[derive(Default)]
struct Count {
    instructions: usize,
    deaths: usize,
    /// Places that no run came to: those sent there took another way, and died somewhere else.
    strayed: usize,
    failures: Vec<String>,
}

fn step(case: &Case, seed: Option<u64>, at_most: u64) -> Count {
    let run = |way: Option<&Way>| {
        Board::get().clear();
        let dir = Dir::new();
        let mut killer = AtStep { way, path: Path::new(), last: 0 };
        let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&dir, &mut killer)));
        (outcome.is_ok(), killer.path, killer.last)
    };
    let mut count = Count::default();
    let (ok, path, _) = run(None);
    if !ok {
        count.failures.push(format!("{}, at its end", case.name));
        return count;
    }
    let ways = ways(&path);
    count.instructions = path.len();
    // Every one; or as many as there is time for, beginning anywhere.
    let stride = (path.len() as u64).div_ceil(at_most).max(1);
    let start = seed.map_or(0, |seed| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % stride;
    for place in (start as usize..path.len()).step_by(stride as usize) {
        // What the kernel answers is not the same each time, a clock above all: one that took another way is sent again.
        let mut tries = 0;
        let (ok, last) = loop {
            let (ok, _, last) = run(Some(&ways[place]));
            tries += 1;
            if !ok || last == path[place] || tries == TRIES {
                break (ok, last);
            }
        };
        count.deaths += 1;
        count.strayed += usize::from(last != path[place]);
        if !ok {
            let failure = format!("{}, before instruction {place} at {last:#x}", case.name);
            eprintln!("^ {failure}");
            count.failures.push(failure);
            if count.failures.len() >= FAILURES_MAX {
                break;
            }
        }
    }
    count
}

/// Kills the programs of these names, or all that can be stepped, before each instruction; with a seed before some,
/// at most so many of each.
pub(crate) fn run(names: &[&str], seed: Option<u64>, at_most: u64) -> Result<(), String> {
    let steppable = || CASES.iter().filter(|case| case.steps);
    if let Some(name) = names.iter().find(|name| !steppable().any(|case| case.name == **name)) {
        let known: Vec<_> = steppable().map(|case| case.name).collect();
        return Err(format!("no program {name:?} can be stepped; there are {}", known.join(", ")));
    }
    if let Some(seed) = seed {
        println!("seed {seed}");
    }
    let mut failures = Vec::new();
    for case in steppable().filter(|case| names.is_empty() || names.contains(&case.name)) {
        let begin = Instant::now();
        let count = step(case, seed, at_most);
        println!(
            "{:<12}{:>8} instructions {:>8} deaths {:>6} strayed {:>4} failures {:>8.1} s",
            case.name,
            count.instructions,
            count.deaths,
            count.strayed,
            count.failures.len(),
            begin.elapsed().as_secs_f64()
        );
        failures.extend(count.failures);
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!("{} deaths left something wrong:\n{}", failures.len(), failures.join("\n")))
}
