//! Two ways to publish a record, bare: a tail counter that the reader polls, and a header in the ring itself.
//!
//! `docs/decisions/0001-publication.md` rests on these. Everything else is the same in both: one record after
//! another in a buffer, a cursor of the reader's that the writer looks at once a lap or when it must, a copy in and
//! a copy out. Records are of one size in a round, so no lap splits one.
#![allow(unsafe_code)]

use std::hint::spin_loop;
use std::ptr::copy_nonoverlapping;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use memmap2::MmapRaw;

use super::{Half, stamp, stamped};
use crate::Result;
use crate::floor::BODY;

/// Set in every published header, so that none is 0.
const PUBLISHED: u64 = 1 << 31;
const HEADER: usize = 8;
/// Bytes between words of different writers.
const APART: usize = 128;

/// One direction.
struct Lane<'a, const IN_BAND: bool> {
    tail: &'a AtomicU64,
    cursor: &'a AtomicU64,
    base: *mut u8,
    /// Bytes from record to record.
    need: usize,
    /// Records in the buffer.
    records: u64,
    /// Records sent or received at this end.
    count: u64,
    /// What this end last saw of the other's counter.
    seen: u64,
}

impl<'a, const IN_BAND: bool> Lane<'a, IN_BAND> {
    fn new(map: &'a MmapRaw, lane: usize, client: bool, size: usize, align: usize) -> Self {
        let need = (HEADER + size).next_multiple_of(align);
        let len = (map.len() - BODY) / 2 / APART * APART;
        let word = |i: usize| {
            // SAFETY: aligned, in the first page of the mapping, which lives as long as the borrow; atomics
            // take any bits.
            unsafe { &*map.as_ptr().add(APART * (2 * lane + i)).cast::<AtomicU64>() }
        };
        let base = map.as_mut_ptr().wrapping_add(BODY + lane * len);
        if client {
            // SAFETY: the lane's own part of the mapping; the server is not at it yet.
            unsafe { base.write_bytes(0, len) };
            word(0).store(0, Relaxed);
            word(1).store(0, Relaxed);
        }
        // One place stays free: the zero behind the last record is never the first record's header.
        let records = (len / need) as u64 - 1;
        Self { tail: word(0), cursor: word(1), base, need, records, count: 0, seen: 0 }
    }

    fn place(&self, count: u64) -> *mut u8 {
        self.base.wrapping_add((count % (self.records + 1)) as usize * self.need)
    }

    fn header(&self, count: u64) -> &AtomicU64 {
        // SAFETY: `place` is inside the lane and a multiple of 8; atomics take any bits.
        unsafe { &*self.place(count).cast() }
    }

    #[inline(always)]
    fn send(&mut self, body: &[u8]) {
        while self.count - self.seen >= self.records {
            self.seen = self.cursor.load(Acquire);
            spin_loop();
        }
        if IN_BAND {
            self.header(self.count + 1).store(0, Relaxed);
        }
        // SAFETY: the place is the writer's until its header or the tail is stored; `need` holds the body.
        unsafe { copy_nonoverlapping(body.as_ptr(), self.place(self.count).add(HEADER), body.len()) };
        let header = self.count << 32 | PUBLISHED | body.len() as u64;
        self.header(self.count).store(header, if IN_BAND { Release } else { Relaxed });
        self.count += 1;
        if !IN_BAND {
            self.tail.store(self.count, Release);
        }
    }

    #[inline(always)]
    fn recv(&mut self, body: &mut [u8]) {
        if IN_BAND {
            let expected = (self.count << 32 | PUBLISHED) >> 31;
            while self.header(self.count).load(Acquire) >> 31 != expected {
                spin_loop();
            }
        } else {
            while self.seen == self.count {
                self.seen = self.tail.load(Acquire);
                spin_loop();
            }
        }
        let len = (self.header(self.count).load(Relaxed) & (PUBLISHED - 1)) as usize;
        let len = len.min(body.len());
        // SAFETY: the record is published, and its writer waits for the cursor before it writes here again.
        unsafe { copy_nonoverlapping(self.place(self.count).add(HEADER), body.as_mut_ptr(), len) };
        self.count += 1;
        self.cursor.store(self.count, Release);
    }
}

/// Both directions of one process.
pub(super) struct Scheme<'a, const IN_BAND: bool> {
    out: Lane<'a, IN_BAND>,
    back: Lane<'a, IN_BAND>,
}

pub(super) fn scheme<const IN_BAND: bool>(
    map: &MmapRaw,
    client: bool,
    size: usize,
    align: usize,
) -> Scheme<'_, IN_BAND> {
    let [there, back] = [0, 1].map(|lane| Lane::new(map, lane, client, size, align));
    if client { Scheme { out: there, back } } else { Scheme { out: back, back: there } }
}

impl<const IN_BAND: bool> Half for Scheme<'_, IN_BAND> {
    #[inline(always)]
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        stamp(seq, body);
        self.out.send(body);
        Ok(())
    }

    #[inline(always)]
    fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        self.back.recv(body);
        Ok(stamped(body))
    }
}
