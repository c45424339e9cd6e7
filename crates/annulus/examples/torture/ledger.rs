//! What is known of each record of one group: every delivery, and what became of it.

use std::collections::BTreeMap;

use crate::plan::{GroupPlan, Keeping};

/// No run gets so far; a number beyond is none that a ring gave.
const SEQUENCES: u64 = 1 << 32;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    /// There was none, or nobody had the time to say so.
    #[default]
    Unknown,
    /// A worker has it.
    Taken,
    /// Acknowledged: there may be no delivery behind this one.
    Acked,
    /// It came to nothing: there must be one behind it.
    Back,
    /// The worker was killed while it acknowledged: either is right.
    Unsure,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    plan: GroupPlan,
    /// The group's first record. Whoever makes a group says where before it takes anything; if it is killed before that, the
    /// next finds the group at the same place.
    first: u64,
    /// First deliveries, by sequence.
    once: Vec<Fate>,
    /// Later ones, by sequence and attempt.
    again: BTreeMap<(u64, u32), Fate>,
    /// So many deliveries nobody had the time to tell of, at most.
    untold: u64,
}

/// What is counted of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    groups: u64,
    jobs: u64,
    redelivered: u64,
    dead_letters: u64,
    untold: u64,
    unsure: u64,
}

impl Summary {
    pub(crate) fn counts(&self) -> [(&'static str, u64); 6] {
        let Summary { groups, jobs, redelivered, dead_letters, untold, unsure } = *self;
        [
            ("groups", groups),
            ("jobs", jobs),
            ("redelivered", redelivered),
            ("dead-letters", dead_letters),
            ("jobs-untold", untold),
            ("jobs-unsure", unsure),
        ]
    }
}

impl Ledger {
    pub(crate) fn new(plan: GroupPlan) -> Ledger {
        Ledger { plan, first: u64::MAX, once: Vec::new(), again: BTreeMap::new(), untold: 0 }
    }

    pub(crate) fn describe(&self) -> String {
        format!("{:?}, attempts {:?}, from {}", self.plan.keeping, self.plan.attempts, self.first)
    }

    pub(crate) fn joined(&mut self, sequence: u64) {
        self.first = self.first.min(sequence);
    }

    /// A worker was killed while it took so many at most.
    pub(crate) fn killed(&mut self, untold: u64) {
        self.untold += untold;
    }

    pub(crate) fn took(&mut self, sequence: u64, attempts: u32) -> Result<(), String> {
        let fate = self.entry(sequence, attempts)?;
        if *fate != Fate::Unknown {
            return Err(format!("doubled: {sequence} came twice as attempt {attempts}, which is {fate:?}"));
        }
        *fate = Fate::Taken;
        Ok(())
    }

    pub(crate) fn fate(&mut self, (sequence, attempts): (u64, u32), fate: Fate) -> Result<(), String> {
        *self.entry(sequence, attempts)? = fate;
        Ok(())
    }

    fn entry(&mut self, sequence: u64, attempts: u32) -> Result<&mut Fate, String> {
        if sequence >= SEQUENCES {
            return Err(format!("doubled: there is no record {sequence}"));
        }
        if attempts > 1 {
            return Ok(self.again.entry((sequence, attempts)).or_default());
        }
        let i = sequence as usize;
        if i >= self.once.len() {
            self.once.resize(i + 1, Fate::Unknown);
        }
        Ok(&mut self.once[i])
    }

    /// With so many records published, and all workers gone.
    pub(crate) fn judge(&self, published: u64, mut red: impl FnMut(&str)) -> Summary {
        let mut summary = Summary { groups: 1, ..Summary::default() };
        let again = self.again.last_key_value().map_or(0, |((sequence, _), _)| sequence + 1);
        let end = published.max(self.once.len() as u64).max(again);
        for sequence in self.first.min(end)..end {
            self.judge_one(sequence, &mut summary, &mut red);
        }
        for sequence in 0..self.first.min(end) {
            if self.deliveries(sequence).next().is_some() {
                red(&format!("doubled: {sequence} came, and the group began with {}", self.first));
            }
        }
        if summary.untold > self.untold {
            red(&format!(
                "doubled: {} deliveries that nobody tells of, and the killed may have had {}",
                summary.untold, self.untold
            ));
        }
        summary
    }

    /// Those that were told of, in the order of their attempts.
    fn deliveries(&self, sequence: u64) -> impl Iterator<Item = (u32, Fate)> {
        let once = self.once.get(sequence as usize).copied().filter(|fate| *fate != Fate::Unknown);
        let again = self.again.range((sequence, 0)..=(sequence, u32::MAX));
        once.map(|fate| (1, fate)).into_iter().chain(again.map(|(&(_, attempts), &fate)| (attempts, fate)))
    }

