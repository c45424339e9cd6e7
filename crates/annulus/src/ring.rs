//! Where everything begins.

use std::path::{Path, PathBuf};

use crate::create::{Create, Existing};
use crate::error::Error;
use crate::open::Open;
use crate::registry::{Access, Home, Purpose, default_dir};

/// The ways to a ring, by name.
///
/// A name is 1 to 200 of `A-Z a-z 0-9 . _ -`, without a dot at its beginning.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ring;

impl Ring {
    /// A new ring. A leftover of that name, whose producer is gone, is replaced, and its readers are told; a
    /// ring that is held or persistent is an error.
    pub fn create(name: &str) -> Create {
        Create::new(name, Existing::Replace)
    }

    /// The ring of that name, new if there is none: what a service calls. If its producer before has crashed,
    /// the sequence goes on where it stopped, and readers keep their place.
    pub fn open_or_create(name: &str) -> Create {
        Create::new(name, Existing::TakeOver)
    }

    /// A ring that exists, or that [will](Open::wait).
    pub fn open(name: &str) -> Open {
        Open::new(name)
    }

    /// The names in a directory of rings, sorted; in the default one if none is named. They may be gone by the
    /// time you look.
    ///
    /// # Errors
    ///
    /// If the directory is not safe or cannot be read. One that does not exist has no rings.
    pub fn list(dir: Option<&Path>) -> Result<Vec<String>, Error> {
        let access = Access { dir: dir.map(Path::to_owned), allow_disk: true, ..Access::default() };
        match Home::open(&access, Purpose::Read) {
            Ok(home) => home.names(),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The directory that is used when none is named: `$ANNULUS_DIR`, or `/dev/shm/annulus-<uid>`.
    pub fn default_dir() -> PathBuf {
        default_dir()
    }
}
