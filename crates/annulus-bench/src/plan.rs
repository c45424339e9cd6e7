//! What to measure, and the words for it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::{Error, Result};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// The word for it, in arguments and in the output.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(word: &str) -> Result<Self> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(Error::usage(format!(
                        "no {} is called `{word}`: it is one of {}", $what, [$($word),*].join(", "),
                    ))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// What is measured.
    Bench, "bench" {
        /// Round trip of a message and its answer.
        PingPong = "pingpong",
        /// Messages one way, as many as go through.
        Stream = "stream",
        /// One way to a reader that sleeps, from just before the send to just after its receive.
        Wake = "wake",
        /// Publishing to many subscribers of one ring.
        Fanout = "fanout",
        /// Messages one way, of which each goes to one of several workers.
        Group = "group",
        /// One way to a thread that sleeps for many rings at once, measured as `wake` is.
        Select = "select",
        /// Round trip of a message and its answer between two tasks that await them.
        Async = "async",
    }
}

words! {
    /// What carries the messages.
    System, "system" {
        /// The least that this machine must do: the yardstick.
        Floor = "floor",
        /// The floor as if it were a system: its ratio must be 1, or the harness is at fault.
        FloorAgain = "floor-again",
        /// A ring in each direction.
        Annulus = "annulus",
        /// The same, whose sleepers are woken by semaphores.
        AnnulusSemaphore = "annulus-semaphore",
        /// The same, whose records carry their time by the processor's counter.
        AnnulusTsc = "annulus-tsc",
        /// The same, whose records carry their time by `CLOCK_MONOTONIC`.
        AnnulusMonotonic = "annulus-monotonic",
        /// The same, between two tasks of one thread.
        AnnulusTasks = "annulus-tasks",
        /// A bare prototype with a tail counter, records on multiples of 8 bytes; it never sleeps.
        TailPacked = "tail-packed",
        /// The same, records on lines.
        TailLine = "tail-line",
        /// A bare prototype with headers that publish, records on multiples of 8 bytes; it never sleeps.
        InBandPacked = "in-band-packed",
        /// The same, records on lines.
        InBandLine = "in-band-line",
        /// A kernel pipe in each direction.
        Pipe = "pipe",
        /// A pair of Unix stream sockets.
        Uds = "uds",
        /// A bare prototype: workers take records by one exchange of a position that they share.
        BareCursor = "bare-cursor",
        /// A bounded channel between the threads of one process.
        Crossbeam = "crossbeam",
        /// A bounded channel of tokio's in each direction, between two tasks of one thread.
        TokioMpsc = "tokio-mpsc",
        /// The same, between two threads.
        TokioMpscThreads = "tokio-mpsc-threads",
        /// The pair of Unix stream sockets, between tasks of two processes.
        TokioUds = "tokio-uds",
    }
}

words! {
    /// How the ends of a ring wait in `pingpong` and `stream`; in `wake` they always park.
    Wait, "way to wait" {
        /// On the CPU.
        Spin = "spin",
        /// On the CPU, giving it away between looks.
        Yield = "yield",
        /// In the kernel.
        Park = "park",
    }
}

words! {
    /// How records lie in the ring.
    Profile, "profile" {
        /// On multiples of 8 bytes.
        Packed = "packed",
        /// On lines of 64 bytes.
        Line = "line",
    }
}

words! {
    /// What a producer of a ring pays for readers that may sleep.
    Fence, "fence" {
        /// Nothing: a reader that goes to sleep makes the producer's CPU take a barrier.
        Asymmetric = "asymmetric",
        /// A fence for each publish.
        Symmetric = "symmetric",
        /// Nothing: readers never sleep.
        Spin = "spin",
    }
}

impl Bench {
    /// All there are, in the order of the tables.
    pub(crate) const ALL: [Self; 7] =
        [Self::PingPong, Self::Stream, Self::Wake, Self::Fanout, Self::Group, Self::Select, Self::Async];
    /// Those that are measured unless others are asked for.
    pub const USUAL: [Self; 3] = [Self::PingPong, Self::Stream, Self::Wake];

