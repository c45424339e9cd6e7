//! The producer's half of the ring: publishing, batches, claims, asking for room, taking over.
//!
//! ```text
//! states of a place:   zero header ──publish──► record ──every cursor past it, licence granted──► writable
//! invariant:           the header word at `tail` is zero whenever a reader can reach it
//! ```
//!
//! One admission check, after which nothing may refuse any more: the next header is zeroed, the payload
//! copied, and the header stored with release. A producer that dies anywhere before has published nothing.

use crate::header::{HEADER_BYTES, decode, encode};
use crate::layout::{ANCHORS, Counter, ProducerPage, RingState};
use crate::memory::{Memory, Shared};
use crate::shape::Shape;

/// Why a record was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room until a reader releases some.
    Full(Full),
    /// Longer than any record of this ring may be.
    TooLarge,
}

/// Who is in the way, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Slot of the reader that is furthest behind.
    pub slot: u32,
    /// Bytes that it has not released yet.
    pub behind: u64,
    /// Position that every cursor must reach before the record fits.
    pub wanted: u64,
}

/// What the words of a ring that is taken over say that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

/// The producer's own state. Nobody else may write these words, so its copies are never stale.
#[derive(Debug)]
pub struct Writer {
    shape: Shape,
    tail: u64,
    sequence: u64,
    licence: u64,
    lease: u64,
    /// Whether anybody may join: a ring without slots needs no handshake.
    joinable: bool,
}

/// Records staged behind the tail, not yet visible. Dropping it leaves nothing.
#[derive(Debug)]
pub struct Batch {
    /// Header of the first record; stored last.
    first: u64,
    /// Where the next record would go.
    end: u64,
    count: u64,
}

/// Room for one record at the tail, not yet visible. Dropping it leaves nothing.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    len: u64,
}

impl Room {
    /// Bytes of payload that fit.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Writer {
    /// The first producer of a ring whose words are all zero. `position` and `sequence` are where the ring
    /// begins: 0, but for tests near the ends of their ranges; `position` is a multiple of the capacity.
    pub fn create<M: Memory>(shape: Shape, shared: &Shared<'_, M>, position: u64, sequence: u64) -> Writer {
        let page = shared.producer;
        debug_assert!(position.is_multiple_of(shape.capacity()));
        page.lease.preset(position);
        page.licence.preset(position);
        page.published.preset(sequence);
        page.tail.preset(position);
        Writer {
            shape,
            tail: position,
            sequence,
            licence: position,
            lease: position,
            joinable: !shared.slots.is_empty(),
        }
    }

    /// Goes on where a producer that is gone has stopped, at whatever instruction that was. The caller holds
    /// the ring's `owner` lock.
    ///
    /// # Errors
    ///
    /// If the words contradict each other: somebody else than a producer has written them.
    pub fn take_over<M: Memory>(shape: Shape, shared: &Shared<'_, M>) -> Result<Writer, Damaged> {
        let page = shared.producer;
        let start = page.tail.look();
        let published = page.published.look();
        let licence = page.licence.glance();
        let capacity = shape.capacity();
        if !start.is_multiple_of(shape.align().bytes()) || start > u64::MAX - 4 * capacity {
            return Err(Damaged("tail"));
        }
        if licence < start || licence - start > capacity {
            return Err(Damaged("licence"));
        }
        // The words may be behind the records: the header is stored first, then `published`, then `tail`.
        let (mut tail, mut last) = (start, None);
        loop {
            if licence - tail < HEADER_BYTES {
                // Nothing was ever granted here, so the zero behind the last record is missing: only a
                // ring that has no record yet looks like this.
                if tail == start && last.is_none() && start == licence {
                    break;
                }
                return Err(Damaged("record past the licence"));
            }
            let header = shared.records.word(tail).look();
            if header == 0 {
                break;
            }
            let near = last.map_or(published, |sequence: u64| sequence.wrapping_add(1));
            let (sequence, len) = decode(header, near).ok_or(Damaged("header"))?;
            if last.is_some() && sequence != near || len > shape.max_len() {
                return Err(Damaged("header"));
            }
            let need = shape.need(len);
            if licence - tail < need + HEADER_BYTES {
                return Err(Damaged("record past the licence"));
            }
            tail += need;
            last = Some(sequence);
        }
        let sequence = last.map_or(published, |sequence| sequence.wrapping_add(1));
        let lease = page.lease.glance();
        if lease < licence || lease - tail > capacity {
            return Err(Damaged("lease"));
        }
        page.published.publish(sequence);
        page.tail.publish(tail);
        // Announced by a producer that may have died before its fence: announced again, with ours.
        page.lease.announce(lease);
        Ok(Writer { shape, tail, sequence, licence, lease, joinable: !shared.slots.is_empty() })
    }

