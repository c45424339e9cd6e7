//! Processes in namespaces of their own, as containers have them: unshare(2). They share the directory and nothing else.
#![allow(unsafe_code)]

use std::fs;
use std::io::Read;
use std::time::Instant;

use annulus::Ring;

use super::child::{Child, die_with_parent, say};
use super::forks::Fork;
use super::puppet::{self, LIVENESS, told};
use super::roles::wait_for_ever;
use crate::support::{Dir, INTERVALS, in_time, may_do_all, until};

/// A puppet in namespaces of its own. Dropped, it is killed with all that keeps it.
struct Contained {
    puppet: Child,
    /// Its number as we see it; it sees another one.
    pid: i32,
}

impl Contained {
    /// In new namespaces of these kinds, as this user there; the ring's directory stands at `inside` if it has mounts of
    /// its own.
    fn start(kinds: &str, uid: u32, dir: &Dir, inside: &Dir) -> Contained {
        let words = [kinds, &uid.to_string(), dir.text(), inside.text()];
        let mut puppet = Child::start("contained", &words);
        let pid = puppet.hear().parse().unwrap();
        puppet.tell("go");
        puppet.expect(if kinds.contains("pid") { "number 1" } else { "ready" });
        Contained { puppet, pid }
    }

    fn told(&mut self, order: &str) -> String {
        told(&mut self.puppet, order)
    }

    /// Kills the puppet itself; nobody waits for it.
    fn kill(&self) {
        // SAFETY: the process whose parent keeps it until it is dropped, so the number is its own.
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGKILL) }, 0);
        let path = format!("/proc/{}/stat", self.pid);
        until("it is dead", || {
            let stat = fs::read_to_string(&path).unwrap();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
        });
    }
}

fn flag(kind: &str) -> libc::c_int {
    match kind {
        "pid" => libc::CLONE_NEWPID,
        "user" => libc::CLONE_NEWUSER,
        "mount" => libc::CLONE_NEWNS,
        "ipc" => libc::CLONE_NEWIPC,
        other => panic!("no namespace {other}"),
    }
}

/// Enters new namespaces, and starts in them the process that does what it is told.
pub(super) fn contained(words: &[&str]) {
    let [kinds, uid, dir, inside] = words[..] else { panic!("not so many words: {words:?}") };
    // A process of one thread: others may not leave their user namespace.
    let outer = Fork::new(|| {
        let flags = kinds.split(',').fold(0, |flags, kind| flags | flag(kind));
        // SAFETY: changes the namespaces of this process, and for CLONE_NEWPID of its children, only.
        let result = unsafe { libc::unshare(flags) };
        assert_eq!(result, 0, "unshare {kinds}: {}", std::io::Error::last_os_error());
        if kinds.contains("user") {
            fs::write("/proc/self/setgroups", "deny").unwrap();
            fs::write("/proc/self/uid_map", format!("{uid} 0 1")).unwrap();
            fs::write("/proc/self/gid_map", format!("{uid} 0 1")).unwrap();
        }
        let mounts = kinds.contains("mount");
        if mounts {
            bind(dir, inside);
        }
        let there = if mounts { inside } else { dir };
        let puppet = Fork::new(|| {
            // SAFETY: neither has preconditions.
            let (pid, uid_now) = unsafe { (libc::getpid(), libc::geteuid()) };
            if kinds.contains("user") {
                assert_eq!(uid_now.to_string(), uid);
            }
            let said = if kinds.contains("pid") { format!("number {pid}") } else { "ready".to_owned() };
            // After its number as others see it, which its parent says.
            assert_eq!(super::child::listen(), "go");
            say(&said);
            die_with_parent();
            puppet::run(there, "r");
        });
        say(&puppet.0.to_string());
        puppet.until_zombie();
        // Kept as a zombie: its number is nobody else's.
        wait_for_ever();
    });
    outer.until_zombie();
}

/// In mounts of this process alone: one directory also stands at the place of the other.
fn bind(dir: &str, inside: &str) {
    let c = |text: &str| std::ffi::CString::new(text).unwrap();
    let (root, from, to) = (c("/"), c(dir), c(inside));
    let null = std::ptr::null();
    // SAFETY: strings that end with a zero and live until both calls return; only this process's mounts change.
    unsafe {
        let private = libc::mount(null, root.as_ptr(), null, libc::MS_REC | libc::MS_PRIVATE, null.cast());
        assert_eq!(private, 0, "{}", std::io::Error::last_os_error());
        let bound = libc::mount(from.as_ptr(), to.as_ptr(), null, libc::MS_BIND, null.cast());
        assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    }
}

