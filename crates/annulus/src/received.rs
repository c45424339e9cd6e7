//! Records that were copied out of a ring.

use std::ops::Deref;

/// What [`Observer::recv`](crate::Observer::recv) copied: which record it was, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The record's number in the ring, from 0.
    pub sequence: u64,
    /// Bytes that were copied to the front of the buffer.
    pub len: usize,
    time: Option<u64>,
}

impl Received {
    pub(crate) fn new(sequence: u64, len: usize, time: Option<u64>) -> Received {
        Received { sequence, len, time }
    }

    /// When it was published, in nanoseconds by the ring's [`Clock`](crate::Clock); `None` on a ring without stamps.
    pub fn time(&self) -> Option<u64> {
        self.time
    }
}

/// A record of one's own: what the iterators of readers that copy yield.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// The record's number in the ring, from 0.
    pub sequence: u64,
    /// Its bytes.
    pub payload: Vec<u8>,
    time: Option<u64>,
}

impl OwnedRecord {
    pub(crate) fn new(received: Received, payload: Vec<u8>) -> OwnedRecord {
        OwnedRecord { sequence: received.sequence, payload, time: received.time }
    }

    /// When it was published, in nanoseconds by the ring's [`Clock`](crate::Clock); `None` on a ring without stamps.
    pub fn time(&self) -> Option<u64> {
        self.time
    }
}

impl Deref for OwnedRecord {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.payload
    }
}

/// Where a copy goes.
pub(crate) trait Target {
    /// Whether so many bytes fit without growing.
    fn holds(&self, len: usize) -> bool;

    /// Makes room for so many bytes, if it can.
    fn grow(&mut self, len: usize) -> bool;

    /// Room for exactly so many bytes, which it holds.
    fn room(&mut self, len: usize) -> &mut [u8];
}

impl Target for &mut [u8] {
    #[inline]
    fn holds(&self, len: usize) -> bool {
        len <= self.len()
    }

    fn grow(&mut self, _: usize) -> bool {
        false
    }

    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        &mut self[..len]
    }
}

/// Grows to the longest record so far, and is cut to each.
impl Target for &mut Vec<u8> {
    #[inline]
    fn holds(&self, len: usize) -> bool {
        len <= self.capacity()
    }

    fn grow(&mut self, len: usize) -> bool {
        self.clear();
        self.reserve(len);
        true
    }

    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        self.resize(len, 0);
        self
    }
}
