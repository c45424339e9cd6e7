//! Who waits where: what the handles and the parker's thread share, under one lock.

use std::collections::{BTreeSet, HashMap};
use std::mem::take;

use super::{Duration, Instant, Key, Line, Waker, Word};

/// Longer than anybody should sleep, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_secs(3600);

/// What the thread has to do.
#[derive(Debug)]
pub(super) enum Change {
    /// Wait at a word too.
    Wait { token: u64, word: Word, seen: u32, bits: u32 },
    /// Wait no longer with that token; then wake those, who may have been meant.
    Forget { token: u64, fellows: Option<Waker> },
}

/// Why somebody was not parked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LookAgain;

#[derive(Debug, Default)]
pub(super) struct Table {
    seats: HashMap<u64, Seated>,
    lines: HashMap<Key, Waited>,
    /// What the thread waits at, or is about to.
    tokens: HashMap<u64, Key>,
    /// By the time at which they are woken at the latest.
    limits: BTreeSet<(Instant, u64)>,
    changes: Vec<Change>,
    next: u64,
    thread: Thread,
    /// Whether the kernel is told which sleepers they are.
    tells_bits: bool,
}

/// What the thread does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Thread {
    /// There is none.
    #[default]
    Absent,
    /// It will look at the table.
    Awake,
    /// It waits, until then at most.
    Asleep(Option<Instant>),
}

/// A handle that may wait.
#[derive(Debug)]
struct Seated {
    line: Option<Key>,
    parked: Option<Parked>,
}

#[derive(Debug)]
struct Parked {
    waker: Waker,
    due: Instant,
    latest: Instant,
}

/// A line that handles have.
#[derive(Debug)]
struct Waited {
    word: Word,
    fellows: Option<Waker>,
    handles: usize,
    waiting: BTreeSet<u64>,
    /// Under which the thread waits, and behind which bell.
    token: Option<(u64, u32)>,
}

impl Table {
    /// A handle that may wait. The second value: nobody runs, so a thread must be started.
    pub(super) fn attach(&mut self, line: Option<&Line>) -> (u64, bool) {
        let id = self.number();
        if let Some(line) = line {
            let fresh = || Waited {
                word: line.word.clone(),
                fellows: line.fellows.clone(),
                handles: 0,
                waiting: BTreeSet::new(),
                token: None,
            };
            self.lines.entry(line.key).or_insert_with(fresh).handles += 1;
        }
        self.seats.insert(id, Seated { line: line.map(|line| line.key), parked: None });
        let start = self.thread == Thread::Absent;
        if start {
            self.thread = Thread::Awake;
            self.tells_bits = false;
        }
        (id, start)
    }

    /// No thread could be started for that handle, which is the only one.
    pub(super) fn no_thread(&mut self, id: u64) {
        self.thread = Thread::Absent;
        // It has not waited yet, so it has no waker.
        self.detach(id);
        self.changes.clear();
    }

    /// A handle is gone. The caller drops the waker, without the lock.
    pub(super) fn detach(&mut self, id: u64) -> Option<Waker> {
        let waker = self.unpark(id);
        let key = self.seats.remove(&id)?.line;
        if let Some(key) = key
            && let Some(line) = self.lines.get_mut(&key)
        {
            line.handles -= 1;
            if line.handles == 0 {
                let gone = self.lines.remove(&key);
                if let Some(Waited { token: Some((token, _)), fellows, .. }) = gone {
                    self.forget(token, fellows);
                }
            }
        }
        waker
    }

    /// Whether whoever declares itself asleep must say so for everybody's bits.
    pub(super) fn hides_bits(&self) -> bool {
        !self.tells_bits
    }

    /// Takes `waker`, and wakes it when the line's bell says something else than `seen`, and after `limit` in any case, or somewhat later.
    /// `hidden`: what [`hides_bits`](Table::hides_bits) said. Such a handle has no waker here from before. `stale` are to be woken,
    /// without the lock; and without it `waker` is made, and dropped if it is left: it is a task's, which may come here again.
    pub(super) fn park(
        &mut self,
        id: u64,
        seen: Option<(u32, bool)>,
        now: Instant,
        limit: Duration,
        waker: &mut Option<Waker>,
        stale: &mut Vec<Waker>,
    ) -> Result<(), LookAgain> {
        let key = self.seats.get(&id).and_then(|seated| seated.line);
        if let (Some((seen, hidden)), Some(key)) = (seen, key) {
            if self.hides_bits() && !hidden {
                return Err(LookAgain);
            }
            self.wait_behind(key, seen, stale)?;
            if let Some(line) = self.lines.get_mut(&key) {
                line.waiting.insert(id);
            }
        }
        // By half later than asked, so that those who began together end together: one wake for all.
        let due = now + limit.min(LONGEST);
        let latest = due + limit.min(LONGEST) / 2;
        if let Some(seated) = self.seats.get_mut(&id)
            && let Some(waker) = waker.take()
        {
            self.limits.insert((latest, id));
            seated.parked = Some(Parked { waker, due, latest });
        }
        Ok(())
    }

