//! The observer's half of the ring: looking, copying out, believing only what the producer cannot have
//! overwritten, and finding its way again when it was lapped.
//!
//! ```text
//! placed ──look──► record there ──copy, validate──► taken: placed behind it
//!    │                  └──────── licence passed it ──────► lapped ──resume──► placed; the loss is known exactly
//!    └──nothing there, licence not past it──► empty
//! ```
//!
//! An observer stores nothing that others see, so no other process can notice it, and none can be harmed by it. A
//! *copying subscriber* is an observer with a cursor in a slot: the producer waits for it, and if somebody moves
//! that cursor, it loses records and never believes torn ones.

use crate::header::{HEADER_BYTES, decode, length_if};
use crate::history::{Damaged, Resume, Spot, Start, Wish, find, is_boundary, is_far, tail};
use crate::join::{JoinFailed, join};
use crate::layout::Slot;
use crate::memory::{Memory, Shared, View};
use crate::reader::{End, state_end};
use crate::shape::Shape;
use crate::words::NOWHERE;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A record, as far as its header says: nothing of it is believed before it was [taken](Observer::take).
    Record(Seen),
    /// Nothing yet.
    Empty,
    /// The producer has gone on over this reader's place, see [`Observer::resume`].
    Lapped,
    /// Something that no producer writes.
    Damaged,
}

/// A record that a look found. Neither length nor place is more than a hint that is checked for bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    spot: Spot,
    len: u64,
    prefix: u64,
}

impl Seen {
    /// Bytes of the user's payload.
    pub fn len(&self) -> usize {
        (self.len - self.prefix) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == self.prefix
    }
}

/// A record that was copied out, and that the producer had not begun to overwrite by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its number.
    pub sequence: u64,
    /// Its time of publication in the ring's clock; 0 on rings without stamps.
    pub stamp: u64,
}

/// The producer has gone on over the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapped;

/// An observer's own state. None of it is shared.
#[derive(Debug)]
pub struct Observer {
    shape: Shape,
    /// The next record to look for.
    next: Spot,
    /// Set when the producer has gone over `next.position`, of which only the sequence still means something; or
    /// when there is a loss to tell.
    lapped: bool,
    /// Records missed before `next`, where this reader stands already: those of a start with what was gone.
    owed: u64,
    /// The first sequence that is wanted: those before it are passed over, and no loss.
    first: u64,
    /// The last record that was taken.
    last: Option<Spot>,
}

impl Observer {
    /// Begins where it is asked to.
    ///
    /// # Errors
    ///
    /// If the producer's words say what they cannot.
    pub fn start<M: Memory>(shape: Shape, view: &View<'_, M>, start: Start) -> Result<Observer, Damaged> {
        let mut observer = Observer::placed(shape, view, start, |wish| {
            let anchor = match wish {
                Wish::Tail => None,
                wish => find(&shape, view, wish, 0),
            };
            anchor.map_or_else(|| tail(&shape, view), Ok)
        })?;
        // Over those before the first that is wanted, while they are there.
        let _ = observer.look(view);
        Ok(observer)
    }

    /// The same for one with a slot, whose lock the caller holds: the producer waits for it from here on.
    ///
    /// # Errors
    ///
    /// If the producer's words say what they cannot; the slot's cursor is somewhere, and the caller vacates it.
    pub fn join<M: Memory>(
        shape: Shape,
        shared: &Shared<'_, M>,
        slot: &Slot,
        start: Start,
    ) -> Result<Observer, JoinFailed> {
        let view = shared.view();
        let mut observer =
            Observer::placed(shape, &view, start, |wish| join(&shape, shared, &slot.cursor, wish))?;
        let _ = observer.look(&view);
        observer.hold(slot);
        Ok(observer)
    }

    fn placed<M: Memory, E>(
        shape: Shape,
        view: &View<'_, M>,
        start: Start,
        mut place: impl FnMut(Wish) -> Result<Spot, E>,
    ) -> Result<Observer, E> {
        let mut published = view.producer.published.look();
        loop {
            let (wish, first) = start.wish(published);
            let next = place(wish)?;
            let owed = match start {
                Start::Sequence(n) => next.sequence.saturating_sub(n),
                _ => 0,
            };
            if owed == 0 || wish != Wish::Tail {
                return Ok(Observer { shape, next, lapped: owed > 0, owed, first, last: None });
            }
            // It was still to come, and has been published meanwhile: it is looked for among the past now, once.
            published = next.sequence;
        }
    }

    /// Sequence of the next record.
    pub fn sequence(&self) -> u64 {
        self.next.sequence.max(self.first)
    }

