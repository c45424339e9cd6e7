//! One attached ring: two mappings, and the typed view of them.
#![allow(unsafe_code)]

use std::fs::File;
use std::sync::Arc;

use annulus_core::layout::{
    CTL_MAGIC, CtlHead, DataHead, GroupHead, Identity, IdentityError, LAYOUT_VERSION, RECORDS_OFFSET_MIN,
    Slot, claims_offset, group_heads_offset, slot_offset,
};
use annulus_core::memory::{Mirror, Shared, View};
use annulus_core::words::{Bell, ClaimWord};
use annulus_os::many::Word;
use annulus_os::place::{facts_of, page_size_of, reserve};
use annulus_os::{Access, Mapping, Part};

use crate::HugePages;
use crate::error::{Error, ErrorKind};

/// What a transparent huge page is long, and begins at a multiple of.
pub(crate) const HUGE_PAGE: u64 = 2 << 20;

/// How a ring's memory is to be mapped, by whoever maps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MapOptions {
    /// Every page at once, so that no publication and no look waits for the kernel later.
    pub(crate) prefault: bool,
    /// Never swapped out.
    pub(crate) lock: bool,
    /// On this NUMA node only.
    pub(crate) node: Option<u32>,
    /// On huge pages.
    pub(crate) huge: HugePages,
    /// The files are new: long enough, but still without memory of their own.
    pub(crate) fresh: bool,
    /// Both parts are in one object, `ctl` behind `data`.
    pub(crate) shared_object: bool,
}

impl Default for MapOptions {
    fn default() -> Self {
        MapOptions {
            prefault: true,
            lock: false,
            node: None,
            huge: HugePages::Never,
            fresh: false,
            shared_object: false,
        }
    }
}

impl MapOptions {
    /// Brings the pages in as asked. The node and the kind of page are said first: they decide where pages come from,
    /// and reserving is what makes them come.
    fn apply(&self, name: &str, file: &File, bytes: u64, mapping: &Mapping) -> Result<(), Error> {
        if let Some(node) = self.node {
            mapping.bind_to_node(node).map_err(|source| match source.kind() {
                std::io::ErrorKind::InvalidInput => Error::of(ErrorKind::NoSuchNode { node }, name),
                _ => Error::io("bind the ring to a NUMA node", name, source),
            })?;
        }
        if self.huge == HugePages::Transparent {
            mapping.advise_huge().map_err(|source| Error::io("ask for huge pages", name, source))?;
        }
        if self.fresh {
            if self.huge == HugePages::Transparent {
                // Reserving knows nothing of the advice: pages that shall be huge come by being touched. Where there is no
                // room, reserving says so.
                let _ = mapping.prefault();
            }
            reserve(file, bytes).map_err(|source| Error::io("make the ring's files", name, source))?;
        }
        if self.prefault {
            mapping.prefault().map_err(|source| Error::io("fault the ring's pages in", name, source))?;
        }
        if self.lock {
            mapping.lock().map_err(|source| match source.kind() {
                std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::PermissionDenied => {
                    Error::of(ErrorKind::MemoryLimit { needed: mapping.len() as u64 }, name)
                }
                _ => Error::io("lock the ring in memory", name, source),
            })?;
        }
        Ok(())
    }
}

/// `data`, mapped: all that an observer has.
#[derive(Debug)]
pub(crate) struct DataMemory {
    /// Into the mapping below. Never handed out for longer than a borrow of `self`.
    view: View<'static, Mirror<'static>>,
    identity: Identity,
    data: Mapping,
}

impl DataMemory {
    /// Maps the data object of a ring whose identity is known.
    fn map(
        name: &str,
        data: &File,
        identity: Identity,
        access: Access,
        options: MapOptions,
    ) -> Result<DataMemory, Error> {
        let head = usize::try_from(identity.records_offset).unwrap_or(usize::MAX);
        let body = usize::try_from(identity.shape.capacity()).unwrap_or(usize::MAX);
        // Where the records begin at a huge page in the file, they do in memory.
        let align = if identity.records_offset >= HUGE_PAGE { HUGE_PAGE as usize } else { 1 };
        let file = data;
        let data = Mapping::new(file, Part::mirrored(head, body).aligned(align), access)
            .map_err(|source| Error::io("map the ring", name, source))?;
        options.apply(name, file, identity.data_bytes(), &data)?;
        // SAFETY: `data` begins with `records_offset` bytes, at least a `DataHead`, page-aligned, every word of which
        // is atomic, with any bits as a value. The record space stands twice from there on, and is writable if
        // this is a producer's mapping; only a producer's code stores through it. All accesses of this process go
        // through annulus-core. The mapping moves into the same value as the view, which is only handed out for
        // as long as that value is borrowed; moving a `Mapping` does not move what it maps.
        let view = unsafe {
            let head: &'static DataHead = data.base().cast().as_ref();
            let records = data.base().add(identity.records_offset as usize);
            View {
                producer: &head.producer,
                records: Mirror::new(records.as_ptr(), identity.shape.capacity()),
            }
        };
        Ok(DataMemory { view, identity, data })
    }

