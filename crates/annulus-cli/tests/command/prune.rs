//! `prune`: what crashes left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::process::Signal;

use crate::rig::{Ended, Place};
use crate::wrong::refused;

/// A ring whose producer was killed.
fn leave(place: &Place, name: &str) {
    let publisher = place.start(&["pub", name, "--capacity", "4K"]);
    place.until(name, |info| info.producer_alive);
    publisher.signal(Signal::KILL);
    publisher.end();
}

/// Words of each line of findings, without the heading and the summary.
fn rows(ended: &Ended) -> Vec<Vec<&str>> {
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = ended.text().lines().collect();
    assert!(lines[0].starts_with("NAME"), "{}", ended.text());
    lines[1..lines.len() - 1].iter().map(|line| line.split_whitespace().collect()).collect()
}

fn sorted(place: &Place) -> Vec<String> {
    let mut names = place.names();
    names.sort();
    names
}

/// The dry run is the default and changes nothing; `--apply` removes what nobody holds, and no more.
#[test]
fn dry_run_then_apply() {
    let place = Place::made();
    leave(&place, "left");
    assert_eq!(place.run(&["create", "stays", "--capacity", "4K"]).code, Some(0));
    let publisher = place.start(&["pub", "alive", "--capacity", "4K"]);
    place.until("alive", |info| info.producer_alive);
    let subscriber = place.start(&["sub", "alive"]);
    place.until("alive", |info| info.subscribers.len() == 1);
    subscriber.signal(Signal::KILL);
    subscriber.end();
    fs::create_dir(place.path().join(".00000000000000aa")).unwrap();
    fs::write(place.path().join("a file"), "mine").unwrap();
    symlink("/", place.path().join("link")).unwrap();
    let all = [".00000000000000aa", "a file", "alive", "left", "link", "stays"];

    let dry = place.run(&["prune"]);
    assert_eq!(sorted(&place), all);
    let fates = |ended: &Ended| -> Vec<String> {
        let words = |row: &Vec<&str>| {
            row.iter().filter(|word| ["kept", "removable", "removed"].contains(word)).copied().collect()
        };
        rows(ended).iter().map(words).collect()
    };
    assert_eq!(
        fates(&dry),
        ["removable", "kept", "kept", "removable", "removable", "kept", "kept"],
        "{}",
        dry.text()
    );
    assert_eq!(rows(&dry)[4][..2], ["left", "leftover"]);
    assert_eq!(rows(&dry)[3][..3], ["alive/slot", "0", "dead-slot"]);
    assert!(dry.text().contains("`annulus rm` and `annulus prune --persistent`"), "{}", dry.text());
    let last = dry.text().lines().last().unwrap();
    assert!(last.starts_with("3 would be removed, ") && last.ends_with("removes them"), "{last}");
    assert_eq!(place.info("alive").unwrap().subscribers.len(), 1);

    let json = place.run(&["prune", "--json", "--dir", place.path().to_str().unwrap()]);
    let lines: Vec<&str> = json.text().lines().collect();
    assert_eq!((json.code, lines.len()), (Some(0), 7));
    for line in &lines {
        assert!(line.starts_with("{\"name\":\"") && line.ends_with("\"}"), "{line}");
        for field in ["\",\"what\":\"", "\",\"bytes\":", ",\"fate\":\"", "\",\"why\":\""] {
            assert_eq!(line.matches(field).count(), 1, "{line}");
        }
    }
    assert!(lines[4].starts_with("{\"name\":\"left\",\"what\":\"leftover\",\"bytes\":"), "{}", lines[4]);

    let done = place.run(&["prune", "--apply"]);
    assert_eq!(fates(&done).iter().filter(|fate| *fate == "removed").count(), 3, "{}", done.text());
    assert!(done.text().lines().last().unwrap().starts_with("3 removed, "), "{}", done.text());
    assert_eq!(sorted(&place), ["a file", "alive", "link", "stays"]);
    assert!(place.info("alive").is_some_and(|info| info.producer_alive && info.subscribers.is_empty()));
    assert_eq!(place.run(&["prune", "--yes"]).text().lines().last(), Some("nothing to remove"));

    let done = place.run(&["prune", "--apply", "--persistent"]);
    assert_eq!(done.code, Some(0));
    assert_eq!(sorted(&place), ["a file", "alive", "link"]);
    publisher.signal(Signal::TERM);
    assert_eq!(publisher.end().code, Some(143));
}

/// A subscriber that is still at work holds its ring; afterwards it goes.
#[test]
fn what_is_still_read_stays() {
    let place = Place::made();
    let publisher = place.start(&["pub", "read", "--capacity", "4K"]);
    place.until("read", |info| info.producer_alive);
    let reader = place.start(&["sub", "read", "--stay"]);
    place.until("read", |info| info.subscribers.len() == 1);
    publisher.signal(Signal::KILL);
    publisher.end();
    let done = place.run(&["prune", "--apply", "--persistent", "--unreadable"]);
    assert!(done.text().contains("1 subscribers still hold it"), "{}", done.text());
    // It stays for the next producer, which goes on.
    place.publish(&["pub", "read"], "x\n");
    assert_eq!(reader.end().text(), "x\n");
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn what_cannot_be_pruned() {
    let place = Place::new();
    let none = place.run(&["prune", "--apply"]);
    assert_eq!((none.code, none.text().lines().last()), (Some(0), Some("nothing to remove")));
    assert!(!place.path().exists());
    let place = Place::made();
    leave(&place, "damaged");
    fs::write(place.path().join("damaged/data"), "").unwrap();
    let told = place.run(&["prune", "--apply", "--persistent"]);
    assert!(told.text().contains("`annulus prune --unreadable`"), "{}", told.text());
    assert_eq!(place.names(), ["damaged"]);
    assert_eq!(place.run(&["prune", "--apply", "--unreadable"]).code, Some(0));
    assert_eq!(place.names(), [""; 0]);
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    refused(&place.run(&["prune"]), &["others may write it"]);
    let help = place.run(&["prune", "--help"]);
    assert!(help.text().contains("Without --apply it changes nothing"), "{}", help.text());
}
