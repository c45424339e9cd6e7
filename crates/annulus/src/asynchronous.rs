//! Handles for tasks: of any runtime, since nothing here asks which one it is.
//!
//! A task waits with the [parker](crate::parker), which keeps the waker that it came with. So there is neither a thread for each
//! task nor a loop that looks again and again, and no reactor is needed.

mod jobs;
#[cfg(feature = "tokio")]
mod reactor;
mod readers;
mod senders;
mod streams;

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::error::Error;
use crate::parker::{Parked, Seat, Waits, look_or_park};
pub use jobs::AsyncJob;
#[cfg(feature = "tokio")]
pub use reactor::{TokioError, TokioPollable};

/// A handle for tasks: its verbs are `async`, and wait without keeping a thread. From `into_async` of each handle; see the book,
/// "Rings and async".
///
/// It belongs to one task at a time: `Send`, with verbs that take `&mut self`. Each verb may be dropped before it is done, at any
/// point: no record is lost by that, none is sent twice or by half, and nothing is left behind that would be woken.
///
/// What is received in place is lent by the handle and is not `Send`: drop it, or copy it, before the next `await`.
///
/// # Examples
///
/// ```
/// use annulus::{RecvError, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-async-{}", std::process::id());
/// let tx = Ring::create("ticks").dir(&dir).producer()?;
/// let rx = Ring::open("ticks").dir(&dir).subscribe()?;
/// let (mut tx, mut rx) = (tx.into_async()?, rx.into_async()?);
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// runtime.block_on(async move {
///     let reader = tokio::spawn(async move {
///         assert_eq!(&*rx.recv().await?, b"tick");
///         assert_eq!(rx.recv().await.unwrap_err(), RecvError::Closed);
///         Ok::<(), RecvError>(())
///     });
///     tokio::task::yield_now().await;
///     tx.send(b"tick").await?;
///     drop(tx);
///     reader.await??;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Async<H> {
    handle: H,
    seat: Seat,
    /// A stream's end was told.
    ended: bool,
    /// A sink's record that there was no room for yet.
    unsent: Option<Vec<u8>>,
}

impl<H> Async<H> {
    /// The handle, for all that does not wait.
    pub fn get_ref(&self) -> &H {
        &self.handle
    }

    /// The handle. Its own verbs wait as they always do: they keep the thread.
    pub fn get_mut(&mut self) -> &mut H {
        &mut self.handle
    }

    /// The handle as it was. A record that [`Sink::start_send`](futures_sink::Sink::start_send) took and that was not flushed is not sent.
    pub fn into_inner(self) -> H {
        self.handle
    }

    /// One step of waiting until `look` finds something.
    fn poll_when<T>(&mut self, cx: &mut Context<'_>, look: impl FnMut(&mut H) -> Option<T>) -> Poll<T>
    where
        H: Waits,
    {
        match look_or_park(&mut self.handle, &mut self.seat, cx.waker(), look) {
            Ok(found) => Poll::Ready(found),
            Err(Parked::Waiting) => Poll::Pending,
            Err(Parked::LookAgain) => {
                // It goes on, after the others.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Waits until `look` finds something.
    async fn when<T>(&mut self, mut look: impl FnMut(&mut H) -> Option<T>) -> T
    where
        H: Waits,
    {
        let waiting = Waiting(self);
        poll_fn(|cx| waiting.0.poll_when(cx, &mut look)).await
    }
}

/// A wait that may be dropped.
struct Waiting<'a, H: Waits>(&'a mut Async<H>);

impl<H: Waits> Drop for Waiting<'_, H> {
    fn drop(&mut self) {
        let Async { handle, seat, .. } = &mut *self.0;
        handle.leave(seat);
    }
}

fn into_async<H: Waits>(handle: H) -> Result<Async<H>, Error> {
    Ok(Async { seat: handle.seat()?, handle, ended: false, unsent: None })
}

impl<H: fmt::Debug> fmt::Debug for Async<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Async").field("handle", &self.handle).finish_non_exhaustive()
    }
}

macro_rules! into_async {
    ($([$($payload:ident)?] $handle:ty),* $(,)?) => {$(
        impl<$($payload: crate::Payload)?> $handle {
            /// This handle for tasks, of any runtime.
            ///
            /// # Errors
            ///
            /// If the process may have no more threads: the library starts one for all of them.
            pub fn into_async(self) -> Result<Async<$handle>, Error> {
                into_async(self)
            }
        }
    )*};
}

into_async!(
    [] crate::Subscriber,
    [] crate::CopyingSubscriber,
    [] crate::Observer,
    [] crate::Producer,
    [] crate::Worker,
    [T] crate::TypedSubscriber<T>,
    [T] crate::TypedCopyingSubscriber<T>,
    [T] crate::TypedObserver<T>,
    [T] crate::TypedProducer<T>,
);
