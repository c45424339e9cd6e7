//! The `ctl` object: doorbells, reader slots, group tables.

use core::array::from_fn;

use crate::words::{
    Asleep, Awaited, Bell, Blocked, Cursor, Generation, GroupState, Magic, NO_CURSOR, Pad, Plain32, Plain64,
    Returns, Sleepers,
};

/// First word of `ctl`.
pub const CTL_MAGIC: u64 = u64::from_le_bytes(*b"annulusC");
/// Bytes before the slots.
pub const CTL_HEAD_BYTES: usize = 4096;
/// Bytes of a slot.
pub const SLOT_BYTES: usize = 256;
/// Bytes of a group's head.
pub const GROUP_HEAD_BYTES: usize = 512;
/// Longest name of a group, in bytes.
pub const GROUP_NAME_MAX: usize = 64;
/// Most subscribers a ring may allow.
pub const SLOTS_MAX: u32 = 4096;
/// Most groups: bit 0 of the sleepers is the readers', bit 31 that of those who wait at many doorbells.
pub const GROUPS_MAX: u32 = 30;
/// Words in a group's claim table unless asked otherwise.
pub const CLAIM_WORDS_DEFAULT: u32 = 1024;
/// Most words in a group's claim table.
pub const CLAIM_WORDS_MAX: u32 = 1 << 20;

/// The first page of `ctl`.
#[derive(Debug, Default)]
#[repr(C)]
pub struct CtlHead {
    /// [`CTL_MAGIC`]; written once by the creator.
    pub magic: Magic,
    /// Layout version; written once.
    pub version: Plain32,
    /// Slots; written once; the identity page, which readers cannot write, decides.
    pub slots: Plain32,
    /// The ring's uuid, so that two objects of different rings are never paired; written once.
    pub uuid: [Plain64; 2],
    _pad0: Pad<24>,
    /// Set by sleepers, emptied by the producer; the producer looks after each publication. On one line with
    /// `rings`: who touches one touches the other, and a wake waits for one line less.
    pub sleepers: Sleepers,
    /// The readers' futex word, moved by the producer.
    pub rings: Bell,
    _pad1: Pad<30>,
    /// Set by the producer, cleared by whoever wakes it; readers look after each release. On one line with
    /// `room`, for the same reason.
    pub blocked: Blocked,
    /// The producer's futex word, moved by readers.
    pub room: Bell,
    _pad2: Pad<29>,
    /// A process-shared `sem_t`, for the second wake backend: the producer waits on it for room, readers
    /// post.
    pub room_semaphore: [Plain64; 4],
    /// Set by the producer while it waits on `room_semaphore`, taken by the reader that posts: who touches
    /// one touches the other.
    pub room_asleep: Asleep,
    _pad3: Pad<919>,
}

/// What a slot's state word says. Changed only by whoever holds the slot's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotState {
    /// Nobody's.
    Free,
    /// A subscriber's, or a dead subscriber's that nobody has reaped yet.
    Active,
    /// A subscriber's that has not joined yet.
    Joining,
}

impl SlotState {
    /// As stored.
    pub const fn to_word(self) -> u32 {
        match self {
            SlotState::Free => 0,
            SlotState::Active => 1,
            SlotState::Joining => 2,
        }
    }
}

/// What a slot's owner is, as its kind word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotKind {
    /// Borrows records.
    InPlace,
    /// Copies them.
    Copying,
    /// Works in a group, whose floor is its cursor: its slot has none.
    Worker,
}

impl SlotKind {
    /// As stored.
    pub const fn to_word(self) -> u32 {
        match self {
            SlotKind::InPlace => 0,
            SlotKind::Copying => 1,
            SlotKind::Worker => 2,
        }
    }
}

/// A reader's slot.
#[derive(Debug)]
#[repr(C)]
pub struct Slot {
    /// Alone on its line: the producer reads it once a chunk. Written by the slot's owner.
    pub cursor: Cursor,
    _pad0: Pad<30>,
    /// A [`SlotState`].
    pub state: Plain32,
    /// Raised each time the slot changes hands: the producer's patience is with one owner, not with its slot.
    pub generation: Generation,
    /// A [`SlotKind`]. Written by the owner, as all below.
    pub kind: Plain32,
    /// The worker's group's number and 1; 0: none.
    pub group: Plain32,
    /// For people, never for deciding.
    pub pid: Plain32,
    /// For people.
    pub uid: Plain32,
    /// For people: the process's start time in clock ticks since boot.
    pub start_time: Plain64,
    /// Times the reader went to sleep.
    pub sleeps: Plain64,
    /// Records it was told it lost.
    pub lost: Plain64,
    /// Who left the slot last, and where its cursor was: see [`left_at`]. Written before the generation is raised.
    pub left: Plain64,
    _reserved0: Pad<6>,
    /// A process-shared `sem_t`, for the second wake backend: the owner waits on it, the producer posts.
    pub semaphore: [Plain64; 4],
    /// Set by the owner while it waits on the semaphore, taken by the producer that posts.
    pub asleep: Asleep,
    _reserved1: Pad<3>,
}

