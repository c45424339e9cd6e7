//! Locks between descriptions and between processes.

use std::cell::Cell;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use annulus_os::lock::{is_write_locked, try_lock, try_lock_shared, unlock};
use annulus_os::{Access, Birth, LockFile, Place};

use crate::support::{Child, End, Folder, Ready, alone, forever};

fn opened(place: &Place) -> LockFile {
    LockFile::open(|| place.open_file("locks", Access::ReadWrite)).unwrap()
}

fn opened_to_read(place: &Place) -> LockFile {
    LockFile::open(|| place.open_file("locks", Access::Read)).unwrap()
}

/// Whether another description holds the write lock of a byte.
fn is_held(file: &LockFile, byte: u64) -> bool {
    is_write_locked(file.file().unwrap(), byte).unwrap()
}

fn place(folder: &Folder) -> Place {
    let place = folder.place();
    place.create_file("locks", 0o600).unwrap();
    place
}

#[test]
fn two_descriptions_of_one_process_conflict_on_a_byte() {
    let _alone = alone();
    let folder = Folder::new();
    let place = place(&folder);
    let (first, second) = (opened(&place), opened(&place));
    assert!(try_lock(&first, 3).unwrap());
    assert!(try_lock(&first, 3).unwrap(), "ours already");
    assert!(!try_lock(&second, 3).unwrap());
    assert!(!try_lock_shared(&second, 3).unwrap());
    // Its neighbours are free, as is the last byte there is.
    for free in [2, 4, i64::MAX.unsigned_abs()] {
        assert!(try_lock(&second, free).unwrap());
    }
    assert!(is_held(&second, 3));
    assert!(!is_held(&first, 3), "our own is not seen");

    unlock(&first, 3).unwrap();
    assert!(!is_held(&second, 3));
    assert!(try_lock(&second, 3).unwrap());
    unlock(&first, 3).unwrap();
    assert!(!try_lock(&first, 3).unwrap(), "unlocking does not drop somebody else's");
}

#[test]
fn a_lock_goes_with_the_last_descriptor_of_its_description() {
    let _alone = alone();
    let folder = Folder::new();
    let place = place(&folder);
    let (first, other) = (opened(&place), opened(&place));
    assert!(try_lock(&first, 0).unwrap());
    let copy = first.file().unwrap().try_clone().unwrap();
    drop(first);
    assert!(is_held(&other, 0), "a duplicate keeps it");
    drop(copy);
    assert!(!is_held(&other, 0));
    // A traditional lock would have gone here: when its process closes any descriptor of the file.
    let holder = opened(&place);
    assert!(try_lock(&holder, 0).unwrap());
    drop(opened(&place));
    assert!(is_held(&other, 0));
}

#[test]
fn a_strangers_read_lock_is_no_holder() {
    let _alone = alone();
    let folder = Folder::new();
    let place = place(&folder);
    let stranger = opened_to_read(&place);
    let reader = opened_to_read(&place);
    assert!(try_lock_shared(&stranger, 0).unwrap());
    assert!(!is_held(&reader, 0));
    // Two readers share; a writer is kept out until both have gone.
    let writer = opened(&place);
    assert!(try_lock_shared(&reader, 0).unwrap());
    assert!(!try_lock(&writer, 0).unwrap());
    unlock(&reader, 0).unwrap();
    assert!(!try_lock(&writer, 0).unwrap());
    drop(stranger);
    assert!(try_lock(&writer, 0).unwrap());
    assert!(is_held(&reader, 0), "a read-only descriptor may ask");
    // Downgrade.
    assert!(try_lock_shared(&writer, 0).unwrap());
    assert!(!is_held(&reader, 0));
    assert!(try_lock_shared(&reader, 0).unwrap());
}

