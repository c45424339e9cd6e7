//! What a process notes as it goes, in a small file that outlives it: the kernel has it once the call has returned, so a kill
//! loses none of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Not noted yet.
pub(crate) const NONE: u64 = u64::MAX;

/// A file of a few numbers.
#[derive(Debug)]
pub(crate) struct Notes(File);

/// Of a producer: the sequence it began with, how far it may have published, how far `send` has returned, and whether
/// it closed the ring. Of a reader or a worker: how much it has sent to the checker; of a worker: that it has joined, and a count
/// while it waits to be told that it is alone.
pub(crate) type Noted = [u64; 4];

impl Notes {
    pub(crate) fn open(path: &Path) -> io::Result<Notes> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map(Notes)
    }

    pub(crate) fn write(&self, first: usize, numbers: &[u64]) -> io::Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.0.write_all_at(&bytes, first as u64 * 8)
    }

    /// What was noted; [`NONE`] where nothing was.
    pub(crate) fn read(path: &Path) -> Noted {
        let bytes = std::fs::read(path).unwrap_or_default();
        let mut noted = [NONE; 4];
        for (number, bytes) in noted.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        }
        noted
    }
}