impl Default for Slot {
    fn default() -> Self {
        Slot {
            cursor: Cursor::default(),
            _pad0: Pad::default(),
            state: Plain32::default(),
            generation: Generation::default(),
            kind: Plain32::default(),
            group: Plain32::default(),
            pid: Plain32::default(),
            uid: Plain32::default(),
            start_time: Plain64::default(),
            sleeps: Plain64::default(),
            lost: Plain64::default(),
            left: Plain64::default(),
            _reserved0: Pad::default(),
            semaphore: from_fn(|_| Plain64::default()),
            asleep: Asleep::default(),
            _reserved1: Pad::default(),
        }
    }
}

/// What the owner of a generation leaves behind whose cursor is at `position`: the low bits of both in one word, so that who
/// reads it has a pair that belongs together. It comes again after 2^16 owners, at a distance of 2^51 bytes.
pub const fn left_at(generation: u32, position: u64) -> u64 {
    ((generation as u64) << 48) | ((position / 8) & ((1 << 48) - 1))
}

/// Ends an owner's time, before its cursor is freed: says where that was, then raises the generation.
pub(crate) fn leave_behind(cursor: &Cursor, generation: &Generation, left: &Plain64) {
    let position = cursor.last();
    // What is free already is freed by its next owner once more.
    if position != NO_CURSOR {
        left.preset(left_at(generation.glance(), position));
    }
    generation.raise();
}

impl Slot {
    /// Makes the slot its new owner's. The caller holds the slot's lock and stores the cursor afterwards.
    /// Returns the generation.
    pub fn occupy(&self, kind: SlotKind, pid: u32, uid: u32, start_time: u64) -> u32 {
        let generation = self.generation.raise();
        self.kind.preset(kind.to_word());
        self.group.preset(0);
        self.pid.preset(pid);
        self.uid.preset(uid);
        self.start_time.preset(start_time);
        self.sleeps.preset(0);
        self.lost.preset(0);
        // Its semaphore stays as it is: a producer may be posting to it. Left posts are spurious wakes.
        self.asleep.withdraw();
        self.state.preset(SlotState::Joining.to_word());
        generation
    }

    /// Its owner has joined. Before the look whether the producer waits, which may be for this.
    pub fn settle(&self) {
        self.state.preset(SlotState::Active.to_word());
    }

    /// Whether the slot says that it is nobody's.
    pub fn is_free(&self) -> bool {
        self.state.glance() == SlotState::Free.to_word()
    }

    /// Frees the slot: by its owner that leaves, or by its reaper. Either holds the slot's lock.
    pub fn vacate(&self) {
        leave_behind(&self.cursor, &self.generation, &self.left);
        self.cursor.release(NO_CURSOR);
        self.group.preset(0);
        self.state.preset(SlotState::Free.to_word());
    }

    /// Whether the slot says that it is somebody's who has joined.
    pub fn is_active(&self) -> bool {
        self.state.glance() == SlotState::Active.to_word()
    }
}

/// A group's words but for its claim table.
#[derive(Debug, Default)]
#[repr(C)]
pub struct GroupHead {
    /// Counts as a cursor; free: [`NO_CURSOR`]. Moved by workers, and by a blocked producer, past done records.
    pub floor: Cursor,
    _pad0: Pad<30>,
    /// Moved by who gives records back, for the others to look.
    pub returns: Returns,
    /// Set by a worker that waits for a record to be done, taken by who has done one. On one line with `returns`: both are
    /// still while records only come and go.
    pub awaited: Awaited,
    _pad1: Pad<30>,
    /// A [`GroupPhase`]. Changed by whoever holds the group's lock alone, as all below.
    pub state: GroupState,
    /// Raised each time the group begins or ends.
    pub generation: Generation,
    /// Deliveries after which a record is a dead letter; 0: none is.
    pub attempts_max: Plain32,
    _reserved0: Plain32,
    /// The group's name, padded with zeros.
    pub name: [Plain64; GROUP_NAME_MAX / 8],
    /// Which group was here last, and where its floor was: as a slot's.
    pub left: Plain64,
    _reserved1: Pad<42>,
}

/// What a group's state word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupPhase {
    /// Nobody's.
    Free,
    /// Has workers, or had when the last one died.
    Active,
    /// The same; kept without workers.
    Durable,
}

impl GroupPhase {
    /// As stored.
    pub const fn to_word(self) -> u32 {
        match self {
            GroupPhase::Free => 0,
            GroupPhase::Active => 1,
            GroupPhase::Durable => 2,
        }
    }

