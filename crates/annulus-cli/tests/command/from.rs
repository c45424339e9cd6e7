//! Where readers begin, and readers that copy.

use std::io::{BufRead, Write};

use rustix::process::Signal;

use crate::rig::{Place, feed, line, until};
use crate::wrong::refused;

#[test]
fn any_record_that_is_there() {
    let place = Place::new();
    assert_eq!(place.run(&["create", "ten"]).code, Some(0));
    place.publish(&["pub", "ten"], "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    for how in [&["sub"][..], &["sub", "--copy"], &["tail"]] {
        for (from, first) in [
            ("oldest", 0),
            ("0", 0),
            ("7", 7),
            ("9", 9),
            ("-3", 7),
            ("-1", 9),
            ("-100", 0),
            ("newest", 10),
            ("-0", 10),
        ] {
            let ended = place.run(&[how, &["ten", "--from", from]].concat());
            let wanted: String = (first..10).map(|n| format!("{n}\n")).collect();
            assert_eq!(
                (ended.code, ended.text(), ended.err.as_str()),
                (Some(0), &wanted[..], ""),
                "{how:?} {from}"
            );
        }
        // One that is yet to come is waited for, and those before it are passed over.
        let mut reader = place.start(&[how, &["ten", "--from", "12", "--stay"]].concat());
        let mut lines = reader.stdout();
        if how[0] == "sub" {
            place.until("ten", |info| info.subscribers.len() == 1);
        }
        place.publish(&["pub", "ten"], "10\n11\n12\n");
        assert_eq!(line(&mut lines), "12\n");
        drop((reader, lines));
        place.run(&["rm", "ten"]);
        place.run(&["create", "ten"]);
        place.publish(&["pub", "ten"], "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    }
}

/// What is gone cannot be read in place; who copies is told how much it is.
#[test]
fn records_that_are_gone() {
    let place = Place::new();
    assert_eq!(place.run(&["create", "gone", "--capacity", "4K"]).code, Some(0));
    assert_eq!(place.run(&["pub", "gone", "--count", "1000"]).code, Some(0));
    refused(&place.run(&["sub", "gone", "--from", "0"]), &["is gone", "is the oldest", "`--from oldest`"]);
    let whole = place.run(&["sub", "gone", "--from", "oldest"]);
    assert_eq!((whole.code, whole.err.as_str()), (Some(0), ""));
    let there = whole.text().lines().count();
    assert!(there > 10 && there < 100, "{there}");
    let copied = place.run(&["sub", "gone", "--copy", "--from", "0"]);
    let lost = 1000 - copied.text().lines().count();
    assert_eq!(copied.code, Some(1));
    assert_eq!(
        copied.err,
        format!("annulus: lost {lost} records\nannulus: {} records received, {lost} lost\n", 1000 - lost)
    );
}

#[test]
fn a_ring_that_lends_nothing() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "copied", "--no-in-place", "--subscribers", "1"]);
    until(|| place.info("copied").is_some());
    refused(&place.run(&["sub", "copied"]), &["lends no records", "`annulus sub --copy`", "`annulus tail`"]);
    let subscriber = place.start(&["sub", "copied", "--copy"]);
    let info = place.until("copied", |info| info.subscribers.len() == 1);
    assert!(info.subscribers[0].copying);
    feed(&mut publisher, b"a\nb\n".to_vec());
    let subscriber = subscriber.end();
    assert_eq!((subscriber.code, subscriber.text(), subscriber.err.as_str()), (Some(0), "a\nb\n", ""));
    assert_eq!(publisher.end().code, Some(0));
}

/// The producer goes on without a slow reader, which says exactly what it lost.
#[test]
fn a_slow_reader_is_given_up() {
    let place = Place::new();
    let args =
        ["pub", "prices", "--no-in-place", "--evict-after", "1ms", "--capacity", "4K", "--subscribers", "1"];
    let mut publisher = place.start(&args);
    let mut subscriber = place.start(&["sub", "prices", "--copy", "--wait", "60"]);
    let mut stdin = publisher.stdin();
    stdin.write_all(b"0\n").unwrap();
    let mut lines = subscriber.stdout();
    assert_eq!(line(&mut lines), "0\n");
    subscriber.signal(Signal::STOP);
    let rest: String = (1..1000).map(|n| format!("{n}\n")).collect();
    stdin.write_all(rest.as_bytes()).unwrap();
    let info = place.until("prices", |info| info.published == 1000);
    assert!(info.evicted >= 1, "{info:?}");
    subscriber.signal(Signal::CONT);
    drop(stdin);
    assert_eq!(publisher.end().code, Some(0));
    let numbers: Vec<u64> = lines.lines().map(|line| line.unwrap().parse().unwrap()).collect();
    let ended = subscriber.end();
    let (received, lost) = totals(&ended.err);
    assert_eq!((ended.code, received, received + lost), (Some(1), numbers.len() as u64 + 1, 1000));
    assert!(lost > 900 && numbers.is_sorted(), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&999));
}

/// What the last line of stderr says: records received and lost. The losses told before add up to it.
pub(crate) fn totals(err: &str) -> (u64, u64) {
    let total = err.lines().find(|line| line.contains(" received, ")).unwrap_or_else(|| panic!("{err}"));
    let numbers: Vec<u64> = total.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let told: u64 = err
        .lines()
        .filter_map(|line| line.strip_prefix("annulus: lost ")?.strip_suffix(" records")?.parse::<u64>().ok())
        .sum();
    assert_eq!((numbers.len(), told), (2, numbers[1]), "{err}");
    (numbers[0], numbers[1])
}
