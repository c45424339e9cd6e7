//! Reading ends of all kinds, and what `sub` and `tail` do with one: receive until something ends it.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use annulus::{
    CopyTimeoutError, CopyingSubscriber, Observer, Open, Received, RecvError, RecvTimeoutError, Start,
    Subscriber, TryCopyError, TryRecvError, Worker,
};
use clap::Args;

use crate::args::{Named, Wait};
use crate::end::{End, Result, say};
use crate::stop::{LOOK, Stop};
use crate::units::{count, duration, start};

/// Bytes gathered before they are written, while more records are there.
const GATHER: usize = 64 << 10;

/// Where, from when and for how long to read.
#[derive(Args, Debug)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(crate) ring: Named,
    /// Begin with the `newest` record that is yet to come, the `oldest` that is there, the one of number SEQ,
    /// or the last N (-N)
    #[arg(
        long,
        value_name = "oldest|newest|SEQ|-N",
        value_parser = start,
        allow_negative_numbers = true,
        default_value = "newest"
    )]
    from: Start,
    /// Wait so long for the ring to appear, in seconds or as in `500ms`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// How to wait for records
    #[arg(long, value_enum, default_value_t = Wait::Park, value_name = "HOW")]
    waiting: Wait,
    /// End after N records
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<u64>,
    /// Stay when the producer ends or dies, and go on with the next one's records
    #[arg(long)]
    stay: bool,
}

/// A reading end.
pub(crate) enum Reader {
    InPlace(Subscriber),
    Working(Worker),
    Copying(CopyingSubscriber, Vec<u8>),
    Observing(Observer, Vec<u8>),
}

/// A record in a reader's hands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) sequence: u64,
    /// When it was published and how long ago that is, in nanoseconds.
    pub(crate) time: Option<(u64, u64)>,
}

/// What a look for the next record has found.
enum Got {
    /// One, which was shown.
    Record,
    Nothing,
    /// So many are lost.
    Lost(u64),
    Ended(RecvError),
}

/// Where records go.
pub(crate) trait Sink {
    fn record(&mut self, seen: Seen<'_>) -> Result;
    /// Writes what was gathered.
    fn flush(&mut self) -> Result;
}

/// Standard output. Not `io::stdout()`, which would look for newlines in all that is written.
pub(crate) fn output() -> Result<BufWriter<File>> {
    let out = io::stdout().as_fd().try_clone_to_owned().map_err(|e| End::output(&e))?;
    Ok(BufWriter::with_capacity(GATHER, out.into()))
}

impl ReadArgs {
    /// Opens the ring when it is there.
    pub(crate) fn open<T>(
        &self,
        stop: &Stop,
        with: impl Fn(Open) -> std::result::Result<T, annulus::Error>,
    ) -> Result<T> {
        let mut open = self.ring.open().waiting(self.waiting.into()).start(self.from);
        if self.stay {
            open = open.stay();
        }
        let Some(wait) = self.wait else { return Ok(with(open)?) };
        let deadline = Instant::now().checked_add(wait);
        loop {
            // In parts, since the wait for a ring does not end by a signal.
            let left = deadline.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()));
            match open.clone().wait(left.min(LOOK)).and_then(&with) {
                Err(error) if error.is_not_found() && !left.is_zero() => stop.check()?,
                done => return Ok(done?),
            }
        }
    }

    /// Reads until the ring, the count, whoever reads the output, or a signal ends it.
    pub(crate) fn pump(&self, mut reader: Reader, out: &mut impl Sink, stop: &Stop) -> Result {
        let (mut received, mut lost) = (0, 0);
        let done = self.receive(&mut reader, out, stop, &mut received, &mut lost);
        // Whatever the end is, what was received is written.
        let done = done.and(out.flush());
        let total = || format!("{received} records received, {lost} lost");
        match done {
            _ if lost == 0 => done,
            Ok(()) => Err(End::Lost(total())),
            Err(end) => {
                say(&total());
                Err(end)
            }
        }
    }

    fn receive(
        &self,
        reader: &mut Reader,
        out: &mut impl Sink,
        stop: &Stop,
        received: &mut u64,
        lost: &mut u64,
    ) -> Result {
        while self.count.is_none_or(|count| *received < count) {
            stop.check()?;
            let got = match reader.look(None, out)? {
                Got::Nothing => {
                    out.flush()?;
                    reader.look(Some(LOOK), out)?
                }
                got => got,
            };
            match got {
                Got::Record => *received += 1,
                Got::Nothing => {}
                Got::Lost(n) => {
                    *lost += n;
                    out.flush()?; // so that it is told where it happened
                    say(&format!("lost {n} records"));
                }
                // A ring that keeps its name has a next producer, maybe.
                Got::Ended(RecvError::Closed) if self.stay && reader.is_linked() => {
                    out.flush()?;
                    stop.sleep(LOOK)?;
                }
                Got::Ended(RecvError::Closed) => return Ok(()),
                Got::Ended(end) => return Err(End::Lost(end.to_string())),
            }
        }
        Ok(())
    }
}

