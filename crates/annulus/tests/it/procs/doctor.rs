//! What a sandbox takes away, as the doctor sees it; and what the figures that it tells rest on.

use std::fs;

use annulus::doctor::{DESCRIPTORS, Doctor, Verdict};

use super::child::{Child, say};
use super::sandbox::filter;
use crate::support::Dir;

/// For [`refused_calls`]: says the verdicts on what is refused with some error, and that each advises something.
pub(super) fn without(error: i32) {
    let refused = libc::SECCOMP_RET_ERRNO | error.cast_unsigned();
    filter(&[libc::SYS_membarrier, libc::SYS_futex_waitv], refused, libc::SECCOMP_RET_ALLOW);
    for check in Doctor::new().only(["membarrier", "futex-waitv"]).examine() {
        assert!(check.advice.len() > 20, "{check:?}");
        say(&format!("{} {} {}", check.name, check.verdict, check.found));
    }
}

/// Case: a sandbox that refuses `membarrier`, or a kernel without `futex_waitv`: slower, correct; so a warning,
/// whatever the sandbox answers.
#[test]
fn refused_calls() {
    for (error, words) in [(libc::ENOSYS, "has no"), (libc::EPERM, "is refused")] {
        let mut child = Child::start("doctor-without", &[&error.to_string()]);
        assert!(child.hear().starts_with("membarrier warning membarrier(2) is refused"));
        child.expect(&format!(
            "futex-waitv warning {}",
            match words {
                "has no" => "the kernel has no futex_waitv(2)",
                _ => "futex_waitv(2) is refused",
            }
        ));
        child.ends_well();
    }
    let free = Doctor::new().only(["membarrier"]).examine();
    assert_eq!(free[0].verdict, Verdict::Fine, "{free:?}");
}

/// For [`descriptors_of_a_handle`]: says how many each kind of handle keeps open.
pub(super) fn descriptors(dir: &str) {
    let open = || fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let ring = || annulus::Ring::open("r").dir(dir);
    let before = open();
    let tx = annulus::Ring::create("r").dir(dir).persistent(true).producer().unwrap();
    let producer = open() - before;
    let (rx, copier, observer) =
        (ring().subscribe().unwrap(), ring().subscribe_copying().unwrap(), ring().observe().unwrap());
    let readers = open() - before - producer;
    say(&format!("{producer} {readers}"));
    drop((tx, rx, copier, observer));
    let tx = ring().producer().unwrap();
    say(&(open() - before).to_string());
    drop(tx);
    ring().remove().unwrap();
    assert_eq!(open(), before);
}

/// As many as the doctor reckons with, and no more.
#[test]
fn descriptors_of_a_handle() {
    let dir = Dir::new();
    let mut child = Child::start("descriptors-of-a-handle", &[dir.text()]);
    let first = child.hear();
    let (producer, readers) = first.split_once(' ').unwrap();
    assert_eq!(producer.parse(), Ok(DESCRIPTORS));
    assert!(readers.parse::<u64>().unwrap() <= 3 * DESCRIPTORS, "{readers}");
    child.expect(&DESCRIPTORS.to_string());
    child.ends_well();
}
