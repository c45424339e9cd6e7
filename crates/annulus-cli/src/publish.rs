//! `annulus pub`: standard input becomes records, or made-up ones are sent.

use std::sync::mpsc::RecvTimeoutError;

use annulus::{Producer, SendError, SendTimeoutError, WaitError};
use clap::Args;

use crate::args::{Named, Wait};
use crate::end::{End, Result};
use crate::generate;
use crate::input::{self, Cut, Records};
use crate::kind::Kind;
use crate::stop::{LOOK, Stop};
use crate::units::{count, rate, some_bytes};

/// Publishes lines of standard input, each as a record without its newline, until its end.
///
/// The ring is made if there is none, and is gone when this ends, unless `create` made it; readers get what
/// was sent before. If the ring is there and its producer has ended or died, the sequence goes on in it. A
/// subscriber that is a full ring behind is waited for.
///
/// With --rate, --size or --count, records are made up instead: each is its number in the ring as 20 digits
/// (the last ones if SIZE is less), followed by the letters of the alphabet, over and over, the first of
/// which is the (number mod 26)th. A record that comes late, since the ring was full, does not delay those
/// behind it.
#[derive(Args, Debug)]
pub(crate) struct PubArgs {
    #[command(flatten)]
    ring: Named,
    /// Publish blocks of SIZE bytes instead of lines; the last may be shorter
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = some_bytes,
        conflicts_with_all = ["rate", "size", "count"]
    )]
    raw: Option<usize>,
    /// Publish N made-up records a second, as in `0.5`, `100`, `10k`; as many as there is room for if this is
    /// not said
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Publish made-up records of so many bytes, as in `100`, `4K` [default: 64]
    #[arg(long, value_name = "BYTES", value_parser = some_bytes)]
    size: Option<usize>,
    /// Publish N made-up records, as in `10`, `10k`, `1M`, and end
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<u64>,
    /// How to wait while the ring is full
    #[arg(long, visible_alias = "wait", value_enum, default_value_t = Wait::Park, value_name = "HOW")]
    waiting: Wait,
    /// Wait for N subscribers before anything is read, so that they miss nothing
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    subscribers: u32,
    #[command(flatten)]
    kind: Kind,
}

/// Publishes until standard input, the count or a signal ends it.
pub(crate) fn run(args: &PubArgs) -> Result {
    let stop = Stop::on_signals()?;
    let mut tx = args.kind.ask(args.ring.open_or_create().waiting(args.waiting.into()))?.producer()?;
    args.kind.tell_rounded(tx.capacity() as u64);
    let made_up = args.rate.is_some() || args.size.is_some() || args.count.is_some();
    let size = args.size.unwrap_or(generate::SIZE);
    let longest = if made_up { Some(size) } else { args.raw };
    if let Some(len) = longest.filter(|size| *size > tx.max_len()) {
        return Err(too_large(len, tx.max_len())); // before anybody waits for input
    }
    wait_for_subscribers(&tx, args.subscribers, &stop)?;
    if made_up {
        return generate::run(&mut tx, size, args.rate, args.count, &stop);
    }
    let chunks = input::read(args.raw.map_or(Cut::Lines, Cut::Blocks), tx.max_len());
    loop {
        match chunks.recv_timeout(LOOK) {
            Ok(Ok(chunk)) => send(&mut tx, chunk.records(), &stop)?,
            Ok(Err(error)) => return Err(End::Lost(format!("cannot read standard input: {error}"))),
            Err(RecvTimeoutError::Timeout) => stop.check()?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn wait_for_subscribers(tx: &Producer, n: u32, stop: &Stop) -> Result {
    loop {
        stop.check()?;
        match tx.wait_for_subscribers_timeout(n, LOOK) {
            Ok(()) => return Ok(()),
            Err(WaitError::TimedOut { .. }) => {}
            Err(WaitError::TooMany { max }) => {
                return Err(End::Wrong(format!(
                    "{n} subscribers cannot come: the ring has places for {max}"
                )));
            }
            Err(other) => return Err(End::Lost(other.to_string())),
        }
    }
}

/// Sends all of a chunk, as much at once as there is room for, and can be stopped while there is none.
fn send(tx: &mut Producer, mut records: Records<'_>, stop: &Stop) -> Result {
    loop {
        stop.check()?;
        let (mut taken, mut last) = (0, None);
        let batch = records.by_ref().inspect(|record| (taken, last) = (taken + 1, Some(*record)));
        let sent = tx.try_send_batch(batch).map_err(|error| match error {
            SendError::TooLarge { len, max } => too_large(len, max),
            other => End::Lost(other.to_string()),
        })?;
        match last {
            Some(record) if sent < taken => send_one(tx, record, stop)?, // it was taken, and found no room
            _ => return Ok(()),
        }
    }
}

/// Waits for room for one record.
pub(crate) fn send_one(tx: &mut Producer, record: &[u8], stop: &Stop) -> Result {
    loop {
        match tx.send_timeout(record, LOOK) {
            Ok(()) => return Ok(()),
            Err(SendTimeoutError::TimedOut(_)) => stop.check()?,
            Err(SendTimeoutError::TooLarge { len, max }) => return Err(too_large(len, max)),
            Err(other) => return Err(End::Lost(other.to_string())),
        }
    }
}

/// In the library's words.
fn too_large(len: usize, max: usize) -> End {
    End::Wrong(SendError::TooLarge { len, max }.to_string())
}
