//! The way from a reader to the checker; here a run that shall turn red drops, doubles or tears one record.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use crate::notes::Notes;
use crate::stage::{Part, Stage};
use crate::wire::Frame;

/// So many bytes are gathered before they are sent.
const GATHERED: usize = 16 << 10;
/// The record that is tampered with is one of a reader's first so many.
const EARLY: u64 = 200;

/// What is done to one record on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    Drop,
    Double,
    Tear,
}

impl Sabotage {
    pub(crate) fn of_word(word: &str) -> Option<Sabotage> {
        [Sabotage::Drop, Sabotage::Double, Sabotage::Tear]
            .into_iter()
            .find(|sabotage| sabotage.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Sabotage::Drop => "drop",
            Sabotage::Double => "dup",
            Sabotage::Tear => "tear",
        }
    }
}

/// A sabotage that is still to be done.
#[derive(Debug)]
struct Plot {
    what: Sabotage,
    /// Records until then.
    left: u64,
    /// Done, and not yet followed by a record that shows it.
    done: bool,
}

/// Gathers frames and sends them.
#[derive(Debug)]
pub(crate) struct Forward {
    stage: Stage,
    stream: UnixStream,
    gathered: Vec<u8>,
    sent: u64,
    notes: Notes,
    plot: Option<Plot>,
}

impl Forward {
    pub(crate) fn new(part: &mut Part, sabotage: Option<Sabotage>) -> io::Result<Forward> {
        let left = part.random.below(EARLY) + 1;
        let sabotage = sabotage.filter(|_| !part.stage.sabotaged().exists());
        Ok(Forward {
            stream: UnixStream::connect(part.stage.socket())?,
            gathered: Vec::with_capacity(2 * GATHERED),
            sent: 0,
            notes: Notes::open(&part.stage.notes(part.id))?,
            plot: sabotage.map(|what| Plot { what, left, done: false }),
            stage: part.stage.clone(),
        })
    }

    pub(crate) fn put(&mut self, frame: Frame) -> io::Result<()> {
        self.put_with(frame, &[])
    }

    /// A frame and the bytes that follow it.
    pub(crate) fn put_with(&mut self, frame: Frame, bytes: &[u8]) -> io::Result<()> {
        let before = self.gathered.len();
        frame.put(&mut self.gathered);
        let header = self.gathered.len() - before;
        self.gathered.extend_from_slice(bytes);
        if self.plot.is_some() {
            self.tamper(frame, before, header)?;
        }
        if self.gathered.len() >= GATHERED { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.gathered)?;
        self.sent += self.gathered.len() as u64;
        self.gathered.clear();
        self.notes.write(0, &[self.sent])
    }

    /// Notes that a worker has joined.
    pub(crate) fn note_joined(&self) -> io::Result<()> {
        self.notes.write(1, &[1])
    }

    /// Notes that a worker still waits.
    pub(crate) fn note_waiting(&self, count: u64) -> io::Result<()> {
        self.notes.write(2, &[count])
    }

    /// Does to one record what was plotted, once. A kill may come before that has reached the checker, so the plot is
    /// over for others only when it has, with a record behind it.
    fn tamper(&mut self, frame: Frame, at: usize, header: usize) -> io::Result<()> {
        let Some(plot) = &mut self.plot else { return Ok(()) };
        // What is behind these begins anew, so nobody can tell that a record before them is missing: another one then.
        let hides = matches!(frame, Frame::Newest { .. } | Frame::Opened { .. } | Frame::Ended { .. });
        if plot.done && plot.what == Sabotage::Drop && hides {
            (plot.done, plot.left) = (false, 1);
            return Ok(());
        }
        let len = self.gathered.len() - at - header;
        let fits = match frame {
            Frame::Got { .. } => plot.what != Sabotage::Tear || len > 0,
            // One that is missing here would be released later, and that would be what shows.
            Frame::Held { .. } | Frame::Took { .. } => plot.what == Sabotage::Double,
            Frame::Released { .. } | Frame::Acking { .. } | Frame::Backing { .. } => {
                plot.what == Sabotage::Tear && len > 0
            }
            _ => false,
        };
        if !fits {
            return Ok(());
        }
        plot.left = plot.left.saturating_sub(1);
        if plot.done {
            self.plot = None;
            self.flush()?;
            return std::fs::write(self.stage.sabotaged(), b"");
        }
        if plot.left > 0 {
            return Ok(());
        }
        plot.done = true;
        match plot.what {
            Sabotage::Drop => self.gathered.truncate(at),
            Sabotage::Double => self.gathered.extend_from_within(at..),
            // As if the producer had gone over its second half.
            Sabotage::Tear => {
                self.gathered[at + header + len / 2..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        Ok(())
    }
}