#[test]
fn the_kernel_drops_the_lock_of_a_killed_process() {
    let alone = alone();
    let folder = Folder::new();
    let place = place(&folder);
    let ready = Ready::new();
    let child = Child::run(&alone, || {
        // Opened here, so that the description is the child's alone.
        let Ok(file) = LockFile::open(|| place.open_file("locks", Access::ReadWrite)) else { return 1 };
        if !matches!(try_lock(&file, 7), Ok(true)) {
            return 2;
        }
        ready.say();
        forever()
    });
    ready.hear();
    let probe = opened(&place);
    assert!(is_held(&probe, 7));
    assert!(!try_lock(&probe, 7).unwrap());
    child.kill();
    assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
    assert!(!is_held(&probe, 7));
    assert!(try_lock(&probe, 7).unwrap());
}

#[test]
fn a_forked_child_has_no_lock_of_its_parents() {
    let alone = alone();
    let folder = Folder::new();
    let place = place(&folder);
    let (holder, other) = (opened(&place), opened(&place));
    assert!(try_lock(&holder, 0).unwrap());
    let both = Cell::new(Some((holder, other)));
    let with = |look: &dyn Fn(&LockFile, &LockFile)| {
        let pair = both.take().unwrap();
        look(&pair.0, &pair.1);
        both.set(Some(pair));
    };
    let birth = Birth::here();
    assert!(birth.is_here() && birth.is_this_process());
    let ready = Ready::new();
    let child = Child::run(&alone, || {
        let refused = |outcome: std::io::Result<bool>| {
            outcome.is_err_and(|error| error.raw_os_error() == Some(libc::EBADF))
        };
        if birth.is_here() || birth.is_this_process() || !Birth::here().is_here() {
            return 1;
        }
        let Some((holder, other)) = both.take() else { return 5 };
        if !refused(try_lock(&holder, 0)) || !refused(try_lock(&other, 1)) || holder.file().is_ok() {
            return 2;
        }
        // The numbers are free again, and dropping what owned them closes nobody else's.
        let Ok(own) = LockFile::open(|| place.open_file("locks", Access::ReadWrite)) else { return 3 };
        drop((holder, other));
        if !matches!(try_lock(&own, 5), Ok(true)) {
            return 4;
        }
        ready.say();
        forever()
    });
    ready.hear();
    let probe = opened(&place);
    assert!(is_held(&probe, 0) && is_held(&probe, 5));
    with(&|holder, other| assert!(holder.file().is_ok() && other.file().is_ok() && birth.is_here()));
    drop(both.take());
    assert!(!is_held(&probe, 0), "the child has no copy");
    child.kill();
    child.wait();
    assert!(!is_held(&probe, 5));
}

/// Other threads open, lock and close all the time: a child gets none of theirs either, not even of those that are
/// half opened.
#[test]
fn forks_amid_openings() {
    let alone = alone();
    let folder = Folder::new();
    let place = place(&folder);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for byte in 0..2 {
            let (place, stop) = (&place, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let file = opened(place);
                    assert!(try_lock(&file, byte).unwrap());
                    // A child has copies for a moment, until its handler runs; whoever gives a lock back says so.
                    unlock(&file, byte).unwrap();
                }
            });
        }
        let children = || {
            (0..300).all(|_| {
                let child = Child::run(&alone, || {
                    let held = std::fs::read_dir("/proc/self/fd").map(|fds| {
                        let links = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
                        links.filter(|path| path.ends_with("locks")).count()
                    });
                    if matches!(held, Ok(0)) { 0 } else { 1 }
                });
                child.wait() == End::Exit(0)
            })
        };
        let none_has_any = children();
        stop.store(true, Ordering::Relaxed);
        assert!(none_has_any);
    });
}

#[test]
fn what_cannot_be_locked_is_an_error() {
    let folder = Folder::new();
    let place = place(&folder);
    let (file, reader) = (opened(&place), opened_to_read(&place));
    let beyond = i64::MAX.unsigned_abs() + 1;
    assert_eq!(try_lock(&file, beyond).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(is_write_locked(file.file().unwrap(), u64::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(try_lock(&reader, 0).unwrap_err().raw_os_error(), Some(libc::EBADF));
}
