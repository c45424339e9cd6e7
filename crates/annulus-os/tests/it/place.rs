//! Directories, names, and what may have been planted under them.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use annulus_os::place::facts_of;
use annulus_os::{Access, FileSystem, Kind, Place, sys};

use crate::support::{Folder, with_own_umask};

const LONG: Duration = Duration::from_secs(20);

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn no_umask_changes_a_mode() {
    for mask in [0, 0o022, 0o777] {
        let folder = Folder::new();
        let place = folder.place();
        with_own_umask(mask, || {
            for mode in [0o600, 0o640, 0o660, 0o666] {
                let name = format!("file-{mode:o}");
                let file = place.create_file(&name, mode).unwrap();
                assert_eq!(facts_of(&file).unwrap().mode, mode);
            }
            for mode in [0o700, 0o750, 0o1777] {
                let name = format!("dir-{mode:o}");
                assert_eq!(place.create_at(&name, mode).unwrap().facts().unwrap().mode, mode);
                let path = folder.path().join(format!("path-{mode:o}"));
                assert_eq!(Place::create(&path, mode).unwrap().facts().unwrap().mode, mode);
            }
        });
    }
}

#[test]
fn creating_a_place_that_is_there_opens_it_as_it_is() {
    let folder = Folder::new();
    let path = folder.path().join("dir");
    let made = Place::create(&path, 0o700).unwrap();
    let again = Place::create(&path, 0o755).unwrap();
    assert_eq!(made.facts().unwrap(), again.facts().unwrap());
    assert_eq!(mode_of(&path), 0o700);
    assert_eq!(kind(folder.place().create_at("dir", 0o700)), ErrorKind::AlreadyExists);
    fs::write(folder.path().join("file"), "").unwrap();
    assert_eq!(kind(Place::create(&folder.path().join("file"), 0o700)), ErrorKind::NotADirectory);
    assert_eq!(kind(Place::create(&folder.path().join("no/dir"), 0o700)), ErrorKind::NotFound);
}

#[test]
fn no_symbolic_link_is_followed() {
    let folder = Folder::new();
    let place = folder.place();
    place.create_at("dir", 0o700).unwrap();
    place.create_file("file", 0o600).unwrap();
    let link = |to: &str, name: &str| symlink(to, folder.path().join(name)).unwrap();
    link("dir", "to-dir");
    link("file", "to-file");
    link("nothing", "to-nothing");

    assert_eq!(kind(place.open_at("to-dir")), ErrorKind::NotADirectory);
    // open(2) itself would follow the last two of these.
    for path in ["to-dir", "to-dir/", "to-dir/."] {
        assert_eq!(kind(Place::open(&folder.path().join(path))), ErrorKind::NotADirectory, "{path}");
        assert_eq!(kind(Place::create(&folder.path().join(path), 0o700)), ErrorKind::NotADirectory, "{path}");
    }
    for access in [Access::Read, Access::ReadWrite] {
        assert_eq!(kind(place.open_file("to-file", access)), ErrorKind::InvalidInput);
    }
    assert_eq!(kind(place.create_file("to-nothing", 0o600)), ErrorKind::AlreadyExists);
    assert!(!folder.path().join("nothing").exists());
    assert_eq!(place.facts_at("to-file").unwrap().kind, Kind::Other);
    // Removing takes away the link.
    place.remove_file("to-file").unwrap();
    assert_eq!(place.facts_at("file").unwrap().kind, Kind::File);
}

#[test]
fn only_regular_files_are_opened_and_none_hangs() {
    let folder = Folder::new();
    let place = folder.place();
    let path = CString::new(folder.path().join("fifo").into_os_string().into_encoded_bytes()).unwrap();
    make_fifo(&path);
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    place.create_at("dir", 0o700).unwrap();
    let (done, opened) = mpsc::channel();
    // In a thread, because to open a FIFO without a writer would take for ever.
    std::thread::spawn(move || {
        for name in ["fifo", "socket", "dir", "nothing"] {
            for access in [Access::Read, Access::ReadWrite] {
                let _ = done.send((name, place.open_file(name, access)));
            }
        }
    });
    for _ in 0..8 {
        let (name, result) = opened.recv_timeout(LONG).unwrap();
        let expected = if name == "nothing" { ErrorKind::NotFound } else { ErrorKind::InvalidInput };
        assert_eq!(kind(result), expected, "{name}");
    }
    let devices = Place::open(Path::new("/dev")).unwrap();
    assert_eq!(kind(devices.open_file("null", Access::Read)), ErrorKind::InvalidInput);
}

