//! A shared file in memory, with guard areas around it, and its body twice in a row if wanted.
//!
//! ```text
//!            base                                                base + len
//!  ┌───────┬──┴───────────┬─────────────────┬─────────────────┬───┴───┐
//!  │ guard │ head         │ body            │ body again      │ guard │   mirrored
//!  └───────┴──────────────┴─────────────────┴─────────────────┴───────┘
//!     file:  from offset on  behind the head, both times
//! ```
//!
//! With the body there twice (the *mirror*), what runs over its end is contiguous in memory: the byte at
//! `head + body + i` and the one at `head + i` are the same byte. An access beyond either end meets a guard
//! and is a SIGSEGV instead of somebody else's memory. A guard is a page at least; where the base is aligned
//! to more than a page, the guards are as much larger.
#![allow(unsafe_code)]

use core::ops::Range;
use core::ptr::NonNull;
use std::fs::File;
use std::io;
use std::mem;

use memmap2::{MmapOptions, MmapRaw};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect};

use crate::place::{anonymous, facts_of, page_size_of};
use crate::sys::page_size;

/// What may be done with a file or its mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look only. In a mapping, a write is a SIGSEGV.
    Read,
    /// Look and write.
    ReadWrite,
}

/// Which part of a file a [`Mapping`] shows, how often, and at what kind of address. All in bytes; the offset
/// and the lengths are multiples of [`page_size_of`] that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    offset: u64,
    head: usize,
    body: usize,
    copies: usize,
    align: usize,
}

impl Part {
    /// `len` bytes from the file's start, once.
    #[must_use]
    pub fn plain(len: usize) -> Part {
        Part { offset: 0, head: 0, body: len, copies: 1, align: 1 }
    }

    /// `head` bytes from the file's start, and behind them the next `body` bytes, twice.
    #[must_use]
    pub fn mirrored(head: usize, body: usize) -> Part {
        Part { offset: 0, head, body, copies: 2, align: 1 }
    }

    /// The same from `offset` of the file on.
    #[must_use]
    pub fn at(self, offset: u64) -> Part {
        Part { offset, ..self }
    }

    /// The same where `base - offset` is a multiple of `align`, a power of two. The kernel can put a
    /// transparent huge page only where address and offset agree in this way for the size of one (see
    /// [`transparent_huge_page_size`](crate::sys::transparent_huge_page_size)); in the second copy they do
    /// if `body` is a multiple as well. Costs addresses, not memory.
    #[must_use]
    pub fn aligned(self, align: usize) -> Part {
        Part { align, ..self }
    }
}

/// A file in this process's memory, shared with all who map the same file. Dropping it unmaps it; the file
/// need not stay open meanwhile. A forked child has it, too. See mmap(2).
///
/// It hands out an address and no reference, because others may write there at any time: everything behind it
/// is atomics, or copied with care. If somebody makes the file shorter, an access beyond its end is a SIGBUS;
/// seal the file, or keep those away from it who would.
///
/// Files of huge pages (hugetlbfs, or a memfd made so) are mapped in whole huge pages, at addresses that are
/// multiples of those. Pages of it that are not [reserved](crate::place::reserve) are set aside by mapping it.
#[derive(Debug)]
pub struct Mapping {
    /// The whole address range, guards included. Unmaps it when dropped.
    range: MmapRaw,
    /// Where the base is, from the start of the range: a page at least.
    start: usize,
    /// Bytes of the file before the body; 0 in a plain mapping.
    head: usize,
    /// Bytes of the body, once.
    body: usize,
    /// How often the body is there: 1 or 2.
    copies: usize,
    access: Access,
}

// `Mapping` is `Send` and `Sync` by its parts, and soundly: the range belongs to the process, not to a thread; nothing
// in it changes after construction; and no method reads or writes the bytes in a way that races (see
// `touch` in pages.rs).

impl Mapping {
    /// Maps `file[0..head]` and behind it `file[head..head + body]` twice. Both lengths are in bytes and
    /// multiples of [`page_size_of`] the file; `head` may be 0, `body` not.
    ///
    /// # Errors
    ///
    /// As [`new`](Mapping::new).
    pub fn mirrored(file: &File, head: usize, body: usize, access: Access) -> io::Result<Mapping> {
        Mapping::new(file, Part::mirrored(head, body), access)
    }

