//! Where the pages of a mapping are: present, locked, on a node of one's choice, in huge pieces.
//!
//! All of it is about pages that come later as much as about those that are there, and most of it only about
//! later ones. A page comes when it is first touched, or when the file is
//! [reserved](crate::place::reserve); so the order is: give the file its length, map it, bind and advise,
//! and only then prefault or reserve.
#![allow(unsafe_code)]

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;

use rustix::io::Errno;
use rustix::mm::{Advice, madvise, mlock};

use crate::mapping::{Access, Mapping};
use crate::sys::page_size;

/// The words of a node mask: 1,024 nodes, the most that any kernel is built for.
const NODE_WORDS: usize = 1024 / libc::c_ulong::BITS as usize;

impl Mapping {
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
        let advice = match self.access() {
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
            match self.access() {
                // A relaxed load of 8 bytes is the only kind that Rust allows on read-only memory.
                Access::Read => _ = word.load(Ordering::Relaxed),
                // Must be a write, or the page stays read-only in the tables; and one that takes back nothing
                // that another writer stores at the same moment. The compiler may not know that the operand
                // is 0: it would make a load of it.
                Access::ReadWrite => _ = word.fetch_or(black_box(0), Ordering::Relaxed),
            }
        }
    }

    /// Keeps every page in memory until the mapping is dropped: makes them present (for a file on a disk, the
    /// first write to each faults all the same, unless it is [prefaulted](Mapping::prefault) as well), and
    /// forbids the kernel to swap them out. A body that is there twice counts twice. A forked child's copy is
    /// not locked. See mlock(2).
    ///
    /// On hugetlbfs pages are never swapped out: it counts, and changes nothing.
    ///
    /// # Errors
    ///
    /// Without `CAP_IPC_LOCK`: `PermissionDenied` if `RLIMIT_MEMLOCK` is 0, `OutOfMemory` if it is less than what is
    /// locked already and this. `OutOfMemory` also if the file has become shorter; `WouldBlock` if the kernel
    /// has no memory for it now.
    pub fn lock(&self) -> io::Result<()> {
        // SAFETY: the range is mapped as long as `self` lives; locking it changes no byte.
        unsafe { mlock(self.base().as_ptr().cast(), self.len())? };
        Ok(())
    }

    /// Has the pages that come from now on taken from the memory of NUMA node `node` (0 to 1,023), and from
    /// no other. The pages that are there already stay where they are: bind before anything prefaults or
    /// [reserves](crate::place::reserve) the file. See mbind(2), `MPOL_BIND`.
    ///
    /// For a file on tmpfs, a memfd, and hugetlbfs, this is said of that part of the *file*, for all who map it
    /// and for as long as it lives. On a disk it is ignored.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a node that does not exist, or that this process may not use (cpuset(7));
    /// `Unsupported` on kernels without NUMA; `PermissionDenied` in a sandbox. Whether the node has room is
    /// seen only later: whoever needs a page there that it cannot have is killed.
    pub fn bind_to_node(&self, node: u32) -> io::Result<()> {
        let (bit, word) = (node % libc::c_ulong::BITS, (node / libc::c_ulong::BITS) as usize);
        let mut mask: [libc::c_ulong; NODE_WORDS] = [0; NODE_WORDS];
        let Some(word) = mask.get_mut(word) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no kernel has so many nodes"));
        };
        *word = 1 << bit;
        // The kernel takes a count of bits that is one too large: see mbind(2), BUGS.
        let bits = size_of_val(&mask) * 8 + 1;
        // SAFETY: the range is mapped as long as `self` lives, and a policy changes no byte of it. The kernel
        // reads `bits - 1` bits of the mask, which are all of it.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.base().as_ptr(),
                self.len(),
                libc::c_long::from(libc::MPOL_BIND),
                mask.as_ptr(),
                bits,
                0 as libc::c_long,
            )
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Asks for transparent huge pages for the pages that come from now on. Whether it is heard, and needed,
    /// for a memfd is up to `/sys/kernel/mm/transparent_hugepage/shmem_enabled`, which
    /// [`transparent_huge_pages`](crate::sys::transparent_huge_pages) reads; for a file on tmpfs it is up to
    /// the `huge=` with which that was mounted. A hint, whose success nobody reports; and only where address
    /// and offset agree, see [`Part::aligned`](crate::mapping::Part::aligned). See madvise(2),
    /// `MADV_HUGEPAGE`.
    ///
    /// Where advice is needed, a file that was [reserved](crate::place::reserve) before has small pages, because
    /// nobody had asked for others: advise, then [`prefault`](Mapping::prefault), then reserve.
    ///
    /// # Errors
    ///
    /// `InvalidInput` on kernels without transparent huge pages, and on some for hugetlbfs, whose pages are
    /// huge anyway.
    pub fn advise_huge(&self) -> io::Result<()> {
        // SAFETY: the range is mapped as long as `self` lives, and this advice changes no byte.
        unsafe { madvise(self.base().as_ptr().cast(), self.len(), Advice::LinuxHugepage)? };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::anonymous;
    use std::fs::{self, File, OpenOptions};

    /// Minor faults that this thread makes in `work`.
    fn faults(work: impl FnOnce()) -> i64 {
        let count = || {
            // SAFETY: an all-zero `rusage` is one, and getrusage writes one whole `rusage` into it.
            unsafe {
                let mut usage: libc::rusage = std::mem::zeroed();
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
