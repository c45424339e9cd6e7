//! A worker that chooses: the oldest record that it wants, past others that it does not.
//!
//! What it looks at are copies: the record itself may be claimed, done and overwritten meanwhile. A copy is believed if the
//! producer had not begun to overwrite it, and the claim succeeds only if the record is as free as when it was copied.
//!
//! Race: a record wakes one worker, which does not want it, while another that would sleeps on. So who chooses sleeps as one of
//! those who must all be woken. A waker that has not seen that declared may still wake it in another's place: so it passes the
//! wake on, once for whatever is new, since two of its kind would otherwise wake each other for ever.

use std::time::{Duration, Instant};

use annulus_core::doorbell::{ANYONE, group_bit, wake_workers, when_empty};
use annulus_core::header::HEADER_BYTES;
use annulus_core::ladder::Ladder;
use annulus_core::layout::RingState;
use annulus_core::memory::Memory;
use annulus_core::worker::{Found, Wanted};

use super::Worker;
use crate::bells::{ReaderBell, RoomBell};
use crate::error::{RecvError, TryRecvError, at_home};
use crate::job::Job;
use crate::sleeper::Sleeper;
use crate::wait::{Waiter, wait};

/// How far publications and returns had got before a search.
type Extent = (u64, u32);

impl Worker {
    /// The oldest record that nobody has and that is `wanted`; waits for it. Others are left to the other workers, and what is
    /// left is looked at again each time that a record comes: for choosing by priority or by kind among few.
    ///
    /// `wanted` sees a copy of the payload, and may see one whose record another worker gets.
    ///
    /// # Errors
    ///
    /// [`RecvError`], once the ring has ended, none that is wanted is left, and no other worker has one that may come back.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-where-{}", std::process::id());
    /// let mut tx = Ring::create("tasks").dir(&dir).producer()?;
    /// let worker = Ring::open("tasks").dir(&dir).join_group("g")?;
    /// tx.send_batch(["low: tidy", "high: fire", "low: dust"])?;
    /// let job = worker.claim_where(|task| task.starts_with(b"high"))?;
    /// assert_eq!(job.sequence(), 1);
    /// assert_eq!(worker.recv()?.sequence(), 0);
    /// # drop(job);
    /// # drop((worker, tx));
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim_where(&self, wanted: impl FnMut(&[u8]) -> bool) -> Result<Job<'_>, RecvError> {
        at_home(self.birth)?;
        self.sleeping.begin();
        let mut chooser = Chooser { worker: self, wanted, searched: None, waiting: 0, slept: false };
        wait(&mut chooser, Ladder::new(self.waiting.get()), None)
            .expect("a wait without a deadline does not end by it")
    }

    /// The same, if there is such a record.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`], or the end as from [`claim_where`](Worker::claim_where).
    pub fn try_claim_where(&self, mut wanted: impl FnMut(&[u8]) -> bool) -> Result<Job<'_>, TryRecvError> {
        at_home(self.birth)?;
        let before = self.extent();
        match self.choose(&mut wanted).0 {
            Found::Record(claimed) => Ok(Job::new(self, claimed)),
            Found::Damaged(_) => Err(TryRecvError::Ended(RecvError::Corrupt)),
            Found::Empty | Found::Full => {
                let end = self.choosers_end(Instant::now());
                // What came meanwhile may be wanted.
                match end.filter(|_| before == self.extent()) {
                    Some(end) => self.choose_at_the_end(&mut wanted, end).map_err(TryRecvError::Ended),
                    None => Err(TryRecvError::Empty),
                }
            }
        }
    }

    fn extent(&self) -> Extent {
        (self.memory.shared().producer.published.look(), self.group().head.returns.look())
    }

    /// Claims the oldest that is wanted. Says also how many it met that wait for another to be done.
    fn choose(&self, wanted: &mut impl FnMut(&[u8]) -> bool) -> (Found, u64) {
        let (shared, group) = (self.memory.shared(), self.group());
        let mut search = match self.core.search(shared, group, Wanted::Free) {
            Ok(search) => search,
            Err(what) => return (Found::Damaged(what), 0),
        };
        // Taken out, since `wanted` may use this worker, too.
        let mut copy = self.scratch.take();
        let found = loop {
            let candidate = match search.next(&self.core, shared, group) {
                Ok(Some(candidate)) => candidate,
                Ok(None) => break Found::Empty,
                Err(what) => break Found::Damaged(what),
            };
            // A length that was checked against the ring's longest.
            copy.resize(candidate.held.len as usize, 0);
            shared.records.read_racing(candidate.held.position + HEADER_BYTES, &mut copy);
            if candidate.is_intact(&self.memory.identity().shape, shared)
                && wanted(&copy[self.prefix..])
                && let Some(claimed) = self.core.take(group, candidate)
            {
                break Found::Record(claimed);
            }
        };
        self.scratch.set(copy);
        (found, search.waiting())
    }

    /// How many records wait for another to be done.
    fn waiting(&self) -> u64 {
        let (shared, group) = (self.memory.shared(), self.group());
        let Ok(mut search) = self.core.search(shared, group, Wanted::Free) else { return 0 };
        while matches!(search.next(&self.core, shared, group), Ok(Some(_))) {}
        search.waiting()
    }

    /// The end, unless there is one that is wanted after all: what another held until then may have come back, without a word yet.
    fn choose_at_the_end(
        &self,
        wanted: &mut impl FnMut(&[u8]) -> bool,
        end: RecvError,
    ) -> Result<Job<'_>, RecvError> {
        match self.choose(wanted).0 {
            Found::Record(claimed) => Ok(Job::new(self, claimed)),
            Found::Damaged(_) | Found::Empty | Found::Full => Err(end),
        }
    }

    /// The end for one that wanted nothing of what there is.
    fn choosers_end(&self, now: Instant) -> Option<RecvError> {
        let (shared, group) = (self.memory.shared(), self.group());
        self.look_after_fellows(now);
        let said = || self.core.ended_for_chooser(shared, group).map(RecvError::from);
        self.life.end(shared.producer, now, said, || self.core.others_hold(group))
    }
}

