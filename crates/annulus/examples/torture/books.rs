//! What the checker has heard of all rings, and the judgement over it.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::ledger::{Fate, Ledger};
use crate::notes::NONE;
use crate::plan::GroupPlan;

/// So many faults are told.
const TOLD: u64 = 20;

/// What a producer had noted when it was dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Produced {
    /// The sequence that it began with; [`NONE`] if it had not begun.
    pub(crate) begin: u64,
    /// Up to here it may have published.
    pub(crate) attempted: u64,
    /// Up to here `send` had returned.
    pub(crate) confirmed: u64,
    pub(crate) closed: bool,
}

/// What one handle received.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ring: u64,
    pub(crate) handles: u64,
    pub(crate) received: u64,
    pub(crate) newest: u64,
    pub(crate) bytes: u64,
    pub(crate) lagged: u64,
    pub(crate) evictions: u64,
    /// How far it got.
    pub(crate) reached: u64,
}

#[derive(Debug, Default)]
struct Ring {
    produced: Vec<Produced>,
    /// Readers found the ring closed between these sequences.
    closed_at: Vec<(u64, u64)>,
    /// Readers found the producer dead, and everything before read.
    lost_at: Vec<u64>,
    /// No reader has got further.
    reached: u64,
}

#[derive(Debug, Default)]
struct Open {
    rings: BTreeMap<u64, Ring>,
    /// By ring and number.
    groups: BTreeMap<(u64, u32), Ledger>,
    counts: BTreeMap<&'static str, u64>,
    faults: u64,
    ending: bool,
    all_read: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Books {
    open: Mutex<Open>,
    changed: Condvar,
}

impl Books {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("nobody panics over the books")
    }

    /// Something is wrong.
    pub(crate) fn red(&self, what: &str) {
        self.open().red(what);
    }

    /// What one handle received.
    pub(crate) fn add(&self, tally: &mut Tally) {
        let Tally { ring, handles, received, newest, bytes, lagged, evictions, reached } =
            std::mem::take(tally);
        let mut open = self.open();
        if handles > 0 {
            let furthest = &mut open.rings.entry(ring).or_default().reached;
            *furthest = reached.max(*furthest);
        }
        for (what, by) in [
            ("handles", handles),
            ("received", received),
            ("newest", newest),
            ("bytes", bytes),
            ("lagged", lagged),
            ("evictions", evictions),
        ] {
            *open.counts.entry(what).or_default() += by;
        }
    }

    pub(crate) fn produced(&self, ring: u64, produced: Produced) {
        self.open().rings.entry(ring).or_default().produced.push(produced);
    }

    pub(crate) fn closed_at(&self, ring: u64, from: u64, to: u64) {
        self.open().rings.entry(ring).or_default().closed_at.push((from, to));
    }

    pub(crate) fn lost_at(&self, ring: u64, sequence: u64) {
        let mut open = self.open();
        open.rings.entry(ring).or_default().lost_at.push(sequence);
        *open.counts.entry("producer-lost").or_default() += 1;
    }

    /// A worker joined a group, which was at this sequence.
    pub(crate) fn joined(&self, ring: u64, plan: GroupPlan, sequence: u64) {
        self.open().groups.entry((ring, plan.number)).or_insert_with(|| Ledger::new(plan)).joined(sequence);
    }

    /// A worker has a record.
    pub(crate) fn took(&self, ring: u64, group: u32, sequence: u64, attempts: u32) -> Result<(), String> {
        self.ledger(ring, group, |ledger| ledger.took(sequence, attempts))
    }

    /// What became of a delivery.
    pub(crate) fn fate(&self, ring: u64, group: u32, delivery: (u64, u32), fate: Fate) -> Result<(), String> {
        self.ledger(ring, group, |ledger| ledger.fate(delivery, fate))
    }

    /// A worker was killed when it may have taken so many that it had no time to say.
    pub(crate) fn untold(&self, ring: u64, group: u32, most: u64) {
        // Its ledger is there since it joined.
        let _ = self.ledger(ring, group, |ledger| {
            ledger.killed(most);
            Ok(())
        });
    }

    fn ledger(
        &self,
        ring: u64,
        group: u32,
        what: impl FnOnce(&mut Ledger) -> Result<(), String>,
    ) -> Result<(), String> {
        self.open()
            .groups
            .get_mut(&(ring, group))
            .ok_or("a group that nobody joined".to_owned())
            .and_then(what)
    }

    /// Whether nobody new will come.
    pub(crate) fn is_ending(&self) -> bool {
        self.open().ending
    }

    /// Everything that readers sent has been read.
    pub(crate) fn all_read(&self) {
        self.open().all_read = true;
        self.changed.notify_all();
    }

    pub(crate) fn until_read(&self) {
        let open = self.open();
        let open = self.changed.wait_while(open, |open| !open.all_read);
        drop(open.expect("nobody panics over the books"));
    }

    /// From now on the next connection is the last.
    pub(crate) fn end(&self) {
        self.open().ending = true;
    }

