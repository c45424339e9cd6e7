//! What crashes leave: explained, removed, and never anything that somebody holds.
//!
//! Promise: a crash leaves something, which `prune` lists and removes if nobody holds it; it never takes a manual `rm`.
#![allow(unsafe_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use annulus::{ErrorKind, Fate, Finding, Found, Prune, RecvError, Ring};

use super::child::{Child, listen, say};
use crate::support::{Dir, Random, entries, helpful, in_time, sleeps, thread_id, until, until_asleep};

fn prune(dir: &Dir) -> Prune {
    Ring::prune().dir(dir.path())
}

fn told(findings: &[Finding]) -> Vec<(&str, Found, Fate)> {
    findings.iter().map(|one| (one.name.as_str(), one.found, one.fate)).collect()
}

/// All that is below a directory, with lengths and contents of small files, so that any change shows.
fn all_below(path: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let facts = entry.metadata().unwrap();
        all.push(format!("{:?} {} {:?}", entry.path(), facts.len(), facts.modified().unwrap()));
        if facts.is_dir() {
            all.extend(all_below(&entry.path()));
        }
    }
    all.sort();
    all
}

/// A ring of this name whose producer was killed.
fn leave(dir: &Dir, name: &str) {
    let mut victim = Child::start("end", &[dir.text(), name, "kill"]);
    victim.expect("ready");
    victim.kill();
}

/// Promise: a crash leaves something. Creators and producers are killed at random instants, hundreds of times, and
/// nothing is tidied in between. A dry run tells all of it and changes nothing; then all goes.
#[test]
fn whatever_was_killed_goes() {
    let dir = Dir::new();
    let mut random = Random::new(41);
    let mut names = Vec::new();
    for round in 0..200 {
        let name = format!("r{round}");
        let mut creator = Child::start("churn", &[dir.text(), &name]);
        creator.expect("ready");
        let moment = Duration::from_micros(random.below(1500));
        let begin = Instant::now();
        while begin.elapsed() < moment {
            std::hint::spin_loop();
        }
        creator.kill();
        names.push(name);
    }
    // Every stage of a draft, and of one on its way out, which kills hit by chance only.
    let stages = [
        &[][..],
        &["owner"],
        &["owner", "data"],
        &["owner", "life.1", ".00000000000000aa"],
        &["ctl", "life.1"],
    ];
    for (n, files) in stages.iter().enumerate() {
        let draft = dir.path().join(format!(".000000000000000{n}"));
        fs::create_dir(&draft).unwrap();
        files.iter().for_each(|file| fs::write(draft.join(file), "").unwrap());
    }
    let before = all_below(dir.path());
    let dry = prune(&dir).dry_run().unwrap();
    assert_eq!(all_below(dir.path()), before, "a dry run changes nothing");
    assert_eq!(dry.len(), dir.entries().len());
    let of = |kind| dry.iter().filter(|one| one.found == kind).count();
    eprintln!("{} leftovers, {} drafts", of(Found::Leftover), of(Found::Draft));
    assert!(of(Found::Leftover) > 5 && of(Found::Draft) >= stages.len(), "the kills hit nothing");
    assert!(dry.iter().all(|one| one.fate == Fate::Removable && !one.why.is_empty()), "{dry:?}");
    let bytes: u64 = dry.iter().map(|one| one.bytes).sum();
    assert!(bytes > 0);

    let done = prune(&dir).apply().unwrap();
    assert!(done.iter().all(|one| one.fate == Fate::Removed), "{done:?}");
    assert_eq!(told(&done).len(), dry.len());
    assert_eq!(dir.entries(), [""; 0]);
    assert_eq!(prune(&dir).apply().unwrap(), []);
}

