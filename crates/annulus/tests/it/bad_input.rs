//! What a caller can get wrong: a typed error that says what to do, and nothing left behind.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use annulus::{Align, Error, ErrorKind, FenceMode, SendError, Start, TrySendError, WaitError};

use crate::support::{Dir, helpful, in_time, no_forks};

/// Errors of everything that opens a ring which is there.
fn all_refused(dir: &Dir, name: &str) -> Vec<Error> {
    vec![
        dir.open(name).subscribe().unwrap_err(),
        dir.open(name).info().unwrap_err(),
        dir.open(name).producer().unwrap_err(),
        dir.open_or_create(name).producer().unwrap_err(),
    ]
}

/// Case 22: absurd capacities, in debug and release.
#[test]
fn capacities() {
    let dir = Dir::new();
    for asked in [0, (1 << 40) + 1, 1 << 60, (1 << 63) - 1, 1 << 63, usize::MAX] {
        let error = dir.create("r").capacity(asked).producer().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::BadCapacity { asked, max: 1 << 40 });
        helpful(&error);
    }
    assert!(dir.entries().is_empty());
    // Rounded up, and said.
    for (asked, is) in [(1, 4096), (4095, 4096), (4096, 4096), (4097, 8192), (100_000, 131_072)] {
        let tx = dir.create("r").capacity(asked).producer().unwrap();
        assert_eq!(tx.capacity(), is);
        assert_eq!(tx.max_len(), is - 72);
        assert_eq!(dir.open("r").info().unwrap().capacity, is as u64);
    }
    assert!(dir.entries().is_empty());
}

/// Case 22: absurd sizes wherever a size, a number or a time is taken: an error or what it means, in debug and release.
#[test]
fn absurd_sizes() {
    let dir = Dir::new();
    let absurd = [1 << 31, 1 << 32, 1 << 60, (1 << 63) - 1, 1 << 63, usize::MAX - 7, usize::MAX];
    let max = 4096 - 72;
    for n in absurd {
        let wide = n as u64;
        let mut tx = dir.create("r").capacity(4096).producer().unwrap();
        assert_eq!(tx.claim(n).map(drop), Err(SendError::TooLarge { len: n, max }));
        assert_eq!(tx.try_claim(n).map(drop), Err(TrySendError::TooLarge { len: n, max }));
        tx.send_batch(["a", "b", "c"]).unwrap();
        let open = || dir.open("r");
        assert_eq!(open().start(Start::Last(wide)).subscribe().unwrap().sequence(), 0);
        assert_eq!(open().start(Start::Last(wide)).observe().unwrap().sequence(), 0);
        let future = open().start(Start::Sequence(wide)).observe().unwrap();
        assert_eq!(future.sequence(), wide, "it is waited for");
        drop(tx);
        for refused in [
            dir.create("r").capacity(4096).retain(wide).producer(),
            dir.create("r").capacity(4096).start_at(wide | 1, 0).producer(),
        ] {
            let error = refused.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
        }
    }
    let error = dir.create("r").schema(vec![0; 1 << 24]).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
    // The longest times there are: no limit, in practice.
    let ring = dir.create("r").capacity(4096).no_in_place().evict_after(Duration::MAX);
    let mut tx = ring.producer().unwrap();
    let mut rx = dir.open("r").wait(Duration::MAX).unwrap().subscribe_copying().unwrap();
    tx.send_timeout(b"x", Duration::MAX).unwrap();
    assert_eq!(rx.recv_timeout(&mut [0; 8], Duration::MAX).unwrap().len, 1);
    tx.wait_for_subscribers_timeout(1, Duration::MAX).unwrap();
    assert_eq!(tx.wait_for_subscribers(u32::MAX), Err(WaitError::TooMany { max: 64 }));
    drop(tx);
    assert!(dir.entries().is_empty());
}

/// Case 25: larger than the file system: an error at creation that says how much is missing, at once.
#[test]
fn larger_than_the_file_system() {
    let dir = Dir::new();
    // The largest that a ring may be. Refused before it fills the memory, which would not end in time.
    let ring = dir.create("r").capacity(1 << 40);
    let error = in_time(|| ring.producer().unwrap_err());
    match error.kind() {
        ErrorKind::NoSpace { needed, free } => assert!(needed > free && *needed > 1 << 40),
        other => panic!("{other:?}"),
    }
    helpful(&error);
    assert!(dir.entries().is_empty());
}

