//! A ring that has been handed over, for those who open it.

use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use annulus_os::inherit::reopen;
use annulus_os::{Access, Birth, LockFile};

use super::offer::no_description;
use super::reason::Reason;
use crate::error::{Error, ErrorKind};
use crate::memory::{DataMemory, MapOptions, Memory};
use crate::whereabouts::Whereabouts;

/// The descriptors of a ring that has been handed over.
#[derive(Debug)]
pub(crate) struct Handed {
    /// For reading; nobody takes a lock through it, so readers may share its description.
    data: File,
    /// `ctl`, until a reader without `/proc` takes it as its own: two would be one owner of their locks.
    ctl: Mutex<Option<File>>,
    has_ctl: bool,
    giver: Option<u32>,
    /// Whose it is: a forked child's copy of `ctl` has the same description.
    birth: Birth,
}

impl Handed {
    pub(super) fn new(data: File, ctl: Option<File>, giver: Option<u32>) -> Handed {
        let birth = Birth::here();
        Handed { data, has_ctl: ctl.is_some(), ctl: Mutex::new(ctl), giver, birth }
    }

    /// Who sent it, where the kernel has said so.
    pub(crate) fn giver(&self) -> Option<u32> {
        self.giver
    }

    /// Maps both parts: what a subscriber needs. Of the two files, the second has a description that no other reader has.
    pub(crate) fn attach(
        &self,
        name: &str,
        map: MapOptions,
    ) -> Result<(Memory, File, LockFile, Whereabouts), Error> {
        let ctl = self.own_ctl(name)?;
        let memory = self.map(name, &ctl, map)?;
        Ok((memory, self.data(name)?, ctl, self.whereabouts(name)?))
    }

    /// Both parts and `ctl`, for one who only looks. `None` where `ctl` cannot be opened anew: the description that was
    /// handed over is a subscriber's, and would not show that one's own lock.
    pub(crate) fn look(
        &self,
        name: &str,
        map: MapOptions,
    ) -> Result<Option<(Memory, LockFile, Whereabouts)>, Error> {
        let Some(Ok(ctl)) = self.ctl().as_ref().map(opened_again) else { return Ok(None) };
        let memory = self.map(name, &ctl, map)?;
        Ok(Some((memory, ctl, self.whereabouts(name)?)))
    }

    /// Maps what an observer needs.
    pub(crate) fn attach_data(
        &self,
        name: &str,
        map: MapOptions,
    ) -> Result<(DataMemory, Whereabouts), Error> {
        let memory = DataMemory::attach(name, &self.data, Access::Read, map).map_err(not_a_ring)?;
        Ok((memory, self.whereabouts(name)?))
    }

    /// Maps through the description that was handed over, which has no locks: a mapping keeps its description, and a
    /// forked child has the mapping. Only where there is no other, through the reader's own.
    fn map(&self, name: &str, ctl: &LockFile, map: MapOptions) -> Result<Memory, Error> {
        let own = ctl.file().map_err(|source| Error::io("map the ring", name, source))?;
        let handed = self.ctl();
        let ctl = handed.as_ref().unwrap_or(own);
        Memory::attach(name, &self.data, ctl, Access::Read, map).map_err(not_a_ring)
    }

    fn whereabouts(&self, name: &str) -> Result<Whereabouts, Error> {
        Ok(Whereabouts::Sealed { data: Some(self.data(name)?) })
    }

    fn data(&self, name: &str) -> Result<File, Error> {
        self.data.try_clone().map_err(|source| Error::io("open the ring's memory anew", name, source))
    }

    fn ctl(&self) -> MutexGuard<'_, Option<File>> {
        self.ctl.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `ctl` with a description of its own: opened anew, or, where that cannot be, the one that was handed over, once.
    fn own_ctl(&self, name: &str) -> Result<LockFile, Error> {
        let mut handed = self.ctl();
        let failed = match handed.as_ref().map(opened_again) {
            Some(Ok(ctl)) => return Ok(ctl),
            Some(Err(source)) => no_description(name, source),
            None if self.has_ctl => Error::of(ErrorKind::Handover(Reason::NoDescription), name),
            None => Error::of(ErrorKind::Handover(Reason::DataOnly), name),
        };
        match failed.kind() {
            ErrorKind::Handover(Reason::NoDescription) => {}
            _ => return Err(failed),
        }
        if !self.birth.is_this_process() {
            return Err(failed);
        }
        let Some(ctl) = handed.take() else { return Err(failed) };
        LockFile::open(|| Ok(ctl)).map_err(|source| Error::io("watch for forks", name, source))
    }
}

fn opened_again(ctl: &File) -> std::io::Result<LockFile> {
    LockFile::open(|| reopen(ctl, Access::ReadWrite))
}

/// What is wrong with memory is not mended by removing a name.
pub(super) fn not_a_ring(error: Error) -> Error {
    match *error.kind() {
        ErrorKind::NotARing(what) => error.instead(ErrorKind::Handover(Reason::NotARing(what))),
        _ => error,
    }
}
