//! Names, and the directory in which they stand.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use annulus::{ErrorKind, Ring};

use crate::support::{Dir, helpful, may_do_all};

/// Case: names with `/`, `..`, NUL, 255 bytes and more. A bad name is an error everywhere, and not even the directory is made for it.
#[test]
fn bad_names() {
    let long = "x".repeat(201);
    let longer = "x".repeat(256);
    let endless = "x".repeat(100_000);
    let bad = [
        "", ".", "..", ".hidden", "a/b", "/a", "a/", "../a", "a b", "a\0b", "\0", "a\n", "é", "a:b", "a~",
        "*", &long, &longer, &endless,
    ];
    let dir = Dir::missing();
    for name in bad {
        let errors = [
            dir.create(name).producer().unwrap_err(),
            dir.open_or_create(name).producer().unwrap_err(),
            dir.open(name).subscribe().unwrap_err(),
            dir.open(name).producer().unwrap_err(),
            dir.open(name).info().unwrap_err(),
            dir.open(name).wait(std::time::Duration::ZERO).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), &ErrorKind::BadName, "{name:?}");
            helpful(&error);
            assert!(!error.to_string().contains(['\0', '\n']), "control characters are shown escaped");
        }
    }
    assert!(!dir.path().exists());
}

/// The shortest name, the longest, and every character that is allowed.
#[test]
fn good_names() {
    let dir = Dir::new();
    let long = "x".repeat(200);
    for name in ["a", "A.b-c_9", "0", "-", "_", "a..", "data", "ctl", "owner", "life.1", &long] {
        let mut tx = dir.create(name).producer().unwrap();
        let rx = dir.open(name).subscribe().unwrap();
        tx.send(name.as_bytes()).unwrap();
        assert_eq!(&*rx.recv().unwrap(), name.as_bytes());
        assert_eq!(tx.name(), name);
        assert!(tx.is_linked() && rx.is_linked());
    }
    assert!(dir.entries().is_empty());
}

#[test]
fn names_are_listed() {
    let dir = Dir::missing();
    let list = || Ring::list(Some(dir.path())).unwrap();
    assert!(list().is_empty(), "no directory has no rings");
    let _tx: Vec<_> = ["c", "a", "b"].map(|name| dir.create(name).producer().unwrap()).into();
    fs::create_dir(dir.path().join(".leftover")).unwrap();
    assert_eq!(list(), ["a", "b", "c"]);
}

/// A directory that others could change is refused, whoever asks, and nothing is made in it.
#[test]
fn unsafe_directories() {
    let refused = |dir: &Dir| {
        let before = dir.path().is_dir().then(|| dir.entries());
        for error in [
            dir.create("r").producer().unwrap_err(),
            dir.open_or_create("r").producer().unwrap_err(),
            dir.open("r").subscribe().unwrap_err(),
            dir.open("r").subscribe_copying().unwrap_err(),
            dir.open("r").observe().unwrap_err(),
            dir.open("r").remove().unwrap_err(),
            dir.open("r").info().unwrap_err(),
            Ring::list(Some(dir.path())).unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::UnsafeDirectory { .. }), "{error}");
            helpful(&error);
        }
        assert_eq!(before, dir.path().is_dir().then(|| dir.entries()));
    };
    // The group or everybody may write it, with the sticky bit or without.
    for mode in [0o770, 0o757, 0o777, 0o1777, 0o720] {
        let dir = Dir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        refused(&dir);
    }
    // A symbolic link to a good one, with and without a slash behind it.
    let (good, link) = (Dir::new(), Dir::missing());
    symlink(good.path(), link.path()).unwrap();
    refused(&link);
    let slash = format!("{}/", link.text());
    let error = Ring::create("r").dir(slash).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnsafeDirectory { .. }), "{error}");
    assert!(good.entries().is_empty());
    // A file.
    let file = Dir::missing();
    fs::write(file.path(), b"a file").unwrap();
    refused(&file);
    assert_eq!(fs::read(file.path()).unwrap(), b"a file");
    if !may_do_all() {
        return;
    }
    // Another user's: nothing is made there, and nothing read in place; whoever copies trusts nobody.
    let foreign = Dir::new();
    std::os::unix::fs::chown(foreign.path(), Some(65_534), Some(65_534)).unwrap();
    for error in
        [foreign.create("r").producer().unwrap_err(), foreign.open_or_create("r").producer().unwrap_err()]
    {
        assert!(matches!(error.kind(), ErrorKind::UnsafeDirectory { .. }), "{error}");
        helpful(&error);
    }
    let error = foreign.open("r").subscribe().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Untrusted { uid: 65_534 });
    assert!(
        error.to_string().contains("subscribe_copying") && error.to_string().contains("trust_uid(65534)")
    );
    assert!(foreign.open("r").trust_uid(65_534).subscribe().unwrap_err().is_not_found());
    assert!(foreign.open("r").subscribe_copying().unwrap_err().is_not_found());
    assert!(foreign.open("r").observe().unwrap_err().is_not_found());
    assert!(foreign.open("r").info().unwrap_err().is_not_found());
    assert!(Ring::list(Some(foreign.path())).unwrap().is_empty() && foreign.entries().is_empty());
}

