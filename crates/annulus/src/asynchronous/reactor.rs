//! Handles in tokio's reactor.
#![allow(unsafe_code)]

use std::fmt;
use std::io;

use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;

use super::jobs::{AsyncJob, claimed};
use super::readers::{copied, held};
use super::senders::sent;
use crate::error::{CopyError, Error, RecvError, SendError};
use crate::parker::Waits;
use crate::{CopyingSubscriber, Observer, Pollable, Producer, Received, Record, Subscriber, Worker};

/// A [`Pollable`] handle in tokio's reactor. From [`Pollable::into_tokio`].
///
/// For tasks, [`Async`](crate::Async) does without a descriptor and without this feature. This one is for programs that have all
/// they wait for in one reactor. Its verbs may be dropped before they are done, as those of `Async`.
///
/// # Examples
///
/// ```
/// use annulus::Ring;
/// # let dir = format!("/dev/shm/annulus-doc-tokio-{}", std::process::id());
/// let mut tx = Ring::create("ticks").dir(&dir).producer()?;
/// let rx = Ring::open("ticks").dir(&dir).subscribe()?.into_pollable()?;
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
/// runtime.block_on(async {
///     let mut rx = rx.into_tokio()?;
///     tx.send(b"tick")?;
///     assert_eq!(&*rx.recv().await?, b"tick");
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # drop(tx);
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TokioPollable<H>(AsyncFd<Pollable<H>>);

/// Why a [`TokioPollable`] has nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum TokioError<E> {
    /// What the handle says.
    Ring(E),
    /// What the runtime says: it is shutting down.
    Runtime(io::Error),
}

impl<E: fmt::Display> fmt::Display for TokioError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokioError::Ring(error) => error.fmt(f),
            TokioError::Runtime(error) => {
                write!(f, "the runtime waits no longer: {error}; end the task, or wait in another runtime")
            }
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for TokioError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TokioError::Ring(error) => Some(error),
            TokioError::Runtime(error) => Some(error),
        }
    }
}

impl<H> Pollable<H> {
    /// This handle in the reactor of the runtime that the caller is in.
    ///
    /// # Errors
    ///
    /// If the reactor takes no more descriptors.
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio's, or in one whose I/O is not enabled.
    pub fn into_tokio(self) -> Result<TokioPollable<H>, Error> {
        // SAFETY: the descriptor of a `Pollable` is the same at each call, and open as long as it lives: its `EventFd` closes it when
        // it is dropped, and nothing else does. No caller gets the `Pollable` by exclusive reference before it is out again, so none
        // puts another in its place.
        let registered = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        let registered = registered.map_err(|error| Error::step("wait in tokio's reactor", error.into()));
        Ok(TokioPollable(registered?))
    }
}

impl<H> TokioPollable<H> {
    /// The handle, for all that does not wait.
    pub fn get_ref(&self) -> &H {
        self.0.get_ref().get_ref()
    }

    /// The handle. Its own verbs wait as they always do: they keep the thread.
    pub fn get_mut(&mut self) -> &mut H {
        // Not the `Pollable`: the reactor has that one's descriptor, and another could be put in its place.
        self.0.get_mut().get_mut()
    }

    /// The handle, without the reactor.
    pub fn into_inner(self) -> Pollable<H> {
        self.0.into_inner()
    }

    /// Waits until `look` finds something.
    async fn when<T, E>(
        &mut self,
        mut look: impl FnMut(&mut H) -> Option<Result<T, E>>,
    ) -> Result<T, TokioError<E>>
    where
        H: Waits,
    {
        loop {
            let mut ready = self.0.readable_mut().await.map_err(TokioError::Runtime)?;
            match ready.get_inner_mut().attempt(&mut look) {
                Some(found) => return found.map_err(TokioError::Ring),
                // What has come since then has told the reactor again.
                None => ready.clear_ready(),
            }
        }
    }
}

impl<H: fmt::Debug> fmt::Debug for TokioPollable<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokioPollable").field(self.get_ref()).finish()
    }
}

impl TokioPollable<Subscriber> {
    /// The next record, lent in place: see [`Subscriber::recv`].
    ///
    /// # Errors
    ///
    /// [`TokioError`].
    pub async fn recv(&mut self) -> Result<Record<'_>, TokioError<RecvError>> {
        let held = self.when(|subscriber| held(subscriber)).await?;
        Ok(Record::new(self.get_ref(), held))
    }
}

impl TokioPollable<Worker> {
    /// The next record that nobody has, lent in place: see [`Worker::recv`].
    ///
    /// # Errors
    ///
    /// [`TokioError`].
    pub async fn recv(&mut self) -> Result<AsyncJob<'_>, TokioError<RecvError>> {
        let claimed = self.when(|worker| claimed(worker)).await?;
        Ok(AsyncJob::new(self.get_mut(), claimed))
    }
}

macro_rules! copying {
    ($($handle:ty),* $(,)?) => {$(
        impl TokioPollable<$handle> {
            /// Copies the next record into `buf`, which becomes as long as the record.
            ///
            /// # Errors
            ///
            /// [`TokioError`].
            pub async fn recv_into(&mut self, buf: &mut Vec<u8>) -> Result<Received, TokioError<CopyError>> {
                self.when(|reader| copied(reader.try_recv_into(buf))).await
            }
        }
    )*};
}

copying!(CopyingSubscriber, Observer);

impl TokioPollable<Producer> {
    /// Sends one record, waiting while a subscriber is a full ring behind. Dropped before it is done, it has sent nothing of it.
    ///
    /// # Errors
    ///
    /// [`TokioError`]; nothing was sent.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), TokioError<SendError>> {
        self.when(|producer| sent(producer, payload)).await
    }
}
