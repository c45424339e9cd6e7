//! A ring on its way to a reader.

use std::fs::File;
use std::os::fd::OwnedFd;

use annulus_os::inherit::reopen;
use annulus_os::place::{facts_of, is_sealed, page_size_of, seals};
use annulus_os::sys::page_size;
use annulus_os::{Access, LockFile, Seal};

use super::handed::{Handed, not_a_ring};
use super::reason::Reason;
use crate::create::TypeWish;
use crate::error::{Error, ErrorKind};
use crate::memory::{ctl_file_bytes, read_identity};
use crate::open::Open;
use crate::payload::Payload;
use crate::producer::Producer;
use crate::registry::check_name;
use crate::whereabouts::Whereabouts;

/// A ring on its way to a reader: the descriptors that one process needs to read it.
///
/// From [`Producer::offer`] or [`receive`](crate::handover::receive). An offer is for one process: its descriptors
/// are of open file descriptions that nobody else has, and go with it. Make another for the next.
///
/// Dropped, it is withdrawn.
#[derive(Debug)]
pub struct Offer {
    name: String,
    data: File,
    ctl: Option<File>,
    /// Who sent it, where the kernel has said so.
    giver: Option<u32>,
}

impl Offer {
    /// What the ring is called, for people. Two rings may be called the same.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one can subscribe with it; if not, only observe.
    pub fn is_for_subscribers(&self) -> bool {
        self.ctl.is_some()
    }

    /// How to open the ring: for bytes, or to look at one of any type.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::{Ring, Start};
    /// let mut tx = Ring::anonymous("ticks").producer()?;
    /// tx.send(b"1")?;
    /// let mut rx = tx.offer_data()?.open().start(Start::Oldest).observe()?;
    /// let mut buf = [0; 8];
    /// assert_eq!(rx.recv(&mut buf)?.len, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self) -> Open {
        let Offer { name, data, ctl, giver } = self;
        Open::handed(&name, Handed::new(data, ctl, giver), None)
    }

    /// How to open the ring as one of values; whether it is one is checked when it is opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::TypedRing;
    /// let mut tx = TypedRing::<[f32; 2]>::anonymous("wind").producer()?;
    /// let rx = tx.offer()?.open_typed::<[f32; 2]>().subscribe()?;
    /// tx.send(&[2.5, -1.0])?;
    /// assert_eq!(rx.recv()?[0], 2.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_typed<T: Payload>(self) -> Open<T> {
        let Offer { name, data, ctl, giver } = self;
        Open::handed(&name, Handed::new(data, ctl, giver), Some(TypeWish::of::<T>()))
    }

    /// The descriptors, `data` first, for those who pass them on in ways of their own. All are closed on exec.
    pub fn into_fds(self) -> (OwnedFd, Option<OwnedFd>) {
        (self.data.into(), self.ctl.map(OwnedFd::from))
    }

    /// The offer that such descriptors make, which may be anybody's: they are checked as those from a
    /// [socket](crate::handover::receive) are. `label` is what the ring is called here. Nobody else may have a
    /// descriptor of the same open file description (a duplicate, say).
    ///
    /// # Errors
    ///
    /// [`BadName`](ErrorKind::BadName); [`Handover`](ErrorKind::Handover) with
    /// [`NotAMemfd`](Reason::NotAMemfd), [`Unsealed`](Reason::Unsealed), [`NotARing`](Reason::NotARing);
    /// [`LayoutVersion`](ErrorKind::LayoutVersion), [`Corrupt`](ErrorKind::Corrupt). What is refused is closed.
    pub fn from_fds(label: &str, data: OwnedFd, ctl: Option<OwnedFd>) -> Result<Offer, Error> {
        check_name(label)?;
        let offer =
            Offer { name: label.to_owned(), data: data.into(), ctl: ctl.map(File::from), giver: None };
        offer.check()?;
        Ok(offer)
    }

    /// The same with files.
    pub(super) fn of_files(label: &str, data: File, ctl: Option<File>) -> Result<Offer, Error> {
        Offer::from_fds(label, data.into(), ctl.map(OwnedFd::from))
    }

    /// The same from a user's process: what its descriptors say of who made the memory is not all that counts.
    pub(super) fn sent_by(self, uid: u32) -> Offer {
        Offer { giver: Some(uid), ..self }
    }

    /// The files, `data` first.
    pub(super) fn into_files(self) -> (String, File, Option<File>) {
        (self.name, self.data, self.ctl)
    }

    /// That nobody can pull away what is about to be mapped, and that it is a ring.
    fn check(&self) -> Result<(), Error> {
        let name = &self.name;
        let refused = |reason| Error::of(ErrorKind::Handover(reason), name);
        let look = |source| Error::io("look at what was handed over", name, source);
        let sealed = |file: &File, seal, which| {
            // Only memory has seals, and only a memfd without names has these.
            seals(file).map_err(|source| {
                Error::caused(ErrorKind::Handover(Reason::NotAMemfd(which)), name, source)
            })?;
            if !is_sealed(file, seal).map_err(look)? {
                return Err(refused(Reason::Unsealed(which)));
            }
            // Huge pages are not promised to a memfd before it is mapped, and are no part of the bargain.
            if page_size_of(file).map_err(look)? != page_size() {
                return Err(refused(Reason::NotARing("it lies on huge pages")));
            }
            Ok(())
        };
        sealed(&self.data, Seal::SizeAndFutureWrite, "data")?;
        let identity = read_identity(name, &self.data).map_err(not_a_ring)?;
        let whole = |file, bytes, wrong, not_there| {
            let facts = facts_of(file).map_err(look)?;
            match facts.size == bytes {
                false => Err(refused(Reason::NotARing(wrong))),
                // What is not there would be taken from us, at the first look at it.
                true if facts.allocated < bytes => Err(refused(Reason::NotARing(not_there))),
                true => Ok(()),
            }
        };
        let [wrong, not_there] = ["its data is not as long as it says", "its data is not all there"];
        whole(&self.data, identity.data_bytes(), wrong, not_there)?;
        if let Some(ctl) = &self.ctl {
            sealed(ctl, Seal::Size, "ctl")?;
            let [wrong, not_there] = ["its ctl is not as long as it says", "its ctl is not all there"];
            whole(ctl, ctl_file_bytes(&identity, page_size()) as u64, wrong, not_there)?;
        }
        Ok(())
    }
}