    /// Whether the producer has gone on over a position. After reading there: if not, what was read is as it was
    /// published.
    fn is_over<M: Memory>(&self, view: &View<'_, M>, position: u64) -> bool {
        view.producer.licence.validate() > position.saturating_add(self.shape.capacity())
    }

    /// Whether there is something to tell: a record, a loss, damage. The last look before sleep.
    pub fn is_ready<M: Memory>(&self, view: &View<'_, M>) -> bool {
        self.lapped
            || view.records.word(self.next.position).look() != 0
            || self.is_over(view, self.next.position)
    }

    /// How the ring has ended, if it has and this reader has seen every record of it.
    pub fn ended<M: Memory>(&self, view: &View<'_, M>) -> Option<End> {
        let end = state_end(view.producer)?;
        // The state first, then the header again: the last record was published before the end.
        (!self.is_ready(view)).then_some(end)
    }

    /// Looks for the next record.
    #[inline]
    pub fn look<M: Memory>(&mut self, view: &View<'_, M>) -> Sight {
        loop {
            if self.lapped {
                return Sight::Lapped;
            }
            let header = view.records.word(self.next.position).look();
            match length_if(header, self.next.sequence) {
                Some(len) if self.shape.is_len(len) => {
                    if self.next.sequence >= self.first {
                        return Sight::Record(Seen { spot: self.next, len, prefix: self.shape.prefix() });
                    }
                    if self.is_over(view, self.next.position) {
                        self.lapped = true;
                    } else {
                        self.next = self.behind(self.next, len);
                    }
                }
                // Nothing, or what looks like nothing: a lapped reader may be looking at a zero in a payload.
                _ if self.is_over(view, self.next.position) => self.lapped = true,
                _ if header == 0 => return Sight::Empty,
                _ => return Sight::Damaged,
            }
        }
    }

    /// Whether a record that was seen is certainly one: its length can be told.
    pub fn confirm<M: Memory>(&mut self, view: &View<'_, M>, seen: Seen) -> Result<(), Lapped> {
        if self.is_over(view, seen.spot.position) {
            self.lapped |= seen.spot == self.next;
            return Err(Lapped);
        }
        Ok(())
    }

    /// Copies a record that was seen, and moves behind it. `payload` is as long as the record.
    ///
    /// # Errors
    ///
    /// [`Lapped`]: `payload` holds rubbish then, and this reader is where it was.
    #[inline]
    pub fn take<M: Memory>(
        &mut self,
        view: &View<'_, M>,
        seen: Seen,
        payload: &mut [u8],
    ) -> Result<Taken, Lapped> {
        debug_assert_eq!(payload.len(), seen.len());
        let Seen { spot, len, prefix } = seen;
        let body = spot.position.wrapping_add(HEADER_BYTES);
        let stamp = if prefix == 0 { 0 } else { view.records.word(body).payload() };
        view.records.read_racing(body.wrapping_add(prefix), payload);
        self.confirm(view, seen)?;
        self.next = self.behind(spot, len);
        self.last = Some(spot);
        self.lapped = false;
        // The newest passes over what a start with what was gone had missed.
        self.owed = 0;
        Ok(Taken { sequence: spot.sequence, stamp })
    }

    /// Where the next record is. A copying subscriber holds everything from there on.
    pub fn position(&self) -> u64 {
        self.next.position
    }

    /// Stores how far this reader is in its slot: everything before may be overwritten.
    #[inline]
    pub fn hold(&self, slot: &Slot) {
        slot.cursor.release(self.next.position);
    }

    /// Finds a place again after the producer has gone over this reader's. Returns how many records were lost:
    /// a difference of 64-bit sequences.
    ///
    /// # Errors
    ///
    /// If the producer's words say what they cannot.
    pub fn resume<M: Memory>(&mut self, view: &View<'_, M>, resume: Resume) -> Result<u64, Damaged> {
        self.go_on(|shape| {
            let anchor = match resume {
                Resume::Oldest => find(shape, view, Wish::Oldest, 0),
                Resume::Newest => None,
            };
            anchor.map_or_else(|| tail(shape, view), Ok)
        })
    }

