//! Reservation, seals, and objects that others made.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use annulus_os::place::{anonymous, facts_of, is_sealed, reserve, seal, seals, shared_memory_object};
use annulus_os::sys::page_size;
use annulus_os::{Access, FileSystem, Kind, Mapping, Place, Seal};

use crate::support::{Folder, again_as_root, read, under_signals, with_mount, with_small_tmpfs, write};

/// The same object through another door.
fn reopened(file: &File, write: bool) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(write).open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[test]
fn a_full_tmpfs_is_an_error_now_and_no_signal_later() {
    let tested = with_small_tmpfs(1 << 20, |path| {
        let place = Place::open(path).unwrap();
        assert_eq!(place.file_system().unwrap(), FileSystem::Tmpfs);
        assert_eq!(place.space().unwrap().total, 1 << 20);
        let file = place.create_file("data", 0o600).unwrap();
        assert_eq!(reserve(&file, 2 << 20).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(reserve(&file, 1 << 60).unwrap_err().kind(), ErrorKind::StorageFull);
        drop(file);
        place.remove_file("data").unwrap();

        // Half of it is taken at once, although no byte is written.
        let file = place.create_file("data", 0o600).unwrap();
        reserve(&file, 1 << 19).unwrap();
        assert_eq!(facts_of(&file).unwrap().size, 1 << 19);
        assert!(place.space().unwrap().free <= 1 << 19);
        let other = place.create_file("other", 0o600).unwrap();
        assert_eq!(reserve(&other, (1 << 19) + 1).unwrap_err().kind(), ErrorKind::StorageFull);
    });
    if !tested {
        let name = "object::a_full_tmpfs_is_an_error_now_and_no_signal_later";
        assert_ne!(again_as_root(name), Some(false));
    }
}

#[test]
fn reserving_keeps_what_is_there_and_never_shortens() {
    let folder = Folder::new();
    let mut file = folder.place().create_file("data", 0o600).unwrap();
    file.write_all(b"kept").unwrap();
    reserve(&file, 10_000).unwrap();
    assert_eq!(facts_of(&file).unwrap().size, 10_000);
    reserve(&file, 1).unwrap();
    assert_eq!(facts_of(&file).unwrap().size, 10_000);
    let mut bytes = Vec::new();
    reopened(&file, false).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(&bytes[..5], b"kept\0");

    for len in [0, i64::MAX.unsigned_abs() + 1, u64::MAX] {
        assert_eq!(reserve(&file, len).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn reserving_ends_although_signals_come() {
    // Each attempt at the whole takes longer than there is between two signals, and is undone.
    let file = under_signals(Duration::from_millis(2), || anonymous("signals", 128 << 20)).unwrap();
    assert_eq!(facts_of(&file).unwrap().size, 128 << 20);
    assert_eq!(
        fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap().blocks(),
        (128 << 20) / 512
    );
}

#[test]
fn an_anonymous_file_is_reserved_and_closed_on_exec() {
    let file = anonymous("some name", 123_456).unwrap();
    let facts = facts_of(&file).unwrap();
    assert_eq!((facts.size, facts.kind, facts.links), (123_456, Kind::File, 0));
    let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    assert!(link.to_str().unwrap().contains("memfd:some name"));
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    assert_ne!(i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_CLOEXEC, 0);
    assert_eq!(anonymous("zero\0byte", 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(anonymous(&"x".repeat(250), 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(anonymous("", 0).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_file_whose_size_is_sealed_can_be_written_but_not_resized() {
    let file = anonymous("size", 8192).unwrap();
    assert!(!is_sealed(&file, Seal::Size).unwrap());
    seal(&file, Seal::Size).unwrap();
    assert!(is_sealed(&file, Seal::Size).unwrap());
    assert!(!is_sealed(&file, Seal::SizeAndFutureWrite).unwrap());
    for len in [0, 4096, 16_384] {
        assert_eq!(file.set_len(len).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    // Closed for good: also to the one who sealed it.
    let again = seal(&file, Seal::SizeAndFutureWrite).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::PermissionDenied);
    Mapping::plain(&file, page_size(), Access::ReadWrite).unwrap().prefault().unwrap();
    (&file).write_all(b"fine").unwrap();
}

#[test]
fn a_sealed_file_is_written_by_those_who_had_mapped_it_before_and_nobody_else() {
    let len = page_size();
    let file = anonymous("future", len as u64).unwrap();
    let writer = Mapping::plain(&file, len, Access::ReadWrite).unwrap();
    seal(&file, Seal::SizeAndFutureWrite).unwrap();
    assert!(is_sealed(&file, Seal::Size).unwrap() && is_sealed(&file, Seal::SizeAndFutureWrite).unwrap());
    let bits = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL | libc::F_SEAL_FUTURE_WRITE;
    assert_eq!(seals(&file).unwrap() & bits.unsigned_abs(), bits.unsigned_abs());
    writer.prefault().unwrap();

    let again = reopened(&file, true).unwrap();
    for file in [&file, &again] {
        let plain = Mapping::plain(file, len, Access::ReadWrite);
        let mirrored = Mapping::mirrored(file, 0, len, Access::ReadWrite);
        for refused in [plain, mirrored] {
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
        }
        let mut writer = file;
        assert_eq!(writer.write_all(b"no").unwrap_err().raw_os_error(), Some(libc::EPERM));
        Mapping::plain(file, len, Access::Read).unwrap().prefault().unwrap();
        Mapping::mirrored(file, 0, len, Access::Read).unwrap().prefault().unwrap();
    }
}

#[test]
fn without_a_seal_a_descriptor_for_reading_protects_nothing() {
    let file = anonymous("open", 4096).unwrap();
    let reader = reopened(&file, false).unwrap();
    let mut writer = reopened(&reader, true).unwrap();
    writer.write_all(b"so it is written anyway").unwrap();
}

#[test]
fn a_ramfs_maps_but_cannot_reserve() {
    let tested = with_mount("ramfs", "", |path| {
        let place = Place::open(path).unwrap();
        assert_eq!(place.file_system().unwrap(), FileSystem::Ramfs);
        let file = place.create_file("data", 0o600).unwrap();
        assert_eq!(reserve(&file, 4096).unwrap_err().kind(), ErrorKind::Unsupported);
        let len = page_size();
        file.set_len(2 * len as u64).unwrap();
        let map = Mapping::mirrored(&file, len, len, Access::ReadWrite).unwrap();
        map.prefault().unwrap();
        write(&map, len, 7);
        assert_eq!(read(&map, 2 * len), 7);
    });
    if !tested {
        assert_ne!(again_as_root("object::a_ramfs_maps_but_cannot_reserve"), Some(false));
    }
}

/// A name in /dev/shm that is nobody else's, and goes away with the test.
struct Name(String);

impl Name {
    fn new(what: &str) -> Name {
        Name(format!("annulus-os-test-{}-{what}", std::process::id()))
    }

    fn path(&self) -> std::path::PathBuf {
        std::path::Path::new("/dev/shm").join(&self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

#[test]
fn a_shared_memory_object_is_opened_by_its_id() {
    let name = Name::new("object");
    let id = CString::new(format!("/{}", name.0)).unwrap();
    // SAFETY: the id is terminated; what shm_open returns is a descriptor, and ours alone.
    let made = unsafe {
        let fd = libc::shm_open(id.as_ptr(), libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, 0o600);
        assert!(fd >= 0);
        File::from_raw_fd(fd)
    };
    let len = page_size();
    reserve(&made, len as u64).unwrap();
    let first = Mapping::plain(&made, len, Access::ReadWrite).unwrap();
    for id in [format!("/{}", name.0), name.0.clone()] {
        let again = shared_memory_object(&id, Access::ReadWrite).unwrap();
        assert_eq!(facts_of(&again).unwrap(), facts_of(&made).unwrap());
        write(&first, 1, 11);
        let map = Mapping::plain(&again, len, Access::ReadWrite).unwrap();
        assert_eq!(read(&map, 1), 11);
        write(&map, 2, 12);
        assert_eq!(read(&first, 2), 12);

        let reader = shared_memory_object(&id, Access::Read).unwrap();
        let refused = Mapping::plain(&reader, len, Access::ReadWrite).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        assert_eq!(read(&Mapping::plain(&reader, len, Access::Read).unwrap(), 2), 12);
    }

    let kind = |id: &str| shared_memory_object(id, Access::ReadWrite).unwrap_err().kind();
    let bad = ["", "/", "//", ".", "..", "/.", "/..", "a\0b", "/../shm"];
    for id in bad.map(str::to_owned).into_iter().chain([format!("//{}", name.0), format!("/shm/{}", name.0)])
    {
        assert_eq!(kind(&id), ErrorKind::InvalidInput, "{id:?}");
    }
    assert_eq!(kind(&format!("{}/", name.0)), ErrorKind::InvalidInput);
    drop(name);
    assert_eq!(kind(&Name::new("object").0), ErrorKind::NotFound);
}

#[test]
fn what_was_planted_under_an_id_is_not_opened() {
    let (target, link, folder) = (Name::new("target"), Name::new("link"), Folder::new());
    fs::write(target.path(), "secret").unwrap();
    std::os::unix::fs::symlink(target.path(), link.path()).unwrap();
    for access in [Access::Read, Access::ReadWrite] {
        let kind = |id: &str| shared_memory_object(id, access).unwrap_err().kind();
        assert_eq!(kind(&format!("/{}", link.0)), ErrorKind::InvalidInput);
        assert_eq!(kind(folder.path().file_name().unwrap().to_str().unwrap()), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_plain_file_is_not_sealed() {
    let folder = Folder::new();
    let file = folder.place().create_file("data", 0o600).unwrap();
    assert!(!is_sealed(&file, Seal::Size).unwrap());
    assert!(seal(&file, Seal::Size).is_err());
    assert!(!is_sealed(&File::open("/proc/self/stat").unwrap(), Seal::Size).unwrap());
}
