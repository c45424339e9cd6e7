//! The shared words and their verbs: the only place, with the files below it, where an ordering is chosen.
//!
//! Each type is one word of shared memory. Its methods are the moves that the protocol allows on it, and each
//! carries the weakest ordering that its loom model accepts on a weak machine. A comment with a tag in brackets,
//! and the word release or acquire, marks the two ends of a happens-before edge; `docs/protocol.md` has a row for each tag.
//!
//! Words of the `data` object are mapped read-only by readers. Rust defines only relaxed loads of at most 8
//! bytes there, so their acquiring verbs are a relaxed load followed by `fence(Acquire)`.

#![allow(clippy::disallowed_types)]

use crate::fault::point;
use crate::sync::{AtomicU32, AtomicU64, FutexWord, Ordering, compiler_fence, fence};

macro_rules! word {
    ($(#[$doc:meta])* $name:ident($atomic:ident, $int:ty) = $start:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[repr(transparent)]
        pub struct $name($atomic);

        impl Default for $name {
            fn default() -> Self {
                $name($atomic::new($start))
            }
        }

        impl $name {
            /// Sets the word while nobody else can reach it: at creation, or by its only writer at takeover.
            pub fn preset(&self, value: $int) {
                point(concat!(stringify!($name), "::preset"));
                self.0.store(value, Ordering::Relaxed);
            }

            /// The word as it may be now; for people, and for the word's own writer. Orders nothing.
            #[inline]
            pub fn glance(&self) -> $int {
                self.0.load(Ordering::Relaxed)
            }
        }
    };
}

mod groups;
mod semaphore;

pub use groups::{Awaited, ClaimWord, GroupState, Returns};
pub use semaphore::Asleep;

word! {
    /// A record's header, or a word of its payload. 0: not published. Written by the producer.
    Header(AtomicU64, u64) = 0
}

impl Header {
    /// Makes the next record's place read as "not published yet". Ordered by the publication that follows.
    #[inline]
    pub fn clear(&self) {
        point("Header::clear");
        self.0.store(0, Ordering::Relaxed);
    }

    /// Writes the header of a later record of a batch, or a word of payload: nobody may reach it yet.
    #[inline]
    pub fn prepare(&self, value: u64) {
        point("Header::prepare");
        self.0.store(value, Ordering::Relaxed);
    }

    /// Publishes the record, everything written to it before, and the zero behind it.
    #[inline]
    pub fn publish(&self, header: u64) {
        point("Header::publish");
        // [publish] release
        self.0.store(header, Ordering::Release);
    }

    /// The header; if it is a record's, its payload and the next header may be read.
    #[inline]
    pub fn look(&self) -> u64 {
        let header = self.0.load(Ordering::Relaxed);
        // [publish] acquire
        fence(Ordering::Acquire);
        header
    }

    /// A word of payload. The caller has looked at the header before.
    #[inline]
    pub fn payload(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

word! {
    /// Position where the next record's header goes. Written by the producer; only grows; a reader's copy may
    /// be stale, and after a crash the word itself may be behind the records.
    Tail(AtomicU64, u64) = 0
}

impl Tail {
    /// Stores the end of what is published, after the records and after `published`.
    #[inline]
    pub fn publish(&self, position: u64) {
        point("Tail::publish");
        // [tail] release
        self.0.store(position, Ordering::Release);
    }

    /// A record boundary. Behind the fence of [`Cursor::join`], the acquire end, the header there is zero or a
    /// record's, and `published` is at least its sequence.
    #[inline]
    pub fn look(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The same for one who does not join: the order of [`look`](Tail::look) and that fence in one.
    #[inline]
    pub fn observe(&self) -> u64 {
        let position = self.0.load(Ordering::Relaxed);
        // [tail] acquire
        fence(Ordering::Acquire);
        position
    }
}

word! {
    /// 64-bit sequence of the record at `tail`. Written by the producer; only grows; stored before `tail`.
    Published(AtomicU64, u64) = 0
}

impl Published {
    /// Stores the next record's sequence, after the records before it.
    #[inline]
    pub fn publish(&self, sequence: u64) {
        point("Published::publish");
        // [published] release
        self.0.store(sequence, Ordering::Release);
    }

    /// How many records are published at least; those headers are visible.
    #[inline]
    pub fn look(&self) -> u64 {
        let sequence = self.0.load(Ordering::Relaxed);
        // [published] acquire
        fence(Ordering::Acquire);
        sequence
    }
}

/// No record has been published yet, or none begins in this stretch.
pub const NOWHERE: u64 = u64::MAX;

word! {
    /// Position of the newest record; [`NOWHERE`] before the first. Written by the producer between `published`
    /// and `tail`; only grows; a reader's copy may be stale.
    Newest(AtomicU64, u64) = NOWHERE
}

impl Newest {
    /// Stores where the record is that was just published.
    #[inline]
    pub fn publish(&self, position: u64) {
        point("Newest::publish");
        // [newest] release
        self.0.store(position, Ordering::Release);
    }

    /// A record's position; its header is visible, and so is a `published` past it.
    #[inline]
    pub fn look(&self) -> u64 {
        let position = self.0.load(Ordering::Relaxed);
        // [newest] acquire
        fence(Ordering::Acquire);
        position
    }
}

word! {
    /// A record boundary, for readers that join late or lag; [`NOWHERE`] in an unused place of the table. Written
    /// by the producer, after its sequence; valid while the licence is at most a capacity past it, and not
    /// replaced before that.
    Anchor(AtomicU64, u64) = NOWHERE
}

impl Anchor {
    /// Leaves a boundary where the header is zero or a record's, after the sequence that belongs to it.
    pub fn publish(&self, position: u64) {
        point("Anchor::publish");
        // [anchor] release
        self.0.store(position, Ordering::Release);
    }

    /// A boundary; its sequence and its header may be read. Both are believed only if the licence, validated
    /// afterwards, has not passed it.
    pub fn look(&self) -> u64 {
        let position = self.0.load(Ordering::Relaxed);
        // [anchor] acquire
        fence(Ordering::Acquire);
        position
    }
}

word! {
    /// Position up to which the producer has announced that it would like to write. Written by the producer;
    /// only grows; at least `licence`. Only joiners look at it.
    Lease(AtomicU64, u64) = 0
}

impl Lease {
    /// Announces a wish, before looking who still reads. The fence makes this and [`Cursor::join`] a Dekker
    /// pair: of a producer and a joiner that move at once, at least one sees the other.
    #[inline]
    pub fn announce(&self, position: u64) {
        point("Lease::announce");
        self.0.store(position, Ordering::Relaxed);
        point("Lease::announce, its fence");
        // [lease] release
        fence(Ordering::SeqCst);
    }

    /// The announced wish. Only meaningful after [`Cursor::join`].
    #[inline]
    pub fn look(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

word! {
    /// Position that the producer never writes at or past. Written by the producer; only grows.
    Licence(AtomicU64, u64) = 0
}

impl Licence {
    /// Grants room, before any byte is written there.
    #[inline]
    pub fn grant(&self, position: u64) {
        point("Licence::grant");
        self.0.store(position, Ordering::Relaxed);
        // [licence] release
        fence(Ordering::Release);
    }

    /// How far the producer may have written, as seen by one who has just read record bytes: if a byte came
    /// from a newer record, the grant that allowed it is seen here.
    #[inline]
    pub fn validate(&self) -> u64 {
        // [licence] acquire
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed)
    }
}

/// A slot whose cursor holds this is free.
pub const NO_CURSOR: u64 = u64::MAX;

word! {
    /// Position of the oldest record a subscriber still needs; [`NO_CURSOR`] in a free slot. Written by the
    /// slot's owner, and by whoever reaps it while holding the slot's lock.
    Cursor(AtomicU64, u64) = NO_CURSOR
}

impl Cursor {
    /// Enters the ring at `position`. The other half of [`Lease::announce`].
    #[inline]
    pub fn join(&self, position: u64) {
        point("Cursor::join");
        // [cursor] release: the producer may see this cursor and never the one of the slot's owner before, whose
        // reads are over, too
        self.0.store(position, Ordering::Release);
        // [lease] acquire
        // [tail] acquire
        fence(Ordering::SeqCst);
    }

    /// Gives back everything below `position`; reads of it are over.
    #[inline]
    pub fn release(&self, position: u64) {
        point("Cursor::release");
        // [cursor] release
        self.0.store(position, Ordering::Release);
    }

    /// Moves a group's floor over records that are done, unless another has moved it.
    pub fn advance(&self, from: u64, to: u64) -> bool {
        point("Cursor::advance");
        // [cursor] release
        self.0.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Where its owner left it, dead or alive, for who frees the slot next. Read and written as it is, in one step: the last
    /// that was stored, and no older one.
    pub fn last(&self) -> u64 {
        point("Cursor::last");
        self.0.fetch_or(0, Ordering::Relaxed)
    }

    /// The producer's look before it overwrites what lies below.
    #[inline]
    pub fn look(&self) -> u64 {
        // [cursor] acquire
        self.0.load(Ordering::Acquire)
    }
}

word! {
    /// `open`, `closed` or `superseded`. Written by the producer, and by a creator that replaces the ring
    /// while it holds the `owner` lock.
    State(AtomicU32, u32) = 0
}

impl State {
    /// Stores the state, after everything published under the one before.
    pub fn set(&self, state: u32) {
        point("State::set");
        // [state] release
        self.0.store(state, Ordering::Release);
    }

    /// The state. If it is an end, a header looked at after this is the last word.
    pub fn look(&self) -> u32 {
        let state = self.0.load(Ordering::Relaxed);
        // [state] acquire
        fence(Ordering::Acquire);
        state
    }
}

word! {
    /// The number of the producer that holds the ring, from 1. Written by the producer when it takes over.
    Epoch(AtomicU64, u64) = 0
}

impl Epoch {
    /// Raised by a new producer. Orders nothing: it only says which life file to ask, and the kernel orders
    /// that.
    pub fn raise(&self, epoch: u64) {
        point("Epoch::raise");
        self.0.store(epoch, Ordering::Relaxed);
    }

    /// The epoch as it may be now; a newer one is found at the next liveness interval at the latest.
    pub fn look(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

word! {
    /// Stored last at creation: whoever sees it sees the identity. Written once.
    Magic(AtomicU64, u64) = 0
}

impl Magic {
    /// Completes an identity. The rename into place orders it for readers by name; the release orders it
    /// for those who were handed the object.
    pub fn complete(&self, magic: u64) {
        point("Magic::complete");
        // [magic] release
        self.0.store(magic, Ordering::Release);
    }

    /// The magic, before the identity is read.
    pub fn look(&self) -> u64 {
        let magic = self.0.load(Ordering::Relaxed);
        // [magic] acquire
        fence(Ordering::Acquire);
        magic
    }
}

word! {
    /// A word written before anybody can look, or read only for people: counters, pids, times.
    Plain64(AtomicU64, u64) = 0
}

word! {
    /// The same in 32 bits.
    Plain32(AtomicU32, u32) = 0
}

impl Plain64 {
    /// Adds to a counter that only one process writes; readers may be stale.
    #[inline]
    pub fn count(&self, n: u64) {
        self.preset(self.glance().wrapping_add(n));
    }
}

word! {
    /// Raised each time a slot changes hands. Written by whoever holds the slot's lock; who holds nothing may be stale.
    Generation(AtomicU32, u32) = 0
}

impl Generation {
    /// Ends an owner's time, after the words that it leaves behind; or begins one, before its cursor is there. Returns the new one.
    pub fn raise(&self) -> u32 {
        let next = self.0.load(Ordering::Relaxed).wrapping_add(1);
        point("Generation::raise");
        // [generation] release
        self.0.store(next, Ordering::Release);
        next
    }

    /// Whose time it is; what the owners before left behind may be read.
    pub fn look(&self) -> u32 {
        // [generation] acquire
        self.0.load(Ordering::Acquire)
    }
}

word! {
    /// Who sleeps: bit 0 readers, bit g group g. Set by sleepers, emptied by the producer that wakes them.
    Sleepers(AtomicU32, u32) = 0
}

impl Sleepers {
    /// Declares a sleeper, after [`Bell::seen`]. The caller's heavy fence follows, and only then its last look.
    ///
    /// A declaration that stands, of whomever, will do, and leaves the line where it is, which the producer looks at
    /// after each record. That it was not taken already is what the bell that was seen before says. Says whether one stood.
    #[inline]
    pub fn declare(&self, bits: u32) -> bool {
        if self.0.load(Ordering::Relaxed) & bits == bits {
            return true;
        }
        point("Sleepers::declare");
        self.0.fetch_or(bits, Ordering::Relaxed);
        false
    }

    /// The producer's look after each publication, behind its light fence.
    #[inline]
    pub fn peek(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes the bits of those to wake. Before the bell's word moves: see [`Bell::move_on`].
    pub fn take(&self) -> u32 {
        point("Sleepers::take");
        self.0.swap(0, Ordering::Relaxed)
    }

    /// Set again by the waker of some of a group, after the wake: others may be asleep, and do not know of it.
    pub fn leave(&self, bits: u32) {
        point("Sleepers::leave");
        self.0.fetch_or(bits, Ordering::Relaxed);
    }
}

word! {
    /// While the producer waits for room: the position that cursors must reach, plus 1; else 0. One word, so
    /// that who sees the wait sees the wish. Set by the producer, cleared by the reader that wakes it.
    Blocked(AtomicU64, u64) = 0
}

impl Blocked {
    /// Declares the producer asleep until cursors reach `wanted`. A full fence follows. Says whether the same
    /// declaration still stood.
    #[inline]
    pub fn declare(&self, wanted: u64) -> bool {
        point("Blocked::declare");
        let word = wanted.saturating_add(1);
        self.0.swap(word, Ordering::Relaxed) == word
    }

    /// A reader's look after each release: the wanted position, if the producer waits.
    #[inline]
    pub fn peek(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Claims the right to wake the producer; `false`: another reader does it, or nobody waits any more.
    pub fn take(&self) -> bool {
        point("Blocked::take");
        self.0.swap(0, Ordering::Relaxed) != 0
    }

    /// Taken back by the producer itself when it is awake again.
    pub fn withdraw(&self) {
        point("Blocked::withdraw");
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Reserved words between those of different writers. Words too, since another process may write them.
#[cfg(not(loom))]
#[derive(Debug)]
#[repr(transparent)]
pub struct Pad<const WORDS: usize>([Plain32; WORDS]);

/// Nothing under loom, where no word has a place.
#[cfg(loom)]
#[derive(Debug)]
pub struct Pad<const WORDS: usize>;

impl<const WORDS: usize> Default for Pad<WORDS> {
    fn default() -> Self {
        #[cfg(not(loom))]
        return Pad(core::array::from_fn(|_| Plain32::default()));
        #[cfg(loom)]
        Pad
    }
}

/// The word that sleepers wait on. Moved by the waker between taking the declarations and the wake.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Bell(FutexWord);

impl Bell {
    /// What the bell says, before the sleeper declares itself.
    #[inline]
    pub fn seen(&self) -> u32 {
        // [bell] acquire: a declaration made, or found standing, after seeing the new value comes after the taking it
        // followed
        self.0.word().load(Ordering::Acquire)
    }

    /// Moves the bell on, after the declarations were taken: a sleeper among them is either on its way to
    /// sleep with the old value, and refused, or asleep, and woken.
    pub fn move_on(&self) {
        point("Bell::move_on");
        // [bell] release
        self.0.word().fetch_add(1, Ordering::Release);
    }

    /// The word itself, for [`Park`](crate::doorbell::Park).
    pub fn futex(&self) -> &FutexWord {
        &self.0
    }
}

/// The full fence between a declaration (asleep, blocked) and the last look, and between a store that
/// could end somebody's sleep and the look at the declarations.
#[inline]
pub fn full_fence() {
    // [asleep] release
    // [asleep] acquire
    fence(Ordering::SeqCst);
}

/// The light half of an asymmetric fence: keeps the compiler from moving the look at the declarations before
/// the publication. The processor is held by the sleeper's heavy half, membarrier(2), where that reaches it.
#[inline]
pub fn light_fence() {
    compiler_fence(Ordering::SeqCst);
}

/// Between accesses to one byte at its two addresses in a mirror: keeps the compiler from exchanging them, for which
/// two addresses are two places. The processor goes by the place itself. Makes no instruction.
#[cfg(not(loom))]
#[inline]
pub(crate) fn mirror_fence() {
    compiler_fence(Ordering::SeqCst);
}
