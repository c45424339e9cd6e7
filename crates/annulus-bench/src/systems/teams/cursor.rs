//! What a group costs at least: workers that share one position, and take a record by moving it on.
//!
//! A worker copies the record before it claims it, and has it only if nobody was faster: the shared position is then
//! also how far the producer may go. Nothing says who has which record, so what a dead worker had is lost. They never
//! sleep: whichever of them has a CPU can take all there is.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crossbeam_utils::CachePadded;

use super::{Post, Take, record};
use crate::Result;
use crate::systems::stamped;

/// Pauses between the looks of a worker, some microseconds, in which records gather: its looks take the lines away from the
/// producer.
const PATIENT: u32 = 256;

struct Shared {
    /// How many records have been taken.
    next: CachePadded<AtomicU64>,
    /// Places of one length: a header, which is one more than the record's number, and the payload.
    places: Box<[AtomicU64]>,
    /// Words from place to place.
    stride: usize,
    /// One less than how many places there are, a power of two.
    mask: u64,
}

impl Shared {
    fn place(&self, number: u64) -> &[AtomicU64] {
        let at = (number & self.mask) as usize * self.stride;
        &self.places[at..at + self.stride]
    }
}

/// The producer's end.
pub(super) struct Posting {
    shared: Arc<Shared>,
    sent: u64,
    /// How many were taken when it last looked.
    seen: u64,
}

/// A worker's end.
#[derive(Clone)]
pub(super) struct Taking(Arc<Shared>);

/// Room for as many records as the largest power of two up to `records`, which is not 0.
pub(super) fn cursor(size: usize, records: usize) -> (Posting, Taking) {
    let stride = record(size) / 8;
    let records = 1 << records.ilog2();
    let places = (0..records * stride).map(|_| AtomicU64::new(0)).collect();
    let shared = Arc::new(Shared {
        next: CachePadded::new(AtomicU64::new(0)),
        places,
        stride,
        mask: records as u64 - 1,
    });
    (Posting { shared: Arc::clone(&shared), sent: 0, seen: 0 }, Taking(shared))
}

impl Post for Posting {
    #[inline(always)]
    fn send(&mut self, body: &[u8]) -> Result<()> {
        let shared = &*self.shared;
        while self.sent - self.seen > shared.mask {
            self.seen = shared.next.load(Acquire);
            spin_loop();
        }
        let [header, payload @ ..] = shared.place(self.sent) else { unreachable!("a place has a header") };
        let (words, rest) = body.as_chunks();
        for (word, bytes) in payload.iter().zip(words) {
            word.store(u64::from_ne_bytes(*bytes), Relaxed);
        }
        if !rest.is_empty() {
            let mut whole = [0; 8];
            whole[..rest.len()].copy_from_slice(rest);
            payload[words.len()].store(u64::from_ne_bytes(whole), Relaxed);
        }
        self.sent += 1;
        header.store(self.sent, Release);
        Ok(())
    }
}

impl Take for Taking {
    #[inline(always)]
    fn take(&mut self, body: &mut [u8]) -> Result<u64> {
        let shared = &*self.0;
        let mut number = shared.next.load(Acquire);
        loop {
            let [header, payload @ ..] = shared.place(number) else { unreachable!("a place has a header") };
            if header.load(Acquire) != number + 1 {
                (0..PATIENT).for_each(|_| spin_loop());
                number = shared.next.load(Acquire);
                continue;
            }
            let (words, rest) = body.as_chunks_mut();
            for (bytes, word) in words.iter_mut().zip(payload) {
                *bytes = word.load(Relaxed).to_ne_bytes();
            }
            if !rest.is_empty() {
                rest.copy_from_slice(&payload[words.len()].load(Relaxed).to_ne_bytes()[..rest.len()]);
            }
            // Release: what was read was read before the producer may write there again.
            match shared.next.compare_exchange(number, number + 1, Release, Acquire) {
                Ok(_) => return Ok(stamped(body)),
                Err(now) => number = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems::stamp;

    #[test]
    fn each_record_once_over_many_laps() {
        for size in [8, 9, 64, 100] {
            let (mut post, mut one) = cursor(size, 7);
            let (mut two, mut body) = (one.clone(), vec![0; size]);
            for seq in 1..20 {
                stamp(seq, &mut body);
                post.send(&body).unwrap();
                stamp(seq + 100, &mut body);
                post.send(&body).unwrap();
                assert_eq!(one.take(&mut body).unwrap(), seq);
                assert_eq!(two.take(&mut body).unwrap(), seq + 100);
            }
        }
    }
}
