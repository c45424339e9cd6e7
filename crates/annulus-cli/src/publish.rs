//! `annulus pub`: standard input becomes records.

use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use annulus::{Producer, SendError, SendTimeoutError};
use clap::Args;

use crate::args::{Fence, Named, Place, Wait, bytes, some_bytes};
use crate::end::{End, Result, say};
use crate::input::{self, Cut, Records};
use crate::stop::{LOOK, Stop};

/// How often it is looked how many subscribers there are.
const LOOK_FOR_SUBSCRIBERS: Duration = Duration::from_millis(5);

/// Publishes lines of standard input, each as a record without its newline, until its end.
///
/// The ring is made if there is none, and is gone when this ends; readers get what was sent before. If the ring
/// is there and its producer has died, the sequence goes on in it. A subscriber that is a full ring behind is
/// waited for.
#[derive(Args, Debug)]
pub(crate) struct PubArgs {
    #[command(flatten)]
    ring: Named,
    /// Publish blocks of SIZE bytes instead of lines; the last may be shorter
    #[arg(long, value_name = "SIZE", value_parser = some_bytes)]
    raw: Option<usize>,
    /// Bytes of a new ring, as in 65536, 64K, 1M, 2G; rounded up to a power of two [default: 1M]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    capacity: Option<usize>,
    /// Where records of a new ring begin [default: line]
    #[arg(long, value_enum, value_name = "PLACE")]
    align: Option<Place>,
    /// Who pays for readers that sleep, in a new ring [default: asymmetric]
    #[arg(long, value_enum, value_name = "FENCE")]
    fence: Option<Fence>,
    /// Places for subscribers in a new ring [default: 64]
    #[arg(long, value_name = "N")]
    max_subscribers: Option<u32>,
    /// How to wait while the ring is full
    #[arg(long, visible_alias = "wait", value_enum, default_value_t = Wait::Park, value_name = "HOW")]
    waiting: Wait,
    /// Wait for N subscribers before anything is read, so that they miss nothing
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    subscribers: u32,
}

/// Publishes until standard input or a signal ends it.
pub(crate) fn run(args: &PubArgs) -> Result {
    let stop = Stop::on_signals()?;
    let mut tx = args.producer()?;
    let cut = args.raw.map_or(Cut::Lines, Cut::Blocks);
    if let Some(len) = args.raw.filter(|size| *size > tx.max_len()) {
        return Err(too_large(len, tx.max_len())); // before anybody waits for input
    }
    args.wait_for_subscribers(&stop)?;
    let chunks = input::read(cut, tx.max_len());
    loop {
        match chunks.recv_timeout(LOOK) {
            Ok(Ok(chunk)) => send(&mut tx, chunk.records(), &stop)?,
            Ok(Err(error)) => return Err(End::Lost(format!("cannot read standard input: {error}"))),
            Err(RecvTimeoutError::Timeout) => stop.check()?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

impl PubArgs {
    fn producer(&self) -> Result<Producer> {
        // What was not said is left unsaid: a ring that is taken over has its own.
        let mut create = self.ring.open_or_create().waiting(self.waiting.into());
        if let Some(bytes) = self.capacity {
            create = create.capacity(bytes);
        }
        if let Some(place) = self.align {
            create = create.align(place.into());
        }
        if let Some(fence) = self.fence {
            create = create.fence(fence.into());
        }
        if let Some(n) = self.max_subscribers {
            create = create.max_subscribers(n);
        }
        let tx = create.producer()?;
        if let Some(asked) = self.capacity.filter(|asked| *asked != tx.capacity()) {
            say(&format!("the capacity of {asked} bytes is rounded up to {}", tx.capacity()));
        }
        Ok(tx)
    }

    fn wait_for_subscribers(&self, stop: &Stop) -> Result {
        if self.subscribers == 0 {
            return Ok(());
        }
        loop {
            stop.check()?;
            let info = self.ring.open().info()?;
            if self.subscribers > info.max_subscribers {
                let (n, max) = (self.subscribers, info.max_subscribers);
                return Err(End::Wrong(format!(
                    "{n} subscribers cannot come: the ring has places for {max}"
                )));
            }
            if info.subscribers.iter().filter(|one| one.alive).count() >= self.subscribers as usize {
                return Ok(());
            }
            // There is no event for it yet: nobody tells a producer that a subscriber has come.
            thread::sleep(LOOK_FOR_SUBSCRIBERS);
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
fn send_one(tx: &mut Producer, record: &[u8], stop: &Stop) -> Result {
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