    /// What can only be said when all are dead.
    pub(crate) fn judge(&self) {
        let mut open = self.open();
        let rings = std::mem::take(&mut open.rings);
        let groups = std::mem::take(&mut open.groups);
        for (ring_number, ring) in rings {
            let published = ring.judge(|what| open.red(&format!("ring {ring_number}, {what}")));
            *open.counts.entry("published").or_default() += published;
            for (&(_, number), ledger) in groups.range((ring_number, 0)..=(ring_number, u32::MAX)) {
                let about = |what: &str| {
                    format!("ring {ring_number}, group {number} ({}), {what}", ledger.describe())
                };
                let summary = ledger.judge(published, |what| open.red(&about(what)));
                for (what, by) in summary.counts() {
                    *open.counts.entry(what).or_default() += by;
                }
            }
            *open.counts.entry("rings").or_default() += 1;
            *open.counts.entry("closed").or_default() += ring.closed_at.len() as u64;
            *open.counts.entry("took-over").or_default() +=
                (ring.produced.iter().filter(|p| p.begin != NONE).count() as u64).saturating_sub(1);
        }
    }

    /// The last line.
    pub(crate) fn say_counts(&self) {
        let open = self.open();
        let counts: Vec<String> = open.counts.iter().map(|(what, n)| format!("{what}={n}")).collect();
        println!("counts: {}", counts.join(" "));
    }
}

impl Open {
    fn red(&mut self, what: &str) {
        self.faults += 1;
        if self.faults <= TOLD {
            println!("red: {what}");
        }
    }
}

impl Ring {
    /// Returns how many records the ring published.
    fn judge(&self, mut red: impl FnMut(&str)) -> u64 {
        let mut produced: Vec<Produced> = self.produced.iter().copied().filter(|p| p.begin != NONE).collect();
        // In the order of their time: of those that began at one place only the last published anything, if any did, and who
        // closed the ring came last of all.
        produced.sort_unstable_by_key(|p| (p.closed, p.begin, p.confirmed, p.attempted));
        let Some(last) = produced.last() else {
            if self.reached > 0 {
                red(&format!("doubled: {} records of a ring that had no producer", self.reached));
            }
            return 0;
        };
        if produced[0].begin != 0 {
            red(&format!("lost: its first producer began with {}", produced[0].begin));
        }
        for pair in produced.windows(2) {
            let (one, next) = (pair[0], pair[1].begin);
            if next < one.confirmed {
                red(&format!("lost: {} were sent, and the next producer began with {next}", one.confirmed));
            } else if next > one.attempted {
                let most = one.attempted;
                red(&format!("doubled: at most {most} were sent, and the next producer began with {next}"));
            }
        }
        if self.reached > last.attempted {
            red(&format!("doubled: {} were received of at most {}", self.reached, last.attempted));
        }
        for lost in &self.lost_at {
            // All that the dead one had published, and so what its successor began with.
            if !produced.iter().any(|p| p.begin == *lost) {
                red(&format!(
                    "lost: a reader was told at {lost} that the producer died, and none had ended there"
                ));
            }
        }
        if !last.closed {
            if !self.closed_at.is_empty() {
                red("it was not closed, and readers found it closed");
            }
            return last.confirmed;
        }
        for (from, to) in &self.closed_at {
            if !(*from..=*to).contains(&last.confirmed) {
                red(&format!("lost: {} were published, and a reader's end was at {to}", last.confirmed));
            }
        }
        last.confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(ring: &Ring) -> Vec<String> {
        let mut faults = Vec::new();
        ring.judge(|what| faults.push(what.split(':').next().unwrap_or_default().to_owned()));
        faults
    }

    fn produced(begin: u64, attempted: u64, confirmed: u64, closed: bool) -> Produced {
        Produced { begin, attempted, confirmed, closed }
    }

    fn ring() -> Ring {
        let produced =
            vec![produced(9, 12, 12, true), produced(0, 10, 8, false), produced(NONE, NONE, NONE, false)];
        Ring { produced, closed_at: vec![(12, 12), (0, 30)], lost_at: vec![9], reached: 12 }
    }

    #[test]
    fn what_fits_is_no_fault() {
        assert!(faults(&ring()).is_empty());
    }

    #[test]
    fn a_confirmed_record_must_be_there_and_none_that_was_never_tried() {
        for (begin, fault) in [(7, "lost"), (11, "doubled")] {
            let mut ring = ring();
            ring.produced[0].begin = begin;
            ring.lost_at.clear();
            assert_eq!(faults(&ring), [fault]);
        }
        assert_eq!(faults(&Ring { reached: 13, ..ring() }), ["doubled"]);
    }

    /// One that was killed in its first call, and one that closed the ring at once: they began at the same place.
    #[test]
    fn who_closed_came_last() {
        let mut ring = ring();
        ring.produced.push(produced(9, 15, 9, false));
        assert!(faults(&ring).is_empty());
        ring.produced[0] = produced(9, 9, 9, true);
        ring.produced.push(produced(9, 10, 9, false));
        (ring.reached, ring.closed_at) = (9, vec![(9, 9)]);
        assert!(faults(&ring).is_empty());
    }

    #[test]
    fn an_end_is_where_the_records_end() {
        assert_eq!(faults(&Ring { closed_at: vec![(11, 11)], ..ring() }), ["lost"]);
        assert_eq!(faults(&Ring { closed_at: vec![(13, 13)], ..ring() }), ["lost"]);
        assert_eq!(faults(&Ring { lost_at: vec![8], ..ring() }), ["lost"]);
    }
}
