//! Memory for rings: words on the heap, where the smallest rings wrap after a record or two; and a mirrored mapping with its
//! guard pages, as in life.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions, remove_file};
use std::sync::atomic::{AtomicU32, Ordering};

use annulus_core::layout::{CtlHead, DataHead, ProducerPage, RECORDS_OFFSET_MIN, Slot, slot_offset};
use annulus_core::memory::{Block, BlockWord, Memory, Mirror, Shared};
use annulus_core::reader::{Held, PAYLOAD_OFFSET};
use annulus_os::{Access, Mapping};

/// A ring's memory, whatever it is.
pub(crate) trait Rig {
    /// The ring as a participant sees it.
    fn shared(&self) -> Shared<'_, impl Memory>;

    /// The payload of a record that a subscriber holds, as it stands in the ring.
    fn held(&self, held: Held) -> Vec<u8>;
}

/// Words on the heap.
#[derive(Debug)]
pub(crate) struct Heap {
    producer: Box<ProducerPage>,
    ctl: Box<CtlHead>,
    slots: Vec<Slot>,
    words: Vec<BlockWord>,
}

impl Heap {
    pub(crate) fn new(capacity: u64, slots: u32) -> Heap {
        Heap {
            producer: Box::default(),
            ctl: Box::default(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            words: (0..capacity / 8).map(|_| BlockWord::default()).collect(),
        }
    }

    fn records(&self) -> Block<'_> {
        Block::new(&self.words).expect("a power of two")
    }
}

impl Rig for Heap {
    fn shared(&self) -> Shared<'_, impl Memory> {
        Shared {
            producer: &self.producer,
            ctl: &self.ctl,
            slots: &self.slots,
            groups: &[],
            claims: &[],
            records: self.records(),
        }
    }

    fn held(&self, held: Held) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(held.len).expect("a length")];
        self.records().read(held.position + PAYLOAD_OFFSET, &mut bytes);
        bytes
    }
}

/// Two mappings, as a process has them.
#[derive(Debug)]
pub(crate) struct Mapped {
    data: Mapping,
    ctl: Mapping,
    capacity: u64,
    slots: u32,
}

/// Bytes of `data` before the records.
const HEAD: usize = RECORDS_OFFSET_MIN as usize;

impl Mapped {
    /// Of so many bytes, a multiple of the page size, and slots.
    pub(crate) fn new(capacity: u64, slots: u32) -> Mapped {
        let ctl_bytes = slot_offset(slots).next_multiple_of(annulus_os::sys::page_size());
        let (data, ctl) = (nameless(HEAD as u64 + capacity), nameless(ctl_bytes as u64));
        let data = Mapping::mirrored(&data, HEAD, capacity as usize, Access::ReadWrite).expect("a mapping");
        let ctl = Mapping::plain(&ctl, ctl_bytes, Access::ReadWrite).expect("a mapping");
        let mapped = Mapped { data, ctl, capacity, slots };
        for slot in mapped.shared().slots {
            slot.vacate();
        }
        mapped
    }
}

impl Rig for Mapped {
    fn shared(&self) -> Shared<'_, impl Memory> {
        // SAFETY: `data` begins with a `DataHead`, `ctl` with a `CtlHead` and the slots, as many as its length was made
        // for; both are page-aligned, every word is atomic, and any bits are a value of it. The records stand twice behind
        // the head, mapped writable, and are accessed through annulus-core only, but for `held`, which makes no reference.
        // What is borrowed lives no longer than `self`, and so the mappings.
        unsafe {
            let head: &DataHead = self.data.base().cast().as_ref();
            let first = self.ctl.base().add(slot_offset(0)).cast::<Slot>();
            Shared {
                producer: &head.producer,
                ctl: self.ctl.base().cast::<CtlHead>().as_ref(),
                slots: std::slice::from_raw_parts(first.as_ptr(), self.slots as usize),
                groups: &[],
                claims: &[],
                records: Mirror::new(self.data.base().add(HEAD).as_ptr(), self.capacity),
            }
        }
    }

    fn held(&self, held: Held) -> Vec<u8> {
        let at = ((held.position & (self.capacity - 1)) + PAYLOAD_OFFSET) as usize;
        let len = usize::try_from(held.len).expect("a length");
        assert!(len as u64 + PAYLOAD_OFFSET <= self.capacity, "a record longer than the ring");
        let mut bytes = vec![0; len];
        // SAFETY: the place is in the first copy, and by the assertion the end in the second, both mapped readable for as
        // long as `self` lives; this thread is the only one that knows the mapping.
        unsafe { self.data.base().add(HEAD + at).as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), len) };
        bytes
    }
}

/// A file in shared memory that has no name any more.
fn nameless(bytes: u64) -> File {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/dev/shm/annulus-properties-{}-{n}", std::process::id());
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a new file");
    remove_file(&path).expect("its removal");
    file.set_len(bytes).expect("its length");
    file
}
