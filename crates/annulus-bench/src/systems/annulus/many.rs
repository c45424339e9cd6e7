//! Many rings, whose subscribers one thread of the peer waits for.

use annulus::{Producer, Select, Selectable, Subscriber, Waiting};

use super::{RingPlan, failed, recv, send};
use crate::Result;
use crate::systems::Half;

/// One process's ends: all producers, or all subscribers.
pub(crate) struct Many {
    to: Vec<Producer>,
    from: Vec<Subscriber>,
}

impl Many {
    pub(super) fn producers(plan: &RingPlan, rings: u32) -> Result<Self> {
        let to = (0..rings).map(|ring| plan.producer(&format!("client-{ring}")));
        Ok(Self { to: to.collect::<Result<_>>()?, from: Vec::new() })
    }

    pub(super) fn subscribers(plan: &RingPlan, rings: u32) -> Result<Self> {
        let from = (0..rings).map(|ring| plan.subscriber(&format!("client-{ring}")));
        Ok(Self { to: Vec::new(), from: from.collect::<Result<_>>()? })
    }

    /// For one round.
    pub(in crate::systems) fn selecting(&mut self) -> Selecting<'_> {
        let sources = self.from.iter().map(|from| from as &dyn Selectable).collect();
        let mut select = Select::new();
        select.set_waiting(Waiting::park());
        Selecting { to: &mut self.to, from: &self.from, sources, select }
    }
}

/// The half of one round.
pub(in crate::systems) struct Selecting<'a> {
    to: &'a mut [Producer],
    from: &'a [Subscriber],
    sources: Vec<&'a dyn Selectable>,
    select: Select,
}

impl Half for Selecting<'_> {
    /// Into one of the rings: which, nobody can know from the one before.
    #[inline(always)]
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        let random = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let rings = self.to.len().max(1);
        match self.to.get_mut(random as usize % rings) {
            Some(to) => send(to, seq, body),
            None => Err(failed("cannot send", "this side only reads")),
        }
    }

    #[inline(always)]
    fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        match self.select.wait(&self.sources) {
            Ok(ready) => recv(&self.from[ready], body),
            Err(e) => Err(failed("cannot wait for many rings", e)),
        }
    }
}
