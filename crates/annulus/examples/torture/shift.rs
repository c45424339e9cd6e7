//! What one worker says, from joining its group to leaving it or being killed.
//!
//! Before each step that can be cut short the worker says what it is about to do, and the next thing it says shows that it is done. So
//! of one that was killed there is at most one record of which it is not known whether it was acknowledged, and a number of records,
//! which it said before, that it may have taken without saying which.

use std::collections::BTreeMap;
use std::io::Read;

use crate::books::{Books, Tally};
use crate::check::Scratch;
use crate::ledger::Fate;
use crate::plan::{GroupPlan, Plan};
use crate::wire::{End, Frame};

/// One handle of one worker.
pub(crate) struct Shift {
    plan: Plan,
    group: GroupPlan,
    /// What it has in its hands, and the attempts of each.
    held: BTreeMap<u64, u32>,
    /// So many more it may be taking.
    asked: u64,
    /// What it is about to do with one of them, and whether that is to acknowledge it.
    under_way: Option<(u64, bool)>,
}

impl Shift {
    pub(crate) fn new(plan: Plan, group: u32, sequence: u64, books: &Books) -> Shift {
        let group = plan.group(group);
        books.joined(plan.ring, group, sequence);
        Shift { plan, group, held: BTreeMap::new(), asked: 0, under_way: None }
    }

    pub(crate) fn describe(&self) -> String {
        let Shift { plan, group, .. } = self;
        format!("ring {} ({}), worker of group {}", plan.ring, plan.describe(), group.number)
    }

    /// `false`: the stream ends inside of this frame.
    pub(crate) fn step(
        &mut self,
        frame: Frame,
        from: &mut impl Read,
        scratch: &mut Scratch,
        tally: &mut Tally,
        books: &Books,
    ) -> Result<bool, String> {
        if let Some((sequence, acks)) = self.under_way.take() {
            let Frame::Settled { is_dead } = frame else {
                return Err(format!("{sequence} is not settled, and it says {frame:?}"));
            };
            return self.settled(sequence, acks, is_dead, books).map(|()| true);
        }
        let asked = self.asked;
        if !matches!(frame, Frame::Took { .. }) {
            self.asked = 0;
        }
        match frame {
            Frame::Asking { most } => self.asked = most,
            Frame::Took { sequence, attempts, dead_letter } => {
                if asked == 0 {
                    return Err(format!("doubled: {sequence} came, and it did not ask for one more"));
                }
                self.asked -= 1;
                let is_dead = attempts > 0 && self.is_dead_after(attempts - 1);
                if attempts == 0 || dead_letter != is_dead {
                    return Err(format!(
                        "doubled: {sequence} came as attempt {attempts}, dead: {dead_letter}"
                    ));
                }
                books.took(self.plan.ring, self.group.number, sequence, attempts)?;
                self.held.insert(sequence, attempts);
                tally.reached = tally.reached.max(sequence + 1);
            }
            Frame::Acking { sequence, stamp, len } | Frame::Backing { sequence, stamp, len } => {
                if !self.held.contains_key(&sequence) {
                    return Err(format!("doubled: {sequence} is settled, and was not in its hands"));
                }
                if !scratch.is_whole(&self.plan, sequence, len, from)? {
                    return Ok(false);
                }
                if (stamp != 0) != self.plan.clock.is_some() {
                    return Err(format!("torn: record {sequence} has the time {stamp}"));
                }
                tally.bytes += len;
                self.under_way = Some((sequence, matches!(frame, Frame::Acking { .. })));
            }
            Frame::Leaving => self.give_back_all(books)?,
            Frame::Ended { end, sequence } => {
                if !self.held.is_empty() {
                    return Err(format!("lost: it has {} records in its hands at its end", self.held.len()));
                }
                match end {
                    End::Closed => books.closed_at(self.plan.ring, sequence, sequence),
                    End::ProducerLost => books.lost_at(self.plan.ring, sequence),
                    End::Dropped | End::Other => return Err("an end that must not be".into()),
                }
            }
            other => return Err(format!("a worker says {other:?}")),
        }
        Ok(true)
    }

    /// Whether a record that came to nothing so often is a dead letter.
    fn is_dead_after(&self, attempts: u32) -> bool {
        self.group.attempts.is_some_and(|most| attempts >= most)
    }

    fn settled(&mut self, sequence: u64, acks: bool, is_dead: bool, books: &Books) -> Result<(), String> {
        let attempts = self.held.remove(&sequence).ok_or("settled twice")?;
        if is_dead != (!acks && self.is_dead_after(attempts)) {
            return Err(format!("lost: {sequence} was given back as attempt {attempts}, dead: {is_dead}"));
        }
        let fate = if acks { Fate::Acked } else { Fate::Back };
        books.fate(self.plan.ring, self.group.number, (sequence, attempts), fate)
    }

    fn give_back_all(&mut self, books: &Books) -> Result<(), String> {
        std::mem::take(&mut self.held)
            .into_iter()
            .try_for_each(|delivery| books.fate(self.plan.ring, self.group.number, delivery, Fate::Back))
    }

    /// It says nothing more: it has left, or is dead, and then what it had in its hands goes back.
    pub(crate) fn end(mut self, books: &Books) {
        let (ring, number) = (self.plan.ring, self.group.number);
        let unsure = self.under_way.filter(|(_, acks)| *acks).and_then(|(sequence, _)| {
            let attempts = self.held.remove(&sequence)?;
            Some(books.fate(ring, number, (sequence, attempts), Fate::Unsure))
        });
        books.untold(ring, number, self.asked);
        if let Err(why) = unsure.unwrap_or(Ok(())).and_then(|()| self.give_back_all(books)) {
            books.red(&format!("{}, {why}", self.describe()));
        }
    }
}
