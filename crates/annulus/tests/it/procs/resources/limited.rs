//! What a process may have: descriptors, addresses, long files. (What it may lock is tested where rings are locked.)

use std::fs;
use std::path::Path;

use annulus::{Error, ErrorKind, Ring};

use super::{descriptors, limit, mappings, run};
use crate::procs::child::say;
use crate::support::{Dir, entries, helpful};

/// Something that is tried with the ring in a directory.
type Attempt = fn(&str) -> Result<(), Error>;

/// Case: an fd limit of 16. Creating, subscribing in both ways and observing work, all at once; with less, whatever does
/// not is a typed error that leaves nothing, at each number of descriptors there may be.
#[test]
fn a_limit_of_sixteen_descriptors() {
    run("sixteen-descriptors", &Dir::new(), &[]);
}

pub(super) fn sixteen_descriptors(dir: &str) {
    let enough = 1024;
    limit(libc::RLIMIT_NOFILE, 16);
    {
        let mut tx = Ring::create("r").dir(dir).capacity(4096).producer().unwrap();
        let rx = Ring::open("r").dir(dir).subscribe().unwrap();
        let mut observer = Ring::open("r").dir(dir).observe().unwrap();
        tx.send(b"few").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"few");
        assert_eq!(observer.recv(&mut [0; 8]).unwrap().len, 3);
        assert!(tx.is_linked() && rx.is_linked() && observer.is_linked());
    }
    limit(libc::RLIMIT_NOFILE, enough);
    assert!(entries(Path::new(dir)).is_empty());

    let mut tx = Ring::create("r").dir(dir).capacity(4096).max_subscribers(1).producer().unwrap();
    let held = descriptors();
    let attempts: [Attempt; 7] = [
        |dir| Ring::create("s").dir(dir).capacity(4096).producer().map(drop),
        |dir| Ring::open_or_create("s").dir(dir).capacity(4096).producer().map(drop),
        |dir| Ring::open("r").dir(dir).subscribe().map(drop),
        |dir| Ring::open("r").dir(dir).subscribe_copying().map(drop),
        |dir| Ring::open("r").dir(dir).observe().map(drop),
        |dir| Ring::open("r").dir(dir).info().map(drop),
        |dir| Ring::open("r").dir(dir).wait(std::time::Duration::ZERO).map(drop),
    ];
    for attempt in attempts {
        let mut needed = None;
        for more in 0..8 {
            limit(libc::RLIMIT_NOFILE, (held + more) as u64);
            let outcome = attempt(dir);
            limit(libc::RLIMIT_NOFILE, enough);
            assert_eq!(descriptors(), held);
            assert_eq!(entries(Path::new(dir)), ["r"], "something is left");
            // The only place for a subscriber is free.
            drop(Ring::open("r").dir(dir).subscribe().unwrap());
            match outcome {
                Ok(()) => _ = needed.get_or_insert(more),
                Err(error) => {
                    assert_eq!(error.kind(), &ErrorKind::TooManyFiles, "{error}");
                    helpful(&error);
                    assert_eq!(needed, None, "more descriptors, and it does not work any more");
                }
            }
        }
        assert!(needed.is_some_and(|needed| needed > 0), "{needed:?}");
    }
    tx.send(b"unharmed").unwrap();
    say("done");
}

/// Descriptors for each handle are a small constant, and so are its mappings.
#[test]
fn descriptors_for_each_handle() {
    run("descriptors-of-each", &Dir::new(), &[]);
}

/// What a handle keeps: descriptors, and areas of memory as /proc/self/maps lists them.
#[track_caller]
fn keeps<T>(make: impl Fn() -> T, expected: usize) {
    let before = descriptors();
    let handles: [T; 3] = std::array::from_fn(|i| {
        let handle = make();
        assert_eq!(descriptors(), before + (i + 1) * expected, "of {}", std::any::type_name::<T>());
        handle
    });
    drop(handles);
    assert_eq!(descriptors(), before);
}

