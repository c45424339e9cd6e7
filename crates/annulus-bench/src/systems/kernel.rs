//! A pipe in each direction, or a pair of stream sockets: a call into the kernel for each message.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use super::{Half, stamp, stamped};
use crate::{Error, Result};

/// The two descriptors of one end: to read from and to write to.
pub(crate) struct Kernel {
    from: File,
    to: File,
}

impl Kernel {
    pub(super) fn new([from, to]: [OwnedFd; 2]) -> Self {
        Self { from: from.into(), to: to.into() }
    }

    /// Another descriptor of what is read from: of a socket, of both.
    pub(super) fn another(&self) -> Result<OwnedFd> {
        let fd = self.from.try_clone();
        fd.map(OwnedFd::from).map_err(|e| Error::io("cannot duplicate a descriptor", &e))
    }
}

impl Half for Kernel {
    #[inline]
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        stamp(seq, body);
        self.to.write_all(body).map_err(|e| Error::io("cannot write to the peer", &e))
    }

    #[inline]
    fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        self.from.read_exact(body).map_err(|e| Error::io("cannot read from the peer", &e))?;
        Ok(stamped(body))
    }
}
