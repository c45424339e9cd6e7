//! Rings inside one object that somebody else has made, and will remove: `data` at its beginning, `ctl` behind it.
//!
//! The object is opened anew for each participant and each role, since its locks are bytes of it and belong to one
//! description each.
#![cfg_attr(not(feature = "shared_memory"), allow(dead_code))]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use annulus_core::layout::{Identity, lock_byte};
use annulus_core::shape::CAPACITY_MAX;
use annulus_os::place::{facts_of, file_mapped_at, page_size_of, reserve, shared_memory_object};
use annulus_os::{Access as OsAccess, LockFile, lock};

use crate::HugePages;
use crate::create::Spec;
use crate::error::{Error, ErrorKind};
use crate::make::Parts;
use crate::memory::{DataMemory, MapOptions, Memory, ctl_file_bytes, read_identity};
use crate::producer::Holdings;
use crate::whereabouts::{Held, Whereabouts};

/// Milliseconds that the dead have to let go of all they held.
const LIFE_TRIES: u32 = 1000;

/// A POSIX shared memory object, by its name: shm_overview(7).
#[derive(Debug, Clone)]
pub(crate) struct Object {
    id: String,
    /// Device and inode, where they are known: an object made anew under the same name is another.
    which: Option<(u64, u64)>,
}

impl Object {
    /// The object of a name that is mapped at an address.
    pub(crate) fn new(id: &str, address: usize) -> Object {
        // Without `/proc` the name is all there is.
        Object { id: id.to_owned(), which: file_mapped_at(address).ok().flatten() }
    }

    /// Opens it, with a description of its own.
    fn open(&self, access: OsAccess) -> Result<File, Error> {
        let file = shared_memory_object(&self.id, access).map_err(|source| self.not_opened(source))?;
        self.check(&file)?;
        Ok(file)
    }

    /// The same for reading, writing and locks.
    fn open_for_locks(&self) -> Result<LockFile, Error> {
        let failed = |source| self.not_opened(source);
        let file = LockFile::open(|| shared_memory_object(&self.id, OsAccess::ReadWrite)).map_err(failed)?;
        self.check(file.file().map_err(failed)?)?;
        Ok(file)
    }

    /// Whether it is the one that is mapped.
    fn check(&self, file: &File) -> Result<(), Error> {
        let facts = facts_of(file).map_err(|source| self.not_opened(source))?;
        match self.which {
            Some(which) if which != (facts.dev, facts.ino) => Err(Error::of(ErrorKind::NotFound, &self.id)),
            _ => Ok(()),
        }
    }

    fn not_opened(&self, source: std::io::Error) -> Error {
        Error::look_up("open the shared memory", &self.id, source)
    }

    /// Where the ring is, for one participant.
    fn whereabouts(&self) -> Result<Whereabouts, Error> {
        Ok(Whereabouts::Object { file: self.open(OsAccess::Read)? })
    }

    /// Opens and maps both parts: what a subscriber needs. Of the two files, both of the object, the second is good for
    /// the locks of slots, and so not the one that is mapped, which a forked child has.
    pub(crate) fn attach(&self, map: MapOptions) -> Result<(Memory, File, LockFile, Whereabouts), Error> {
        let (data, ctl) = (self.open(OsAccess::Read)?, self.open_for_locks()?);
        let mapped = self.open(OsAccess::ReadWrite)?;
        let memory = Memory::attach(&self.id, &data, &mapped, OsAccess::Read, in_object(map))?;
        Ok((memory, data, ctl, self.whereabouts()?))
    }

    /// Opens and maps what an observer needs.
    pub(crate) fn attach_data(&self, map: MapOptions) -> Result<(DataMemory, Whereabouts), Error> {
        let data = self.open(OsAccess::Read)?;
        Ok((DataMemory::attach(&self.id, &data, OsAccess::Read, in_object(map))?, self.whereabouts()?))
    }
}

fn in_object(map: MapOptions) -> MapOptions {
    MapOptions { shared_object: true, ..map }
}

