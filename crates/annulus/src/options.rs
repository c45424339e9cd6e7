//! Options that are values of their own.

use std::fmt;

/// Which pages a ring's records lie on.
///
/// A large ring that is read in no particular order misses less in the processor's address tables on huge pages.
///
/// # Examples
///
/// ```no_run
/// use annulus::{HugePages, Ring};
/// // With `mount -t hugetlbfs none /mnt/huge`, `/mnt/huge/rings` being a directory of ours, and pages set aside by
/// // `sysctl vm.nr_hugepages=16`:
/// let tx = Ring::create("video")
///     .dir("/mnt/huge/rings")
///     .capacity(16 << 20)
///     .huge_pages(HugePages::Reserved)
///     .producer()?;
/// # Ok::<(), annulus::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HugePages {
    /// Those of the machine's base size.
    #[default]
    Never,
    /// Such as the kernel can find: madvise(2), `MADV_HUGEPAGE`. Needs tmpfs, and `advise` or more in
    /// `/sys/kernel/mm/transparent_hugepage/shmem_enabled`; creating the ring is an error where that says `never`.
    /// Without free ones, base pages are used.
    Transparent,
    /// Those set aside by the system's owner: a directory on hugetlbfs, whose page size the capacity is rounded up
    /// to. Creating the ring is an error where too few are free.
    Reserved,
}

impl fmt::Display for HugePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HugePages::Never => "never",
            HugePages::Transparent => "transparent",
            HugePages::Reserved => "reserved",
        })
    }
}
