//! What a killed producer leaves: who may have the name, and what readers that stay are told.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use annulus::{CopyTimeoutError, ErrorKind, RecvError, Waiting};

use super::child::Child;
use crate::copiers::KINDS;
use crate::support::{Dir, INTERVALS, entries, helpful, in_time, no_forks};

/// What the roles' rings say.
const LIVENESS: Duration = Duration::from_millis(50);

/// A ring whose producer was killed, not persistent.
fn killed(dir: &Dir) {
    let mut producer = Child::start("end", &[dir.text(), "r", "kill"]);
    producer.expect("ready");
    producer.tell("go");
    producer.expect("sent");
    producer.kill();
}

/// Promise: a leftover of another version is not replaced. It once was, with records that the other version could
/// still have gone on with.
#[test]
fn another_versions_leftover_stays() {
    let dir = Dir::new();
    killed(&dir);
    let data = OpenOptions::new().read(true).write(true).open(dir.file("r", "data")).unwrap();
    let mut ours = [0; 4];
    data.read_exact_at(&mut ours, 8).unwrap();
    let ours = u32::from_le_bytes(ours);
    let theirs = ours + 1;
    data.write_all_at(&theirs.to_le_bytes(), 8).unwrap();
    let look = || (dir.entries(), entries(&dir.path().join("r")), fs::read(dir.file("r", "data")).unwrap());
    let before = look();
    let error = dir.create("r").producer().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::LayoutVersion { theirs, ours });
    helpful(&error);
    assert!(look() == before, "{:?}", dir.entries());
    // Put right again, it is still the ring that it was.
    data.write_all_at(&ours.to_le_bytes(), 8).unwrap();
    assert_eq!(dir.open("r").producer().unwrap().sequence(), 3);
}

/// A persistent ring that is at rest, whole or with a ctl file that nobody can attach to: the second was replaced
/// although its owner had asked to keep it.
#[test]
fn a_persistent_leftover_stays() {
    let _alone = no_forks();
    let dir = Dir::new();
    dir.create("r").capacity(4096).persistent(true).producer().unwrap().send(b"kept").unwrap();
    for broken in [false, true] {
        if broken {
            OpenOptions::new().write(true).open(dir.file("r", "ctl")).unwrap().set_len(0).unwrap();
        }
        let before = fs::read(dir.file("r", "data")).unwrap();
        let error = dir.create("r").producer().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::AlreadyExists);
        assert_eq!(dir.entries(), ["r"]);
        assert!(fs::read(dir.file("r", "data")).unwrap() == before);
    }
}

/// Promise: a crash leaves something, which the next creator replaces. What is left is not a whole ring, as after a
/// copy that broke off: `create` must not refuse it for ever.
#[test]
fn a_broken_leftover_is_replaced() {
    for (file, len) in [("data", 0), ("data", 1), ("data", 4096), ("data", 16_384), ("ctl", 0), ("ctl", 4096)]
    {
        let dir = Dir::new();
        killed(&dir);
        OpenOptions::new().write(true).open(dir.file("r", file)).unwrap().set_len(len).unwrap();
        let mut tx = match dir.create("r").capacity(4096).producer() {
            Ok(tx) => tx,
            Err(error) => panic!("{file} of {len}: {error}"),
        };
        let rx = dir.open("r").subscribe().unwrap();
        tx.send(b"new").unwrap();
        assert_eq!((&*rx.recv().unwrap(), tx.sequence()), (&b"new"[..], 1));
        assert_eq!(dir.entries(), ["r"], "the leftover is gone");
    }
}

/// Promise: a ring's directory is deleted while it is in use. A reader that stays, of a ring whose directory was
/// removed: nobody can ever take that ring over, but it waited for that for ever.
#[test]
fn a_reader_that_stays_without_a_directory() {
    for replaced in [false, true] {
        for removed_first in [false, true] {
            for waiting in [Waiting::spin(), Waiting::yielding(), Waiting::park_after(0)] {
                in_time(move || {
                    let dir = Dir::new();
                    let mut producer = Child::start("end", &[dir.text(), "r", "kill"]);
                    producer.expect("ready");
                    let open = || dir.open("r").stay().waiting(waiting);
                    let rx = open().subscribe().unwrap();
                    let copiers = KINDS.map(|kind| kind.open(open()));
                    if !removed_first {
                        producer.kill();
                    }
                    fs::remove_dir_all(dir.path().join("r")).unwrap();
                    let new = replaced.then(|| dir.create("r").capacity(4096).producer().unwrap());
                    producer.kill();
                    let begin = Instant::now();
                    let end = rx.recv().unwrap_err();
                    assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?} until {end:?}", begin.elapsed());
                    let expected = if replaced { RecvError::Replaced } else { RecvError::ProducerLost };
                    assert_eq!(end, expected, "removed first: {removed_first}");
                    for mut rx in copiers {
                        let end = rx.recv_timeout(&mut [], LIVENESS * INTERVALS);
                        assert_eq!(end, Err(CopyTimeoutError::Ended(expected)));
                    }
                    drop(new);
                });
            }
        }
    }
}
