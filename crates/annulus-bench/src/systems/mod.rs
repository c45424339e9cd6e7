//! What carries messages, each behind the same two halves: the client's, and the server's in the peer.

mod annulus;
mod floor;
mod kernel;
mod mpsc;
mod schemes;
mod sockets;
mod teams;

use std::fmt;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use memmap2::MmapRaw;
use tokio::runtime::Runtime;

pub(crate) use annulus::{RingPlan, Rings};
use kernel::Kernel;
pub(crate) use teams::Teams;

use crate::loops::Client;
use crate::plan::{Bench, System};
use crate::tasks::{self, TaskHalf};
use crate::{Error, Result};

/// One end of a connection. Both ends know the size of the messages.
pub(crate) trait Half {
    /// Sends `body`, with `seq` written into it; `seq` differs from the one before.
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()>;
    /// Waits for the next message, copies all of it into `body`, and tells what `seq` it was.
    fn recv(&mut self, body: &mut [u8]) -> Result<u64>;
}

/// Writes `seq` at the front of a message and, where there is room, at its end: each differs from the
/// one before, and a record that is wrong, cut or torn is noticed.
#[inline(always)]
fn stamp(seq: u64, body: &mut [u8]) {
    if let Some(front) = body.first_chunk_mut() {
        *front = seq.to_ne_bytes();
    }
    if body.len() >= 16
        && let Some(back) = body.last_chunk_mut()
    {
        *back = seq.to_ne_bytes();
    }
}

/// What [`stamp`] wrote; 0, which is never sent, if the ends differ.
#[inline(always)]
fn stamped(body: &[u8]) -> u64 {
    let front = body.first_chunk().map_or(0, |front| u64::from_ne_bytes(*front));
    let back = body.last_chunk().map_or(0, |back| u64::from_ne_bytes(*back));
    if body.len() < 16 || front == back { front } else { 0 }
}

/// Copies a record out of a ring, which has as many bytes as was sent. What [`stamp`] wrote.
#[inline(always)]
fn copied(record: &[u8], body: &mut [u8]) -> Result<u64> {
    if record.len() != body.len() {
        return Err(annulus::failed("a record has another length than was sent", record.len()));
    }
    body.copy_from_slice(record);
    Ok(stamped(body))
}

/// One way to carry messages: a system, or one of the floor's kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Two-line ping-pong; whether it pauses between looks.
    TwoLine(bool),
    /// One-slot copy; whether it pauses between looks.
    OneSlot(bool),
    /// A buffer of slots; whether it pauses for long, so that a batch gathers: the reader's looks take
    /// the lines away from the writer.
    Slots(bool),
    Futex,
    /// A ring of one of the kinds.
    Annulus(System),
    /// A bare ring with a tail counter, or with headers that publish; and bytes from record to record.
    Scheme {
        in_band: bool,
        line: bool,
    },
    Pipe,
    Uds,
    /// One ring with so many readers.
    Fan(u32),
    /// So many rings with one reader.
    Many(u32),
    /// A system within the client's process, with so many workers.
    Team(System, u32),
    /// A ring in each direction, awaited.
    Tasks,
    /// The same, between two tasks of the client's thread.
    TasksWithin,
    /// Channels between two tasks of the client's process; whether each has its thread.
    Mpsc {
        threads: bool,
    },
    /// The Unix sockets, awaited.
    TokioUds,
}

/// Rounds before the floor's slots move on.
const ROUNDS_A_SPOT: usize = 6;
/// Pauses between the looks of a patient reader: some microseconds.
const PATIENT: u32 = 256;

const WAYS: [(Way, &str); 22] = [
    (Way::TwoLine(false), "two-line"),
    (Way::TwoLine(true), "two-line-pause"),
    (Way::OneSlot(false), "one-slot"),
    (Way::OneSlot(true), "one-slot-pause"),
    (Way::Slots(false), "slots"),
    (Way::Slots(true), "slots-patient"),
    (Way::Futex, "futex"),
    (Way::Annulus(System::Annulus), "annulus"),
    (Way::Annulus(System::AnnulusSemaphore), "annulus-semaphore"),
    (Way::Annulus(System::AnnulusTsc), "annulus-tsc"),
    (Way::Annulus(System::AnnulusMonotonic), "annulus-monotonic"),
    (Way::Scheme { in_band: false, line: false }, "tail-packed"),
    (Way::Scheme { in_band: false, line: true }, "tail-line"),
    (Way::Scheme { in_band: true, line: false }, "in-band-packed"),
    (Way::Scheme { in_band: true, line: true }, "in-band-line"),
    (Way::Pipe, "pipe"),
    (Way::Uds, "uds"),
    (Way::Tasks, "tasks"),
    (Way::TasksWithin, "tasks-within"),
    (Way::Mpsc { threads: false }, "tokio-mpsc"),
    (Way::Mpsc { threads: true }, "tokio-mpsc-threads"),
    (Way::TokioUds, "tokio-uds"),
];