/// A directory below one that is not there is an error, and parents are not made.
#[test]
fn a_directory_without_a_parent() {
    let dir = Dir::missing();
    let below = dir.path().join("below");
    let error = Ring::create("r").dir(&below).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoParent { path } if *path == below), "{error}");
    assert!(!dir.path().exists());
}

/// A directory on a disk is refused unless it is allowed.
#[test]
fn a_directory_on_a_disk() {
    let dir = Dir::missing_on_disk();
    fs::create_dir(dir.path()).unwrap();
    for error in [
        dir.create("r").producer().unwrap_err(),
        dir.open_or_create("r").producer().unwrap_err(),
        dir.open("r").subscribe().unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::WrongFileSystem { .. }), "{error}");
        helpful(&error);
    }
    assert!(dir.entries().is_empty());
    let mut tx = dir.create("r").allow_disk().capacity(4096).producer().unwrap();
    let rx = dir.open("r").allow_disk().subscribe().unwrap();
    tx.send(b"on a disk").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"on a disk");
}

/// Refused, it leaves nothing behind: not even the directory that it would have made.
#[test]
fn a_refused_disk_gets_no_directory() {
    let dir = Dir::missing_on_disk();
    let error = dir.create("r").producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WrongFileSystem { .. }), "{error}");
    assert!(!dir.path().exists(), "the directory was left behind");
}

/// The modes of the files are what was asked, whatever the umask.
#[test]
fn modes() {
    let dir = Dir::new();
    let mode = |file| fs::metadata(dir.file("r", file)).unwrap().permissions().mode() & 0o777;
    let tx = dir.create("r").producer().unwrap();
    assert_eq!([mode("data"), mode("ctl"), mode("owner"), mode("life.1")], [0o640, 0o660, 0o600, 0o640]);
    drop(tx);
    let _tx = dir.create("r").permissions(0o666, 0o600).producer().unwrap();
    assert_eq!([mode("data"), mode("ctl"), mode("owner"), mode("life.1")], [0o666, 0o600, 0o600, 0o644]);
    let out_of_range =
        [(0o400, 0o600), (0o600, 0o200), (0o1600, 0o600), (0o600, 0o10_600), (u32::MAX, 0o600)];
    // Who may only read `ctl` could take read locks on all its slots.
    let read_only_ctl = [(0o640, 0o640), (0o640, 0o664), (0o644, 0o644), (0o644, 0o604)];
    for (data, ctl) in [&out_of_range[..], &read_only_ctl].concat() {
        let error = dir.create("s").permissions(data, ctl).producer().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
        helpful_option(&error);
    }
    assert_eq!(dir.entries(), ["r"]);
}

/// Records that users other than the ring's own may write are not lent in place, whomever one trusts; they are copied.
#[test]
fn records_that_others_may_write() {
    for mode in [0o660, 0o602, 0o666] {
        let dir = Dir::new();
        let mut tx = dir.create("r").permissions(mode, 0o660).producer().unwrap();
        let error = dir.open("r").trust_uid(0).subscribe().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::OthersWrite { mode });
        helpful(&error);
        let (mut copies, mut observer) =
            (dir.open("r").subscribe_copying().unwrap(), dir.open("r").observe().unwrap());
        tx.send(b"copied").unwrap();
        let mut buf = [0; 8];
        assert_eq!(copies.recv(&mut buf).unwrap().len, 6);
        assert_eq!(observer.recv(&mut buf).unwrap().len, 6);
        // As soon as nobody else may, they are lent.
        fs::set_permissions(dir.file("r", "data"), fs::Permissions::from_mode(0o644)).unwrap();
        dir.open("r").subscribe().unwrap();
    }
}

/// An option's text says its range.
fn helpful_option(error: &annulus::Error) {
    assert!(error.to_string().contains("0600 to 0777"), "{error}");
}

/// The files are deleted while in use: everyone attached goes on and can see it, and the name is free.
#[test]
fn files_deleted_while_in_use() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    fs::remove_dir_all(dir.path().join("r")).unwrap();
    assert!(!tx.is_linked() && !rx.is_linked());
    tx.send(b"still here").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"still here");
    let mut other = dir.create("r").producer().unwrap();
    let other_rx = dir.open("r").subscribe().unwrap();
    assert!(other.is_linked() && !tx.is_linked());
    other.send(b"other").unwrap();
    assert!(rx.try_recv().is_err());
    // Its end must not take the other's name away.
    drop(tx);
    assert_eq!(rx.recv().unwrap_err(), annulus::RecvError::Closed);
    assert_eq!(dir.entries(), ["r"]);
    assert_eq!(&*other_rx.recv().unwrap(), b"other");
}