    /// Has the thread wait at a line behind that bell.
    fn wait_behind(&mut self, key: Key, seen: u32, stale: &mut Vec<Waker>) -> Result<(), LookAgain> {
        let Some(line) = self.lines.get_mut(&key) else { return Ok(()) };
        if line.word.get().glance() != seen {
            return Err(LookAgain);
        }
        match line.token {
            Some((_, before)) if before == seen => return Ok(()),
            Some((token, _)) => {
                // Behind an older bell, which has moved: they would be woken in a moment.
                let waiting = take(&mut line.waiting);
                line.token = None;
                stale.extend(waiting.into_iter().filter_map(|id| self.unpark(id)));
                // Whoever parks now has looked behind that bell, and so answers for its wake.
                self.forget(token, None);
            }
            None => {}
        }
        let token = self.number();
        if let Some(line) = self.lines.get_mut(&key) {
            line.token = Some((token, seen));
            let (word, bits) = (line.word.clone(), key.bits.unwrap_or(u32::MAX));
            self.tokens.insert(token, key);
            self.changes.push(Change::Wait { token, word, seen, bits });
        }
        Ok(())
    }

    /// A handle waits no longer.
    pub(super) fn unpark(&mut self, id: u64) -> Option<Waker> {
        let seated = self.seats.get_mut(&id)?;
        let parked = seated.parked.take()?;
        self.limits.remove(&(parked.latest, id));
        if let Some(line) = seated.line.and_then(|key| self.lines.get_mut(&key)) {
            line.waiting.remove(&id);
        }
        Some(parked.waker)
    }

    /// Whether the thread must be told now; says so once until it has looked.
    pub(super) fn must_tell(&mut self) -> bool {
        let Thread::Asleep(until) = self.thread else { return false };
        let earliest = self.limits.first().map(|&(latest, _)| latest);
        let sooner = earliest.is_some_and(|earliest| until.is_none_or(|until| earliest < until));
        let tell = sooner || !self.changes.is_empty() || self.seats.is_empty();
        if tell {
            self.thread = Thread::Awake;
        }
        tell
    }

    /// The thread is here. Where it cannot say bits any longer, all who believed that it does look again.
    pub(super) fn wakes_up(&mut self, tells_bits: bool, wakers: &mut Vec<Waker>) {
        self.thread = Thread::Awake;
        if self.tells_bits && !tells_bits {
            let all: Vec<u64> = self.seats.keys().copied().collect();
            wakers.extend(all.into_iter().filter_map(|id| self.unpark(id)));
        }
        self.tells_bits = tells_bits;
    }

    /// The bells of those tokens have moved, or may have.
    pub(super) fn rung(&mut self, tokens: impl Iterator<Item = u64>, wakers: &mut Vec<Waker>) {
        for token in tokens {
            let Some(line) = self.tokens.remove(&token).and_then(|key| self.lines.get_mut(&key)) else {
                continue;
            };
            line.token = None;
            let waiting = take(&mut line.waiting);
            if waiting.is_empty() {
                wakers.extend(line.fellows.clone());
            }
            wakers.extend(waiting.into_iter().filter_map(|id| self.unpark(id)));
        }
    }

    /// Wakes those whose limits have passed, if it is late for any.
    pub(super) fn overdue(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        if self.limits.first().is_none_or(|&(latest, _)| latest > now) {
            return;
        }
        let is_due = |id: &u64| {
            let parked = self.seats.get(id).and_then(|seated| seated.parked.as_ref());
            parked.is_none_or(|parked| parked.due <= now)
        };
        // Not many that are not due stand before one that is.
        let due: Vec<u64> = self.limits.iter().map(|&(_, id)| id).take_while(is_due).collect();
        wakers.extend(due.into_iter().filter_map(|id| self.unpark(id)));
    }

    /// What the thread has to do.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        take(&mut self.changes)
    }

    /// The thread is about to wait, for so long at most. `None`: it ends, nobody is left to wait for.
    pub(super) fn falls_asleep(&mut self, now: Instant) -> Option<Option<Duration>> {
        if self.seats.is_empty() {
            self.thread = Thread::Absent;
            return None;
        }
        let until = self.limits.first().map(|&(latest, _)| latest);
        self.thread = Thread::Asleep(until);
        Some(until.map(|until| until.saturating_duration_since(now)))
    }

    fn forget(&mut self, token: u64, fellows: Option<Waker>) {
        self.tokens.remove(&token);
        self.changes.push(Change::Forget { token, fellows });
    }

    /// One that was not used before.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