#[allow(unsafe_code)]
fn make_fifo(path: &CString) {
    // SAFETY: the string is terminated and live.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn a_name_never_leads_out_of_its_directory() {
    let folder = Folder::new();
    let place = folder.place();
    place.create_file("file", 0o600).unwrap();
    for name in ["", ".", "..", "/", "/etc", "a/b", "../a", "file/", "zero\0byte"] {
        for result in [
            place.open_at(name).map(drop),
            place.create_at(name, 0o700).map(drop),
            place.facts_at(name).map(drop),
            place.create_file(name, 0o600).map(drop),
            place.open_file(name, Access::Read).map(drop),
            place.rename("file", name),
            place.rename(name, "file"),
            place.rename_no_replace(name, "other"),
            place.exchange("file", name),
            place.remove_file(name),
            place.remove_dir(name),
        ] {
            assert_eq!(kind(result), ErrorKind::InvalidInput, "{name:?}");
        }
    }
    assert_eq!(place.names().unwrap(), ["file"]);
}

#[test]
fn renames_replace_refuse_or_swap() {
    let folder = Folder::new();
    let place = folder.place();
    let ino = |name: &str| place.facts_at(name).unwrap().ino;
    for name in ["a", "b", "c"] {
        place.create_file(name, 0o600).unwrap();
    }
    let (a, b, c) = (ino("a"), ino("b"), ino("c"));

    assert_eq!(kind(place.rename_no_replace("a", "b")), ErrorKind::AlreadyExists);
    assert_eq!((ino("a"), ino("b")), (a, b));
    place.rename_no_replace("a", "d").unwrap();
    assert_eq!(ino("d"), a);
    assert_eq!(kind(place.facts_at("a")), ErrorKind::NotFound);

    place.exchange("b", "c").unwrap();
    assert_eq!((ino("b"), ino("c")), (c, b));
    assert_eq!(kind(place.exchange("b", "a")), ErrorKind::NotFound);

    place.rename("b", "c").unwrap();
    assert_eq!(ino("c"), c);
    assert_eq!(kind(place.facts_at("b")), ErrorKind::NotFound);

    // Directories too, also those that are not empty: how a new ring gets its name.
    place.create_at("new", 0o700).unwrap().create_file("data", 0o600).unwrap();
    place.create_at("old", 0o700).unwrap().create_file("data", 0o600).unwrap();
    assert_eq!(kind(place.rename_no_replace("new", "old")), ErrorKind::AlreadyExists);
    assert_eq!(kind(place.rename("new", "old")), ErrorKind::DirectoryNotEmpty);
    let new = ino("new");
    place.exchange("new", "old").unwrap();
    assert_eq!(ino("old"), new);
}

#[test]
fn removing_tells_files_from_directories() {
    let folder = Folder::new();
    let place = folder.place();
    let file = place.create_file("file", 0o600).unwrap();
    let dir = place.create_at("dir", 0o700).unwrap();
    assert_eq!(kind(place.remove_dir("file")), ErrorKind::NotADirectory);
    assert_eq!(kind(place.remove_file("dir")), ErrorKind::IsADirectory);
    dir.create_file("inside", 0o600).unwrap();
    assert_eq!(kind(place.remove_dir("dir")), ErrorKind::DirectoryNotEmpty);
    dir.remove_file("inside").unwrap();
    place.remove_dir("dir").unwrap();
    assert_eq!(facts_of(&file).unwrap().links, 1);
    place.remove_file("file").unwrap();
    assert_eq!(facts_of(&file).unwrap().links, 0);
    assert_eq!(dir.facts().unwrap().links, 0);
    assert_eq!(kind(place.remove_file("file")), ErrorKind::NotFound);
}

#[test]
fn facts_are_what_stat_says() {
    let folder = Folder::new();
    let place = folder.place();
    fs::write(folder.path().join("file"), "12345").unwrap();
    let metadata = fs::metadata(folder.path().join("file")).unwrap();
    let facts = place.facts_at("file").unwrap();
    assert_eq!((facts.uid, facts.gid), (metadata.uid(), metadata.gid()));
    assert_eq!(facts.uid, sys::uid());
    assert_eq!(facts.gid, sys::gid());
    assert_eq!((facts.dev, facts.ino), (metadata.dev(), metadata.ino()));
    assert_eq!((facts.size, facts.links, facts.kind), (5, 1, Kind::File));
    assert_eq!(facts, facts_of(&place.open_file("file", Access::Read).unwrap()).unwrap());
    assert_eq!(place.facts().unwrap().kind, Kind::Directory);
}

