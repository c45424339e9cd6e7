//! One ring of a run, with its producer, its readers and its groups: from the first start to the end of the last reader.

use std::time::{Duration, Instant};

use crate::actor::{Actor, Role};
use crate::crew::Crew;
use crate::deeds::Deeds;
use crate::notes::Noted;
use crate::plan::{LIVENESS, Plan, Random};
use crate::wire::Kind;

/// Who has got nowhere for so many liveness intervals, when nobody is stopped or killed any more, is stuck.
const PATIENCE: u32 = 20;
/// At most so many readers.
const READERS: usize = 4;
pub(crate) const LONGEST_STOP: Duration = Duration::from_millis(150);
/// Longer than a liveness interval, so that readers are told that their producer died.
const LONGEST_VACANCY: Duration = LIVENESS.saturating_mul(2);
const LONGEST_OVERLAP: Duration = Duration::from_millis(20);
const SHORTEST_RUN: Duration = Duration::from_millis(1500);
const LONGEST_RUN: Duration = Duration::from_secs(5);

/// What happens to the producer's place, and when.
#[derive(Debug)]
enum Change {
    /// Another is started.
    Start(Instant),
    /// The one that waits for the place gets it: its predecessor is killed.
    Succeed(Instant, Box<Actor>),
}

/// Starts processes of one run.
pub(crate) trait Starter {
    fn start(&mut self, ring: u64, role: Role) -> Result<Actor, String>;
    /// What a producer that is dead had noted.
    fn produced(&mut self, ring: u64, noted: Noted) -> Result<(), String>;
    /// What the run counts.
    fn deeds(&mut self) -> &mut Deeds;
}

#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) plan: Plan,
    producer: Option<Actor>,
    change: Option<Change>,
    readers: Vec<Actor>,
    crews: Vec<Crew>,
    /// Killed, and not waited for yet.
    dying: Vec<Actor>,
    until: Instant,
    ending: bool,
    /// The producer has been told to close the ring.
    closing: bool,
    looked: Instant,
}

impl Ring {
    pub(crate) fn start(
        plan: Plan,
        random: &mut Random,
        now: Instant,
        by: &mut impl Starter,
    ) -> Result<Ring, String> {
        let producer = by.start(plan.ring, Role::Producer)?;
        Ok(Ring {
            plan,
            producer: Some(producer),
            change: None,
            readers: Vec::new(),
            crews: plan.groups().into_iter().map(|group| Crew::new(plan.ring, group)).collect(),
            dying: Vec::new(),
            until: now + SHORTEST_RUN + random.up_to(LONGEST_RUN - SHORTEST_RUN),
            ending: false,
            closing: false,
            looked: now,
        })
    }

    /// One thing happens. Whatever it is, it takes the same number of decisions.
    pub(crate) fn happen(
        &mut self,
        random: &mut Random,
        now: Instant,
        by: &mut impl Starter,
    ) -> Result<(), String> {
        let (what, which, how, part) = (random.below(100), random.next(), random.below(3), random.next());
        let share = |most: Duration| most.mul_f64(part as f64 / u64::MAX as f64);
        if self.ending {
            return Ok(());
        }
        // Of a ring with groups every other thing happens to one of them.
        if let Some(crew) = (which as usize % (2 * self.crews.len()).max(1)).checked_sub(self.crews.len()) {
            return match self.crews.get_mut(crew) {
                Some(crew) => crew.happen(what, part, now + share(LONGEST_STOP), by),
                None => Ok(()),
            };
        }
        match what {
            0..=11 => self.kill_producer(how, &share, now, by),
            12..=19 => {
                if let Some(producer) = &mut self.producer
                    && producer.stop(now + share(LONGEST_STOP))
                {
                    by.deeds().stopped(Role::Producer);
                }
                Ok(())
            }
            20..=34 if !self.readers.is_empty() => {
                let i = which as usize % self.readers.len();
                let reader = self.readers.swap_remove(i);
                self.bury(reader, by);
                Ok(())
            }
            35 => {
                for reader in std::mem::take(&mut self.readers) {
                    self.bury(reader, by);
                }
                Ok(())
            }
            36..=49 if !self.readers.is_empty() => {
                let i = which as usize % self.readers.len();
                if self.readers[i].stop(now + share(LONGEST_STOP)) {
                    by.deeds().stopped(self.readers[i].role);
                }
                Ok(())
            }
            50.. => self.start_reader(which, by),
            _ => Ok(()),
        }
    }

    fn kill_producer(
        &mut self,
        how: u64,
        share: &impl Fn(Duration) -> Duration,
        now: Instant,
        by: &mut impl Starter,
    ) -> Result<(), String> {
        if self.change.is_some() || self.producer.is_none() {
            return Ok(());
        }
        if how == 0 {
            // The next one is there before this one is gone, and tries again and again.
            let next = Box::new(by.start(self.plan.ring, Role::Producer)?);
            self.change = Some(Change::Succeed(now + share(LONGEST_OVERLAP), next));
            return Ok(());
        }
        self.bury_producer(by);
        let vacancy = if how == 1 { Duration::ZERO } else { share(LONGEST_VACANCY) };
        self.change = Some(Change::Start(now + vacancy));
        Ok(())
    }

