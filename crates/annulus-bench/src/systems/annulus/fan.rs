//! One ring, and in the peer a number of subscribers in one thread.

use annulus::{Producer, Subscriber};

use super::{RingPlan, failed, recv, send};
use crate::Result;
use crate::systems::Half;

/// One process's end: the producer, or all subscribers.
pub(crate) struct Fan {
    to: Option<Producer>,
    from: Vec<Subscriber>,
}

impl Fan {
    pub(super) fn producer(plan: &RingPlan) -> Result<Self> {
        Ok(Self { to: Some(plan.producer("client")?), from: Vec::new() })
    }

    pub(super) fn subscribers(plan: &RingPlan, readers: u32) -> Result<Self> {
        let from = (0..readers).map(|_| plan.subscriber("client"));
        Ok(Self { to: None, from: from.collect::<Result<_>>()? })
    }
}

impl Half for Fan {
    #[inline(always)]
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        match &mut self.to {
            Some(to) => send(to, seq, body),
            None => Err(failed("cannot send", "this side only reads")),
        }
    }

    /// Each subscriber takes the record and lets go of it. The first one waits, and the others find it there.
    #[inline(always)]
    fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        let (mut got, mut same) = (0, true);
        for (i, from) in self.from.iter().enumerate() {
            let seq = recv(from, body)?;
            same &= i == 0 || seq == got;
            got = seq;
        }
        if same { Ok(got) } else { Err(failed("readers differ", got)) }
    }
}
