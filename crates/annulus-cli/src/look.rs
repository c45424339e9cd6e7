//! How a ring stands: what the library tells, and what its files do.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use annulus::{Error, Info};

use crate::args::Named;

/// A ring, looked at.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) info: Info,
    pub(crate) files: Files,
}

/// A ring's files. What could not be looked at is none.
#[derive(Debug)]
pub(crate) struct Files {
    /// The user whose they are.
    pub(crate) uid: Option<u64>,
    /// Bytes of the file that only the producer writes.
    pub(crate) data_bytes: Option<u64>,
    /// Bytes of the file that subscribers write as well.
    pub(crate) ctl_bytes: Option<u64>,
    /// Bytes of memory that both of them take now.
    pub(crate) memory_bytes: Option<u64>,
    /// Whether this process may see who subscribes: the library tells of no subscribers where it may not.
    pub(crate) shows_subscribers: bool,
}

/// What a ring's producer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There has been none yet.
    Vacant,
    Alive,
    /// The last one ended cleanly.
    Ended,
    Died,
    /// Another ring took the name.
    Replaced,
}

impl Named {
    pub(crate) fn look(&self) -> Result<Looked, Error> {
        let info = self.open().info()?;
        let files = Files::of(&self.at.path().join(&self.name));
        Ok(Looked { info, files })
    }
}

impl Looked {
    pub(crate) fn standing(&self) -> Standing {
        match (self.info.epoch, self.info.state) {
            (0, _) => Standing::Vacant,
            (_, "superseded") => Standing::Replaced,
            (_, "closed") => Standing::Ended,
            _ if self.info.producer_alive => Standing::Alive,
            _ => Standing::Died,
        }
    }
}

impl Files {
    fn of(ring: &Path) -> Self {
        let [data, ctl] = ["data", "ctl"].map(|file| fs::symlink_metadata(ring.join(file)).ok());
        // Not a guess from modes: the kernel knows of capabilities, lists and namespaces.
        let opened = OpenOptions::new().read(true).write(true).open(ring.join("ctl"));
        let refused = opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        Self {
            uid: data.as_ref().map(|data| data.uid().into()),
            data_bytes: data.as_ref().map(MetadataExt::size),
            ctl_bytes: ctl.as_ref().map(MetadataExt::size),
            memory_bytes: data.zip(ctl).map(|(data, ctl)| (data.blocks() + ctl.blocks()) * 512),
            shows_subscribers: !refused,
        }
    }
}
