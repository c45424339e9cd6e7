//! A worker of a group: takes records in every way there is, holds several, acknowledges them or gives them back, and leaves. What it
//! is about to do the checker has before it does it.

use std::io::Read;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError as NotTold};
use std::thread;
use std::time::Duration;

use annulus::{ErrorKind, Job, RecvError, RecvTimeoutError, Start, TryRecvError, Worker};

use crate::forward::{Forward, Sabotage};
use crate::plan::{GroupPlan, Keeping, LIVENESS, Random, waiting};
use crate::read::{FOR_A_RING, LONGEST_NAP, SEAT_TRIES, sent};
use crate::stage::Part;
use crate::wire::{End, Frame};

/// At most so many records are held at once,
const HELD: u64 = 8;
/// and asked for at once.
const BATCH: u64 = 6;
/// It pauses between a step and the word of it once in so many times.
const DAWDLES_ONE_IN: u64 = 100;
const LONGEST_PATIENCE: Duration = Duration::from_millis(3);

/// `worker .. GROUP stays|goes [SABOTAGE]`
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let (mut part, rest) = Part::new(words)?;
    let (number, stays, sabotage) = match rest {
        [number, stays] => (number, *stays == "stays", None),
        [number, stays, sabotage] => (number, *stays == "stays", Sabotage::of_word(sabotage)),
        _ => return Err("a group is wanted".into()),
    };
    let group = part.plan.group(number.parse().map_err(|error| format!("{number}: {error}"))?);
    let forward = sent(Forward::new(&mut part, sabotage))?;
    let r = &mut part.random;
    let slow_one_in = r.pick(&[20, 300, u64::MAX, u64::MAX]);
    let restless = if stays { u64::MAX } else { r.pick(&[30, 1000, u64::MAX, u64::MAX]) };
    let most = r.below(HELD) as usize;
    let mut hand = Hand { part, forward, group, stays, slow_one_in, restless, most, dry: false };
    while hand.shift()? {}
    Ok(())
}

struct Hand {
    part: Part,
    forward: Forward,
    group: GroupPlan,
    stays: bool,
    /// Sleeps after one record in so many.
    slow_one_in: u64,
    /// Leaves after so many records.
    restless: u64,
    /// Holds so many.
    most: usize,
    /// The last look found nothing.
    dry: bool,
}