/// Promise: `prune` removes what nobody holds. What a living process holds stays, and what is to stay; each goes when
/// it is nobody's any more.
#[test]
fn what_is_held_stays() {
    let dir = Dir::new();
    // Made in reverse order of their names, and told in order.
    dir.create("kept").capacity(4096).persistent(true).without_producer().unwrap();
    leave(&dir, "gone");
    let mut producer = Child::start("end", &[dir.text(), "alive", "kill"]);
    producer.expect("ready");
    let mut victim = Child::start("end", &[dir.text(), "drained", "kill"]);
    victim.expect("ready");
    let mut reader = Child::start("consume", &[dir.text(), "drained", "park"]);
    reader.hear();
    reader.expect("joined");
    victim.tell("go");
    victim.expect("sent");
    // Stopped, the reader cannot see that its producer is dead, and keeps its place.
    reader.signal(libc::SIGSTOP);
    reader.until_state('T');
    victim.kill();
    let observer = dir.open("gone").stay().observe().unwrap();

    let dry = prune(&dir).dry_run().unwrap();
    let expected = |gone| {
        [
            ("alive", Found::Held, Fate::Kept),
            ("drained", Found::Leftover, Fate::Kept),
            ("gone", Found::Leftover, gone),
            ("kept", Found::Persistent, Fate::Kept),
        ]
    };
    assert_eq!(told(&dry), expected(Fate::Removable));
    let done = prune(&dir).apply().unwrap();
    assert_eq!(told(&done), expected(Fate::Removed));
    assert_eq!(dir.entries(), ["alive", "drained", "kept"]);
    // Who only observed finds out, also one that would stay for the next producer: there is no ring for one.
    let mut observer = observer;
    assert_eq!(observer.recv(&mut [0; 256]).unwrap_err(), annulus::CopyError::Ended(RecvError::ProducerLost));

    // Nothing of what stayed is any worse.
    reader.kill();
    producer.tell("go");
    producer.expect("sent");
    let drained = prune(&dir).dry_run().unwrap();
    assert_eq!(told(&drained)[1], ("drained", Found::Leftover, Fate::Removable));
    producer.kill();
    let done = prune(&dir).persistent(true).apply().unwrap();
    assert!(done.iter().all(|one| one.fate == Fate::Removed), "{done:?}");
    assert_eq!(dir.entries(), [""; 0]);
}

/// Case: a dead reader's place is reclaimed. The slots of the dead are freed, in a ring that lives and in one that
/// waits for a producer.
#[test]
fn slots_of_the_dead_are_freed() {
    let dir = Dir::new();
    let mut tx = dir.create("r").capacity(4096).persistent(true).producer().unwrap();
    let mut dead = Child::start("hold", &[dir.text(), "r"]);
    dead.expect("joined");
    let alive = dir.open("r").subscribe().unwrap();
    tx.send(b"x").unwrap();
    dead.expect("holding");
    dead.kill();
    let slots = |alive: bool| {
        let info = dir.open("r").info().unwrap();
        info.subscribers.iter().filter(|one| one.alive == alive).count()
    };
    assert_eq!((slots(true), slots(false)), (1, 1));
    let dry = prune(&dir).dry_run().unwrap();
    let dead_slot = dry.iter().find(|one| one.found == Found::DeadSlot).unwrap();
    assert_eq!((dead_slot.fate, dead_slot.name.starts_with("r/slot ")), (Fate::Removable, true));
    assert_eq!(slots(false), 1);
    let done = prune(&dir).apply().unwrap();
    assert_eq!(done.iter().filter(|one| one.found == Found::DeadSlot).count(), 1);
    assert_eq!((slots(true), slots(false)), (1, 0));
    assert_eq!(&*alive.recv().unwrap(), b"x");

    let mut dead = Child::start("hold", &[dir.text(), "r"]);
    dead.expect("joined");
    drop(tx);
    dead.kill();
    assert_eq!(slots(false), 1);
    // Told to remove persistent rings: this one is still held.
    let done = prune(&dir).persistent(true).apply().unwrap();
    assert_eq!(told(&done)[0], ("r", Found::Persistent, Fate::Kept));
    assert_eq!((slots(true), slots(false)), (1, 0));
}

/// A producer that is blocked by a dead reader is woken by whoever frees the slot.
#[test]
fn a_blocked_producer_goes_on() {
    in_time(|| {
        let dir = Arc::new(Dir::new());
        let hour = Duration::from_secs(3600);
        let mut tx = dir.create("r").capacity(4096).liveness(hour).producer().unwrap();
        let mut dead = Child::start("hold", &[dir.text(), "r"]);
        dead.expect("joined");
        tx.send(&[0; 1024]).unwrap();
        dead.expect("holding");
        while tx.try_send(&[0; 1024]).is_ok() {}
        dead.kill();
        let path = dir.path().to_owned();
        // The producer has looked for the dead once, in vain, and does not look again within the hour.
        let (say, tid) = std::sync::mpsc::channel();
        let sender = thread::spawn(move || {
            let own = thread_id();
            say.send((own, sleeps(own).unwrap())).unwrap();
            tx.send(&[1; 1024]).unwrap();
            drop(tx);
        });
        let (sleeper, before) = tid.recv().unwrap();
        // The first sleep of a producer ends by itself, after a millisecond; the second is the long one.
        until("the producer is in its long sleep", || sleeps(sleeper).unwrap() >= before + 2);
        until_asleep(sleeper);
        let done = Ring::prune().dir(path).apply().unwrap();
        assert_eq!(done.iter().filter(|one| one.found == Found::DeadSlot).count(), 1, "{done:?}");
        sender.join().unwrap();
    });
}