#[test]
fn options_out_of_range() {
    let dir = Dir::missing();
    let ring = || dir.create("r");
    let errors = [
        ring().max_subscribers(4097).producer().unwrap_err(),
        ring().max_subscribers(u32::MAX).producer().unwrap_err(),
        ring().liveness(Duration::ZERO).producer().unwrap_err(),
        ring().liveness(Duration::from_micros(999)).producer().unwrap_err(),
        ring().liveness(Duration::from_secs(3601)).producer().unwrap_err(),
        ring().liveness(Duration::MAX).producer().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
    }
    assert!(!dir.path().exists());
}

/// A record larger than the ring takes: its length and the longest, and the ring goes on.
#[test]
fn records_too_large() {
    let dir = Dir::new();
    for (align, max) in [(Align::Line, 4096 - 72), (Align::Packed, 4096 - 16)] {
        let mut tx = dir.create("r").capacity(4096).align(align).producer().unwrap();
        let rx = dir.open("r").subscribe().unwrap();
        assert_eq!(tx.max_len(), max);
        for len in [max + 1, 4096, 1 << 20] {
            let record = vec![0; len];
            assert_eq!(tx.send(&record), Err(SendError::TooLarge { len, max }));
            assert_eq!(tx.try_send(&record), Err(TrySendError::TooLarge { len, max }));
            let text = tx.send(&record).unwrap_err().to_string();
            assert!(text.contains(&len.to_string()) && text.contains("; send less"), "{text}");
        }
        // Also when the ring is full: waiting would never end.
        while tx.try_send(&[0; 100]).is_ok() {}
        let record = vec![0; max + 1];
        assert_eq!(tx.send(&record), Err(SendError::TooLarge { len: max + 1, max }));
        while rx.try_recv().is_ok() {}
        tx.send(&record[..max]).unwrap();
        assert_eq!(rx.recv().unwrap().len(), max);
    }
}

#[test]
fn a_ring_that_is_not_there() {
    let dir = Dir::new();
    for error in [
        dir.open("r").subscribe().unwrap_err(),
        dir.open("r").producer().unwrap_err(),
        dir.open("r").info().unwrap_err(),
    ] {
        assert!(error.is_not_found() && error.kind() == &ErrorKind::NotFound, "{error}");
        helpful(&error);
    }
    let error = dir.open("r").wait(Duration::from_millis(10)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::WaitTimedOut);
    helpful(&error);
    assert!(dir.entries().is_empty());
}

/// Case 21: a second producer is refused, whatever way it comes, and the ring is untouched: the same files, and in them the
/// same bytes.
#[test]
fn a_second_producer() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    tx.send(b"first").unwrap();
    let files = crate::support::entries(&dir.path().join("r"));
    let uuid = dir.open("r").info().unwrap().uuid;
    let all = || {
        ["data", "ctl"].map(|file| {
            let path = dir.file("r", file);
            (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap())
        })
    };
    let before = all();
    // Identity, the producer's words and the records; the subscriber's place.
    assert!(before.iter().all(|(_, bytes)| bytes.iter().any(|&byte| byte != 0)));
    for _ in 0..3 {
        let error = dir.open_or_create("r").capacity(4096).producer().unwrap_err();
        assert!(error.is_producer_alive(), "{error}");
        helpful(&error);
        // Its geometry does not matter while it is held.
        let error = dir.open_or_create("r").capacity(8192).producer().unwrap_err();
        assert!(error.is_producer_alive(), "{error}");
        assert!(dir.open("r").producer().unwrap_err().is_producer_alive());
        let error = dir.create("r").producer().unwrap_err();
        assert!(error.is_already_exists(), "{error}");
        helpful(&error);
    }
    assert_eq!(dir.entries(), ["r"]);
    assert_eq!(crate::support::entries(&dir.path().join("r")), files);
    for ((inode, bytes), (same, now)) in before.into_iter().zip(all()) {
        assert_eq!(inode, same);
        let changed = bytes.iter().zip(&now).position(|(byte, now)| byte != now);
        assert!(changed.is_none() && bytes.len() == now.len(), "a byte has changed: {changed:?}");
    }
    let info = dir.open("r").info().unwrap();
    assert_eq!((info.uuid, info.epoch, info.producer_alive, info.takeovers), (uuid, 1, true, 0));
    tx.send(b"second").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"first");
    assert_eq!(&*rx.recv().unwrap(), b"second");
}

