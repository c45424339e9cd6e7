//! `annulus tail`: reads along without holding anybody back.

use std::fs::File;
use std::io::{BufWriter, Write};

use clap::{Args, ValueEnum};

use crate::end::{End, Result, say};
use crate::format::Format;
use crate::reader::{ReadArgs, Reader, Seen, Sink, output};
use crate::stop::Stop;

/// Prints the records of a ring as they come, each in a line, without holding anybody back.
///
/// Nobody notices this reader, and permission to read the ring's data is all it needs. Where the producer has
/// overwritten what was not read yet, it says on stderr how many records were lost, and goes on.
#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    read: ReadArgs,
    /// Print text: what is not UTF-8 as \u{fffd}, control characters as in \n and \u{1b} [the default]
    #[arg(long)]
    text: bool,
    /// Print bytes as hexadecimal digits
    #[arg(long, conflicts_with = "text")]
    hex: bool,
    /// Print fields, as in `<Qf4x8s`: see below
    #[arg(long = "struct", value_name = "FMT", conflicts_with_all = ["text", "hex"])]
    format: Option<Format>,
    /// Put the time of publication in front, in seconds, on rings that are --stamped
    #[arg(long, value_enum, value_name = "WHICH")]
    time: Option<Time>,
}

/// Which time is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Time {
    /// How long ago it was when it was read
    Age,
    /// By the machine's monotonic clock, which began about when it was started
    Clock,
}

/// What `--struct` takes.
pub(crate) const FORMATS: &str = "\
Formats for --struct are those of Python's struct module, packed, as in `<Qf4x8s`:
  <  little endian (the default)      >  big endian         in front of all others
  b B   8 bits, signed and unsigned   h H  16 bits          i I  32 bits
  q Q  64 bits, signed and unsigned   f    a 32-bit float   d    a 64-bit one
  x    a byte that is skipped         s    a byte of text, which ends at its first zero
  A number in front says how many: `3f` are three floats, `8s` is one text of eight bytes.
`annulus tail imu --struct '<Q3f'` prints the 20 bytes of a Q and three floats as `17 0.5 -1 9.81`.
A record of another length is told on stderr, and passed over.";

/// Prints until the ring, the count, whoever reads the output, or a signal ends it.
pub(crate) fn run(args: &TailArgs) -> Result {
    let stop = Stop::on_signals()?;
    let rx = args.read.open(&stop, annulus::Open::<[u8]>::observe)?;
    if args.time.is_some() && args.read.ring.open().info()?.clock.is_none() {
        let name = &args.read.ring.name;
        return Err(End::Wrong(format!(
            "ring `{name}`: its records carry no time; make it with `--stamped`, or leave out `--time`"
        )));
    }
    let form = match &args.format {
        Some(format) => Form::Fields(format.clone()),
        None if args.hex => Form::Hex,
        None => Form::Text,
    };
    let mut out = Output { to: output()?, form, time: args.time, line: Vec::new() };
    args.read.pump(Reader::Observing(rx, Vec::new()), &mut out, &stop)
}

/// How a record is printed.
enum Form {
    Text,
    Hex,
    Fields(Format),
}

struct Output {
    to: BufWriter<File>,
    form: Form,
    time: Option<Time>,
    /// The line in the making.
    line: Vec<u8>,
}

impl Sink for Output {
    fn record(&mut self, seen: Seen<'_>) -> Result {
        self.line.clear();
        if let Some((which, (time, age))) = self.time.zip(seen.time) {
            let nanos = if which == Time::Age { age } else { time };
            let (secs, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
            let _ = write!(self.line, "{secs}.{nanos:09} "); // into memory
        }
        match &self.form {
            Form::Text => text(seen.bytes, &mut self.line),
            Form::Hex => hex(seen.bytes, &mut self.line),
            Form::Fields(format) if format.len() != seen.bytes.len() as u64 => {
                let (sequence, len, needed) = (seen.sequence, seen.bytes.len(), format.len());
                self.flush()?; // so that it is told where it happened
                say(&format!("record {sequence} has {len} bytes, and the format has {needed}"));
                return Ok(());
            }
            Form::Fields(format) => format.print(seen.bytes, &mut self.line),
        }
        self.line.push(b'\n');
        self.to.write_all(&self.line).map_err(|e| End::output(&e))
    }

    fn flush(&mut self) -> Result {
        self.to.flush().map_err(|e| End::output(&e))
    }
}

/// One line of text, whatever the bytes are. Nothing in it moves a terminal's cursor but tabs.
pub(crate) fn text(bytes: &[u8], line: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        let is_plain = |c: char| c == '\t' || !c.is_control();
        if valid.chars().all(is_plain) {
            line.extend(valid.as_bytes());
        } else {
            for c in valid.chars() {
                let _ =
                    if is_plain(c) { write!(line, "{c}") } else { write!(line, "{}", c.escape_default()) };
            }
        }
        if !chunk.invalid().is_empty() {
            line.extend("\u{fffd}".as_bytes());
        }
    }
}

fn hex(bytes: &[u8], line: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    line.extend(bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(print: fn(&[u8], &mut Vec<u8>), bytes: &[u8]) -> String {
        let mut line = Vec::new();
        print(bytes, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn any_bytes_are_one_line_of_text() {
        assert_eq!(line(text, b"plain \tt\xc3\xa9xt"), "plain \tt\u{e9}xt");
        assert_eq!(line(text, b"a\nb\r\x1b[2J\x00\xc2\x9b"), r"a\nb\r\u{1b}[2J\u{0}\u{9b}");
        assert_eq!(line(text, b"\xffx\xf0\x9f"), "\u{fffd}x\u{fffd}");
        assert_eq!(line(text, b""), "");
    }

    #[test]
    fn bytes_as_digits() {
        assert_eq!(line(hex, &[0, 0x1f, 0xa0, 0xff]), "001fa0ff");
    }
}
