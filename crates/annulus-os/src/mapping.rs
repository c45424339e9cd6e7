//! A shared file in memory, with guard pages around it, and its body twice in a row if wanted.
//!
//! ```text
//!            base                                                base + len
//!  ┌───────┬──┴───────────┬─────────────────┬─────────────────┬───┴───┐
//!  │ guard │ head         │ body            │ body again      │ guard │   mirrored
//!  └───────┴──────────────┴─────────────────┴─────────────────┴───────┘
//!     file:  0 .. head      head .. head+body, both times
//! ```
//!
//! With the body there twice (the *mirror*), what runs over its end is contiguous in memory: the byte at
//! `head + body + i` and the one at `head + i` are the same byte. An access beyond either end meets a guard
//! page and is a SIGSEGV instead of somebody else's memory.
#![allow(unsafe_code)]

use core::hint::black_box;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use std::fs::File;
use std::io;
use std::mem;

use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect};

use crate::place::facts_of;
use crate::sys::page_size;

/// What may be done with a file or its mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look only. In a mapping, a write is a SIGSEGV.
    Read,
    /// Look and write.
    ReadWrite,
}

/// A file in this process's memory, shared with all who map the same file. Dropping it unmaps it; the file
/// need not stay open meanwhile. A forked child has it, too. See mmap(2).
///
/// It hands out an address and no reference, because others may write there at any time: everything behind it
/// is atomics, or copied with care. If somebody makes the file shorter, an access beyond its end is a SIGBUS;
/// seal the file, or keep those away from it who would.
///
/// Files of huge pages (hugetlbfs) cannot be mapped like this: their parts begin and end at huge pages only.
#[derive(Debug)]
pub struct Mapping {
    /// The whole address range, guards included. Unmaps it when dropped.
    range: MmapRaw,
    /// Where file offset 0 is, from the start of the range: one page.
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
// `touch`).

impl Mapping {
    /// Maps `file[0..head]` and behind it `file[head..head + body]` twice. Both lengths are in bytes and
    /// multiples of [`page_size`]; `head` may be 0, `body` not.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for lengths that are no multiples, 0 or too large for any address space; `UnexpectedEof` if
    /// the file is shorter (checked once, now); `PermissionDenied` if the descriptor does not allow the
    /// access, or a seal forbids it; `OutOfMemory` if there is no room in the address space (`RLIMIT_AS`).
    pub fn mirrored(file: &File, head: usize, body: usize, access: Access) -> io::Result<Mapping> {
        Mapping::new(file, head, body, 2, access)
    }

    /// Maps `file[0..len]`, once. `len` is in bytes, a multiple of [`page_size`] and not 0.
    ///
    /// # Errors
    ///
    /// As [`mirrored`](Mapping::mirrored).
    pub fn plain(file: &File, len: usize, access: Access) -> io::Result<Mapping> {
        Mapping::new(file, 0, len, 1, access)
    }

    fn new(file: &File, head: usize, body: usize, copies: usize, access: Access) -> io::Result<Mapping> {
        let page = page_size();
        if body == 0 || !body.is_multiple_of(page) || !head.is_multiple_of(page) {
            return Err(invalid("a mapping's lengths are multiples of the page size"));
        }
        let total = body
            .checked_mul(copies)
            .and_then(|bodies| bodies.checked_add(head))
            .and_then(|len| len.checked_add(2 * page))
            // No object may be larger: beyond it, not even `base + len` is an offset that Rust allows.
            .filter(|&total| isize::try_from(total).is_ok())
            .ok_or_else(|| invalid("a mapping larger than the address space"))?;
        // Cannot overflow: both are in `total`, which did not.
        let needed = head + body;
        if facts_of(file)?.size < needed as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than its mapping"));
        }

        // May this descriptor be mapped like that? Ask before anything depends on it: see below.
        let mut trial = MmapOptions::new();
        trial.len(page);
        match access {
            Access::Read => drop(trial.map_raw_read_only(file)?),
            Access::ReadWrite => drop(trial.map_raw(file)?),
        }

        // Address space only. A private mapping that cannot be written is charged to nobody, even where the
        // kernel promises no more memory than it has (vm.overcommit_memory = 2), which a range of writable
        // anonymous memory twice the size of the ring would be.
        //
        // SAFETY: memmap2 asks that nobody changes the file while its bytes are borrowed as a slice. They
        // never are: the result becomes a `MmapRaw` at once, which gives out its address only.
        let range = unsafe { MmapOptions::new().len(total).map_copy_read_only(file)? };
        let mapping = Mapping { range: range.into(), start: page, head, body, copies, access };
        if let Err(error) = mapping.fill(file) {
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
    fn fill(&self, file: &File) -> io::Result<()> {
        self.overlay(file, 0..self.head, 0)?;
        for copy in 0..self.copies {
            let at = self.head + copy * self.body;
            self.overlay(file, at..at + self.body, self.head as u64)?;
        }
        self.guard(0)?;
        self.guard(self.start + self.len())
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
        // SAFETY: MAP_FIXED replaces what is mapped in `at .. at + part.len()`. That lies inside the range
        // that `self.range` owns (asserted), nobody has been told of it yet, and no reference into it exists.
        // If the call fails, the range may have a hole; then the caller never unmaps it.
        unsafe { mmap(at.cast(), part.len(), protection, MapFlags::SHARED | MapFlags::FIXED, file, offset)? };
        Ok(())
    }

    /// Forbids all access to the page at `at`, which counts from the start of the range.
    fn guard(&self, at: usize) -> io::Result<()> {
        let page = self.start;
        assert!(at + page <= self.range.len());
        // SAFETY: the page lies inside the range that `self.range` owns (asserted) and outside what `base`
        // and `len` describe, so nothing ever refers to it.
        unsafe { mprotect(self.range.as_mut_ptr().wrapping_add(at).cast(), page, MprotectFlags::empty())? };
        Ok(())
    }

    /// Where file offset 0 is: aligned to a page, the same until the mapping is dropped. Behind it are
    /// [`len`](Mapping::len) bytes. Never write through it if the mapping was made with [`Access::Read`].
    #[inline]
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        // SAFETY: a mapping never starts at address 0, and `start` is less than its length, so the sum stays
        // inside it and is not null.
        unsafe { NonNull::new_unchecked(self.range.as_mut_ptr().add(self.start)) }
    }