/// More subscribers than slots; a place that is left is given again.
#[test]
fn more_subscribers_than_places() {
    let dir = Dir::new();
    let mut tx = dir.create("r").max_subscribers(3).producer().unwrap();
    let mut readers: Vec<_> = (0..3).map(|_| dir.open("r").subscribe().unwrap()).collect();
    for _ in 0..5 {
        let error = dir.open("r").subscribe().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NoFreeSlot { slots: 3 });
        helpful(&error);
        drop(readers.remove(1));
        readers.push(dir.open("r").subscribe().unwrap());
    }
    tx.send(b"to all").unwrap();
    for rx in &readers {
        assert_eq!(&*rx.recv().unwrap(), b"to all");
    }
}

/// A ring that exists with other options: both are said, and the old one stays.
#[test]
fn mismatches() {
    let _alone = no_forks();
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(8192).persistent(true).producer().unwrap();
    tx.send(b"kept").unwrap();
    drop(tx);
    let again = || dir.open_or_create("r");
    let cases = [
        (again().capacity(4096), "capacity", "8192", "4096"),
        (again().align(Align::Packed), "alignment", "line", "packed"),
        (again().max_subscribers(63), "number of subscribers", "64", "63"),
        (again().persistent(false), "persistence", "true", "false"),
        (again().liveness(Duration::from_millis(7)), "liveness interval in ms", "100", "7"),
    ];
    for (ring, field, theirs, ours) in cases {
        let error = ring.producer().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Mismatch { field, theirs: theirs.into(), ours: ours.into() });
        helpful(&error);
    }
    let error = again().fence(FenceMode::SpinOnly).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Mismatch { field: "fence mode", .. }), "{error}");
    assert_eq!(dir.entries(), ["r"]);
    // The same in other words: rounded up, it is the same.
    let tx = again().capacity(5000).producer().unwrap();
    assert_eq!((tx.sequence(), tx.capacity()), (1, 8192));
}

/// Case 22: something else in the place of a ring, or of one of its files: an error, and it is left alone.
#[test]
fn foreign_things() {
    let dir = Dir::new();
    let not_a_ring = |name: &str| {
        let before = dir.entries();
        for error in all_refused(&dir, name) {
            assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{name}: {error}");
            helpful(&error);
        }
        let error = dir.create(name).producer().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{name}: {error}");
        assert_eq!(dir.entries(), before);
    };
    fs::create_dir(dir.path().join("empty-directory")).unwrap();
    not_a_ring("empty-directory");
    fs::write(dir.path().join("file"), b"text").unwrap();
    not_a_ring("file");
    symlink("/dev/shm", dir.path().join("link")).unwrap();
    not_a_ring("link");
    symlink("/nowhere", dir.path().join("dangling")).unwrap();
    not_a_ring("dangling");
    fs::create_dir(dir.path().join("foreign")).unwrap();
    fs::write(dir.file("foreign", "data"), b"something else").unwrap();
    fs::write(dir.file("foreign", "notes"), b"precious").unwrap();
    not_a_ring("foreign");
    assert_eq!(fs::read(dir.file("foreign", "notes")).unwrap(), b"precious");
}

/// The program's answers do not need the clock: nothing of the above waits for a liveness interval, which here is far
/// longer than a test may take.
#[test]
fn refusals_do_not_wait() {
    in_time(|| {
        let dir = Dir::new();
        let ring = dir.create("r").liveness(Duration::from_secs(3600)).max_subscribers(1);
        let _tx = ring.producer().unwrap();
        let _rx = dir.open("r").subscribe().unwrap();
        assert!(dir.open("r").subscribe().is_err());
        assert!(dir.open_or_create("r").producer().is_err());
        assert!(dir.create("r").producer().is_err());
    });
}
