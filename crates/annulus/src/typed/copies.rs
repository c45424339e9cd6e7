//! The verbs of a reader that copies values: the same for one that the producer waits for and for one it does not.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::copier::Copier;
use crate::error::{CopyError, CopyTimeoutError, RecvError, TryCopyError};
use crate::payload::{Payload, as_bytes_mut, zeroed};
use crate::received::{Received, Target};

/// Gives a reader of values around a `Copier` its verbs.
macro_rules! typed_copying_reader {
    ($name:ident) => {
        impl<T> $name<T> {
            pub(crate) fn inner(&self) -> &$crate::copier::Copier {
                &self.copier
            }

            pub(crate) fn inner_mut(&mut self) -> &mut $crate::copier::Copier {
                &mut self.copier
            }
        }

        impl<T: $crate::Payload> $name<T> {
            pub(crate) fn new(copier: $crate::copier::Copier) -> Self {
                $name { copier, payload: std::marker::PhantomData }
            }

            /// Copies the next value out; waits for it.
            ///
            /// # Errors
            ///
            /// [`CopyError`](crate::CopyError): [`Lagged`](crate::CopyError::Lagged) if records were lost, and the next
            /// call goes on behind them; never `TooSmall`. A record of another length than a value's is
            /// [`Corrupt`](crate::RecvError::Corrupt), and stays the next.
            #[inline]
            pub fn recv(&mut self) -> Result<$crate::TypedOwnedRecord<T>, $crate::CopyError> {
                $crate::typed::copies::owned(|payload| self.recv_into(payload))
            }

            /// The same if a record is there.
            ///
            /// # Errors
            ///
            /// [`TryCopyError::Empty`](crate::TryCopyError::Empty), or as from [`recv`](Self::recv).
            #[inline]
            pub fn try_recv(&mut self) -> Result<$crate::TypedOwnedRecord<T>, $crate::TryCopyError> {
                $crate::typed::copies::owned(|payload| self.try_recv_into(payload))
            }

            /// The same, waiting at most `timeout`. A record that comes exactly then is returned.
            ///
            /// # Errors
            ///
            /// [`CopyTimeoutError::TimedOut`](crate::CopyTimeoutError::TimedOut), or as from [`recv`](Self::recv).
            pub fn recv_timeout(
                &mut self,
                timeout: std::time::Duration,
            ) -> Result<$crate::TypedOwnedRecord<T>, $crate::CopyTimeoutError> {
                $crate::typed::copies::owned(|payload| self.recv_into_timeout(payload, timeout))
            }

            /// Copies the next value to `payload`; waits for it. For values that are too large for the stack, or that
            /// shall not be copied once more.
            ///
            /// # Errors
            ///
            /// As from [`recv`](Self::recv); `payload` may be any value then.
            ///
            /// # Examples
            ///
            /// ```
            /// use annulus::Ring;
            /// # let id = (std::process::id(), std::thread::current().id());
            /// # let dir = format!("/dev/shm/annulus-doc-typed-into-{}-{:?}", id.0, id.1);
            /// # let mut tx = Ring::create_typed::<[u8; 100_000]>("film").dir(&dir).producer()?;
            /// # let mut rx = Ring::open_typed::<[u8; 100_000]>("film").dir(&dir).observe()?;
            /// let mut frame = Box::new([0; 100_000]);
            /// tx.send(&[7; 100_000])?;
            /// assert_eq!(rx.recv_into(&mut frame)?.sequence, 0);
            /// assert_eq!(frame[99_999], 7);
            /// # drop((rx, tx));
            /// # std::fs::remove_dir(dir).unwrap();
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[inline]
            pub fn recv_into(&mut self, payload: &mut T) -> Result<$crate::Received, $crate::CopyError> {
                let received = self.copier.recv(&mut $crate::typed::copies::Place(payload));
                received.map_err($crate::typed::copies::OfValues::of_values)
            }

            /// The same if a record is there.
            ///
            /// # Errors
            ///
            /// As from [`try_recv`](Self::try_recv); `payload` may be any value then.
            #[inline]
            pub fn try_recv_into(
                &mut self,
                payload: &mut T,
            ) -> Result<$crate::Received, $crate::TryCopyError> {
                let received = self.copier.try_recv(&mut $crate::typed::copies::Place(payload));
                received.map_err($crate::typed::copies::OfValues::of_values)
            }

            /// The same, waiting at most `timeout`.
            ///
            /// # Errors
            ///
            /// As from [`recv_timeout`](Self::recv_timeout); `payload` may be any value then.
            pub fn recv_into_timeout(
                &mut self,
                payload: &mut T,
                timeout: std::time::Duration,
            ) -> Result<$crate::Received, $crate::CopyTimeoutError> {
                let received = self.copier.recv_timeout(&mut $crate::typed::copies::Place(payload), timeout);
                received.map_err($crate::typed::copies::OfValues::of_values)
            }

            /// Copies the newest value out, also one that was received before, and goes on behind it. Records passed
            /// over are not losses. A ring that holds something has a newest record, whether or not its producer lives.
            ///
            /// # Errors
            ///
            /// [`TryCopyError`](crate::TryCopyError): `Empty` if nothing was published yet; `Lagged` if values of about
            /// the ring's size come so fast that none can be copied; `Corrupt` if it is of another length than a
            /// value's.
            ///
            /// # Examples
            ///
            /// ```
            /// use annulus::Ring;
            /// # let id = (std::process::id(), std::thread::current().id());
            /// # let dir = format!("/dev/shm/annulus-doc-typed-latest-{}-{:?}", id.0, id.1);
            /// # let mut tx = Ring::create_typed::<[f64; 3]>("pose").dir(&dir).producer()?;
            /// tx.send_batch([[0.0; 3], [0.1; 3], [0.2; 3]])?;
            /// # let mut rx = Ring::open_typed::<[f64; 3]>("pose").dir(&dir).observe()?;
            /// let pose = rx.latest()?;
            /// assert_eq!((pose.sequence, *pose), (2, [0.2; 3]));
            /// # drop((rx, tx));
            /// # std::fs::remove_dir(dir).unwrap();
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn latest(&mut self) -> Result<$crate::TypedOwnedRecord<T>, $crate::TryCopyError> {
                $crate::typed::copies::owned(|payload| self.latest_into(payload))
            }

            /// The same to `payload`.
            ///
            /// # Errors
            ///
            /// As from [`latest`](Self::latest); `payload` may be any value then.
            pub fn latest_into(&mut self, payload: &mut T) -> Result<$crate::Received, $crate::TryCopyError> {
                let received = self.copier.latest(&mut $crate::typed::copies::Place(payload));
                received.map_err($crate::typed::copies::OfValues::of_values)
            }

            /// Values as they come, until the end: losses are items, `Closed` ends the iteration, any other end is its
            /// last item.
            ///
            /// # Examples
            ///
            /// ```
            /// use annulus::{CopyError, Ring};
            /// # let id = (std::process::id(), std::thread::current().id());
            /// # let dir = format!("/dev/shm/annulus-doc-typed-iter-{}-{:?}", id.0, id.1);
            /// # let mut tx = Ring::create_typed::<u32>("t").dir(&dir).producer()?;
            /// # let mut rx = Ring::open_typed::<u32>("t").dir(&dir).observe()?;
            /// tx.send_batch([3, 4])?;
            /// drop(tx);
            /// for record in &mut rx {
            ///     match record {
            ///         Ok(record) => println!("{}: {}", record.sequence, *record),
            ///         Err(CopyError::Lagged(lost)) => println!("{lost} lost"),
            ///         Err(end) => return Err(end.into()),
            ///     }
            /// }
            /// # drop(rx);
            /// # std::fs::remove_dir(dir).unwrap();
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn iter(&mut self) -> $crate::TypedCopies<'_, T> {
                $crate::TypedCopies::new(&mut self.copier)
            }

            /// The sequence of the next record.
            pub fn sequence(&self) -> u64 {
                self.copier.sequence()
            }

            /// Records that were lost so far, in all.
            pub fn lost(&self) -> u64 {
                self.copier.lost()
            }

            /// The time now, in nanoseconds by the ring's [`Clock`](crate::Clock), to compare with
            /// [`TypedOwnedRecord::time`](crate::TypedOwnedRecord::time); by `CLOCK_MONOTONIC` on a ring without stamps.
            pub fn now(&self) -> u64 {
                self.copier.now()
            }

            /// How this handle waits from now on.
            pub fn set_waiting(&mut self, waiting: $crate::Waiting) {
                self.copier.set_waiting(waiting);
            }

            /// Whether the ring's name still means this ring.
            pub fn is_linked(&self) -> bool {
                self.copier.is_linked()
            }
        }

        impl<'a, T: $crate::Payload> IntoIterator for &'a mut $name<T> {
            type Item = Result<$crate::TypedOwnedRecord<T>, $crate::CopyError>;
            type IntoIter = $crate::TypedCopies<'a, T>;

            fn into_iter(self) -> $crate::TypedCopies<'a, T> {
                self.iter()
            }
        }

        impl<T: $crate::Payload> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("type", &T::NAME)
                    .field("sequence", &self.sequence())
                    .field("lost", &self.lost())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(super) use typed_copying_reader;

