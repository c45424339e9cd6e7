//! The producer's half of the ring: publishing, batches, claims, asking for room, taking over.
//!
//! ```text
//! states of a place:   zero header ──publish──► record ──every cursor past it, licence granted──► writable
//! invariant:           the header word at `tail` is zero whenever a reader can reach it
//! ```
//!
//! One admission check, after which nothing may refuse any more: the next header is zeroed, the payload
//! copied, and the header stored with release. A producer that dies anywhere before has published nothing.

use core::fmt;

use crate::header::{HEADER_BYTES, encode};
pub use crate::history::Damaged;
use crate::history::{Retained, Spot, leave};
use crate::layout::{Counter, RingState};
use crate::memory::{Memory, Shared};
use crate::shape::{CHUNKS, STAMP_BYTES, Shape};
use crate::words::NOWHERE;

/// Why a record was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room until a reader releases some.
    Full(Full),
    /// Longer than any record of this ring may be.
    TooLarge,
    /// Records of this ring begin with their time of publication, and this verb has none.
    NeedsStamp,
}

/// Who is in the way, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Who is furthest behind.
    pub who: Who,
    /// Bytes that it has not released yet.
    pub behind: u64,
    /// Position that every cursor must reach before the record fits.
    pub wanted: u64,
}

/// Whom a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The subscriber in this slot.
    Slot(u32),
    /// The group of this number.
    Group(u32),
}

/// Says it within a sentence.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Slot(slot) => write!(f, "the subscriber in slot {slot}"),
            Who::Group(group) => write!(f, "group {group} of workers"),
        }
    }
}

/// The producer's own state. Nobody else may write these words, so its copies are never stale.
#[derive(Debug)]
pub struct Writer {
    shape: Shape,
    tail: u64,
    sequence: u64,
    licence: u64,
    lease: u64,
    /// The lowest cursor that counted at the last look; it may have moved up since.
    floor: u64,
    /// Payloads shorter than this are admitted without further question: none of them on a ring with stamps.
    short_of: u64,
    /// Whether anybody may join: a ring without slots and groups needs no handshake.
    joinable: bool,
    retained: Retained,
    /// Boundaries within the batch that is being staged, for anchors: at most one in each sixteenth.
    staged: [Spot; CHUNKS as usize + 1],
    staged_count: usize,
}

/// What a look at all cursors found.
#[derive(Clone, Copy)]
struct Floor {
    /// The lowest that counts.
    lowest: u64,
    /// Whose it is.
    who: Who,
    /// How many were passed over.
    given_up: u64,
}

/// Records staged behind the tail, not yet visible. Dropping it leaves nothing.
#[derive(Debug)]
pub struct Batch {
    /// Header of the first record; stored last.
    first: u64,
    /// Where the last record is.
    last: u64,
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
    /// The first producer of a ring whose words are all as new. `position` and `sequence` are where the ring
    /// begins: 0, but for tests near the ends of their ranges; `position` is a multiple of the capacity. It keeps
    /// the newest `retain` records for late joiners where it can.
    pub fn create<M: Memory>(
        shape: Shape,
        shared: &Shared<'_, M>,
        position: u64,
        sequence: u64,
        retain: u64,
    ) -> Writer {
        let page = shared.producer;
        debug_assert!(position.is_multiple_of(shape.capacity()));
        page.lease.preset(position);
        page.licence.preset(position);
        page.published.preset(sequence);
        page.tail.preset(position);
        page.newest.preset(NOWHERE);
        for anchor in &page.anchors {
            anchor.preset(NOWHERE);
        }
        let start = Spot { position, sequence };
        leave(page, &shape, start);
        Writer::at(shape, shared, start, [position, position], Retained::new(retain, start))
    }

