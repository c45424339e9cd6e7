//! Options about memory and meaning.
#![allow(unsafe_code)]

use std::fs;

use annulus::{ErrorKind, HugePages};

use crate::copiers::KINDS;
use crate::support::{Dir, helpful, no_forks};

/// Minor page faults of the calling thread in `work`.
fn faults(work: impl FnOnce()) -> i64 {
    let count = || {
        // SAFETY: an all-zero `rusage` is one, and getrusage writes one whole `rusage` into it.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
            usage.ru_minflt
        }
    };
    let before = count();
    work();
    count() - before
}

/// With its pages brought in neither end meets the kernel over a whole lap, unless that was not wanted.
#[test]
fn pages_are_brought_in_unless_asked_otherwise() {
    const PAGES: i64 = 256;
    let lap = |record: &[u8], send: &mut dyn FnMut(&[u8])| (0..PAGES).for_each(|_| send(record));
    let record = [1; 4088];
    for prefault in [true, false] {
        let dir = Dir::new();
        let create = dir.create("r").capacity(PAGES as usize * 4096).prefault(prefault);
        let mut tx = create.max_subscribers(8).producer().unwrap();
        let open = || dir.open("r").prefault(prefault);
        let rx = open().subscribe().unwrap();
        let mut copiers = KINDS.map(|kind| kind.open(open()));
        let mut buf = [1; 4096];
        let sent = faults(|| {
            lap(&record, &mut |record| {
                tx.send(record).unwrap();
                drop(rx.recv().unwrap());
                copiers[1].recv(&mut buf).unwrap();
            });
        });
        let observed = faults(|| {
            for _ in 0..PAGES - 20 {
                assert!(copiers[0].try_recv(&mut buf) != Err(annulus::TryCopyError::Empty));
            }
        });
        eprintln!("prefault {prefault}: {sent} faults at both ends, {observed} at an observer");
        if prefault {
            assert!(sent < 8 && observed < 8, "{sent} {observed}");
        } else {
            // A fault may bring in several pages: see fault_around_bytes.
            assert!(sent > PAGES / 2 && observed > PAGES / 32, "{sent} {observed}");
        }
    }
}

/// A node that there is, and ones that there are not: an error that says which, and nothing left behind.
#[test]
fn numa_nodes() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(65_536).numa_node(0).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    tx.send(b"from node 0").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"from node 0");
    drop(tx);
    for node in [63, 1023, 1024, u32::MAX] {
        let error = dir.create("r").numa_node(node).producer().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NoSuchNode { node });
        helpful(&error);
        assert!(dir.entries().is_empty());
    }
    let _alone = no_forks();
    drop(dir.create("r").capacity(4096).persistent(true).producer().unwrap());
    let error = dir.open_or_create("r").numa_node(63).producer().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NoSuchNode { node: 63 });
    assert_eq!(dir.open("r").producer().unwrap().sequence(), 0, "and the ring is whole");
}

/// Reserved huge pages are those of a hugetlbfs, which tmpfs is not.
#[test]
fn reserved_huge_pages_on_tmpfs() {
    for dir in [Dir::new(), Dir::missing()] {
        let before = dir.path().exists();
        for ring in [dir.create("r"), dir.open_or_create("r")] {
            let error = ring.huge_pages(HugePages::Reserved).producer().unwrap_err();
            let ErrorKind::NoHugePages { path, .. } = error.kind() else { panic!("{error}") };
            assert_eq!(path, dir.path());
            helpful(&error);
        }
        assert_eq!(dir.path().exists(), before);
        assert!(!before || dir.entries().is_empty());
    }
}

/// Some bytes that say what the records mean: kept with the ring, up to a page of them, and compared at a takeover.
#[test]
fn a_schema() {
    let _alone = no_forks();
    let dir = Dir::new();
    let all: Vec<u8> = (0..4096_u32).map(|i| (i * 7) as u8).collect();
    for schema in [&b""[..], b"x", b"f32 x, f32 y; \0\xff", &all] {
        let again = || dir.open_or_create("r").capacity(4096).persistent(true);
        let mut tx = again().schema(schema).producer().unwrap();
        assert_eq!(dir.open("r").info().unwrap().schema, schema);
        tx.send(b"x").unwrap();
        drop(tx);
        assert_eq!(again().schema(schema).producer().unwrap().sequence(), 1);
        assert_eq!(again().producer().unwrap().sequence(), 1);
        let error = again().schema(b"another").producer().unwrap_err();
        let ErrorKind::Mismatch { field: "schema", theirs, ours } = error.kind() else { panic!("{error}") };
        assert_eq!((theirs.as_str(), ours.as_str()), (schema.escape_ascii().to_string().as_str(), "another"));
        assert_eq!(dir.open("r").info().unwrap().schema, schema);
        dir.open("r").remove().unwrap();
    }
    let error = dir.create("r").schema(vec![0; 4097]).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
    assert!(dir.entries().is_empty());
}

/// Whoever may read `data` only still sees what the ring is.
#[test]
fn info_of_a_ring_of_many_options() {
    let dir = Dir::new();
    let deadline = std::time::Duration::from_nanos(1_500_000);
    let ring = dir.create("r").no_in_place().evict_after(deadline).retain(7);
    let _tx = ring.wake(annulus::Wake::Futex).producer().unwrap();
    let _rx = dir.open("r").subscribe_copying().unwrap();
    let info = dir.open("r").info().unwrap();
    assert_eq!((info.evict_after, info.retain, info.no_in_place), (Some(deadline), 7, true));
    assert_eq!(
        (info.wake, info.payload.is_none(), info.evicted, info.lost),
        (annulus::Wake::Futex, true, 0, 0)
    );
    assert!(info.subscribers[0].copying && info.subscribers[0].alive);
    fs::remove_file(dir.file("r", "owner")).unwrap();
    dir.open("r").info().unwrap();
}
