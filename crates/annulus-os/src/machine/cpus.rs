//! The processors: how many, how they share cores, how they are clocked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rustix::thread::{CpuSet, sched_getaffinity};

const CPUS: &str = "/sys/devices/system/cpu";

/// The processors of this machine, as this process sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// Processors that run. 0 if that cannot be known.
    pub online: usize,
    /// Of those, how many this process may run on. See sched_getaffinity(2).
    pub allowed: usize,
    /// Cores that the allowed ones belong to: fewer, if some are two threads of one core. `None` if the kernel does not say.
    pub cores: Option<usize>,
}

/// Counts them.
#[must_use]
pub fn cpus() -> Cpus {
    let online = read("online").map_or(0, |text| list(&text).len());
    let allowed: Vec<usize> = match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => Vec::new(),
    };
    let siblings = allowed.iter().map(|cpu| read(&format!("cpu{cpu}/topology/thread_siblings_list")));
    let cores: Option<BTreeSet<String>> = siblings.collect();
    Cpus {
        online,
        allowed: if allowed.is_empty() { online } else { allowed.len() },
        cores: cores.filter(|cores| !cores.is_empty()).map(|cores| cores.len()),
    }
}

/// The frequency governors, and how many processors each has. Empty where the kernel does not scale frequencies, as in most
/// virtual machines. See `Documentation/admin-guide/pm/cpufreq.rst` of the kernel.
#[must_use]
pub fn governors() -> BTreeMap<String, usize> {
    let mut governors = BTreeMap::new();
    for cpu in read("online").map_or_else(Vec::new, |text| list(&text)) {
        if let Some(governor) = read(&format!("cpu{cpu}/cpufreq/scaling_governor")) {
            *governors.entry(governor).or_insert(0) += 1;
        }
    }
    governors
}

/// The counter behind the kernel's own clocks, such as `tsc`.
#[must_use]
pub fn clock_source() -> Option<String> {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn read(file: &str) -> Option<String> {
    Some(fs::read_to_string(Path::new(CPUS).join(file)).ok()?.trim().to_owned())
}

/// The numbers of a list such as `0-3,8`.
fn list(text: &str) -> Vec<usize> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            numbers.extend(first..=last.min(first + CpuSet::MAX_CPU));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(list("0"), [0]);
        assert_eq!(list(""), [0; 0]);
        assert_eq!(list("3-1,x,-"), [0; 0]);
        assert!(list("0-18446744073709551615").len() <= CpuSet::MAX_CPU + 1);
    }

    #[test]
    fn this_machine_has_some() {
        let cpus = cpus();
        assert!(cpus.allowed >= 1 && cpus.cores.is_none_or(|cores| (1..=cpus.allowed).contains(&cores)));
        assert!(cpus.online == 0 || cpus.allowed <= cpus.online);
    }
}