impl Spec {
    /// Lays a ring into an object whose memory is zero, or takes over the one that is there.
    pub(crate) fn make_in(&self, object: &Object, producing: bool) -> Result<Parts, Error> {
        if !producing || self.persistent.is_some() {
            return Err(self.bad(
                "a ring in somebody's shared memory stays as long as that does; leave `.persistent(..)` and \
                 `.without_producer()` out",
            ));
        }
        if self.map.huge != HugePages::Never || self.map.node.is_some() {
            return Err(self.bad(
                "the pages of somebody's shared memory are chosen already; leave `.huge_pages(..)` and \
                 `.numa_node(..)` out",
            ));
        }
        self.check()?;
        let name = &self.name;
        let failed = |source| Error::io("lock the ring", name, source);
        let owner = Held { file: object.open_for_locks()?, byte: lock_byte::OWNER };
        if !lock::try_lock(&owner.file, owner.byte).map_err(failed)? {
            return Err(Error::of(ErrorKind::ProducerAlive, name));
        }
        let ctl = object.open_for_locks()?;
        let file = ctl.file().map_err(failed)?;
        let begin_life = || {
            let life = Held { file: object.open_for_locks()?, byte: lock_byte::LIFE };
            // Whoever has `owner` is the only one who asks for it; but of one that has just died the kernel closes the
            // descriptors one by one, and this may be the last.
            for _ in 0..LIFE_TRIES {
                if lock::try_lock(&life.file, life.byte).map_err(failed)? {
                    return Ok(life);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Error::of(ErrorKind::ProducerAlive, name))
        };
        let map = in_object(self.map);
        let (writer, memory, life) = match read_identity(name, file) {
            Ok(_) => {
                let memory = Memory::attach(name, file, file, OsAccess::ReadWrite, map)?;
                self.compare(memory.data(), page_size_of(file).map_err(failed)?)?;
                let (writer, life) = self.go_on(&memory, |_| begin_life())?;
                (writer, memory, life)
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotARing(_)) => {
                let identity = self.fit(file)?;
                let life = begin_life()?;
                let memory = Memory::map(name, file, file, identity, OsAccess::ReadWrite, map)?;
                (self.lay(&memory, 1)?, memory, life)
            }
            Err(error) => return Err(error),
        };
        let whereabouts = object.whereabouts()?;
        Ok((writer, memory, Holdings { owner, life: Some(life), ctl, whereabouts }))
    }

    /// The identity of the largest ring that fits, or of what was asked. What the ring's words will lie in must be
    /// zero.
    fn fit(&self, file: &File) -> Result<Identity, Error> {
        let name = &self.name;
        let failed = |source| Error::io("look at the shared memory", name, source);
        let size = facts_of(file).map_err(failed)?.size;
        let page = page_size_of(file).map_err(failed)?;
        let needed = |identity: &Identity| identity.data_bytes() + ctl_file_bytes(identity, page) as u64;
        let mut spec = self.clone();
        let mut identity = if self.capacity.is_some() {
            spec.identity(page)?
        } else {
            spec.capacity = Some(1 << size.clamp(page as u64, CAPACITY_MAX).ilog2());
            spec.identity(page)?
        };
        // The largest power of two that leaves room for the rest.
        while self.capacity.is_none() && needed(&identity) > size && identity.shape.capacity() > page as u64 {
            spec.capacity = Some(identity.shape.capacity() as usize / 2);
            identity = spec.identity(page)?;
        }
        if needed(&identity) > size {
            return Err(Error::of(ErrorKind::NoSpace { needed: needed(&identity), free: size }, name));
        }
        // The header of the first record, too: a reader may look at it as soon as the ring is there.
        let head = 0..identity.records_offset + 8;
        let ctl = identity.data_bytes()..needed(&identity);
        for part in [head, ctl] {
            let mut bytes = vec![0; (part.end - part.start) as usize];
            file.read_exact_at(&mut bytes, part.start).map_err(failed)?;
            if bytes.iter().any(|&byte| byte != 0) {
                let what = "the shared memory holds something else, or half a ring; zero it first";
                return Err(Error::of(ErrorKind::NotARing(what), name));
            }
        }
        // All of it now: a full file system is an error here, and never a SIGBUS at some later access.
        reserve(file, needed(&identity)).map_err(failed)?;
        Ok(identity)
    }
}