impl Reader {
    /// Shows the next record, after having waited so long for it, if at all.
    fn look(&mut self, wait: Option<Duration>, out: &mut impl Sink) -> Result<Got> {
        match self {
            Self::InPlace(rx) => {
                let record = match wait {
                    None => rx.try_recv().map_err(polled),
                    Some(wait) => rx.recv_timeout(wait).map_err(awaited),
                };
                let record = match record {
                    Ok(record) => record,
                    Err(none) => return none,
                };
                let time = record.time().map(|time| (time, rx.now().saturating_sub(time)));
                out.record(Seen { bytes: &record, sequence: record.sequence(), time })?;
                Ok(Got::Record)
            }
            Self::Working(worker) => {
                let job = match wait {
                    None => worker.try_recv().map_err(polled),
                    Some(wait) => worker.recv_timeout(wait).map_err(awaited),
                };
                let job = match job {
                    Ok(job) => job,
                    Err(none) => return none,
                };
                let time = job.time().map(|time| (time, worker.now().saturating_sub(time)));
                let shown = out.record(Seen { bytes: &job, sequence: job.sequence(), time });
                // Acknowledged once it is written: whoever is killed before that has not shown it.
                if let Err(end) = shown.and_then(|()| out.flush()) {
                    job.nack();
                    return Err(end);
                }
                job.ack();
                Ok(Got::Record)
            }
            Self::Copying(rx, buf) => {
                let got = match wait {
                    None => rx.try_recv_into(buf).map_err(tried),
                    Some(wait) => rx.recv_into_timeout(buf, wait).map_err(waited),
                };
                show(got, buf, || rx.now(), out)
            }
            Self::Observing(rx, buf) => {
                let got = match wait {
                    None => rx.try_recv_into(buf).map_err(tried),
                    Some(wait) => rx.recv_into_timeout(buf, wait).map_err(waited),
                };
                show(got, buf, || rx.now(), out)
            }
        }
    }

    /// Whether the name still means the ring that is read.
    fn is_linked(&self) -> bool {
        match self {
            Self::InPlace(rx) => rx.is_linked(),
            Self::Working(worker) => worker.is_linked(),
            Self::Copying(rx, _) => rx.is_linked(),
            Self::Observing(rx, _) => rx.is_linked(),
        }
    }
}

/// What a copy comes to: the record, or what there is instead.
type Copied = std::result::Result<Received, Result<Got>>;

fn show(got: Copied, bytes: &[u8], now: impl Fn() -> u64, out: &mut impl Sink) -> Result<Got> {
    match got {
        Ok(received) => {
            let time = received.time().map(|time| (time, now().saturating_sub(time)));
            out.record(Seen { bytes, sequence: received.sequence, time })?;
            Ok(Got::Record)
        }
        Err(none) => none,
    }
}

fn polled(error: TryRecvError) -> Result<Got> {
    match error {
        TryRecvError::Empty => Ok(Got::Nothing),
        TryRecvError::Ended(end) => Ok(Got::Ended(end)),
        other => Err(End::Lost(other.to_string())),
    }
}

fn awaited(error: RecvTimeoutError) -> Result<Got> {
    match error {
        RecvTimeoutError::TimedOut => Ok(Got::Nothing),
        RecvTimeoutError::Ended(end) => Ok(Got::Ended(end)),
        other => Err(End::Lost(other.to_string())),
    }
}

fn tried(error: TryCopyError) -> Result<Got> {
    match error {
        TryCopyError::Empty => Ok(Got::Nothing),
        TryCopyError::Lagged(lost) => Ok(Got::Lost(lost)),
        TryCopyError::Ended(end) => Ok(Got::Ended(end)),
        other => Err(End::Lost(other.to_string())),
    }
}

fn waited(error: CopyTimeoutError) -> Result<Got> {
    match error {
        CopyTimeoutError::TimedOut => Ok(Got::Nothing),
        CopyTimeoutError::Lagged(lost) => Ok(Got::Lost(lost)),
        CopyTimeoutError::Ended(end) => Ok(Got::Ended(end)),
        other => Err(End::Lost(other.to_string())),
    }
}
