//! How a ring stands, for people and for scripts.

use annulus_core::layout::{Counter, Options, RingState};
use annulus_core::words::NO_CURSOR;
use annulus_os::lock;

use crate::create::attach;
use crate::error::Error;
use crate::life::is_slot_held;
use crate::registry::{LOCK, RingDir, life_name};
use crate::{Align, FenceMode};

/// How a ring stands. Read word by word while others go on: figures of one moment need not fit together.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Bytes of record space.
    pub capacity: u64,
    /// Longest record, in bytes.
    pub max_len: u64,
    /// Where records begin.
    pub align: Align,
    /// Who pays for sleeping readers.
    pub fence: FenceMode,
    /// Whether it stays when its producer ends.
    pub persistent: bool,
    /// Tells two rings of one name apart.
    pub uuid: u128,
    /// Nanoseconds since 1970 by its creator's clock.
    pub created_unix_ns: u64,
    /// `open`, `closed` or `superseded`.
    pub state: &'static str,
    /// Number of the producer, from 1.
    pub epoch: u64,
    /// Whether that producer lives, as the kernel says.
    pub producer_alive: bool,
    /// Its pid in its own namespace, for people.
    pub producer_pid: u32,
    /// Records published.
    pub published: u64,
    /// Bytes of record space used by them in all.
    pub bytes: u64,
    /// Times a sleeping reader was woken.
    pub wakes: u64,
    /// Times the producer found the ring full.
    pub full: u64,
    /// Times the producer slept for room.
    pub sleeps: u64,
    /// Dead subscribers whose places the producer freed.
    pub reaped: u64,
    /// Producers that took over.
    pub takeovers: u64,
    /// Places for subscribers.
    pub max_subscribers: u32,
    /// Who has them.
    pub subscribers: Vec<SubscriberInfo>,
}

/// A subscriber as [`Info`] sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SubscriberInfo {
    /// Its place.
    pub slot: u32,
    /// Whether it lives, as the kernel says. A dead one counts until the producer, blocked by it, or a joiner in
    /// need of a place frees it.
    pub alive: bool,
    /// Its pid in its own namespace, for people.
    pub pid: u32,
    /// Bytes that it has not released.
    pub behind: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
}

impl Info {
    pub(crate) fn read(name: &str, ring: &RingDir) -> Result<Info, Error> {
        let (memory, _, ctl) = attach(name, ring, annulus_os::Access::Read)?;
        let identity = memory.identity();
        let page = &memory.head().producer;
        let tail = page.tail.look();
        let epoch = page.epoch.look();
        let alive = ring.place.open_file(&life_name(epoch), annulus_os::Access::Read);
        let subscribers = memory.slots().iter().enumerate().filter_map(|(i, slot)| {
            let cursor = slot.cursor.look();
            (slot.is_active() && cursor != NO_CURSOR).then(|| SubscriberInfo {
                slot: i as u32,
                alive: is_slot_held(&ctl, i as u32),
                pid: slot.pid.glance(),
                behind: tail.saturating_sub(cursor),
                sleeps: slot.sleeps.glance(),
            })
        });
        let [high, low] = identity.uuid;
        Ok(Info {
            name: name.to_owned(),
            capacity: identity.shape.capacity(),
            max_len: identity.shape.max_len(),
            align: identity.shape.align(),
            fence: identity.fence_mode,
            persistent: identity.options.has(Options::PERSISTENT),
            uuid: u128::from(high) << 64 | u128::from(low),
            created_unix_ns: identity.created_unix_ns,
            state: match RingState::from_word(page.state.look()) {
                Some(RingState::Open) => "open",
                Some(RingState::Closed) => "closed",
                Some(RingState::Superseded) => "superseded",
                _ => "unknown",
            },
            epoch,
            producer_alive: alive.is_ok_and(|file| lock::is_write_locked(&file, LOCK).unwrap_or(false)),
            producer_pid: page.pid.glance(),
            published: page.published.look(),
            bytes: tail,
            wakes: page.counter(Counter::Wakes),
            full: page.counter(Counter::Full),
            sleeps: page.counter(Counter::Sleeps),
            reaped: page.counter(Counter::Reaped),
            takeovers: page.counter(Counter::Takeovers),
            max_subscribers: identity.slots,
            subscribers: subscribers.collect(),
        })
    }
}
