//! The reading ends of a ring of values that copy.

use std::marker::PhantomData;

use super::copies::typed_copying_reader;
use crate::copier::Copier;

/// A reading end of a ring of values that nobody notices: an [`Observer`](crate::Observer) whose records are of type
/// `T`. From [`Open::observe`](crate::Open::observe) of a [`TypedRing`](crate::TypedRing).
///
/// # Examples
///
/// ```
/// use annulus::{CopyError, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-typed-observer-{}", std::process::id());
/// let mut tx = Ring::create_typed::<u32>("counts").dir(&dir).capacity(4096).producer()?;
/// let mut rx = Ring::open_typed::<u32>("counts").dir(&dir).observe()?;
/// tx.send(&7)?;
/// assert_eq!(*rx.recv()?, 7);
///
/// tx.send_batch(0..1000)?; // never waits
/// let Err(CopyError::Lagged(lost)) = rx.recv() else { panic!() };
/// let record = rx.recv()?;
/// assert_eq!((record.sequence, u64::from(*record)), (1 + lost, lost));
/// # drop((rx, tx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TypedObserver<T> {
    copier: Copier,
    payload: PhantomData<fn() -> T>,
}

typed_copying_reader!(TypedObserver);

/// A reading end of a ring of values that the producer waits for, and that trusts nobody: a
/// [`CopyingSubscriber`](crate::CopyingSubscriber) whose records are of type `T`. From
/// [`Open::subscribe_copying`](crate::Open::subscribe_copying) of a [`TypedRing`](crate::TypedRing).
///
/// Any bytes of a value's length are a value: what another user's process sends can be nonsense, not undefined.
///
/// # Examples
///
/// ```
/// use annulus::Ring;
/// # let dir = format!("/dev/shm/annulus-doc-typed-copying-{}", std::process::id());
/// let mut tx = Ring::create_typed::<[u8; 4]>("codes").dir(&dir).no_in_place().producer()?;
/// let mut rx = Ring::open_typed::<[u8; 4]>("codes").dir(&dir).subscribe_copying()?;
/// tx.send(b"XETR")?;
/// assert_eq!(*rx.recv()?, *b"XETR");
/// # drop((rx, tx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TypedCopyingSubscriber<T> {
    copier: Copier,
    payload: PhantomData<fn() -> T>,
}

typed_copying_reader!(TypedCopyingSubscriber);