/// A value of one's own: what readers that copy get from a ring of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypedOwnedRecord<T> {
    /// The record's number in the ring, from 0.
    pub sequence: u64,
    /// The value.
    pub payload: T,
    time: Option<u64>,
}

impl<T> TypedOwnedRecord<T> {
    pub(crate) fn new(sequence: u64, payload: T, time: Option<u64>) -> TypedOwnedRecord<T> {
        TypedOwnedRecord { sequence, payload, time }
    }

    /// When it was published, in nanoseconds by the ring's [`Clock`](crate::Clock); `None` on a ring without stamps.
    pub fn time(&self) -> Option<u64> {
        self.time
    }
}

impl<T> Deref for TypedOwnedRecord<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.payload
    }
}

/// Where a value goes: records of its length, and no others.
pub(super) struct Place<'a, T>(pub(super) &'a mut T);

impl<T: Payload> Target for Place<'_, T> {
    #[inline]
    fn holds(&self, len: usize) -> bool {
        len == size_of::<T>()
    }

    fn grow(&mut self, _: usize) -> bool {
        false
    }

    #[inline]
    fn room(&mut self, _: usize) -> &mut [u8] {
        as_bytes_mut(self.0)
    }
}

/// A record of one's own, of what `receive` has copied.
#[inline]
pub(super) fn owned<T: Payload, E>(
    receive: impl FnOnce(&mut T) -> Result<Received, E>,
) -> Result<TypedOwnedRecord<T>, E> {
    let mut payload = zeroed();
    let received = receive(&mut payload)?;
    Ok(TypedOwnedRecord::new(received.sequence, payload, received.time()))
}

