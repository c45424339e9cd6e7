//! A ring and the workers of a group: a record is done when a worker lets go of it.

use annulus::{Producer, Worker};

use super::{Crew, Post, Take, Team};
use crate::Result;
use crate::systems::annulus::{RingPlan, failed};
use crate::systems::copied;

impl Post for Producer {
    #[inline(always)]
    fn send(&mut self, body: &[u8]) -> Result<()> {
        match Producer::send(self, body) {
            Ok(_) => Ok(()),
            Err(e) => Err(failed("cannot send", e)),
        }
    }
}

impl Take for Worker {
    #[inline(always)]
    fn take(&mut self, body: &mut [u8]) -> Result<u64> {
        let job = match self.recv() {
            Ok(job) => job,
            Err(e) => return Err(failed("cannot receive", e)),
        };
        copied(&job, body)
    }
}

pub(super) fn team(plan: &RingPlan, workers: u32) -> Result<Box<dyn Team>> {
    let (post, takers) = plan.group(workers)?;
    Ok(Box::new(Crew { post, takers }))
}