    fn judge_one(&self, sequence: u64, summary: &mut Summary, red: &mut impl FnMut(&str)) {
        let mut last = (0, Fate::Back);
        for (attempts, fate) in self.deliveries(sequence) {
            if last.1 == Fate::Acked {
                red(&format!(
                    "doubled: {sequence} was acknowledged as attempt {}, and came as {attempts}",
                    last.0
                ));
            }
            summary.untold += u64::from(attempts - last.0 - 1);
            summary.jobs += 1;
            summary.redelivered += u64::from(attempts > 1);
            summary.dead_letters += u64::from(self.plan.attempts.is_some_and(|most| attempts > most));
            last = (attempts, fate);
        }
        match last.1 {
            Fate::Acked => {}
            Fate::Unsure => summary.unsure += 1,
            // What such a group has not done ends with it.
            _ if self.plan.keeping == Keeping::Fleeting => {}
            fate => red(&format!("lost: {sequence} came {} times, the last is {fate:?}", last.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(keeping: Keeping, attempts: Option<u32>) -> Ledger {
        let mut ledger = Ledger::new(GroupPlan { number: 0, keeping, attempts, workers: 1, back_one_in: 8 });
        ledger.joined(4);
        ledger.joined(2);
        ledger
    }

    /// Deliveries, each told of and then settled.
    fn with(mut ledger: Ledger, deliveries: &[(u64, u32, Fate)]) -> Ledger {
        for &(sequence, attempts, fate) in deliveries {
            ledger.took(sequence, attempts).unwrap();
            ledger.fate((sequence, attempts), fate).unwrap();
        }
        ledger
    }

    fn faults(ledger: &Ledger, published: u64) -> Vec<String> {
        let mut faults = Vec::new();
        ledger.judge(published, |what| faults.push(what.split(':').next().unwrap_or_default().to_owned()));
        faults
    }

    const WHOLE: [(u64, u32, Fate); 5] = [
        (2, 1, Fate::Acked),
        (3, 1, Fate::Back),
        (3, 2, Fate::Unsure),
        (3, 3, Fate::Acked),
        (4, 1, Fate::Unsure),
    ];

    #[test]
    fn what_fits_is_no_fault() {
        let ledger = with(ledger(Keeping::Durable, Some(2)), &WHOLE);
        assert!(faults(&ledger, 5).is_empty());
        let counts = Summary { groups: 1, jobs: 5, redelivered: 2, dead_letters: 1, untold: 0, unsure: 1 };
        assert_eq!(ledger.judge(5, |_| {}), counts);
    }

    #[test]
    fn a_record_that_nobody_acknowledged_is_lost_unless_the_group_may_end() {
        for fate in [Fate::Back, Fate::Taken] {
            let deliveries = [WHOLE[0], WHOLE[1], WHOLE[4], (3, 2, fate)];
            assert_eq!(faults(&with(ledger(Keeping::Manned, None), &deliveries), 5), ["lost"]);
            assert!(faults(&with(ledger(Keeping::Fleeting, None), &deliveries), 5).is_empty());
        }
        assert_eq!(faults(&with(ledger(Keeping::Durable, None), &WHOLE), 7), ["lost", "lost"]);
    }

    #[test]
    fn what_was_acknowledged_comes_never_again() {
        for keeping in [Keeping::Durable, Keeping::Fleeting] {
            let mut ledger = with(ledger(keeping, None), &WHOLE);
            assert!(ledger.took(2, 1).unwrap_err().starts_with("doubled"));
            ledger.took(2, 2).unwrap();
            ledger.fate((2, 2), Fate::Acked).unwrap();
            assert_eq!(faults(&ledger, 5), ["doubled"]);
        }
    }

    #[test]
    fn an_attempt_that_nobody_tells_of_was_a_killed_workers() {
        let mut ledger = with(ledger(Keeping::Durable, None), &[(2, 2, Fate::Acked), (3, 3, Fate::Acked)]);
        for allowed in 0..4 {
            assert_eq!(faults(&ledger, 4).is_empty(), allowed == 3, "{allowed}");
            ledger.killed(1);
        }
    }

    #[test]
    fn nothing_comes_from_before_the_group_or_beyond_all() {
        assert_eq!(faults(&with(ledger(Keeping::Durable, None), &[(1, 1, Fate::Acked)]), 2), ["doubled"]);
        assert!(ledger(Keeping::Durable, None).took(u64::MAX, 1).is_err());
    }
}
