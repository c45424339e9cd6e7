//! Round trips between two tasks that await each message: the loops of `loops.rs` once more, for halves whose verbs are
//! futures. Each process has a runtime with one thread.

use std::hint::black_box;
use std::ops::DerefMut;

use tokio::runtime::{Builder, Runtime};

use crate::loops::{Client, STOP, Server, UNTIMED, same};
use crate::{Error, Result};

/// One end of a connection, within a task.
pub(crate) trait TaskHalf: Send {
    /// Sends `body`, with `seq` written into it.
    fn send(&mut self, seq: u64, body: &mut [u8]) -> impl Future<Output = Result<()>> + Send;
    /// Waits for the next message, copies all of it into `body`, and tells what `seq` it was.
    fn recv(&mut self, body: &mut [u8]) -> impl Future<Output = Result<u64>> + Send;
}

/// The runtime of one process, for one round.
pub(crate) fn runtime() -> Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_io().build();
    runtime.map_err(|e| Error::io("cannot make a runtime", &e))
}

impl Client<'_> {
    /// The whole of a round between this task and another one of the same thread, which gives back its end.
    pub(crate) fn dialogue<H: TaskHalf, B>(self, ours: &mut H, mut theirs: B) -> Result<B>
    where
        B: DerefMut<Target = H> + Send + 'static,
    {
        let (size, seq) = (self.size, *self.seq);
        runtime()?.block_on(async {
            let other = tokio::spawn(async move { echo(&mut *theirs, size, seq).await.map(|()| theirs) });
            self.trips(ours).await?;
            other.await.unwrap_or_else(|_| Err(panicked()))
        })
    }

    /// One stamp for each round trip: the end of one is the start of the next.
    pub(crate) async fn trips<H: TaskHalf>(mut self, half: &mut H) -> Result<()> {
        let mut body = self.begin()?;
        let clock = self.clock;
        let mut answer = vec![0; self.size];
        let mut seq = *self.seq;
        let mut last = clock.now();
        let mut end = last + clock.ticks(self.length);
        for trip in 0_u32.. {
            seq += 1;
            half.send(seq, &mut body).await?;
            same(half.recv(&mut answer).await?, seq)?;
            black_box(&mut answer);
            let now = clock.now();
            if trip < UNTIMED {
                end = now + clock.ticks(self.length);
            } else {
                self.sheet.samples.push((now - last).min(u64::from(u32::MAX)) as u32);
            }
            if now >= end || self.sheet.samples.len() == self.sheet.samples.capacity() {
                break;
            }
            last = now;
        }
        *self.seq = seq;
        half.send(STOP, &mut body).await
    }
}

impl Server<'_> {
    /// Sends back what comes, read out in full before.
    pub(crate) async fn answers<H: TaskHalf>(self, half: &mut H) -> Result<()> {
        (self.ready)()?;
        echo(half, self.size, self.seq).await
    }
}

#[cold]
pub(crate) fn panicked() -> Error {
    Error::failed("the other task has panicked")
}

/// Sends back what comes after message `seq`.
pub(crate) async fn echo<H: TaskHalf>(half: &mut H, size: usize, mut seq: u64) -> Result<()> {
    let mut body = vec![0; size];
    loop {
        let got = half.recv(&mut body).await?;
        if got == STOP {
            return Ok(());
        }
        seq += 1;
        same(got, seq)?;
        half.send(got, &mut body).await?;
    }
}
