//! Rings of huge pages: what works on a hugetlbfs.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::Path;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use annulus_os::lock::{is_write_locked, try_lock};
use annulus_os::place::{facts_of, page_size_of, reserve};
use annulus_os::sys::page_size;
use annulus_os::{Access, FileSystem, LockFile, Mapping, Part, Place};

use crate::support::{End, alone, read, touch, with_mount, write};

/// Longer than anything here takes. Only failures last so long.
const LONG: Duration = Duration::from_secs(20);
const COUNT: &str = "/proc/sys/vm/nr_hugepages";

/// Huge pages that this test alone uses, given back when dropped.
struct Pool {
    before: usize,
    /// The system has one pool. Whoever changes it locks this directory, which all of its processes see; the
    /// lock goes when it is closed. See flock(2).
    _lock: File,
}

impl Pool {
    /// `None`, after saying so, if this user or this machine cannot have `count` pages.
    fn of(count: usize, name: &str) -> Option<Pool> {
        let Ok(lock) = File::open("/sys/kernel/mm/hugepages") else {
            eprintln!("NOT TESTED: huge::{name}: no huge pages here");
            return None;
        };
        // SAFETY: the descriptor is open. Waits for other tests.
        assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
        let pool = Pool { before: pages(COUNT), _lock: lock };
        let set = fs::write(COUNT, (pool.before + count).to_string());
        if set.is_err() || pages(COUNT) < pool.before + count {
            eprintln!("NOT TESTED: huge::{name}: {count} huge pages cannot be had: {set:?}");
            return None;
        }
        // The test before this one may still have some: the kernel takes a mount apart a little after its
        // namespace has ended.
        let start = Instant::now();
        while free() < count {
            assert!(start.elapsed() < LONG, "somebody keeps the huge pages that {name} has asked for");
            std::thread::yield_now();
        }
        Some(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = fs::write(COUNT, self.before.to_string());
    }
}

fn pages(path: &str) -> usize {
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

fn from_meminfo(name: &str) -> usize {
    let info = fs::read_to_string("/proc/meminfo").unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Huge pages that nobody has, nor has set aside.
fn free() -> usize {
    from_meminfo("HugePages_Free:") - from_meminfo("HugePages_Rsvd:")
}

/// Runs `work` with `count` huge pages of the default size, and a hugetlbfs that may use `limit` of them. Nobody
/// forks meanwhile but `work`: a copy of a descriptor in a child keeps the pages of its file.
fn with_huge_pages(
    _alone: &MutexGuard<'_, ()>,
    name: &str,
    count: usize,
    limit: usize,
    work: impl FnOnce(&Path, usize) + Send,
) {
    let huge = from_meminfo("Hugepagesize:") * 1024;
    let Some(_pool) = Pool::of(count, name) else { return };
    if !with_mount("hugetlbfs", &format!("size={}", limit * huge), |path| work(path, huge)) {
        eprintln!("NOT TESTED: huge::{name}: no right to mount a hugetlbfs");
    }
}

/// Lines of /proc/self/maps about files of that name.
fn lines_about(name: &str) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(name)).count()
}

#[test]
fn a_mirror_of_huge_pages_is_one() {
    let alone = alone();
    with_huge_pages(&alone, "a_mirror_of_huge_pages_is_one", 4, 4, |path, huge| {
        let place = Place::open(path).unwrap();
        assert_eq!(place.file_system().unwrap(), FileSystem::Hugetlbfs);
        let file = place.create_file("mirror-of-huge-pages", 0o600).unwrap();
        assert_eq!(page_size_of(&file).unwrap(), huge);
        reserve(&file, 4 * huge as u64).unwrap();
        assert_eq!(facts_of(&file).unwrap().size, 4 * huge as u64);

        let (page, at) = (page_size() as isize, |map: &Mapping| map.base().as_ptr().addr());
        for (offset, head, body) in [(0, huge, 3 * huge), (0, 0, huge), (1, huge, 2 * huge)] {
            let offset = offset * huge as u64;
            let map = Mapping::mirrored_at(&file, offset, head, body, Access::ReadWrite).unwrap();
            assert_eq!(map.len(), head + 2 * body);
            assert!(at(&map).is_multiple_of(huge));
            map.prefault().unwrap();
            // Once over the end of the body, and back.
            for step in 0..100 {
                write(&map, head + body - 50 + step, step as u8 + 1);
            }
            for step in 0..50 {
                assert_eq!(read(&map, head + step), step as u8 + 51);
                assert_eq!(read(&map, head + 2 * body - 50 + step), step as u8 + 1);
            }
            let part = Mapping::plain_at(&file, offset + head as u64, body, Access::Read).unwrap();
            assert_eq!((read(&part, 0), read(&part, body - 1)), (51, 50));

            let len = map.len() as isize;
            for inside in [0, len / 2, len - 1] {
                assert_eq!(touch(&alone, &map, inside, true), End::Exit(0));
            }
            for outside in [-1, -page, len, len + page - 1] {
                for store in [false, true] {
                    assert_eq!(touch(&alone, &map, outside, store), End::Signal(libc::SIGSEGV), "{outside}");
                }
            }
            assert_eq!(touch(&alone, &part, 0, false), End::Exit(0));
            assert_eq!(touch(&alone, &part, 0, true), End::Signal(libc::SIGSEGV));
            assert_eq!(touch(&alone, &part, -1, false), End::Signal(libc::SIGSEGV));
        }
        assert_eq!(lines_about("mirror-of-huge-pages"), 0, "dropping unmaps");

        // A larger alignment, and one that says less than the file does.
        for align in [1, huge, 4 * huge] {
            let part = Part::plain(huge).at(2 * huge as u64).aligned(align);
            let map = Mapping::new(&file, part, Access::ReadWrite).unwrap();
            assert!((at(&map) - 2 * huge).is_multiple_of(align.max(huge)));
            map.bind_to_node(0).unwrap();
            // Some kernels refuse: the pages are huge already.
            if let Err(error) = map.advise_huge() {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
            }
        }
        Mapping::plain(&file, huge, Access::ReadWrite).unwrap().lock().unwrap();

        let small = page_size();
        let kind = |head, body| Mapping::mirrored(&file, head, body, Access::Read).unwrap_err().kind();
        for (head, body) in [(small, huge), (huge, small), (0, huge + small), (0, 0)] {
            assert_eq!(kind(head, body), ErrorKind::InvalidInput, "{head} {body}");
        }
        let shifted = Mapping::plain_at(&file, small as u64, huge, Access::Read).unwrap_err();
        assert_eq!(shifted.kind(), ErrorKind::InvalidInput);
        assert_eq!(kind(huge, 4 * huge), ErrorKind::UnexpectedEof);
        assert_eq!(lines_about("mirror-of-huge-pages"), 0, "failing leaves nothing");
    });
}

#[test]
fn too_few_huge_pages_are_an_error_now_and_no_signal_later() {
    let alone = alone();
    with_huge_pages(&alone, "too_few_huge_pages_are_an_error_now_and_no_signal_later", 4, 3, |path, huge| {
        let place = Place::open(path).unwrap();
        let bytes = |count: usize| (count * huge) as u64;
        let space = place.space().unwrap();
        assert_eq!((space.total, space.free), (bytes(3), bytes(3)));

        // More than this file system may have, although the machine has it.
        let file = place.create_file("limit", 0o600).unwrap();
        assert_eq!(reserve(&file, bytes(4)).unwrap_err().kind(), ErrorKind::StorageFull);
        drop(file);
        place.remove_file("limit").unwrap();
        assert_eq!(place.space().unwrap().free, bytes(3), "what was reserved in part is given back");

        // All of it; then there is none for another, however short.
        let file = place.create_file("all", 0o600).unwrap();
        reserve(&file, bytes(3)).unwrap();
        let other = place.create_file("other", 0o600).unwrap();
        assert_eq!(reserve(&other, 1).unwrap_err().kind(), ErrorKind::StorageFull);
        // Mapping what is reserved needs no page more, not even for the second copy.
        let map = Mapping::mirrored(&file, huge, 2 * huge, Access::ReadWrite).unwrap();
        map.prefault().unwrap();
        // A hole is refused when it is mapped, and not when it is touched.
        other.set_len(bytes(1)).unwrap();
        let hole = Mapping::plain(&other, huge, Access::ReadWrite).unwrap_err();
        assert_eq!(hole.kind(), ErrorKind::OutOfMemory);
        assert_eq!(lines_about("/other"), 0);
    });
    with_huge_pages(
        &alone,
        "too_few_huge_pages_are_an_error_now_and_no_signal_later",
        2,
        1 << 20,
        |path, huge| {
            let place = Place::open(path).unwrap();
            // More than the machine has, although this file system may have it.
            let file = place.create_file("pool", 0o600).unwrap();
            let many = (1 << 20) * huge as u64;
            assert_eq!(reserve(&file, many).unwrap_err().kind(), ErrorKind::StorageFull);
            drop(file);
            place.remove_file("pool").unwrap();
            assert!(free() >= 2, "what was reserved in part is given back");
            // Nor can a hole that is larger be mapped; what is free would do for its beginning.
            let file = place.create_file("hole", 0o600).unwrap();
            file.set_len(many).unwrap();
            let hole = Mapping::mirrored(&file, huge, many as usize - huge, Access::ReadWrite).unwrap_err();
            assert_eq!(hole.kind(), ErrorKind::OutOfMemory);
            assert_eq!(
                (lines_about("/hole"), lines_about("annulus-guards")),
                (0, 0),
                "failing leaves nothing"
            );
            drop(file);
            place.remove_file("hole").unwrap();
            // What is mapped is set aside: nobody else gets it, and no access fails.
            let file = place.create_file("aside", 0o600).unwrap();
            file.set_len(2 * huge as u64).unwrap();
            let before = free();
            let map = Mapping::mirrored(&file, huge, huge, Access::ReadWrite).unwrap();
            assert_eq!(before - free(), 2);
            write(&map, 0, 1);
            write(&map, 2 * huge, 2);
            assert_eq!(read(&map, huge), 2);
        },
    );
}

#[test]
fn a_directory_of_huge_pages_does_what_rings_need_of_it() {
    let alone = alone();
    with_huge_pages(&alone, "a_directory_of_huge_pages_does_what_rings_need_of_it", 2, 2, |path, huge| {
        let place = Place::open(path).unwrap();
        let watch = place.watch().unwrap();
        assert!(!watch.wait(Duration::ZERO).unwrap());
        let made = place.create_at("new", 0o750).unwrap();
        assert_eq!(made.facts().unwrap().mode, 0o750);
        assert!(watch.wait(LONG).unwrap());

        let data = made.create_file("data", 0o640).unwrap();
        assert_eq!(facts_of(&data).unwrap().mode, 0o640);
        // A reservation of less than a huge page takes one, and the length is what was asked for.
        reserve(&data, 4096).unwrap();
        assert_eq!(facts_of(&data).unwrap().size, 4096);
        let error = Mapping::plain(&data, huge, Access::Read).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        reserve(&data, huge as u64).unwrap();
        Mapping::plain(&data, huge, Access::ReadWrite).unwrap();

        // Taking a name, swapping two, removing both.
        place.rename_no_replace("new", "ring").unwrap();
        assert!(watch.wait(LONG).unwrap());
        place.create_at("new", 0o700).unwrap().create_file("data", 0o600).unwrap();
        let taken = place.rename_no_replace("new", "ring").unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        let ino = |name: &str| place.facts_at(name).unwrap().ino;
        let (old, new) = (ino("ring"), ino("new"));
        place.exchange("new", "ring").unwrap();
        assert_eq!((ino("ring"), ino("new")), (new, old));
        assert_eq!(place.remove_dir("new").unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        made.remove_file("data").unwrap();
        place.remove_dir("new").unwrap();
        assert_eq!(place.names().unwrap(), ["ring"]);
        assert_eq!(facts_of(&data).unwrap().links, 0);

        // Locks, also beyond the end; and only its lock does an empty file need.
        let ring = place.open_at("ring").unwrap();
        let [first, second] =
            [(); 2].map(|()| LockFile::open(|| ring.open_file("data", Access::ReadWrite)).unwrap());
        assert!(try_lock(&first, 7).unwrap());
        assert!(!try_lock(&second, 7).unwrap() && is_write_locked(second.file().unwrap(), 7).unwrap());
        drop(first);
        assert!(try_lock(&second, 7).unwrap());

        // What does not work: write(2), and lengths that are no huge pages.
        assert_eq!((&data).write(b"x").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(second.file().unwrap().set_len(4096).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_memfd_of_huge_pages_is_mapped_like_any_file_of_them() {
    let _alone = alone();
    let name = "a_memfd_of_huge_pages_is_mapped_like_any_file_of_them";
    let Some(_pool) = Pool::of(2, name) else { return };
    // SAFETY: the name is terminated; what memfd_create returns is a descriptor, and ours alone.
    let file = unsafe {
        let fd = libc::memfd_create(c"huge".as_ptr(), libc::MFD_HUGETLB | libc::MFD_CLOEXEC);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        File::from_raw_fd(fd)
    };
    let huge = page_size_of(&file).unwrap();
    assert!(huge > page_size());
    reserve(&file, 2 * huge as u64).unwrap();
    let map = Mapping::mirrored(&file, huge, huge, Access::ReadWrite).unwrap();
    write(&map, huge + 5, 6);
    assert_eq!(read(&map, 2 * huge + 5), 6);
}