const FAN: &str = "fan-";
const MANY: &str = "many-";

impl Way {
    /// Whether both ends are tasks of the client's process.
    pub(crate) fn is_within(self) -> bool {
        matches!(self, Self::TasksWithin | Self::Mpsc { .. })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fan(readers) => write!(f, "{FAN}{readers}"),
            Self::Many(rings) => write!(f, "{MANY}{rings}"),
            Self::Team(system, workers) => write!(f, "{system}-{workers}"),
            way => f.write_str(WAYS.iter().find(|(w, _)| w == way).map_or("?", |(_, word)| word)),
        }
    }
}

impl FromStr for Way {
    type Err = Error;
    fn from_str(word: &str) -> Result<Self> {
        for (prefix, way) in [(FAN, Self::Fan as fn(u32) -> Self), (MANY, Self::Many)] {
            if let Some(number) = word.strip_prefix(prefix).and_then(|number| number.parse().ok()) {
                return Ok(way(number));
            }
        }
        let way = WAYS.iter().find(|(_, w)| *w == word).map(|(way, _)| *way);
        way.ok_or_else(|| Error::failed(format!("no way to carry messages is called {word}")))
    }
}

/// The ways of a system in one cell: the floor has two where the better counts, pair by pair.
pub(crate) fn ways(system: System, bench: Bench, size: usize, many: u32) -> Vec<Way> {
    match (system, bench) {
        (_, Bench::Fanout) => vec![Way::Fan(many)],
        (system, Bench::Group) => vec![Way::Team(system, many)],
        (System::Annulus, Bench::Select) => vec![Way::Many(many)],
        (System::Annulus, Bench::Async) => vec![Way::Tasks],
        (System::AnnulusTasks, _) => vec![Way::TasksWithin],
        (System::TokioMpsc, _) => vec![Way::Mpsc { threads: false }],
        (System::TokioMpscThreads, _) => vec![Way::Mpsc { threads: true }],
        (System::TokioUds, _) => vec![Way::TokioUds],
        (system, _) if system.is_annulus() => vec![Way::Annulus(system)],
        (System::TailPacked, _) => vec![Way::Scheme { in_band: false, line: false }],
        (System::TailLine, _) => vec![Way::Scheme { in_band: false, line: true }],
        (System::InBandPacked, _) => vec![Way::Scheme { in_band: true, line: false }],
        (System::InBandLine, _) => vec![Way::Scheme { in_band: true, line: true }],
        (System::Pipe, _) => vec![Way::Pipe],
        (System::Uds, _) => vec![Way::Uds],
        (_, Bench::PingPong) if size <= 48 => vec![Way::TwoLine(false), Way::TwoLine(true)],
        (_, Bench::PingPong) => vec![Way::OneSlot(false), Way::OneSlot(true)],
        (_, Bench::Stream) => vec![Way::Slots(false), Way::Slots(true)],
        (_, Bench::Wake | Bench::Select | Bench::Async) => vec![Way::Futex],
    }
}

/// Something to do with a half, compiled for each kind of it.
pub(crate) trait Visit {
    type Out;
    fn visit<H: Half>(self, half: &mut H) -> Result<Self::Out>;
    /// The same for a half of a task, which `runtime` runs.
    fn visit_task<H: TaskHalf>(self, runtime: &Runtime, half: &mut H) -> Result<Self::Out>;
}

/// All the ends that one of the two processes holds.
pub(crate) struct Ends {
    client: bool,
    floor: MmapRaw,
    /// Rounds so far: the same in both processes, which take part in the same ones.
    turn: usize,
    pipe: Kernel,
    uds: Kernel,
    /// Of each way that is measured and has some.
    pub(crate) rings: Vec<(Way, Rings)>,
}

impl Ends {
    /// Over the mapping of the floor, and the descriptors to read and to write of each kernel object.
    pub(crate) fn new(client: bool, floor: MmapRaw, pipe: [OwnedFd; 2], uds: [OwnedFd; 2]) -> Self {
        Self { client, floor, turn: 0, pipe: Kernel::new(pipe), uds: Kernel::new(uds), rings: Vec::new() }
    }

