//! Where the records are. The algorithm asks for a header or for bytes by position, and does not know
//! whether they lie in a mapping of two processes or in a heap block of a model.
#![allow(unsafe_code)]

#[cfg(not(loom))]
use core::marker::PhantomData;
#[cfg(not(loom))]
use core::ptr::NonNull;

#[cfg(not(loom))]
use crate::copy::{copy_in, copy_out};
use crate::group::Group;
#[cfg(not(loom))]
use crate::header::HEADER_BYTES;
use crate::layout::{CtlHead, GroupHead, ProducerPage, Slot};
#[cfg(not(loom))]
use crate::words::mirror_fence;
use crate::words::{ClaimWord, Header};

/// Record space of some capacity, a power of two, addressed by position.
pub trait Memory: Copy {
    /// The word at `position`, a multiple of 8.
    fn word(&self, position: u64) -> &Header;

    /// Copies payload out from `position`, a multiple of 8, while the producer may be overwriting it: what has
    /// arrived is believed only if the licence, validated afterwards, has not passed the record.
    fn read_racing(&self, position: u64, payload: &mut [u8]);

    /// Writes payload from `position`, a multiple of 8, zeroing the rest of its last word. Only by the
    /// producer, within its licence.
    fn write(&self, position: u64, payload: &[u8]);

    /// Asks the processor to fetch the line at `position`, a multiple of 8, for writing. A hint.
    #[inline]
    fn fetch_for_writing(&self, position: u64) {
        let _ = position;
    }
}

/// One word of a [`Block`].
#[derive(Debug, Default)]
pub struct BlockWord {
    word: Header,
    /// loom's account of who reads and who writes payload, since a borrowed record is plain memory.
    #[cfg(loom)]
    plain: loom::cell::UnsafeCell<()>,
}

/// A block of words, without a mirror: for models, for Miri, and for threads.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    words: &'a [BlockWord],
}

impl<'a> Block<'a> {
    /// A block of as many words as there are, a power of two.
    pub fn new(words: &'a [BlockWord]) -> Option<Block<'a>> {
        words.len().is_power_of_two().then_some(Block { words })
    }

    /// Copies payload out, for a reader that the producer waits for: where a mapping lends the bytes.
    pub fn read(&self, position: u64, payload: &mut [u8]) {
        for (i, chunk) in payload.chunks_mut(8).enumerate() {
            let word = self.at(position + 8 * i as u64);
            #[cfg(loom)]
            word.plain.with(|_| ());
            let bytes = word.word.payload().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    fn at(&self, position: u64) -> &'a BlockWord {
        &self.words[(position / 8) as usize & (self.words.len() - 1)]
    }
}

impl Memory for Block<'_> {
    fn word(&self, position: u64) -> &Header {
        &self.at(position).word
    }

    fn read_racing(&self, position: u64, payload: &mut [u8]) {
        for (i, chunk) in payload.chunks_mut(8).enumerate() {
            let bytes = self.at(position + 8 * i as u64).word.payload().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    fn write(&self, position: u64, payload: &[u8]) {
        for (i, chunk) in payload.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            let word = self.at(position + 8 * i as u64);
            #[cfg(loom)]
            word.plain.with_mut(|_| ());
            word.word.prepare(u64::from_le_bytes(bytes));
        }
    }
}

/// A mapping in which the record space stands twice, back to back, so that every record is contiguous.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub struct Mirror<'a> {
    base: *mut u8,
    /// `capacity - 8`: a position masked by it is a multiple of 8 inside the first of the two.
    mask: u64,
    life: PhantomData<&'a Header>,
}

// SAFETY: the pointer is to memory that the constructor's contract keeps mapped for `'a` and that this crate
// accesses atomically only; which thread does so makes no difference.
#[cfg(not(loom))]
unsafe impl Send for Mirror<'_> {}
// SAFETY: as above.
#[cfg(not(loom))]
unsafe impl Sync for Mirror<'_> {}

#[cfg(not(loom))]
impl<'a> Mirror<'a> {
    /// The mirror at `base`.
    ///
    /// # Safety
    ///
    /// For `'a`, `base..base + 2 * capacity` is mapped readable, the second half to the same memory as the
    /// first; `base` is 8-byte aligned and `capacity` a power of two of at least 8. It is also mapped writable
    /// if [`write`](Memory::write) or a storing verb of a [`word`](Memory::word) is called. Nobody in this
    /// process accesses it but through this crate.
    #[inline]
    pub const unsafe fn new(base: *mut u8, capacity: u64) -> Mirror<'a> {
        Mirror { base, mask: capacity - 8, life: PhantomData }
    }