/// What readers of values say of a record that a [`Place`] does not hold.
pub(super) trait OfValues {
    fn of_values(self) -> Self;
}

macro_rules! of_values {
    ($($name:ident),*) => {$(
        impl OfValues for $name {
            fn of_values(self) -> Self {
                match self {
                    $name::TooSmall { .. } => $name::Ended(RecvError::Corrupt),
                    other => other,
                }
            }
        }
    )*};
}

of_values!(CopyError, TryCopyError, CopyTimeoutError);

/// Values of one's own as they come: see [`TypedObserver::iter`](crate::TypedObserver::iter).
pub struct TypedCopies<'a, T> {
    copier: &'a mut Copier,
    ended: bool,
    payload: PhantomData<fn() -> T>,
}

impl<'a, T> TypedCopies<'a, T> {
    pub(super) fn new(copier: &'a mut Copier) -> TypedCopies<'a, T> {
        TypedCopies { copier, ended: false, payload: PhantomData }
    }
}

impl<T: Payload> Iterator for TypedCopies<'_, T> {
    type Item = Result<TypedOwnedRecord<T>, CopyError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let got = owned(|payload| self.copier.recv(&mut Place(payload)));
        match got.map_err(OfValues::of_values) {
            Err(CopyError::Ended(end)) => {
                self.ended = true;
                (end != RecvError::Closed).then_some(Err(CopyError::Ended(end)))
            }
            got => Some(got),
        }
    }
}

impl<T> fmt::Debug for TypedCopies<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedCopies").field("sequence", &self.copier.sequence()).finish_non_exhaustive()
    }
}