    /// Reads and checks the identity in `data`, then maps it.
    pub(crate) fn attach(
        name: &str,
        data: &File,
        access: Access,
        options: MapOptions,
    ) -> Result<DataMemory, Error> {
        let identity = read_identity(name, data)?;
        let size = facts_of(data).map_err(|source| Error::io("look at the ring", name, source))?.size;
        // An object holds more: `ctl`, and what is left over.
        if size < identity.data_bytes() || (!options.shared_object && size > identity.data_bytes()) {
            return Err(Error::of(ErrorKind::NotARing("its data file is not as long as it says"), name));
        }
        let memory = DataMemory::map(name, data, identity, access, options)?;
        // The mapping's own words, now that nothing can shorten what was just measured unnoticed.
        if memory.head().identity.read() != Ok(identity) {
            return Err(Error::of(ErrorKind::Corrupt("identity"), name));
        }
        Ok(memory)
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn head(&self) -> &DataHead {
        // SAFETY: the mapping begins with `records_offset` bytes, at least a `DataHead`, page-aligned; every
        // word of it is atomic and any bits are a value; it lives as long as `self`.
        unsafe { self.data.base().cast().as_ref() }
    }

    /// The name of the records' type: empty on rings of bytes. Whatever its bytes are, it is text.
    pub(crate) fn type_name(&self) -> String {
        let mut name = vec![0; self.identity.payload.name_len as usize];
        self.head().identity.read_type_name(&mut name);
        String::from_utf8_lossy(&name).into_owned()
    }

    pub(crate) fn schema(&self) -> Vec<u8> {
        let mut schema = vec![0; self.identity.schema_len as usize];
        self.head().identity.read_schema(&mut schema);
        schema
    }

    /// The view that an observer works on.
    #[inline]
    pub(crate) fn view(&self) -> &View<'_, Mirror<'_>> {
        &self.view
    }
}

/// `data` and `ctl`, mapped. Everything that points into them lives no longer than this.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Into the mappings below. Never handed out for longer than a borrow of `self`.
    view: Shared<'static, Mirror<'static>>,
    data: DataMemory,
    /// Shared with who waits at a bell of it.
    ctl: Arc<Mapping>,
    /// Which file `ctl` is in: its device and inode.
    object: (u64, u64),
}

/// A ring's `ctl`, for who may outlive the handle.
#[derive(Debug, Clone)]
pub(crate) struct Ctl(Arc<Mapping>);

impl Ctl {
    pub(crate) fn head(&self) -> &CtlHead {
        // SAFETY: only `Memory::shared_ctl` makes one, of a mapping that begins with a `CtlHead`, page-aligned; every word of it is
        // atomic, and any bits are a value; `self` keeps it mapped for as long as the reference lives.
        unsafe { self.0.base().cast().as_ref() }
    }
}

impl Memory {
    /// Maps the two objects of a ring whose identity is known: a new one's by its creator, or one that
    /// [`attach`](Memory::attach) has read.
    pub(crate) fn map(
        name: &str,
        data: &File,
        ctl: &File,
        identity: Identity,
        data_access: Access,
        options: MapOptions,
    ) -> Result<Memory, Error> {
        let data = DataMemory::map(name, data, identity, data_access, options)?;
        Memory::with_ctl(name, data, ctl, options)
    }

    fn with_ctl(name: &str, data: DataMemory, ctl: &File, options: MapOptions) -> Result<Memory, Error> {
        let identity = &data.identity;
        let file = ctl;
        let failed = |source| Error::io("map the ring", name, source);
        let bytes = ctl_file_bytes(identity, page_size_of(file).map_err(failed)?);
        let facts = facts_of(file).map_err(failed)?;
        let offset = if options.shared_object { identity.data_bytes() } else { 0 };
        let ctl = Mapping::plain_at(file, offset, bytes, Access::ReadWrite).map_err(failed)?;
        MapOptions { huge: HugePages::Never, ..options }.apply(name, file, bytes as u64, &ctl)?;
        let Identity { slots, groups, claim_words, .. } = *identity;
        // SAFETY: `ctl` begins with a `CtlHead`, the slots, the heads of groups and their claim words, as many as the identity says and its length counts; it
        // is page-aligned; every word is atomic, and any bits are a value of it. Both mappings move into the same
        // value as the view; see `DataMemory::map`.
        let view = unsafe {
            let first = ctl.base().add(slot_offset(0)).cast::<Slot>();
            let heads = ctl.base().add(group_heads_offset(slots)).cast::<GroupHead>();
            let claims = ctl.base().add(claims_offset(slots, groups)).cast::<ClaimWord>();
            Shared {
                producer: data.view.producer,
                ctl: ctl.base().cast().as_ref(),
                slots: std::slice::from_raw_parts(first.as_ptr(), slots as usize),
                groups: std::slice::from_raw_parts(heads.as_ptr(), groups as usize),
                claims: std::slice::from_raw_parts(claims.as_ptr(), groups as usize * claim_words as usize),
                records: data.view.records,
            }
        };
        Ok(Memory { view, data, ctl: Arc::new(ctl), object: (facts.dev, facts.ino) })
    }