/// Files that earlier producers left in a ring go, if it has no producer; those of the last one stay with it.
#[test]
fn files_of_earlier_producers() {
    let dir = Dir::new();
    let tx = dir.create("r").capacity(4096).persistent(true).producer().unwrap();
    for file in ["life.7", ".0123456789abcdef"] {
        fs::write(dir.file("r", file), "").unwrap();
    }
    assert_eq!(told(&prune(&dir).apply().unwrap()), [("r", Found::Held, Fate::Kept)]);
    drop(tx);
    let dry = prune(&dir).dry_run().unwrap();
    assert_eq!(dry.iter().filter(|one| one.fate == Fate::Removable).count(), 2, "{dry:?}");
    let done = prune(&dir).apply().unwrap();
    let mut gone: Vec<_> =
        done.iter().filter(|one| one.fate == Fate::Removed).map(|one| one.name.as_str()).collect();
    gone.sort_unstable();
    assert_eq!(gone, ["r/.0123456789abcdef", "r/life.7"]);
    assert_eq!(entries(&dir.path().join("r")), ["ctl", "data", "life.1", "owner"]);
    drop(dir.open("r").producer().unwrap());
}

/// What no ring is, is told, not followed, and left alone, also inside what would go.
#[test]
fn what_is_not_ours_stays() {
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    leave(&elsewhere, "left");
    symlink(elsewhere.path().join("left"), dir.path().join("link")).unwrap();
    symlink(elsewhere.path(), dir.path().join(".0000000000000000")).unwrap();
    fs::write(dir.path().join("file"), "text").unwrap();
    fs::write(dir.path().join(".1111111111111111"), "text").unwrap();
    fs::create_dir_all(dir.path().join("deep/er")).unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::create_dir(dir.path().join("no ring")).unwrap();
    fs::create_dir(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff"))).unwrap();
    let fifo = std::ffi::CString::new(format!("{}/fifo", dir.text())).unwrap();
    // SAFETY: a path of ours, that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
    // A link, a directory and a stranger's file in what would go without them.
    for (name, planted) in [("a", "link"), ("b", "dir"), ("c", "file")] {
        leave(&dir, name);
        let path = dir.file(name, planted);
        match planted {
            "link" => symlink(elsewhere.path(), path).unwrap(),
            "dir" => fs::create_dir(path).unwrap(),
            _ => fs::write(path, "mine").unwrap(),
        }
    }
    let draft = dir.path().join(".2222222222222222");
    fs::create_dir(&draft).unwrap();
    fs::write(draft.join("owner"), "").unwrap();
    symlink(elsewhere.path().join("left/data"), draft.join("data")).unwrap();
    // A pipe in the place of a ring's file must not make anybody wait.
    leave(&dir, "p");
    fs::remove_file(dir.file("p", "owner")).unwrap();
    let owner = std::ffi::CString::new(format!("{}/p/owner", dir.text())).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::mkfifo(owner.as_ptr(), 0o600) }, 0);

    let (before, outside) = (all_below(dir.path()), all_below(elsewhere.path()));
    for findings in [prune(&dir).dry_run(), prune(&dir).persistent(true).unreadable(true).apply()] {
        let findings = findings.unwrap();
        assert_eq!(findings.len(), 15, "{findings:#?}");
        for one in &findings {
            assert!(one.fate == Fate::Kept && one.why.contains("by hand"), "{one:?}");
        }
    }
    assert_eq!(all_below(dir.path()), before);
    assert_eq!(all_below(elsewhere.path()), outside);
}

/// A ring that cannot be read may be one that stays: it goes only when that is asked for.
#[test]
fn what_cannot_be_read_stays_unless_told() {
    let dir = Dir::new();
    for name in ["cut", "newer", "overwritten"] {
        leave(&dir, name);
    }
    fs::write(dir.file("cut", "data"), "").unwrap();
    // The version stands behind the magic.
    let poke = |name: &str, at: u64, bytes: &[u8]| {
        use std::os::unix::fs::FileExt;
        let data = fs::OpenOptions::new().write(true).open(dir.file(name, "data")).unwrap();
        data.write_all_at(bytes, at).unwrap();
    };
    poke("newer", 8, &99_u32.to_le_bytes());
    poke("overwritten", 0, b"something else");
    for done in [prune(&dir).apply(), prune(&dir).unreadable(true).dry_run()] {
        assert!(done.unwrap().iter().all(|one| one.found == Found::Unreadable));
        assert_eq!(dir.entries(), ["cut", "newer", "overwritten"]);
    }
    let kept = prune(&dir).persistent(true).apply().unwrap();
    assert!(kept.iter().all(|one| one.fate == Fate::Kept && one.why.contains("unreadable")), "{kept:?}");
    assert!(kept[1].why.contains("version"), "{kept:?}");
    prune(&dir).unreadable(true).apply().unwrap();
    assert_eq!(dir.entries(), [""; 0]);
}

