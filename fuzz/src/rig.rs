//! Rings to play with: one in a mirrored mapping with guard pages around it, as in life; and tiny ones on the heap.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions, remove_file};

use annulus_core::layout::{CtlHead, DataHead, ProducerPage, RECORDS_OFFSET_MIN, Slot, slot_offset};
use annulus_core::memory::{Block, BlockWord, Memory, Mirror, Shared};
use annulus_core::reader::{Held, PAYLOAD_OFFSET};
use annulus_core::words::Plain64;
use annulus_os::{Access, Mapping};

/// A ring's memory, whatever it is.
pub(crate) trait Ring {
    /// The ring as a participant sees it.
    fn shared(&self) -> Shared<'_, impl Memory>;

    /// The payload of a record that a subscriber holds, read where it lies.
    fn borrow(&self, held: Held) -> Vec<u8>;
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
        let data = nameless("data", HEAD as u64 + capacity);
        let ctl_bytes = slot_offset(slots).next_multiple_of(4096);
        let ctl = nameless("ctl", ctl_bytes as u64);
        let data = Mapping::mirrored(&data, HEAD, capacity as usize, Access::ReadWrite).expect("a mapping");
        let ctl = Mapping::plain(&ctl, ctl_bytes, Access::ReadWrite).expect("a mapping");
        Mapped { data, ctl, capacity, slots }
    }

    /// As new: all zero.
    pub(crate) fn clear(&self) {
        // SAFETY: both ranges are mapped writable for as long as `self` lives: the head and the first of the two copies,
        // and all of `ctl`. No reference into them is alive but to atomic words, which any bits are values of, and
        // this thread is the only one.
        unsafe {
            self.data.base().as_ptr().write_bytes(0, HEAD + self.capacity as usize);
            self.ctl.base().as_ptr().write_bytes(0, self.ctl.len());
        }
    }

    /// The words of `data`: the head, and the records once.
    pub(crate) fn data(&self) -> &[Plain64] {
        // SAFETY: so many bytes are mapped, page-aligned, for as long as `self` lives; a `Plain64` is an atomic word, and
        // any bits are a value of it.
        unsafe {
            let first = self.data.base().cast::<Plain64>().as_ptr();
            std::slice::from_raw_parts(first, (HEAD + self.capacity as usize) / 8)
        }
    }

    /// The words of `ctl`.
    pub(crate) fn ctl(&self) -> &[Plain64] {
        // SAFETY: as for `data`.
        unsafe { std::slice::from_raw_parts(self.ctl.base().cast::<Plain64>().as_ptr(), self.ctl.len() / 8) }
    }
}

impl Ring for Mapped {
    fn shared(&self) -> Shared<'_, impl Memory> {
        // SAFETY: `data` begins with a `DataHead` and `ctl` with a `CtlHead` and the slots, page-aligned; every word is
        // atomic, and any bits are a value of it. The records stand twice behind the head, mapped writable, and are
        // accessed through annulus-core only, but for `borrow`, which makes no reference. All live as long as `self`.
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

    fn borrow(&self, held: Held) -> Vec<u8> {
        let at = (held.position & (self.capacity - 1)) as usize + PAYLOAD_OFFSET as usize;
        let len = usize::try_from(held.len).expect("a length");
        assert!(at + len <= 2 * self.capacity as usize, "a record of {len} bytes is longer than the ring");
        let mut bytes = vec![0; len];
        // SAFETY: the assertion keeps it within the two copies, mapped readable; this thread is the only one.
        unsafe { self.data.base().add(HEAD + at).as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), len) };
        bytes
    }
}

/// A file in shared memory that has no name any more.
fn nameless(what: &str, bytes: u64) -> File {
    let path = format!("/dev/shm/annulus-fuzz-{}-{what}", std::process::id());
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a new file");
    remove_file(&path).expect("its removal");
    file.set_len(bytes).expect("its length");
    file
}

/// Words on the heap: a capacity below a page wraps after a few records.
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

impl Ring for Heap {
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

    fn borrow(&self, held: Held) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(held.len).expect("a length")];
        self.records().read(held.position + PAYLOAD_OFFSET, &mut bytes);
        bytes
    }
}
