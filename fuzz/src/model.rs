//! What a ring is, said plainly: a list of records that never forgets.

use std::collections::VecDeque;

use annulus_core::shape::Shape;

/// A record as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) position: u64,
    pub(crate) stamp: u64,
    pub(crate) payload: Vec<u8>,
}

/// Everything that was ever published, and where.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) shape: Shape,
    /// Position and sequence of the first record.
    pub(crate) base: (u64, u64),
    /// Position of the next one.
    pub(crate) tail: u64,
    records: VecDeque<Record>,
}

impl Model {
    pub(crate) fn new(shape: Shape, position: u64, sequence: u64) -> Model {
        Model { shape, base: (position, sequence), tail: position, records: VecDeque::new() }
    }

    /// The next record's sequence.
    pub(crate) fn published(&self) -> u64 {
        self.base.1 + self.records.len() as u64
    }

    pub(crate) fn publish(&mut self, stamp: u64, payload: Vec<u8>) {
        let position = self.tail;
        self.tail += self.shape.need(payload.len() as u64 + self.shape.prefix());
        self.records.push_back(Record { position, stamp, payload });
    }

    pub(crate) fn record(&self, sequence: u64) -> Option<&Record> {
        self.records.get(usize::try_from(sequence.checked_sub(self.base.1)?).ok()?)
    }

    /// Where the record of a sequence begins, or will.
    pub(crate) fn position_of(&self, sequence: u64) -> Option<u64> {
        if sequence == self.published() { Some(self.tail) } else { Some(self.record(sequence)?.position) }
    }

    /// The sequence of the record that begins at a position, or will.
    pub(crate) fn sequence_at(&self, position: u64) -> Option<u64> {
        if position == self.tail {
            return Some(self.published());
        }
        let nth = self.records.binary_search_by_key(&position, |record| record.position).ok()?;
        Some(self.base.1 + nth as u64)
    }
}

impl Record {
    /// What a reader is told of its time: nothing on rings without.
    pub(crate) fn stamp_if(&self, model: &Model) -> u64 {
        if model.shape.prefix() > 0 { self.stamp } else { 0 }
    }
}
