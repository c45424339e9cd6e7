//! What this machine has and what it allows this process: for people who ask, never for deciding anything on a path of
//! records.
//!
//! Where `/proc` or `/sys` do not say, or are not there, the answer is `None` or empty. Everything may be stale by the time
//! you look.

mod cgroup;
mod cpus;
mod processes;
mod waitv;

use std::fs;

use rustix::process::{Resource, getrlimit};

pub use cgroup::{MemoryLimit, memory_limit};
pub use cpus::{Cpus, clock_source, cpus, governors};
pub use processes::{DeletedMapping, deleted_mappings};
pub use waitv::{WaitMany, wait_many};

/// What a process may have only so much of. See getrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Open descriptors, `RLIMIT_NOFILE`.
    Descriptors,
    /// Bytes locked in memory, `RLIMIT_MEMLOCK`.
    LockedMemory,
    /// Bytes of addresses, `RLIMIT_AS`.
    AddressSpace,
}

/// The soft limit of this process; `None`: there is none. See getrlimit(2).
#[must_use]
pub fn limit(of: Limited) -> Option<u64> {
    getrlimit(match of {
        Limited::Descriptors => Resource::Nofile,
        Limited::LockedMemory => Resource::Memlock,
        Limited::AddressSpace => Resource::As,
    })
    .current
}

/// Whether `/proc` is there and is what it should be. See proc(5).
#[must_use]
pub fn has_proc() -> bool {
    fs::read("/proc/self/stat").is_ok()
}

/// Whether limits of locked memory do not hold for this process: `CAP_IPC_LOCK`, capabilities(7). `None`
/// without `/proc`.
#[must_use]
pub fn may_lock_any() -> Option<bool> {
    const IPC_LOCK: u32 = 14;
    let mask = field(&fs::read_to_string("/proc/self/status").ok()?, "CapEff:", 16)?;
    Some(mask & (1 << IPC_LOCK) != 0)
}

/// Bytes of addresses that this process has taken. `None` without `/proc`.
#[must_use]
pub fn address_space() -> Option<u64> {
    Some(field(&fs::read_to_string("/proc/self/status").ok()?, "VmSize:", 10)? * 1024)
}

/// Huge pages that were set aside for hugetlbfs, of the default size: how many are free, and their bytes each. `None`
/// where the kernel has none, or without `/proc`. See proc_meminfo(5).
#[must_use]
pub fn reserved_huge_pages() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    Some((field(&text, "HugePages_Free:", 10)?, field(&text, "Hugepagesize:", 10)? * 1024))
}

/// The first number behind a word at the beginning of a line.
fn field(text: &str, name: &str, radix: u32) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(rest.split_ascii_whitespace().next()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "VmPeak: 9 kB\nVmSize:\t  17 kB\nCapEff:\t000000000000400a\nEmpty:\n";
        assert_eq!(field(text, "VmSize:", 10), Some(17));
        assert_eq!(field(text, "CapEff:", 16), Some(0x400a));
        assert_eq!(field(text, "Empty:", 10), None);
        assert_eq!(field(text, "Missing:", 10), None);
        assert!(address_space().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn limits_are_those_of_the_kernel() {
        let text = fs::read_to_string("/proc/self/limits").unwrap();
        for (of, name) in [
            (Limited::Descriptors, "Max open files"),
            (Limited::LockedMemory, "Max locked memory"),
            (Limited::AddressSpace, "Max address space"),
        ] {
            assert_eq!(limit(of), field(&text, name, 10), "{name}");
        }
    }
}
