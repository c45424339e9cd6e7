//! A record in the making.

use std::io;

use annulus_core::writer::Room;

use crate::producer::Producer;

/// Room for one record, from [`Producer::claim`]. What was written when [`commit`](Claim::commit) is called is
/// the record; dropped without it, there is none. What is written is copied, since an observer may be reading what was there:
/// nothing lends the room itself (*Soundness* in the book, "Memory that other processes change").
#[derive(Debug)]
#[must_use = "a claim that is dropped sends nothing; call `.commit()`"]
pub struct Claim<'a> {
    producer: &'a mut Producer,
    room: Room,
    /// Where `io::Write` goes on.
    cursor: u64,
    /// The end of what was written.
    written: u64,
}

impl<'a> Claim<'a> {
    pub(crate) fn new(producer: &'a mut Producer, room: Room) -> Claim<'a> {
        Claim { producer, room, cursor: 0, written: 0 }
    }

    /// Writes at a byte offset; a gap before it that was never written reads as zeros.
    ///
    /// # Panics
    ///
    /// If it ends past the claimed length.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let end = (offset as u64).checked_add(bytes.len() as u64);
        assert!(
            end.is_some_and(|end| end <= self.room.len()),
            "a write of {} bytes at {offset} ends past the {} claimed",
            bytes.len(),
            self.room.len()
        );
        const ZEROS: [u8; 64] = [0; 64];
        while self.written < offset as u64 {
            let gap = (offset as u64 - self.written).min(ZEROS.len() as u64);
            self.producer.fill(&self.room, self.written, &ZEROS[..gap as usize]);
            self.written += gap;
        }
        self.producer.fill(&self.room, offset as u64, bytes);
        self.written = self.written.max(offset as u64 + bytes.len() as u64);
    }

    /// Bytes written so far: the length of the record if it is committed now.
    pub fn written(&self) -> usize {
        self.written as usize
    }

    /// Bytes claimed: the most that the record may have.
    pub fn claimed(&self) -> usize {
        self.room.len() as usize
    }

    /// Sends what was written as one record.
    #[inline]
    pub fn commit(self) {
        self.producer.commit(self.room, self.written);
    }
}

/// Appends; writes less than asked when the claim is full, so that `write_all` reports
/// [`WriteZero`](io::ErrorKind::WriteZero).
impl io::Write for Claim<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min((self.room.len() - self.cursor) as usize);
        self.write_at(self.cursor as usize, &bytes[..n]);
        self.cursor += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
