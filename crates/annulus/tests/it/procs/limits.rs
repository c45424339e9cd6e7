//! A file system that is full, a user that may not, and descriptors that come back.
#![allow(unsafe_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use annulus::{ErrorKind, RecvError, RecvTimeoutError, Ring, Start};

use super::child::{Child, listen, say};
use super::resources::mount;
use crate::support::{Dir, entries, may_do_all};

const NOBODY: &str = "65534";
const SOMEBODY: &str = "65533";

/// Case 25: the tmpfs is too small, or full: an error at creation, nothing left behind, and never a SIGBUS later.
#[test]
fn a_small_file_system() {
    if !may_do_all() {
        return;
    }
    let dir = Dir::new();
    let mut child = Child::start("small-file-system", &[dir.text()]);
    // Heard first: a child whose input is closed before it has begun ends well and has done nothing.
    child.expect("done");
    child.ends_well();
}

/// A name that is held, on a file system too small for a second ring: whoever asked was told to make room.
#[test]
fn a_held_name_on_a_small_file_system() {
    if !may_do_all() {
        return;
    }
    let dir = Dir::new();
    let mut child = Child::start("held-on-a-small-file-system", &[dir.text()]);
    // Heard first: a child whose input is closed before it has begun ends well and has done nothing.
    child.expect("done");
    child.ends_well();
}

/// Runs with mounts of its own.
pub(super) fn held_on_a_small_file_system(dir: &str) {
    mount(dir, c"size=1m,mode=0700");
    let ring = || Ring::create("r").dir(dir).capacity(1 << 19);
    let _tx = ring().producer().unwrap();
    // What the file system says is free is not exact; this leaves nothing.
    let _ = fs::write(Path::new(dir).join(".ballast"), vec![0; 1 << 20]);
    let error = ring().producer().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::AlreadyExists);
    assert_eq!(entries(Path::new(dir)), [".ballast", "r"]);
    say("done");
}

/// Runs with mounts of its own.
pub(super) fn small_file_system(dir: &str) {
    mount(dir, c"size=1m,mode=0700");
    let no_space = |capacity| {
        let before = entries(Path::new(dir));
        for ring in [Ring::create("r"), Ring::open_or_create("r")] {
            let error = ring.dir(dir).capacity(capacity).producer().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NoSpace { .. }), "{error}");
            crate::support::helpful(&error);
            assert_eq!(entries(Path::new(dir)), before);
        }
    };
    no_space(1 << 20);
    no_space(1 << 30);
    // What fits can be filled to the last byte.
    let mut tx = Ring::create("fits").dir(dir).capacity(1 << 19).producer().unwrap();
    let rx = Ring::open("fits").dir(dir).subscribe().unwrap();
    while tx.try_send(&[0xff; 1000]).is_ok() {}
    // Full to the last page by something else: the ring goes on, another cannot begin.
    let ballast = Path::new(dir).join(".ballast");
    let _ = fs::write(&ballast, vec![0; 1 << 20]);
    no_space(4096);
    assert!(rx.iter().take(500).all(|record| *record.unwrap() == [0xff; 1000]));
    for _ in 0..2000 {
        tx.send(&[1; 700]).unwrap();
        while rx.try_recv().is_ok() {}
    }
    fs::remove_file(ballast).unwrap();
    drop(tx);
    assert!(entries(Path::new(dir)).is_empty());
    say("done");
}

