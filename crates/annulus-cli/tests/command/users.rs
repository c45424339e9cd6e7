//! Other users: who may only read, and who is not trusted.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;

use crate::rig::{Ended, Place, Running, feed};
use crate::wrong::refused;

const NOBODY: u32 = 65_534;
const SOMEBODY: u32 = 65_533;

/// Whether this process may become another user's.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Starts the program as another user, who need not be able to reach it by its path.
fn start_as(place: &Place, uid: u32, args: &[&str]) -> Running {
    let program = File::open(env!("CARGO_BIN_EXE_annulus")).unwrap();
    let mut command = place.command(args);
    let mut other = std::process::Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    other.args(command.get_args()).env("ANNULUS_DIR", place.path()).uid(uid).gid(uid);
    other.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    command = other;
    Running(command.stderr(std::process::Stdio::piped()).spawn().unwrap())
}

fn run_as(place: &Place, uid: u32, args: &[&str]) -> Ended {
    start_as(place, uid, args).end()
}

fn open_place() -> Place {
    let place = Place::made();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    place
}

/// Permission to read the data is all that an observer needs, and all that the counters do.
#[test]
fn who_may_only_read() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let args = ["pub", "read", "--mode", "0644,0660", "--stamped", "monotonic", "--subscribers", "1"];
    let mut publisher = place.start(&args);
    let subscriber = place.start(&["sub", "read", "--wait", "60"]);
    place.until("read", |info| info.subscribers.len() == 1);
    let mut stdin = publisher.stdin();
    stdin.write_all(b"a\nb\n").unwrap();
    place.until("read", |info| info.published == 2);
    let nobody = |args: &[&str]| run_as(&place, NOBODY, args);
    let tail = nobody(&["tail", "read", "--from", "oldest", "--count", "2"]);
    assert_eq!((tail.code, tail.text(), tail.err.as_str()), (Some(0), "a\nb\n", ""));
    // Who subscribes is not shown, and that is said.
    let info = nobody(&["info", "read"]);
    assert_eq!((info.code, info.err.as_str()), (Some(0), ""));
    for line in ["published: 2", "producer_alive: yes", "uid: 0", "subscribers: none", "lost: none"] {
        assert!(info.text().lines().any(|found| found == line), "{line}: {}", info.text());
    }
    let json = nobody(&["info", "read", "--json"]);
    assert!(json.text().contains("\"lost\":null,") && json.text().ends_with("\"groups\":null}\n"));
    assert!(json.text().contains("\"subscribers\":null,"));
    assert!(nobody(&["ls"]).text().trim_end().ends_with(" ?"));
    assert_eq!(nobody(&["hz", "read", "--count", "1"]).code, Some(0));
    refused(&nobody(&["lag", "read"]), &["does not permit", "who subscribes"]);
    refused(&nobody(&["sub", "read"]), &["does not permit", "`--mode`"]);
    refused(&nobody(&["sub", "read", "--copy"]), &["does not permit"]);
    refused(&nobody(&["rm", "read"]), &["`read`"]);
    let check = nobody(&["check", "read", "--producer-alive", "--max-age", "1h"]);
    assert_eq!(check.code, Some(0), "{}", check.text());
    let check = nobody(&["check", "read", "--max-lag", "50%"]);
    assert_eq!(check.code, Some(3), "{}", check.text());
    assert!(check.text().starts_with("ANNULUS UNKNOWN - "), "{}", check.text());
    // It ends with the producer, as any reader.
    let tail = start_as(&place, NOBODY, &["tail", "read", "--from", "0"]);
    drop(stdin);
    assert_eq!((publisher.end().code, subscriber.end().code), (Some(0), Some(0)));
    let tail = tail.end();
    assert!(tail.code == Some(0) && tail.text() == "a\nb\n" || tail.err.contains("no ring"), "{tail:?}");

    let mut publisher = place.start(&["pub", "closed"]);
    place.until("closed", |info| info.producer_alive);
    for command in ["tail", "info", "hz"] {
        refused(&run_as(&place, NOBODY, &[command, "closed"]), &["`closed`", "does not permit", "`--mode`"]);
    }
    assert_eq!(run_as(&place, NOBODY, &["check", "closed"]).code, Some(3));
    drop(publisher.stdin());
    assert_eq!(publisher.end().code, Some(0));
}

/// The ring of a user whom one does not trust can be copied from.
#[test]
fn who_is_not_trusted() {
    if !is_root() {
        return;
    }
    let place = open_place();
    chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let made = run_as(&place, NOBODY, &["create", "theirs", "--mode", "0644,0666"]);
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""));
    let mut publisher = start_as(&place, NOBODY, &["pub", "theirs"]);
    feed(&mut publisher, b"a\nb\n".to_vec());
    assert_eq!(publisher.end().code, Some(0));
    let args = ["sub", "theirs", "--from", "0"];
    let somebody = |more: &[&str]| run_as(&place, SOMEBODY, &[&args, more].concat());
    refused(
        &somebody(&[]),
        &["uid 65534", "`annulus sub --copy`", "`annulus tail`", "`annulus sub --trust-uid 65534`"],
    );
    for more in [&["--copy"][..], &["--trust-uid", "65534"]] {
        let read = somebody(more);
        assert_eq!((read.code, read.text(), read.err.as_str()), (Some(0), "a\nb\n", ""), "{more:?}");
    }
    let tail = run_as(&place, SOMEBODY, &["tail", "theirs", "--from", "0"]);
    assert_eq!((tail.code, tail.text()), (Some(0), "a\nb\n"));
    refused(&run_as(&place, SOMEBODY, &["rm", "theirs"]), &["`theirs`"]);
}
