//! A file system that is too small, or full, or has no file left.

use std::fs;
use std::path::Path;
use std::sync::Barrier;

use annulus::{ErrorKind, Producer, RecvError, Ring, Start};

use super::{fill, free, mount, run};
use crate::procs::child::{Child, listen, say};
use crate::support::{Dir, entries, helpful, may_do_all};

/// Needs more than half of 1 MiB.
const CAPACITY: usize = 1 << 19;

/// Case 25: two creators at once on a tmpfs of 1 MiB where only one ring fits: both see enough free space, and one of
/// them, or both, get an error, never a SIGBUS; nothing is left of them.
#[test]
fn two_creators_where_one_fits() {
    if may_do_all() {
        run("two-creators", &Dir::new(), &[]);
    }
}

pub(super) fn two_creators(dir: &str) {
    mount(dir, c"size=1m,mode=0700");
    let before = free(dir);
    let start = Barrier::new(2);
    let (mut made, mut refused) = (0, 0);
    for round in 0..300 {
        let create = |name: &str| {
            let ring = if round % 2 == 0 { Ring::create(name) } else { Ring::open_or_create(name) };
            start.wait();
            ring.dir(dir).capacity(CAPACITY).prefault(round % 4 < 2).producer()
        };
        let both: [Result<Producer, _>; 2] = std::thread::scope(|scope| {
            let threads = ["a", "b"].map(|name| scope.spawn(move || create(name)));
            threads.map(|thread| thread.join().unwrap())
        });
        for outcome in both {
            match outcome {
                // Every page of it is there.
                Ok(mut tx) => {
                    lap(&mut tx, dir);
                    made += 1;
                }
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::NoSpace { .. }), "{error}");
                    helpful(&error);
                    refused += 1;
                }
            }
        }
        assert!(entries(Path::new(dir)).is_empty(), "something is left");
        assert_eq!(free(dir), before, "not everything came back");
    }
    assert!(made > 0 && refused >= 300, "{made} made, {refused} refused");
    say("done");
}

/// Writes and reads every byte of a ring, whether its pages were brought in or not.
fn lap(tx: &mut Producer, dir: &str) {
    let name = tx.name().to_owned();
    let rx = Ring::open(&name).dir(dir).prefault(false).subscribe().unwrap();
    let mut observer = Ring::open(&name).dir(dir).prefault(false).observe().unwrap();
    let (record, mut buf) = ([0xa5; 4000], [0; 4000]);
    for _ in 0..=tx.capacity() / 4000 {
        tx.send(&record).unwrap();
        assert_eq!(*rx.recv().unwrap(), record);
        assert_eq!(observer.recv(&mut buf).unwrap().len, 4000);
    }
}

/// Case 18 and case 25: the producer is killed on a tmpfs that is full to the last page by then: the next one goes on, and
/// the reader with it.
#[test]
fn a_takeover_on_a_full_file_system() {
    if may_do_all() {
        run("takeover-without-room", &Dir::new(), &[]);
    }
}

/// Makes a ring, sends, and waits to be killed.
pub(super) fn hold_ring(dir: &str) {
    let mut tx = Ring::create("r").dir(dir).capacity(65_536).max_subscribers(4).producer().unwrap();
    tx.send(b"before").unwrap();
    say("ready");
    listen();
}

fn killed(dir: &str) {
    let mut holder = Child::start("resources", &["hold-ring", dir]);
    holder.expect("ready");
    holder.kill();
}

pub(super) fn takeover(dir: &str) {
    mount(dir, c"size=1m,mode=0700");
    for prefault in [true, false] {
        killed(dir);
        let rx = Ring::open("r").dir(dir).stay().start(Start::Oldest).prefault(prefault).subscribe().unwrap();
        fill(dir);
        let mut tx = Ring::open_or_create("r").dir(dir).prefault(prefault).producer().unwrap();
        assert_eq!(tx.sequence(), 1);
        assert_eq!(&*rx.recv().unwrap(), b"before");
        tx.send(b"after").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"after");
        drop(rx);
        lap(&mut tx, dir);
        drop(tx);
        assert_eq!(entries(Path::new(dir)), [".ballast"], "it has ended cleanly");
        fs::remove_file(Path::new(dir).join(".ballast")).unwrap();
    }
    say("done");
}

/// Case 25: a tmpfs that may have no more files (`nr_inodes`): no ring begins, and nothing is left of it; one whose producer
/// was killed is taken over with the file of the dead, or is left whole for when there is one.
#[test]
fn a_file_system_without_a_file_left() {
    if may_do_all() {
        run("takeover-without-files", &Dir::new(), &[]);
    }
}

pub(super) fn takeover_without_files(dir: &str) {
    mount(dir, c"size=1m,nr_inodes=32,mode=0700");
    let filler = |n: u64| Path::new(dir).join(format!(".filler-{n}"));
    let fill = || while fs::write(filler(free(dir).1), []).is_ok() {};
    let no_space = |error: annulus::Error| {
        assert!(matches!(error.kind(), ErrorKind::NoSpace { .. }), "{error}");
        helpful(&error);
    };
    // At each number of files that is left and is too few for a ring: a directory, three files and the life file.
    for left in 0..5 {
        fill();
        (1..=left).for_each(|n| fs::remove_file(filler(n)).unwrap());
        let before = (entries(Path::new(dir)), free(dir));
        no_space(Ring::create("r").dir(dir).capacity(4096).producer().unwrap_err());
        no_space(Ring::open_or_create("r").dir(dir).capacity(4096).producer().unwrap_err());
        assert_eq!((entries(Path::new(dir)), free(dir)), before);
    }
    let clear = || {
        for name in entries(Path::new(dir)) {
            let _ = fs::remove_file(Path::new(dir).join(name));
        }
    };
    clear();
    // Nobody has the dead one's life file open: it makes room for the next.
    killed(dir);
    fill();
    let tx = Ring::open("r").dir(dir).producer().unwrap();
    assert_eq!(tx.sequence(), 1);
    drop(tx);
    clear();
    // A reader has it open, so it stays: an error, and the ring is whole.
    killed(dir);
    let rx = Ring::open("r").dir(dir).stay().start(Start::Oldest).subscribe().unwrap();
    fill();
    for _ in 0..3 {
        no_space(Ring::open("r").dir(dir).producer().unwrap_err());
    }
    fs::remove_file(filler(1)).unwrap();
    let mut tx = Ring::open("r").dir(dir).producer().unwrap();
    tx.send(b"after").unwrap();
    drop(tx);
    let records: Vec<Vec<u8>> = (0..2).map(|_| rx.recv().unwrap().to_vec()).collect();
    assert_eq!(records, [&b"before"[..], b"after"]);
    assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
    say("done");
}
