//! The in-place subscriber's half of the ring: joining, looking, holding, releasing.
//!
//! ```text
//! free ──join──► joined ──look──► holds records ──release──► cursor moves past the oldest still held
//! ```

use core::cell::Cell;

use crate::header::{HEADER_BYTES, decode, length_if};
use crate::history::{Start, Wish};
pub use crate::join::JoinFailed;
use crate::join::join;
use crate::layout::{ProducerPage, RingState, Slot};
use crate::memory::{Memory, Shared};
use crate::shape::Shape;

/// What a look at the next place found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A record: its payload length. The reader's position has moved past it; its space is held.
    Record(Held),
    /// Nothing yet.
    Empty,
    /// Something that no producer writes there; or the producer went on without this reader; or a record before
    /// the first that is wanted, see [`Reader::pass_over`].
    Lost,
}

/// How a reader gets on that begins with a record which is not published yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The next record is wanted.
    All,
    /// Those before it are not all published yet.
    Some,
    /// There is something that no producer writes.
    Lost,
    /// It was not passing over anything.
    Nothing,
}

/// A record that a subscriber holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where its header is.
    pub position: u64,
    /// Bytes of payload, the shape's prefix included.
    pub len: u64,
    /// Its number.
    pub sequence: u64,
}

/// How a ring ends for a reader that has drained it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The producer ended cleanly.
    Closed,
    /// Another ring took the name.
    Superseded,
    /// A word says what no producer writes.
    Damaged,
}

/// How the ring has ended, as its state word says. Whoever is told so looks for a record once more: only if there is
/// none was the last one seen, since it was published before the end.
pub(crate) fn state_end(page: &ProducerPage) -> Option<End> {
    match RingState::from_word(page.state.look()) {
        Some(RingState::Closed) => Some(End::Closed),
        Some(RingState::Superseded) => Some(End::Superseded),
        Some(RingState::Open) => None,
        None => Some(End::Damaged),
    }
}

/// A subscriber's own state.
///
/// Its position and sequence are its own copies; only the cursor is shared, in its slot.
#[derive(Debug)]
pub struct Reader {
    shape: Shape,
    /// Position of the next record to look for.
    next: Cell<u64>,
    /// Its sequence.
    sequence: Cell<u64>,
    /// The first sequence that is wanted, while those before it are passed over.
    first: Cell<u64>,
    /// Payload lengths beyond the prefix that are taken for a record: all that the shape allows, none while
    /// records are passed over. So the path of a record costs nothing for this.
    lengths: Cell<u64>,
    /// What the slot's cursor says: the oldest record still held, or `next`.
    cursor: Cell<u64>,
    /// Set when a held record's own header was found changed: the walk past it cannot go on.
    damaged: Cell<bool>,
}

impl Reader {
    /// Joins at the tail or, if asked, at an older record, with a slot whose lock the caller holds. Once it has
    /// returned, no later record is missed.
    ///
    /// # Errors
    ///
    /// [`JoinFailed`]; the slot's cursor is somewhere, and the caller vacates it.
    pub fn join<M: Memory>(
        shape: Shape,
        shared: &Shared<'_, M>,
        slot: &Slot,
        start: Start,
    ) -> Result<Reader, JoinFailed> {
        let mut published = shared.producer.published.look();
        let (spot, first) = loop {
            let (wish, first) = start.wish(published);
            let spot = join(&shape, shared, slot, wish)?;
            match start {
                // It was still to come, and has been published meanwhile: it is looked for among the past now, once.
                Start::Sequence(n) if spot.sequence > n && wish == Wish::Tail => published = spot.sequence,
                Start::Sequence(n) if spot.sequence > n => {
                    return Err(JoinFailed::Gone { oldest: spot.sequence });
                }
                _ => break (spot, first),
            }
        };
        let reader = Reader {
            shape,
            next: Cell::new(spot.position),
            sequence: Cell::new(spot.sequence),
            first: Cell::new(first),
            lengths: Cell::new(0),
            cursor: Cell::new(spot.position),
            damaged: Cell::new(false),
        };
        match reader.pass_over(shared, slot) {
            Passed::Lost => Err(JoinFailed::Damaged("header")),
            Passed::All | Passed::Some | Passed::Nothing => Ok(reader),
        }
    }

    /// Passes over records before the first that is wanted, which nobody holds, so that the cursor follows.
    #[cold]
    pub fn pass_over<M: Memory>(&self, shared: &Shared<'_, M>, slot: &Slot) -> Passed {
        if self.lengths.get() != 0 {
            return Passed::Nothing;
        }
        while self.sequence.get() < self.first.get() {
            let position = self.next.get();
            let header = shared.records.word(position).look();
            if header == 0 {
                return Passed::Some;
            }
            match length_if(header, self.sequence.get()) {
                Some(len) if self.shape.is_len(len) => {
                    let next = self.behind(position, len);
                    self.next.set(next);
                    self.sequence.set(self.sequence.get().wrapping_add(1));
                    self.cursor.set(next);
                    slot.cursor.release(next);
                }
                _ => return Passed::Lost,
            }
        }
        self.lengths.set(self.shape.max_user_len() + 1);
        Passed::All
    }

    /// Position of the next record.
    pub fn position(&self) -> u64 {
        self.next.get()
    }

    /// Sequence of the next record that is wanted.
    pub fn sequence(&self) -> u64 {
        self.sequence.get().max(self.first.get())
    }

