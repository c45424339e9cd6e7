//! Wrong use says what to do, and leaves nothing behind.

use std::time::Duration;

use crate::rig::{Ended, Place, feed, until};

/// Exit code 2, no output, and one line that has all of `words`.
#[track_caller]
pub(crate) fn refused(ended: &Ended, words: &[&str]) {
    assert_eq!((ended.code, ended.text()), (Some(2), ""), "{}", ended.err);
    for word in words {
        assert!(ended.err.contains(word), "`{word}` is not in: {}", ended.err);
    }
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    assert!(!ended.err.contains("(..)"), "a method of the library: {}", ended.err);
}

#[test]
fn no_such_ring() {
    let place = Place::new();
    refused(&place.run(&["sub", "none"]), &["`none`", "there is no ring", "`annulus sub --wait SECS`"]);
    refused(&place.run(&["info", "none"]), &["`none`", "there is no ring"]);
    let began = std::time::Instant::now();
    refused(&place.run(&["sub", "none", "--wait", "0.3"]), &["`none`", "appeared in time"]);
    assert!(began.elapsed() >= Duration::from_millis(300));
    let elsewhere = place.path().join("no/directory");
    refused(&place.run(&["sub", "none", "--dir", elsewhere.to_str().unwrap()]), &["there is no ring"]);
}

#[test]
fn a_second_producer() {
    let place = Place::new();
    let mut first = place.start(&["pub", "one"]);
    until(|| place.info("one").is_some());
    refused(&place.run(&["pub", "one"]), &["`one`", "living producer", "only one"]);
    drop(first.stdin());
    assert_eq!(first.end().code, Some(0));
}

#[test]
fn names_that_no_ring_may_have() {
    let place = Place::new();
    let long = "x".repeat(201);
    for name in ["", ".hidden", "..", "a/b", "a b", "é", &long] {
        for command in ["pub", "sub", "info"] {
            refused(&place.run(&[command, name]), &["a ring's name is 1 to 200 characters"]);
        }
    }
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn capacities() {
    let place = Place::new();
    for bytes in ["0", "1073741824G", "18446744073709551615"] {
        refused(&place.run(&["pub", "big", "--capacity", bytes]), &["capacity", "ask for 1 to"]);
    }
    refused(&place.run(&["pub", "big", "--capacity", "1024G"]), &["free", "smaller capacity"]);
    assert_eq!(place.names(), [""; 0]);
    let rounded = place.run(&["pub", "round", "--capacity", "100000"]);
    assert_eq!((rounded.code, rounded.text()), (Some(0), ""));
    assert_eq!(rounded.err, "annulus: the capacity of 100000 bytes is rounded up to 131072\n");
}

#[test]
fn a_line_that_is_too_long() {
    let place = Place::new();
    for line in [b"x".repeat(5000), b"x".repeat(300_000)] {
        let mut publisher = place.start(&["pub", "long", "--capacity", "4K"]);
        feed(&mut publisher, [&line[..], b"\n"].concat());
        refused(&publisher.end(), &["a record of", "is longer than the", "use a larger ring"]);
        assert_eq!(place.names(), [""; 0]);
    }
    refused(&place.run(&["pub", "long", "--capacity", "4K", "--raw", "1M"]), &["1048576", "larger ring"]);
}

#[test]
fn more_subscribers_than_places() {
    let place = Place::new();
    let args = ["pub", "few", "--max-subscribers", "1", "--subscribers"];
    refused(&place.run(&[&args[..], &["2"]].concat()), &["2 subscribers cannot come", "places for 1"]);
    let mut publisher = place.start(&[&args[..], &["1"]].concat());
    let first = place.start(&["sub", "few", "--wait", "60"]);
    place.until("few", |info| info.subscribers.len() == 1);
    refused(&place.run(&["sub", "few"]), &["all its 1 places", "`annulus pub --max-subscribers N`"]);
    drop(publisher.stdin());
    assert_eq!((publisher.end().code, first.end().code), (Some(0), Some(0)));
}

#[test]
fn arguments() {
    let place = Place::new();
    for args in [
        &["pub"][..],
        &["pub", "x", "--raw", "0"],
        &["sub", "x", "--wait", "-1"],
        &["sub", "x", "--wait", "soon"],
        &["sub", "x", "--waiting", "sleep"],
        &["pub", "x", "--fence", "none"],
        &["pub", "x", "--capacity", "1T"],
        &["bench", "--benches", "none"],
        &["bench", "--sizes", "7"],
        &["bench-peer"],
        &["nothing"],
    ] {
        let ended = place.run(args);
        assert_eq!((ended.code, ended.text()), (Some(2), ""), "{args:?}: {}", ended.err);
        assert!(!ended.err.is_empty());
    }
    // Each command says at length what it does.
    for (command, words) in [
        ("pub", "(number mod 26)th"),
        ("sub", "full ring behind"),
        ("tail", "how many records were lost"),
        ("create", "that has none yet"),
        ("rm", "living producer is refused"),
        ("info", "`name: value`"),
        ("hz", "standard deviation"),
        ("lag", "the producer waits for it"),
        ("check", "as a plugin of Nagios does"),
        ("doctor", "removed again; nothing else"),
        ("prune", "Without --apply"),
    ] {
        let help = place.run(&[command, "--help"]);
        assert!(help.code == Some(0) && help.text().contains(words), "{words}: {}", help.text());
    }
    let help = place.run(&["sub", "--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.text().contains("Exit codes:") && help.text().contains("130"), "{}", help.text());
}
