//! A record in a worker's hands.
#![allow(unsafe_code)]

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use annulus_core::worker::Claimed;

use crate::worker::Worker;

/// A record that is this worker's alone, borrowed where it lies: a slice of the ring. Acknowledged when it is dropped, unless
/// it is [given back](Job::nack) or dropped by a panic, which gives it back as well.
///
/// Jobs are acknowledged in any order. The producer does not overwrite one before that: *Soundness* in the book, "Records that are
/// borrowed". One that is forgotten goes back when its worker leaves.
pub struct Job<'a> {
    worker: &'a Worker,
    claimed: Claimed,
    /// Not a reference: one would claim its bytes until the end of a call that consumes the job, which is after they have been
    /// given back.
    payload: NonNull<u8>,
}

/// Bytes of a record's time of publication.
const STAMP_BYTES: usize = annulus_core::shape::STAMP_BYTES as usize;

impl<'a> Job<'a> {
    #[inline]
    pub(crate) fn new(worker: &'a Worker, claimed: Claimed) -> Job<'a> {
        let payload = worker.memory().shared().records.payload(claimed.held.position);
        Job { worker, claimed, payload }
    }

    /// The record's number in the ring, from 0.
    pub fn sequence(&self) -> u64 {
        self.claimed.held.sequence
    }

    /// How often it was delivered, this time included: from 1 on. Counted up to 256.
    pub fn attempts(&self) -> u32 {
        self.claimed.attempts + 1
    }

    /// Whether it was delivered before: its worker gave it back, or left or died with it, perhaps with the work done.
    pub fn is_redelivered(&self) -> bool {
        self.claimed.attempts > 0
    }

    /// When it was published, in nanoseconds by the ring's [`Clock`](crate::Clock); `None` on a ring without stamps.
    pub fn time(&self) -> Option<u64> {
        let prefix = self.bytes().first_chunk::<STAMP_BYTES>()?;
        // On a ring without, these are the payload's own first bytes, which mean nothing here.
        self.worker.keeper().time(u64::from_le_bytes(*prefix))
    }

    /// Acknowledges it: it is done, and no worker gets it again. As dropping it, but also while a panic unwinds.
    pub fn ack(self) {
        let job = ManuallyDrop::new(self);
        job.worker.done(job.claimed);
    }

    /// Gives it back: another worker gets it next, or this one again; after the group's last
    /// [attempt](crate::Group::attempts) it is a dead letter. Says whether it is.
    pub fn nack(self) -> bool {
        let job = ManuallyDrop::new(self);
        job.worker.give_back(job.claimed)
    }

    /// All of it, the ring's own prefix included.
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the worker has seen this header published, with a length that it has checked against the ring's longest,
        // so the mirror holds all of it. Its claim of the record succeeded, so the record was not done; the group's floor, and with
        // it the licence, does not pass it until the claim is settled, which consumes this value or drops it; or until the
        // claim is taken from a worker that has lost its slot's lock, which is not assumed of a process that keeps its
        // descriptors. The mapping lives as long as the worker.
        unsafe { std::slice::from_raw_parts(self.payload.as_ptr(), self.claimed.held.len as usize) }
    }
}

impl Deref for Job<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // No worker takes a record that is shorter than the prefix.
        &self.bytes()[self.worker.prefix()..]
    }
}

impl AsRef<[u8]> for Job<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Job<'_> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.worker.give_back(self.claimed);
        } else {
            self.worker.done(self.claimed);
        }
    }
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("sequence", &self.sequence())
            .field("attempts", &self.attempts())
            .field("len", &self.len())
            .finish()
    }
}