/// A worker that waits for a record that it wants.
struct Chooser<'a, F> {
    worker: &'a Worker,
    wanted: F,
    /// What the last search that found nothing has covered.
    searched: Option<Extent>,
    /// How many it met that wait for another to be done.
    waiting: u64,
    /// Whether it has slept since.
    slept: bool,
}

impl<'a, F: FnMut(&[u8]) -> bool> Waiter for Chooser<'a, F> {
    type Got = Result<Job<'a>, RecvError>;

    fn look(&mut self) -> Option<Self::Got> {
        let (worker, extent) = (self.worker, self.worker.extent());
        let slept = std::mem::take(&mut self.slept);
        // What waits for another to be done comes without a word.
        if self.searched == Some(extent) && !slept && self.waiting == 0 {
            return None;
        }
        match worker.choose(&mut self.wanted) {
            (Found::Record(claimed), _) => return Some(Ok(Job::new(worker, claimed))),
            (Found::Damaged(_), _) => return Some(Err(RecvError::Corrupt)),
            (Found::Empty | Found::Full, waiting) => self.waiting = waiting,
        }
        if self.searched.replace(extent) != Some(extent) && slept {
            wake_workers(worker.memory.ctl(), worker.number, 1, &ReaderBell::of(&worker.memory));
        }
        None
    }

    fn ring(&mut self) {
        when_empty(self.worker.memory.ctl(), &RoomBell::of(&self.worker.memory));
    }

    fn end(&mut self, now: Instant) -> Option<Self::Got> {
        if self.worker.burying.left(now).is_zero() {
            // Who gave something back may have died before it said so: searched for once more.
            self.slept = true;
            self.worker.look_after_fellows(now);
        }
        // What has come since the search may be wanted.
        if self.slept || self.searched != Some(self.worker.extent()) {
            return None;
        }
        let end = self.worker.choosers_end(now)?;
        Some(self.worker.choose_at_the_end(&mut self.wanted, end))
    }

    fn patience(&self, now: Instant) -> Duration {
        Sleeper::patience(self.worker, now)
    }

    fn park(&mut self, left: Duration) {
        if self.slept {
            return;
        }
        let worker = self.worker;
        let (shared, group) = (worker.memory.shared(), worker.group());
        let (searched, waiting) = (self.searched, self.waiting);
        let has_news = || {
            // Done records make room in a full table, and end a ring that has been closed. Said behind the declaration at the
            // doorbell, as `last_look` does.
            if waiting > 0 || shared.producer.state.look() != RingState::Open.to_word() {
                group.head.awaited.declare();
            }
            searched != Some(worker.extent())
                || waiting > 0 && worker.waiting() != waiting
                || worker.core.ended_for_chooser(shared, group).is_some()
        };
        let seat = (&worker.memory, worker.slot);
        worker.sleeping.park(seat, group_bit(worker.number) | ANYONE, left, has_news);
        self.slept = true;
    }
}
