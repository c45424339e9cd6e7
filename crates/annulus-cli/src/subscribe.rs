//! `annulus sub`: records become lines of standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use annulus::{RecvError, RecvTimeoutError, Subscriber, TryRecvError};
use clap::Args;

use crate::args::{Named, Wait, some_bytes};
use crate::end::{End, Result, say};
use crate::stop::{LOOK, Stop};

/// Bytes gathered before they are written, while more records are there.
const GATHER: usize = 64 << 10;

/// Prints the records of a ring, from now on, each as a line, until its producer ends.
///
/// What has been read is written as soon as there is nothing more to read. A record that holds newlines prints as
/// several lines. This reader holds the producer up when it is a full ring behind.
#[derive(Args, Debug)]
pub(crate) struct SubArgs {
    #[command(flatten)]
    ring: Named,
    /// Write the bytes of the records and nothing between them; says on stderr if they are not the blocks of
    /// SIZE bytes that `pub --raw SIZE` makes, of which only the last may be shorter
    #[arg(long, value_name = "SIZE", value_parser = some_bytes)]
    raw: Option<usize>,
    /// Wait so many seconds for the ring to appear
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    wait: Option<Duration>,
    /// How to wait for records
    #[arg(long, value_enum, default_value_t = Wait::Park, value_name = "HOW")]
    waiting: Wait,
    /// End after N records
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stay when the producer dies, and go on with the next one's records
    #[arg(long)]
    stay: bool,
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    seconds.ok_or_else(|| "a number of seconds is needed, as in `5` or `0.5`".to_owned())
}

/// Prints until the ring, the count, a reader's leaving or a signal ends it.
pub(crate) fn run(args: &SubArgs) -> Result {
    let stop = Stop::on_signals()?;
    let rx = args.subscribe(&stop)?;
    // Not `io::stdout()`, which would look for newlines in all that is written.
    let out = io::stdout().as_fd().try_clone_to_owned().map_err(|e| End::output(&e))?;
    let mut out =
        Output { to: BufWriter::with_capacity(GATHER, out.into()), block: args.raw, odd: None, told: false };
    let done = copy(&rx, &mut out, args.count, &stop);
    // Whatever the end is, what was received is written.
    let flushed = out.flush();
    done.and(flushed)
}

impl SubArgs {
    fn subscribe(&self, stop: &Stop) -> Result<Subscriber> {
        let deadline = self.wait.map(|wait| Instant::now().checked_add(wait));
        loop {
            let mut open = self.ring.open().waiting(self.waiting.into());
            if self.stay {
                open = open.stay();
            }
            let Some(deadline) = deadline else { return Ok(open.subscribe()?) };
            // In parts, since the wait for a ring does not end by a signal.
            let left = deadline.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()));
            match open.wait(left.min(LOOK)).and_then(annulus::Open::subscribe) {
                Err(error) if error.is_not_found() && !left.is_zero() => stop.check()?,
                done => return Ok(done?),
            }
        }
    }
}

/// Receives and writes.
fn copy(rx: &Subscriber, out: &mut Output, count: Option<u64>, stop: &Stop) -> Result {
    let mut received = 0;
    while count.is_none_or(|count| received < count) {
        stop.check()?;
        let record = match rx.try_recv() {
            Ok(record) => record,
            Err(TryRecvError::Empty) => {
                out.flush()?;
                match rx.recv_timeout(LOOK) {
                    Ok(record) => record,
                    Err(RecvTimeoutError::TimedOut) => continue,
                    Err(RecvTimeoutError::Ended(end)) => return ended(end),
                    Err(other) => return Err(End::Lost(other.to_string())),
                }
            }
            Err(TryRecvError::Ended(end)) => return ended(end),
            Err(other) => return Err(End::Lost(other.to_string())),
        };
        out.record(&record, record.sequence())?;
        received += 1;
    }
    Ok(())
}

fn ended(end: RecvError) -> Result {
    match end {
        RecvError::Closed => Ok(()),
        lost => Err(End::Lost(lost.to_string())),
    }
}

/// Where records go.
struct Output {
    to: BufWriter<File>,
    /// Bytes of a block; none for lines.
    block: Option<usize>,
    /// The first record that is not a block: its sequence and length.
    odd: Option<(u64, usize)>,
    /// Whether it has been told.
    told: bool,
}

impl Output {
    fn record(&mut self, bytes: &[u8], sequence: u64) -> Result {
        match self.block {
            None => self.to.write_all(bytes).and_then(|()| self.to.write_all(b"\n")),
            Some(size) => {
                self.judge(bytes.len(), size, sequence);
                self.to.write_all(bytes)
            }
        }
        .map_err(|e| End::output(&e))
    }

    /// A shorter record is no fault until another follows it.
    fn judge(&mut self, len: usize, size: usize, sequence: u64) {
        if len != size && self.odd.is_none() {
            self.odd = Some((sequence, len));
        }
        if let Some((odd, len)) = self.odd.filter(|(odd, len)| *len > size || *odd != sequence)
            && !self.told
        {
            say(&format!("record {odd} has {len} bytes, not {size}; all are written as they are"));
            self.told = true;
        }
    }

    fn flush(&mut self) -> Result {
        self.to.flush().map_err(|e| End::output(&e))
    }
}
