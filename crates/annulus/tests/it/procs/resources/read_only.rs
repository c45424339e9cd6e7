//! A user with permission to read, and no other.
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use annulus::{Ring, Start};

use crate::procs::child::{Child, listen, say};
use crate::support::{Dir, may_do_all, payload};

const COUNT: u64 = 1000;
const NOBODY: u32 = 65_534;

/// Case 25: a read-only user can follow a ring and cannot change a byte, of any file of it, in any way.
#[test]
fn it_follows_and_cannot_change_a_byte() {
    if !may_do_all() {
        return;
    }
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut tx = dir.create("r").permissions(0o644, 0o660).capacity(1 << 20).producer().unwrap();
    let pid = std::process::id().to_string();
    let mut user = Child::start("resources", &["read-only", dir.text(), &pid]);
    user.expect("observing");
    let files = crate::support::entries(&dir.path().join("r"));
    for n in 0..COUNT {
        tx.send(&payload(n, 100)).unwrap();
    }
    user.expect("followed");
    let data = fs::read(dir.file("r", "data")).unwrap();
    let ctl = fs::read(dir.file("r", "ctl")).unwrap();
    user.tell("change it");
    user.expect("could not");
    user.ends_well();
    assert_eq!(crate::support::entries(&dir.path().join("r")), files);
    assert!(fs::read(dir.file("r", "data")).unwrap() == data, "a byte of data has changed");
    assert!(fs::read(dir.file("r", "ctl")).unwrap() == ctl, "a byte of ctl has changed");
    assert!(tx.is_linked() && tx.sequence() == COUNT);
}

pub(super) fn follow(dir: &str, producer: i32) {
    // SAFETY: these change this process's ids only; groups first, while it still may.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(NOBODY, NOBODY, NOBODY), 0);
        assert_eq!(libc::setresuid(NOBODY, NOBODY, NOBODY), 0);
    }
    let mut rx = Ring::open("r").dir(dir).start(Start::Oldest).observe().unwrap();
    say("observing");
    let mut buf = [0; 100];
    for n in 0..COUNT {
        assert_eq!(rx.recv(&mut buf).unwrap().sequence, n);
        assert_eq!(buf, *payload(n, 100));
    }
    say("followed");
    assert_eq!(listen(), "change it");
    let ring = Path::new(dir).join("r");
    for file in ["data", "ctl", "owner", "life.1"] {
        let path = ring.join(file);
        denied(OpenOptions::new().write(true).open(&path).map(drop));
        denied(OpenOptions::new().read(true).write(true).open(&path).map(drop));
        denied(fs::set_permissions(&path, fs::Permissions::from_mode(0o666)));
        denied(fs::remove_file(&path));
        denied(fs::rename(&path, ring.join("other")));
        denied(std::os::unix::fs::chown(&path, Some(NOBODY), None));
    }
    denied(File::create(ring.join("new")).map(drop));
    denied(fs::rename(&ring, Path::new(dir).join("elsewhere")));
    denied(fs::remove_dir_all(&ring));
    // Through the descriptor that it may have, which /proc would open again.
    let data = File::open(ring.join("data")).unwrap();
    let again = format!("/proc/self/fd/{}", data.as_raw_fd());
    denied(OpenOptions::new().write(true).open(again).map(drop));
    assert!(data.set_len(0).is_err());
    // SAFETY: a mapping of a file that only we know of; it is refused, else nothing writes there.
    let mapped = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, data.as_raw_fd(), 0)
    };
    assert_eq!(mapped, libc::MAP_FAILED);
    denied(Err(io::Error::last_os_error()));
    // The library's own mapping cannot be made writable: all of it, the mirror too.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let path = ring.join("data");
    let mut areas = 0;
    for line in maps.lines().filter(|line| line.ends_with(path.to_str().unwrap()) && line.contains(" r--s "))
    {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16).unwrap());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: pages of a mapping of this process; more may be done there afterwards than before, and nothing is.
        let changed = unsafe { libc::mprotect(start as *mut libc::c_void, end - start, protection) };
        assert_eq!(changed, -1, "{line}");
        denied(Err(io::Error::last_os_error()));
        areas += 1;
    }
    assert!(areas > 0, "no mapping of the ring found:\n{maps}");
    // Nor through the producer.
    denied(OpenOptions::new().write(true).open(format!("/proc/{producer}/mem")).map(drop));
    say("could not");
}

#[track_caller]
fn denied(outcome: io::Result<()>) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
}
