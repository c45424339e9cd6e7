//! The reading end of a ring of values that the producer waits for.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::record::TypedRecord;
use crate::Waiting;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::payload::Payload;
use crate::record::Record;
use crate::subscriber::Subscriber;

/// A reading end of a ring of values, which it borrows in place: a [`Subscriber`] whose records are of type `T`.
///
/// From [`Open::subscribe`](crate::Open::subscribe) of a [`TypedRing`](crate::TypedRing). What a `Subscriber` assumes of
/// other processes it assumes, too.
///
/// # Examples
///
/// ```
/// use annulus::{RecvError, Ring};
///
/// annulus::payload! {
///     pub struct Point {
///         pub x: f32,
///         pub y: f32,
///     }
/// }
///
/// # let dir = format!("/dev/shm/annulus-doc-typed-subscriber-{}", std::process::id());
/// let mut tx = Ring::create_typed::<Point>("path").dir(&dir).producer()?;
/// let rx = Ring::open_typed::<Point>("path").dir(&dir).subscribe()?;
/// tx.send_batch([Point { x: 0.0, y: 0.5 }, Point { x: 1.0, y: 1.5 }])?;
/// let from = rx.recv()?;
/// let to = rx.recv()?; // both are held, and can be dropped in any order
/// assert_eq!((to.x - from.x, to.y - from.y), (1.0, 1.0));
/// # drop((from, to));
/// drop(tx);
/// assert!(matches!(rx.recv(), Err(RecvError::Closed)));
/// # drop(rx);
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TypedSubscriber<T> {
    subscriber: Subscriber,
    /// The sequence of a record that was no value. Nothing is received after it.
    stuck: Cell<Option<u64>>,
    payload: PhantomData<fn() -> T>,
}

impl<T> TypedSubscriber<T> {
    pub(crate) fn inner(&self) -> &Subscriber {
        &self.subscriber
    }

    pub(crate) fn inner_mut(&mut self) -> &mut Subscriber {
        &mut self.subscriber
    }
}

impl<T: Payload> TypedSubscriber<T> {
    pub(crate) fn new(subscriber: Subscriber) -> TypedSubscriber<T> {
        TypedSubscriber { subscriber, stuck: Cell::new(None), payload: PhantomData }
    }

    /// The next value; waits for it. It is borrowed in place: see [`Subscriber::recv`].
    ///
    /// # Errors
    ///
    /// [`RecvError`], after every value that was sent before the end. A record of another length than a value's is
    /// [`Corrupt`](RecvError::Corrupt), and the end for this reader: [`sequence`](TypedSubscriber::sequence) says which
    /// it is.
    #[inline]
    pub fn recv(&self) -> Result<TypedRecord<'_, T>, RecvError> {
        self.take(Subscriber::recv, |end| end)
    }

    /// The next value if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`], or the end as from [`recv`](TypedSubscriber::recv).
    #[inline]
    pub fn try_recv(&self) -> Result<TypedRecord<'_, T>, TryRecvError> {
        self.take(Subscriber::try_recv, TryRecvError::Ended)
    }

    /// The next value; waits for it, at most `timeout`. A value that comes exactly then is returned.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::TimedOut`], or the end as from [`recv`](TypedSubscriber::recv).
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<TypedRecord<'_, T>, RecvTimeoutError> {
        self.take(|subscriber| subscriber.recv_timeout(timeout), RecvTimeoutError::Ended)
    }

    /// Values as they come, until the end: `Closed` ends the iteration, any other end is its last item.
    pub fn iter(&self) -> TypedIter<'_, T> {
        TypedIter { subscriber: self, ended: false }
    }

    /// The sequence of the next record.
    pub fn sequence(&self) -> u64 {
        self.stuck.get().unwrap_or_else(|| self.subscriber.sequence())
    }

    /// Bytes that this reader holds: from the oldest record that was not dropped to the next one.
    pub fn held_bytes(&self) -> u64 {
        self.subscriber.held_bytes()
    }

    /// How this handle waits from now on.
    pub fn set_waiting(&self, waiting: Waiting) {
        self.subscriber.set_waiting(waiting);
    }

    /// Whether the ring's name still means this ring; files can be deleted under a running program, which goes on
    /// with those attached.
    pub fn is_linked(&self) -> bool {
        self.subscriber.is_linked()
    }

    /// The time now, in nanoseconds by the ring's [`Clock`](crate::Clock), to compare with [`TypedRecord::time`]; by
    /// `CLOCK_MONOTONIC` on a ring without stamps.
    pub fn now(&self) -> u64 {
        self.subscriber.now()
    }

    /// Whether a record that was no value was its last.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.get().is_some()
    }

    /// Receives a record and finds the value in it.
    #[inline]
    pub(crate) fn take<'a, E>(
        &'a self,
        receive: impl FnOnce(&'a Subscriber) -> Result<Record<'a>, E>,
        ended: impl Fn(RecvError) -> E,
    ) -> Result<TypedRecord<'a, T>, E> {
        if self.is_stuck() {
            return Err(ended(RecvError::Corrupt));
        }
        TypedRecord::new(receive(&self.subscriber)?).map_err(|sequence| {
            self.stuck.set(Some(sequence));
            ended(RecvError::Corrupt)
        })
    }
}

impl<T: Payload> fmt::Debug for TypedSubscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedSubscriber")
            .field("type", &T::NAME)
            .field("sequence", &self.sequence())
            .field("held_bytes", &self.held_bytes())
            .finish_non_exhaustive()
    }
}

/// Values as they come: see [`TypedSubscriber::iter`].
pub struct TypedIter<'a, T> {
    subscriber: &'a TypedSubscriber<T>,
    ended: bool,
}

impl<'a, T: Payload> Iterator for TypedIter<'a, T> {
    type Item = Result<TypedRecord<'a, T>, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.subscriber.recv() {
            Ok(record) => Some(Ok(record)),
            Err(end) => {
                self.ended = true;
                (end != RecvError::Closed).then_some(Err(end))
            }
        }
    }
}

impl<'a, T: Payload> IntoIterator for &'a TypedSubscriber<T> {
    type Item = Result<TypedRecord<'a, T>, RecvError>;
    type IntoIter = TypedIter<'a, T>;

    fn into_iter(self) -> TypedIter<'a, T> {
        self.iter()
    }
}

impl<T> fmt::Debug for TypedIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedIter").field("subscriber", &self.subscriber.subscriber).finish_non_exhaustive()
    }
}