    /// Reads and checks the identity in `data`, then maps both.
    pub(crate) fn attach(
        name: &str,
        data: &File,
        ctl: &File,
        access: Access,
        options: MapOptions,
    ) -> Result<Memory, Error> {
        let data = DataMemory::attach(name, data, access, options)?;
        let failed = |source| Error::io("look at the ring", name, source);
        let size = facts_of(ctl).map_err(failed)?.size;
        let bytes = ctl_file_bytes(&data.identity, page_size_of(ctl).map_err(failed)?) as u64;
        let whole =
            if options.shared_object { size >= data.identity.data_bytes() + bytes } else { size == bytes };
        if !whole {
            return Err(Error::of(ErrorKind::NotARing("its ctl file is not as long as it says"), name));
        }
        let memory = Memory::with_ctl(name, data, ctl, options)?;
        let ctl = memory.ctl();
        let uuid = [ctl.uuid[0].glance(), ctl.uuid[1].glance()];
        if ctl.magic.look() != CTL_MAGIC || uuid != memory.identity().uuid {
            return Err(Error::of(ErrorKind::NotARing("its ctl file belongs to another ring"), name));
        }
        Ok(memory)
    }

    /// Writes what a new ring's `ctl` begins with.
    pub(crate) fn initialise(&self) {
        let identity = self.identity();
        let ctl = self.ctl();
        ctl.version.preset(LAYOUT_VERSION);
        ctl.slots.preset(identity.slots);
        ctl.uuid[0].preset(identity.uuid[0]);
        ctl.uuid[1].preset(identity.uuid[1]);
        for slot in self.slots() {
            slot.vacate();
            slot.generation.preset(0);
        }
        for (_, group) in self.shared().all_groups() {
            group.end();
            group.head.generation.preset(0);
        }
        ctl.magic.complete(CTL_MAGIC);
        self.head().producer.fence_mode.preset(identity.fence_mode.to_word());
    }

    /// Writes who a new ring is, after everything else.
    pub(crate) fn complete(&self, type_name: &str, schema: &[u8]) {
        self.head().identity.write(self.identity(), type_name.as_bytes(), schema);
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.data.identity
    }

    pub(crate) fn head(&self) -> &DataHead {
        self.data.head()
    }

    pub(crate) fn data(&self) -> &DataMemory {
        &self.data
    }

    #[inline]
    pub(crate) fn ctl(&self) -> &CtlHead {
        self.view.ctl
    }

    /// A bell of this ring's, which stays mapped for who waits there.
    pub(crate) fn word_of(&self, bell: impl FnOnce(&CtlHead) -> &Bell) -> Word {
        Word::within(&self.ctl, bell(self.ctl()).futex()).expect("every bell is in ctl")
    }

    pub(crate) fn shared_ctl(&self) -> Ctl {
        Ctl(Arc::clone(&self.ctl))
    }

    /// Which file `ctl` is in, as the kernel says: nothing that anybody could write into it. No two that are mapped have the same.
    pub(crate) fn object(&self) -> (u64, u64) {
        self.object
    }

    #[inline]
    pub(crate) fn slots(&self) -> &[Slot] {
        self.view.slots
    }

    /// The view that the ring's algorithm works on.
    #[inline]
    pub(crate) fn shared(&self) -> &Shared<'_, Mirror<'_>> {
        &self.view
    }
}

/// Bytes of the ctl file: whole pages of some size.
pub(crate) fn ctl_file_bytes(identity: &Identity, page: usize) -> usize {
    identity.ctl_bytes().next_multiple_of(page)
}

/// Reads and checks the identity of a data file, without mapping more than its head.
pub(crate) fn read_identity(name: &str, data: &File) -> Result<Identity, Error> {
    let failed = |source| Error::io("look at the ring", name, source);
    let not_a_ring = |what| Error::of(ErrorKind::NotARing(what), name);
    let size = facts_of(data).map_err(failed)?.size;
    if size == 0 {
        return Err(not_a_ring("its data file is empty"));
    }
    if size < RECORDS_OFFSET_MIN {
        return Err(not_a_ring("its data file is too short"));
    }
    let head = (RECORDS_OFFSET_MIN as usize).next_multiple_of(page_size_of(data).map_err(failed)?);
    let mapping = Mapping::plain(data, head, Access::Read).map_err(failed)?;
    // SAFETY: at least a `DataHead` is mapped, page-aligned; all its words are atomic; the borrow ends before
    // the mapping does.
    let page: &DataHead = unsafe { mapping.base().cast().as_ref() };
    page.identity.read().map_err(|error| match error {
        IdentityError::Version(theirs) => {
            Error::of(ErrorKind::LayoutVersion { theirs, ours: LAYOUT_VERSION }, name)
        }
        IdentityError::Field(field) => Error::of(ErrorKind::Corrupt(field), name),
        _ => not_a_ring("its data file does not begin as a ring's does"),
    })
}
