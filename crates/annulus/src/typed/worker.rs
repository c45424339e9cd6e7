//! A worker of a group on a ring of values.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::time::Duration;

use crate::Waiting;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::job::Job;
use crate::payload::{Payload, as_ref};
use crate::worker::Worker;

/// A worker of a group whose records are values, which it borrows in place: a [`Worker`] whose jobs are of type `T`.
///
/// From [`Open::join_group`](crate::Open::join_group) of a [`TypedRing`](crate::TypedRing).
///
/// # Examples
///
/// ```
/// use annulus::Ring;
/// # let dir = format!("/dev/shm/annulus-doc-typed-worker-{}", std::process::id());
/// let mut tx = Ring::create_typed::<[u32; 2]>("sums").dir(&dir).producer()?;
/// let worker = Ring::open_typed::<[u32; 2]>("sums").dir(&dir).join_group("adders")?;
/// tx.send(&[2, 3])?;
/// let job = worker.recv()?;
/// assert_eq!(job[0] + job[1], 5);
/// job.ack(); // or dropped
/// # drop((worker, tx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TypedWorker<T> {
    worker: Worker,
    payload: PhantomData<fn() -> T>,
}

impl<T> TypedWorker<T> {
    pub(crate) fn inner(&self) -> &Worker {
        &self.worker
    }
}

impl<T: Payload> TypedWorker<T> {
    pub(crate) fn new(worker: Worker) -> TypedWorker<T> {
        TypedWorker { worker, payload: PhantomData }
    }

    /// The next value that nobody has; waits for it. See [`Worker::recv`].
    ///
    /// # Errors
    ///
    /// [`RecvError`]. A record of another length than a value's is [`Corrupt`](RecvError::Corrupt), and goes back: each worker
    /// finds it so, until it is a dead letter.
    #[inline]
    pub fn recv(&self) -> Result<TypedJob<'_, T>, RecvError> {
        TypedJob::new(self.worker.recv()?).ok_or(RecvError::Corrupt)
    }

    /// The next value that nobody has, if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`], or the end as from [`recv`](TypedWorker::recv).
    #[inline]
    pub fn try_recv(&self) -> Result<TypedJob<'_, T>, TryRecvError> {
        TypedJob::new(self.worker.try_recv()?).ok_or(TryRecvError::Ended(RecvError::Corrupt))
    }

    /// The next value that nobody has; waits for it, at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::TimedOut`], or the end as from [`recv`](TypedWorker::recv).
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<TypedJob<'_, T>, RecvTimeoutError> {
        TypedJob::new(self.worker.recv_timeout(timeout)?).ok_or(RecvTimeoutError::Ended(RecvError::Corrupt))
    }

    /// The oldest dead letter, if there is one: see [`Worker::try_dead_letter`].
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`], or [`Corrupt`](RecvError::Corrupt) if it is no value: it stays one then.
    pub fn try_dead_letter(&self) -> Result<TypedJob<'_, T>, TryRecvError> {
        TypedJob::new(self.worker.try_dead_letter()?).ok_or(TryRecvError::Ended(RecvError::Corrupt))
    }

    /// How this handle waits from now on.
    pub fn set_waiting(&self, waiting: Waiting) {
        self.worker.set_waiting(waiting);
    }

    /// The worker itself, whose jobs are bytes.
    pub fn as_bytes(&self) -> &Worker {
        &self.worker
    }
}

impl<T: Payload> fmt::Debug for TypedWorker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedWorker").field("type", &T::NAME).field("worker", &self.worker).finish()
    }
}

/// A value that is this worker's alone, borrowed where it lies. Acknowledged when it is dropped: see [`Job`].
pub struct TypedJob<'a, T> {
    job: Job<'a>,
    /// Where it lies. Not a reference, for the reason that `Job` has none.
    value: NonNull<T>,
}

impl<'a, T: Payload> TypedJob<'a, T> {
    /// The value that a job is. `None`: it is none, and was given back.
    #[inline]
    fn new(job: Job<'a>) -> Option<TypedJob<'a, T>> {
        match as_ref(&job).map(NonNull::from) {
            Some(value) => Some(TypedJob { job, value }),
            None => {
                job.nack();
                None
            }
        }
    }
}

impl<T> TypedJob<'_, T> {
    /// The record's number in the ring, from 0.
    pub fn sequence(&self) -> u64 {
        self.job.sequence()
    }

    /// How often it was delivered: see [`Job::attempts`].
    pub fn attempts(&self) -> u32 {
        self.job.attempts()
    }

    /// Whether it was delivered before: see [`Job::is_redelivered`].
    pub fn is_redelivered(&self) -> bool {
        self.job.is_redelivered()
    }

    /// When it was published, in nanoseconds by the ring's [`Clock`](crate::Clock); `None` on a ring without stamps.
    pub fn time(&self) -> Option<u64> {
        self.job.time()
    }

    /// Acknowledges it: see [`Job::ack`].
    pub fn ack(self) {
        self.job.ack();
    }

    /// Gives it back: see [`Job::nack`].
    pub fn nack(self) -> bool {
        self.job.nack()
    }
}

impl<T> Deref for TypedJob<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the pointer came from a reference to a `T` that `as_ref` found in the bytes that `job` lends. They lie in
        // the ring, not in `job`, which may have been moved since; and what makes them readable and keeps them as they are
        // (see `Job::bytes`) holds until `job` is dropped or consumed, so as long as `self` is borrowed.
        unsafe { self.value.as_ref() }
    }
}

impl<T> AsRef<T> for TypedJob<'_, T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: fmt::Debug> fmt::Debug for TypedJob<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedJob")
            .field("sequence", &self.sequence())
            .field("attempts", &self.attempts())
            .field("value", &**self)
            .finish()
    }
}