    /// Where the next record goes.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// The next record's sequence.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Geometry.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Publishes one record.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing has changed then.
    #[inline]
    pub fn publish<M: Memory>(&mut self, shared: &Shared<'_, M>, payload: &[u8]) -> Result<(), Refusal> {
        let len = payload.len() as u64;
        let end = self.admit(shared, self.tail, len)?;
        shared.records.word(end).clear();
        shared.records.write(self.tail + HEADER_BYTES, payload);
        shared.records.word(self.tail).publish(encode(self.sequence, len));
        self.advance(shared, end, 1);
        Ok(())
    }

    /// Begins a batch.
    pub fn batch(&self) -> Batch {
        Batch { first: 0, end: self.tail, count: 0 }
    }

    /// Adds a record to a batch, invisible until [`flush`](Writer::flush).
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the batch is as it was, and can be flushed.
    #[inline]
    pub fn stage<M: Memory>(
        &mut self,
        batch: &mut Batch,
        shared: &Shared<'_, M>,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        let len = payload.len() as u64;
        let end = self.admit(shared, batch.end, len)?;
        shared.records.word(end).clear();
        shared.records.write(batch.end + HEADER_BYTES, payload);
        let header = encode(self.sequence.wrapping_add(batch.count), len);
        if batch.count == 0 {
            // The header at the tail stays zero: the whole batch hides behind it.
            batch.first = header;
        } else {
            shared.records.word(batch.end).prepare(header);
        }
        batch.end = end;
        batch.count += 1;
        Ok(())
    }

    /// Makes a batch visible, all of it in one store. Returns how many records that were.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a batch is flushed once")]
    pub fn flush<M: Memory>(&mut self, batch: Batch, shared: &Shared<'_, M>) -> u64 {
        let Batch { first, end, count } = batch;
        if count > 0 {
            shared.records.word(self.tail).publish(first);
            self.advance(shared, end, count);
        }
        count
    }

    /// Room for a record of up to `len` bytes at the tail.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing has changed then.
    #[inline]
    pub fn claim<M: Memory>(&mut self, shared: &Shared<'_, M>, len: u64) -> Result<Room, Refusal> {
        self.admit(shared, self.tail, len)?;
        Ok(Room { len })
    }

    /// Writes into claimed room, at any offset. `offset + bytes.len()` is at most the room's length.
    ///
    /// # Panics
    ///
    /// If it is more.
    pub fn fill<M: Memory>(&mut self, room: &Room, shared: &Shared<'_, M>, offset: u64, bytes: &[u8]) {
        let len = bytes.len() as u64;
        assert!(offset <= room.len && len <= room.len - offset, "a write past the end of a claim");
        let start = self.tail + HEADER_BYTES + offset;
        // Words are written whole, each in one access: the bytes around a ragged edge are kept.
        let head = bytes.len().min((8 - (offset % 8) as usize) % 8);
        if head > 0 {
            self.merge(shared, start, &bytes[..head]);
        }
        let body = (bytes.len() - head) & !7;
        if body > 0 {
            shared.records.write(start + head as u64, &bytes[head..head + body]);
        }
        if head + body < bytes.len() {
            self.merge(shared, start + (head + body) as u64, &bytes[head + body..]);
        }
    }

    /// Writes bytes that lie within one word. Only the producer writes the word, so reading it back is exact.
    fn merge<M: Memory>(&self, shared: &Shared<'_, M>, position: u64, bytes: &[u8]) {
        let at = (position % 8) as usize;
        let word = shared.records.word(position - at as u64);
        let mut old = word.glance().to_le_bytes();
        old[at..at + bytes.len()].copy_from_slice(bytes);
        word.prepare(u64::from_le_bytes(old));
    }

