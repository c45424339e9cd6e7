//! Joining: a reader enters the ring at a boundary, and from then on the producer waits for it.
//!
//! ```text
//! choose a boundary ──► cursor = boundary, full fence ──► lease passed it by a capacity? ──no──► joined
//!          ▲                                                        │ yes
//!          └────────────────────────────────────────────────────────┘
//! ```
//!
//! Race: the producer announces a wish while a reader joins. Either the producer sees the cursor before it
//! grants, or the joiner sees the announcement and chooses a newer boundary. On a ring that evicts, the producer may
//! go on over a cursor that it has seen: so the licence is validated once more after the last look at the boundary.

use crate::history::{Damaged, Spot, Start, TRIES, Wish, find, is_boundary, sequence_at};
use crate::memory::{Memory, Shared};
use crate::shape::{CHUNKS, Shape};
use crate::words::Cursor;

/// Why joining did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinFailed {
    /// The producer's words contradict each other for longer than a producer can take, or say what cannot be.
    Damaged(&'static str),
    /// The record to start with is gone.
    Gone {
        /// The oldest that could be started with.
        oldest: u64,
    },
}

/// Joins where a start says, with a cursor that the caller alone may store. Returns the boundary, and the first sequence that is wanted.
pub(crate) fn enter<M: Memory>(
    shape: &Shape,
    shared: &Shared<'_, M>,
    cursor: &Cursor,
    start: Start,
) -> Result<(Spot, u64), JoinFailed> {
    let mut published = shared.producer.published.look();
    loop {
        let (wish, first) = start.wish(published);
        let spot = join(shape, shared, cursor, wish)?;
        match start {
            // It was still to come, and has been published meanwhile: it is looked for among the past now, once.
            Start::Sequence(n) if spot.sequence > n && wish == Wish::Tail => published = spot.sequence,
            Start::Sequence(n) if spot.sequence > n => {
                return Err(JoinFailed::Gone { oldest: spot.sequence });
            }
            _ => return Ok((spot, first)),
        }
    }
}