/// Becomes another user, tries what it is told, and says how it went.
pub(super) fn as_user(words: &[&str]) {
    let (dir, name, uid, what) = (words[0], words[1], words[2].parse().unwrap(), words[3]);
    // SAFETY: these change this process's ids only; groups first, while it still may.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(uid, uid, uid), 0);
        assert_eq!(libc::setresuid(uid, uid, uid), 0);
    }
    let open = || Ring::open(name).dir(dir);
    let outcome = match what {
        "subscribe" => open().subscribe().map(drop),
        "info" => open().info().map(drop),
        "copy" => open().start(Start::Oldest).subscribe_copying().map(|mut rx| {
            assert_eq!(rx.recv(&mut [0; 64]).unwrap().len, 10);
        }),
        "observe" => open().start(Start::Oldest).observe().map(|mut rx| {
            assert_eq!(rx.recv(&mut [0; 64]).unwrap().len, 10);
            assert!(rx.is_linked());
        }),
        "info-without-ctl" => open().info().map(|info| {
            assert!(info.subscribers.is_empty() && info.published == 1 && info.max_subscribers == 64);
        }),
        "remove" => open().remove(),
        "produce" => open().producer().map(drop),
        "create" => Ring::create(name).dir(dir).producer().map(drop),
        "trust" => open().trust_uid(NOBODY.parse().unwrap()).subscribe().map(drop),
        "receive" => open().subscribe().map(|rx| {
            say("joined");
            assert_eq!(&*rx.recv().unwrap(), b"for others");
        }),
        other => panic!("no such thing to try: {other}"),
    };
    match outcome {
        Ok(()) => say("ok"),
        Err(error) => {
            crate::support::helpful(&error);
            say(&format!("{:?}", error.kind()));
        }
    }
}

#[track_caller]
fn tried(dir: &Dir, uid: &str, what: &str) -> String {
    let mut child = Child::start("as-user", &[dir.text(), "r", uid, what]);
    let said = child.hear();
    child.ends_well();
    said
}

/// Another user without permission, with permission, and what it may never do.
#[test]
fn permissions() {
    if !may_do_all() {
        return;
    }
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (data, ctl) in [(0o600, 0o666), (0o644, 0o600), (0o640, 0o660)] {
        let tx = dir.create("r").permissions(data, ctl).producer().unwrap();
        assert_eq!(tried(&dir, NOBODY, "subscribe"), "PermissionDenied");
        drop(tx);
    }
    let mut tx = dir.create("r").permissions(0o644, 0o666).producer().unwrap();
    assert_eq!(tried(&dir, NOBODY, "info"), "ok");
    assert_eq!(tried(&dir, NOBODY, "subscribe"), "ok");
    let mut reader = Child::start("as-user", &[dir.text(), "r", NOBODY, "receive"]);
    reader.expect("joined");
    tx.send(b"for others").unwrap();
    reader.expect("ok");
    reader.ends_well();
    // It may read; it may not produce, nor make rings in a directory that is not its own.
    for what in ["produce", "create"] {
        let said = tried(&dir, NOBODY, what);
        assert!(said.starts_with("UnsafeDirectory"), "{what}: {said}");
    }
    assert_eq!(dir.entries(), ["r"]);
    assert_eq!(tx.sequence(), 1);
    // A directory that it may not even search.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(tried(&dir, NOBODY, "subscribe"), "PermissionDenied");
}

