//! Where a ring's memory is: locked, and on huge pages. What is set for the whole machine is set in one test, and set
//! back.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::chown;
use std::path::Path;

use annulus::{Error, ErrorKind, HugePages, Ring, Start};

use super::child::{Child, say};
use crate::copiers::KINDS;
use crate::support::{Dir, entries, helpful, in_time, may_do_all, no_forks, until};

const NOBODY: u32 = 65_534;

/// Case: `RLIMIT_MEMLOCK` of 0 with locking asked for, and without. A user that may lock no memory at all, and one that may lock a little.
#[test]
fn locking_more_than_is_allowed() {
    if !may_do_all() {
        return;
    }
    let dir = Dir::new();
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut child = Child::start("locked", &[dir.text()]);
    child.expect("done");
    child.ends_well();
    assert!(dir.entries().is_empty());
}

/// Runs as a user without privileges.
pub(super) fn locked(dir: &str) {
    let limit = |bytes: u64| {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: 1 << 20 };
        // SAFETY: sets a limit of this process from one struct of our own.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }, 0);
    };
    limit(0);
    // SAFETY: these change this process's ids only; groups first, while it still may.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(NOBODY, NOBODY, NOBODY), 0);
        assert_eq!(libc::setresuid(NOBODY, NOBODY, NOBODY), 0);
    }
    let create = || Ring::create("r").dir(dir).capacity(1 << 20);
    let refused = |error: Error| {
        let ErrorKind::MemoryLimit { needed } = error.kind() else { panic!("{error}") };
        // Its head, and its records twice.
        assert!((16_384..4 << 20).contains(needed), "{needed}");
        assert!(error.to_string().contains("; raise RLIMIT_MEMLOCK"), "{error}");
        helpful(&error);
    };
    let mut tx = create().producer().unwrap();
    let open = || Ring::open("r").dir(dir);
    for bytes in [0, 65_536] {
        limit(bytes);
        refused(Ring::create("s").dir(dir).capacity(1 << 20).lock_memory().producer().unwrap_err());
        refused(open().lock_memory().subscribe().unwrap_err());
        refused(open().lock_memory().subscribe_copying().unwrap_err());
        refused(open().lock_memory().observe().unwrap_err());
        assert_eq!(entries(Path::new(dir)), ["r"]);
        assert!(open().info().unwrap().subscribers.is_empty(), "no place is kept by one that was refused");
    }
    let rx = open().subscribe().unwrap();
    tx.send(b"unlocked").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"unlocked");
    drop(tx);
    // What is allowed is locked, and given back.
    limit(1 << 20);
    let locked = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap()
    };
    assert_eq!(locked(), 0);
    let tx = Ring::create("t").dir(dir).capacity(65_536).max_subscribers(4).lock_memory().producer().unwrap();
    assert!(locked() >= 2 * 64 + 16, "{}", locked());
    let rx = Ring::open("t").dir(dir).lock_memory().observe().unwrap();
    assert!(locked() >= 2 * (2 * 64 + 16));
    drop((tx, rx));
    assert_eq!(locked(), 0);
    say("done");
}

