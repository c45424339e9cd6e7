//! Files that are deleted while a ring is in use, by systemd's RemoveIPC, by tmpfiles, by `rm -r`.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::thread;
use std::time::Instant;

use annulus::{CopyTimeoutError, ErrorKind, RecvError, RecvTimeoutError, Ring, Waiting};

use super::child::Child;
use super::puppet::{LIVENESS, told};
use super::roles::record;
use crate::copiers::KINDS;
use crate::support::{Dir, INTERVALS, entries, helpful, in_time, thread_id, until_asleep};

/// What is deleted: all files of the ring, its directory, or the directory of rings too.
const WHAT: [&str; 3] = ["files", "ring", "parent"];

fn delete(dir: &Dir, what: &str) {
    let ring = dir.path().join("r");
    match what {
        "files" => entries(&ring).iter().for_each(|file| fs::remove_file(ring.join(file)).unwrap()),
        "ring" => fs::remove_dir_all(ring).unwrap(),
        "parent" => {
            fs::remove_dir_all(dir.path()).unwrap();
            fs::DirBuilder::new().mode(0o700).create(dir.path()).unwrap();
        }
        other => panic!("delete {other}?"),
    }
}

/// Promise: the files are deleted while in use: everyone attached goes on; `info` and `is_linked` say so; a new `create` makes
/// a new ring, and old readers get `Replaced` when they ask: those that stay as well, all kinds, spinning or parked.
/// The deleted ring's producer goes on until it is killed.
#[test]
fn everyone_attached_goes_on() {
    for what in WHAT {
        for waiting in [Waiting::spin(), Waiting::park_after(0)] {
            in_time(move || {
                let dir = Dir::new();
                let mut producer = Child::start("puppet", &[dir.text(), "r"]);
                assert_eq!(told(&mut producer, "produce"), "at 0");
                let open = || dir.open("r").waiting(waiting);
                let readers = [open().subscribe().unwrap(), open().stay().subscribe().unwrap()];
                let mut copiers =
                    [open(), open().stay()].map(|open| KINDS.map(|kind| kind.open(open.clone())));
                let mut sent = 0;
                let mut go_on = |producer: &mut Child| {
                    assert_eq!(told(producer, "send 40"), format!("sent {}", sent + 40));
                    for n in sent..sent + 40 {
                        readers.iter().for_each(|rx| assert_eq!(&*rx.recv().unwrap(), record(n)));
                        for rx in copiers.iter_mut().flatten() {
                            let mut buf = Vec::new();
                            assert_eq!((rx.recv_into(&mut buf).unwrap().sequence, &buf), (n, &record(n)));
                        }
                    }
                    sent += 40;
                };
                go_on(&mut producer);
                delete(&dir, what);
                assert!(readers.iter().all(|rx| !rx.is_linked()), "{what}");
                go_on(&mut producer);
                let error = dir.open("r").info().unwrap_err();
                assert_eq!(error.is_not_found(), what != "files", "{what}: {error}");
                if what == "files" {
                    // An empty directory may be anybody's: it is left alone, and the error says what to do.
                    let error = dir.create("r").producer().unwrap_err();
                    assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{error}");
                    helpful(&error);
                    fs::remove_dir(dir.path().join("r")).unwrap();
                }
                let mut tx = match dir.create("r").capacity(8192).producer() {
                    Ok(tx) => tx,
                    Err(error) => panic!("{what}: {error}"),
                };
                assert!(tx.is_linked());
                let rx = dir.open("r").subscribe().unwrap();
                tx.send(b"of the new one").unwrap();
                assert_eq!(&*rx.recv().unwrap(), b"of the new one");
                let info = dir.open("r").info().unwrap();
                assert_eq!((info.capacity, info.published, info.producer_alive), (8192, 1, true));
                // The old one goes on beside it.
                go_on(&mut producer);
                assert!(readers.iter().all(|rx| !rx.is_linked()), "{what}");
                producer.kill();
                let begin = Instant::now();
                for rx in &readers {
                    let end = rx.recv_timeout(LIVENESS * INTERVALS).unwrap_err();
                    assert_eq!(end, RecvTimeoutError::Ended(RecvError::Replaced), "{what}");
                }
                for rx in copiers.iter_mut().flatten() {
                    assert!(!rx.is_linked());
                    let end = rx.recv_timeout(&mut [], LIVENESS * INTERVALS);
                    assert_eq!(end, Err(CopyTimeoutError::Ended(RecvError::Replaced)), "{what}");
                }
                assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?}", begin.elapsed());
                // None of it has touched the new one.
                tx.send(b"still").unwrap();
                assert_eq!(&*rx.recv().unwrap(), b"still");
                assert_eq!(dir.entries(), ["r"]);
            });
        }
    }
}

