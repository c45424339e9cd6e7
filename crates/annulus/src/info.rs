//! How a ring stands, for people and for scripts.

use std::time::Duration;

use annulus_core::claim::{Claim, Stage};
use annulus_core::group::Group;
use annulus_core::layout::{Counter, GroupPhase, Options, RingState, Slot, SlotKind};
use annulus_core::words::NO_CURSOR;
use annulus_os::LockFile;

use crate::clock::Timekeeper;
use crate::life::is_slot_held;
use crate::memory::{DataMemory, Memory};
use crate::whereabouts::Whereabouts;
use crate::{Align, Clock, FenceMode, Wake};

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
    /// How sleepers are woken.
    pub wake: Wake,
    /// Whether it stays when its producer ends.
    pub persistent: bool,
    /// Whether it lends no records in place.
    pub no_in_place: bool,
    /// How long the producer waits for slow readers before it gives them up.
    pub evict_after: Option<Duration>,
    /// Newest records that are kept for late joiners where they fit.
    pub retain: u64,
    /// The clock that its records carry the time of.
    pub clock: Option<Clock>,
    /// How often participants look whether others live.
    pub liveness: Duration,
    /// The type of its records; `None`: bytes.
    pub payload: Option<TypeInfo>,
    /// What its creator said the records mean.
    pub schema: Vec<u8>,
    /// Tells two rings of one name apart.
    pub uuid: u128,
    /// Nanoseconds since 1970 by its creator's clock.
    pub created_unix_ns: u64,
    /// `open`, `closed` or `superseded`.
    pub state: &'static str,
    /// Number of the producer, from 1; 0 while there has been none.
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
    /// Times a record, or a batch longer than what was free, had to wait or was refused for want of room.
    pub full: u64,
    /// Times the producer slept for room.
    pub sleeps: u64,
    /// Subscribers that were given up because they were slow.
    pub evicted: u64,
    /// Records that the present subscribers were told they lost; what observers lose nobody knows.
    pub lost: u64,
    /// Dead subscribers whose places the producer freed.
    pub reaped: u64,
    /// Producers that took over.
    pub takeovers: u64,
    /// Places for subscribers.
    pub max_subscribers: u32,
    /// Who has them; empty where this process may not open `ctl`.
    pub subscribers: Vec<SubscriberInfo>,
    /// Places for groups of workers.
    pub max_groups: u32,
    /// The groups there are; empty where this process may not open `ctl`.
    pub groups: Vec<GroupInfo>,
}

/// The type of a ring's records, as [`Info`] shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeInfo {
    /// Its name in its creator's source.
    pub name: String,
    /// Bytes of a value.
    pub size: u64,
    /// Its alignment in bytes.
    pub align: u64,
    /// A hash of its fields.
    pub fingerprint: u64,
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
    /// Whether it copies, or borrows in place.
    pub copying: bool,
    /// Bytes that it has not released.
    pub behind: u64,
    /// Records that it was told it lost.
    pub lost: u64,
    /// Times it went to sleep. A long wait on an asymmetric ring counts twice: its first sleep is short.
    pub sleeps: u64,
}

/// A group of workers as [`Info`] sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its name.
    pub name: String,
    /// Its place, as [`Who::Group`](crate::Who::Group) says it.
    pub number: u32,
    /// Whether it stays without workers.
    pub durable: bool,
    /// Its living workers.
    pub workers: u32,
    /// Bytes from the oldest record that is not acknowledged on.
    pub behind: u64,
    /// Records in the hands of workers.
    pub held: u64,
    /// Records that were given back and wait for the next worker.
    pub returned: u64,
    /// Records that were delivered as often as the group allows.
    pub dead_letters: u64,
    /// How often that is; `None`: without a limit.
    pub attempts: Option<u32>,
}

