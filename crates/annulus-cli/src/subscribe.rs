//! `annulus sub`: records become lines of standard output.

use std::fs::File;
use std::io::{BufWriter, Write};

use clap::Args;

use crate::end::{End, Result, say};
use crate::reader::{ReadArgs, Reader, Seen, Sink, output};
use crate::stop::Stop;
use crate::units::some_bytes;

/// Prints the records of a ring, each as a line, until its producer ends.
///
/// What has been read is written as soon as there is nothing more to read. A record that holds newlines
/// prints as several lines. The producer waits for this reader when it is a full ring behind; `tail` is not
/// waited for.
#[derive(Args, Debug)]
pub(crate) struct SubArgs {
    #[command(flatten)]
    read: ReadArgs,
    /// Write the bytes of the records and nothing between them; says on stderr if they are not the blocks of
    /// SIZE bytes that `pub --raw SIZE` makes, of which only the last may be shorter
    #[arg(long, value_name = "SIZE", value_parser = some_bytes)]
    raw: Option<usize>,
    /// Copy each record out and check it, instead of reading it in place: for rings of users whom one does
    /// not trust, and for rings that lend nothing in place (--no-in-place)
    #[arg(long)]
    copy: bool,
    /// Share the records with the other workers of the group NAME: each is printed by one of them, and acknowledged once it is
    /// in its output; what a killed one had not written comes again elsewhere
    #[arg(long, value_name = "NAME", conflicts_with = "copy")]
    group: Option<String>,
    /// Read the records of this user in place, as those of one's own and of root
    #[arg(long, value_name = "UID", conflicts_with = "copy")]
    trust_uid: Option<u32>,
}

/// Prints until the ring, the count, a reader's leaving or a signal ends it.
pub(crate) fn run(args: &SubArgs) -> Result {
    let stop = Stop::on_signals()?;
    let reader = args.read.open(&stop, |mut open| {
        if args.copy {
            return open.subscribe_copying().map(|rx| Reader::Copying(rx, Vec::new()));
        }
        if let Some(uid) = args.trust_uid {
            open = open.trust_uid(uid);
        }
        match &args.group {
            Some(group) => open.join_group(&**group).map(Reader::Working),
            None => open.subscribe().map(Reader::InPlace),
        }
    })?;
    let mut out = Output { to: output()?, block: args.raw, odd: None, told: false };
    args.read.pump(reader, &mut out, &stop)
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

impl Sink for Output {
    fn record(&mut self, seen: Seen<'_>) -> Result {
        match self.block {
            None => self.to.write_all(seen.bytes).and_then(|()| self.to.write_all(b"\n")),
            Some(size) => {
                self.judge(seen.bytes.len(), size, seen.sequence);
                self.to.write_all(seen.bytes)
            }
        }
        .map_err(|e| End::output(&e))
    }

    fn flush(&mut self) -> Result {
        self.to.flush().map_err(|e| End::output(&e))
    }
}

impl Output {
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
}
