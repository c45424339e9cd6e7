//! Who holds a ring, when its files were meddled with or somebody looks at the same moment.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use annulus::{ErrorKind, Fate, Found, RecvError, Ring};

use crate::support::{Dir, in_time};

/// Promise: the files are deleted while in use, and everyone attached goes on. Also if a creator that was to make a new
/// `owner` has left one that nobody has locked: nobody takes the ring from a producer that lives.
#[test]
fn a_free_owner_file_is_not_enough() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    fs::remove_file(dir.file("r", "owner")).unwrap();
    fs::write(dir.file("r", "owner"), b"").unwrap();
    assert!(dir.open("r").producer().unwrap_err().is_producer_alive());
    assert!(dir.open_or_create("r").producer().unwrap_err().is_producer_alive());
    let findings = Ring::prune().dir(dir.path()).apply().unwrap();
    assert_eq!(
        findings.iter().map(|one| (one.found, one.fate)).collect::<Vec<_>>(),
        [(Found::Held, Fate::Kept)]
    );
    tx.send(b"still here").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"still here");
    // Who asks for a new ring gets one; the old one goes on without a name.
    let next = dir.create("r").producer().unwrap();
    tx.send(b"without a name").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"without a name");
    assert!(!tx.is_linked() && next.is_linked());
    drop(tx);
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    assert!(next.is_linked(), "the old producer took the new ring's name away");
}

/// Case: a service starts beside creators that are refused: they hold the lock for a moment only, and are not taken for a
/// producer.
#[test]
fn a_look_is_no_producer() {
    let dir = Dir::new();
    dir.create("p").capacity(4096).persistent(true).without_producer().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let error = dir.create("p").producer().unwrap_err();
                assert!(error.is_already_exists(), "{error}");
            }
        });
        let outcomes: Vec<_> = (0..300).map(|_| dir.open_or_create("p").producer().map(drop)).collect();
        done.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    });
}

/// Promise: `prune` removes only what nobody holds, also if somebody comes just then: who has subscribed has a ring that
/// stays.
#[test]
fn prune_beside_a_subscriber() {
    in_time(|| {
        let (mut kept, mut gone) = (0, 0);
        for _ in 0..300 {
            let dir = Dir::new();
            dir.create("p").capacity(4096).persistent(true).without_producer().unwrap();
            thread::scope(|scope| {
                let prune = scope.spawn(|| Ring::prune().dir(dir.path()).persistent(true).apply().unwrap());
                match dir.open("p").subscribe() {
                    Ok(rx) => {
                        prune.join().unwrap();
                        assert!(rx.is_linked(), "removed under a subscriber");
                        kept += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), &ErrorKind::NotFound);
                        prune.join().unwrap();
                        gone += 1;
                    }
                }
            });
        }
        eprintln!("{kept} stayed, {gone} were gone");
    });
}
