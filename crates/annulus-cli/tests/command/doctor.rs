//! `doctor`: what is fine, what is not, and what to do, in settings that are really so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use annulus::Ring;
use annulus::doctor::CHECKS;
use rustix::process::{Signal, geteuid};

use crate::rig::{Ended, Place, Running};

/// The verdict of a check, and its whole line.
#[track_caller]
fn of<'a>(ended: &'a Ended, check: &str) -> (&'a str, &'a str) {
    let line = ended.text().lines().find(|line| line.split_whitespace().next() == Some(check));
    let line = line.unwrap_or_else(|| panic!("{check} is not in {} {}", ended.text(), ended.err));
    (line.split_whitespace().nth(1).unwrap(), line)
}

/// That a check has this verdict with these words, that the exit code says so, and that something is advised.
#[track_caller]
fn says(ended: &Ended, check: &str, verdict: &str, words: &str) {
    let (found, line) = of(ended, check);
    assert_eq!(found, verdict, "{line}");
    assert!(line.contains(words), "`{words}` is not in {line}");
    let worst = ["fine", "warning", "broken"]
        .iter()
        .rposition(|verdict| ended.text().lines().any(|l| l.split_whitespace().nth(1) == Some(verdict)));
    assert_eq!(ended.code, worst.map(|worst| worst as i32), "{}", ended.text());
    let advice = ended.text().lines().find_map(|line| line.strip_prefix(&format!("{check}: ")));
    assert_eq!(advice.is_some_and(|advice| advice.len() > 20), verdict != "fine", "{}", ended.text());
}

/// Runs a script, in which `"$@"` is the program with these arguments.
fn script(place: &Place, script: &str, args: &[&str]) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_annulus")]).args(args);
    command.env("ANNULUS_DIR", place.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().unwrap()).end()
}

fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("NOT TESTED: needs root");
    }
    root
}

#[test]
fn all_is_told_and_nothing_is_left() {
    let place = Place::made();
    for ended in [place.run(&["doctor"]), place.run(&["doctor", "--dir", place.path().to_str().unwrap()])] {
        assert_eq!(ended.err, "");
        for (check, line) in CHECKS.iter().zip(ended.text().lines()) {
            assert_eq!(line.split_whitespace().next(), Some(*check));
        }
        for check in ["directory", "file-system", "locks", "renames", "leftovers", "deleted-rings", "proc"] {
            says(&ended, check, "fine", "");
        }
    }
    assert_eq!(place.names(), [""; 0]);
    let only = place.run(&["doctor", "--only", "locks,directory"]);
    assert_eq!((only.code, only.text().lines().count()), (Some(0), 2), "{}", only.text());
    let wrong = place.run(&["doctor", "--only", "luck"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("deleted-rings"), "{}", wrong.err);

    let json = place.run(&["doctor", "--json"]);
    let lines: Vec<&str> = json.text().lines().collect();
    assert_eq!(lines.len(), CHECKS.len());
    for (line, check) in lines.iter().zip(CHECKS) {
        assert!(line.starts_with(&format!("{{\"name\":\"{check}\",\"verdict\":\"")), "{line}");
        assert!(line.ends_with("\"}") && line.contains(",\"found\":\"") && !line.contains("\"\""), "{line}");
        assert!(line.contains(",\"advice\":\""), "{line}");
    }
}

#[test]
fn directories() {
    let missing = Place::new();
    let ended = missing.run(&["doctor"]);
    says(&ended, "directory", "fine", "the first producer makes it");
    says(&ended, "locks", "fine", "not tried");
    assert!(!missing.path().exists());
    let nowhere = missing.path().join("no/where");
    let ended = missing.run(&["doctor", "--dir", nowhere.to_str().unwrap()]);
    says(&ended, "directory", "broken", "nor is the directory above it");

    let place = Place::made();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o733)).unwrap();
    says(&place.run(&["doctor"]), "directory", "broken", "others may write it");
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let ended = place.run(&["doctor", "--dir", file.to_str().unwrap()]);
    says(&ended, "directory", "broken", "not a directory");
    let disk = env!("CARGO_TARGET_TMPDIR");
    let ended = place.run(&["doctor", "--dir", disk, "--only", "file-system"]);
    assert_ne!(of(&ended, "file-system").0, "warning", "{}", ended.text());
}

/// What crashes left, until `prune` has been there.
#[test]
fn leftovers() {
    let place = Place::made();
    let publisher = place.start(&["pub", "left", "--capacity", "4K"]);
    place.until("left", |info| info.producer_alive);
    says(&place.run(&["doctor"]), "leftovers", "fine", "1 held");
    publisher.signal(Signal::KILL);
    publisher.end();
    let ended = place.run(&["doctor"]);
    says(&ended, "leftovers", "warning", "1 leftover");
    assert!(ended.text().contains("`annulus prune --apply`"), "{}", ended.text());
    assert_eq!(place.run(&["prune", "--apply"]).code, Some(0));
    says(&place.run(&["doctor"]), "leftovers", "fine", "empty");
}

