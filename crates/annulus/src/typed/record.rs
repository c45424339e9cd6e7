//! A value in a subscriber's hands.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::payload::{Payload, as_ref};
use crate::record::Record;

/// A record of a ring of values, borrowed where it lies: the value itself. Its space goes back to the producer when it
/// is dropped; until then the producer does not overwrite it. Why that is no data race: *Soundness* in the book, "Records
/// that are borrowed".
///
/// # Examples
///
/// ```
/// # use annulus::{Clock, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-typed-record-{}", std::process::id());
/// let mut tx = Ring::create_typed::<[i16; 2]>("audio").dir(&dir).stamped(Clock::Monotonic).producer()?;
/// let rx = Ring::open_typed::<[i16; 2]>("audio").dir(&dir).subscribe()?;
/// tx.send(&[-3, 4])?;
/// let frame = rx.recv()?;
/// assert_eq!(*frame, [-3, 4]);
/// assert_eq!(frame.sequence(), 0);
/// assert!(frame.time() <= Some(rx.now()));
/// # drop(frame);
/// # drop((rx, tx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TypedRecord<'a, T> {
    record: Record<'a>,
    /// Where it lies. Not a reference, for the reason that `Record` has none.
    value: NonNull<T>,
}

impl<'a, T: Payload> TypedRecord<'a, T> {
    /// The value that a record is; the record's sequence if it is none.
    #[inline]
    pub(crate) fn new(record: Record<'a>) -> Result<TypedRecord<'a, T>, u64> {
        match as_ref(&record).map(NonNull::from) {
            Some(value) => Ok(TypedRecord { record, value }),
            None => Err(record.sequence()),
        }
    }
}

impl<T> TypedRecord<'_, T> {
    /// The record's number in the ring, from 0.
    pub fn sequence(&self) -> u64 {
        self.record.sequence()
    }

    /// When it was published, in nanoseconds by the ring's [`Clock`](crate::Clock); `None` on a ring without stamps.
    pub fn time(&self) -> Option<u64> {
        self.record.time()
    }
}

impl<T> Deref for TypedRecord<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the pointer came from a reference to a `T` that `as_ref` found in the bytes that `record` lends. They
        // lie in the ring, not in `record`, which may have been moved since; and what makes them readable and keeps
        // them as they are (see `Record::deref`) holds until `record` is dropped, so as long as `self` is borrowed.
        unsafe { self.value.as_ref() }
    }
}

impl<T> AsRef<T> for TypedRecord<'_, T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: fmt::Debug> fmt::Debug for TypedRecord<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedRecord").field("sequence", &self.sequence()).field("value", &**self).finish()
    }
}