/// Promise: other containers: PID, user, mount, IPC namespaces, both sides PID 1: works whenever they share the directory.
/// Each kind alone and all together. Two subscribers, an observer and the producer, each in namespaces of its own: each kill
/// is noticed, and a killed one comes up again.
/// Case 15 and case 16: a subscriber of another PID namespace is killed while it holds a record; two of the same number
/// have two places, and neither steals the other's.
#[test]
fn each_in_namespaces_of_its_own() {
    if !may_do_all() {
        return;
    }
    for kinds in ["pid", "user", "mount", "ipc", "pid,user,mount,ipc"] {
        in_time(move || {
            let (dir, inside) = (Dir::new(), Dir::new());
            // One of two maps of users: root there is root here, or has another number there.
            let start = |uid| Contained::start(kinds, uid, &dir, &inside);
            let mut producer = start(0);
            assert_eq!(producer.told("produce"), "at 0", "{kinds}");
            let (mut holder, mut reader, mut observer) = (start(1000), start(0), start(1000));
            assert_eq!(holder.told("subscribe"), "at 0", "{kinds}");
            assert_eq!(reader.told("subscribe"), "at 0");
            assert_eq!(observer.told("observe"), "at 0");
            // A second producer is refused wherever it is.
            let mut second = start(0);
            assert_eq!(second.told("produce"), "ProducerAlive");
            assert_eq!(producer.told("send 3"), "sent 3");
            assert_eq!(holder.told("hold"), "holds 0");
            assert_eq!(reader.told("read 3"), "read 3");
            assert_eq!(observer.told("watch 3"), "watched 3");
            let info = dir.open("r").info().unwrap();
            let who: Vec<_> = info.subscribers.iter().map(|s| (s.slot, s.alive)).collect();
            assert_eq!(who, [(0, true), (1, true)], "{kinds}");
            if kinds.contains("pid") {
                assert!(info.producer_pid == 1 && info.subscribers.iter().all(|s| s.pid == 1));
            }
            // One that holds a record is killed: the producer goes on, and the other one keeps its place.
            let full = producer.told("fill");
            let full: u64 = full.strip_prefix("full ").unwrap().parse().unwrap();
            let read = format!("read {full}");
            assert_eq!(reader.told(&format!("read {}", full - 3)), read);
            holder.kill();
            let begin = Instant::now();
            assert_eq!(producer.told("send 20"), format!("sent {}", full + 20));
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "{kinds}: {:?}", begin.elapsed());
            assert_eq!(reader.told("read 20"), format!("read {}", full + 20));
            let info = dir.open("r").info().unwrap();
            let who: Vec<_> = info.subscribers.iter().map(|s| (s.slot, s.alive)).collect();
            assert_eq!((info.reaped, &who[..]), (1, &[(1, true)][..]));
            // The producer is killed.
            producer.kill();
            let begin = Instant::now();
            assert_eq!(reader.told("end"), "ProducerLost", "{kinds}");
            assert_eq!(observer.told("end-of-watch"), "ProducerLost");
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "{kinds}: {:?}", begin.elapsed());
            // And comes up again, in containers that were there and in a new one.
            assert_eq!(second.told("produce"), format!("at {}", full + 20));
            assert_eq!(second.told("send 2"), format!("sent {}", full + 22));
            assert_eq!(reader.told("read 2"), format!("read {}", full + 22));
            let mut heir = start(1000);
            assert_eq!(heir.told("subscribe"), format!("at {}", full + 22));
            assert_eq!(second.told("send 1"), format!("sent {}", full + 23));
            assert_eq!(heir.told("read 1"), format!("read {}", full + 23));
        });
    }
}

/// Case 15: a subscriber is killed while it holds a record, and its pid is used again at once, by a process that lives: the
/// lock tells, not the number.
#[test]
fn a_pid_that_is_used_again() {
    if !may_do_all() {
        return;
    }
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).liveness(LIVENESS).producer().unwrap();
        let mut namespace = Child::start("reused-pid", &[dir.text()]);
        namespace.expect("joined");
        while tx.try_send(&[1; 100]).is_ok() {}
        namespace.tell("kill");
        let pid: u32 = namespace.hear().parse().unwrap();
        let subscriber = &dir.open("r").info().unwrap().subscribers[0];
        assert_eq!((subscriber.pid, subscriber.alive), (pid, false));
        let begin = Instant::now();
        for _ in 0..100 {
            tx.send(&[2; 100]).unwrap();
        }
        assert!(begin.elapsed() < LIVENESS * INTERVALS, "{:?}", begin.elapsed());
        assert_eq!(dir.open("r").info().unwrap().reaped, 1);
        namespace.tell("end");
    });
}

/// A PID namespace in which a subscriber lives and dies, and another process gets its number.
pub(super) fn reused_pid(dir: &str) {
    let outer = Fork::new(|| {
        // SAFETY: changes where this process's children live, and nothing else.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
        Fork::new(|| {
            let (mut from, to) = std::io::pipe().unwrap();
            let victim = Fork::new(|| {
                let rx = Ring::open("r").dir(dir).subscribe().unwrap();
                say("joined");
                std::mem::forget(rx.recv().unwrap());
                std::io::Write::write_all(&mut &to, b"!").unwrap();
                wait_for_ever();
            });
            let pid = victim.0;
            assert_eq!(super::child::listen(), "kill");
            from.read_exact(&mut [0]).unwrap();
            victim.kill();
            let _impostor = with_pid(pid);
            say(&pid.to_string());
            assert_eq!(super::child::listen(), "end");
        })
        .ends_well();
    });
    outer.ends_well();
}

/// A child of this very number, which is free and was used before; it does nothing. clone3(2), `set_tid`.
fn with_pid(pid: libc::pid_t) -> Fork {
    let wanted = [pid];
    // SAFETY: all-zero is a value of this struct of integers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    args.set_tid = wanted.as_ptr() as u64;
    args.set_tid_size = 1;
    // SAFETY: as fork: nothing is shared. The child makes system calls only, until it is killed, with the first process
    // of its namespace at the latest.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) } {
        -1 => panic!("clone3: {}", std::io::Error::last_os_error()),
        0 => wait_for_ever(),
        child => {
            assert_eq!(child, libc::c_long::from(pid));
            Fork(pid)
        }
    }
}