    pub(crate) fn at<M: Memory>(
        shape: Shape,
        shared: &Shared<'_, M>,
        tail: Spot,
        [licence, lease]: [u64; 2],
        retained: Retained,
    ) -> Writer {
        Writer {
            shape,
            tail: tail.position,
            sequence: tail.sequence,
            licence,
            lease,
            floor: 0,
            short_of: if shape.prefix() == 0 { shape.max_len() + 1 } else { 0 },
            joinable: !shared.slots.is_empty() || !shared.groups.is_empty(),
            retained,
            staged: [tail; CHUNKS as usize + 1],
            staged_count: 0,
        }
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
        let end = self.admit(shared, self.tail, len, 0)?;
        shared.records.word(end).clear();
        shared.records.write(self.tail + HEADER_BYTES, payload);
        shared.records.word(self.tail).publish(encode(self.sequence, len));
        self.advance(shared, self.tail, end, 1);
        Ok(())
    }

    /// Publishes one record that begins with a word of the ring's own, its time of publication. On rings with
    /// stamps only.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing has changed then.
    pub fn publish_stamped<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        stamp: u64,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        let end = self.put_stamped(shared, self.tail, stamp, payload, 0)?;
        let len = payload.len() as u64 + STAMP_BYTES;
        shared.records.word(self.tail).publish(encode(self.sequence, len));
        self.advance(shared, self.tail, end, 1);
        Ok(())
    }

    /// Stamp and payload of a record at `start`, without its header. Returns where the next one goes.
    fn put_stamped<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        start: u64,
        stamp: u64,
        payload: &[u8],
        nth: u64,
    ) -> Result<u64, Refusal> {
        debug_assert_eq!(self.shape.prefix(), STAMP_BYTES);
        let end = self.room(shared, start, payload.len() as u64 + STAMP_BYTES, nth)?;
        shared.records.word(end).clear();
        shared.records.word(start + HEADER_BYTES).prepare(stamp);
        shared.records.write(start + HEADER_BYTES + STAMP_BYTES, payload);
        Ok(end)
    }

    /// Begins a batch.
    #[inline]
    pub fn batch(&mut self) -> Batch {
        self.staged_count = 0;
        Batch { first: 0, last: self.tail, end: self.tail, count: 0 }
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
        let end = self.admit(shared, batch.end, len, batch.count)?;
        shared.records.word(end).clear();
        shared.records.write(batch.end + HEADER_BYTES, payload);
        self.stack(batch, shared, len, end);
        Ok(())
    }

    /// The same for a record that begins with its time; see [`publish_stamped`](Writer::publish_stamped).
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the batch is as it was, and can be flushed.
    pub fn stage_stamped<M: Memory>(
        &mut self,
        batch: &mut Batch,
        shared: &Shared<'_, M>,
        stamp: u64,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        let end = self.put_stamped(shared, batch.end, stamp, payload, batch.count)?;
        self.stack(batch, shared, payload.len() as u64 + STAMP_BYTES, end);
        Ok(())
    }

    /// Puts a record on top of a batch that is there but for its header.
    #[inline]
    fn stack<M: Memory>(&self, batch: &mut Batch, shared: &Shared<'_, M>, len: u64, end: u64) {
        let header = encode(self.sequence.wrapping_add(batch.count), len);
        if batch.count == 0 {
            // The header at the tail stays zero: the whole batch hides behind it.
            batch.first = header;
        } else {
            shared.records.word(batch.end).prepare(header);
        }
        batch.last = batch.end;
        batch.end = end;
        batch.count += 1;
    }

    /// Makes a batch visible, all of it in one store. Returns how many records that were.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a batch is flushed once")]
    pub fn flush<M: Memory>(&mut self, batch: Batch, shared: &Shared<'_, M>) -> u64 {
        let Batch { first, last, end, count } = batch;
        if count > 0 {
            shared.records.word(self.tail).publish(first);
            self.advance(shared, last, end, count);
            if self.staged_count > 0 {
                self.leave_staged(shared);
            }
        }
        count
    }

    /// Leaves anchors within a batch, now that its records are published.
    #[cold]
    fn leave_staged<M: Memory>(&mut self, shared: &Shared<'_, M>) {
        // What is retained has its boundaries first: one further on in the same sixteenth would take their place.
        let tail = Spot { position: self.tail, sequence: self.sequence };
        self.retained.leave_all(&self.shape, &shared.view(), tail);
        for &spot in &self.staged[..self.staged_count] {
            leave(shared.producer, &self.shape, spot);
        }
        self.staged_count = 0;
    }

    /// Room for a record of up to `len` bytes at the tail.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing has changed then.
    #[inline]
    pub fn claim<M: Memory>(&mut self, shared: &Shared<'_, M>, len: u64) -> Result<Room, Refusal> {
        self.room(shared, self.tail, len.saturating_add(self.shape.prefix()), 0)?;
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
        let start = self.tail + HEADER_BYTES + self.shape.prefix() + offset;
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

    /// Writes the time of publication of the record in the room, on a ring with stamps.
    pub fn stamp<M: Memory>(&mut self, _: &Room, shared: &Shared<'_, M>, stamp: u64) {
        debug_assert_eq!(self.shape.prefix(), STAMP_BYTES);
        shared.records.word(self.tail + HEADER_BYTES).prepare(stamp);
    }

    /// Publishes the first `len` bytes of the room as a record.
    ///
    /// # Panics
    ///
    /// If `len` is more than the room.
    #[inline]
    pub fn commit<M: Memory>(&mut self, room: Room, shared: &Shared<'_, M>, len: u64) {
        assert!(len <= room.len, "a commit of more than was claimed");
        let len = len + self.shape.prefix();
        let end = self.tail + self.shape.need(len);
        shared.records.word(end).clear();
        shared.records.word(self.tail).publish(encode(self.sequence, len));
        self.advance(shared, self.tail, end, 1);
    }

    /// The one admission check: room for a record of `len` bytes at `start`, the `nth` behind the tail, and for the header behind it. Returns
    /// where that is.
    #[inline]
    fn admit<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        start: u64,
        len: u64,
        nth: u64,
    ) -> Result<u64, Refusal> {
        if len >= self.short_of {
            let stamps = self.shape.prefix() > 0 && len <= self.shape.max_user_len();
            return Err(if stamps { Refusal::NeedsStamp } else { Refusal::TooLarge });
        }
        self.fit(shared, start, len, nth)
    }

    /// The same for a length that the prefix is part of.
    fn room<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        start: u64,
        len: u64,
        nth: u64,
    ) -> Result<u64, Refusal> {
        if len > self.shape.max_len() {
            return Err(Refusal::TooLarge);
        }
        self.fit(shared, start, len, nth)
    }

    #[inline]
    fn fit<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        start: u64,
        len: u64,
        nth: u64,
    ) -> Result<u64, Refusal> {
        let end = start + self.shape.need(len);
        if end + HEADER_BYTES > self.licence {
            // Also where it is refused: with what was granted all the same, the producer asks again only far on.
            self.note_staged(Spot { position: start, sequence: self.sequence.wrapping_add(nth) });
            self.extend(shared, end).map_err(Refusal::Full)?;
        }
        Ok(end)
    }

    /// Remembers a boundary within a batch, for an anchor once the batch is published.
    fn note_staged(&mut self, spot: Spot) {
        // One in each sixteenth is enough: those that ask for each record must not use up the places.
        let last = self.staged_count.checked_sub(1).map_or(self.tail, |i| self.staged[i].position);
        let chunk = self.shape.chunk();
        if spot.position / chunk != last / chunk && self.staged_count < self.staged.len() {
            self.staged[self.staged_count] = spot;
            self.staged_count += 1;
        }
    }

    #[inline]
    fn advance<M: Memory>(&mut self, shared: &Shared<'_, M>, newest: u64, end: u64, records: u64) {
        let page = shared.producer;
        self.sequence = self.sequence.wrapping_add(records);
        self.tail = end;
        page.published.publish(self.sequence);
        page.newest.publish(newest);
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
        self.ask(shared, end, 0).map(drop)
    }

    /// Asks for the same room, and gives up the readers that are in the way: what they have not read is lost to
    /// them, as they will find. Returns how many those were. Never [`Full`] but for a batch that fills the ring by
    /// itself.
    ///
    /// # Errors
    ///
    /// [`Full`] then.
    #[cold]
    #[inline(never)]
    pub fn evict<M: Memory>(&mut self, shared: &Shared<'_, M>, end: u64) -> Result<u64, Full> {
        let wanted = (end + HEADER_BYTES).saturating_sub(self.shape.capacity());
        // A batch that fills the ring by itself would gain nothing by it.
        self.ask(shared, end, if wanted <= self.tail { wanted } else { 0 })
    }

    /// Announces a wish, looks who still reads, and grants. Cursors below `given_up` do not count any more; returns
    /// how many those are. Granting past a cursor is all that evicting is: its reader sees the licence.
    fn ask<M: Memory>(&mut self, shared: &Shared<'_, M>, end: u64, given_up: u64) -> Result<u64, Full> {
        let page = shared.producer;
        let capacity = self.shape.capacity();
        let needed = end + HEADER_BYTES;
        // `needed` is at most a capacity past the tail unless a batch has filled the ring by itself.
        let wanted = needed.saturating_sub(capacity);
        let mut reach = self.tail;
        if self.retained.is_wanted() || self.floor < wanted {
            // A cursor only moves up, so a look without an announcement may refuse: then nothing is taken from those who
            // would join further back, nor from what is retained. For the sake of that, not even the last look is
            // believed: somebody may have joined further back since.
            let floor = self.look_around(shared, given_up);
            self.floor = floor.lowest;
            if floor.lowest < wanted {
                return Err(self.full(floor, wanted));
            }
            // Nor is more announced than these cursors grant: nobody joins at a boundary that a wish has passed, and
            // one that is not granted leaves no other in its sixteenth.
            reach = floor.lowest;
        }
        let tail = Spot { position: self.tail, sequence: self.sequence };
        // A chunk past this record, which may be far past the tail if a batch is being staged.
        let want = needed.max(end + self.shape.chunk());
        let want = self.retained.limit(&self.shape, &shared.view(), tail, needed, want);
        let want = want.min(reach + capacity);
        self.retained.leave_all(&self.shape, &shared.view(), tail);
        leave(page, &self.shape, tail);
        if want > self.lease {
            self.lease = want;
            if self.joinable {
                page.lease.announce(want);
            } else {
                page.lease.preset(want);
            }
        }
        let floor = self.look_around(shared, given_up);
        self.floor = floor.lowest;
        let grant = want.min(floor.lowest + capacity);
        if grant > self.licence {
            self.licence = grant;
            page.licence.grant(grant);
            self.retained.leave_again(page, &self.shape, tail, grant);
        }
        if self.licence < needed {
            return Err(self.full(floor, wanted));
        }
        Ok(floor.given_up)
    }

    fn full(&self, floor: Floor, wanted: u64) -> Full {
        Full { who: floor.who, behind: self.tail - floor.lowest, wanted }
    }

    /// The lowest cursor that counts; the tail if none does.
    fn look_around<M: Memory>(&self, shared: &Shared<'_, M>, given_up: u64) -> Floor {
        let mut floor = Floor { lowest: self.tail, who: Who::Slot(0), given_up: 0 };
        let slots = (0..).zip(shared.slots).map(|(i, slot)| (Who::Slot(i), &slot.cursor));
        let groups = (0..).zip(shared.groups).map(|(g, group)| (Who::Group(g), &group.floor));
        for (who, cursor) in slots.chain(groups) {
            let cursor = cursor.look();
            if !self.counts(cursor) {
                continue;
            }
            if cursor < given_up {
                floor.given_up += 1;
            } else if cursor < floor.lowest {
                floor = Floor { lowest: cursor, who, ..floor };
            }
        }
        floor
    }

    /// Whether the producer must wait for a cursor. One above the tail is damage (or free, see [`NO_CURSOR`](crate::words::NO_CURSOR));
    /// one that the licence has passed belongs to a joiner that will look again, or to a reader given up.
    #[inline]
    pub fn counts(&self, cursor: u64) -> bool {
        // In this order: a hostile cursor must not overflow the sum.
        cursor <= self.tail && cursor + self.shape.capacity() >= self.licence
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

#[cfg(test)]
mod tests;