    /// From the stored word.
    pub const fn from_word(word: u32) -> Option<GroupPhase> {
        match word {
            0 => Some(GroupPhase::Free),
            1 => Some(GroupPhase::Active),
            2 => Some(GroupPhase::Durable),
            _ => None,
        }
    }
}

/// Byte of `ctl` where slot `i` begins.
pub const fn slot_offset(i: u32) -> usize {
    CTL_HEAD_BYTES + i as usize * SLOT_BYTES
}

/// Byte of `ctl` where the group heads begin. At a multiple of their size, so that a page never begins with half a word.
pub const fn group_heads_offset(slots: u32) -> usize {
    slot_offset(slots).next_multiple_of(GROUP_HEAD_BYTES)
}

/// Byte of `ctl` where the claim tables begin.
pub const fn claims_offset(slots: u32, groups: u32) -> usize {
    group_heads_offset(slots) + groups as usize * GROUP_HEAD_BYTES
}

/// Bytes of `ctl` in all, before rounding up to pages.
pub const fn ctl_bytes(slots: u32, groups: u32, claim_words: u32) -> usize {
    claims_offset(slots, groups) + groups as usize * claim_words as usize * 8
}

#[cfg(not(loom))]
const _: () = {
    use core::mem::{align_of, offset_of, size_of};
    assert!(size_of::<CtlHead>() == CTL_HEAD_BYTES);
    assert!(offset_of!(CtlHead, uuid) == 16);
    assert!(offset_of!(CtlHead, sleepers) == 128);
    assert!(offset_of!(CtlHead, rings) == 132);
    assert!(offset_of!(CtlHead, blocked) == 256);
    assert!(offset_of!(CtlHead, room) == 264);
    assert!(offset_of!(CtlHead, room_semaphore) == 384);
    assert!(offset_of!(CtlHead, room_asleep) == 416);
    assert!(size_of::<Slot>() == SLOT_BYTES);
    assert!(offset_of!(Slot, cursor) == 0);
    assert!(offset_of!(Slot, state) == 128);
    assert!(offset_of!(Slot, generation) == 132);
    assert!(offset_of!(Slot, pid) == 144);
    assert!(offset_of!(Slot, start_time) == 152);
    assert!(offset_of!(Slot, sleeps) == 160);
    assert!(offset_of!(Slot, left) == 176);
    assert!(offset_of!(Slot, semaphore) == 208);
    assert!(offset_of!(Slot, asleep) == 240);
    assert!(size_of::<GroupHead>() == GROUP_HEAD_BYTES);
    assert!(offset_of!(GroupHead, returns) == 128);
    assert!(offset_of!(GroupHead, awaited) == 132);
    assert!(offset_of!(GroupHead, state) == 256);
    assert!(offset_of!(GroupHead, name) == 272);
    assert!(offset_of!(GroupHead, left) == 336);
    assert!(align_of::<Slot>() == 8 && align_of::<CtlHead>() == 8 && align_of::<GroupHead>() == 8);
    assert!(
        CTL_HEAD_BYTES.is_multiple_of(128)
            && SLOT_BYTES.is_multiple_of(128)
            && GROUP_HEAD_BYTES.is_multiple_of(128)
    );
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Under its lock, whatever the words of the owner before said.
    #[test]
    fn a_slot_is_free_then_taken_then_active_and_free_again() {
        let slot = Slot::default();
        let says = || (slot.is_free(), slot.is_active());
        assert_eq!(says(), (true, false));
        for kind in [SlotKind::InPlace, SlotKind::Copying] {
            let before = slot.generation.glance();
            let generation = slot.occupy(kind, 1, 2, 3);
            assert_ne!(generation, before, "patience with the owner before is over");
            assert_eq!(slot.generation.glance(), generation);
            assert_eq!(says(), (false, false), "nobody waits for its cursor yet");
            assert_eq!(slot.cursor.look(), NO_CURSOR);
            assert_eq!(slot.kind.glance(), kind.to_word());
            assert_eq!([slot.pid.glance(), slot.uid.glance(), slot.group.glance()], [1, 2, 0]);
            assert_eq!([slot.start_time.glance(), slot.sleeps.glance(), slot.lost.glance()], [3, 0, 0]);
            slot.cursor.join(64);
            slot.settle();
            assert_eq!(says(), (false, true));
            // As its owner dies asleep.
            slot.sleeps.count(5);
            slot.lost.count(7);
            slot.group.preset(1);
            slot.asleep.declare();
            slot.vacate();
            assert_eq!(says(), (true, false));
            assert_eq!(slot.cursor.look(), NO_CURSOR);
            assert_ne!(slot.generation.glance(), generation);
        }
        slot.occupy(SlotKind::InPlace, 1, 2, 3);
        assert!(!slot.asleep.take_again(), "the new owner is awake");
        // What no version of this library stores is neither.
        slot.state.preset(77);
        assert_eq!(says(), (false, false));
    }
}
