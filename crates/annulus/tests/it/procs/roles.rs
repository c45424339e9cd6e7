//! What the other processes do.
#![allow(unsafe_code)]

use std::time::Duration;

use annulus::{Align, Create, FenceMode, Open, RecvError, Ring, Waiting};

use super::child::{ROLE, die_with_parent, listen, say};
use super::{
    acked, asleep, containers, copies, counted, doctor, fork, groups, heirs, kills, limits, memory, outlived,
    prune, puppet, races, refused, restart, sandbox, scribbler, strangers, truncated,
};
use crate::support::{LONG, payload, thread_id};

/// Length of the record of a number, and what it holds, known to both sides.
pub(super) fn record(n: u64) -> Vec<u8> {
    let mut bytes = payload(n, (n.wrapping_mul(31) % 90) as usize + 8);
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

/// A checksum over records in order.
pub(super) fn add(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

pub(super) fn fence_of(word: &str) -> FenceMode {
    match word {
        "asymmetric" => FenceMode::Asymmetric,
        "symmetric" => FenceMode::Symmetric,
        "spin" => FenceMode::SpinOnly,
        other => panic!("no fence mode {other}"),
    }
}

pub(super) fn waiting_of(word: &str) -> Waiting {
    match word {
        "spin" => Waiting::spin(),
        "yield" => Waiting::yielding(),
        "park" => Waiting::park_after(0),
        other => panic!("no way to wait {other}"),
    }
}

/// Not a test: what this binary does when a test has started it again in a role. Without one it does nothing.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    die_with_parent();
    let words: Vec<&str> = role.split(' ').collect();
    let (role, words) = (words[0], &words[1..]);
    let ring = || Ring::open_or_create(words[1]).dir(words[0]).liveness(Duration::from_millis(50));
    let open = || Ring::open(words[1]).dir(words[0]);
    match role {
        "publish" => publish(ring().capacity(16384).align(Align::Packed), words[2].parse().unwrap()),
        "consume" => consume(open(), waiting_of(words[2])),
        "torrent" => copies::torrent(ring(), words[2].parse().unwrap()),
        "long-lived" => copies::long_lived(words[0], words[1], words[2].parse().unwrap()),
        "locked" => memory::locked(words[0]),
        "on-huge-pages" => memory::on_huge_pages(words[0]),
        "flood" => flood(ring().capacity(16384)),
        "end" => end(ring().capacity(4096), words[2]),
        "hold" => hold(open()),
        "leave-unread" => acked::leave_unread(open()),
        "work-when-told" => acked::work(open(), words[2]),
        "sleep" => sleep(open()),
        "echo" => echo(open(), Ring::open(words[2]).dir(words[0])),
        "race" => race(words[0], words[1]),
        "churn" => churn(words[0], words[1]),
        "rounds" => {
            prune::rounds(words[0], words[1], words[2].parse().unwrap(), words[3].parse().unwrap());
        }
        "prune-for-ever" => prune::prune_for_ever(words[0]),
        "hold-many" => prune::hold_many(words[0], words[1].parse().unwrap()),
        "doctor-without" => doctor::without(words[0].parse().unwrap()),
        "descriptors-of-a-handle" => doctor::descriptors(words[0]),
        "small-file-system" => limits::small_file_system(words[0]),
        "held-on-a-small-file-system" => limits::held_on_a_small_file_system(words[0]),
        "resources" => super::resources::role(words),
        "no-descriptors" => limits::no_descriptors(words[0], words[1]),
        "fork" => fork::with_copies(words[0], words[1]),
        "fork-and-hold" => fork::with_a_sleeper(words[0]),
        "fork-typed" => fork::with_typed(words[0]),
        "fork-builders" => fork::with_builders(words[0]),
        "fork-and-use" => fork::with_uses(words[0]),
        "fork-and-drop" => fork::with_drops(words[0]),
        "default-directory" => limits::default_directory(),
        "as-user" => limits::as_user(words),
        "sandboxed-sender" => sandbox::sender(words[0], fence_of(words[1])),
        "sandboxed-receiver" => sandbox::receiver(words[0]),
        "scribble" => scribbler::scribble(words[0], words[1], words[2]),
        "sender" => truncated::sender(words[0]),
        "reader-of-what-is-cut" => truncated::reader(words[0], words[1]),
        "heirs" => heirs::heirs(words[0], words[1]),
        "write-what-is-not-ours" => refused::write_what_is_not_ours(words[0], words[1] == "true"),
        "sandboxed-copier" => sandbox::copier(words[0], words[1]),
        "killer" => kills::killer(words[0], words[1].parse().unwrap(), words[2].parse().unwrap()),
        "worker" => groups::worker(words[0], words[1].parse().unwrap()),
        "worker-killer" => groups::killer(words[0]),
        "job-holder" => groups::holder(words[0], words[1].parse().unwrap()),
        "publish-and-die" => groups::publish_and_die(words[0]),
        "fork-a-worker" => groups::fork_a_worker(),
        "sender-beside-the-dead" => asleep::sender(words[0], words[1], words[2].parse().unwrap()),
        "counted-sender" => counted::sender(words[0], words[1].parse().unwrap()),
        "sleeper" => asleep::sleeper(words[0], words[1]),
        "service" => restart::service(words[0]),
        "pair" => restart::pair(words[0]),
        "puppet" => puppet::run(words[0], words[1]),
        "contained" => containers::contained(words),
        "reused-pid" => containers::reused_pid(words[0]),
        "parent" => outlived::parent(words[0], words[1]),
        "stranger" => strangers::stranger(words[0], words[1].parse().unwrap()),
        "select" => super::select::role(words),
        "races" => races::races(words[0]),
        "refused-producer" => {
            sandbox::refuse_membarrier();
            publish(ring().capacity(16384), words[2].parse().unwrap());
        }
        "refused-consumer" => {
            sandbox::refuse_membarrier();
            consume(open(), waiting_of(words[2]));
        }
        #[cfg(feature = "shared_memory")]
        "shmem-owner" => super::shmem::owner(words[0], words[1]),
        #[cfg(feature = "shared_memory")]
        "shmem-publish" => super::shmem::publish(words[0], words[1].parse().unwrap()),
        #[cfg(feature = "shared_memory")]
        "shmem-hold" => super::shmem::hold(words[0]),
        other if other.starts_with("handed-") => super::handover::role(other, words),
        other => panic!("no role {other}"),
    }
    // Not by `std::process::exit`: that unmaps the first thread's signal stack from this one, and in a role that has become
    // another user the first may still stand there, in the handler by which glibc made it follow.
    // SAFETY: ends the process; what the role had is dropped, and what it said is written.
    unsafe { libc::_exit(0) };
}

/// Sends so many, says their checksum and ends cleanly.
fn publish(ring: Create, count: u64) {
    let mut tx = ring.waiting(Waiting::park_after(0)).producer().unwrap();
    say("ready");
    assert_eq!(listen(), "go");
    let mut sum = 0;
    for n in 0..count {
        let bytes = record(n);
        sum = add(sum, &bytes);
        tx.send(&bytes).unwrap();
    }
    say(&format!("{count} {sum}"));
    assert_eq!(listen(), "end");
}

/// Waits for the ring, reads until its clean end, and says how many came and their checksum.
fn consume(open: Open, waiting: Waiting) {
    say(&thread_id().to_string());
    let rx = open.waiting(waiting).wait(LONG).unwrap().subscribe().unwrap();
    say("joined");
    let (mut n, mut sum) = (0_u64, 0);
    for record in &rx {
        let record = record.unwrap();
        assert_eq!(record.sequence(), n);
        sum = add(sum, &record);
        n += 1;
    }
    say(&format!("{n} {sum}"));
}

/// Sends for ever at full speed, in every way there is; says where it begins.
fn flood(ring: Create) {
    let mut tx = ring.producer().unwrap();
    let mut n = tx.sequence();
    say(&n.to_string());
    std::thread::spawn(|| {
        if listen() == "abort" {
            std::process::abort();
        }
    });
    loop {
        match n % 7 {
            0 => n += tx.send_batch((n..n + 12).map(record)).unwrap(),
            3 => {
                let bytes = record(n);
                let mut claim = tx.claim(bytes.len() + 30).unwrap();
                let (a, b) = bytes.split_at(bytes.len() / 2);
                claim.write_at(a.len(), b);
                claim.write_at(0, a);
                claim.commit();
                n += 1;
            }
            _ => {
                tx.send(&record(n)).unwrap();
                n += 1;
            }
        }
    }
}

/// Sends three records and ends as it is told, with or without drops.
fn end(ring: Create, how: &str) {
    let mut tx = ring.producer().unwrap();
    say("ready");
    assert_eq!(listen(), "go");
    for n in 0..3 {
        tx.send(&record(n)).unwrap();
    }
    say("sent");
    assert_eq!(listen(), "end");
    match how {
        "drop" => drop(tx),
        // SAFETY: ends the process at once, without destructors: what is tested.
        "_exit" => unsafe { libc::_exit(0) },
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        "panic" => {
            std::mem::forget(tx);
            // Without the hook: what it would print looks like a test that failed.
            std::panic::resume_unwind(Box::new("as it was told"));
        }
        "kill" => wait_for_ever(),
        other => panic!("no end {other}"),
    }
}

/// Holds the first record for ever.
fn hold(open: Open) {
    let rx = open.subscribe().unwrap();
    say("joined");
    let _record = rx.recv().unwrap();
    say("holding");
    wait_for_ever();
}

/// Sleeps for a record that never comes.
fn sleep(open: Open) {
    let rx = open.waiting(Waiting::park_after(0)).subscribe().unwrap();
    say(&thread_id().to_string());
    let _ = rx.recv().map(drop);
    wait_for_ever();
}

/// Sends back what it receives.
fn echo(from: Open, to: Open) {
    let rx = from.waiting(Waiting::park_after(0)).subscribe().unwrap();
    let mut tx = to.producer().unwrap();
    say("ready");
    loop {
        match rx.recv() {
            Ok(record) => tx.send(&record).unwrap(),
            Err(end) => return assert_eq!(end, RecvError::Closed),
        }
    }
}

/// At each `go` tries to create the ring, and says how it went; at `end` drops it.
pub(super) fn race(dir: &str, name: &str) {
    let mut held = None;
    loop {
        match listen().as_str() {
            "who" => say(&thread_id().to_string()),
            "create" => held = tried(Ring::create(name).dir(dir).capacity(4096)),
            "open" => held = tried(Ring::open_or_create(name).dir(dir).capacity(4096)),
            "end" => {
                held = None;
                say("ended");
            }
            _ => return drop(held),
        }
    }
}

fn tried(ring: Create) -> Option<annulus::Producer> {
    match ring.producer() {
        Ok(tx) => {
            say("won");
            Some(tx)
        }
        Err(error) => {
            say(&format!("{:?}", error.kind()));
            None
        }
    }
}

/// Creates and ends the ring for ever, in both ways.
fn churn(dir: &str, name: &str) {
    say("ready");
    for n in 0_u64.. {
        let ring = if n % 2 == 0 { Ring::create(name) } else { Ring::open_or_create(name) };
        let mut tx = ring.dir(dir).capacity(4096).max_subscribers(2).producer().unwrap();
        tx.send(b"x").unwrap();
    }
}

pub(super) fn wait_for_ever() -> ! {
    loop {
        // SAFETY: pause has no preconditions.
        unsafe { libc::pause() };
    }
}
