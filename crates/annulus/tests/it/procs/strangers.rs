//! Somebody who may read a ring's files and nothing else, and takes every lock that one can take with that.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Instant;

use annulus::{CopyError, RecvError, Waiting};

use super::child::{Child, listen, say};
use super::puppet::{LIVENESS, told};
use crate::support::{Dir, INTERVALS, in_time, may_do_all, until};

const NOBODY: &str = "65534";

/// A read lock of every byte there is or will be, of the kind that belongs to the open file. `wait`: until it is granted.
fn lock(file: &File, wait: bool) -> bool {
    let mut all = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let command = if wait { libc::F_OFD_SETLKW } else { libc::F_OFD_SETLK };
    // SAFETY: an open descriptor, and one `flock` of our own.
    unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut all) == 0 }
}

/// Becomes somebody else; at each `lock` opens what it may of the ring and locks it, and where it may not yet, waits for the
/// lock in a thread for each file.
pub(super) fn stranger(dir: &str, uid: u32) {
    // SAFETY: these change this process's ids only; groups first, while it still may.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(uid, uid, uid), 0);
        assert_eq!(libc::setresuid(uid, uid, uid), 0);
    }
    say("ready");
    let mut held = Vec::new();
    while listen() == "lock" {
        let mut names = Vec::new();
        for entry in fs::read_dir(Path::new(dir).join("r")).unwrap() {
            let entry = entry.unwrap();
            assert!(File::options().write(true).open(entry.path()).is_err(), "it may write {entry:?}");
            let Ok(file) = File::open(entry.path()) else { continue };
            let name = entry.file_name().into_string().unwrap();
            if lock(&file, false) {
                names.push(format!("{name}:held"));
                held.push(file);
            } else {
                names.push(format!("{name}:awaited"));
                // Ends with the process: whoever waits in this call inherits what a dead one has held.
                thread::spawn(move || {
                    assert!(lock(&file, true));
                    say("inherited");
                    loop {
                        thread::park();
                    }
                });
            }
        }
        names.sort();
        say(&names.join(" "));
    }
}

/// Promise: the producer is killed, `ProducerLost` within one liveness interval and a new one goes on in sequence; and none of
/// that can be held up by a stranger: a user with read permission only holds read locks on every byte of every file that it
/// can open, and waits for those it cannot have, while producers are killed and take over. Readers that stay go on;
/// others are told, spinning and parked.
#[test]
fn one_that_may_only_read_holds_every_lock_it_can() {
    if !may_do_all() {
        return;
    }
    in_time(|| {
        let dir = Dir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut producer = Child::start("puppet", &[dir.text(), "r"]);
        assert_eq!(told(&mut producer, "produce"), "at 0");
        let staying = dir.open("r").stay().subscribe().unwrap();
        let mut victim = Child::start("puppet", &[dir.text(), "r"]);
        assert_eq!(told(&mut victim, "subscribe"), "at 0");
        let mut stranger = Child::start("stranger", &[dir.text(), NOBODY]);
        stranger.expect("ready");
        let mut next = 0;
        for epoch in 1..=3 {
            // `owner` and `ctl` it cannot open.
            let said = told(&mut stranger, "lock");
            assert_eq!(said, format!("data:held life.{epoch}:awaited"));
            until("it waits for the lock", || waits_for_a_lock(stranger.pid()));
            assert!(dir.open("r").info().unwrap().producer_alive);
            let in_place = dir.open("r").subscribe().unwrap();
            let mut observer = dir.open("r").waiting(Waiting::spin()).observe().unwrap();
            assert_eq!(told(&mut producer, "send 5"), format!("sent {}", next + 5));
            for n in next..next + 5 {
                assert_eq!(staying.recv().unwrap().sequence(), n);
                assert_eq!(in_place.recv().unwrap().sequence(), n);
                assert_eq!(observer.recv_into(&mut Vec::new()).unwrap().sequence, n);
            }
            next += 5;
            producer.kill();
            let begin = Instant::now();
            assert_eq!(in_place.recv().unwrap_err(), RecvError::ProducerLost);
            let end = observer.recv(&mut [0; 100]).unwrap_err();
            assert_eq!(end, CopyError::Ended(RecvError::ProducerLost));
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?}", begin.elapsed());
            // The stranger has the lock of the dead one now.
            stranger.expect("inherited");
            assert!(!dir.open("r").info().unwrap().producer_alive);
            producer = Child::start("puppet", &[dir.text(), "r"]);
            assert_eq!(told(&mut producer, "produce"), format!("at {next}"));
        }
        // Nor does it keep the place of a dead subscriber.
        assert_eq!(told(&mut producer, "send 1"), format!("sent {}", next + 1));
        drop(staying);
        assert!(told(&mut producer, "fill").starts_with("full "));
        victim.kill();
        let begin = Instant::now();
        assert!(told(&mut producer, "send 100").starts_with("sent "));
        assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?}", begin.elapsed());
        stranger.tell("end");
        stranger.ends_well();
    });
}

/// Whether a thread of it is in fcntl(2), where nothing but a lock is waited for.
fn waits_for_a_lock(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().any(|thread| {
        let call = fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
        call.split(' ').next().and_then(|nr| nr.parse().ok()) == Some(libc::SYS_fcntl)
    })
}