    /// The same from `offset` of the file on, which is a multiple of [`page_size_of`] the file, too.
    ///
    /// # Errors
    ///
    /// As [`new`](Mapping::new).
    pub fn mirrored_at(
        file: &File,
        offset: u64,
        head: usize,
        body: usize,
        access: Access,
    ) -> io::Result<Mapping> {
        Mapping::new(file, Part::mirrored(head, body).at(offset), access)
    }

    /// Maps `file[0..len]`, once. `len` is in bytes, a multiple of [`page_size_of`] the file and not 0.
    ///
    /// # Errors
    ///
    /// As [`new`](Mapping::new).
    pub fn plain(file: &File, len: usize, access: Access) -> io::Result<Mapping> {
        Mapping::new(file, Part::plain(len), access)
    }

    /// Maps `file[offset..offset + len]`, once. Both are multiples of [`page_size_of`] the file; `len` is not 0.
    ///
    /// # Errors
    ///
    /// As [`new`](Mapping::new).
    pub fn plain_at(file: &File, offset: u64, len: usize, access: Access) -> io::Result<Mapping> {
        Mapping::new(file, Part::plain(len).at(offset), access)
    }

    /// Maps a part of a file, with all that a [`Part`] can say.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an offset and lengths that are no multiples of the file's pages, a body of 0, what is
    /// too large for any address space, and an alignment that is no power of two; `UnexpectedEof` if the file
    /// is shorter (checked once, now); `PermissionDenied` if the descriptor does not allow the access, or a
    /// seal forbids it; `OutOfMemory` if there is no room in the address space (`RLIMIT_AS`), or, on
    /// hugetlbfs, if the file is not reserved and there are too few free huge pages.
    pub fn new(file: &File, part: Part, access: Access) -> io::Result<Mapping> {
        let Part { offset, head, body, copies, align } = part;
        let (page, file_page) = (page_size(), page_size_of(file)?);
        if body == 0 || !body.is_multiple_of(file_page) || !head.is_multiple_of(file_page) {
            return Err(invalid("a mapping's lengths are multiples of the file's page size"));
        }
        if !offset.is_multiple_of(file_page as u64) {
            return Err(invalid("a mapping's offset is a multiple of the file's page size"));
        }
        if !align.is_power_of_two() {
            return Err(invalid("a mapping's alignment is a power of two"));
        }
        let align = align.max(file_page);
        let total = body
            .checked_mul(copies)
            .and_then(|bodies| bodies.checked_add(head))
            .and_then(|len| len.checked_add(align))
            .and_then(|len| len.checked_add(page))
            // No object may be larger: beyond it, not even `base + len` is an offset that Rust allows.
            .filter(|&total| isize::try_from(total).is_ok())
            .ok_or_else(|| invalid("a mapping larger than the address space"))?;
        // Cannot overflow: both are in `total`, which did not.
        let needed = head + body;
        let size = facts_of(file)?.size;
        let end = offset.checked_add(needed as u64);
        if end.is_none_or(|end| end > size) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than its mapping"));
        }

        // May this descriptor be mapped like that? Ask before anything depends on it: see below. A file of
        // huge pages sets aside what it lacks when it is mapped, so there the question is about all of it,
        // and the answer stays true: what is set aside stays so as long as the file is there.
        let mut trial = MmapOptions::new();
        trial.offset(offset).len(if file_page == page { page } else { needed });
        match access {
            Access::Read => drop(trial.map_raw_read_only(file)?),
            Access::ReadWrite => drop(trial.map_raw(file)?),
        }

