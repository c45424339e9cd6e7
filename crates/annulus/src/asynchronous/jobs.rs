//! Workers in tasks.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use annulus_core::worker::Claimed;

use super::Async;
use crate::error::{RecvError, unless_empty};
use crate::{Job, Worker};

/// A record in the hands of a task: as [`Job`], with two differences.
///
/// It is `Send`, so a task can keep it over what it awaits while it works at it. And it is acknowledged by [`ack`](AsyncJob::ack) only:
/// dropped, it goes back to the group, since a task may be dropped wherever it awaits, with its work half done.
pub struct AsyncJob<'a> {
    /// Until a call that consumes this one takes it.
    job: Option<Job<'a>>,
    /// It borrows its worker alone, though its own field does not say so.
    alone: PhantomData<&'a mut Worker>,
}

// SAFETY: what is sent with it is its reference to the worker and a pointer into the worker's mapping. `new`, which alone makes one,
// takes the exclusive borrow of the worker that lasts as long as `'a`, so nobody else has the worker meanwhile: this is as if that
// `&mut Worker` were sent, and that may be, since `Worker` is `Send` (shown below). It is not `Sync`.
unsafe impl Send for AsyncJob<'_> {}

/// What the above relies on.
const fn is_send<T: Send>() {}
const _: () = is_send::<Worker>();

/// What a look at a worker found that ends the wait.
pub(super) fn claimed(worker: &Worker) -> Option<Result<Claimed, RecvError>> {
    unless_empty(worker.try_claim())
}

impl Async<Worker> {
    /// The next record that nobody has, lent in place: see [`Worker::recv`]. Dropped before it is done, it has claimed nothing.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as from [`Worker::recv`].
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::{RecvError, Ring};
    /// # let dir = format!("/dev/shm/annulus-doc-async-job-{}", std::process::id());
    /// let mut tx = Ring::create("mails").dir(&dir).producer()?;
    /// let mut worker = Ring::open("mails").dir(&dir).join_group("senders")?.into_async()?;
    /// tx.send(b"to a")?;
    /// drop(tx);
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// runtime.block_on(async move {
    ///     tokio::spawn(async move {
    ///         let job = worker.recv().await?;
    ///         tokio::task::yield_now().await; // the work
    ///         assert_eq!(&*job, b"to a");
    ///         job.ack();
    ///         assert_eq!(worker.recv().await.unwrap_err(), RecvError::Closed);
    ///         Ok::<(), RecvError>(())
    ///     })
    ///     .await
    /// })??;
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn recv(&mut self) -> Result<AsyncJob<'_>, RecvError> {
        // Between the look that claims it and the job that gives it back there is nothing to be dropped at.
        let claimed = self.when(|worker| claimed(worker)).await?;
        Ok(AsyncJob::new(&mut self.handle, claimed))
    }
}

impl<'a> AsyncJob<'a> {
    pub(super) fn new(worker: &'a mut Worker, claimed: Claimed) -> AsyncJob<'a> {
        AsyncJob { job: Some(Job::new(worker, claimed)), alone: PhantomData }
    }

    fn job(&self) -> &Job<'a> {
        self.job.as_ref().expect("only what consumes this takes it")
    }

    /// See [`Job::sequence`].
    pub fn sequence(&self) -> u64 {
        self.job().sequence()
    }

    /// See [`Job::attempts`].
    pub fn attempts(&self) -> u32 {
        self.job().attempts()
    }

    /// See [`Job::is_redelivered`].
    pub fn is_redelivered(&self) -> bool {
        self.job().is_redelivered()
    }

    /// See [`Job::time`].
    pub fn time(&self) -> Option<u64> {
        self.job().time()
    }

    /// See [`Job::ack`].
    pub fn ack(mut self) {
        self.job.take().into_iter().for_each(Job::ack);
    }

    /// See [`Job::nack`].
    pub fn nack(mut self) -> bool {
        self.job.take().is_some_and(Job::nack)
    }
}

impl Drop for AsyncJob<'_> {
    fn drop(&mut self) {
        self.job.take().map(Job::nack);
    }
}

impl Deref for AsyncJob<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.job()
    }
}

impl AsRef<[u8]> for AsyncJob<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AsyncJob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.job().fmt(f)
    }
}