    /// Whether the next record is there, without taking it. The last look before sleep.
    pub fn is_ready<M: Memory>(&self, shared: &Shared<'_, M>) -> bool {
        shared.records.word(self.next.get()).look() != 0
    }

    /// Looks for the next record and takes it if it is there.
    #[inline]
    pub fn look<M: Memory>(&self, shared: &Shared<'_, M>) -> Look {
        let position = self.next.get();
        let header = shared.records.word(position).look();
        if header == 0 {
            return Look::Empty;
        }
        let sequence = self.sequence.get();
        match length_if(header, sequence) {
            // A length short of the prefix wraps around to one that is far too long.
            Some(len) if len.wrapping_sub(self.shape.prefix()) < self.lengths.get() => {
                self.next.set(self.behind(position, len));
                self.sequence.set(sequence.wrapping_add(1));
                Look::Record(Held { position, len, sequence })
            }
            _ => Look::Lost,
        }
    }

    /// Whether the producer has gone on without this reader. Looked at when the ring seems empty.
    pub fn is_evicted<M: Memory>(&self, shared: &Shared<'_, M>) -> bool {
        let licence = shared.producer.licence.validate();
        licence > self.cursor.get().saturating_add(self.shape.capacity())
    }

    /// Whether a held record's header was found changed: its space cannot be given back.
    pub fn is_damaged(&self) -> bool {
        self.damaged.get()
    }

    /// How the ring has ended, if it has and this reader has seen every record of it.
    pub fn ended<M: Memory>(&self, shared: &Shared<'_, M>) -> Option<End> {
        let end = state_end(shared.producer)?;
        // The state first, then the header again: the last record was published before the end.
        (!self.is_ready(shared)).then_some(end)
    }

    /// Gives back a held record, in any order. The cursor moves past the oldest still held; returns the step
    /// it made, from and to, or `None` if an older record is still held.
    #[inline]
    pub fn release<M: Memory>(
        &self,
        shared: &Shared<'_, M>,
        slot: &Slot,
        pins: Pins<'_>,
        held: Held,
    ) -> Option<(u64, u64)> {
        let before = self.cursor.get();
        let end = self.behind(held.position, held.len);
        if held.position != before {
            pins.mark(&self.shape, held.position);
            return None;
        }
        let after = if pins.any() { self.walk(shared, pins, end) } else { end };
        self.cursor.set(after);
        slot.cursor.release(after);
        Some((before, after))
    }

    /// Past the records after `position` that were given back before their turn.
    #[cold]
    #[inline(never)]
    fn walk<M: Memory>(&self, shared: &Shared<'_, M>, pins: Pins<'_>, mut position: u64) -> u64 {
        while position < self.next.get() && pins.take(&self.shape, position) {
            // The header was checked when the record was taken, but it is another's word: checked again.
            let header = shared.records.word(position).look();
            match decode(header, self.sequence.get()) {
                Some((_, len)) if self.behind(position, len) <= self.next.get() => {
                    position = self.behind(position, len);
                }
                _ => {
                    self.damaged.set(true);
                    return position;
                }
            }
        }
        position
    }

    /// Bytes that the cursor is behind the next record.
    pub fn held_bytes(&self) -> u64 {
        self.next.get().wrapping_sub(self.cursor.get())
    }

    /// Where the next record is. It wraps around only where the words say what no producer writes: damaged then.
    #[inline]
    fn behind(&self, position: u64, len: u64) -> u64 {
        position.wrapping_add(self.shape.need(len))
    }

    /// Stores the cursor again where it is not as this reader left it: whoever may write `ctl` can put it back so far
    /// that the producer has no room, and no record would ever come that moves it on. Says whether it was so.
    pub fn put_right(&self, slot: &Slot) -> bool {
        let moved = slot.cursor.look() != self.cursor.get();
        if moved {
            slot.cursor.release(self.cursor.get());
        }
        moved
    }
}

/// Which records were given back before an older one: a bit for each possible beginning in the ring, so that
/// nothing is allocated however many records are held.
#[derive(Debug, Clone, Copy)]
pub struct Pins<'a> {
    bits: &'a [Cell<u64>],
    count: &'a Cell<u64>,
}

impl<'a> Pins<'a> {
    /// Words of bits that a ring of this shape needs.
    pub fn words(shape: &Shape) -> usize {
        (shape.capacity() / shape.align().bytes()).div_ceil(64) as usize
    }

    /// Over zeroed bits, as many as [`words`](Pins::words) says, and a count of 0.
    #[inline]
    pub fn new(bits: &'a [Cell<u64>], count: &'a Cell<u64>) -> Pins<'a> {
        Pins { bits, count }
    }

    #[inline]
    fn any(self) -> bool {
        self.count.get() != 0
    }

    fn place(self, shape: &Shape, position: u64) -> (&'a Cell<u64>, u64) {
        let i = (position & (shape.capacity() - 1)) / shape.align().bytes();
        (&self.bits[(i / 64) as usize], 1 << (i % 64))
    }

    #[cold]
    #[inline(never)]
    fn mark(self, shape: &Shape, position: u64) {
        let (word, bit) = self.place(shape, position);
        word.set(word.get() | bit);
        self.count.set(self.count.get() + 1);
    }

    fn take(self, shape: &Shape, position: u64) -> bool {
        let (word, bit) = self.place(shape, position);
        let marked = word.get() & bit != 0;
        if marked {
            word.set(word.get() & !bit);
            self.count.set(self.count.get() - 1);
        }
        marked
    }
}

/// Bytes from one record's header to its payload.
pub const PAYLOAD_OFFSET: u64 = HEADER_BYTES;