/// What a look found.
enum Got<'a> {
    Jobs(Vec<Job<'a>>),
    Dead(Job<'a>),
    Nothing,
    End(RecvError),
}

impl Hand {
    /// From joining to leaving; `false` if it is enough.
    fn shift(&mut self) -> Result<bool, String> {
        let Some(worker) = self.join()? else { return Ok(false) };
        let mut held = Vec::new();
        let goes_on = loop {
            match self.ask(&worker, held.is_empty())? {
                Got::Jobs(jobs) => {
                    for job in jobs {
                        self.took(&mut held, job, false)?;
                    }
                }
                Got::Dead(job) => self.took(&mut held, job, true)?,
                Got::Nothing => self.settle(&mut held, 0)?,
                // It leaves out what is in one's own hands, which may be given back now.
                Got::End(_) if !held.is_empty() => self.settle(&mut held, 0)?,
                Got::End(end) => {
                    if !self.ended(&worker, end)? {
                        break false;
                    }
                    if !self.stays && self.random().one_in(2) {
                        break true;
                    }
                    continue;
                }
            }
            self.settle(&mut held, self.most)?;
            if self.has_enough()? {
                break self.random().one_in(8);
            }
        };
        if self.random().one_in(2) {
            self.settle(&mut held, 0)?;
        }
        self.say(Frame::Leaving)?;
        // What is forgotten goes back with its worker.
        held.into_iter().for_each(std::mem::forget);
        drop(worker);
        Ok(goes_on)
    }

    /// Joins the group; `None` if there is no ring any more.
    fn join(&mut self) -> Result<Option<Worker>, String> {
        let (plan, group, rings) = (self.part.plan, self.group, self.part.stage.rings());
        let mut tries = 0;
        loop {
            let stays = self.stays || self.random().one_in(2);
            let r = self.random();
            // One that begins behind another of its name never gets what that had.
            let start = match group.keeping {
                Keeping::Fleeting => Start::Newest,
                _ => match r.below(3) {
                    0 => Start::Newest,
                    1 => Start::Oldest,
                    _ => Start::Last(r.below(200)),
                },
            };
            let mut open = plan.open(&rings).waiting(waiting(r)).start(start);
            if stays {
                open = open.stay();
            }
            let error = match open.wait(FOR_A_RING).and_then(|open| open.join_group(group.group())) {
                Ok(worker) => {
                    let sequence = worker.sequence();
                    self.say(Frame::Joined { ring: plan.ring, group: group.number, sequence })?;
                    sent(self.forward.note_joined())?;
                    return Ok(Some(worker));
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::WaitTimedOut if self.stays => {}
                ErrorKind::NotFound | ErrorKind::WaitTimedOut => return Ok(None),
                // The group's lock, too, may be held for a moment by one that only looks for workers.
                ErrorKind::NoFreeSlot { .. } | ErrorKind::NoFreeGroup { .. } if tries < SEAT_TRIES => {
                    tries += 1;
                    thread::sleep(Duration::from_millis(1));
                }
                _ => return Err(error.to_string()),
            }
        }
    }

    /// Asks for records, in some way. One that holds some does not wait for ever, for others may wait for them; nor one whose
    /// group has dead letters, which nobody else may take.
    fn ask<'a>(&mut self, worker: &'a Worker, holds_none: bool) -> Result<Got<'a>, String> {
        let may_block = holds_none && self.group.attempts.is_none();
        let how = if self.dry { 4 + self.random().below(4) } else { self.random().below(16) };
        let most = if matches!(how, 8 | 9) { 1 + self.random().below(BATCH) } else { 1 };
        self.say(Frame::Asking { most })?;
        let got = match how {
            8 if may_block => all(worker.recv_batch(most as usize)),
            8 | 9 => tried(worker.try_recv_batch(most as usize))?,
            10 | 11 => self.choose(worker, how == 10 && may_block)?,
            4 if may_block => all(worker.recv().map(|job| vec![job])),
            5 if self.group.attempts.is_some() => match worker.try_dead_letter() {
                Ok(job) => Got::Dead(job),
                Err(TryRecvError::Empty) => Got::Nothing,
                Err(error) => return Err(error.to_string()),
            },
            4..=7 => {
                let patience = self.random().up_to(LONGEST_PATIENCE);
                match worker.recv_timeout(patience) {
                    Ok(job) => Got::Jobs(vec![job]),
                    Err(RecvTimeoutError::TimedOut) => Got::Nothing,
                    Err(RecvTimeoutError::Ended(end)) => Got::End(end),
                    Err(error) => return Err(error.to_string()),
                }
            }
            _ => tried(worker.try_recv().map(|job| vec![job]))?,
        };
        self.dry = matches!(got, Got::Nothing);
        if !self.dry {
            self.dawdle();
        }
        Ok(got)
    }

    /// Claims one past some that it does not want; in the end it wants any, for all of its group may be waiting like this.
    fn choose<'a>(&mut self, worker: &'a Worker, blocks: bool) -> Result<Got<'a>, String> {
        let mut unwanted = self.random().below(4);
        let mut copy = Vec::new();
        let wanted = |bytes: &[u8]| {
            if unwanted > 0 {
                unwanted -= 1;
                return false;
            }
            copy.clear();
            copy.extend_from_slice(bytes);
            true
        };
        let got = match blocks {
            true => worker.claim_where(wanted).map_err(TryRecvError::Ended),
            false => worker.try_claim_where(wanted),
        };
        match got {
            Ok(job) if *job != *copy => {
                Err(format!("torn: {} was chosen by a copy that is not its", job.sequence()))
            }
            // The end of one that wants no more is not that of the records; the next look says where that is.
            Err(TryRecvError::Ended(RecvError::Closed | RecvError::ProducerLost)) => Ok(Got::Nothing),
            got => tried(got.map(|job| vec![job])),
        }
    }

    fn took<'a>(&mut self, held: &mut Vec<Job<'a>>, job: Job<'a>, dead_letter: bool) -> Result<(), String> {
        let (sequence, attempts) = (job.sequence(), job.attempts());
        if job.is_redelivered() != (attempts > 1) {
            return Err(format!("{sequence} came as attempt {attempts}, and is not marked so"));
        }
        held.push(job);
        sent(self.forward.put(Frame::Took { sequence, attempts, dead_letter }))
    }

    /// Is done with some, in any order, until so many are left.
    fn settle(&mut self, held: &mut Vec<Job<'_>>, left: usize) -> Result<(), String> {
        while held.len() > left {
            let i = self.random().below(held.len() as u64) as usize;
            let back_one_in = self.group.back_one_in;
            let gives_back = self.random().one_in(back_one_in);
            self.settle_one(held.swap_remove(i), gives_back)?;
        }
        Ok(())
    }

    fn settle_one(&mut self, job: Job<'_>, gives_back: bool) -> Result<(), String> {
        let (sequence, stamp, len) = (job.sequence(), job.time().unwrap_or(0), job.len() as u64);
        let about_to = match gives_back {
            true => Frame::Backing { sequence, stamp, len },
            false => Frame::Acking { sequence, stamp, len },
        };
        sent(self.forward.put_with(about_to, &job))?;
        sent(self.forward.flush())?;
        self.dawdle();
        let is_dead = match self.random().below(2) {
            _ if gives_back => job.nack(),
            0 => {
                job.ack();
                false
            }
            _ => {
                drop(job);
                false
            }
        };
        self.dawdle();
        sent(self.forward.put(Frame::Settled { is_dead }))
    }

    /// An end that the API told; `false` if nothing more can come.
    fn ended(&mut self, worker: &Worker, end: RecvError) -> Result<bool, String> {
        let sequence = worker.sequence();
        match end {
            RecvError::ProducerLost => {
                self.say(Frame::Ended { end: End::ProducerLost, sequence })?;
                Ok(true)
            }
            RecvError::Closed => {
                self.say(Frame::Ended { end: End::Closed, sequence })?;
                if self.stays {
                    self.wait_until_alone()?;
                    self.take_dead_letters(worker)?;
                }
                Ok(false)
            }
            _ => Err(end.to_string()),
        }
    }

    /// A fellow may still give back a dead letter.
    fn wait_until_alone(&mut self) -> Result<(), String> {
        let told = listen();
        for waited in 0.. {
            match told.recv_timeout(LIVENESS) {
                Ok(()) => break,
                Err(NotTold::Timeout) => sent(self.forward.note_waiting(waited))?,
                Err(NotTold::Disconnected) => return Err("the conductor is gone".into()),
            }
        }
        Ok(())
    }

    fn take_dead_letters(&mut self, worker: &Worker) -> Result<(), String> {
        loop {
            self.say(Frame::Asking { most: 1 })?;
            let mut held = Vec::new();
            match worker.try_dead_letter() {
                Ok(job) => self.took(&mut held, job, true)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
            held.into_iter().try_for_each(|job| self.settle_one(job, false))?;
        }
    }

    /// A pause at times, and whether it is enough for this handle.
    fn has_enough(&mut self) -> Result<bool, String> {
        let slow = self.slow_one_in;
        if self.random().one_in(slow) {
            sent(self.forward.flush())?;
            let nap = self.random().up_to(LONGEST_NAP);
            thread::sleep(nap);
        }
        let restless = self.restless;
        Ok(restless != u64::MAX && self.random().one_in(restless))
    }

    /// Pauses at times between a step and the word of it, so that kills come there, too.
    fn dawdle(&mut self) {
        if self.random().one_in(DAWDLES_ONE_IN) {
            let nap = self.random().up_to(LONGEST_NAP);
            thread::sleep(nap);
        }
    }

    fn random(&mut self) -> &mut Random {
        &mut self.part.random
    }

    /// Says something, and has said it when this returns.
    fn say(&mut self, frame: Frame) -> Result<(), String> {
        sent(self.forward.put(frame).and_then(|()| self.forward.flush()))
    }
}

fn tried<'a>(got: Result<Vec<Job<'a>>, TryRecvError>) -> Result<Got<'a>, String> {
    match got {
        Ok(jobs) => Ok(Got::Jobs(jobs)),
        Err(TryRecvError::Empty) => Ok(Got::Nothing),
        Err(TryRecvError::Ended(end)) => Ok(Got::End(end)),
        Err(error) => Err(error.to_string()),
    }
}

fn all(got: Result<Vec<Job<'_>>, RecvError>) -> Got<'_> {
    match got {
        Ok(jobs) => Got::Jobs(jobs),
        Err(end) => Got::End(end),
    }
}

/// A byte: all fellows have ended. The end without one: the conductor is gone.
fn listen() -> Receiver<()> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || matches!(std::io::stdin().read(&mut [0]), Ok(1)).then(|| tell.send(())));
    told
}
