//! Rings inside the shared memory of another program, which knows the crate `shared_memory` and nothing of rings.

use std::time::Duration;

use annulus::{CopyError, Error, ErrorKind, RecvError, RecvTimeoutError, Ring, Start, TrySendError};
use shared_memory::{Shmem, ShmemConf};

use super::child::{Child, listen, say};
use crate::support::{LONG, helpful, in_time, no_forks};

/// A program that makes shared memory, says its name, and removes it in the end.
pub(super) fn owner(bytes: &str, fill: &str) {
    let shmem = ShmemConf::new().size(bytes.parse().unwrap()).create().unwrap();
    if fill != "0" {
        assert_eq!(fill, "1");
        // Written through the file: this test writes no unsafe code.
        let file = std::path::Path::new("/dev/shm").join(shmem.get_os_id().trim_start_matches('/'));
        std::fs::write(file, vec![1; shmem.len()]).unwrap();
    }
    say(shmem.get_os_id());
    assert_eq!(listen(), "end");
}

/// A producer that sends until it is killed, or so many.
pub(super) fn publish(id: &str, count: u64) {
    let shmem = open(id);
    let mut tx = Ring::create_in(&shmem).liveness(Duration::from_millis(20)).producer().unwrap();
    // The mapping of that crate is not needed any more.
    drop(shmem);
    say("ready");
    assert_eq!(listen(), "go");
    let first = tx.sequence();
    for n in first..first + count {
        tx.send(&n.to_le_bytes()).unwrap();
    }
    say("sent");
    assert_eq!(listen(), "end");
}

/// A subscriber that takes a record and keeps it.
pub(super) fn hold(id: &str) {
    let rx = Ring::open_in(&open(id)).subscribe().unwrap();
    say("joined");
    let record = rx.recv().unwrap();
    say(&record.sequence().to_string());
    listen();
    drop(record);
}

fn open(id: &str) -> Shmem {
    ShmemConf::new().os_id(id).open().unwrap()
}

fn memory(bytes: usize) -> (Child, String) {
    let mut owner = Child::start("shmem-owner", &[&bytes.to_string(), "0"]);
    let id = owner.hear();
    (owner, id)
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Three programs: one owns the memory, one publishes, one reads in all three ways; then another publishes on.
#[test]
fn a_ring_in_the_memory_of_another_program() {
    in_time(|| {
        let (mut owner, id) = memory(1 << 20);
        let mut producer = Child::start("shmem-publish", &[&id, "1000"]);
        producer.expect("ready");
        let shmem = open(&id);
        let rx = Ring::open_in(&shmem).subscribe().unwrap();
        let mut copying = Ring::open_in(&shmem).subscribe_copying().unwrap();
        let mut observer = Ring::open_in(&shmem).observe().unwrap();
        drop(shmem);
        let info = Ring::open_in(&open(&id)).info().unwrap();
        assert_eq!((info.capacity, info.producer_alive, info.subscribers.len()), (1 << 19, true, 2));
        assert!(rx.is_linked());
        producer.tell("go");
        producer.expect("sent");
        let mut buf = [0; 8];
        for n in 0..1000 {
            assert_eq!(number(&rx.recv().unwrap()), n);
            assert_eq!(copying.recv(&mut buf).unwrap().sequence, n);
            assert_eq!(number(&buf), n);
            assert_eq!(observer.recv(&mut buf).unwrap().sequence, n);
        }
        producer.tell("end");
        producer.ends_well();
        assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
        assert_eq!(copying.recv(&mut buf), Err(CopyError::Ended(RecvError::Closed)));
        assert_eq!(observer.recv(&mut buf), Err(CopyError::Ended(RecvError::Closed)));
        // The next producer goes on in sequence, and those who stayed attached with it.
        let mut tx = Ring::create_in(&open(&id)).producer().unwrap();
        assert_eq!(tx.sequence(), 1000);
        tx.send(b"more").unwrap();
        assert_eq!(rx.recv().unwrap().sequence(), 1000);
        let late = Ring::open_in(&open(&id)).start(Start::Last(1)).subscribe().unwrap();
        assert_eq!(&*late.recv().unwrap(), b"more");
        owner.tell("end");
        owner.ends_well();
        // Who is attached goes on, though the name is gone.
        tx.send(b"still").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"still");
    });
}

#[test]
fn a_killed_producer_and_a_killed_subscriber() {
    in_time(|| {
        let (_owner, id) = memory(1 << 18);
        let mut producer = Child::start("shmem-publish", &[&id, "100"]);
        producer.expect("ready");
        let refused = Ring::create_in(&open(&id)).producer().unwrap_err();
        assert!(refused.is_producer_alive(), "{refused}");
        let rx = Ring::open_in(&open(&id)).subscribe().unwrap();
        let mut observer = Ring::open_in(&open(&id)).observe().unwrap();
        producer.tell("go");
        producer.expect("sent");
        producer.kill();
        let mut buf = [0; 8];
        for n in 0..100 {
            assert_eq!(rx.recv().unwrap().sequence(), n);
            assert_eq!(observer.recv(&mut buf).unwrap().sequence, n);
        }
        assert_eq!(rx.recv().unwrap_err(), RecvError::ProducerLost);
        assert_eq!(observer.recv(&mut buf), Err(CopyError::Ended(RecvError::ProducerLost)));
        let mut tx = Ring::create_in(&open(&id)).liveness(Duration::from_millis(20)).producer().unwrap();
        assert_eq!(tx.sequence(), 100);
        drop(rx);
        // One that holds a record and is killed stops counting.
        let mut holder = Child::start("shmem-hold", &[&id]);
        holder.expect("joined");
        tx.send(b"held").unwrap();
        holder.expect("100");
        holder.kill();
        let body = vec![7; 4096];
        for _ in 0..100 {
            tx.send_timeout(&body, LONG).unwrap();
        }
    });
}

