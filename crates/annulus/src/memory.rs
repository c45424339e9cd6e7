//! One attached ring: two mappings, and the typed view of them.
#![allow(unsafe_code)]

use std::fs::File;

use annulus_core::layout::{
    CTL_MAGIC, CtlHead, DataHead, Identity, IdentityError, LAYOUT_VERSION, RECORDS_OFFSET_MIN, Slot,
    slot_offset,
};
use annulus_core::memory::{Mirror, Shared};
use annulus_os::place::facts_of;
use annulus_os::sys::page_size;
use annulus_os::{Access, Mapping};

use crate::error::{Error, ErrorKind};

/// `data` and `ctl`, mapped. Everything that points into them lives no longer than this.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Into the mappings below. Never handed out for longer than a borrow of `self`.
    view: Shared<'static, Mirror<'static>>,
    identity: Identity,
    data: Mapping,
    /// Kept for its drop, which unmaps.
    ctl: Mapping,
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
    ) -> Result<Memory, Error> {
        let failed = |source| Error::io("map the ring", name, source);
        let head = usize::try_from(identity.records_offset).unwrap_or(usize::MAX);
        let body = usize::try_from(identity.shape.capacity()).unwrap_or(usize::MAX);
        let data = Mapping::mirrored(data, head, body, data_access).map_err(failed)?;
        let ctl = Mapping::plain(ctl, ctl_file_bytes(&identity), Access::ReadWrite).map_err(failed)?;
        // Every page now, so that no publication and no look waits for the kernel later.
        data.prefault().map_err(failed)?;
        ctl.prefault().map_err(failed)?;
        // SAFETY: both mappings move into the same value as the view, which is only handed out for as long as
        // that value is borrowed; moving a `Mapping` does not move what it maps.
        let view = unsafe { view(&data, &ctl, &identity) };
        Ok(Memory { view, identity, data, ctl })
    }

    /// Reads and checks the identity in `data`, then maps both.
    pub(crate) fn attach(name: &str, data: &File, ctl: &File, access: Access) -> Result<Memory, Error> {
        let identity = read_identity(name, data)?;
        let size = facts_of(data).map_err(|source| Error::io("look at the ring", name, source))?.size;
        if size != identity.data_bytes() {
            return Err(Error::of(ErrorKind::NotARing("its data file is not as long as it says"), name));
        }
        let size = facts_of(ctl).map_err(|source| Error::io("look at the ring", name, source))?.size;
        if size != ctl_file_bytes(&identity) as u64 {
            return Err(Error::of(ErrorKind::NotARing("its ctl file is not as long as it says"), name));
        }
        let memory = Memory::map(name, data, ctl, identity, access)?;
        // The mapping's own words, now that nothing can shorten what was just measured unnoticed.
        if memory.head().identity.read() != Ok(identity) {
            return Err(Error::of(ErrorKind::Corrupt("identity"), name));
        }
        let ctl = memory.ctl();
        let uuid = [ctl.uuid[0].glance(), ctl.uuid[1].glance()];
        if ctl.magic.look() != CTL_MAGIC || uuid != identity.uuid {
            return Err(Error::of(ErrorKind::NotARing("its ctl file belongs to another ring"), name));
        }
        Ok(memory)
    }

    /// Writes what a new ring's files begin with; the identity comes last.
    pub(crate) fn initialise(&self) {
        let identity = &self.identity;
        let ctl = self.ctl();
        ctl.version.preset(LAYOUT_VERSION);
        ctl.slots.preset(identity.slots);
        ctl.uuid[0].preset(identity.uuid[0]);
        ctl.uuid[1].preset(identity.uuid[1]);
        for slot in self.slots() {
            slot.vacate();
            slot.generation.preset(0);
        }
        for g in 0..identity.groups {
            self.group_head(g).floor.preset(annulus_core::words::NO_CURSOR);
        }
        ctl.magic.complete(CTL_MAGIC);
        self.head().producer.fence_mode.preset(identity.fence_mode.to_word());
        self.head().identity.write(identity);
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn head(&self) -> &DataHead {
        // SAFETY: the mapping begins with `records_offset` bytes, at least a `DataHead`, page-aligned; every
        // word of it is atomic and any bits are a value; it lives as long as `self`.
        unsafe { self.data.base().cast().as_ref() }
    }

    #[inline]
    pub(crate) fn ctl(&self) -> &CtlHead {
        self.view.ctl
    }

    #[inline]
    pub(crate) fn slots(&self) -> &[Slot] {
        self.view.slots
    }

    fn group_head(&self, g: u32) -> &annulus_core::layout::GroupHead {
        assert!(g < self.identity.groups);
        let offset =
            annulus_core::layout::group_head_offset(self.identity.slots, self.identity.claim_words, g);
        // SAFETY: within `ctl`, whose length counts the groups; 8-byte aligned like everything before it.
        unsafe { self.ctl.base().add(offset).cast().as_ref() }
    }

    /// The view that the ring's algorithm works on.
    #[inline]
    pub(crate) fn shared(&self) -> &Shared<'_, Mirror<'_>> {
        &self.view
    }
}

/// The words of two mappings.
///
/// # Safety
///
/// `data` is mapped mirrored with the identity's geometry, and `ctl` as long as the identity needs. The view
/// may not be used after either is unmapped.
unsafe fn view(data: &Mapping, ctl: &Mapping, identity: &Identity) -> Shared<'static, Mirror<'static>> {
    // SAFETY: `data` begins with `records_offset` bytes, at least a `DataHead`, and `ctl` with a `CtlHead` and the
    // slots; both are page-aligned; every word is atomic, and any bits are a value of it. The record space
    // stands twice from `records_offset` on; it is writable if this is a producer's mapping, and only a
    // producer's code stores through it. All accesses of this process go through annulus-core.
    unsafe {
        let head: &DataHead = data.base().cast().as_ref();
        let first = ctl.base().add(slot_offset(0)).cast::<Slot>();
        let records = data.base().add(identity.records_offset as usize);
        Shared {
            producer: &head.producer,
            ctl: ctl.base().cast().as_ref(),
            slots: std::slice::from_raw_parts(first.as_ptr(), identity.slots as usize),
            records: Mirror::new(records.as_ptr(), identity.shape.capacity()),
        }
    }
}

/// Bytes of the ctl file: whole pages.
pub(crate) fn ctl_file_bytes(identity: &Identity) -> usize {
    identity.ctl_bytes().next_multiple_of(page_size())
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
    let head = (RECORDS_OFFSET_MIN as usize).next_multiple_of(page_size());
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
