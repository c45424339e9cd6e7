//! Standard input, cut into records.
//!
//! A thread reads, since a read can only be ended by ending the process; the chunks it hands over hold whole
//! records, so that those of one read go out as one batch.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes of one read: what a pipe holds.
const READ: usize = 64 << 10;
/// Chunks between the two threads. More would only be memory: the ring is the buffer.
const CHUNKS: usize = 4;

/// How input is cut into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// At newlines, which are left out.
    Lines,
    /// Every so many bytes; not 0.
    Blocks(usize),
}

impl Cut {
    /// Bytes of the whole records at the front of `bytes`, of which the first `seen` hold no end of one.
    fn whole(self, bytes: &[u8], seen: usize) -> usize {
        match self {
            Self::Lines => bytes[seen..].iter().rposition(|&b| b == b'\n').map_or(0, |at| seen + at + 1),
            Self::Blocks(size) => bytes.len() - bytes.len() % size,
        }
    }

    /// The first record of `bytes`, which is not empty, and what is behind it. The last may lack its end.
    fn first(self, bytes: &[u8]) -> (&[u8], &[u8]) {
        match self {
            Self::Lines => {
                let mut rest = bytes;
                // A slice is a reader that cannot fail, with a fast search.
                let len = rest.skip_until(b'\n').unwrap_or(bytes.len());
                let line = &bytes[..len];
                (line.strip_suffix(b"\n").unwrap_or(line), rest)
            }
            Self::Blocks(size) => bytes.split_at(size.min(bytes.len())),
        }
    }
}

/// Some whole records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    cut: Cut,
}

impl Chunk {
    pub(crate) fn records(&self) -> Records<'_> {
        Records { bytes: &self.bytes, cut: self.cut }
    }
}

/// The records of a chunk.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    cut: Cut,
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.bytes.is_empty() {
            return None;
        }
        let (first, rest) = self.cut.first(self.bytes);
        self.bytes = rest;
        Some(first)
    }
}

/// Reads standard input in a thread of its own, until its end. `max` is the longest record that can be sent: of
/// one that is longer no more than its beginning is gathered.
pub(crate) fn read(cut: Cut, max: usize) -> Receiver<io::Result<Chunk>> {
    let (to, chunks) = sync_channel(CHUNKS);
    thread::spawn(move || {
        if let Err(error) = gather(io::stdin().lock(), cut, max, &to) {
            let _ = to.send(Err(error)); // unless nobody listens any more
        }
    });
    chunks
}

/// Hands over what `from` has, as it comes; ends early if nobody listens.
fn gather(mut from: impl Read, cut: Cut, max: usize, to: &SyncSender<io::Result<Chunk>>) -> io::Result<()> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let had = bytes.len();
        bytes.resize(had + READ, 0);
        let read = loop {
            match from.read(&mut bytes[had..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        bytes.truncate(had + read);
        let mut whole = cut.whole(&bytes, had);
        if read == 0 || bytes.len() - whole > max {
            whole = bytes.len(); // the end, or a record that cannot be sent whatever follows
        }
        if whole > 0 {
            let rest = bytes.split_off(whole);
            if to.send(Ok(Chunk { bytes, cut })).is_err() {
                return Ok(());
            }
            bytes = rest;
        }
        if read == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its parts, one a read.
    struct Parts(Vec<&'static [u8]>);

    impl Read for Parts {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let part = self.0.remove(0);
            to[..part.len()].copy_from_slice(part);
            Ok(part.len())
        }
    }

    /// The records, as text, chunk by chunk.
    fn chunks(parts: &[&'static str], cut: Cut, max: usize) -> Vec<Vec<String>> {
        let (to, chunks) = sync_channel(100);
        let parts = parts.iter().map(|part| part.as_bytes()).collect();
        gather(Parts(parts), cut, max, &to).unwrap();
        drop(to);
        let text = |record: &[u8]| String::from_utf8(record.to_vec()).unwrap();
        chunks.iter().map(|chunk| chunk.unwrap().records().map(text).collect()).collect()
    }

    #[test]
    fn lines_go_out_as_soon_as_they_are_whole() {
        let lines = chunks(&["a\nb\nc", "d", "e\n", "\n\nf"], Cut::Lines, 100);
        assert_eq!(lines, [vec!["a", "b"], vec!["cde"], vec!["", ""], vec!["f"]]);
        assert_eq!(chunks(&["a\n"], Cut::Lines, 100), [["a"]]);
        assert_eq!(chunks(&[], Cut::Lines, 100), [[""; 0]; 0]);
    }

    #[test]
    fn blocks_do_not_care_how_they_came() {
        let blocks = chunks(&["a\nb", "cd", "e", "fghijk"], Cut::Blocks(4), 100);
        assert_eq!(blocks, [vec!["a\nbc"], vec!["defg", "hijk"]]);
        assert_eq!(chunks(&["abcde"], Cut::Blocks(4), 100), [["abcd"], ["e"]]);
    }

    #[test]
    fn a_line_without_an_end_is_not_gathered_for_ever() {
        assert_eq!(
            chunks(&["a\nbcd", "efg", "hi\n"], Cut::Lines, 5),
            [vec!["a"], vec!["bcdefg"], vec!["hi"]]
        );
    }
}
