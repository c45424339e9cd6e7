//! Where a ring is, and what its participants ask of that: what the name means now, and whether a producer lives.

use std::fs::File;

use annulus_core::layout::lock_byte;
use annulus_os::{LockFile, lock};

use crate::registry::{Home, LOCK, Name, RingDir, life_name};

/// Where a ring is.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    /// Under a name in a directory of rings.
    Named { home: Home, name: String, ring: RingDir },
    /// In one object that somebody else has made and will remove, opened for this participant alone: its locks are
    /// bytes of that object.
    Object { file: File },
    /// In two sealed objects without a name, which nobody can take over. `data`, opened for reading, is what readers
    /// ask whether the producer lives; the producer itself does not ask.
    Sealed { data: Option<File> },
}

/// A lock that is held, of a description that nobody else has.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) file: LockFile,
    pub(crate) byte: u64,
}

impl Held {
    /// Gives it back. Closing would do so too, but a child between fork and exec has copies of the descriptor.
    pub(crate) fn release(&self) {
        let _ = lock::unlock(&self.file, self.byte);
    }
}

/// What tells whether the producer of an epoch lives.
#[derive(Debug)]
pub(crate) enum Sign {
    /// It holds the lock of this byte of this file as long as it does.
    Lock { file: File, byte: u64 },
    /// It is gone, and another has removed the sign.
    Gone,
    /// It could not be looked at for a reason that says nothing about the producer, such as too many descriptors.
    Unknown,
}

impl Sign {
    /// Whether the producer lives; `None` if that cannot be said now.
    pub(crate) fn is_alive(&self) -> Option<bool> {
        match self {
            Sign::Lock { file, byte } => lock::is_write_locked(file, *byte).ok(),
            Sign::Gone => Some(false),
            Sign::Unknown => None,
        }
    }
}

impl Whereabouts {
    /// What the ring's name means now. An object keeps its ring for as long as anybody has it.
    pub(crate) fn meaning(&self) -> Name {
        match self {
            Whereabouts::Named { home, name, ring } => match home.meaning(name, ring) {
                // A directory whose records were deleted is no ring: nobody can attach to it or take it over.
                Name::Ours if !ring.has_records() => Name::Nothing,
                meaning => meaning,
            },
            // What has no name cannot lose it.
            Whereabouts::Object { .. } | Whereabouts::Sealed { .. } => Name::Ours,
        }
    }

    /// Whether it has a name, which it can lose.
    pub(crate) fn is_named(&self) -> bool {
        matches!(self, Whereabouts::Named { .. })
    }

    /// Whether the ring ends with its producer, since nobody can become the next one.
    pub(crate) fn ends_with_producer(&self) -> bool {
        matches!(self, Whereabouts::Sealed { .. })
    }

    /// Takes the ring away, if it is ours to take away.
    pub(crate) fn retire(&self) {
        if let Whereabouts::Named { home, name, ring } = self {
            home.retire(name, ring);
        }
    }

    /// The sign of life of the producer of an epoch, through a description that is not its own.
    pub(crate) fn sign_of(&self, epoch: u64) -> Sign {
        let (file, byte) = match self {
            Whereabouts::Named { ring, .. } => {
                (ring.place.open_file(&life_name(epoch), annulus_os::Access::Read), LOCK)
            }
            Whereabouts::Object { file } | Whereabouts::Sealed { data: Some(file) } => {
                (file.try_clone(), lock_byte::LIFE)
            }
            Whereabouts::Sealed { data: None } => return Sign::Unknown,
        };
        match file {
            Ok(file) => Sign::Lock { file, byte },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Sign::Gone,
            Err(_) => Sign::Unknown,
        }
    }
}
