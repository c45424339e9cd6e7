//! Rendezvous: a send that ends when everyone has released the record.

use std::time::{Duration, Instant};

use annulus_core::acked::{Acks as Core, Receiver, reap_all};
use annulus_core::doorbell::{Light, Settled, Slept, sleep_for_room, stop_waiting};
use annulus_core::ladder::{Ladder, Rung};
use annulus_core::layout::Counter;
use annulus_core::writer::Refusal;
use annulus_os::sys;

use crate::bells::{ReaderBell, RoomBell};
use crate::error::{Acks, SendAckedError, SendAckedTimeoutError, at_home};
use crate::group::GroupBytes;
use crate::life::{Rate, SlotBytes};
use crate::producer::{Producer, behind};
use crate::room::{FIRST_SLEEP, NAP};

/// What a producer keeps from one rendezvous to the next.
#[derive(Debug)]
pub(crate) struct Acking {
    /// A place for each slot and each group, from the first rendezvous on.
    receivers: Vec<Receiver>,
    /// When it looked for dead receivers.
    looking: Rate,
}

impl Acking {
    pub(crate) fn new(interval: Duration) -> Acking {
        Acking { receivers: Vec::new(), looking: Rate::new(interval) }
    }
}

impl Producer {
    /// Sends one record, and waits until everyone has released it: each subscriber that was there when it was published, in
    /// place or copying, and each group of workers. Returns how many those were, at least one; a group is one.
    ///
    /// A subscriber that reads in place releases a record when it drops it (and every older one), one that copies when it has
    /// copied it; a group has released it when a worker has acknowledged it (and every older one has been). Observers are not known to
    /// anybody. Who is there is looked at right before the record is published, so a subscriber that
    /// joins later is not waited for, though it may receive the record; one that leaves in between is gone. As long as the
    /// ring is full this waits as [`send`](Producer::send) does. A subscriber that is stopped is slow and not
    /// dead, and is waited for, as is a group in which the record was given back, or is a dead letter that nobody has taken; a thread
    /// that holds a record of its own ring and sends to it so waits for ever.
    ///
    /// # Errors
    ///
    /// [`SendAckedError::NoSubscribers`] and nothing was sent, if nobody is there who has not been dead for a liveness
    /// interval. [`SendAckedError::Gone`] and the record was sent, once nobody holds it any more, if some died or left before
    /// they released it, or had been given up ([`evict_after`](crate::Create::evict_after)), or if a group has no workers left and is
    /// not [durable](crate::Group::durable): a death is noticed within a liveness interval.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::{Ring, SendAckedError};
    /// # let dir = format!("/dev/shm/annulus-doc-acked-{}", std::process::id());
    /// let mut tx = Ring::create("steps").dir(&dir).producer()?;
    /// assert_eq!(tx.send_acked(b"nobody"), Err(SendAckedError::NoSubscribers));
    ///
    /// let rx = Ring::open("steps").dir(&dir).subscribe()?;
    /// let reader = std::thread::spawn(move || rx.recv().map(|step| step.to_vec()));
    /// assert_eq!(tx.send_acked(b"first")?, 1); // it has read the record and dropped it
    /// assert_eq!(reader.join().unwrap()?, b"first");
    /// # drop(tx);
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_acked(&mut self, payload: &[u8]) -> Result<u32, SendAckedError> {
        self.send_acked_until(payload, None).map_err(|error| match error {
            SendAckedTimeoutError::NoSubscribers => SendAckedError::NoSubscribers,
            SendAckedTimeoutError::Gone(acks) => SendAckedError::Gone(acks),
            SendAckedTimeoutError::TooLarge { len, max } => SendAckedError::TooLarge { len, max },
            SendAckedTimeoutError::Forked => SendAckedError::Forked,
            SendAckedTimeoutError::TimedOut(_) | SendAckedTimeoutError::Full(_) => {
                unreachable!("a wait without a deadline does not end by it")
            }
        })
    }