const PAGES: &str = "/proc/sys/vm/nr_hugepages";
const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// What a setting of the machine was, set back when dropped.
struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    /// `None`, after saying so, if it is not there or cannot be set.
    fn set(path: &'static str, value: &str) -> Option<Setting> {
        let before = fs::read_to_string(path).ok();
        let before = before.filter(|_| fs::write(path, value).is_ok());
        if before.is_none() {
            eprintln!("NOT TESTED: {path} cannot be set");
        }
        let before = before?;
        // One of several words, in brackets, or a number.
        let chosen = before.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let before = chosen.map_or(before.trim(), |(chosen, _)| chosen).to_owned();
        Some(Setting { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::write(self.path, &self.before);
    }
}

fn from_meminfo(name: &str) -> usize {
    let info = fs::read_to_string("/proc/meminfo").unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Huge pages, transparent and reserved.
#[test]
fn huge_pages() {
    if !may_do_all() {
        return;
    }
    let Ok(lock) = File::open("/sys/kernel/mm/hugepages") else {
        return eprintln!("NOT TESTED: no huge pages here");
    };
    // Whoever changes these settings locks this directory, which all processes see. See flock(2).
    // SAFETY: the descriptor is open. Waits for other tests.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
    transparent();
    reserved();
}

fn transparent() {
    let dir = Dir::new();
    let create = || dir.create("r").capacity(4 << 20).huge_pages(HugePages::Transparent);
    if let Some(_never) = Setting::set(TRANSPARENT, "never") {
        let error = create().producer().unwrap_err();
        let ErrorKind::NoHugePages { path, why } = error.kind() else { panic!("{error}") };
        assert!(path == dir.path() && why.contains("shmem_enabled"), "{why}");
        helpful(&error);
        assert!(dir.entries().is_empty());
    }
    if let Some(_advise) = Setting::set(TRANSPARENT, "advise") {
        let _alone = no_forks();
        for round in 0..2 {
            let mut tx = create().persistent(true).producer().unwrap();
            assert_eq!((tx.capacity(), tx.max_len()), (4 << 20, (4 << 20) - 72));
            let rx = dir.open("r").subscribe().unwrap();
            let mut copiers = KINDS.map(|kind| kind.open(dir.open("r")));
            let record = vec![7; 1_000_000];
            for _ in 0..10 {
                tx.send(&record).unwrap();
                assert!(*rx.recv().unwrap() == *record);
                for rx in &mut copiers {
                    let mut buf = Vec::new();
                    rx.recv_into(&mut buf).unwrap();
                    assert!(buf == record);
                }
            }
            drop((tx, rx));
            let again = dir.open_or_create("r").huge_pages(HugePages::Transparent);
            let tx = if round == 0 { again.capacity(4 << 20).producer() } else { dir.open("r").producer() };
            assert_eq!(tx.unwrap().sequence(), 10);
            dir.open("r").remove().unwrap();
        }
    }
}

/// On a hugetlbfs that only one process sees, of which a ring may have less than the machine.
fn reserved() {
    let before: usize = fs::read_to_string(PAGES).unwrap().trim().parse().unwrap();
    let Some(_pages) = Setting::set(PAGES, &(before + 8).to_string()) else { return };
    if fs::read_to_string(PAGES).unwrap().trim() != (before + 8).to_string() {
        return eprintln!("NOT TESTED: so many huge pages cannot be had");
    }
    // A mount that is gone gives its pages back a little later.
    until("the pages are free", || from_meminfo("HugePages_Free:") - from_meminfo("HugePages_Rsvd:") >= 8);
    let dir = Dir::new();
    in_time(move || {
        let mut child = Child::start("on-huge-pages", &[dir.text()]);
        child.expect("done");
        child.ends_well();
    });
}

/// Runs with mounts of its own.
pub(super) fn on_huge_pages(dir: &str) {
    let huge = from_meminfo("Hugepagesize:") * 1024;
    let target = CString::new(dir).unwrap();
    let options = CString::new(format!("size={},mode=0700", 7 * huge)).unwrap();
    let null = std::ptr::null();
    // SAFETY: the strings are terminated and live; null is allowed where the flags say that nothing is read.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
        let private = libc::MS_REC | libc::MS_PRIVATE;
        assert_eq!(libc::mount(null, c"/".as_ptr(), null, private, null.cast()), 0);
        let hugetlbfs = c"hugetlbfs".as_ptr();
        assert_eq!(libc::mount(hugetlbfs, target.as_ptr(), hugetlbfs, 0, options.as_ptr().cast()), 0);
    }
    let create = |name: &str| Ring::create(name).dir(dir).max_subscribers(8);
    let open = || Ring::open("r").dir(dir);
    // Not by mistake, and not more than there are.
    let error = create("r").producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WrongFileSystem { .. }), "{error}");
    let error = create("r").capacity(8 * huge).huge_pages(HugePages::Reserved).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSpace { .. }), "{error}");
    helpful(&error);
    assert!(entries(Path::new(dir)).is_empty());
    // One page for the head, one for the records, one for what subscribers write.
    let ring = || create("r").capacity(5000).persistent(true).huge_pages(HugePages::Reserved);
    let mut tx = ring().producer().unwrap();
    assert_eq!(tx.capacity(), huge);
    let rx = open().subscribe().unwrap();
    let mut copiers = KINDS.map(|kind| kind.open(open()));
    let mut buf = Vec::new();
    for n in 0..20_u8 {
        let record = vec![n; huge / 5];
        tx.send(&record).unwrap();
        assert!(*rx.recv().unwrap() == *record);
        for rx in &mut copiers {
            rx.recv_into(&mut buf).unwrap();
            assert!(buf == record);
        }
    }
    // A second one of the same size does not fit any more beside a third.
    let second = create("s").huge_pages(HugePages::Reserved).producer().unwrap();
    let error = create("t").huge_pages(HugePages::Reserved).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSpace { .. }), "{error}");
    assert_eq!(entries(Path::new(dir)), ["r", "s"]);
    drop(second);
    let info = open().info().unwrap();
    assert_eq!((info.capacity, info.published, info.subscribers.len()), (huge as u64, 20, 2));
    drop(tx);
    // The next producer, asking as the first did, or for nothing.
    let again = Ring::open_or_create("r").dir(dir).capacity(5000).huge_pages(HugePages::Reserved);
    let mut tx = again.producer().unwrap();
    assert_eq!(tx.sequence(), 20);
    tx.send(b"on").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"on");
    drop(tx);
    let mut late = open().start(Start::Last(1)).observe().unwrap();
    assert_eq!(late.recv_into(&mut buf).unwrap().sequence, 20);
    let tx = open().producer().expect("who opens what is there need not say of what it is made");
    assert_eq!(tx.sequence(), 21);
    drop(tx);
    drop((rx, copiers, late));
    open().remove().unwrap();
    assert!(entries(Path::new(dir)).is_empty());
    say("done");
}