    fn bury(&mut self, mut actor: Actor, by: &mut impl Starter) {
        by.deeds().killed(actor.role);
        actor.kill();
        self.dying.push(actor);
    }

    fn bury_producer(&mut self, by: &mut impl Starter) {
        if let Some(producer) = self.producer.take() {
            self.bury(producer, by);
        }
    }

    fn start_reader(&mut self, which: u64, by: &mut impl Starter) -> Result<(), String> {
        // One that is killed and not dead yet has its place still.
        let subscribers = self
            .readers
            .iter()
            .chain(&self.dying)
            .filter(|actor| actor.role != Role::Producer)
            .filter(|actor| actor.role != Role::Reader(Kind::Observer))
            .count();
        let full = subscribers as u32 >= self.plan.max_subscribers;
        let kinds: Vec<Kind> = Kind::ALL
            .into_iter()
            .filter(|kind| match kind {
                Kind::InPlace => !full && !self.plan.no_in_place,
                Kind::Copying => !full,
                Kind::Observer => true,
            })
            .collect();
        if self.readers.len() < READERS {
            let kind = kinds[which as usize % kinds.len()];
            self.readers.push(by.start(self.plan.ring, Role::Reader(kind))?);
        }
        Ok(())
    }

    /// Does what it is time for. `true`: the ring has had its run, and all its processes have ended.
    pub(crate) fn tend(&mut self, now: Instant, by: &mut impl Starter) -> Result<bool, String> {
        if !self.ending && now >= self.until {
            self.end(by)?;
        }
        for crew in &mut self.crews {
            crew.tend(now, self.ending, by)?;
        }
        if self.ending && !self.closing && self.crews.iter().all(Crew::is_ready) {
            self.closing = true;
            self.producer.as_mut().ok_or("a ring without a producer ends")?.close()?;
        }
        for actor in self.producer.iter_mut().chain(&mut self.readers) {
            actor.go_on_at(now);
        }
        match self.change.take() {
            Some(Change::Start(at)) if now >= at => {
                self.producer = Some(by.start(self.plan.ring, Role::Producer)?);
            }
            Some(Change::Succeed(at, next)) if now >= at => {
                self.bury_producer(by);
                self.producer = Some(*next);
            }
            other => self.change = other,
        }
        if let Some(producer) = &mut self.producer
            && let Some(noted) = producer.ended()?
        {
            if !self.closing {
                return Err("a producer ended that was not told to".into());
            }
            by.produced(self.plan.ring, noted)?;
            self.producer = None;
        }
        for mut actor in std::mem::take(&mut self.dying) {
            match actor.ended()? {
                Some(noted) if actor.role == Role::Producer => by.produced(self.plan.ring, noted)?,
                Some(_) => {}
                None => self.dying.push(actor),
            }
        }
        for mut reader in std::mem::take(&mut self.readers) {
            if reader.ended()?.is_none() {
                self.readers.push(reader);
            }
        }
        if self.ending && now >= self.looked + LIVENESS {
            self.looked = now;
            self.find_the_stuck()?;
        }
        let gone = self.producer.is_none() && self.readers.is_empty() && self.dying.is_empty();
        Ok(self.ending && gone && self.crews.iter().all(Crew::has_ended))
    }

    /// Nobody is stopped or killed any more; when each group has a worker that stays, the producer closes the ring, and all others must
    /// find their end.
    pub(crate) fn end(&mut self, by: &mut impl Starter) -> Result<(), String> {
        if self.ending {
            return Ok(());
        }
        self.ending = true;
        // One that waits for the place may have it by now, if the other was slower; one of them must be enough.
        if let Some(Change::Succeed(_, next)) = self.change.take() {
            self.bury(*next, by);
        }
        if self.producer.is_none() {
            self.producer = Some(by.start(self.plan.ring, Role::Producer)?);
        }
        let workers = self.crews.iter_mut().flat_map(Crew::actors);
        for actor in self.producer.iter_mut().chain(&mut self.readers).chain(workers) {
            actor.go_on_now();
            actor.idle = 0;
        }
        Ok(())
    }

    fn find_the_stuck(&mut self) -> Result<(), String> {
        let workers = self.crews.iter_mut().flat_map(Crew::actors);
        let mut all: Vec<&mut Actor> =
            self.producer.iter_mut().chain(&mut self.readers).chain(&mut self.dying).chain(workers).collect();
        if all.iter_mut().filter_map(|actor| actor.is_starved().then_some(())).count() > 0 {
            return Ok(());
        }
        all.iter_mut().for_each(|actor| actor.look());
        let stuck: Vec<String> =
            all.iter().filter(|actor| actor.idle > PATIENCE).map(|actor| actor.describe()).collect();
        if stuck.is_empty() {
            return Ok(());
        }
        Err(format!("stuck for {PATIENCE} liveness intervals: {}", stuck.join("; ")))
    }
}