        // Address space only. A private mapping that cannot be written is charged to nobody, even where the
        // kernel promises no more memory than it has (vm.overcommit_memory = 2), which a range of writable
        // anonymous memory twice the size of the ring would be. Of the file itself, unless its pages are
        // huge: those are set aside for private mappings, too.
        let other = if file_page == page { None } else { Some(anonymous("annulus-guards", 1)?) };
        let behind = other.as_ref().unwrap_or(file);
        // SAFETY: memmap2 asks that nobody changes the file while its bytes are borrowed as a slice. They
        // never are: the result becomes a `MmapRaw` at once, which gives out its address only.
        let range = unsafe { MmapOptions::new().len(total).map_copy_read_only(behind)? };
        let range = MmapRaw::from(range);
        let start = page + gap(range.as_ptr().addr() + page, offset, align);
        let mapping = Mapping { range, start, head, body, copies, access };
        if let Err(error) = mapping.fill(file, offset) {
            // Before Linux 6.12 a failed MAP_FIXED leaves a hole where it would have been, into which another
            // thread may have mapped something meanwhile; unmapping the whole range would take that away.
            // After the trial above only a kernel out of memory or of mappings comes here, so lose the
            // addresses instead.
            mem::forget(mapping);
            return Err(error);
        }
        Ok(mapping)
    }

    /// Puts everything in its place in the reserved range.
    fn fill(&self, file: &File, offset: u64) -> io::Result<()> {
        self.overlay(file, 0..self.head, offset)?;
        for copy in 0..self.copies {
            let at = self.head + copy * self.body;
            self.overlay(file, at..at + self.body, offset + self.head as u64)?;
        }
        self.guard(0..self.start)?;
        self.guard(self.start + self.len()..self.range.len())
    }

    /// Maps the file from `offset` over `part`, which counts from the base.
    fn overlay(&self, file: &File, part: Range<usize>, offset: u64) -> io::Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        assert!(part.end <= self.len());
        let protection = match self.access {
            Access::Read => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        let at = self.base().as_ptr().wrapping_add(part.start);
        // SAFETY: MAP_FIXED replaces what is mapped in `at .. at + part.len()`; both ends are multiples of the
        // file's page, so the kernel rounds nothing. That lies inside the range that `self.range` owns
        // (asserted, and see `base`), nobody has been told of it yet, and no reference into it exists. If the
        // call fails, the range may have a hole; then the caller never unmaps it.
        unsafe { mmap(at.cast(), part.len(), protection, MapFlags::SHARED | MapFlags::FIXED, file, offset)? };
        Ok(())
    }

    /// Forbids all access to `area`, whole pages that count from the start of the range.
    fn guard(&self, area: Range<usize>) -> io::Result<()> {
        assert!(!area.is_empty() && area.end <= self.range.len());
        assert!(area.end <= self.start || area.start >= self.start + self.len());
        let at = self.range.as_mut_ptr().wrapping_add(area.start);
        // SAFETY: the area lies inside the range that `self.range` owns and outside what `base` and `len`
        // describe (both asserted), so nothing ever refers to it.
        unsafe { mprotect(at.cast(), area.len(), MprotectFlags::empty())? };
        Ok(())
    }

    /// Where the mapped part begins: aligned to a page of the file, the same until the mapping is dropped.
    /// Behind it are [`len`](Mapping::len) bytes. Never write through it if the mapping was made with
    /// [`Access::Read`].
    #[inline]
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        // SAFETY: a mapping never starts at address 0, and `start`, at most the alignment, is less than its
        // length, so the sum stays inside it and is not null.
        unsafe { NonNull::new_unchecked(self.range.as_mut_ptr().add(self.start)) }
    }

    /// How many bytes may be accessed from the base on: `head + 2 * body` if mirrored. Never 0.
    #[inline]
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // it would always be false
    pub fn len(&self) -> usize {
        self.head + self.copies * self.body
    }

    /// What it was made for.
    #[inline]
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }
}

/// The least number of bytes from `address` on to where an address is the same as `offset` modulo `align`. Less than
/// `align`; and at most a page less, if all three are whole pages.
fn gap(address: usize, offset: u64, align: usize) -> usize {
    // Modulo a power of two, which divides 2^64, so that wrapping and cutting off change nothing.
    (offset as usize).wrapping_sub(address) & (align - 1)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_can_be_sent_and_shared() {
        fn shared<T: Send + Sync>() {}
        shared::<Mapping>();
    }

    #[test]
    fn the_gap_leads_to_the_next_place_that_agrees_with_the_offset() {
        let (page, huge) = (4096, 2 << 20);
        for offset in [0, page as u64, huge as u64, (huge + 5 * page) as u64, u64::MAX - page as u64 + 1] {
            for address in [page, huge - page, huge, huge + page, 0x7fff_ffff_f000] {
                for align in [page, huge, 1 << 30] {
                    let gap = gap(address, offset, align);
                    assert!(gap <= align - page && gap.is_multiple_of(page));
                    assert_eq!((address + gap) as u64 % align as u64, offset % align as u64);
                }
            }
        }
    }
}
