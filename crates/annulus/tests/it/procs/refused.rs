//! What the kernel refuses to who has only the permissions of a role: an observer can write nothing at all, and a
//! subscriber nothing but `ctl`.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use annulus::{RecvError, Ring, Start};

use super::child::{Child, listen, say};
use super::scribbler::{errno, map};
use crate::support::{Dir, in_time, may_do_all};

const NOBODY: u32 = 65534;

/// Promise: an observer would like to write, or a subscriber to write `data`: the kernel refuses, by the modes of the
/// files alone, which are 0644 for `data`, and for `ctl` 0600, or 0666 where strangers subscribe.
#[test]
fn by_the_modes_of_the_files() {
    if !may_do_all() {
        return;
    }
    in_time(|| {
        for (ctl_mode, subscribes) in [(0o600, false), (0o666, true)] {
            let dir = Dir::new();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let ring = dir.create("r").capacity(4096).permissions(0o644, ctl_mode);
            let mut tx = ring.liveness(Duration::from_millis(50)).producer().unwrap();
            tx.send(b"before").unwrap();
            let bytes = |file| fs::read(dir.file("r", file)).unwrap();
            let before = ["data", "owner", "life.1"].map(bytes);
            let mut stranger = Child::start("write-what-is-not-ours", &[dir.text(), &subscribes.to_string()]);
            stranger.expect("refused everywhere");
            assert!(before == ["data", "owner", "life.1"].map(bytes), "a byte has changed");
            // And it reads along, as it may.
            tx.send(b"after").unwrap();
            drop(tx);
            stranger.tell("go");
            stranger.expect("read all");
            stranger.ends_well();
        }
    });
}

/// The role.
pub(super) fn write_what_is_not_ours(dir: &str, subscribes: bool) {
    // SAFETY: these change this process's ids only; groups first, while it still may.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(NOBODY, NOBODY, NOBODY), 0);
        assert_eq!(libc::setresuid(NOBODY, NOBODY, NOBODY), 0);
    }
    let ring = Path::new(dir).join("r");
    for (name, readable) in [("data", true), ("life.1", true), ("owner", false), ("ctl", false)] {
        if name == "ctl" && subscribes {
            continue;
        }
        let path = ring.join(name);
        for wish in [OpenOptions::new().write(true), OpenOptions::new().read(true).write(true)] {
            let error = wish.open(&path).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{name}");
        }
        let text = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: terminated strings that live.
        unsafe {
            refused(name, libc::truncate(text.as_ptr(), 0), &[libc::EACCES]);
            refused(name, libc::chmod(text.as_ptr(), 0o777), &[libc::EPERM]);
            refused(name, libc::unlink(text.as_ptr()), &[libc::EACCES]);
            refused(
                name,
                libc::rename(text.as_ptr(), c"/dev/shm/annulus-test-stolen".as_ptr()),
                &[libc::EACCES],
            );
        }
        match File::open(&path) {
            Ok(file) => {
                assert!(readable, "{name}");
                through(&file, name);
            }
            Err(error) => assert!(!readable, "{name}: {error}"),
        }
    }
    // Nor can anything be put beside them, or in the ring's place.
    for path in [ring.join("life.2"), Path::new(dir).join(".x"), Path::new(dir).join("s")] {
        assert_eq!(File::create(&path).unwrap_err().raw_os_error(), Some(libc::EACCES));
        assert_eq!(fs::create_dir(&path).unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
    assert_eq!(fs::rename(&ring, Path::new(dir).join("s")).unwrap_err().raw_os_error(), Some(libc::EACCES));

    let open = || Ring::open("r").dir(dir).start(Start::Oldest);
    let mut observer = open().observe().unwrap();
    let mut copying = subscribes.then(|| open().subscribe_copying().unwrap());
    say("refused everywhere");
    assert_eq!(listen(), "go");
    let mut buf = Vec::new();
    for expected in [&b"before"[..], b"after"] {
        observer.recv_into(&mut buf).unwrap();
        assert_eq!(buf, expected);
        if let Some(rx) = &mut copying {
            rx.recv_into(&mut buf).unwrap();
            assert_eq!(buf, expected);
        }
    }
    assert_eq!(observer.recv_into(&mut buf), Err(annulus::CopyError::Ended(RecvError::Closed)));
    say("read all");
}

/// What a descriptor for reading is not good for.
fn through(file: &File, name: &str) {
    let fd: RawFd = file.as_raw_fd();
    let len = file.metadata().unwrap().len().max(4096);
    assert_eq!(file.write_at(&[1], 0).unwrap_err().raw_os_error(), Some(libc::EBADF), "{name}");
    assert_eq!(map(fd, len, libc::PROT_READ | libc::PROT_WRITE), Err(libc::EACCES), "{name}");
    assert_eq!(map(fd, len, libc::PROT_WRITE), Err(libc::EACCES), "{name}");
    let base = map(fd, len, libc::PROT_READ).unwrap();
    // SAFETY: our own mapping, of that length, which nothing refers to.
    unsafe {
        refused(
            name,
            libc::mprotect(base.cast(), len as usize, libc::PROT_READ | libc::PROT_WRITE),
            &[libc::EACCES],
        );
        refused(name, libc::ftruncate(fd, 0), &[libc::EINVAL]);
        refused(
            name,
            libc::fallocate(fd, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 0, 4096),
            &[libc::EBADF],
        );
        refused(name, libc::fchmod(fd, 0o777), &[libc::EPERM]);
        libc::munmap(base.cast(), len as usize);
    }
    let again = format!("/proc/self/fd/{fd}");
    let error = OpenOptions::new().write(true).open(again).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{name}");
}

#[track_caller]
fn refused(name: &str, result: libc::c_int, errors: &[i32]) {
    let error = if result == 0 { 0 } else { errno() };
    assert!(errors.contains(&error), "{name}: {error}");
}
