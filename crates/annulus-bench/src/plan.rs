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

impl System {
    /// Whether it is a ring of annulus, however built.
    pub fn is_annulus(self) -> bool {
        use System::{Annulus, AnnulusMonotonic, AnnulusSemaphore, AnnulusTsc};
        matches!(self, Annulus | AnnulusSemaphore | AnnulusTsc | AnnulusMonotonic)
    }
}

/// What one run measures. [`Plan::full`] takes about two minutes, [`Plan::quick`] about 20 seconds.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The benches, in the order of the output.
    pub benches: Vec<Bench>,
    /// The systems, in the order of the output. The floor is measured in any case.
    pub systems: Vec<System>,
    /// Bytes of a message: 8 to 1 MiB.
    pub sizes: Vec<usize>,
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
            benches: vec![Bench::PingPong, Bench::Stream, Bench::Wake],
            systems: vec![System::Floor, System::Annulus, System::Pipe, System::Uds],
            sizes: vec![8, 64, 256, 1024, 4096, 65536],
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
        Self { sizes: vec![8, 64, 4096], rounds: 23, round: Duration::from_millis(10), ..Self::full() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.benches.is_empty() || self.systems.is_empty() || self.sizes.is_empty() || self.rounds == 0 {
            return Err(Error::usage("at least one bench, system, size and round is needed"));
        }
        if let Some(size) = self.sizes.iter().find(|size| !(8..=1 << 20).contains(*size)) {
            return Err(Error::usage(format!("a message of {size} bytes: 8 to 1048576 can be measured")));
        }
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
            && self.systems.iter().any(|system| system.is_annulus())
            && (self.wait == Wait::Park || self.benches.contains(&Bench::Wake))
        {
            return Err(Error::usage(
                "readers of a spin-only ring never sleep: with `--fence spin` leave out the bench `wake` \
                 and `--wait park`",
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
        for bench in Plan::full().benches {
            assert_eq!(bench.word().parse::<Bench>().unwrap(), bench);
        }
        let error = "ring".parse::<System>().unwrap_err();
        assert!(error.is_usage());
        assert!(error.to_string().contains("floor, floor-again, annulus, "), "{error}");
        assert_eq!(format!("{:>5}|", Wait::Spin), " spin|");
    }

    #[test]
    fn impossible_plans_are_wrong_use() {
        assert!(Plan::full().check().is_ok() && Plan::quick().check().is_ok());
        let wrong = [
            Plan { sizes: vec![7], ..Plan::full() },
            Plan { rounds: 0, ..Plan::full() },
            Plan { fence: Fence::Spin, ..Plan::full() },
            Plan { capacity: usize::MAX, ..Plan::full() },
        ];
        for plan in wrong {
            assert!(plan.check().unwrap_err().is_usage());
        }
    }
}
