//! The pair of Unix stream sockets once more, awaited by a task in each process.

use std::os::unix::net::UnixStream as Blocking;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::kernel::Kernel;
use super::{stamp, stamped};
use crate::tasks::TaskHalf;
use crate::{Error, Result};

/// One process's end for one round. What it shares with the end that blocks is put back when it is dropped.
pub(super) struct Socket {
    stream: UnixStream,
    blocking: Blocking,
}

impl Socket {
    pub(super) fn new(runtime: &Runtime, kernel: &Kernel) -> Result<Self> {
        let failed = |e| Error::io("cannot await a socket", &e);
        let blocking = Blocking::from(kernel.another()?);
        let stream = blocking.try_clone().map_err(failed)?;
        stream.set_nonblocking(true).map_err(failed)?;
        let _within = runtime.enter();
        Ok(Self { stream: UnixStream::from_std(stream).map_err(failed)?, blocking })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.blocking.set_nonblocking(false); // it fails on no socket
    }
}

impl TaskHalf for Socket {
    async fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        stamp(seq, body);
        self.stream.write_all(body).await.map_err(|e| Error::io("cannot write to the peer", &e))
    }

    async fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        let read = self.stream.read_exact(body).await;
        read.map_err(|e| Error::io("cannot read from the peer", &e))?;
        Ok(stamped(body))
    }
}