    /// The same for a copying subscriber, which joins anew.
    ///
    /// # Errors
    ///
    /// If the producer's words say what they cannot.
    pub fn rejoin<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        slot: &Slot,
        resume: Resume,
    ) -> Result<u64, Damaged> {
        let wish = match resume {
            Resume::Oldest => Wish::Oldest,
            Resume::Newest => Wish::Tail,
        };
        self.go_on(|shape| {
            join(shape, shared, &slot.cursor, wish).map_err(|failed| match failed {
                JoinFailed::Damaged(what) => Damaged(what),
                JoinFailed::Gone { .. } => Damaged("anchor"),
            })
        })
    }

    fn go_on(&mut self, place: impl FnOnce(&Shape) -> Result<Spot, Damaged>) -> Result<u64, Damaged> {
        if self.owed == 0 {
            let spot = place(&self.shape)?;
            // A place that was lapped lies before every boundary that is still valid.
            if spot.sequence < self.next.sequence {
                return Err(Damaged("anchor"));
            }
            self.owed = spot.sequence.saturating_sub(self.sequence());
            self.next = spot;
        }
        self.lapped = false;
        Ok(core::mem::take(&mut self.owed))
    }

    /// The newest record, wherever this reader is, also if it had it before. Taking it moves this reader behind it.
    pub fn newest<M: Memory>(&self, view: &View<'_, M>) -> Sight {
        let page = view.producer;
        // Records passed over by all tries together: no more than fit in a ring.
        let mut steps = self.shape.capacity() / self.shape.align().bytes();
        for attempt in 0..NEWEST_TRIES {
            if attempt > 0 {
                crate::sync::relax();
            }
            let before = page.published.look();
            let position = page.newest.look();
            let published = page.published.look();
            if is_far(before, published) {
                continue;
            }
            let known = match position {
                NOWHERE => None,
                position if !is_boundary(&self.shape, position) => return Sight::Damaged,
                position => {
                    let header = view.records.word(position).look();
                    if self.is_over(view, position) {
                        None
                    } else {
                        let Some((sequence, _)) = decode(header, published) else { return Sight::Damaged };
                        Some(Spot { position, sequence })
                    }
                }
            };
            // The word is stored after the header: what this reader has had may be newer.
            let last = self.last.filter(|last| !self.is_over(view, last.position));
            let known = match (known, last) {
                (Some(known), Some(last)) if last.sequence > known.sequence => Some(last),
                (known, last) => known.or(last),
            };
            let boundary = match known {
                Some(known) => known,
                None => match tail(&self.shape, view) {
                    Ok(tail) => tail,
                    Err(Damaged(_)) => return Sight::Damaged,
                },
            };
            match self.walk(view, boundary, &mut steps) {
                Sight::Lapped => {}
                // It was passed, and none is behind that tail; or, stored before the tail, it has come meanwhile.
                Sight::Empty if page.newest.look() != NOWHERE => {}
                sight => return sight,
            }
        }
        Sight::Lapped
    }

    /// The last of the records that stand one after another from a boundary on.
    fn walk<M: Memory>(&self, view: &View<'_, M>, boundary: Spot, steps: &mut u64) -> Sight {
        let (mut sight, mut next) = (Sight::Empty, boundary);
        // No further than once around: a producer that was so fast meanwhile has passed the boundary.
        while next.position.wrapping_sub(boundary.position) < self.shape.capacity() {
            let header = view.records.word(next.position).look();
            match length_if(header, next.sequence) {
                Some(len) if self.shape.is_len(len) && *steps > 0 => {
                    *steps -= 1;
                    sight = Sight::Record(Seen { spot: next, len, prefix: self.shape.prefix() });
                    next = self.behind(next, len);
                }
                Some(len) if self.shape.is_len(len) => return Sight::Lapped,
                // The boundary, not this place: had its header not been a record's, this place means nothing.
                _ if self.is_over(view, boundary.position) => return Sight::Lapped,
                _ if header == 0 => return sight,
                _ => return Sight::Damaged,
            }
        }
        // Else the headers lead around in a circle, and would at every try.
        if self.is_over(view, boundary.position) { Sight::Lapped } else { Sight::Damaged }
    }

    fn behind(&self, spot: Spot, len: u64) -> Spot {
        // It wraps around only where the words say what no producer writes: found lapped then, or damaged.
        let position = spot.position.wrapping_add(self.shape.need(len));
        Spot { position, sequence: spot.sequence.wrapping_add(1) }
    }
}

