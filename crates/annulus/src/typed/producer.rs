//! The sending end of a ring of values.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::Waiting;
use crate::error::{
    Error, SendAckedError, SendAckedTimeoutError, SendError, SendTimeoutError, TrySendError, WaitError,
};
use crate::handover::Offer;
use crate::payload::{Payload, as_bytes};
use crate::producer::Producer;

/// The one sending end of a ring of values: a [`Producer`] that sends nothing else.
///
/// From [`Create::producer`](crate::Create::producer) and [`Open::producer`](crate::Open::producer) of a
/// [`TypedRing`](crate::TypedRing). Dropping it ends the ring cleanly, as with a `Producer`.
///
/// A value fits in a ring of its type, since that is checked when the ring is created: no method says `TooLarge` of a ring
/// whose words are as its creator wrote them.
///
/// # Examples
///
/// ```
/// use annulus::Ring;
/// # let dir = format!("/dev/shm/annulus-doc-typed-producer-{}", std::process::id());
/// let mut tx = Ring::create_typed::<u64>("ticks").dir(&dir).capacity(4096).producer()?;
/// let rx = Ring::open_typed::<u64>("ticks").dir(&dir).subscribe()?;
/// tx.send(&1)?;
/// assert_eq!(tx.send_batch([2, 3])?, 2);
/// assert_eq!(tx.send_batch(&[4, 5])?, 2);
/// drop(tx);
/// assert_eq!(rx.iter().map(|tick| *tick.unwrap()).sum::<u64>(), 15);
/// # drop(rx);
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TypedProducer<T> {
    // Not lent out: it would send other bytes too.
    producer: Producer,
    payload: PhantomData<fn(T)>,
}

/// A value in a batch.
struct Staged<V, T>(V, PhantomData<fn(T)>);

impl<V: Borrow<T>, T: Payload> AsRef<[u8]> for Staged<V, T> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        as_bytes(self.0.borrow())
    }
}

impl<T> TypedProducer<T> {
    pub(crate) fn inner(&self) -> &Producer {
        &self.producer
    }

    pub(crate) fn inner_mut(&mut self) -> &mut Producer {
        &mut self.producer
    }
}

impl<T: Payload> TypedProducer<T> {
    pub(crate) fn new(producer: Producer) -> TypedProducer<T> {
        TypedProducer { producer, payload: PhantomData }
    }

    /// Sends one value, waiting while a subscriber is a full ring behind: see [`Producer::send`].
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent.
    #[inline]
    pub fn send(&mut self, value: &T) -> Result<(), SendError> {
        self.producer.send(as_bytes(value))
    }

    /// Sends one value if there is room now.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] with the reader that is furthest behind; nothing was sent.
    #[inline]
    pub fn try_send(&mut self, value: &T) -> Result<(), TrySendError> {
        self.producer.try_send(as_bytes(value))
    }

    /// Sends one value, waiting at most `timeout` for room. A value that finds room at the last look is sent.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]; nothing was sent.
    pub fn send_timeout(&mut self, value: &T, timeout: Duration) -> Result<(), SendTimeoutError> {
        self.producer.send_timeout(as_bytes(value), timeout)
    }

    /// Sends one value and waits until everyone has released it: see [`Producer::send_acked`].
    ///
    /// # Errors
    ///
    /// [`SendAckedError`].
    pub fn send_acked(&mut self, value: &T) -> Result<u32, SendAckedError> {
        self.producer.send_acked(as_bytes(value))
    }

    /// The same, waiting at most `timeout` in all: see [`Producer::send_acked_timeout`].
    ///
    /// # Errors
    ///
    /// [`SendAckedTimeoutError`].
    pub fn send_acked_timeout(&mut self, value: &T, timeout: Duration) -> Result<u32, SendAckedTimeoutError> {
        self.producer.send_acked_timeout(as_bytes(value), timeout)
    }

    /// Sends many values, waiting while the ring is full; returns how many. As many as fit become visible at once, in
    /// one store; a batch larger than the ring goes in parts.
    ///
    /// # Errors
    ///
    /// [`SendError`]; those before it were sent.
    pub fn send_batch<I>(&mut self, values: I) -> Result<u64, SendError>
    where
        I: IntoIterator,
        I::Item: Borrow<T>,
    {
        self.producer.send_batch(values.into_iter().map(|value| Staged(value, PhantomData)))
    }

    /// Sends the first of many values that fit now, visible at once; returns how many those are, which may be none.
    ///
    /// # Errors
    ///
    /// [`SendError`]; those before it were sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-typed-batch-{}", std::process::id());
    /// let mut tx = Ring::create_typed::<[u8; 1000]>("pages").dir(&dir).capacity(4096).producer()?;
    /// let rx = Ring::open_typed::<[u8; 1000]>("pages").dir(&dir).subscribe()?;
    /// assert_eq!(tx.try_send_batch([[7; 1000]; 10])?, 3);
    /// # drop((rx, tx));
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_send_batch<I>(&mut self, values: I) -> Result<u64, SendError>
    where
        I: IntoIterator,
        I::Item: Borrow<T>,
    {
        self.producer.try_send_batch(values.into_iter().map(|value| Staged(value, PhantomData)))
    }

    /// Waits until the ring has `n` living subscribers of any kind: see [`Producer::wait_for_subscribers`].
    ///
    /// # Errors
    ///
    /// [`WaitError::TooMany`] if the ring has fewer places.
    pub fn wait_for_subscribers(&self, n: u32) -> Result<(), WaitError> {
        self.producer.wait_for_subscribers(n)
    }

    /// The same, waiting at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`WaitError`].
    pub fn wait_for_subscribers_timeout(&self, n: u32, timeout: Duration) -> Result<(), WaitError> {
        self.producer.wait_for_subscribers_timeout(n, timeout)
    }

    /// Bytes of record space.
    pub fn capacity(&self) -> usize {
        self.producer.capacity()
    }

    /// The sequence of the next record: how many this ring has published.
    pub fn sequence(&self) -> u64 {
        self.producer.sequence()
    }

    /// The ring's name.
    pub fn name(&self) -> &str {
        self.producer.name()
    }

    /// How this handle waits from now on.
    pub fn set_waiting(&mut self, waiting: Waiting) {
        self.producer.set_waiting(waiting);
    }

    /// Whether the ring's name still means this ring; files can be deleted under a running program. Always of one
    /// [without a name](crate::handover), which has none to lose.
    pub fn is_linked(&self) -> bool {
        self.producer.is_linked()
    }

    /// What another process needs to subscribe to this ring, or to observe it: see [`Producer::offer`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn offer(&self) -> Result<Offer, Error> {
        self.producer.offer()
    }

    /// What another process needs to observe this ring, and no more: see [`Producer::offer_data`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn offer_data(&self) -> Result<Offer, Error> {
        self.producer.offer_data()
    }
}

impl<T: Payload> fmt::Debug for TypedProducer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedProducer")
            .field("name", &self.name())
            .field("type", &T::NAME)
            .field("sequence", &self.sequence())
            .finish_non_exhaustive()
    }
}
