//! Locks between descriptions and between processes.

use std::fs::File;
use std::io::ErrorKind;

use annulus_os::lock::{is_write_locked, try_lock, try_lock_shared, unlock};
use annulus_os::{Access, Place};

use crate::support::{Child, End, Folder, Ready, alone, forever};

fn opened(place: &Place) -> File {
    place.open_file("locks", Access::ReadWrite).unwrap()
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
    assert!(is_write_locked(&second, 3).unwrap());
    assert!(!is_write_locked(&first, 3).unwrap(), "our own is not seen");

    unlock(&first, 3).unwrap();
    assert!(!is_write_locked(&second, 3).unwrap());
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
    let copy = first.try_clone().unwrap();
    drop(first);
    assert!(is_write_locked(&other, 0).unwrap(), "a duplicate keeps it");
    drop(copy);
    assert!(!is_write_locked(&other, 0).unwrap());
    // A traditional lock would have gone here: when its process closes any descriptor of the file.
    let holder = opened(&place);
    assert!(try_lock(&holder, 0).unwrap());
    drop(opened(&place));
    assert!(is_write_locked(&other, 0).unwrap());
}

#[test]
fn a_strangers_read_lock_is_no_holder() {
    let _alone = alone();
    let folder = Folder::new();
    let place = place(&folder);
    let stranger = place.open_file("locks", Access::Read).unwrap();
    let reader = place.open_file("locks", Access::Read).unwrap();
    assert!(try_lock_shared(&stranger, 0).unwrap());
    assert!(!is_write_locked(&reader, 0).unwrap());
    // Two readers share; a writer is kept out until both have gone.
    let writer = opened(&place);
    assert!(try_lock_shared(&reader, 0).unwrap());
    assert!(!try_lock(&writer, 0).unwrap());
    unlock(&reader, 0).unwrap();
    assert!(!try_lock(&writer, 0).unwrap());
    drop(stranger);
    assert!(try_lock(&writer, 0).unwrap());
    assert!(is_write_locked(&reader, 0).unwrap(), "a read-only descriptor may ask");
    // Downgrade.
    assert!(try_lock_shared(&writer, 0).unwrap());
    assert!(!is_write_locked(&reader, 0).unwrap());
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
        let Ok(file) = place.open_file("locks", Access::ReadWrite) else { return 1 };
        if !matches!(try_lock(&file, 7), Ok(true)) {
            return 2;
        }
        ready.say();
        forever()
    });
    ready.hear();
    let probe = opened(&place);
    assert!(is_write_locked(&probe, 7).unwrap());
    assert!(!try_lock(&probe, 7).unwrap());
    child.kill();
    assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
    assert!(!is_write_locked(&probe, 7).unwrap());
    assert!(try_lock(&probe, 7).unwrap());
}

#[test]
fn a_forked_child_keeps_its_parents_lock_alive() {
    let alone = alone();
    let folder = Folder::new();
    let place = place(&folder);
    let holder = opened(&place);
    assert!(try_lock(&holder, 0).unwrap());
    let child = Child::run(&alone, || forever());
    drop(holder);
    let probe = opened(&place);
    assert!(is_write_locked(&probe, 0).unwrap());
    child.kill();
    child.wait();
    assert!(!is_write_locked(&probe, 0).unwrap());
}

#[test]
fn what_cannot_be_locked_is_an_error() {
    let folder = Folder::new();
    let place = place(&folder);
    let (file, reader) = (opened(&place), place.open_file("locks", Access::Read).unwrap());
    let beyond = i64::MAX.unsigned_abs() + 1;
    assert_eq!(try_lock(&file, beyond).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(is_write_locked(&file, u64::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(try_lock(&reader, 0).unwrap_err().raw_os_error(), Some(libc::EBADF));
}