    /// How many bytes may be accessed from the base on: `head + 2 * body` if mirrored. Never 0.
    #[inline]
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // it would always be false
    pub fn len(&self) -> usize {
        self.head + self.copies * self.body
    }

    /// Makes every page present in this process's page tables, so that no access faults later; a body that is
    /// there twice has two sets of entries, and both are filled. Changes no byte, whoever writes meanwhile.
    /// Pages may be swapped out again; only mlock(2) keeps them. See madvise(2), `MADV_POPULATE_READ` and
    /// `MADV_POPULATE_WRITE`.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`, and `EFAULT` if the file has become shorter. On kernels before 5.14, where the pages are
    /// touched one by one, both end in a SIGBUS instead.
    pub fn prefault(&self) -> io::Result<()> {
        let advice = match self.access {
            Access::Read => Advice::LinuxPopulateRead,
            Access::ReadWrite => Advice::LinuxPopulateWrite,
        };
        // SAFETY: the range is mapped as long as `self` lives, and this advice changes no byte.
        match unsafe { madvise(self.base().as_ptr().cast(), self.len(), advice) } {
            Ok(()) => Ok(()),
            Err(Errno::INVAL) => {
                self.touch();
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One access to each page, which is what makes the kernel map it.
    fn touch(&self) {
        for at in (0..self.len()).step_by(page_size()) {
            let first = self.base().as_ptr().wrapping_add(at).cast::<u64>();
            // SAFETY: `at` is less than `len` and both are multiples of the page, so the word lies inside the
            // mapping and is aligned. Other threads and processes may write it meanwhile, but nobody makes a
            // reference to it that forbids that.
            let word = unsafe { AtomicU64::from_ptr(first) };
            match self.access {
                // A relaxed load of 8 bytes is the only kind that Rust allows on read-only memory.
                Access::Read => _ = word.load(Ordering::Relaxed),
                // Must be a write, or the page stays read-only in the tables; and one that takes back nothing
                // that another writer stores at the same moment. The compiler may not know that the operand
                // is 0: it would make a load of it.
                Access::ReadWrite => _ = word.fetch_or(black_box(0), Ordering::Relaxed),
            }
        }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::anonymous;
    use std::fs::{self, OpenOptions};

    #[test]
    fn a_mapping_can_be_sent_and_shared() {
        fn shared<T: Send + Sync>() {}
        shared::<Mapping>();
    }

    /// Minor faults that this thread makes in `work`.
    fn faults(work: impl FnOnce()) -> i64 {
        let count = || {
            // SAFETY: an all-zero `rusage` is one, and getrusage writes one whole `rusage` into it.
            unsafe {
                let mut usage: libc::rusage = mem::zeroed();
                assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
                usage.ru_minflt
            }
        };
        let before = count();
        work();
        count() - before
    }

    fn write_every_page(mapping: &Mapping) {
        for at in (0..mapping.len()).step_by(page_size()) {
            // SAFETY: inside the mapping, which nobody else uses.
            unsafe { mapping.base().as_ptr().add(at).write_volatile(1) };
        }
    }

    /// On a disk, a page that was only read faults again when it is written; in memory it does not.
    fn on_disk(len: usize) -> File {
        let name = format!("annulus-os-{}-{len}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file.set_len(len as u64).unwrap();
        file
    }

    #[test]
    fn no_page_faults_after_prefault_nor_after_touch() {
        let (head, body) = (4 * page_size(), 256 * page_size());
        for fill in [|m: &Mapping| m.prefault().unwrap(), Mapping::touch] {
            for file in [on_disk(head + body), anonymous("faults", (head + body) as u64).unwrap()] {
                let cold = Mapping::mirrored(&file, head, body, Access::ReadWrite).unwrap();
                assert!(faults(|| write_every_page(&cold)) > 0, "the count sees faults");
                drop(cold);
                let warm = Mapping::mirrored(&file, head, body, Access::ReadWrite).unwrap();
                fill(&warm);
                assert_eq!(faults(|| write_every_page(&warm)), 0);
            }
        }
    }

    #[test]
    fn touching_changes_no_byte_and_only_reads_what_is_read_only() {
        let len = 4 * page_size();
        let file = anonymous("touch", len as u64).unwrap();
        let writer = Mapping::plain(&file, len, Access::ReadWrite).unwrap();
        let reader = Mapping::plain(&file, len, Access::Read).unwrap();
        write_every_page(&writer);
        writer.touch();
        reader.touch();
        for at in 0..len {
            // SAFETY: inside the mapping, which nobody writes now.
            let byte = unsafe { reader.base().as_ptr().add(at).read() };
            assert_eq!(byte, u8::from(at.is_multiple_of(page_size())));
        }
    }
}
