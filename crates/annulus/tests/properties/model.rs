//! What a ring is, said plainly: a list of records that never forgets.

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
    /// Position of the first record.
    pub(crate) base: u64,
    /// Its sequence.
    pub(crate) first: u64,
    /// Position of the next one.
    pub(crate) tail: u64,
    records: Vec<Record>,
}

impl Model {
    pub(crate) fn new(shape: Shape, position: u64, sequence: u64) -> Model {
        Model { shape, base: position, first: sequence, tail: position, records: Vec::new() }
    }

    /// The next record's sequence.
    pub(crate) fn published(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    pub(crate) fn publish(&mut self, stamp: u64, payload: Vec<u8>) {
        let position = self.tail;
        self.tail = self.end(position, payload.len() as u64);
        self.records.push(Record { position, stamp, payload });
    }

    /// Where a record of so many bytes of the user's ends that begins at `start`.
    pub(crate) fn end(&self, start: u64, len: u64) -> u64 {
        start + self.shape.need(len + self.shape.prefix())
    }

    pub(crate) fn record(&self, sequence: u64) -> &Record {
        let nth = sequence.checked_sub(self.first).expect("a record of this ring");
        &self.records[usize::try_from(nth).expect("a number")]
    }

    /// The newest record's sequence.
    pub(crate) fn newest(&self) -> Option<u64> {
        (!self.records.is_empty()).then(|| self.published() - 1)
    }

    /// Where the record of a sequence begins, or will.
    pub(crate) fn position_of(&self, sequence: u64) -> u64 {
        if sequence == self.published() { self.tail } else { self.record(sequence).position }
    }

    /// The sequence of the record that begins at a position, or will.
    pub(crate) fn sequence_at(&self, position: u64) -> u64 {
        if position == self.tail {
            return self.published();
        }
        let nth = self.records.binary_search_by_key(&position, |record| record.position);
        self.first + nth.expect("no record begins here") as u64
    }
}