/// A directory that others may write is refused, as everywhere; one that is not there is not made.
#[test]
fn directories() {
    let dir = Dir::new();
    leave(&dir, "r");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = prune(&dir).apply().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnsafeDirectory { .. }), "{error}");
    assert_eq!(dir.entries(), ["r"]);
    let missing = Dir::missing();
    assert_eq!(prune(&missing).apply().unwrap(), []);
    assert!(!missing.path().exists());
    let file = Dir::missing();
    fs::write(file.path(), "").unwrap();
    helpful_refusal(&prune(&file));
}

#[track_caller]
fn helpful_refusal(prune: &Prune) {
    helpful(&prune.dry_run().unwrap_err());
}

/// For [`prune_beside_creators`]: makes rings come and go, and looks each time whether they are really there.
pub(super) fn rounds(dir: &str, name: &str, count: u64, persistent: bool) {
    assert_eq!(listen(), "go");
    for n in 0..count {
        let ring = if n % 2 == 0 && !persistent { Ring::create(name) } else { Ring::open_or_create(name) };
        let ring = ring.dir(dir).capacity(4096).max_subscribers(2).persistent(persistent);
        let mut tx = ring.producer().unwrap_or_else(|error| panic!("round {n}: {error}"));
        let rx = Ring::open(name).dir(dir).subscribe().unwrap_or_else(|error| panic!("round {n}: {error}"));
        tx.send(&n.to_le_bytes()).unwrap();
        assert_eq!(*rx.recv().unwrap(), n.to_le_bytes());
        let info = Ring::open(name).dir(dir).info().unwrap_or_else(|error| panic!("round {n}: {error}"));
        assert!(info.producer_alive, "round {n}");
        drop((rx, tx));
        // Nobody's for a moment, which the prunes are there to find.
        thread::yield_now();
    }
    say("done");
}

/// For the same: prunes for ever; says what of `found` it removed when it is asked.
pub(super) fn prune_for_ever(dir: &str) {
    let asked = thread::spawn(listen);
    let mut removed = 0;
    while !asked.is_finished() {
        let findings = Ring::prune().dir(dir).persistent(true).apply().unwrap();
        removed += findings.iter().filter(|one| one.fate == Fate::Removed).count();
    }
    say(&removed.to_string());
}

/// Promise: a crash leaves something. Two prunes without a pause, beside creators,
/// takers-over and enders: never is a living ring removed, never does anybody fail, and what nobody holds goes.
#[test]
fn prune_beside_creators() {
    in_time(|| {
        let dir = Dir::new();
        let mut pruners: Vec<_> = (0..2).map(|_| Child::start("prune-for-ever", &[dir.text()])).collect();
        let mut makers: Vec<_> = [("a", "false", "1000"), ("b", "true", "1000"), ("c", "true", "1000")]
            .into_iter()
            .map(|(name, persistent, count)| Child::start("rounds", &[dir.text(), name, count, persistent]))
            .collect();
        makers.iter_mut().for_each(|maker| maker.tell("go"));
        makers.iter_mut().for_each(|maker| maker.expect("done"));
        makers.iter_mut().for_each(Child::ends_well);
        let mut removed = 0;
        for pruner in &mut pruners {
            pruner.tell("enough");
            removed += pruner.hear().parse::<u64>().unwrap();
            pruner.ends_well();
        }
        eprintln!("{removed} removed beside 3000 rounds");
        assert!(removed > 30, "the prunes came too late for everything: {removed}");
        prune(&dir).persistent(true).apply().unwrap();
        assert_eq!(dir.entries(), [""; 0]);
    });
}

/// Holds many rings until it is killed.
pub(super) fn hold_many(dir: &str, count: u32) {
    let ring = |n| Ring::create(&format!("r{n}")).dir(dir).capacity(4096).max_subscribers(1);
    let _held: Vec<_> = (0..count).map(|n| ring(n).producer().unwrap()).collect();
    say("holding");
    listen();
}

/// Two prunes that begin at once: all is gone after both, and neither fails.
#[test]
fn two_prunes_at_once() {
    for _ in 0..8 {
        let dir = Dir::new();
        let mut victim = Child::start("hold-many", &[dir.text(), "40"]);
        victim.expect("holding");
        assert!(prune(&dir).apply().unwrap().iter().all(|one| one.found == Found::Held));
        victim.kill();
        let start = Arc::new(Barrier::new(2));
        let threads = [(); 2].map(|()| {
            let (start, prune) = (Arc::clone(&start), prune(&dir));
            thread::spawn(move || {
                start.wait();
                prune.apply().unwrap()
            })
        });
        let removed: usize = threads
            .map(|thread| thread.join().unwrap().iter().filter(|one| one.fate == Fate::Removed).count())
            .into_iter()
            .sum();
        assert!(removed >= 40, "{removed}");
        assert_eq!(dir.entries(), [""; 0]);
    }
}
