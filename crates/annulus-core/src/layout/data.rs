//! The head of the `data` object: identity page, schema page, producer page. The records follow.

use core::array::from_fn;

use super::identity::IdentityPage;
use crate::words::{Anchor, Epoch, Lease, Licence, Newest, Pad, Plain32, Plain64, Published, State, Tail};

/// Anchors in the table: two laps of sixteenths, so that a chunk's word is not reused within a lap.
pub const ANCHORS: usize = 32;
/// Counters in the table.
pub const COUNTERS: usize = 32;
/// Byte of `data` where the producer page begins.
pub const PRODUCER_PAGE_OFFSET: usize = 8192;
/// Smallest place of the first record, in bytes; a larger page size moves it up to one page.
pub const RECORDS_OFFSET_MIN: u64 = 16384;

/// What the producer counts, off the path of a publication that wakes nobody. Each names its word in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[non_exhaustive]
pub enum Counter {
    /// Times somebody asleep was woken.
    Wakes = 0,
    /// Times the producer found the ring full.
    Full = 1,
    /// Times the producer went to sleep for room.
    Sleeps = 2,
    /// Slots of dead subscribers that the producer freed.
    Reaped = 3,
    /// Subscribers that were given up.
    Evicted = 4,
    /// Producers that took over from a dead one.
    Takeovers = 5,
}

/// The producer's page. Everything here is written by the producer only, and nobody polls it.
#[derive(Debug)]
#[repr(C)]
pub struct ProducerPage {
    /// Announced wish; joiners look.
    pub lease: Lease,
    /// Granted room; observers validate with it. Changes once a chunk.
    pub licence: Licence,
    _pad0: Pad<28>,
    /// End of what is published.
    pub tail: Tail,
    /// Sequence of the record at `tail`.
    pub published: Published,
    /// Position of the newest record.
    pub newest: Newest,
    _pad1: Pad<26>,
    /// Number of the producer, from 1.
    pub epoch: Epoch,
    /// A [`RingState`](super::RingState).
    pub state: State,
    /// A [`FenceMode`](super::FenceMode); fixed at creation.
    pub fence_mode: Plain32,
    /// The producer's pid, for people.
    pub pid: Plain32,
    _reserved0: Plain32,
    /// The producer process's start time in clock ticks since boot, for people.
    pub start_time: Plain64,
    _pad2: Pad<24>,
    /// See [`Counter`].
    pub counters: [Plain64; COUNTERS],
    _pad3: Pad<96>,
    /// Record boundaries, by `position / chunk`; valid while `licence <= anchor + capacity`.
    pub anchors: [Anchor; ANCHORS],
    /// The sequence of the record at each anchor, or that will be there; stored before it.
    pub anchor_sequences: [Plain64; ANCHORS],
    _reserved1: Pad<640>,
}

impl Default for ProducerPage {
    fn default() -> Self {
        ProducerPage {
            lease: Lease::default(),
            licence: Licence::default(),
            _pad0: Pad::default(),
            tail: Tail::default(),
            published: Published::default(),
            newest: Newest::default(),
            _pad1: Pad::default(),
            epoch: Epoch::default(),
            state: State::default(),
            fence_mode: Plain32::default(),
            pid: Plain32::default(),
            _reserved0: Plain32::default(),
            start_time: Plain64::default(),
            _pad2: Pad::default(),
            counters: from_fn(|_| Plain64::default()),
            _pad3: Pad::default(),
            anchors: from_fn(|_| Anchor::default()),
            anchor_sequences: from_fn(|_| Plain64::default()),
            _reserved1: Pad::default(),
        }
    }
}

impl ProducerPage {
    /// Counts, by the producer.
    pub fn count(&self, counter: Counter, n: u64) {
        self.counters[counter as usize].count(n);
    }

    /// A counter as it may be now.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].glance()
    }
}

/// Everything before the records.
#[derive(Debug, Default)]
#[repr(C)]
pub struct DataHead {
    /// Who the ring is: written once by its creator.
    pub identity: IdentityPage,
    /// The producer's words.
    pub producer: ProducerPage,
}

#[cfg(not(loom))]
const _: () = {
    use core::mem::{align_of, offset_of, size_of};
    assert!(size_of::<IdentityPage>() == PRODUCER_PAGE_OFFSET);
    assert!(size_of::<ProducerPage>() == 4096);
    assert!(size_of::<DataHead>() as u64 <= RECORDS_OFFSET_MIN);
    assert!(align_of::<DataHead>() == 8);
    assert!(offset_of!(DataHead, producer) == PRODUCER_PAGE_OFFSET);
    assert!(offset_of!(ProducerPage, lease) == 0);
    assert!(offset_of!(ProducerPage, licence) == 8);
    assert!(offset_of!(ProducerPage, tail) == 128);
    assert!(offset_of!(ProducerPage, published) == 136);
    assert!(offset_of!(ProducerPage, newest) == 144);
    assert!(offset_of!(ProducerPage, epoch) == 256);
    assert!(offset_of!(ProducerPage, state) == 264);
    assert!(offset_of!(ProducerPage, fence_mode) == 268);
    assert!(offset_of!(ProducerPage, pid) == 272);
    assert!(offset_of!(ProducerPage, start_time) == 280);
    assert!(offset_of!(ProducerPage, counters) == 384);
    assert!(offset_of!(ProducerPage, anchors) == 1024);
    assert!(offset_of!(ProducerPage, anchor_sequences) == 1280);
};
