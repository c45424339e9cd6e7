//! What a ring does when something runs out, is refused, or is not there: room, files, descriptors, addresses, locks,
//! system calls, `/proc`; and that it gives everything back.
#![allow(unsafe_code)]

mod given_back;
mod idle;
mod last_look;
mod limited;
mod no_room;
mod one_line;
mod other_clock;
mod read_only;
mod refused;

use std::ffi::{CStr, CString};
use std::fs;
use std::path::Path;

use super::child::Child;
use crate::support::Dir;

/// What is inherited besides the usual three descriptors, whoever has started the tests, is closed: some of these roles count.
fn close_inherited() {
    // SAFETY: at its beginning a role's process uses none but those three.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}

/// What this process does in a role of these tests: the first word says which, the second where.
pub(super) fn role(words: &[&str]) {
    let (dir, rest) = (words[1], &words[2..]);
    close_inherited();
    match words[0] {
        "race" => {
            mount(dir, c"size=1m,mode=0700");
            super::roles::race(dir, "r");
        }
        "two-creators" => no_room::two_creators(dir),
        "takeover-without-room" => no_room::takeover(dir),
        "takeover-without-files" => no_room::takeover_without_files(dir),
        "hold-ring" => no_room::hold_ring(dir),
        "sixteen-descriptors" => limited::sixteen_descriptors(dir),
        "descriptors-of-each" => limited::descriptors_of_each(dir),
        "few-addresses" => limited::few_addresses(dir),
        "short-files" => limited::short_files(dir),
        "cycles" => given_back::cycles(dir),
        "refused" => refused::in_a_sandbox(dir, rest),
        "no-proc" => refused::without_proc(dir),
        "no-fence" => refused::without_fences(dir),
        "last-look" => last_look::wait(dir, rest[0]),
        "one-line" => one_line::send(dir, rest[0] == "two-chunks"),
        "read-only" => read_only::follow(dir, rest[0].parse().unwrap()),
        "another-clock" => other_clock::move_ahead(dir),
        "days-ahead" => other_clock::echo(dir, rest[0].parse().unwrap()),
        other => panic!("no role {other}"),
    }
}

/// Runs a role of these tests to its good end.
#[track_caller]
fn run(role: &str, dir: &Dir, words: &[&str]) {
    let mut child = Child::start("resources", &[&[role, dir.text()], words].concat());
    // Heard first: a child whose input is closed before it has begun ends well and has done nothing.
    child.expect("done");
    child.ends_well();
}

/// Mounts of this process's own.
fn private_mounts() {
    let null = std::ptr::null();
    // SAFETY: the string is terminated; null is allowed where the flags say that nothing is read.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
        let private = libc::MS_REC | libc::MS_PRIVATE;
        assert_eq!(libc::mount(null, c"/".as_ptr(), null, private, null.cast()), 0);
    }
}

/// A tmpfs in the place of `dir`, for this process only.
pub(super) fn mount(dir: &str, options: &CStr) {
    private_mounts();
    let target = CString::new(dir).unwrap();
    let tmpfs = c"tmpfs".as_ptr();
    // SAFETY: the strings are terminated and live.
    let mounted = unsafe { libc::mount(tmpfs, target.as_ptr(), tmpfs, 0, options.as_ptr().cast()) };
    assert_eq!(mounted, 0);
}

/// Free blocks and free inodes of the file system there.
fn free(dir: &str) -> (u64, u64) {
    let path = CString::new(dir).unwrap();
    // SAFETY: all-zero is a value of this struct of integers, which the kernel fills in; the path is terminated.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        assert_eq!(libc::statvfs(path.as_ptr(), &raw mut stat), 0);
        stat
    };
    (stat.f_bfree, stat.f_ffree)
}

/// A soft limit of this process.
fn limit(resource: libc::__rlimit_resource_t, soft: u64) {
    // SAFETY: reads and sets a limit of this process with one struct of our own.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        assert_eq!(libc::getrlimit(resource, &raw mut limit), 0);
        limit.rlim_cur = soft.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(resource, &raw const limit), 0);
    }
}

/// How many descriptors this process has open, the one of the listing left out.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// How many mappings this process has.
fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// Fills the file system up to its last page.
fn fill(dir: &str) {
    let ballast = Path::new(dir).join(".ballast");
    assert!(fs::write(ballast, vec![0; 2 << 20]).is_err(), "there is room for more");
    assert_eq!(free(dir).0, 0);
}
