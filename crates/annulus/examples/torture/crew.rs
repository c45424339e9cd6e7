//! The workers of one group, as the conductor has them.

use std::time::Instant;

use crate::actor::{Actor, Role};
use crate::plan::{GroupPlan, Keeping};
use crate::ring::Starter;

/// A group's workers. One that stays is there from the beginning if the group is never to be without; else at the end, so that
/// nothing is left when the ring is closed.
#[derive(Debug)]
pub(crate) struct Crew {
    ring: u64,
    plan: GroupPlan,
    workers: Vec<Actor>,
    /// Killed, and not waited for yet.
    dying: Vec<Actor>,
    stays: Option<Actor>,
    /// It has joined.
    has_joined: bool,
    /// It has been told that the others have ended.
    is_told: bool,
}

impl Crew {
    pub(crate) fn new(ring: u64, plan: GroupPlan) -> Crew {
        Crew {
            ring,
            plan,
            workers: Vec::new(),
            dying: Vec::new(),
            stays: None,
            has_joined: false,
            is_told: false,
        }
    }

    /// One thing of so many happens to one of them, a stop until some time perhaps.
    pub(crate) fn happen(
        &mut self,
        what: u64,
        which: u64,
        until: Instant,
        by: &mut impl Starter,
    ) -> Result<(), String> {
        let i = (which % self.workers.len().max(1) as u64) as usize;
        match what {
            0..=27 if !self.workers.is_empty() => {
                let worker = self.workers.swap_remove(i);
                self.bury(worker, by);
            }
            28..=30 => {
                for worker in std::mem::take(&mut self.workers) {
                    self.bury(worker, by);
                }
            }
            31..=49 => {
                // Also the one that stays.
                let worker = self.workers.iter_mut().chain(&mut self.stays).nth(i);
                if let Some(worker) = worker
                    && worker.stop(until)
                {
                    by.deeds().stopped(worker.role);
                }
            }
            50.. => self.start(by)?,
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, by: &mut impl Starter) -> Result<(), String> {
        // One that is killed and not dead yet has its place still.
        let is_full = self.workers.len() + self.dying.len() >= self.plan.workers;
        if self.plan.keeping == Keeping::Manned && !self.has_joined {
            return self.start_one_that_stays(by);
        }
        if !is_full {
            self.workers.push(by.start(self.ring, self.role(false))?);
        }
        Ok(())
    }

    fn start_one_that_stays(&mut self, by: &mut impl Starter) -> Result<(), String> {
        if self.stays.is_none() {
            self.stays = Some(by.start(self.ring, self.role(true))?);
        }
        Ok(())
    }

    fn role(&self, stays: bool) -> Role {
        Role::Worker { group: self.plan.number, stays }
    }

    fn bury(&mut self, mut worker: Actor, by: &mut impl Starter) {
        by.deeds().killed(worker.role);
        worker.kill();
        self.dying.push(worker);
    }

    /// Does what it is time for.
    pub(crate) fn tend(&mut self, now: Instant, ending: bool, by: &mut impl Starter) -> Result<(), String> {
        if ending && !self.has_joined {
            self.start_one_that_stays(by)?;
        }
        for crew in [&mut self.workers, &mut self.dying] {
            for mut worker in std::mem::take(crew) {
                worker.go_on_at(now);
                if worker.ended()?.is_none() {
                    crew.push(worker);
                }
            }
        }
        let Some(stays) = &mut self.stays else { return Ok(()) };
        stays.go_on_at(now);
        self.has_joined = self.has_joined || stays.has_joined();
        let is_alone = self.workers.is_empty() && self.dying.is_empty();
        if ending && self.has_joined && is_alone && !self.is_told {
            self.is_told = true;
            stays.close()?;
        }
        if stays.ended()?.is_some() {
            if !self.is_told {
                return Err("a worker that stays has left".into());
            }
            self.stays = None;
        }
        Ok(())
    }

    /// Whether the ring may be closed: somebody is there who will see to what is left.
    pub(crate) fn is_ready(&self) -> bool {
        self.has_joined
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.workers.is_empty() && self.dying.is_empty() && self.stays.is_none()
    }

    pub(crate) fn actors(&mut self) -> impl Iterator<Item = &mut Actor> {
        self.workers.iter_mut().chain(&mut self.dying).chain(&mut self.stays)
    }
}
