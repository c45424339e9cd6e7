//! A producer: sends the records of its ring, from wherever the ring is, in every way there is, until it is told to close
//! the ring, or killed.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use annulus::{ErrorKind, Producer, Ring, SendTimeoutError, TrySendError};

use crate::notes::Notes;
use crate::plan::{Plan, Random, waiting};
use crate::stage::Part;

/// At most so many records in one batch.
const BATCH: u64 = 24;
/// What a dropped claim leaves in the ring's free room.
const RUBBISH: [u8; 96] = [0xff; 96];
const LONGEST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_SEND: Duration = Duration::from_millis(2);

/// Set when the conductor says that the ring shall be closed.
static CLOSE: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let (mut part, _) = Part::new(words)?;
    let notes = Notes::open(&part.stage.notes(part.id)).map_err(|error| format!("notes: {error}"))?;
    thread::spawn(listen);
    let tx = become_producer(&mut part)?;
    if tx.max_len() != part.plan.max_len() {
        return Err(format!("max_len is {}, not {}", tx.max_len(), part.plan.max_len()));
    }
    let begin = tx.sequence();
    // From here on a successor's first sequence proves what this one published.
    notes.write(0, &[begin, begin, begin]).map_err(|error| format!("notes: {error}"))?;
    let mut sender = Sender { tx, plan: part.plan, notes, random: part.random };
    while !CLOSE.load(Ordering::Relaxed) {
        sender.act()?;
    }
    let Sender { tx, notes, .. } = sender;
    let sequence = tx.sequence();
    drop(tx);
    if part.plan.persistent {
        let removed = part.plan.open(&part.stage.rings()).remove();
        removed.map_err(|error| format!("remove: {error}"))?;
    }
    notes.write(0, &[begin, sequence, sequence, 1]).map_err(|error| format!("notes: {error}"))
}

/// A byte: close the ring. The end without one: the conductor is gone.
fn listen() {
    let told = std::io::stdin().read(&mut [0]);
    if !matches!(told, Ok(1)) {
        std::process::exit(1);
    }
    CLOSE.store(true, Ordering::Relaxed);
}

/// Waits while another producer lives: this one may have been started before that one is killed.
fn become_producer(part: &mut Part) -> Result<Producer, String> {
    let rings = part.stage.rings();
    loop {
        let waiting = waiting(&mut part.random);
        // A ring that exists can be had in two ways.
        let outcome = match part.random.one_in(3) {
            true => Ring::open(&part.plan.name()).dir(&rings).waiting(waiting).producer(),
            false => part.plan.create(&rings).waiting(waiting).producer(),
        };
        match outcome {
            Ok(tx) => return Ok(tx),
            Err(error) if matches!(error.kind(), ErrorKind::ProducerAlive) || error.is_not_found() => {
                thread::sleep(Duration::from_micros(part.random.below(400)));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

struct Sender {
    tx: Producer,
    plan: Plan,
    notes: Notes,
    random: Random,
}

impl Sender {
    /// One call or some, and what they did noted.
    fn act(&mut self) -> Result<(), String> {
        let from = self.tx.sequence();
        let count = match self.random.below(8) {
            0 => self.random.below(BATCH),
            _ => 1,
        };
        let records: Vec<Vec<u8>> = (from..from + count).map(|n| self.plan.record(n)).collect();
        self.note(&[from + count])?;
        let sent = if count == 1 { self.send_one(&records[0])? } else { self.send_many(&records)? };
        let sequence = self.tx.sequence();
        if sequence != from + sent {
            return Err(format!("sequence {sequence} after {sent} records from {from}"));
        }
        self.note(&[sequence, sequence])?;
        if self.random.one_in(self.plan.pause_one_in) {
            let pause = self.random.up_to(LONGEST_PAUSE);
            thread::sleep(pause);
        }
        Ok(())
    }

    fn note(&self, numbers: &[u64]) -> Result<(), String> {
        self.notes.write(1, numbers).map_err(|error| format!("notes: {error}"))
    }

    fn send_many(&mut self, records: &[Vec<u8>]) -> Result<u64, String> {
        let sent =
            if self.random.one_in(2) { self.tx.send_batch(records) } else { self.tx.try_send_batch(records) };
        sent.map_err(|error| error.to_string())
    }

    /// Says whether it was sent: 0 or 1.
    fn send_one(&mut self, record: &[u8]) -> Result<u64, String> {
        match self.random.below(8) {
            0 | 1 => self.claim(record),
            2 => match self.tx.try_send(record) {
                Ok(()) => Ok(1),
                Err(TrySendError::Full(_)) => Ok(0),
                Err(error) => Err(error.to_string()),
            },
            3 => match self.tx.send_timeout(record, self.random.up_to(LONGEST_SEND)) {
                Ok(()) => Ok(1),
                Err(SendTimeoutError::TimedOut(_)) => Ok(0),
                Err(error) => Err(error.to_string()),
            },
            _ => self.tx.send(record).map(|()| 1).map_err(|error| error.to_string()),
        }
    }

    /// Claims as much as the record has, or more; writes it in pieces; commits it or drops it, with rubbish in it.
    fn claim(&mut self, record: &[u8]) -> Result<u64, String> {
        let more = self.random.below(100).min((self.plan.max_len() - record.len()) as u64) as usize;
        let (cut, keep) = (self.random.below(record.len() as u64 + 1) as usize, !self.random.one_in(3));
        let mut claim = match self.random.one_in(3) {
            true => match self.tx.try_claim(record.len() + more) {
                Ok(claim) => claim,
                Err(TrySendError::Full(_)) => return Ok(0),
                Err(error) => return Err(error.to_string()),
            },
            false => self.tx.claim(record.len() + more).map_err(|error| error.to_string())?,
        };
        if !keep {
            while claim.write(&RUBBISH).map_err(|error| error.to_string())? > 0 {}
            return Ok(0);
        }
        let (front, back) = record.split_at(cut);
        claim.write_at(cut, back);
        claim.write_at(0, front);
        claim.commit();
        Ok(1)
    }
}