/// Promise: the files are deleted while in use, and the producer is killed: leftovers of a crash are replaced by the next
/// creator, never a manual `rm`; readers that stay and are blocked meanwhile are told, also when there is no new ring.
#[test]
fn readers_that_are_blocked_are_told() {
    for what in WHAT {
        for replaced in [false, true] {
            in_time(move || {
                let dir = Dir::new();
                let mut producer = Child::start("puppet", &[dir.text(), "r"]);
                assert_eq!(told(&mut producer, "produce"), "at 0");
                let rx = dir.open("r").stay().waiting(Waiting::park_after(0)).subscribe().unwrap();
                let (say, tid) = std::sync::mpsc::channel();
                let reader = thread::spawn(move || {
                    say.send(thread_id()).unwrap();
                    (rx.recv().map(drop).unwrap_err(), Instant::now())
                });
                until_asleep(tid.recv().unwrap());
                delete(&dir, what);
                if replaced && what == "files" {
                    fs::remove_dir(dir.path().join("r")).unwrap();
                }
                let tx = replaced.then(|| dir.create("r").capacity(4096).producer().unwrap());
                // sleep: that nothing happens while the producer lives is what is tested
                thread::sleep(LIVENESS * 3);
                assert!(!reader.is_finished());
                producer.kill();
                let dead = Instant::now();
                let (end, told_at) = reader.join().unwrap();
                let expected = if replaced { RecvError::Replaced } else { RecvError::ProducerLost };
                assert_eq!(end, expected, "{what}");
                assert!(told_at.saturating_duration_since(dead) < LIVENESS * INTERVALS);
                drop(tx);
            });
        }
    }
}

/// Promise: leftovers of a crash are replaced by the next creator. Two creators and a leftover without its `owner`: one replaces it, and never both.
#[test]
fn a_ring_without_an_owner_is_replaced_once() {
    let dir = Dir::new();
    let mut racers: Vec<_> = (0..2).map(|_| Child::start("race", &[dir.text(), "r"])).collect();
    for round in 0..40 {
        let mut victim = Child::start("end", &[dir.text(), "r", "kill"]);
        victim.expect("ready");
        victim.kill();
        let gone: &[&str] = if round % 2 == 0 { &["owner"] } else { &["owner", "life.1", "ctl"] };
        gone.iter().for_each(|file| fs::remove_file(dir.file("r", file)).unwrap());
        racers.iter_mut().for_each(|racer| racer.tell("create"));
        let mut said: Vec<_> = racers.iter_mut().map(Child::hear).collect();
        said.sort();
        assert_eq!(said, ["AlreadyExists", "won"], "round {round}");
        for racer in &mut racers {
            racer.tell("end");
            racer.expect("ended");
        }
        // The one that came late may have mended what the other was about to remove: that is `prune`'s then.
        assert!(dir.entries().iter().all(|name| name.starts_with('.')), "{:?}", dir.entries());
        Ring::prune().dir(dir.path()).apply().unwrap();
        assert!(dir.entries().is_empty(), "{:?}", dir.entries());
    }
    racers.iter_mut().for_each(Child::ends_well);
}
