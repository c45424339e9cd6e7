//! What the kernel and the processors offer.

use annulus_os::machine::{self, Limited, WaitMany};
use annulus_os::sys::{self, TransparentHugePages};
use annulus_os::{clock, membarrier as fence};

use super::{DESCRIPTORS, Opinion, bytes, fine, not_known, warning};

/// A program with fewer handles than these at once is unusual.
const HANDLES: u64 = 32;
/// What a program has open anyway.
const OTHERS: u64 = 16;

pub(super) fn descriptors() -> Opinion {
    let Some(limit) = machine::limit(Limited::Descriptors) else { return fine("no limit") };
    let handles = limit.saturating_sub(OTHERS) / DESCRIPTORS;
    let found = format!(
        "RLIMIT_NOFILE is {limit}: about {handles} producers and readers in a process, {DESCRIPTORS} descriptors each"
    );
    match handles < HANDLES {
        true => warning(found, "raise RLIMIT_NOFILE (`ulimit -n`; systemd: LimitNOFILE=)"),
        false => fine(found),
    }
}

pub(super) fn proc() -> Opinion {
    match machine::has_proc() {
        true => fine("mounted"),
        false => warning(
            "/proc is not mounted: rings work, but who waits for one looks again and again, and no pid's start is told",
            "mount it: `mount -t proc proc /proc`",
        ),
    }
}

pub(super) fn membarrier() -> Opinion {
    // Asked in earnest: a sandbox may allow the question and not the deed.
    match fence::heavy() {
        true => fine("offered: a producer pays nothing for readers that may sleep"),
        false => warning(
            "membarrier(2) is refused: producers pay a fence for each record, and readers of asymmetric rings poll \
             instead of sleeping",
            "let the sandbox allow membarrier(2), or build rings with `.fence(FenceMode::Symmetric)`",
        ),
    }
}

pub(super) fn futex_waitv() -> Opinion {
    let advice = "nothing to do for readers of one ring at a time; ";
    match machine::wait_many() {
        WaitMany::Offered => fine("offered"),
        WaitMany::Missing => warning(
            "the kernel has no futex_waitv(2)",
            format!("{advice}to sleep at several at once, use Linux 5.16 or later"),
        ),
        WaitMany::Refused => warning(
            "futex_waitv(2) is refused",
            format!("{advice}to sleep at several at once, let the sandbox allow it"),
        ),
    }
}

pub(super) fn cpus() -> Opinion {
    let cpus = machine::cpus();
    let cores = match cpus.cores {
        Some(cores) => format!(", of {cores} cores"),
        None => ", of how many cores is not told".to_owned(),
    };
    let found = format!("{} of {} CPUs may be used{cores}", cpus.allowed, cpus.online);
    if cpus.allowed == 0 {
        return not_known("neither the kernel nor /sys says how many CPUs there are");
    }
    if cpus.allowed == 1 {
        let advice = "let blocked sides sleep (`Waiting::park()`, the default): a spinning one keeps the other from running";
        return warning(found, advice);
    }
    match cpus.cores {
        Some(1) => warning(
            format!("{found}: two threads of one core"),
            "let blocked sides sleep, or give the processes another core: two that spin on one core slow each other down",
        ),
        _ => fine(found),
    }
}

pub(super) fn governor() -> Opinion {
    let governors = machine::governors();
    if governors.is_empty() {
        return fine("the kernel scales no frequencies here, as in most virtual machines");
    }
    let found: Vec<_> = governors.iter().map(|(name, n)| format!("{name} on {n} CPUs")).collect();
    match governors.keys().any(|name| matches!(name.as_str(), "powersave" | "conservative")) {
        true => warning(
            found.join(", "),
            "for steady times use `performance` (`cpupower frequency-set -g performance`); else leave it",
        ),
        false => fine(found.join(", ")),
    }
}

pub(super) fn tick_counter() -> Opinion {
    let source = machine::clock_source().unwrap_or_else(|| "not known".to_owned());
    match clock::is_tick_steady() {
        true => fine(format!("steady; the kernel's clock source is {source}")),
        false => warning(
            format!("the processor promises no steady rate; the kernel's clock source is {source}"),
            "stamp records by `Clock::Monotonic`; in a virtual machine, have the invariant counter passed through",
        ),
    }
}

pub(super) fn huge_pages() -> Opinion {
    let transparent = match sys::transparent_huge_pages() {
        TransparentHugePages::Never => "no transparent ones for shared memory",
        TransparentHugePages::Advised => "transparent ones where asked for",
        TransparentHugePages::Always => "transparent ones wherever they fit",
        TransparentHugePages::Unknown => "of transparent ones nothing is known",
    };
    let reserved = match machine::reserved_huge_pages() {
        Some((free, size)) => format!("{free} reserved ones of {} free", bytes(size)),
        None => "of reserved ones nothing is known".to_owned(),
    };
    Opinion {
        advice: "nothing to do; for `HugePages::Transparent` or `HugePages::Reserved`, see their pages"
            .to_owned(),
        ..fine(format!("{transparent}; {reserved}"))
    }
}