impl Producer {
    /// What another process needs to subscribe to this ring, or to observe it: see [`handover`](crate::handover). Of a
    /// ring made by [`Ring::anonymous`](crate::Ring::anonymous).
    ///
    /// # Errors
    ///
    /// [`Handover`](ErrorKind::Handover) with [`Named`](Reason::Named) for a ring that has a name, with
    /// [`NoDescription`](Reason::NoDescription) without `/proc`; and what the system refuses.
    pub fn offer(&self) -> Result<Offer, Error> {
        let ctl = self.opened_again(&self.holdings.owner.file, Access::ReadWrite)?;
        Ok(Offer { ctl: Some(ctl), ..self.offer_data()? })
    }

    /// What another process needs to observe this ring, and no more: it can disturb nobody.
    ///
    /// # Errors
    ///
    /// As [`offer`](Producer::offer).
    pub fn offer_data(&self) -> Result<Offer, Error> {
        let named = || Error::of(ErrorKind::Handover(Reason::Named), self.name());
        let life = self.holdings.life.as_ref().ok_or_else(named)?;
        let data = self.opened_again(&life.file, Access::Read)?;
        Ok(Offer { name: self.name().to_owned(), data, ctl: None, giver: None })
    }

    /// With a description of its own: those that this producer has hold its locks.
    fn opened_again(&self, file: &LockFile, access: Access) -> Result<File, Error> {
        if !self.birth.is_here() {
            return Err(Error::of(ErrorKind::Forked, self.name()));
        }
        if !matches!(self.holdings.whereabouts, Whereabouts::Sealed { .. }) {
            return Err(Error::of(ErrorKind::Handover(Reason::Named), self.name()));
        }
        file.file()
            .and_then(|file| reopen(file, access))
            .map_err(|source| no_description(self.name(), source))
    }
}

/// A description of one's own could not be had.
pub(super) fn no_description(name: &str, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
            Error::caused(ErrorKind::Handover(Reason::NoDescription), name, source)
        }
        _ => Error::io("open the ring's memory anew", name, source),
    }
}
