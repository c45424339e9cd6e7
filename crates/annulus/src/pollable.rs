//! Handles in loops around poll(2), select(2) and epoll(7).

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use annulus_core::writer::Refusal;
use annulus_os::EventFd;

use crate::error::{Error, TryCopyError, TryRecvError, TrySendError, at_home, unless_empty};
use crate::parker::{Parked, Seat, Waits, look_or_park};
use crate::producer::behind;
use crate::{CopyingSubscriber, Job, Observer, Producer, Received, Record, Subscriber, Worker};

/// A handle with a descriptor that is readable when it is worth trying, for loops around poll(2) and its like. From
/// `into_pollable` of each handle.
///
/// The descriptor is readable from the start, and stays so until a call of this type finds nothing (or, of a producer, no room).
/// From then on it is not, until there is something, or the end, or now and then a false alarm. So: wait until it is readable,
/// then call until nothing is left; who stops before that is told again at once. Never read from it.
///
/// What makes it readable is one thread of the library's, the same for all pollable handles of the process.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use annulus::{Ring, TryRecvError};
/// # let dir = format!("/dev/shm/annulus-doc-pollable-{}", std::process::id());
/// let mut tx = Ring::create("ticks").dir(&dir).producer()?;
/// let mut rx = Ring::open("ticks").dir(&dir).subscribe()?.into_pollable()?;
/// assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
/// tx.send(b"tick")?;
/// // poll(2), or whatever loop the program has, with this descriptor:
/// let descriptor = rx.as_fd();
/// # let _ = descriptor;
/// assert_eq!(&*rx.try_recv()?, b"tick");
/// # drop((tx, rx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pollable<H> {
    handle: H,
    seat: Seat,
    flag: Arc<Flag>,
    waker: Waker,
}

/// The descriptor, as what is woken.
pub(crate) struct Flag(pub(crate) EventFd);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.raise();
    }
}

impl<H> Pollable<H> {
    /// The handle, for all that does not receive or send.
    pub fn get_ref(&self) -> &H {
        &self.handle
    }

    /// The handle. What is received or sent through it leaves the descriptor as it is.
    pub fn get_mut(&mut self) -> &mut H {
        &mut self.handle
    }

    /// The handle without its descriptor.
    pub fn into_inner(self) -> H {
        self.handle
    }

    /// Has the descriptor say from now on whether there is something, if there is nothing now.
    pub(crate) fn attempt<T>(&mut self, mut look: impl FnMut(&mut H) -> Option<T>) -> Option<T>
    where
        H: Waits,
    {
        let Pollable { handle, seat, flag, waker } = self;
        // Lowered before the look that finds nothing: what comes after that raises it again.
        let outcome = look_or_park(handle, seat, waker, |handle| {
            look(handle).or_else(|| {
                flag.0.lower();
                look(handle).inspect(|_| flag.0.raise())
            })
        });
        if matches!(outcome, Err(Parked::LookAgain)) {
            flag.0.raise();
        }
        outcome.ok()
    }
}

impl<H> AsFd for Pollable<H> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.flag.0.as_fd()
    }
}

impl<H> AsRawFd for Pollable<H> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<H: fmt::Debug> fmt::Debug for Pollable<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pollable").field("handle", &self.handle).finish_non_exhaustive()
    }
}

pub(crate) fn pollable<H: Waits>(handle: H) -> Result<Pollable<H>, Error> {
    let fd = EventFd::new().map_err(|source| Error::step("make a descriptor to poll", source))?;
    // Nobody has looked yet.
    fd.raise();
    let flag = Arc::new(Flag(fd));
    Ok(Pollable { seat: handle.seat()?, waker: Waker::from(Arc::clone(&flag)), flag, handle })
}

macro_rules! into_pollable {
    ($($handle:ty),* $(,)?) => {$(
        impl $handle {
            /// This handle with a descriptor, for loops around poll(2) and its like.
            ///
            /// # Errors
            ///
            /// If the process may have no more descriptors or threads.
            pub fn into_pollable(self) -> Result<Pollable<$handle>, Error> {
                pollable(self)
            }
        }
    )*};
}

into_pollable!(Subscriber, CopyingSubscriber, Observer, Producer, Worker);

impl Pollable<Subscriber> {
    /// The next record if it is there: see [`Subscriber::try_recv`].
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]; after [`Empty`](TryRecvError::Empty) the descriptor is not readable.
    pub fn try_recv(&mut self) -> Result<Record<'_>, TryRecvError> {
        let held = self.attempt(|handle| unless_empty(handle.try_held()));
        let held = held.ok_or(TryRecvError::Empty)?.map_err(TryRecvError::Ended)?;
        Ok(Record::new(&self.handle, held))
    }
}

impl Pollable<Worker> {
    /// The next record that nobody has, if there is one: see [`Worker::try_recv`]. One that is readable was woken in place of a
    /// fellow: call this soon, or drop it, so that another gets the record.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]; after [`Empty`](TryRecvError::Empty) the descriptor is not readable.
    pub fn try_recv(&mut self) -> Result<Job<'_>, TryRecvError> {
        let claimed = self.attempt(|worker| unless_empty(worker.try_claim()));
        let claimed = claimed.ok_or(TryRecvError::Empty)?.map_err(TryRecvError::Ended)?;
        Ok(Job::new(&self.handle, claimed))
    }
}

macro_rules! copying {
    ($($handle:ty),* $(,)?) => {$(
        impl Pollable<$handle> {
            /// Copies the next record into `buf` if it is there.
            ///
            /// # Errors
            ///
            /// [`TryCopyError`]; after [`Empty`](TryCopyError::Empty) the descriptor is not readable.
            pub fn try_recv(&mut self, buf: &mut [u8]) -> Result<Received, TryCopyError> {
                self.attempt(|handle| copy_unless_empty(handle.try_recv(buf))).unwrap_or(Err(TryCopyError::Empty))
            }

            /// The same into `buf`, which becomes as long as the record.
            ///
            /// # Errors
            ///
            /// [`TryCopyError`], never `TooSmall`; after [`Empty`](TryCopyError::Empty) the descriptor is not readable.
            pub fn try_recv_into(&mut self, buf: &mut Vec<u8>) -> Result<Received, TryCopyError> {
                self.attempt(|handle| copy_unless_empty(handle.try_recv_into(buf))).unwrap_or(Err(TryCopyError::Empty))
            }
        }
    )*};
}

copying!(CopyingSubscriber, Observer);

fn copy_unless_empty(outcome: Result<Received, TryCopyError>) -> Option<Result<Received, TryCopyError>> {
    (outcome != Err(TryCopyError::Empty)).then_some(outcome)
}

impl Pollable<Producer> {
    /// Sends one record if there is room now. After a refusal the descriptor is readable once there is room for it.
    ///
    /// # Errors
    ///
    /// [`TrySendError`]; nothing was sent. After [`Full`](TrySendError::Full) the descriptor is not readable.
    pub fn try_send(&mut self, payload: &[u8]) -> Result<(), TrySendError> {
        at_home(self.handle.birth)?;
        let mut last = None;
        let sent = self.attempt(|producer| match producer.publish_now(payload) {
            Ok(()) => Some(Ok(())),
            Err(Refusal::Full(full)) => {
                last = Some(full);
                None
            }
            Err(Refusal::TooLarge | Refusal::NeedsStamp) => Some(Err(producer.too_large(payload))),
        });
        match (sent, last) {
            (Some(outcome), _) => Ok(outcome?),
            (None, Some(full)) => Err(TrySendError::Full(behind(full))),
            (None, None) => unreachable!("what was not sent was refused"),
        }
    }
}