#[test]
fn memory_that_is_too_small_or_holds_something_else() {
    let _alone = no_forks();
    let error = |shmem: &Shmem| Ring::create_in(shmem).producer().unwrap_err();
    let small = ShmemConf::new().size(8192).create().unwrap();
    let refused = error(&small);
    assert!(
        matches!(refused.kind(), ErrorKind::NoSpace { needed, free: 8192 } if *needed > 20_000),
        "{refused}"
    );
    helpful(&refused);
    let reader: Error = Ring::open_in(&small).subscribe().unwrap_err();
    assert!(matches!(reader.kind(), ErrorKind::NotARing(_)), "{reader}");
    let shmem = ShmemConf::new().size(1 << 20).create().unwrap();
    let asked = Ring::create_in(&shmem).capacity(1 << 20).producer().unwrap_err();
    assert!(matches!(asked.kind(), ErrorKind::NoSpace { .. }), "{asked}");
    for wrong in [
        Ring::create_in(&shmem).persistent(true),
        Ring::create_in(&shmem).numa_node(0),
        Ring::create_in(&shmem).huge_pages(annulus::HugePages::Transparent),
    ] {
        let error = wrong.producer().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
        helpful(&error);
    }
    // None of these has touched it.
    let mut tx = Ring::create_in(&shmem).capacity(4096).max_subscribers(1).producer().unwrap();
    assert_eq!(tx.capacity(), 4096);
    let rx = Ring::open_in(&shmem).subscribe().unwrap();
    while tx.try_send(&[0; 500]).is_ok() {}
    assert!(matches!(tx.try_send(&[0; 500]), Err(TrySendError::Full(_))));
    drop(rx.recv().unwrap());
    let removed = Ring::open_in(&shmem).remove().unwrap_err();
    assert!(matches!(removed.kind(), ErrorKind::BadOption(_)), "{removed}");
    drop(tx);
    let mismatch = Ring::create_in(&shmem).capacity(8192).producer().unwrap_err();
    assert!(matches!(mismatch.kind(), ErrorKind::Mismatch { field: "capacity", .. }), "{mismatch}");
}

#[test]
fn memory_that_another_program_has_filled() {
    let mut owner = Child::start("shmem-owner", &["1048576", "1"]);
    let id = owner.hear();
    let error = Ring::create_in(&open(&id)).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{error}");
    assert!(error.to_string().contains("zero it"), "{error}");
    owner.tell("end");
    owner.ends_well();
}

/// Waiting for a ring that is laid later; and memory that others may write is not read in place.
#[test]
fn waited_for_and_not_trusted() {
    let _alone = no_forks();
    let shmem = ShmemConf::new().size(1 << 18).create().unwrap();
    let none = Ring::open_in(&shmem).wait(Duration::from_millis(1)).unwrap_err();
    assert_eq!(none.kind(), &ErrorKind::WaitTimedOut);
    let id = shmem.get_os_id().to_owned();
    let waiting = std::thread::spawn(move || {
        Ring::open_in(&open(&id)).wait(LONG).unwrap().observe().unwrap().sequence()
    });
    let _tx = Ring::create_in(&shmem).producer().unwrap();
    assert_eq!(waiting.join().unwrap(), 0);
    let file = std::path::Path::new("/dev/shm").join(shmem.get_os_id().trim_start_matches('/'));
    // No hole is left, which would be filled, or not, at some later access.
    let facts = std::fs::metadata(&file).unwrap();
    assert!(std::os::unix::fs::MetadataExt::blocks(&facts) * 512 >= 1 << 17);
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o660)).unwrap();
    let refused = Ring::open_in(&shmem).subscribe().unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::OthersWrite { mode: 0o660 }), "{refused}");
    assert!(Ring::open_in(&shmem).subscribe_copying().is_ok());
}

/// An object made anew under the same name is not the one that the handle has.
#[test]
fn another_object_of_the_same_name() {
    let _alone = no_forks();
    let shmem = ShmemConf::new().size(1 << 18).create().unwrap();
    let file = std::path::Path::new("/dev/shm").join(shmem.get_os_id().trim_start_matches('/'));
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, vec![0; 1 << 18]).unwrap();
    assert!(Ring::create_in(&shmem).producer().unwrap_err().is_not_found());
    assert!(Ring::open_in(&shmem).observe().unwrap_err().is_not_found());
}

/// The memory's own handle may go first, and comes to no harm from ours.
#[test]
fn handles_go_in_any_order() {
    let _alone = no_forks();
    let shmem = ShmemConf::new().size(1 << 18).create().unwrap();
    let id = shmem.get_os_id().to_owned();
    let mut tx = Ring::create_in(&shmem).producer().unwrap();
    let rx = Ring::open_in(&shmem).subscribe().unwrap();
    drop(shmem);
    assert!(ShmemConf::new().os_id(&id).open().is_err(), "its owner has removed it");
    tx.send(b"after").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"after");
    assert_eq!(rx.recv_timeout(Duration::from_millis(1)).unwrap_err(), RecvTimeoutError::TimedOut);
}