    /// The systems that it knows, beginning with its yardstick.
    pub fn knows(self) -> &'static [System] {
        use System::{
            Annulus, AnnulusMonotonic, AnnulusSemaphore, AnnulusTasks, AnnulusTsc, BareCursor, Crossbeam,
            Floor, FloorAgain, InBandLine, InBandPacked, Pipe, TailLine, TailPacked, TokioMpsc,
            TokioMpscThreads, TokioUds, Uds,
        };
        match self {
            Self::PingPong | Self::Stream | Self::Wake => &[
                Floor,
                FloorAgain,
                Annulus,
                AnnulusSemaphore,
                AnnulusTsc,
                AnnulusMonotonic,
                TailPacked,
                TailLine,
                InBandPacked,
                InBandLine,
                Pipe,
                Uds,
            ],
            Self::Fanout => &[Annulus],
            Self::Group => &[BareCursor, Annulus, Crossbeam],
            Self::Select => &[Floor, Annulus],
            Self::Async => &[Floor, Annulus, TokioUds, AnnulusTasks, TokioMpsc, TokioMpscThreads],
        }
    }

    /// The systems that are measured unless others are asked for.
    pub fn usual_systems(self) -> Vec<System> {
        match self {
            Self::PingPong | Self::Stream | Self::Wake => {
                vec![System::Floor, System::Annulus, System::Pipe, System::Uds]
            }
            _ => self.knows().to_vec(),
        }
    }

    /// The sizes that are measured unless others are asked for.
    pub fn usual_sizes(self, quick: bool) -> Vec<usize> {
        match self {
            Self::PingPong | Self::Stream | Self::Wake if quick => vec![8, 64, 4096],
            Self::PingPong | Self::Stream | Self::Wake => vec![8, 64, 256, 1024, 4096, 65536],
            _ => vec![64], // what varies is how many take part
        }
    }

    /// What there are several of, in the output.
    pub fn many(self) -> Option<&'static str> {
        match self {
            Self::PingPong | Self::Stream | Self::Wake | Self::Async => None,
            Self::Fanout => Some("readers"),
            Self::Group => Some("workers"),
            Self::Select => Some("rings"),
        }
    }

    /// How many of those: a cell for each.
    pub(crate) fn counts(self) -> &'static [u32] {
        match self {
            Self::PingPong | Self::Stream | Self::Wake | Self::Async => &[1],
            Self::Fanout => &[1, 2, 8, 64],
            Self::Group => &[1, 2, 4],
            Self::Select => &[1, 16, 128],
        }
    }

    /// What a cell's systems are held against: a system, and how many readers, workers or rings it has.
    pub(crate) fn yardstick(self, count: u32) -> (System, u32) {
        let count = if self == Self::Fanout { 1 } else { count };
        (self.knows()[0], count)
    }

    /// Whether its figures are rates, not times.
    pub fn is_rate(self) -> bool {
        matches!(self, Self::Stream | Self::Group)
    }

    /// Whether its readers sleep, whatever was asked for.
    fn sleeps(self) -> bool {
        matches!(self, Self::Wake | Self::Group | Self::Select | Self::Async)
    }
}

impl System {
    /// Whether it is a ring of annulus, however built.
    pub fn is_annulus(self) -> bool {
        use System::{Annulus, AnnulusMonotonic, AnnulusSemaphore, AnnulusTasks, AnnulusTsc};
        matches!(self, Annulus | AnnulusSemaphore | AnnulusTsc | AnnulusMonotonic | AnnulusTasks)
    }
}

/// One bench of a run.
#[derive(Clone, Debug)]
pub struct Task {
    /// What is measured.
    pub bench: Bench,
    /// The systems, in the order of the output. The yardstick is measured in any case.
    pub systems: Vec<System>,
    /// Bytes of a message: 8 to 1 MiB.
    pub sizes: Vec<usize>,
}

impl Task {
    fn usual(quick: bool) -> Vec<Self> {
        let of =
            |bench: Bench| Self { bench, systems: bench.usual_systems(), sizes: bench.usual_sizes(quick) };
        Bench::USUAL.map(of).into()
    }

    /// The systems of a cell that are not its yardstick.
    pub(crate) fn others(&self, count: u32) -> impl Iterator<Item = System> {
        let yardstick = self.bench.yardstick(count);
        self.systems.iter().copied().filter(move |&system| (system, count) != yardstick)
    }

    /// Rounds of which something is told, in all cells together, for one round of each.
    pub(crate) fn told(&self) -> usize {
        let cell = |&count: &u32| (2 * self.others(count).count()).max(1);
        self.sizes.len() * self.bench.counts().iter().map(cell).sum::<usize>()
    }

