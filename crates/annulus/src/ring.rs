//! Where everything begins.

use std::path::{Path, PathBuf};

use crate::create::{Create, Existing, Spec};
use crate::error::Error;
use crate::open::Open;
use crate::registry::{Access, Home, Purpose, default_dir};
use crate::{Payload, Prune, TypedRing};

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
        Create::new(Spec::new(name, Existing::Replace))
    }

    /// The ring of that name, new if there is none: what a service calls. If its producer before has crashed,
    /// the sequence goes on where it stopped, and readers keep their place.
    pub fn open_or_create(name: &str) -> Create {
        Create::new(Spec::new(name, Existing::TakeOver))
    }

    /// A ring that exists, or that [will](Open::wait).
    pub fn open(name: &str) -> Open {
        Open::new(name, None)
    }

    /// The same as [`create`](Ring::create) for records of one type: see [`TypedRing`].
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-typed-names-{}", std::process::id());
    /// let mut tx = Ring::create_typed::<[f32; 3]>("wind").dir(&dir).producer()?;
    /// let rx = Ring::open_typed::<[f32; 3]>("wind").dir(&dir).subscribe()?;
    /// tx.send(&[2.5, -1.0, 0.25])?;
    /// assert_eq!(rx.recv()?[0], 2.5);
    /// # drop((rx, tx));
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_typed<T: Payload>(name: &str) -> Create<T> {
        TypedRing::create(name)
    }

    /// The same as [`open_or_create`](Ring::open_or_create) for records of one type.
    pub fn open_or_create_typed<T: Payload>(name: &str) -> Create<T> {
        TypedRing::open_or_create(name)
    }

    /// The same as [`open`](Ring::open) for records of one type.
    pub fn open_typed<T: Payload>(name: &str) -> Open<T> {
        TypedRing::open(name)
    }

    /// The names in a directory of rings, sorted; in the default one if none is named. They may be gone by the
    /// time you look.
    ///
    /// # Errors
    ///
    /// If the directory is not safe or cannot be read. One that does not exist has no rings.
    pub fn list(dir: Option<&Path>) -> Result<Vec<String>, Error> {
        let access = Access { dir: dir.map(Path::to_owned), allow_disk: true, ..Access::default() };
        match Home::open(&access, Purpose::Copy) {
            Ok(home) => home.names(),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What crashes left in a directory of rings: to be listed, or removed. See [`Prune`].
    pub fn prune() -> Prune {
        Prune::default()
    }

    /// The directory that is used when none is named: `$ANNULUS_DIR`, or `/dev/shm/annulus-<uid>`.
    pub fn default_dir() -> PathBuf {
        default_dir()
    }
}