    /// Publishes the first `len` bytes of the room as a record.
    ///
    /// # Panics
    ///
    /// If `len` is more than the room.
    #[inline]
    pub fn commit<M: Memory>(&mut self, room: Room, shared: &Shared<'_, M>, len: u64) {
        assert!(len <= room.len, "a commit of more than was claimed");
        let end = self.tail + self.shape.need(len);
        shared.records.word(end).clear();
        shared.records.word(self.tail).publish(encode(self.sequence, len));
        self.advance(shared, end, 1);
    }

    /// The one admission check: room for a record of `len` bytes at `start` and for the header behind it. Returns
    /// where that is.
    #[inline]
    fn admit<M: Memory>(&mut self, shared: &Shared<'_, M>, start: u64, len: u64) -> Result<u64, Refusal> {
        if len > self.shape.max_len() {
            return Err(Refusal::TooLarge);
        }
        let end = start + self.shape.need(len);
        if end + HEADER_BYTES > self.licence {
            self.extend(shared, end).map_err(Refusal::Full)?;
        }
        Ok(end)
    }

    #[inline]
    fn advance<M: Memory>(&mut self, shared: &Shared<'_, M>, end: u64, records: u64) {
        let page = shared.producer;
        self.sequence = self.sequence.wrapping_add(records);
        self.tail = end;
        page.published.publish(self.sequence);
        page.tail.publish(end);
        shared.records.fetch_for_writing(end + 64);
    }

    /// Asks for room up to `end` and the header behind it.
    ///
    /// # Errors
    ///
    /// Who is in the way.
    #[cold]
    #[inline(never)]
    pub fn extend<M: Memory>(&mut self, shared: &Shared<'_, M>, end: u64) -> Result<(), Full> {
        let page = shared.producer;
        let capacity = self.shape.capacity();
        let needed = end + HEADER_BYTES;
        // A chunk past this record, which may be far past the tail if a batch is being staged.
        let want = needed.max(end + self.shape.chunk()).min(self.tail + capacity);
        self.anchor(page);
        if want > self.lease {
            self.lease = want;
            if self.joinable {
                page.lease.announce(want);
            } else {
                page.lease.preset(want);
            }
        }
        let (floor, slot) = self.floor(shared);
        let grant = want.min(floor + capacity);
        if grant > self.licence {
            self.licence = grant;
            page.licence.grant(grant);
        }
        if self.licence < needed {
            // `needed` is at most a capacity past the tail unless a batch has filled the ring by itself.
            let wanted = needed.saturating_sub(capacity);
            return Err(Full { slot, behind: self.tail - floor, wanted });
        }
        Ok(())
    }

    /// The lowest cursor that counts, and its slot; the tail if none does.
    fn floor<M: Memory>(&self, shared: &Shared<'_, M>) -> (u64, u32) {
        let mut lowest = (self.tail, 0);
        for (i, slot) in shared.slots.iter().enumerate() {
            let cursor = slot.cursor.look();
            if self.counts(cursor) && cursor < lowest.0 {
                lowest = (cursor, i as u32);
            }
        }
        lowest
    }

    /// Whether the producer must wait for a cursor. One above the tail is damage (or free, see [`NO_CURSOR`](crate::words::NO_CURSOR));
    /// one that the licence has passed belongs to a joiner that will look again, or to a reader given up.
    #[inline]
    pub fn counts(&self, cursor: u64) -> bool {
        // In this order: a hostile cursor must not overflow the sum.
        cursor <= self.tail && cursor + self.shape.capacity() >= self.licence
    }

    /// Leaves a record boundary for readers that join late or lag.
    fn anchor(&self, page: &ProducerPage) {
        let i = (self.tail / self.shape.chunk()) as usize % ANCHORS;
        page.anchors[i].preset(self.tail);
    }

    /// Says that the ring was found full, for people.
    #[cold]
    pub fn note_full<M: Memory>(&self, shared: &Shared<'_, M>) {
        shared.producer.count(Counter::Full, 1);
    }

    /// The clean end. The caller wakes everyone and only then drops its lock.
    pub fn close<M: Memory>(&mut self, shared: &Shared<'_, M>) {
        shared.producer.state.set(RingState::Closed.to_word());
    }
}
