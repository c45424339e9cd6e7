//! A record in a subscriber's hands.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use annulus_core::reader::Held;

use crate::subscriber::Subscriber;

/// A record, borrowed where it lies: a slice of the ring. Its space goes back to the producer when it is
/// dropped; until then the producer does not overwrite it. Why that is no data race: *Soundness* in the book, "Records that
/// are borrowed".
pub struct Record<'a> {
    subscriber: &'a Subscriber,
    held: Held,
    /// Not a reference: one would claim its bytes until the end of a call that consumes the record, which is
    /// after `drop` has given them back.
    payload: NonNull<u8>,
}

/// Bytes of a record's time of publication.
const STAMP_BYTES: usize = annulus_core::shape::STAMP_BYTES as usize;

impl<'a> Record<'a> {
    #[inline]
    pub(crate) fn new(subscriber: &'a Subscriber, held: Held) -> Record<'a> {
        let payload = subscriber.memory().shared().records.payload(held.position);
        Record { subscriber, held, payload }
    }

    /// The record's number in the ring, from 0.
    pub fn sequence(&self) -> u64 {
        self.held.sequence
    }

    /// When it was published, in nanoseconds by the ring's [`Clock`](crate::Clock); `None` on a ring without stamps.
    pub fn time(&self) -> Option<u64> {
        let prefix = self.bytes().first_chunk::<STAMP_BYTES>()?;
        // On a ring without, these are the payload's own first bytes, which mean nothing here.
        self.subscriber.keeper().time(u64::from_le_bytes(*prefix))
    }

    /// All of it, the ring's own prefix included.
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the reader has seen this header published, with a length that it has checked against the
        // ring's longest, so the mirror holds all of it; its cursor is not past the record until `held` is
        // released, when this value is dropped; the mapping lives as long as the subscriber.
        unsafe { std::slice::from_raw_parts(self.payload.as_ptr(), self.held.len as usize) }
    }
}

impl Deref for Record<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let prefix = self.subscriber.prefix();
        // SAFETY: as in `bytes`; the reader takes no record that is shorter than the prefix.
        unsafe {
            std::slice::from_raw_parts(self.payload.as_ptr().add(prefix), self.held.len as usize - prefix)
        }
    }
}

impl AsRef<[u8]> for Record<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Record<'_> {
    #[inline]
    fn drop(&mut self) {
        self.subscriber.release(self.held);
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("sequence", &self.sequence()).field("len", &self.len()).finish()
    }
}
