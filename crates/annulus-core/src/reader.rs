//! The in-place subscriber's half of the ring: joining, looking, holding, releasing.
//!
//! ```text
//! free ──join──► joined ──look──► holds records ──release──► cursor moves past the oldest still held
//! ```

use core::cell::Cell;

use crate::header::{HEADER_BYTES, decode, length_if};
use crate::layout::{RingState, Slot};
use crate::memory::{Memory, Shared};
use crate::shape::Shape;

/// What a look at the next place found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A record: its payload length. The reader's position has moved past it; its space is held.
    Record(Held),
    /// Nothing yet.
    Empty,
    /// Something that no producer writes there; or the producer went on without this reader.
    Lost,
}

/// A record that a subscriber holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where its header is.
    pub position: u64,
    /// Bytes of payload.
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

/// Why joining did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinFailed(pub &'static str);

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
    /// What the slot's cursor says: the oldest record still held, or `next`.
    cursor: Cell<u64>,
    /// Set when a held record's own header was found changed: the walk past it cannot go on.
    damaged: Cell<bool>,
}

impl Reader {
    /// Tries of the join handshake. Each fails only if the producer announced a whole ring meanwhile.
    const JOIN_TRIES: u32 = 1_000_000;

    /// Joins at the tail, with a slot whose lock the caller holds. Once it has returned, no later record is
    /// missed.
    ///
    /// # Errors
    ///
    /// If the producer's words contradict each other for longer than a producer can take.
    pub fn join<M: Memory>(shape: Shape, shared: &Shared<'_, M>, slot: &Slot) -> Result<Reader, JoinFailed> {
        let page = shared.producer;
        for _ in 0..Self::JOIN_TRIES {
            let tail = page.tail.look();
            if !tail.is_multiple_of(shape.align().bytes()) || tail > u64::MAX - 4 * shape.capacity() {
                return Err(JoinFailed("tail"));
            }
            slot.cursor.join(tail);
            // Either the producer saw the cursor before it granted, or its wish is seen here.
            if page.lease.look() > tail + shape.capacity() {
                crate::sync::relax();
                continue;
            }
            let published = page.published.look();
            let header = shared.records.word(tail).look();
            let sequence = if header == 0 {
                published
            } else {
                decode(header, published).ok_or(JoinFailed("header"))?.0
            };
            return Ok(Reader {
                shape,
                next: Cell::new(tail),
                sequence: Cell::new(sequence),
                cursor: Cell::new(tail),
                damaged: Cell::new(false),
            });
        }
        Err(JoinFailed("lease"))
    }

    /// Position of the next record.
    pub fn position(&self) -> u64 {
        self.next.get()
    }

    /// Sequence of the next record.
    pub fn sequence(&self) -> u64 {
        self.sequence.get()
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
            Some(len) if len <= self.shape.max_len() => {
                self.next.set(position + self.shape.need(len));
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
        let end = match RingState::from_word(shared.producer.state.look()) {
            Some(RingState::Closed) => End::Closed,
            Some(RingState::Superseded) => End::Superseded,
            Some(RingState::Open) => return None,
            None => End::Damaged,
        };
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
        pins: &Pins<'_>,
        held: Held,
    ) -> Option<(u64, u64)> {
        let before = self.cursor.get();
        let end = held.position + self.shape.need(held.len);
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
    fn walk<M: Memory>(&self, shared: &Shared<'_, M>, pins: &Pins<'_>, mut position: u64) -> u64 {
        while position < self.next.get() && pins.take(&self.shape, position) {
            // The header was checked when the record was taken, but it is another's word: checked again.
            let header = shared.records.word(position).look();
            match decode(header, self.sequence.get()) {
                Some((_, len)) if position + self.shape.need(len) <= self.next.get() => {
                    position += self.shape.need(len);
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
        self.next.get() - self.cursor.get()
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
    fn any(&self) -> bool {
        self.count.get() != 0
    }

    fn place(&self, shape: &Shape, position: u64) -> (&Cell<u64>, u64) {
        let i = (position & (shape.capacity() - 1)) / shape.align().bytes();
        (&self.bits[(i / 64) as usize], 1 << (i % 64))
    }

    #[cold]
    #[inline(never)]
    fn mark(&self, shape: &Shape, position: u64) {
        let (word, bit) = self.place(shape, position);
        word.set(word.get() | bit);
        self.count.set(self.count.get() + 1);
    }

    fn take(&self, shape: &Shape, position: u64) -> bool {
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