/// Tries to see the newest record. Each fails only if the producer went around the ring meanwhile.
#[cfg(not(fuzzing))]
const NEWEST_TRIES: u32 = 1000;
/// Few under a fuzzer, where nobody does.
#[cfg(fuzzing)]
const NEWEST_TRIES: u32 = 20;

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use std::cell::Cell;
    use std::vec::Vec;

    use super::*;
    use crate::header::encode;
    use crate::history::tests::{Ring, Vast, beginnings};
    use crate::layout::RingState;
    use crate::shape::Align;
    use crate::writer::{Full, Refusal, Who, Writer};

    /// Takes the next record; its sequence.
    fn take(ring: &Ring, observer: &mut Observer) -> Option<u64> {
        let Sight::Record(seen) = observer.look(&ring.view()) else { return None };
        let mut payload = std::vec![0; seen.len()];
        let taken = observer.take(&ring.view(), seen, &mut payload).ok()?;
        assert!(payload.iter().all(|&byte| byte == taken.sequence as u8));
        Some(taken.sequence)
    }

    fn ring(slots: usize, [position, sequence]: [u64; 2], records: u64) -> (Ring, Writer) {
        let mut ring = Ring::new(1024, slots);
        let mut writer = Writer::create(ring.shape, &ring.shared(), position, sequence, 0);
        for _ in 0..records {
            ring.publish(&mut writer, 8).unwrap();
        }
        (ring, writer)
    }

    #[test]
    fn losses_are_exact_over_many_laps() {
        for begin in beginnings(1024) {
            for resume in [Resume::Oldest, Resume::Newest] {
                let (mut ring, mut writer) = ring(0, begin, 0);
                let mut observer = Observer::start(ring.shape, &ring.view(), Start::Newest).unwrap();
                let (mut next, mut i) = (begin[1], 0);
                while i < 2000 {
                    // As many as fit, and more.
                    for _ in 0..i % 150 {
                        ring.publish(&mut writer, (i % 48) as usize).unwrap();
                        i += 1;
                    }
                    i += 1;
                    while observer.is_ready(&ring.view()) {
                        if observer.look(&ring.view()) == Sight::Lapped {
                            let oldest = ring.anchors().into_values().next().unwrap_or(writer.sequence());
                            let lost = observer.resume(&ring.view(), resume).unwrap();
                            next += lost;
                            assert!(lost > 0);
                            let to = if resume == Resume::Oldest { oldest } else { writer.sequence() };
                            assert_eq!(next, to);
                        } else if let Some(sequence) = take(&ring, &mut observer) {
                            assert_eq!(sequence, next);
                            next += 1;
                        }
                    }
                    assert_eq!(next, writer.sequence());
                }
            }
        }
    }

    #[test]
    fn what_was_seen_before_a_lap_is_not_taken_after_it() {
        let (mut ring, mut writer) = ring(0, [0, 0], 1);
        let mut observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
        let Sight::Record(seen) = observer.look(&ring.view()) else { panic!() };
        assert_eq!(observer.confirm(&ring.view(), seen), Ok(()));
        for _ in 0..64 {
            ring.publish(&mut writer, 8).unwrap();
        }
        let mut payload = [0; 8];
        assert_eq!(observer.take(&ring.view(), seen, &mut payload), Err(Lapped));
        assert_eq!(observer.confirm(&ring.view(), seen), Err(Lapped));
        assert_eq!(observer.look(&ring.view()), Sight::Lapped);
        assert!(observer.is_ready(&ring.view()), "a loss is something to tell");
        let lost = observer.resume(&ring.view(), Resume::Oldest).unwrap();
        assert_eq!(take(&ring, &mut observer), Some(lost));
    }

    #[test]
    fn a_start_with_what_is_gone_tells_the_loss_once() {
        for begin in beginnings(1024) {
            let (ring, writer) = ring(1, begin, 100);
            let oldest = ring.anchors().into_values().next().unwrap();
            let start = Start::Sequence(begin[1] + 3);
            let mut observer = Observer::start(ring.shape, &ring.view(), start).unwrap();
            assert_eq!(observer.look(&ring.view()), Sight::Lapped);
            assert_eq!(observer.resume(&ring.view(), Resume::Oldest), Ok(oldest - begin[1] - 3));
            assert_eq!(take(&ring, &mut observer), Some(oldest));

            let slot = &ring.slots[0];
            let mut copying = Observer::join(ring.shape, &ring.shared(), slot, start).unwrap();
            assert_eq!(copying.look(&ring.view()), Sight::Lapped);
            // It has joined already: the place is kept.
            let lost = copying.rejoin(&ring.shared(), slot, Resume::Newest);
            assert_eq!(lost, Ok(copying.sequence() - begin[1] - 3));
            assert_eq!(slot.cursor.look(), copying.position());
            assert!(copying.sequence() < writer.sequence());
        }
    }

    #[test]
    fn those_before_the_first_that_is_wanted_are_no_loss() {
        for begin in beginnings(1024) {
            let (mut ring, mut writer) = ring(0, begin, 5);
            let wanted = begin[1] + 200;
            let mut observer = Observer::start(ring.shape, &ring.view(), Start::Sequence(wanted)).unwrap();
            assert_eq!((observer.look(&ring.view()), observer.sequence()), (Sight::Empty, wanted));
            while writer.sequence() < wanted {
                ring.publish(&mut writer, 8).unwrap();
            }
            assert_eq!(observer.look(&ring.view()), Sight::Lapped);
            assert_eq!(observer.resume(&ring.view(), Resume::Oldest), Ok(0));
            assert_eq!((observer.look(&ring.view()), observer.sequence()), (Sight::Empty, wanted));
            ring.publish(&mut writer, 8).unwrap();
            assert_eq!(take(&ring, &mut observer), Some(wanted));
        }
    }

    #[test]
    fn the_newest_record_wherever_one_is() {
        for begin in beginnings(1024) {
            let (mut ring, mut writer) = ring(0, begin, 0);
            let mut observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
            assert_eq!(observer.newest(&ring.view()), Sight::Empty);
            for i in 0..500 {
                ring.publish(&mut writer, (i * 7 % 60) as usize).unwrap();
                // The word may be behind the records: the walk finds the last of them.
                if i % 5 == 1 {
                    ring.page.newest.preset(ring.places[&(writer.sequence() - 2)]);
                }
                let Sight::Record(seen) = observer.newest(&ring.view()) else { panic!("{i}") };
                let mut payload = std::vec![0; seen.len()];
                let taken = observer.take(&ring.view(), seen, &mut payload).unwrap();
                assert_eq!(taken.sequence, writer.sequence() - 1);
                assert_eq!(observer.sequence(), writer.sequence());
                // Again the same, though its own look finds nothing.
                assert_eq!(observer.look(&ring.view()), Sight::Empty);
                assert_eq!(observer.newest(&ring.view()), Sight::Record(seen));
                // A word that is far behind, as while a producer stands still between the two: what was taken is newer.
                ring.page.newest.preset(begin[0]);
                assert_eq!(observer.newest(&ring.view()), Sight::Record(seen));
                ring.page.newest.preset(ring.places[&(writer.sequence() - 1)]);
            }
        }
    }

    /// As while a producer stands still between its stores: the word's record was passed, and so was the last that this
    /// reader took, but the tail leads to the next.
    #[test]
    fn the_newest_record_behind_one_that_was_passed() {
        for begin in beginnings(1024) {
            for taken in [false, true] {
                let (mut ring, mut writer) = ring(0, begin, 1);
                let mut observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
                assert_eq!(taken.then(|| take(&ring, &mut observer)), taken.then_some(Some(begin[1])));
                let tail = writer.tail();
                ring.publish(&mut writer, ring.shape.max_len() as usize).unwrap();
                let newest = ring.page.newest.glance();
                assert_eq!((tail, newest), (ring.places[&(begin[1] + 1)], tail));
                ring.page.newest.preset(begin[0]);
                ring.page.tail.preset(tail);
                let Sight::Record(seen) = observer.newest(&ring.view()) else { panic!("{taken}") };
                assert_eq!(seen.spot, Spot { position: tail, sequence: begin[1] + 1 });
                // And one that was passed with nothing behind it is gone.
                ring.page.newest.preset(newest);
                ring.page.tail.preset(writer.tail());
                writer.claim(&ring.shared(), ring.shape.max_len()).unwrap();
                assert_eq!(observer.newest(&ring.view()), Sight::Lapped);
            }
        }
    }

    /// More is published while it is looked for than 32 bits tell apart.
    #[test]
    fn the_newest_record_however_fast_the_producer_is() {
        for base in [0, (1 << 32) - 3] {
            for more in [1, 2, (1 << 30) + 1, 1 << 31, (1 << 32) - 5, 1 << 32, (1 << 32) + 1, 1 << 35] {
                for load in 0.. {
                    let racing = |more| {
                        let vast = Vast::new(base, 5);
                        let start =
                            Observer::start(vast.shape, &vast.shared().view(), Start::Newest).unwrap();
                        vast.asked.set(0);
                        let raced = vast.racing(more, load, |vast| start.newest(&vast.shared().view()));
                        raced.map(|(sight, asked)| (vast, sight, asked))
                    };
                    // From the first record on it goes through all of them.
                    let asked = racing(0).map(|(_, _, asked)| asked);
                    if asked.is_none_or(|asked| asked > 0 && more > 2) {
                        assert!(load > 2, "as many loads as it takes at least");
                        break;
                    }
                    let Some((vast, sight, _)) = racing(more) else { break };
                    let Sight::Record(seen) = sight else { panic!("{sight:?}: {more} before load {load}") };
                    assert!(vast.is_at(seen.spot), "{more} before load {load}: {seen:?}");
                }
            }
        }
    }

    /// The newest record may be one that was taken before, and the producer may have passed only that.
    #[test]
    fn an_old_record_that_was_passed_is_no_loss() {
        let (mut ring, mut writer) = ring(0, [0, 0], 1);
        let mut observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
        assert_eq!(take(&ring, &mut observer), Some(0));
        let Sight::Record(seen) = observer.newest(&ring.view()) else { panic!() };
        ring.publish(&mut writer, ring.shape.max_len() as usize).unwrap();
        assert_eq!(observer.confirm(&ring.view(), seen), Err(Lapped));
        assert_eq!(observer.take(&ring.view(), seen, &mut [0; 8]), Err(Lapped));
        assert_eq!(take(&ring, &mut observer), Some(1));
    }

    /// What is wanted is gone, and nothing that could be read has come since: the loss is told before the end.
    #[test]
    fn a_loss_with_nothing_behind_it_is_told() {
        for begin in beginnings(1024) {
            let (ring, mut writer) = ring(0, begin, 9);
            ring.page.state.preset(RingState::Open.to_word());
            writer.claim(&ring.shared(), ring.shape.max_len()).unwrap();
            writer.close(&ring.shared());
            let start = Start::Sequence(begin[1] + 2);
            let mut observer = Observer::start(ring.shape, &ring.view(), start).unwrap();
            assert!(observer.is_ready(&ring.view()), "a loss is something to tell");
            assert_eq!(observer.ended(&ring.view()), None);
            assert_eq!(observer.look(&ring.view()), Sight::Lapped);
            assert_eq!(observer.resume(&ring.view(), Resume::Oldest), Ok(7));
            assert_eq!(observer.look(&ring.view()), Sight::Empty);
            assert_eq!(observer.ended(&ring.view()), Some(End::Closed));
        }
    }

    #[test]
    fn damage_is_told_and_not_waited_for() {
        let (ring, _) = ring(0, [0, 0], 3);
        let mut observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
        ring.shared().records.word(0).prepare(7);
        assert_eq!(observer.look(&ring.view()), Sight::Damaged);
        ring.page.newest.preset(4);
        assert_eq!(observer.newest(&ring.view()), Sight::Damaged);
        ring.page.newest.preset(0);
        assert_eq!(observer.newest(&ring.view()), Sight::Damaged);
        // A length that no record of this ring has.
        ring.shared().records.word(0).prepare(encode(0, 1 << 20));
        assert_eq!(observer.look(&ring.view()), Sight::Damaged);
    }

    /// A word that says what no producer writes, wherever the newest record is looked for.
    #[test]
    fn the_newest_of_damaged_words_is_damage() {
        let (ring, _) = ring(0, [0, 0], 3);
        let observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
        // No place of a record, though there is one at the word that it leads to.
        for bad in [4, 9, NOWHERE - 7, u64::MAX - 1023] {
            ring.page.newest.preset(bad);
            assert_eq!(observer.newest(&ring.view()), Sight::Damaged, "{bad}");
        }
        // Behind a record.
        ring.page.newest.preset(0);
        for bad in [7, encode(1 << 30, 8), encode(3, 8) | 1 << 30, encode(3, 1 << 20)] {
            ring.shared().records.word(48).prepare(bad);
            assert_eq!(observer.newest(&ring.view()), Sight::Damaged, "{bad:x}");
        }
    }

    /// Headers that lead on for more than a lap, each with the next sequence: no ring holds so many records.
    #[test]
    fn headers_that_lead_around_are_damage() {
        let (ring, _) = ring(0, [0, 0], 1);
        for i in 0..64 {
            let len = if i == 63 { 16 } else { 8 };
            ring.shared().records.word(16 * i).prepare(encode(i, len));
        }
        // The second lap goes through the words between.
        ring.shared().records.word(8).prepare(encode(64, 8));
        ring.shared().records.word(24).prepare(0);
        let observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
        assert_eq!(observer.newest(&ring.view()), Sight::Damaged);
    }

    /// All tries together take a budget of steps. One that runs out says that the producer was too fast, not that it wrote what
    /// it does not.
    #[test]
    fn a_search_for_the_newest_that_was_too_long_is_no_damage() {
        let (ring, _) = ring(0, [0, 0], 5);
        let observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
        for budget in 0..10 {
            let mut steps = budget;
            let sight = observer.walk(&ring.view(), Spot { position: 0, sequence: 0 }, &mut steps);
            match sight {
                Sight::Record(seen) => assert_eq!((seen.spot.sequence, steps), (4, budget - 5)),
                other => assert!(other == Sight::Lapped && budget < 5 && steps == 0, "{other:?} of {budget}"),
            }
        }
    }

    /// The walk begins at the newer of what the word says and what was taken: who looks for the newest does not go through all
    /// that it missed, nor again through a batch whose producer has stopped before it stored the word.
    #[test]
    fn the_newest_record_is_found_in_a_few_steps() {
        for begin in beginnings(1024) {
            let (mut ring, mut writer) = ring(0, begin, 1);
            let mut observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
            assert_eq!(take(&ring, &mut observer), Some(begin[1]));
            for _ in 0..30 {
                ring.publish(&mut writer, 8).unwrap();
            }
            for stopped in [false, true] {
                if stopped {
                    ring.page.newest.preset(begin[0]);
                }
                // The header of the word's record, that of the newest, and the zero behind.
                let words = Cell::new(0);
                let view = ring.asked(&words, 3).view();
                let Sight::Record(seen) = observer.newest(&view) else { panic!() };
                assert_eq!(seen.spot.sequence, begin[1] + 30);
                observer.take(&ring.view(), seen, &mut [0; 8]).unwrap();
            }
        }
    }

    /// A place with an older sequence than the one that this reader stands before: no producer leaves one, and nobody is
    /// given a record again.
    #[test]
    fn a_lapped_reader_never_goes_back() {
        let (mut ring, mut writer) = ring(0, [0, 0], 20);
        let mut observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
        while take(&ring, &mut observer).is_some() {}
        for _ in 0..100 {
            ring.publish(&mut writer, 8).unwrap();
        }
        assert_eq!(observer.look(&ring.view()), Sight::Lapped);
        for sequence in &ring.page.anchor_sequences {
            sequence.preset(19);
        }
        assert_eq!(observer.resume(&ring.view(), Resume::Oldest), Err(Damaged("anchor")));
        assert_eq!((observer.sequence(), observer.look(&ring.view())), (20, Sight::Lapped));
        assert_eq!(observer.resume(&ring.view(), Resume::Newest), Ok(100));
    }

    #[test]
    fn stamps_are_part_of_the_record() {
        let shape = Shape::new(1024, Align::Packed).unwrap().stamped().unwrap();
        let ring = Ring::shaped(shape, 0);
        let mut writer = Writer::create(shape, &ring.shared(), 0, 0, 0);
        let mut observer = Observer::start(shape, &ring.view(), Start::Newest).unwrap();
        assert_eq!(writer.publish(&ring.shared(), &[1]), Err(Refusal::NeedsStamp));
        for i in 0..200u64 {
            let payload: Vec<u8> = (0..i as usize % 50).map(|k| k as u8).collect();
            writer.publish_stamped(&ring.shared(), 1000 + i, &payload).unwrap();
            let Sight::Record(seen) = observer.look(&ring.view()) else { panic!() };
            assert_eq!((seen.len(), seen.is_empty()), (payload.len(), payload.is_empty()));
            let mut back = std::vec![0; seen.len()];
            let taken = observer.take(&ring.view(), seen, &mut back).unwrap();
            assert_eq!((taken, back), (Taken { sequence: i, stamp: 1000 + i }, payload));
        }
        // A record without room for its stamp is damage, also where it would be the last.
        ring.shared().records.word(observer.position() + 16).prepare(0);
        ring.shared().records.word(observer.position()).prepare(encode(200, 7));
        assert_eq!(observer.look(&ring.view()), Sight::Damaged);
        assert_eq!(observer.newest(&ring.view()), Sight::Damaged);
    }

    #[test]
    fn the_end_is_told_after_the_last_record_and_the_last_loss() {
        let (mut ring, mut writer) = ring(0, [0, 0], 1);
        let mut observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
        ring.page.state.preset(RingState::Open.to_word());
        for _ in 0..100 {
            ring.publish(&mut writer, 0).unwrap();
        }
        for _ in 0..40 {
            ring.publish(&mut writer, 16).unwrap();
        }
        writer.close(&ring.shared());
        assert_eq!(observer.ended(&ring.view()), None);
        let lost = match observer.look(&ring.view()) {
            Sight::Lapped => observer.resume(&ring.view(), Resume::Oldest).unwrap(),
            other => panic!("{other:?}"),
        };
        let mut received = 0;
        while take(&ring, &mut observer).is_some() {
            assert_eq!(observer.ended(&ring.view()).is_some(), observer.sequence() == 141);
            received += 1;
        }
        assert_eq!(received + lost, 141);
        assert_eq!(observer.ended(&ring.view()), Some(End::Closed));
    }

    #[test]
    fn a_payload_of_zeros_is_not_the_end() {
        let ring = Ring::new(1024, 0);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        let mut observer = Observer::start(ring.shape, &ring.view(), Start::Oldest).unwrap();
        // 48 bytes each: the second lap has payload where the first had its first header.
        for _ in 0..30 {
            writer.publish(&ring.shared(), &[0; 40]).unwrap();
        }
        writer.close(&ring.shared());
        assert_eq!(ring.shared().records.word(0).glance(), 0);
        assert!(observer.is_ready(&ring.view()));
        assert_eq!(observer.ended(&ring.view()), None);
        assert_eq!(observer.look(&ring.view()), Sight::Lapped);
    }

    #[test]
    fn a_payload_of_headers_is_not_passed_over() {
        let ring = Ring::new(1024, 0);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        let mut observer = Observer::start(ring.shape, &ring.view(), Start::Sequence(1000)).unwrap();
        // Each word reads like the record that this reader looks for, and leads it to a place that is not lapped.
        let payload: Vec<u8> = [encode(0, 1000); 5].iter().flat_map(|word| word.to_le_bytes()).collect();
        for _ in 0..22 {
            writer.publish(&ring.shared(), &payload).unwrap();
        }
        assert_eq!(observer.look(&ring.view()), Sight::Lapped);
    }

    #[test]
    fn a_moved_cursor_costs_records_and_nothing_else() {
        for begin in beginnings(1024) {
            let (mut ring, mut writer) = ring(1, begin, 0);
            let mut copying =
                Observer::join(ring.shape, &ring.shared(), &ring.slots[0], Start::Newest).unwrap();
            let mut next = begin[1];
            for i in 0..300 {
                let tail = writer.tail();
                // Nowhere, everywhere, beside a record, far ahead: none of it holds the producer back.
                for cursor in [u64::MAX, u64::MAX - 1, tail + 1, tail + 8, 1 << 40, begin[0].wrapping_sub(8)]
                {
                    ring.slots[0].cursor.preset(cursor);
                    if cursor > tail {
                        ring.publish(&mut writer, 8).unwrap();
                    }
                }
                if i % 3 > 0 {
                    continue;
                }
                if copying.look(&ring.view()) == Sight::Lapped {
                    next += copying.rejoin(&ring.shared(), &ring.slots[0], Resume::Oldest).unwrap();
                    assert_eq!(ring.slots[0].cursor.look(), copying.position());
                }
                while let Some(sequence) = take(&ring, &mut copying) {
                    assert_eq!(sequence, next);
                    next += 1;
                    copying.hold(&ring.slots[0]);
                }
                assert_eq!(next, writer.sequence());
            }
        }
    }

    #[test]
    fn eviction_gives_up_only_those_in_the_way() {
        let (mut ring, mut writer) = ring(3, [0, 0], 0);
        let mut readers: Vec<Observer> = Vec::new();
        for i in 0..2 {
            let slot = &ring.slots[i];
            readers.push(Observer::join(ring.shape, &ring.shared(), slot, Start::Newest).unwrap());
            // The second joins half a lap later.
            for _ in 0..32 * (1 - i) {
                ring.publish(&mut writer, 8).unwrap();
            }
        }
        let refused = loop {
            if let Err(refused) = ring.publish(&mut writer, 8) {
                break refused;
            }
        };
        assert!(matches!(refused, Refusal::Full(Full { who: Who::Slot(0), .. })));
        let end = writer.tail() + 16;
        assert_eq!(writer.evict(&ring.shared(), end), Ok(1));
        assert_eq!(writer.evict(&ring.shared(), end), Ok(0), "once");
        ring.publish(&mut writer, 8).unwrap();
        assert_eq!(readers[0].look(&ring.view()), Sight::Lapped);
        assert_eq!(take(&ring, &mut readers[1]), Some(32));
        let lost = readers[0].rejoin(&ring.shared(), &ring.slots[0], Resume::Oldest).unwrap();
        assert_eq!(take(&ring, &mut readers[0]), Some(lost));
        // It counts again.
        let refused = loop {
            if let Err(refused) = ring.publish(&mut writer, 8) {
                break refused;
            }
        };
        assert!(matches!(refused, Refusal::Full(_)));
        assert_eq!(writer.evict(&ring.shared(), writer.tail() + 1016), Ok(2));
    }

    /// It cannot get room whoever goes.
    #[test]
    fn a_batch_that_fills_the_ring_by_itself_evicts_nobody() {
        let (mut ring, mut writer) = ring(1, [0, 0], 0);
        let mut reader = Observer::join(ring.shape, &ring.shared(), &ring.slots[0], Start::Newest).unwrap();
        ring.publish(&mut writer, 8).unwrap();
        let mut batch = writer.batch();
        let mut end = writer.tail();
        while writer.stage(&mut batch, &ring.shared(), &[0; 8]).is_ok() {
            end += 16;
        }
        let end = end + ring.shape.need(1000);
        assert!(matches!(writer.evict(&ring.shared(), end), Err(Full { who: Who::Slot(0), .. })));
        assert_eq!(take(&ring, &mut reader), Some(0));
    }
}