pub(super) fn descriptors_of_each(dir: &str) {
    let next = std::cell::Cell::new(0);
    let fresh = || {
        next.set(next.get() + 1);
        format!("r{}", next.get())
    };
    let _tx = Ring::create("r").dir(dir).capacity(4096).producer().unwrap();
    let _typed = Ring::create_typed::<u64>("t").dir(dir).capacity(4096).producer().unwrap();
    let open = || Ring::open("r").dir(dir);
    let typed = || Ring::open_typed::<u64>("t").dir(dir);
    // Two directories for each: that of rings, and the ring's. A producer's locks are on `owner` and its life file, and
    // it takes those of dead subscribers on `ctl`; a subscriber has its own there, and looks at the producer's life.
    keeps(|| Ring::create(&fresh()).dir(dir).capacity(4096).producer().unwrap(), 5);
    keeps(|| Ring::create_typed::<u64>(&fresh()).dir(dir).capacity(4096).producer().unwrap(), 5);
    keeps(|| open().subscribe().unwrap(), 4);
    keeps(|| typed().subscribe().unwrap(), 4);
    keeps(|| open().subscribe_copying().unwrap(), 4);
    keeps(|| typed().subscribe_copying().unwrap(), 4);
    keeps(|| open().observe().unwrap(), 3);
    keeps(|| typed().observe().unwrap(), 3);
    keeps(|| open().info().unwrap(), 0);
    // In somebody's memory there is no directory: each role opens the object anew, for its locks.
    #[cfg(feature = "shared_memory")]
    {
        use shared_memory::ShmemConf;
        let memory = || ShmemConf::new().size(1 << 20).create().unwrap();
        let (theirs, one) = (descriptors(), memory());
        let its_own = descriptors() - theirs;
        let _tx = Ring::create_in(&one).producer().unwrap();
        keeps(
            || {
                let memory = memory();
                (Ring::create_in(&memory).producer().unwrap(), memory)
            },
            4 + its_own,
        );
        keeps(|| Ring::open_in(&one).subscribe().unwrap(), 3);
        keeps(|| Ring::open_in(&one).subscribe_copying().unwrap(), 3);
        keeps(|| Ring::open_in(&one).observe().unwrap(), 2);
    }
    // Sent, waited for and gone on with, they are no more.
    let before = descriptors();
    let mut tx = Ring::create("s").dir(dir).capacity(4096).persistent(true).producer().unwrap();
    let rx = Ring::open("s").dir(dir).stay().subscribe().unwrap();
    for n in 0..100_u64 {
        tx.send(&n.to_le_bytes()).unwrap();
        assert_eq!(rx.recv().unwrap().sequence(), n);
        drop(tx);
        tx = Ring::open("s").dir(dir).producer().unwrap();
        assert_eq!(descriptors(), before + 9);
    }
    say("done");
}

/// Bytes of addresses that this process has.
fn addresses() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

/// `RLIMIT_AS` too small for a ring: a typed error for its producer and for readers of every kind, and nothing is left.
#[test]
fn too_few_addresses() {
    run("few-addresses", &Dir::new(), &[]);
}

pub(super) fn few_addresses(dir: &str) {
    // The records twice, and as much again for what lies about them.
    const CAPACITY: usize = 1 << 20;
    let mut tx = Ring::create("r").dir(dir).capacity(CAPACITY).max_subscribers(1).producer().unwrap();
    let attempts: [Attempt; 6] = [
        |dir| Ring::create("s").dir(dir).capacity(CAPACITY).producer().map(drop),
        |dir| Ring::open_or_create("s").dir(dir).capacity(CAPACITY).prefault(false).producer().map(drop),
        |dir| Ring::open("r").dir(dir).subscribe().map(drop),
        |dir| Ring::open("r").dir(dir).subscribe_copying().map(drop),
        |dir| Ring::open("r").dir(dir).observe().map(drop),
        |dir| Ring::open("r").dir(dir).info().map(drop),
    ];
    for attempt in attempts {
        // Once without a limit: whatever the program itself needs for it, it has then.
        attempt(dir).unwrap();
        let (mut refused, mut worked) = (0, 0);
        for more in (0..5 << 20).step_by(128 << 10) {
            let (open, mapped) = (descriptors(), mappings());
            limit(libc::RLIMIT_AS, addresses() + more);
            let outcome = attempt(dir);
            limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
            match outcome {
                Ok(()) => worked += 1,
                Err(error) => {
                    assert_eq!(error.kind(), &ErrorKind::NoMemory, "{error}");
                    helpful(&error);
                    assert_eq!(worked, 0, "with more addresses it does not work any more");
                    refused += 1;
                }
            }
            assert_eq!((descriptors(), mappings()), (open, mapped));
            assert_eq!(entries(Path::new(dir)), ["r"], "something is left");
            drop(Ring::open("r").dir(dir).subscribe().unwrap());
        }
        assert!(refused > 8 && worked > 0, "{refused} refused, {worked} worked");
    }
    tx.send(b"unharmed").unwrap();
    say("done");
}

/// `RLIMIT_FSIZE` too small for a ring: a typed error and nothing left, where the kernel would kill by SIGXFSZ; rings that
/// are there go on.
#[test]
fn files_that_may_not_be_long() {
    run("short-files", &Dir::new(), &[]);
}

pub(super) fn short_files(dir: &str) {
    let large = || Ring::open_or_create("large").dir(dir).capacity(1 << 20).persistent(true);
    drop(large().producer().unwrap());
    for bytes in [0, 1, 4096, 1 << 16, (1 << 20) - 1, 1 << 20] {
        limit(libc::RLIMIT_FSIZE, bytes);
        for ring in [Ring::create("r"), Ring::open_or_create("r")] {
            let error = ring.dir(dir).capacity(1 << 20).producer().unwrap_err();
            let ErrorKind::FileLimit { needed } = *error.kind() else { panic!("{error}") };
            assert!(needed > 1 << 20 && needed < 2 << 20, "{needed}");
            helpful(&error);
            assert_eq!(entries(Path::new(dir)), ["large"]);
        }
        // What is there is long enough.
        let mut tx = large().producer().unwrap();
        let rx = Ring::open("large").dir(dir).subscribe().unwrap();
        for _ in 0..300 {
            tx.send(&[1; 4000]).unwrap();
            assert_eq!(rx.recv().unwrap().len(), 4000);
        }
    }
    // One that is allowed.
    drop(Ring::create("r").dir(dir).capacity(4096).max_subscribers(4).producer().unwrap());
    say("done");
}
