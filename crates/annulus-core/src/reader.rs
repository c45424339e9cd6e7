//! The in-place subscriber's half of the ring: joining, looking, holding, releasing.
//!
//! ```text
//! free ──join──► joined ──look──► holds records ──release──► cursor moves past the oldest still held
//! ```

use core::cell::Cell;

use crate::header::{HEADER_BYTES, decode, length_if};
use crate::history::Start;
pub use crate::join::JoinFailed;
use crate::join::enter;
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
        let (spot, first) = enter(&shape, shared, &slot.cursor, start)?;
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
        while pins.take(&self.shape, position) {
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

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::header::encode;
    use crate::history::tests::{Ring, beginnings};
    use crate::shape::{Align, STAMP_BYTES};
    use crate::writer::{Refusal, Writer};

    /// A ring of one slot, its producer, and so many records of 16 bytes each.
    fn ring([position, sequence]: [u64; 2], records: u64) -> (Ring, Writer) {
        let mut ring = Ring::new(1024, 1);
        let mut writer = Writer::create(ring.shape, &ring.shared(), position, sequence, 0);
        publish(&mut ring, &mut writer, records);
        (ring, writer)
    }

    fn publish(ring: &mut Ring, writer: &mut Writer, records: u64) {
        for _ in 0..records {
            ring.publish(writer, 8).unwrap();
        }
    }

    fn join(ring: &Ring, start: Start) -> Result<Reader, JoinFailed> {
        Reader::join(ring.shape, &ring.shared(), &ring.slots[0], start)
    }

    /// The bits and the count behind [`Pins`].
    struct PinBits(Vec<Cell<u64>>, Cell<u64>);

    impl PinBits {
        fn new(ring: &Ring) -> PinBits {
            PinBits(std::vec![Cell::new(0); Pins::words(&ring.shape)], Cell::new(0))
        }

        fn release(&self, ring: &Ring, reader: &Reader, held: Held) -> Option<(u64, u64)> {
            reader.release(&ring.shared(), &ring.slots[0], Pins::new(&self.0, &self.1), held)
        }
    }

    fn take(ring: &Ring, reader: &Reader) -> Held {
        match reader.look(&ring.shared()) {
            Look::Record(held) => held,
            other => panic!("{other:?} at {}", reader.sequence()),
        }
    }

    /// Takes the rest; the sequence of each.
    fn take_all(ring: &Ring, reader: &Reader) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            match reader.look(&ring.shared()) {
                Look::Record(held) => all.push(held.sequence),
                Look::Empty => return all,
                Look::Lost => panic!("lost at {}", reader.sequence()),
            }
        }
    }

    #[test]
    fn a_start_in_the_past_takes_the_record_that_was_asked_for() {
        for begin in beginnings(1024) {
            let (ring, _) = ring(begin, 20);
            for first in begin[1]..begin[1] + 20 {
                let reader = join(&ring, Start::Sequence(first)).unwrap();
                assert_eq!((reader.sequence(), reader.held_bytes()), (first, 0));
                assert_eq!(ring.slots[0].cursor.glance(), begin[0] + 16 * (first - begin[1]));
                assert_eq!(take_all(&ring, &reader), (first..begin[1] + 20).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_start_in_the_future_waits_and_holds_nobody_back() {
        for begin in beginnings(1024) {
            let (mut ring, mut writer) = ring(begin, 3);
            let reader = join(&ring, Start::Sequence(begin[1] + 200)).unwrap();
            assert_eq!(reader.sequence(), begin[1] + 200);
            for _ in 3..200 {
                assert_eq!(reader.pass_over(&ring.shared(), &ring.slots[0]), Passed::Some);
                assert!(!reader.is_ready(&ring.shared()));
                assert_eq!(reader.look(&ring.shared()), Look::Empty);
                publish(&mut ring, &mut writer, 1);
                assert!(reader.is_ready(&ring.shared()), "there is something to pass over");
                assert_eq!(reader.look(&ring.shared()), Look::Lost, "not for taking");
            }
            assert_eq!(reader.pass_over(&ring.shared(), &ring.slots[0]), Passed::All);
            assert_eq!(ring.slots[0].cursor.glance(), writer.tail());
            publish(&mut ring, &mut writer, 2);
            assert_eq!(take_all(&ring, &reader), [begin[1] + 200, begin[1] + 201]);
            assert_eq!(reader.pass_over(&ring.shared(), &ring.slots[0]), Passed::Nothing);
        }
    }

    /// As one finds the words whose look at `published` was a while ago: the record has come since, and is not gone.
    #[test]
    fn what_is_published_while_it_joins_is_found_among_the_past() {
        let (mut ring, mut writer) = ring([0, 0], 5);
        let tail = ring.page.tail.glance();
        publish(&mut ring, &mut writer, 1);
        ring.page.tail.preset(tail);
        ring.page.published.preset(2);
        let reader = join(&ring, Start::Sequence(3)).unwrap();
        assert_eq!(take_all(&ring, &reader), [3, 4, 5]);
    }

    #[test]
    fn what_no_producer_writes_is_not_passed_over() {
        for header in [encode(2, 1024), encode(3, 8), encode(1, 8), 8] {
            let (ring, _) = ring([0, 0], 5);
            ring.shared().records.word(32).prepare(header);
            assert_eq!(
                join(&ring, Start::Sequence(3)).err(),
                Some(JoinFailed::Damaged("header")),
                "{header:#x}"
            );
            let reader = join(&ring, Start::Sequence(2)).unwrap();
            assert_eq!(reader.look(&ring.shared()), Look::Lost, "{header:#x}");
        }
    }

    /// A stamp is part of each record of its ring, and of its length.
    #[test]
    fn a_record_too_short_for_its_stamp_is_not_taken() {
        let shape = Shape::new(1024, Align::Packed).and_then(Shape::stamped).unwrap();
        for (len, found) in [
            (0, Look::Lost),
            (STAMP_BYTES - 1, Look::Lost),
            (STAMP_BYTES, Look::Record(Held { position: 0, len: STAMP_BYTES, sequence: 0 })),
        ] {
            let ring = Ring::shaped(shape, 1);
            Writer::create(shape, &ring.shared(), 0, 0, 0);
            let reader = join(&ring, Start::Newest).unwrap();
            ring.shared().records.word(0).prepare(encode(0, len));
            assert_eq!(reader.look(&ring.shared()), found);
        }
    }

    #[test]
    fn records_are_given_back_in_any_order() {
        for begin in beginnings(1024) {
            let (mut ring, mut writer) = ring(begin, 0);
            let reader = join(&ring, Start::Newest).unwrap();
            let pins = PinBits::new(&ring);
            for lap in 0..40 {
                publish(&mut ring, &mut writer, 5);
                let held: [Held; 5] = core::array::from_fn(|_| take(&ring, &reader));
                let at = |i: usize| begin[0] + 80 * lap + 16 * i as u64;
                let cursor = || ring.slots[0].cursor.glance();
                assert_eq!(reader.held_bytes(), 80);
                for i in [1, 3] {
                    assert_eq!(pins.release(&ring, &reader, held[i]), None);
                    assert_eq!((cursor(), reader.held_bytes()), (at(0), 80), "the oldest is still held");
                }
                // Past the second, which was given back before, to the third, which was not.
                assert_eq!(pins.release(&ring, &reader, held[0]), Some((at(0), at(2))));
                assert_eq!((cursor(), reader.held_bytes()), (at(2), 48));
                assert_eq!(pins.release(&ring, &reader, held[4]), None);
                assert_eq!(pins.release(&ring, &reader, held[2]), Some((at(2), at(5))));
                assert_eq!((cursor(), reader.held_bytes()), (at(5), 0));
                assert!(
                    pins.1.get() == 0 && pins.0.iter().all(|bits| bits.get() == 0),
                    "nothing is left marked"
                );
            }
            assert!(!reader.is_damaged());
        }
    }

    /// A held record's header is another's word: a reader steps nowhere by one that has changed, and says so.
    #[test]
    fn a_header_that_changed_under_a_held_record_ends_the_walk() {
        for header in [0, 8, encode(1, 24), encode(1, 1000), encode(1, 8) | 1 << 30] {
            let (mut ring, mut writer) = ring([0, 0], 0);
            let reader = join(&ring, Start::Newest).unwrap();
            let pins = PinBits::new(&ring);
            publish(&mut ring, &mut writer, 2);
            let held: [Held; 2] = core::array::from_fn(|_| take(&ring, &reader));
            assert_eq!(pins.release(&ring, &reader, held[1]), None);
            ring.shared().records.word(16).prepare(header);
            assert_eq!(pins.release(&ring, &reader, held[0]), Some((0, 16)), "{header:#x}");
            assert!(reader.is_damaged(), "{header:#x}");
            assert_eq!(ring.slots[0].cursor.glance(), 16, "not past what was not given back");
        }
    }

    #[test]
    fn a_reader_that_the_licence_has_passed_is_evicted() {
        let (mut ring, mut writer) = ring([0, 0], 0);
        let reader = join(&ring, Start::Newest).unwrap();
        while ring.publish(&mut writer, 8).is_ok() {}
        assert_eq!(ring.page.licence.glance(), 1024);
        assert!(!reader.is_evicted(&ring.shared()), "a producer that keeps to the cursor");
        assert_eq!(writer.evict(&ring.shared(), writer.tail() + 16), Ok(1));
        assert!(reader.is_evicted(&ring.shared()));
    }

    #[test]
    fn a_ring_ends_behind_its_last_record() {
        let (ring, mut writer) = ring([0, 0], 2);
        ring.page.state.set(RingState::Open.to_word());
        let reader = join(&ring, Start::Oldest).unwrap();
        assert_eq!(reader.ended(&ring.shared()), None);
        for (state, end) in [
            (RingState::Closed.to_word(), End::Closed),
            (RingState::Superseded.to_word(), End::Superseded),
            (77, End::Damaged),
        ] {
            writer.close(&ring.shared());
            ring.page.state.set(state);
            let reader = join(&ring, Start::Oldest).unwrap();
            for _ in 0..2 {
                assert!(reader.is_ready(&ring.shared()));
                assert_eq!(reader.ended(&ring.shared()), None, "there are records to take");
                take(&ring, &reader);
            }
            assert!(!reader.is_ready(&ring.shared()));
            assert_eq!(reader.ended(&ring.shared()), Some(end));
        }
    }

    /// Somebody else moved the cursor back; the producer waits for it, and for ever, unless its owner looks.
    #[test]
    fn a_cursor_that_somebody_moved_is_put_right() {
        let (mut ring, mut writer) = ring([0, 0], 0);
        let reader = join(&ring, Start::Newest).unwrap();
        let pins = PinBits::new(&ring);
        for _ in 0..60 {
            publish(&mut ring, &mut writer, 1);
            pins.release(&ring, &reader, take(&ring, &reader));
        }
        assert!(!reader.put_right(&ring.slots[0]));
        ring.slots[0].cursor.preset(0);
        while ring.publish(&mut writer, 8).is_ok() {}
        assert!(matches!(ring.publish(&mut writer, 8), Err(Refusal::Full(_))));
        assert!(reader.put_right(&ring.slots[0]));
        assert_eq!(ring.slots[0].cursor.glance(), 960);
        assert!(!reader.put_right(&ring.slots[0]));
        publish(&mut ring, &mut writer, 1);
    }
}
