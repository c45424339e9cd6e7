//! A reader: what the kinds have in common.

use std::io;
use std::thread;
use std::time::Duration;

use annulus::{ErrorKind, Open, RecvError, Start};

use crate::forward::{Forward, Sabotage};
use crate::plan::{LIVENESS, Random, waiting};
use crate::stage::Part;
use crate::wire::{End, Frame, Kind};
use crate::{copy, in_place};

/// So long a reader waits for a ring that is not there yet.
pub(crate) const FOR_A_RING: Duration = LIVENESS.saturating_mul(5);
/// A place may be held for a moment by a process that only looks whether its owner lives.
pub(crate) const SEAT_TRIES: u32 = 40;
pub(crate) const LONGEST_NAP: Duration = Duration::from_millis(2);

/// What a reader does with the end of a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Goes on with the same handle.
    SameHandle,
    /// Opens the ring again, with this sequence.
    Again(u64),
    /// Leaves.
    Leave,
}

/// A reader, whatever its kind.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) part: Part,
    pub(crate) forward: Forward,
    /// Outlives producers without being told.
    stay: bool,
    /// Sleeps after one record in so many.
    slow_one_in: u64,
    /// Drops its handle after so many records.
    restless: u64,
    records: u64,
}

pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let (mut part, rest) = Part::new(words)?;
    let (kind, sabotage) = match rest {
        [kind] => (kind, None),
        [kind, sabotage] => (kind, Sabotage::of_word(sabotage)),
        _ => return Err("a kind is wanted".into()),
    };
    let kind = Kind::of_word(kind).ok_or("no such kind")?;
    let forward = Forward::new(&mut part, sabotage).map_err(|error| format!("to the checker: {error}"))?;
    let r = &mut part.random;
    let stay = r.one_in(2);
    // A ringful takes the slowest a hundred naps or so.
    let often = (part.plan.capacity as u64 / 4096).max(30);
    let slow_one_in = r.pick(&[often, 10 * often, u64::MAX, u64::MAX]);
    let restless = r.pick(&[100, 2000, u64::MAX, u64::MAX]);
    let mut reader = Reader { part, forward, stay, slow_one_in, restless, records: 0 };
    let mut asked = None;
    loop {
        let start = match asked {
            Some(sequence) => Start::Sequence(sequence),
            None => reader.some_start(),
        };
        let next = match kind {
            Kind::InPlace => in_place::read(&mut reader, start)?,
            Kind::Copying => copy::subscribe(&mut reader, start)?,
            Kind::Observer => copy::observe(&mut reader, start)?,
        };
        reader.flush()?;
        match next {
            Next::Again(sequence) => asked = Some(sequence),
            _ => return Ok(()),
        }
    }
}

impl Reader {
    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.part.random
    }

    /// Any start there is, also one that is still to come.
    fn some_start(&mut self) -> Start {
        let rings = self.part.stage.rings();
        let published = self.part.plan.open(&rings).info().map_or(0, |info| info.published);
        let r = self.random();
        match r.below(6) {
            0 => Start::Newest,
            1 | 2 => Start::Oldest,
            3 => Start::Last(r.below(200)),
            4 => Start::Sequence(published.saturating_sub(r.below(300))),
            _ => Start::Sequence(published + r.below(30)),
        }
    }

    /// Opens the ring; `None` if there is none any more. `how` is one of the ends of [`Open`].
    pub(crate) fn open<T>(
        &mut self,
        kind: Kind,
        mut start: Start,
        how: impl Fn(Open) -> Result<T, annulus::Error>,
        sequence: impl Fn(&T) -> u64,
    ) -> Result<Option<T>, String> {
        let (plan, rings) = (self.part.plan, self.part.stage.rings());
        let mut tries = 0;
        loop {
            let waiting = waiting(self.random());
            let mut open = plan.open(&rings).waiting(waiting).start(start);
            if self.stay {
                open = open.stay();
            }
            let error = match open.wait(FOR_A_RING).and_then(&how) {
                Ok(handle) => {
                    let asked = if let Start::Sequence(n) = start { n } else { u64::MAX };
                    let sequence = sequence(&handle);
                    self.put(Frame::Opened { ring: plan.ring, kind, asked, sequence })?;
                    return Ok(Some(handle));
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::WaitTimedOut => return Ok(None),
                ErrorKind::StartGone { .. } if kind == Kind::InPlace => start = Start::Oldest,
                ErrorKind::NoFreeSlot { .. } if tries < SEAT_TRIES => {
                    tries += 1;
                    thread::sleep(Duration::from_millis(1));
                }
                _ => return Err(error.to_string()),
            }
        }
    }

    /// What follows an end that the API told.
    pub(crate) fn ended(&mut self, end: RecvError, sequence: u64) -> Result<Next, String> {
        let (end, next) = match end {
            RecvError::Closed => (End::Closed, Next::Leave),
            RecvError::ProducerLost if self.stay => {
                return Err("a reader that stays was told that the producer died".into());
            }
            RecvError::ProducerLost if self.random().one_in(2) => (End::ProducerLost, Next::SameHandle),
            RecvError::ProducerLost => (End::ProducerLost, Next::Again(sequence)),
            _ => {
                self.put(Frame::Ended { end: End::Other, sequence })?;
                self.flush()?;
                return Err(end.to_string());
            }
        };
        self.put(Frame::Ended { end, sequence })?;
        self.flush()?;
        Ok(next)
    }

    /// After each record: a pause at times, and whether it is enough for this handle.
    pub(crate) fn has_enough(&mut self) -> bool {
        self.records += 1;
        let slow = self.slow_one_in;
        if self.random().one_in(slow) {
            let nap = self.random().up_to(LONGEST_NAP);
            thread::sleep(nap);
        }
        self.records.is_multiple_of(self.restless)
    }

    /// What follows when the handle was dropped: often another one.
    pub(crate) fn dropped(&mut self, sequence: u64) -> Result<Next, String> {
        self.put(Frame::Ended { end: End::Dropped, sequence })?;
        Ok(if self.random().one_in(8) { Next::Leave } else { Next::Again(sequence) })
    }

    pub(crate) fn put(&mut self, frame: Frame) -> Result<(), String> {
        sent(self.forward.put(frame))
    }

    pub(crate) fn put_with(&mut self, frame: Frame, bytes: &[u8]) -> Result<(), String> {
        sent(self.forward.put_with(frame, bytes))
    }

    pub(crate) fn flush(&mut self) -> Result<(), String> {
        sent(self.forward.flush())
    }
}

pub(crate) fn sent<T>(outcome: io::Result<T>) -> Result<T, String> {
    outcome.map_err(|error| format!("to the checker: {error}"))
}