/// Promise: a ring's directory is deleted while it is in use: those who are attached go on, and `doctor` says who.
#[test]
fn files_deleted_while_in_use() {
    let place = Place::made();
    let publisher = place.start(&["pub", "gone", "--capacity", "4K", "--subscribers", "1"]);
    let subscriber = place.start(&["sub", "gone", "--wait", "60"]);
    place.until("gone", |info| info.subscribers.len() == 1);
    says(&place.run(&["doctor"]), "deleted-rings", "fine", "");
    fs::remove_dir_all(place.path().join("gone")).unwrap();
    let ended = place.run(&["doctor"]);
    says(&ended, "deleted-rings", "warning", "`gone`");
    for pid in [publisher.0.id(), subscriber.0.id()] {
        assert!(of(&ended, "deleted-rings").1.contains(&pid.to_string()), "{pid}: {}", ended.text());
    }
    drop((publisher, subscriber));
    says(&place.run(&["doctor"]), "deleted-rings", "fine", "");

    // A ring that ended in good order while somebody reads what is there was not deleted by anybody else.
    let tx = Ring::create("ended").dir(place.path()).producer().unwrap();
    let rx = Ring::open("ended").dir(place.path()).subscribe().unwrap();
    drop(tx);
    says(&place.run(&["doctor"]), "deleted-rings", "fine", "");
    drop(rx);
}

#[test]
fn limits() {
    let place = Place::made();
    let ended = script(&place, "ulimit -n 40; exec \"$@\"", &["doctor"]);
    says(&ended, "descriptors", "warning", "RLIMIT_NOFILE is 40");
    let ended = script(&place, "ulimit -v 1000000; exec \"$@\"", &["doctor"]);
    says(&ended, "address-space", "fine", "RLIMIT_AS is");
    let mut tx = Ring::create("big").dir(place.path()).capacity(512 << 20).prefault(false);
    tx = tx.max_subscribers(0);
    let tx = tx.producer().unwrap();
    let ended = script(&place, "ulimit -v 1000000; exec \"$@\"", &["doctor"]);
    says(&ended, "address-space", "warning", "1.0 GiB");
    drop(tx);
    if is_root() {
        let limited = "ulimit -l 64; exec setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock \"$@\"";
        says(&script(&place, limited, &["doctor"]), "locked-memory", "warning", "RLIMIT_MEMLOCK is 64.0 KiB");
        says(
            &script(&place, "ulimit -l 64; exec \"$@\"", &["doctor"]),
            "locked-memory",
            "fine",
            "CAP_IPC_LOCK",
        );
    }
}

/// A file system that is too small for a usual ring, one that is too small for any, one that is read only.
#[test]
fn small_file_systems() {
    if !is_root() {
        return;
    }
    let place = Place::made();
    let on = |options: &str, more: &str| {
        let mount =
            format!("mount -t tmpfs -o mode=700,{options} none \"$ANNULUS_DIR\" && {more} exec \"$@\"");
        let inside = format!("exec unshare -m sh -c '{mount}' sh \"$@\"");
        script(&place, &inside, &["doctor"])
    };
    let small = on("size=1m", "");
    says(&small, "space", "warning", "1.0 MiB free of 1.0 MiB");
    says(&small, "locks", "fine", "");
    says(&on("size=16m", ""), "space", "fine", "16.0 MiB");
    says(&on("size=32k", ""), "space", "broken", "32.0 KiB free");
    says(&on("size=16m,nr_inodes=1", ""), "locks", "broken", "no room");
    says(&on("size=16m,ro", ""), "locks", "broken", "Read-only");
}

/// Without `/proc` much is not known, and nothing breaks.
#[test]
fn without_proc() {
    if !is_root() {
        return;
    }
    let place = Place::made();
    let hidden = "exec unshare -m sh -c 'mount -t tmpfs none /proc && exec \"$@\"' sh \"$@\"";
    let ended = script(&place, hidden, &["doctor"]);
    says(&ended, "proc", "warning", "not mounted");
    says(&ended, "memory-limit", "warning", "not known");
    for check in ["directory", "locks", "renames", "leftovers", "space"] {
        says(&ended, check, "fine", "");
    }
    let pruned = script(&place, hidden, &["prune", "--apply"]);
    assert_eq!((pruned.code, pruned.err.as_str()), (Some(0), ""));
}

/// One CPU for everybody.
#[test]
fn one_cpu() {
    let place = Place::made();
    let ended = script(&place, "exec taskset -c 0 \"$@\"", &["doctor"]);
    says(&ended, "cpus", "warning", "1 of ");
}

/// A control group with less memory than a ring takes, where this machine lets us make one (version 1 or 2).
#[test]
fn a_control_group() {
    if !is_root() {
        return;
    }
    let group = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].iter().find_map(|top| {
        let group = std::path::Path::new(top).join(format!("annulus-test-{}", std::process::id()));
        fs::create_dir(&group).ok()?;
        let files = [("memory.limit_in_bytes", "cgroup.procs"), ("memory.max", "cgroup.procs")];
        let file = files.iter().find(|(limit, _)| fs::write(group.join(limit), "8388608").is_ok());
        if file.is_none() {
            let _ = fs::remove_dir(&group);
        }
        file.map(|_| group)
    });
    let Some(group) = group else {
        eprintln!("NOT TESTED: no control group for memory can be made here");
        return;
    };
    let place = Place::made();
    // As much as a ring that is here, made outside the group.
    let tx = Ring::create("big").dir(place.path()).capacity(16 << 20).producer().unwrap();
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display());
    let ended = script(&place, &enter, &["doctor"]);
    drop(tx);
    let after = script(&place, &enter, &["doctor"]);
    fs::remove_dir(&group).unwrap();
    says(&ended, "memory-limit", "warning", "may use 8.0 MiB");
    says(&after, "memory-limit", "fine", "may use 8.0 MiB");
}