/// Joins at a boundary, with a cursor that the caller alone may store. Once it has returned, nothing from there on is
/// overwritten before the cursor moves.
pub(crate) fn join<M: Memory>(
    shape: &Shape,
    shared: &Shared<'_, M>,
    cursor: &Cursor,
    wish: Wish,
) -> Result<Spot, JoinFailed> {
    let (view, page) = (shared.view(), shared.producer);
    let mut passed = 0;
    for attempt in 0..TRIES {
        let before = page.published.look();
        let anchor = match wish {
            Wish::Tail => None,
            wish => find(shape, &view, wish, passed),
        };
        let position = anchor.map_or_else(|| page.tail.look(), |spot| spot.position);
        if !is_boundary(shape, position) {
            return Err(JoinFailed::Damaged("tail"));
        }
        cursor.join(position);
        // Either the producer saw the cursor before it granted, or its wish is seen here.
        let lease = page.lease.look();
        if lease > position + shape.capacity() {
            // What was too old a moment ago still is: each try keeps clear of the producer by more.
            passed = lease.saturating_add(attempt.min(CHUNKS - 1) * shape.chunk());
            crate::sync::relax();
            continue;
        }
        let sequence = anchor.map(|spot| Ok(spot.sequence)).or_else(|| sequence_at(&view, position, before));
        // Given up already, or somebody else moved the cursor: what was read there means nothing.
        if page.licence.validate() > position + shape.capacity() {
            crate::sync::relax();
            continue;
        }
        match sequence {
            Some(Ok(sequence)) => return Ok(Spot { position, sequence }),
            Some(Err(Damaged(what))) => return Err(JoinFailed::Damaged(what)),
            // So much was published meanwhile that the header's 32 bits do not tell.
            None => {}
        }
    }
    Err(JoinFailed::Damaged("lease"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::cell::{Cell, RefCell};

    use super::*;
    use crate::history::tests::{Ring, beginnings};
    use crate::memory::Block;
    use crate::words::{Header, NO_CURSOR};
    use crate::writer::{Refusal, Writer};

    /// Records at whose first look something happens.
    #[derive(Clone, Copy)]
    struct Meanwhile<'a> {
        records: Block<'a>,
        happens: &'a Cell<Option<&'a dyn Fn()>>,
    }

    impl Memory for Meanwhile<'_> {
        fn word(&self, position: u64) -> &Header {
            if let Some(happens) = self.happens.take() {
                happens();
            }
            self.records.word(position)
        }

        fn read_racing(&self, position: u64, payload: &mut [u8]) {
            self.records.read_racing(position, payload);
        }

        fn write(&self, position: u64, payload: &[u8]) {
            self.records.write(position, payload);
        }
    }

    /// Publishes a record of payload that could be headers, whoever is in the way.
    fn publish(ring: &Ring, writer: &mut Writer, len: usize) {
        let shared = ring.shared();
        let word = crate::header::encode(writer.sequence() + 1000, 8).to_le_bytes();
        let payload = word.repeat(len.div_ceil(8));
        while let Err(refusal) = writer.publish(&shared, &payload[..len]) {
            assert!(matches!(refusal, Refusal::Full(_)), "{refusal:?}");
            let end = writer.tail() + ring.shape.need(len as u64);
            writer.evict(&shared, end).unwrap();
        }
    }

    /// Between its look at the lease and its look at the header the producer gives the joiner up, and writes over the
    /// place: what it reads there is another record's, or no header at all.
    #[test]
    fn a_joiner_that_was_given_up_meanwhile_begins_again() {
        for begin in beginnings(1024) {
            for records in (0..150).step_by(7) {
                let ring = Ring::new(1024, 1);
                let writer = RefCell::new(Writer::create(ring.shape, &ring.shared(), begin[0], begin[1], 0));
                for i in 0..30 {
                    publish(&ring, &mut writer.borrow_mut(), i * 8 % 56);
                }
                let goes_on = || {
                    for i in 0..records {
                        publish(&ring, &mut writer.borrow_mut(), i * 24 % 72);
                    }
                };
                let happens: Cell<Option<&dyn Fn()>> = Cell::new(Some(&goes_on));
                let heap = ring.shared();
                let records = Meanwhile { records: heap.records, happens: &happens };
                let Shared { producer, ctl, slots, groups, claims, .. } = heap;
                let shared = Shared { producer, ctl, slots, groups, claims, records };
                let spot = join(&ring.shape, &shared, &ring.slots[0].cursor, Wish::Tail).unwrap();
                let tail = [writer.borrow().tail(), writer.borrow().sequence()];
                // The place it chose first, if that can still be read; else the next one it chose.
                if heap.producer.licence.glance() <= spot.position + 1024 && spot.position < tail[0] {
                    assert_eq!(spot.sequence, begin[1] + 30);
                } else {
                    assert_eq!([spot.position, spot.sequence], tail);
                }
                assert_eq!(ring.slots[0].cursor.look(), spot.position, "the producer waits for it there");
            }
        }
    }

    #[test]
    fn what_no_producer_says_is_damage() {
        let ring = Ring::new(1024, 1);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        publish(&ring, &mut writer, 8);
        let join = || join(&ring.shape, &ring.shared(), &ring.slots[0].cursor, Wish::Tail);
        for tail in [4, 17, NO_CURSOR, NO_CURSOR - 7, u64::MAX - 1024] {
            ring.page.tail.preset(tail);
            assert_eq!(join(), Err(JoinFailed::Damaged("tail")));
            assert_eq!(ring.slots[0].cursor.look(), NO_CURSOR, "nobody waits for it at {tail}");
        }
        // Where the header is neither 0 nor a record's, and nobody goes on.
        ring.page.tail.preset(16);
        for header in [1, u64::MAX, 1 << 40] {
            ring.shared().records.word(16).preset(header);
            assert_eq!(join(), Err(JoinFailed::Damaged("header")));
        }
        ring.shared().records.word(16).preset(0);
        assert_eq!(join(), Ok(Spot { position: 16, sequence: 1 }));
    }
}