    /// The same, waiting at most `timeout` for room and for everyone to release the record. A record that finds room at the
    /// last look is sent, and what has been released by then counts.
    ///
    /// # Errors
    ///
    /// [`SendAckedTimeoutError::Full`] and nothing was sent, [`SendAckedTimeoutError::TimedOut`] and the record was sent; else
    /// as [`send_acked`](Producer::send_acked).
    pub fn send_acked_timeout(
        &mut self,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<u32, SendAckedTimeoutError> {
        self.send_acked_until(payload, Instant::now().checked_add(timeout))
    }

    fn send_acked_until(
        &mut self,
        payload: &[u8],
        deadline: Option<Instant>,
    ) -> Result<u32, SendAckedTimeoutError> {
        at_home(self.birth)?;
        self.bury();
        let len = payload.len();
        let room = match self.writer.claim(self.memory.shared(), len as u64) {
            Ok(room) => room,
            Err(refusal) => self
                .wait_for(refusal, deadline, |writer, shared| writer.claim(shared, len as u64))
                .map_err(|refusal| match refusal {
                    Refusal::Full(full) => SendAckedTimeoutError::Full(behind(full)),
                    Refusal::TooLarge | Refusal::NeedsStamp => {
                        SendAckedTimeoutError::TooLarge { len, max: self.max_len() }
                    }
                })?,
        };
        let mut receivers = std::mem::take(&mut self.acking.receivers);
        let shared = self.memory.shared();
        receivers.resize(shared.slots.len() + shared.groups.len(), Receiver::default());
        let mut acks = Core::note(&mut receivers, shared, &self.writer);
        let outcome = if acks.tally().of == 0 {
            Err(SendAckedTimeoutError::NoSubscribers)
        } else {
            self.fill(&room, 0, payload);
            self.commit(room, len as u64);
            acks.published(&self.writer);
            let in_time = self.wait_until_released(&mut acks, deadline);
            let tally = acks.tally();
            let acks = Acks { of: tally.of, released: tally.released, gone: tally.gone };
            match in_time {
                false => Err(SendAckedTimeoutError::TimedOut(acks)),
                true if acks.gone > 0 => Err(SendAckedTimeoutError::Gone(acks)),
                true => Ok(acks.released),
            }
        };
        self.acking.receivers = receivers;
        outcome
    }

    /// Frees the slots of subscribers that died before the record, at most once per liveness interval.
    fn bury(&self) {
        if self.acking.looking.is_due(Instant::now()) {
            let freed = reap_all(self.memory.shared(), &SlotBytes(&self.holdings.ctl));
            self.count_reaped(freed);
        }
    }

    /// Waits until nobody holds the newest record; `false` at the deadline.
    fn wait_until_released(&self, acks: &mut Core<'_>, deadline: Option<Instant>) -> bool {
        let shared = self.memory.shared();
        let (mut ladder, mut settled, mut declared) = (Ladder::new(self.waiting), Settled::default(), false);
        let in_time = loop {
            if acks.look(shared) {
                break true;
            }
            let rung = ladder.step();
            if ladder.due(rung) {
                let now = Instant::now();
                if self.acking.looking.is_due(now) {
                    self.reap_receivers(acks);
                }
                if deadline.is_some_and(|deadline| now >= deadline) {
                    break acks.look(shared);
                }
                if rung == Rung::Park {
                    let patience = self.acking.looking.left(now);
                    let left = deadline.map_or(patience, |deadline| patience.min(deadline - now));
                    declared = true;
                    self.sleep_until_released(acks, left, &mut settled);
                }
            }
            match rung {
                Rung::Spin | Rung::Pause => annulus_core::sync::relax(),
                Rung::Yield => std::thread::yield_now(),
                Rung::Park => {}
            }
        };
        // Who has not slept has not touched the line that readers look at after each release.
        if declared {
            stop_waiting(shared.ctl);
        }
        in_time
    }

    /// Finds out who of those that hold the record is dead.
    fn reap_receivers(&self, acks: &mut Core<'_>) {
        let (ctl, readers) = (&self.holdings.ctl, ReaderBell::of(&self.memory));
        let (slots, groups) = (SlotBytes(ctl), GroupBytes(ctl));
        self.count_reaped(acks.reap(self.memory.shared(), &self.writer, &slots, &groups, &readers));
    }

    /// Sleeps until a reader's cursor has come to the end of the record, which is the tail.
    fn sleep_until_released(&self, acks: &mut Core<'_>, left: Duration, settled: &mut Settled) {
        if self.light == Light::Never {
            sys::nap(left.min(NAP));
            return;
        }
        let shared = self.memory.shared();
        let limits = [FIRST_SLEEP, left].map(Some);
        let bell = RoomBell::of(&self.memory);
        let look = || acks.look(shared);
        if sleep_for_room(shared.ctl, self.writer.tail(), &bell, settled, limits, look) == Slept::Woken {
            shared.producer.count(Counter::Sleeps, 1);
        }
    }

    fn count_reaped(&self, freed: u64) {
        if freed > 0 {
            self.memory.head().producer.count(Counter::Reaped, freed);
        }
    }
}
