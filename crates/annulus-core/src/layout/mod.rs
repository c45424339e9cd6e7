//! Where every word lives. Drawn in `docs/layout.md`, asserted here.
//!
//! A ring is two shared objects: **data**, written by the producer only, and **ctl**, written by subscribers
//! and the producer. All words are little-endian. Words of different writers are 128 bytes apart, because
//! processors fetch lines in pairs.

use core::fmt;

mod ctl;
mod data;
mod identity;

pub(crate) use ctl::leave_behind;
pub use ctl::{
    CLAIM_WORDS_DEFAULT, CLAIM_WORDS_MAX, CTL_HEAD_BYTES, CTL_MAGIC, CtlHead, GROUP_HEAD_BYTES,
    GROUP_NAME_MAX, GROUPS_MAX, GroupHead, GroupPhase, SLOT_BYTES, SLOTS_MAX, Slot, SlotKind, SlotState,
    claims_offset, ctl_bytes, group_heads_offset, left_at, slot_offset,
};
pub use data::{
    ANCHORS, COUNTERS, Counter, DataHead, PRODUCER_PAGE_OFFSET, ProducerPage, RECORDS_OFFSET_MIN,
};
pub use identity::{
    Identity, IdentityError, IdentityPage, Options, SCHEMA_MAX, TYPE_NAME_MAX, TypeIdentity, Uuid,
};

/// Version of this layout. A number of its own: it changes when a byte moves, not with releases.
pub const LAYOUT_VERSION: u32 = 3;

/// Where the open-file-description locks of `ctl` are: bytes of the file, whether or not it is that long.
pub mod lock_byte {
    /// On rings without a directory, the lock that keeps producers apart (named rings use the file `owner`).
    pub const OWNER: u64 = 0;
    /// Of `data`, on rings without a directory: the lock that tells readers that the producer lives (named rings use the
    /// files `life.<epoch>`).
    pub const LIFE: u64 = 1;
    /// On rings with a directory, held by whoever is about to remove it from under readers that may come just now.
    pub const LEAVING: u64 = 2;
    /// Held while somebody looks for a group by its name, and makes it if there is none: two make one group.
    pub const FORMING: u64 = 511;
    /// The lock of slot `i` is at `SLOTS + i`.
    pub const SLOTS: u64 = 1024;
    /// The lock of group `g` is at `GROUPS + g`: each worker holds it shared; who holds it alone has found no worker.
    pub const GROUPS: u64 = 512;
}

/// Which fence a sleeper of this ring must use. Fixed at creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FenceMode {
    /// The producer pays a compiler fence; who goes to sleep pays membarrier(2), and a short first sleep, since that can leave
    /// the producer out.
    Asymmetric,
    /// Both pay a full fence.
    Symmetric,
    /// Nobody may sleep, so nobody pays: readers and producer poll.
    SpinOnly,
}

impl FenceMode {
    /// As stored.
    pub const fn to_word(self) -> u32 {
        match self {
            FenceMode::Asymmetric => 1,
            FenceMode::Symmetric => 2,
            FenceMode::SpinOnly => 3,
        }
    }

    /// From the stored word.
    pub const fn from_word(word: u32) -> Option<FenceMode> {
        match word {
            1 => Some(FenceMode::Asymmetric),
            2 => Some(FenceMode::Symmetric),
            3 => Some(FenceMode::SpinOnly),
            _ => None,
        }
    }
}

impl fmt::Display for FenceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FenceMode::Asymmetric => "asymmetric",
            FenceMode::Symmetric => "symmetric",
            FenceMode::SpinOnly => "spin",
        })
    }
}

/// How sleepers of a ring are woken. Fixed at creation, and the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WakeBackend {
    /// A futex word for readers and one for the producer: futex(2).
    Futex,
    /// A process-shared POSIX semaphore in each slot and one for the producer: sem_overview(7). For systems without
    /// futexes. The C library trusts what lies in a semaphore: whoever may write the ring's `ctl` can make it abort a
    /// process that sleeps or wakes. So it is for processes that may end each other anyway.
    Semaphore,
}

impl WakeBackend {
    /// As stored.
    pub const fn to_word(self) -> u32 {
        match self {
            WakeBackend::Futex => 0,
            WakeBackend::Semaphore => 1,
        }
    }

    /// From the stored word.
    pub const fn from_word(word: u32) -> Option<WakeBackend> {
        match word {
            0 => Some(WakeBackend::Futex),
            1 => Some(WakeBackend::Semaphore),
            _ => None,
        }
    }
}

impl fmt::Display for WakeBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            WakeBackend::Futex => "futex",
            WakeBackend::Semaphore => "semaphore",
        })
    }
}

/// The life of a ring, as its state word says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RingState {
    /// A producer holds the ring, or held it until it died.
    Open,
    /// The producer ended cleanly.
    Closed,
    /// Another ring of the same name took its place.
    Superseded,
}

impl RingState {
    /// As stored.
    pub const fn to_word(self) -> u32 {
        match self {
            RingState::Open => 1,
            RingState::Closed => 2,
            RingState::Superseded => 3,
        }
    }

    /// From the stored word.
    pub const fn from_word(word: u32) -> Option<RingState> {
        match word {
            1 => Some(RingState::Open),
            2 => Some(RingState::Closed),
            3 => Some(RingState::Superseded),
            _ => None,
        }
    }
}