    /// Where the payload of the record is whose header is at `position`. A capacity less 8 bytes can be read
    /// from there, by whoever knows that the producer does not write them meanwhile.
    #[inline]
    pub fn payload(&self, position: u64) -> NonNull<u8> {
        // SAFETY: the masked place is within the first half, so 8 bytes on is within the mapping, and not null.
        unsafe {
            let at = self.base.add(((position & self.mask) + HEADER_BYTES) as usize);
            NonNull::new_unchecked(at)
        }
    }
}

#[cfg(not(loom))]
impl Memory for Mirror<'_> {
    #[inline]
    fn word(&self, position: u64) -> &Header {
        // SAFETY: the masked place is a multiple of 8 within the first half; `Header` is an atomic word, and
        // any bits are a value of it.
        unsafe { &*self.base.add((position & self.mask) as usize).cast::<Header>() }
    }

    #[inline]
    fn fetch_for_writing(&self, position: u64) {
        fetch_line(self.word(position));
    }

    #[inline]
    fn read_racing(&self, position: u64, payload: &mut [u8]) {
        assert!(payload.len() as u64 <= self.mask, "a record is never longer than the ring");
        // SAFETY: the masked place is aligned, and the payload, rounded up to 8, at most a capacity long, so it
        // ends within the second half, mapped readable; `payload` is memory of this process, and the
        // constructor's contract keeps it out of the mapping.
        unsafe { copy_out(payload, self.base.add((position & self.mask) as usize)) }
    }

    #[inline]
    fn write(&self, position: u64, payload: &[u8]) {
        assert!(payload.len() as u64 <= self.mask, "a record is never longer than the ring");
        // The only stores at second addresses are these. What the producer's own thread stored before at the first (a
        // word of a claim, a header of a batch that was dropped), or does there next (a header, a word of a claim that
        // is read back), may be of the same bytes, and stays on its side.
        mirror_fence();
        // SAFETY: the masked place is aligned, and the payload, rounded up to 8, at most a capacity long, so
        // it ends within the second half. One producer writes; `payload` is memory of this process, and the
        // constructor's contract keeps references out of the mapping.
        unsafe { copy_in(self.base.add((position & self.mask) as usize), payload) }
        mirror_fence();
    }
}

/// Asks the processor to fetch a word's line for writing. A hint, and nothing where there is none.
#[inline]
pub(crate) fn fetch_line<T>(word: &T) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, annulus_words))))]
    // SAFETY: a prefetch reads and writes no memory in the sense of the language, and never faults.
    unsafe {
        core::arch::asm!(
            "prefetchw [{}]",
            in(reg) core::ptr::from_ref(word),
            options(nostack, preserves_flags, readonly),
        );
    }
    let _ = word;
}

/// One ring as whoever may only read it sees it: what the producer writes.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, M> {
    /// The producer's words.
    pub producer: &'a ProducerPage,
    /// The records.
    pub records: M,
}

/// One ring as a participant sees it: the words, and the records.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a, M> {
    /// The producer's words.
    pub producer: &'a ProducerPage,
    /// Doorbells. An observer has none.
    pub ctl: &'a CtlHead,
    /// As many as the identity says.
    pub slots: &'a [Slot],
    /// As many as the identity says.
    pub groups: &'a [GroupHead],
    /// The groups' claim tables, one after another, each a power of two long.
    pub claims: &'a [ClaimWord],
    /// The records.
    pub records: M,
}

impl<'a, M: Copy> Shared<'a, M> {
    /// The part that an observer has, too.
    #[inline]
    pub fn view(&self) -> View<'a, M> {
        View { producer: self.producer, records: self.records }
    }

    /// A group's words.
    pub fn group(&self, group: u32) -> Option<Group<'a>> {
        let head = self.groups.get(group as usize)?;
        let words = self.claims.len() / self.groups.len();
        Some(Group::new(head, &self.claims[group as usize * words..][..words]))
    }

    /// All groups with their numbers, whether or not they are anybody's.
    pub fn all_groups(&self) -> impl Iterator<Item = (u32, Group<'a>)> {
        let shared = *self;
        (0..self.groups.len() as u32).filter_map(move |g| shared.group(g).map(|group| (g, group)))
    }
}
