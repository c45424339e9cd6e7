//! A bounded channel of crossbeam's, whose receivers are cloned for each worker.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Crew, Post, Take, Team};
use crate::systems::stamped;
use crate::{Error, Result};

/// Messages up to this length travel in the channel itself, longer ones in boxes of their own.
pub(in crate::systems) const SMALL: usize = 64;

/// How a message travels.
pub(in crate::systems) trait Message: Send + 'static {
    fn of(body: &[u8]) -> Self;
    fn bytes(&self) -> &[u8];
}

impl Message for [u8; SMALL] {
    #[inline(always)]
    fn of(body: &[u8]) -> Self {
        let mut message = [0; SMALL];
        message[..body.len()].copy_from_slice(body);
        message
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Message for Box<[u8]> {
    fn of(body: &[u8]) -> Self {
        body.into()
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<M: Message> Post for Sender<M> {
    #[inline(always)]
    fn send(&mut self, body: &[u8]) -> Result<()> {
        Sender::send(self, M::of(body)).map_err(|_| Error::failed("no worker has the channel any more"))
    }
}

impl<M: Message> Take for Receiver<M> {
    #[inline(always)]
    fn take(&mut self, body: &mut [u8]) -> Result<u64> {
        let message = self.recv().map_err(|_| Error::failed("nobody sends into the channel any more"))?;
        body.copy_from_slice(&message.bytes()[..body.len()]);
        Ok(stamped(body))
    }
}

pub(super) fn team<M: Message>(messages: usize, workers: usize) -> Box<dyn Team> {
    let (post, taker) = bounded::<M>(messages);
    Box::new(Crew { post, takers: vec![taker; workers] })
}