impl Info {
    pub(crate) fn read(
        name: &str,
        data: &DataMemory,
        seats: Option<(&Memory, &LockFile)>,
        whereabouts: &Whereabouts,
    ) -> Info {
        let identity = data.identity();
        let page = data.view().producer;
        // Side by side, so that a rate of one and a rate of the other are of the same moment.
        let (tail, published) = (page.tail.observe(), page.published.look());
        let epoch = page.epoch.look();
        let subscribers: Vec<SubscriberInfo> =
            seats.iter().flat_map(|(memory, ctl)| who(memory, ctl, tail)).collect();
        let groups: Vec<GroupInfo> =
            seats.iter().flat_map(|(memory, ctl)| groups(memory, ctl, tail)).collect();
        let [high, low] = identity.uuid;
        Info {
            name: name.to_owned(),
            capacity: identity.shape.capacity(),
            max_len: identity.shape.max_user_len(),
            align: identity.shape.align(),
            fence: identity.fence_mode,
            wake: identity.wake,
            persistent: identity.options.has(Options::PERSISTENT),
            no_in_place: identity.options.has(Options::NO_IN_PLACE),
            evict_after: match identity.evict_after_ns {
                0 => None,
                1 => Some(Duration::ZERO),
                nanos => Some(Duration::from_nanos(nanos)),
            },
            retain: identity.retain,
            clock: Timekeeper::of(identity).and_then(|keeper| keeper.clock()),
            liveness: Duration::from_millis(u64::from(identity.liveness_ms)),
            payload: identity.payload.is_typed().then(|| TypeInfo {
                name: data.type_name(),
                size: identity.payload.size,
                align: identity.payload.align,
                fingerprint: identity.payload.fingerprint,
            }),
            schema: data.schema(),
            uuid: u128::from(high) << 64 | u128::from(low),
            created_unix_ns: identity.created_unix_ns,
            state: match RingState::from_word(page.state.look()) {
                Some(RingState::Open) => "open",
                Some(RingState::Closed) => "closed",
                Some(RingState::Superseded) => "superseded",
                _ => "unknown",
            },
            epoch,
            producer_alive: whereabouts.sign_of(epoch).is_alive() == Some(true),
            producer_pid: page.pid.glance(),
            published,
            bytes: tail,
            wakes: page.counter(Counter::Wakes),
            full: page.counter(Counter::Full),
            sleeps: page.counter(Counter::Sleeps),
            evicted: page.counter(Counter::Evicted),
            lost: subscribers.iter().fold(0, |sum, subscriber| sum.saturating_add(subscriber.lost)),
            reaped: page.counter(Counter::Reaped),
            takeovers: page.counter(Counter::Takeovers),
            max_subscribers: identity.slots,
            subscribers,
            max_groups: identity.groups,
            groups,
        }
    }
}

/// Who has a place, as `ctl` says it.
fn who(memory: &Memory, ctl: &LockFile, tail: u64) -> Vec<SubscriberInfo> {
    let subscribers = memory.slots().iter().enumerate().filter_map(|(i, slot)| {
        let cursor = slot.cursor.look();
        (slot.is_active() && cursor != NO_CURSOR).then(|| SubscriberInfo {
            slot: i as u32,
            alive: ctl.file().is_ok_and(|ctl| is_slot_held(ctl, i as u32)),
            pid: slot.pid.glance(),
            copying: slot.kind.glance() == SlotKind::Copying.to_word(),
            behind: tail.saturating_sub(cursor),
            lost: slot.lost.glance(),
            sleeps: slot.sleeps.glance(),
        })
    });
    subscribers.collect()
}

/// The groups, as `ctl` says it.
fn groups(memory: &Memory, ctl: &LockFile, tail: u64) -> Vec<GroupInfo> {
    let lives = |slot: usize| ctl.file().is_ok_and(|ctl| is_slot_held(ctl, slot as u32));
    let shared = memory.shared();
    let is_there = |phase| matches!(phase, Some(GroupPhase::Active | GroupPhase::Durable));
    let there = shared.all_groups().filter(|(_, group)| is_there(group.phase()));
    let groups = there.map(|(number, group)| {
        let works = |slot: &Slot| slot.is_active() && slot.group.glance() == number + 1;
        let slots = memory.slots().iter().enumerate();
        let claims = || group.table.words().filter_map(|word| Claim::from_word(word.look()));
        let count = |stage| claims().filter(|claim| claim.stage == stage).count() as u64;
        GroupInfo {
            name: group_name(group),
            number,
            durable: group.phase() == Some(GroupPhase::Durable),
            workers: slots.filter(|(i, slot)| works(slot) && lives(*i)).count() as u32,
            behind: tail.saturating_sub(group.head.floor.look()),
            held: count(Stage::Claimed),
            returned: count(Stage::Returned),
            dead_letters: count(Stage::Dead),
            attempts: Some(group.head.attempts_max.glance()).filter(|&attempts| attempts > 0),
        }
    });
    groups.collect()
}

/// A group's name. Whatever its bytes are, it is text.
pub(crate) fn group_name(group: Group<'_>) -> String {
    let bytes: Vec<u8> = group.head.name.iter().flat_map(|word| word.glance().to_le_bytes()).collect();
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
