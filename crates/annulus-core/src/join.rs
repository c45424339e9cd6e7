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

use crate::history::{Spot, TRIES, Wish, find, is_boundary, is_far, sequence_at};
use crate::layout::Slot;
use crate::memory::{Memory, Shared};
use crate::shape::{CHUNKS, Shape};

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

/// Joins at a boundary, with a slot whose lock the caller holds. Once it has returned, nothing from there on is
/// overwritten before the cursor moves.
pub(crate) fn join<M: Memory>(
    shape: &Shape,
    shared: &Shared<'_, M>,
    slot: &Slot,
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
        slot.cursor.join(position);
        // Either the producer saw the cursor before it granted, or its wish is seen here.
        let lease = page.lease.look();
        if lease > position + shape.capacity() {
            // What was too old a moment ago still is: each try keeps clear of the producer by more.
            passed = lease.saturating_add(attempt.min(CHUNKS - 1) * shape.chunk());
            crate::sync::relax();
            continue;
        }
        let sequence = anchor.map(|spot| spot.sequence).or_else(|| sequence_at(&view, position, before));
        // Given up already, or somebody else moved the cursor: what was read there means nothing.
        if page.licence.validate() > position + shape.capacity() {
            crate::sync::relax();
            continue;
        }
        match sequence {
            Some(sequence) => return Ok(Spot { position, sequence }),
            None if is_far(before, page.published.look()) => {}
            None => return Err(JoinFailed::Damaged("header")),
        }
    }
    Err(JoinFailed::Damaged("lease"))
}
