//! Words that several commands understand.

use std::path::PathBuf;

use annulus::{Align, Clock, Create, FenceMode, HugePages, Open, Ring, Waiting, Wake};
use clap::{Args, ValueEnum};

/// Which ring.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// The ring: 1 to 200 of A-Z a-z 0-9 . _ -, without a dot at its beginning
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Where rings are.
#[derive(Args, Debug)]
pub(crate) struct At {
    /// The directory of rings [default: $ANNULUS_DIR, or /dev/shm/annulus-UID]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl Named {
    pub(crate) fn open(&self) -> Open {
        let open = Ring::open(&self.name);
        if let Some(dir) = &self.at.dir { open.dir(dir) } else { open }
    }

    pub(crate) fn create(&self) -> Create {
        self.placed(Ring::create(&self.name))
    }

    pub(crate) fn open_or_create(&self) -> Create {
        self.placed(Ring::open_or_create(&self.name))
    }

    fn placed(&self, create: Create) -> Create {
        if let Some(dir) = &self.at.dir { create.dir(dir) } else { create }
    }
}

impl At {
    /// The directory, named or not.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(Ring::default_dir)
    }
}

/// How an end of a ring waits for the other.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Wait {
    /// On the CPU: the fastest, and all of one CPU
    Spin,
    /// On the CPU, giving it away between looks
    Yield,
    /// In the kernel
    Park,
}

impl From<Wait> for Waiting {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Spin => Self::spin(),
            Wait::Yield => Self::yielding(),
            Wait::Park => Self::park(),
        }
    }
}

/// Where records begin.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Place {
    /// On multiples of 64 bytes: fast
    Line,
    /// On multiples of 8 bytes: small
    Packed,
}

impl From<Place> for Align {
    fn from(place: Place) -> Self {
        match place {
            Place::Line => Self::Line,
            Place::Packed => Self::Packed,
        }
    }
}

/// Who pays for readers that sleep.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Fence {
    /// A reader that goes to sleep
    Asymmetric,
    /// The producer, a fence for each publish
    Symmetric,
    /// Nobody: readers never sleep
    Spin,
}

impl From<Fence> for FenceMode {
    fn from(fence: Fence) -> Self {
        match fence {
            Fence::Asymmetric => Self::Asymmetric,
            Fence::Symmetric => Self::Symmetric,
            Fence::Spin => Self::SpinOnly,
        }
    }
}

/// How sleepers are woken.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Bell {
    /// By futex(2)
    Futex,
    /// By semaphores: where futex(2) is not allowed
    Semaphore,
}

impl From<Bell> for Wake {
    fn from(bell: Bell) -> Self {
        match bell {
            Bell::Futex => Self::Futex,
            Bell::Semaphore => Self::Semaphore,
        }
    }
}

/// The clock of records that carry the time.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Stamp {
    /// The processor's counter: the cheapest
    Tsc,
    /// The system's monotonic clock
    Monotonic,
}

impl From<Stamp> for Clock {
    fn from(stamp: Stamp) -> Self {
        match stamp {
            Stamp::Tsc => Self::Tsc,
            Stamp::Monotonic => Self::Monotonic,
        }
    }
}

/// Which pages records lie on.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Huge {
    /// Those of the machine's base size
    Never,
    /// Huge ones that the kernel can find; /sys/kernel/mm/transparent_hugepage/shmem_enabled must allow them
    Transparent,
    /// Huge ones set aside by the system's owner: --dir is on hugetlbfs
    Reserved,
}

impl From<Huge> for HugePages {
    fn from(huge: Huge) -> Self {
        match huge {
            Huge::Never => Self::Never,
            Huge::Transparent => Self::Transparent,
            Huge::Reserved => Self::Reserved,
        }
    }
}