#[test]
fn a_place_is_the_directory_that_was_opened_and_not_its_path() {
    let folder = Folder::new();
    let outer = folder.place();
    let place = outer.create_at("one", 0o700).unwrap();
    outer.rename("one", "two").unwrap();
    outer.create_at("one", 0o700).unwrap();
    place.create_file("file", 0o600).unwrap();
    assert_eq!(outer.open_at("two").unwrap().names().unwrap(), ["file"]);
    assert!(outer.open_at("one").unwrap().names().unwrap().is_empty());
}

#[test]
fn names_are_listed_again_and_again() {
    let folder = Folder::new();
    let place = folder.place();
    assert!(place.names().unwrap().is_empty());
    // More than one buffer of the kernel's holds.
    let mut wanted: Vec<_> = (0..2000).map(|number| format!("{number:0>30}")).collect();
    for name in &wanted {
        place.create_file(name, 0o600).unwrap();
    }
    fs::write(folder.path().join(OsStr::from_bytes(b"not \xff text")), "").unwrap();
    wanted.push(".hidden".into());
    place.create_at(".hidden", 0o700).unwrap();
    wanted.sort();
    for _ in 0..2 {
        let mut names = place.names().unwrap();
        names.sort();
        assert_eq!(names, wanted);
    }
}

#[test]
fn file_systems_are_told_apart() {
    let kind_of = |path: &str| Place::open(Path::new(path)).unwrap().file_system().unwrap();
    assert_eq!(kind_of("/dev/shm"), FileSystem::Tmpfs);
    assert_eq!(kind_of("/proc"), FileSystem::Other(0x9fa0));
    let space = Place::open(Path::new("/dev/shm")).unwrap().space().unwrap();
    assert!(space.free <= space.total);
}

#[test]
fn a_watch_sees_names_appear_once() {
    let folder = Folder::new();
    let place = folder.place();
    let inner = place.create_at("inner", 0o700).unwrap();
    place.create_file("outside", 0o600).unwrap();
    let watch = inner.watch().unwrap();
    assert!(!watch.wait(Duration::ZERO).unwrap());

    // What happened before the wait is not missed, and many events end one wait.
    for name in ["a", "b", "c"] {
        inner.create_file(name, 0o600).unwrap();
    }
    assert!(watch.wait(LONG).unwrap());
    assert!(!watch.wait(Duration::ZERO).unwrap());

    for change in [
        &|| inner.rename("a", "d").unwrap(),
        &|| drop(inner.create_at("dir", 0o700).unwrap()),
        &|| fs::rename(folder.path().join("outside"), folder.path().join("inner/in")).unwrap(),
        &|| place.rename("inner", "moved").unwrap(),
    ] as [&dyn Fn(); 4]
    {
        change();
        assert!(watch.wait(LONG).unwrap());
        assert!(!watch.wait(Duration::ZERO).unwrap());
    }
    inner.remove_file("d").unwrap();
    inner.open_file("b", Access::ReadWrite).unwrap().set_len(5).unwrap();
    assert!(!watch.wait(Duration::ZERO).unwrap(), "other changes are nobody's business");

    let start = Instant::now();
    assert!(!watch.wait(Duration::from_millis(20)).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_watch_wakes_a_waiter() {
    let folder = Folder::new();
    let place = folder.place();
    let watch = place.watch().unwrap();
    let (done, woken) = mpsc::channel();
    std::thread::spawn(move || done.send(watch.wait(Duration::MAX).unwrap()));
    place.create_at("ring", 0o700).unwrap();
    assert!(woken.recv_timeout(LONG).unwrap());
}

#[test]
fn a_watch_outlives_its_directory_and_tells_of_its_end() {
    let folder = Folder::new();
    let outer = folder.place();
    let place = outer.create_at("dir", 0o700).unwrap();
    let watch = place.watch().unwrap();
    outer.remove_dir("dir").unwrap();
    assert!(!watch.wait(Duration::ZERO).unwrap(), "the kernel waits for the last descriptor");
    assert_eq!(place.facts().unwrap().links, 0);
    drop(place);
    assert!(watch.wait(LONG).unwrap());
}