/// The ring of a user that is neither oneself nor root is not read in place, unless that user is named.
#[test]
fn a_user_that_is_not_trusted() {
    if !may_do_all() {
        return;
    }
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let _tx = dir.create("r").permissions(0o644, 0o666).producer().unwrap();
    for path in [dir.path().join("r"), dir.file("r", "data"), dir.file("r", "ctl"), dir.file("r", "owner")] {
        chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    assert_eq!(tried(&dir, SOMEBODY, "subscribe"), "Untrusted { uid: 65534 }");
    assert_eq!(tried(&dir, SOMEBODY, "trust"), "ok");
    assert_eq!(tried(&dir, NOBODY, "subscribe"), "ok");
    // Neither is a ring in another user's directory, who could put anything there.
    chown(dir.path(), Some(65_534), Some(65_534)).unwrap();
    assert_eq!(tried(&dir, SOMEBODY, "subscribe"), "Untrusted { uid: 65534 }");
    assert_eq!(tried(&dir, SOMEBODY, "trust"), "ok");
    assert_eq!(tried(&dir, NOBODY, "subscribe"), "ok");
}

/// Another user's ring is read without trust by those that copy: with permission to `data` alone by observers, with both
/// by copying subscribers. What it is can be seen too; taking it away is not permitted.
#[test]
fn copies_of_another_users_ring() {
    if !may_do_all() {
        return;
    }
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (data, ctl, copy, observe, info) in [
        (0o644, 0o666, "ok", "ok", "info"),
        (0o644, 0o600, "PermissionDenied", "ok", "info-without-ctl"),
        (0o600, 0o666, "PermissionDenied", "PermissionDenied", ""),
    ] {
        let mut tx = dir.create("r").permissions(data, ctl).producer().unwrap();
        tx.send(b"for others").unwrap();
        // Everything of it is another's: its directory too.
        let all = ["", "r", "r/data", "r/ctl", "r/owner", "r/life.1"];
        all.iter().for_each(|path| chown(dir.path().join(path), Some(65_534), Some(65_534)).unwrap());
        let subscribed = tried(&dir, SOMEBODY, "subscribe");
        assert_eq!(subscribed, "Untrusted { uid: 65534 }");
        assert_eq!(tried(&dir, SOMEBODY, "copy"), copy, "{data:o} {ctl:o}");
        assert_eq!(tried(&dir, SOMEBODY, "observe"), observe, "{data:o} {ctl:o}");
        if !info.is_empty() {
            assert_eq!(tried(&dir, SOMEBODY, info), "ok");
        }
        assert_eq!(tried(&dir, SOMEBODY, "remove"), "PermissionDenied");
        assert!(dir.open("r").info().unwrap().subscribers.is_empty());
        drop(tx);
        chown(dir.path(), Some(0), Some(0)).unwrap();
        assert!(dir.entries().is_empty());
    }
}

/// Without a directory named, `$ANNULUS_DIR` is used; if that is empty, the user's own in `/dev/shm`.
#[test]
fn the_default_directory() {
    let dir = Dir::missing();
    let mut child = Child::start_with("default-directory", &[], dir.text());
    child.expect(dir.text());
    child.tell("go");
    child.expect("[\"r\"]");
    assert_eq!(dir.entries(), ["r"]);
    assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    child.tell("end");
    child.ends_well();
    assert!(dir.entries().is_empty());
    let mut child = Child::start("default-directory", &[]);
    assert!(child.hear().starts_with("/dev/shm/annulus-"));
}

pub(super) fn default_directory() {
    say(Ring::default_dir().to_str().unwrap());
    assert_eq!(listen(), "go");
    // A reader may be the first there.
    assert!(Ring::open("r").subscribe().unwrap_err().is_not_found());
    let mut tx = Ring::create("r").producer().unwrap();
    let rx = Ring::open("r").subscribe().unwrap();
    tx.send(b"x").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"x");
    say(&format!("{:?}", Ring::list(None).unwrap()));
    assert_eq!(listen(), "end");
}

/// A reader without a descriptor left, whose producer is followed by another: it cannot open the new one's life
/// file, and took that for a death.
#[test]
fn no_descriptors_say_nothing_about_the_producer() {
    let dir = Dir::new();
    let mut first = Child::start("end", &[dir.text(), "r", "kill"]);
    first.expect("ready");
    let mut reader = Child::start("no-descriptors", &[dir.text(), "r"]);
    reader.expect("joined");
    first.kill();
    let mut tx = dir.open("r").producer().unwrap();
    reader.tell("go");
    reader.expect("TimedOut");
    tx.send(b"alive").unwrap();
    reader.expect("received");
    drop(tx);
    reader.expect("Closed");
    reader.ends_well();
}

/// Subscribes, has no descriptors any more, and says what it sees of a producer that lives.
pub(super) fn no_descriptors(dir: &str, name: &str) {
    let rx = Ring::open(name).dir(dir).subscribe().unwrap();
    say("joined");
    assert_eq!(listen(), "go");
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: sets a limit of this process from one struct of our own.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) }, 0);
    assert!(fs::File::open("/dev/null").is_err(), "there is a descriptor left");
    // Ten liveness intervals.
    match rx.recv_timeout(Duration::from_millis(500)) {
        Err(RecvTimeoutError::TimedOut) => say("TimedOut"),
        other => return say(&format!("{other:?}")),
    }
    assert_eq!(&*rx.recv().unwrap(), b"alive");
    say("received");
    assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
    say("Closed");
}