    fn check(&self) -> Result<()> {
        let Self { bench, systems, sizes } = self;
        if systems.is_empty() || sizes.is_empty() {
            return Err(Error::usage("at least one bench, system, size and round is needed"));
        }
        if let Some(system) = systems.iter().find(|system| !bench.knows().contains(system)) {
            let known: Vec<_> = bench.knows().iter().map(|system| system.word()).collect();
            return Err(Error::usage(format!(
                "the bench `{bench}` does not know the system `{system}`: it knows {}",
                known.join(", ")
            )));
        }
        if let Some(size) = sizes.iter().find(|size| !(8..=1 << 20).contains(*size)) {
            return Err(Error::usage(format!("a message of {size} bytes: 8 to 1048576 can be measured")));
        }
        Ok(())
    }
}

/// What one run measures. [`Plan::full`] takes about two minutes, [`Plan::quick`] about 20 seconds.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The benches, in the order of the output.
    pub tasks: Vec<Task>,
    /// Pairs of a round and its yardstick's round, for each cell.
    pub rounds: usize,
    /// Length of one round: 1 ms to 1 s.
    pub round: Duration,
    /// CPU of the client and of its peer; none: the first two allowed.
    pub cpus: Option<[usize; 2]>,
    /// How the ends of a ring wait.
    pub wait: Wait,
    /// How records lie in the ring.
    pub profile: Profile,
    /// What the producers pay for sleepers.
    pub fence: Fence,
    /// Bytes of a ring, and of the floor's buffer of slots.
    pub capacity: usize,
    /// The arguments with which this program, started again, calls [`peer_main`](crate::peer_main).
    pub peer_args: Vec<String>,
    /// Set from elsewhere, it ends the run between two rounds, with an error and with nothing left behind.
    pub stop: Arc<AtomicBool>,
}

impl Plan {
    /// All sizes.
    pub fn full() -> Self {
        Self {
            tasks: Task::usual(false),
            rounds: 51,
            round: Duration::from_millis(15),
            cpus: None,
            wait: Wait::Spin,
            profile: Profile::Line,
            fence: Fence::Asymmetric,
            capacity: 1 << 20,
            peer_args: vec!["bench-peer".into()],
            stop: Arc::default(),
        }
    }

    /// Three sizes, and fewer and shorter rounds.
    pub fn quick() -> Self {
        Self { tasks: Task::usual(true), rounds: 23, round: Duration::from_millis(10), ..Self::full() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.tasks.is_empty() || self.rounds == 0 {
            return Err(Error::usage("at least one bench, system, size and round is needed"));
        }
        self.tasks.iter().try_for_each(Task::check)?;
        if !(Duration::from_millis(1)..=Duration::from_secs(1)).contains(&self.round) {
            return Err(Error::usage("a round takes 1 ms to 1 s"));
        }
        if self.capacity > 1 << 30 {
            return Err(Error::usage(format!(
                "a ring of {} bytes: at most 1 GiB is measured",
                self.capacity
            )));
        }
        if self.fence == Fence::Spin
            && self.tasks.iter().any(|task| {
                task.systems.iter().any(|system| system.is_annulus())
                    && (self.wait == Wait::Park || task.bench.sleeps())
            })
        {
            return Err(Error::usage(
                "readers of a spin-only ring never sleep: with `--fence spin` leave out the benches `wake`, \
                 `group`, `select` and `async`, and `--wait park`",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_both_ways() {
        for task in Plan::full().tasks {
            assert_eq!(task.bench.word().parse::<Bench>().unwrap(), task.bench);
        }
        let error = "ring".parse::<System>().unwrap_err();
        assert!(error.is_usage());
        assert!(error.to_string().contains("floor, floor-again, annulus, "), "{error}");
        assert_eq!(format!("{:>5}|", Wait::Spin), " spin|");
    }

    #[test]
    fn impossible_plans_are_wrong_use() {
        assert!(Plan::full().check().is_ok() && Plan::quick().check().is_ok());
        let with = |change: fn(&mut Task)| {
            let mut plan = Plan::full();
            change(&mut plan.tasks[1]);
            plan
        };
        let wrong = [
            with(|task| task.sizes = vec![7]),
            with(|task| task.systems = vec![]),
            Plan { rounds: 0, ..Plan::full() },
            Plan { fence: Fence::Spin, ..Plan::full() },
            Plan { capacity: usize::MAX, ..Plan::full() },
        ];
        for plan in wrong {
            assert!(plan.check().unwrap_err().is_usage());
        }
    }

    #[test]
    fn a_bench_says_which_systems_it_knows() {
        let task = Task { bench: Bench::Fanout, systems: vec![System::Pipe], sizes: vec![8] };
        let error = Plan { tasks: vec![task], ..Plan::full() }.check().unwrap_err().to_string();
        assert!(error.contains("`fanout`") && error.contains("`pipe`"), "{error}");
        assert!(error.contains("it knows annulus"), "{error}");
    }
}
