//! A ring in each direction, whose ends a task awaits.

use annulus::{Async, Producer, Subscriber};

use super::{Pair, failed};
use crate::Result;
use crate::systems::{copied, stamp};
use crate::tasks::TaskHalf;

/// One task's ends of both rings.
pub(crate) struct Tasks {
    to: Async<Producer>,
    from: Async<Subscriber>,
}

impl Tasks {
    pub(super) fn new(Pair { to, from }: Pair) -> Result<Self> {
        let cannot = |e| failed("cannot await a ring", e);
        Ok(Self { to: to.into_async().map_err(cannot)?, from: from.into_async().map_err(cannot)? })
    }
}

impl TaskHalf for Tasks {
    async fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        stamp(seq, body);
        match self.to.send(body).await {
            Ok(_) => Ok(()),
            Err(e) => Err(failed("cannot send", e)),
        }
    }

    async fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        let record = match self.from.recv().await {
            Ok(record) => record,
            Err(e) => return Err(failed("cannot receive", e)),
        };
        copied(&record, body)
    }
}
