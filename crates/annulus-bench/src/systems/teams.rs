//! Groups of workers, each message to one of them: threads of one process, so that what is made for threads can be
//! measured beside a ring.

pub(super) mod channel;
mod cursor;
mod ring;

use std::sync::Barrier;
use std::thread;

use super::{RingPlan, stamp};
use crate::clock::Clock;
use crate::loops::{STOP, Sheet};
use crate::peer::Timing;
use crate::pin::Pinned;
use crate::plan::System;
use crate::{Error, Result};

/// Where messages go in.
trait Post {
    fn send(&mut self, body: &[u8]) -> Result<()>;
}

/// Where a worker takes them out.
trait Take: Send {
    /// Waits for a message that nobody else gets, copies all of it into `body`, and tells what `seq` it was.
    fn take(&mut self, body: &mut [u8]) -> Result<u64>;
}

/// One system with its workers, from round to round.
trait Team {
    fn round(&mut self, cpus: &[usize], timing: &mut Timing, sheet: &mut Sheet) -> Result<()>;
}

struct Crew<P, T> {
    post: P,
    takers: Vec<T>,
}

/// What a worker has had of a round.
struct Tally {
    count: u64,
    sum: u64,
    end: u64,
}

impl Tally {
    /// Takes until told to stop.
    fn of(taker: &mut impl Take, size: usize, clock: Clock) -> Result<Self> {
        let mut body = vec![0; size];
        let (mut count, mut sum) = (0, 0_u64);
        loop {
            match taker.take(&mut body)? {
                STOP => return Ok(Self { count, sum, end: clock.now() }),
                seq => (count, sum) = (count + 1, sum.wrapping_add(seq)),
            }
        }
    }
}

impl<P: Post, T: Take> Team for Crew<P, T> {
    /// From the first send until the last worker has nothing more to do.
    fn round(&mut self, cpus: &[usize], timing: &mut Timing, sheet: &mut Sheet) -> Result<()> {
        let &mut Timing { size, length, clock, seq: first, .. } = timing;
        let (post, takers) = (&mut self.post, &mut self.takers);
        let workers = takers.len();
        let ready = Barrier::new(workers + 1);
        let mut seq = first;
        let (began, tallies) = thread::scope(|scope| {
            let start = |(i, taker)| {
                let (ready, cpu) = (&ready, cpus[i % cpus.len()]);
                scope.spawn(move || {
                    let pin = Pinned::to(cpu);
                    ready.wait();
                    pin.and_then(|_pin| Tally::of(taker, size, clock))
                })
            };
            let threads: Vec<_> = takers.iter_mut().enumerate().map(start).collect();
            let mut body = vec![0x5a; size];
            ready.wait();
            let began = clock.now();
            let end = began + clock.ticks(length);
            while clock.now() < end {
                for _ in 0..=4096 / size {
                    seq += 1;
                    stamp(seq, &mut body);
                    post.send(&body)?;
                }
            }
            stamp(STOP, &mut body);
            (0..workers).try_for_each(|_| post.send(&body))?;
            let over = || Error::failed("a worker has panicked");
            let tallies = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(over())));
            Ok((began, tallies.collect::<Result<Vec<_>>>()?))
        })?;
        let count = seq - first;
        let sum = (first + 1..=seq).fold(0, u64::wrapping_add);
        let each_once = tallies.iter().map(|tally| tally.count).sum::<u64>() == count
            && tallies.iter().map(|tally| tally.sum).fold(0, u64::wrapping_add) == sum;
        if !each_once {
            return Err(Error::failed("not each message went to one worker"));
        }
        let end = tallies.iter().map(|tally| tally.end).max().unwrap_or(began);
        let took = (end - began) as f64 * clock.ns_per_tick();
        sheet.count = count;
        sheet.rate = count as f64 * 1e9 / took;
        timing.seq = seq;
        Ok(())
    }
}

/// The teams of a cell.
pub(crate) struct Teams {
    /// Where the workers run.
    cpus: Vec<usize>,
    made: Vec<(System, Box<dyn Team>)>,
}

impl Teams {
    pub(crate) fn new(cpus: Vec<usize>) -> Self {
        Self { cpus, made: Vec::new() }
    }

    /// Makes one. Its ring, if it has one, is that of `plan`; others have room for as many messages as that.
    pub(crate) fn make(&mut self, plan: &RingPlan, workers: u32, size: usize) -> Result<()> {
        let messages = (plan.capacity / record(size)).max(2);
        let takers = workers as usize;
        let team = match plan.kind {
            System::BareCursor => {
                let (post, taker) = cursor::cursor(size, messages);
                Box::new(Crew { post, takers: vec![taker; takers] })
            }
            System::Crossbeam if size <= channel::SMALL => {
                channel::team::<[u8; channel::SMALL]>(messages, takers)
            }
            System::Crossbeam => channel::team::<Box<[u8]>>(messages, takers),
            System::Annulus => ring::team(plan, workers)?,
            other => return Err(Error::failed(format!("{other} has no workers"))),
        };
        self.made.push((plan.kind, team));
        Ok(())
    }

    /// One round of a system.
    pub(crate) fn round(&mut self, system: System, timing: &mut Timing, sheet: &mut Sheet) -> Result<()> {
        match self.made.iter_mut().find(|(made, _)| *made == system) {
            Some((_, team)) => team.round(&self.cpus, timing, sheet),
            None => Err(Error::failed(format!("a round of {system} before its workers were there"))),
        }
    }

    /// The cell is over.
    pub(crate) fn clear(&mut self) {
        self.made.clear();
    }
}

/// Bytes from record to record of a ring whose records lie on lines.
fn record(size: usize) -> usize {
    (8 + size).next_multiple_of(64)
}