    /// Makes this process's half of `way` and hands it to `visit`.
    pub(crate) fn visit<V: Visit>(&mut self, way: Way, size: usize, visit: V) -> Result<V::Out> {
        let (floor, client) = (&self.floor, self.client);
        // The two ways of one pair mostly share a slot; over a cell, all slots have their turn.
        let spot = self.turn / ROUNDS_A_SPOT;
        self.turn += 1;
        match way {
            Way::TwoLine(false) => visit.visit(&mut floor::two_line::<0>(floor, client)),
            Way::TwoLine(true) => visit.visit(&mut floor::two_line::<1>(floor, client)),
            Way::OneSlot(false) => visit.visit(&mut floor::one_slot::<0>(floor, client, spot, size)),
            Way::OneSlot(true) => visit.visit(&mut floor::one_slot::<1>(floor, client, spot, size)),
            Way::Slots(false) => visit.visit(&mut floor::slots::<1>(floor, client, size)),
            Way::Slots(true) => visit.visit(&mut floor::slots::<PATIENT>(floor, client, size)),
            Way::Futex => visit.visit(&mut floor::futex(floor, client, spot, size)),
            Way::Annulus(_) | Way::Fan(_) | Way::Many(_) | Way::Tasks => match rings(&mut self.rings, way) {
                Some(Rings::Pair(pair)) => visit.visit(&mut **pair),
                Some(Rings::Fan(fan)) => visit.visit(&mut **fan),
                Some(Rings::Many(many)) => visit.visit(&mut many.selecting()),
                Some(Rings::Tasks(tasks)) => visit.visit_task(&tasks::runtime()?, &mut **tasks),
                _ => Err(no_rings()),
            },
            Way::Team(..) | Way::TasksWithin | Way::Mpsc { .. } => {
                Err(Error::failed("this is measured within one process"))
            }
            Way::TokioUds => {
                let runtime = tasks::runtime()?;
                let mut half = sockets::Socket::new(&runtime, &self.uds)?;
                visit.visit_task(&runtime, &mut half)
            }
            Way::Scheme { in_band, line } => {
                let align = if line { 64 } else { 8 };
                if in_band {
                    visit.visit(&mut schemes::scheme::<true>(floor, client, size, align))
                } else {
                    visit.visit(&mut schemes::scheme::<false>(floor, client, size, align))
                }
            }
            Way::Pipe => visit.visit(&mut self.pipe),
            Way::Uds => visit.visit(&mut self.uds),
        }
    }

    /// One round between two tasks of this process. One that has a thread of its own is on `cpu`.
    pub(crate) fn alone(&mut self, way: Way, client: Client<'_>, cpu: usize) -> Result<()> {
        match (way, rings(&mut self.rings, way)) {
            (Way::TasksWithin, Some(Rings::Within(ours, theirs))) => {
                let there = theirs.take().ok_or_else(no_rings)?;
                *theirs = Some(client.dialogue(&mut **ours, there)?);
                Ok(())
            }
            (Way::Mpsc { threads }, _) => mpsc::round(client, threads.then_some(cpu)),
            _ => Err(no_rings()),
        }
    }
}

fn rings(rings: &mut [(Way, Rings)], way: Way) -> Option<&mut Rings> {
    rings.iter_mut().find(|rings| rings.0 == way).map(|(_, rings)| rings)
}

#[cold]
fn no_rings() -> Error {
    Error::failed("a round of annulus before its rings were made")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_message_is_seen() {
        for size in [8, 15, 16, 100] {
            let mut body = vec![0; size];
            stamp(77, &mut body);
            assert_eq!(stamped(&body), 77);
        }
        let mut body = [0; 64];
        stamp(77, &mut body);
        body[60] = 1;
        assert_eq!(stamped(&body), 0);
    }

    #[test]
    fn the_floor_of_each_cell() {
        assert_eq!(ways(System::Floor, Bench::PingPong, 48, 1), [Way::TwoLine(false), Way::TwoLine(true)]);
        assert_eq!(ways(System::Floor, Bench::PingPong, 64, 1), [Way::OneSlot(false), Way::OneSlot(true)]);
        for (way, word) in WAYS {
            assert_eq!(word.parse::<Way>().unwrap(), way);
            assert_eq!(way.to_string(), word);
        }
        for (way, word) in [(Way::Fan(8), "fan-8"), (Way::Many(16), "many-16")] {
            assert_eq!(word.parse::<Way>().unwrap(), way);
            assert_eq!(way.to_string(), word);
        }
    }

    #[test]
    fn no_bench_takes_a_way_of_another() {
        let of_threads = [Way::Annulus(System::Annulus), Way::Pipe, Way::Uds];
        let of_tasks = [Way::Tasks, Way::TasksWithin, Way::TokioUds, Way::Mpsc { threads: false }];
        for bench in Bench::ALL {
            for (nth, &system) in bench.knows().iter().enumerate() {
                let ways = ways(system, bench, 64, 2);
                let fits = |way: &Way| match bench {
                    Bench::PingPong | Bench::Stream | Bench::Wake => !of_tasks.contains(way),
                    Bench::Fanout => *way == Way::Fan(2),
                    Bench::Group => *way == Way::Team(system, 2),
                    Bench::Select => *way == [Way::Futex, Way::Many(2)][nth],
                    Bench::Async => (nth == 0) == (*way == Way::Futex) && !of_threads.contains(way),
                };
                assert!(ways.iter().all(fits), "{bench} of {system}: {ways:?}");
            }
        }
    }
}
