//! What readers and workers send to the checker: frames of a tag, numbers and bytes.

use std::io::{self, Read};

/// A kind of reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    InPlace,
    Copying,
    Observer,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::InPlace, Kind::Copying, Kind::Observer];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::InPlace => "in-place",
            Kind::Copying => "copying",
            Kind::Observer => "observer",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// How a handle's reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    ProducerLost,
    /// It was dropped by its owner.
    Dropped,
    /// Something that must not happen.
    Other,
}

/// One thing that happened to a reader or a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// It opened the ring: its kind, the sequence that it asked to start with or `u64::MAX`, the one it was told.
    Opened { ring: u64, kind: Kind, asked: u64, sequence: u64 },
    /// A record came; its bytes follow.
    Got { sequence: u64, stamp: u64, len: u64 },
    /// A record came and is held.
    Held { sequence: u64 },
    /// The bytes of a record that was held, as they were just before it was released; they follow.
    Released { sequence: u64, stamp: u64, len: u64 },
    /// `latest` gave a record; its bytes follow.
    Newest { sequence: u64, stamp: u64, len: u64 },
    /// So many were lost, the API said.
    Lagged { lost: u64 },
    /// The buffer was too small for the next record, which has so many bytes.
    TooSmall { need: u64 },
    /// The end for this handle, or the producer's death, after which it may go on.
    Ended { end: End, sequence: u64 },
    /// A worker joined a group, which was at this sequence. Sent before it asks for anything.
    Joined { ring: u64, group: u32, sequence: u64 },
    /// It is about to take so many records at most. Sent before it does.
    Asking { most: u64 },
    /// It got a record.
    Took { sequence: u64, attempts: u32, dead_letter: bool },
    /// It is about to acknowledge one, whose bytes follow. Sent before it does.
    Acking { sequence: u64, stamp: u64, len: u64 },
    /// It is about to give one back, whose bytes follow. Sent before it does.
    Backing { sequence: u64, stamp: u64, len: u64 },
    /// What it was about to do with a record is done; whether that is a dead letter now.
    Settled { is_dead: bool },
    /// It is about to leave, with whatever it has in its hands. Sent before it does.
    Leaving,
}

impl Frame {
    /// Without the bytes that follow.
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        let (tag, numbers): (u8, [u64; 4]) = match *self {
            Frame::Opened { ring, kind, asked, sequence } => (b'O', [ring, kind as u64, asked, sequence]),
            Frame::Got { sequence, stamp, len } => (b'G', [sequence, stamp, len, 0]),
            Frame::Held { sequence } => (b'H', [sequence, 0, 0, 0]),
            Frame::Released { sequence, stamp, len } => (b'R', [sequence, stamp, len, 0]),
            Frame::Newest { sequence, stamp, len } => (b'N', [sequence, stamp, len, 0]),
            Frame::Lagged { lost } => (b'L', [lost, 0, 0, 0]),
            Frame::TooSmall { need } => (b'S', [need, 0, 0, 0]),
            Frame::Ended { end, sequence } => (b'E', [end as u64, sequence, 0, 0]),
            Frame::Joined { ring, group, sequence } => (b'J', [ring, u64::from(group), sequence, 0]),
            Frame::Asking { most } => (b'A', [most, 0, 0, 0]),
            Frame::Took { sequence, attempts, dead_letter } => {
                (b'T', [sequence, u64::from(attempts), u64::from(dead_letter), 0])
            }
            Frame::Acking { sequence, stamp, len } => (b'K', [sequence, stamp, len, 0]),
            Frame::Backing { sequence, stamp, len } => (b'B', [sequence, stamp, len, 0]),
            Frame::Settled { is_dead } => (b'D', [u64::from(is_dead), 0, 0, 0]),
            Frame::Leaving => (b'V', [0; 4]),
        };
        to.push(tag);
        to.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    }

    /// The next frame; `None` at the end, also inside of a frame: its sender was killed.
    pub(crate) fn take(from: &mut impl Read) -> io::Result<Option<Frame>> {
        let mut bytes = [0; 33];
        if !filled(from.read_exact(&mut bytes))? {
            return Ok(None);
        }
        let n = |i: usize| u64::from_le_bytes(bytes[1 + i * 8..9 + i * 8].try_into().expect("eight bytes"));
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{what} {bytes:?}"));
        let (sequence, stamp, len) = (n(0), n(1), n(2));
        Ok(Some(match bytes[0] {
            b'O' => {
                let kind = *Kind::ALL.get(n(1) as usize).ok_or_else(|| wrong("no kind"))?;
                Frame::Opened { ring: n(0), kind, asked: n(2), sequence: n(3) }
            }
            b'G' => Frame::Got { sequence, stamp, len },
            b'H' => Frame::Held { sequence },
            b'R' => Frame::Released { sequence, stamp, len },
            b'N' => Frame::Newest { sequence, stamp, len },
            b'L' => Frame::Lagged { lost: n(0) },
            b'S' => Frame::TooSmall { need: n(0) },
            b'E' => {
                let ends = [End::Closed, End::ProducerLost, End::Dropped, End::Other];
                let end = *ends.get(n(0) as usize).ok_or_else(|| wrong("no end"))?;
                Frame::Ended { end, sequence: n(1) }
            }
            b'J' => Frame::Joined { ring: n(0), group: n(1) as u32, sequence: n(2) },
            b'A' => Frame::Asking { most: n(0) },
            b'T' => Frame::Took { sequence, attempts: n(1) as u32, dead_letter: n(2) == 1 },
            b'K' => Frame::Acking { sequence, stamp, len },
            b'B' => Frame::Backing { sequence, stamp, len },
            b'D' => Frame::Settled { is_dead: n(0) == 1 },
            b'V' => Frame::Leaving,
            _ => return Err(wrong("no frame")),
        }))
    }
}

/// Whether all that was wanted came.
pub(crate) fn filled(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
