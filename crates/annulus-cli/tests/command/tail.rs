//! `tail`: an observer.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::from::totals;
use crate::rig::{Place, feed, line, until};
use crate::wrong::refused;

#[test]
fn records_as_text_as_digits_and_as_fields() {
    let place = Place::new();
    assert_eq!(place.run(&["create", "forms"]).code, Some(0));
    let mut publisher = place.start(&["pub", "forms", "--raw", "8"]);
    feed(&mut publisher, b"\x01\0\0\0ab\0cline\n\x1b\xff2tail".to_vec());
    assert_eq!(publisher.end().code, Some(0));
    let tail = |args: &[&str]| place.run(&[&["tail", "forms", "--from", "oldest"], args].concat());
    let lines = "\\u{1}\\u{0}\\u{0}\\u{0}ab\\u{0}c\nline\\n\\u{1b}\u{fffd}2\ntail\n";
    for ended in [tail(&[]), tail(&["--text"])] {
        assert_eq!((ended.code, ended.text(), ended.err.as_str()), (Some(0), lines, ""));
    }
    let hex = tail(&["--hex"]);
    assert_eq!((hex.code, hex.text()), (Some(0), "0100000061620063\n6c696e650a1bff32\n7461696c\n"));
    let fields = tail(&["--struct", "<I4s"]);
    assert_eq!((fields.code, fields.text()), (Some(0), "1 ab\n1701734764 \\n\\u{1b}\u{fffd}2\n"));
    assert_eq!(fields.err, "annulus: record 2 has 4 bytes, and the format has 8\n");
    let fields = tail(&["--struct", ">2x B 5x", "--count", "2"]);
    assert_eq!((fields.code, fields.text()), (Some(0), "0\n110\n"));
    for format in ["", "3", "z", "4", "99999999999999Q"] {
        let ended = tail(&["--struct", format]);
        assert_eq!((ended.code, ended.text()), (Some(2), ""), "{format}");
    }
    assert!(tail(&["--struct", "z"]).err.contains("`z` is not one of"));
    assert_eq!(tail(&["--hex", "--text"]).code, Some(2));
    let help = place.run(&["tail", "--help"]);
    assert!(
        help.text().contains("--struct '<Q3f'") && help.text().contains("Exit codes:"),
        "{}",
        help.text()
    );
}

#[test]
fn times_of_publication() {
    let place = Place::new();
    for clock in ["tsc", "monotonic"] {
        assert_eq!(place.run(&["create", clock, "--stamped", clock]).code, Some(0));
        place.publish(&["pub", clock], "a\nb\n");
        for which in ["age", "clock"] {
            let ended = place.run(&["tail", clock, "--from", "0", "--time", which]);
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
            let lines: Vec<(&str, &str)> =
                ended.text().lines().map(|line| line.split_once(' ').unwrap()).collect();
            assert_eq!(lines.iter().map(|line| line.1).collect::<Vec<_>>(), ["a", "b"]);
            let times: Vec<f64> = lines.iter().map(|line| line.0.parse().unwrap()).collect();
            match which {
                "age" => assert!(times.iter().all(|age| (0.0..60.0).contains(age)), "{times:?}"),
                _ => assert!(times[0] > 0.0 && times[0] <= times[1], "{times:?}"),
            }
        }
    }
    assert_eq!(place.run(&["create", "timeless"]).code, Some(0));
    refused(
        &place.run(&["tail", "timeless", "--time", "age"]),
        &["carry no time", "`--stamped`", "`--time`"],
    );
}

/// However fast the producer is: what was received and what was lost add up to what was published.
#[test]
fn losses_are_exact() {
    let place = Place::new();
    assert_eq!(place.run(&["create", "fast", "--capacity", "16K", "--align", "packed"]).code, Some(0));
    let tail = place.start(&["tail", "fast", "--from", "0"]);
    let count = 1_000_000_u64;
    assert_eq!(place.run(&["pub", "fast", "--count", "1M", "--size", "24"]).code, Some(0));
    let tail = tail.end();
    let numbers: Vec<u64> = tail.text().lines().map(|line| line[..20].parse().unwrap()).collect();
    let (received, lost) = totals(&tail.err);
    assert_eq!((tail.code, received, received + lost), (Some(1), numbers.len() as u64, count));
    assert!(numbers.is_sorted_by(|a, b| a < b));
    assert_eq!(numbers.last(), Some(&(count - 1)));

    // A ring at rest: all losses are in front.
    let tail = place.run(&["tail", "fast", "--from", "0", "--count", "10"]);
    let first: u64 = tail.text()[..20].parse().unwrap();
    assert_eq!((tail.code, totals(&tail.err)), (Some(1), (10, first)));
    // Nothing that was asked for is lost.
    let tail = place.run(&["tail", "fast", "--from", "-10"]);
    assert_eq!((tail.code, tail.text().lines().count(), tail.err.as_str()), (Some(0), 10, ""));
}

/// A subscriber would hold the producer; this is no subscriber.
#[test]
fn nobody_waits_for_it() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "free", "--capacity", "4K", "--max-subscribers", "0"]);
    until(|| place.info("free").is_some());
    let mut tail = place.start(&["tail", "free", "--from", "0"]);
    let mut stdin = publisher.stdin();
    stdin.write_all(b"first\n").unwrap();
    let mut lines = tail.stdout();
    assert_eq!(line(&mut lines), "first\n");
    tail.0.stdout = Some(lines.into_inner());
    tail.signal(Signal::STOP);
    stdin.write_all("some words\n".repeat(10_000).as_bytes()).unwrap();
    let info = place.until("free", |info| info.published == 10_001);
    assert_eq!((info.sleeps, info.subscribers.len()), (0, 0));
    tail.signal(Signal::CONT);
    drop(stdin);
    assert_eq!(publisher.end().code, Some(0));
    let tail = tail.end();
    let (received, lost) = totals(&tail.err);
    assert_eq!((tail.code, received + lost), (Some(1), 10_001));
    assert_eq!(tail.text().lines().count() as u64, received - 1);
}

#[test]
fn a_producer_that_dies_and_one_that_ends() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "ended"]);
    until(|| place.info("ended").is_some());
    let tail = place.start(&["tail", "ended", "--from", "0"]);
    let mut staying = place.start(&["tail", "ended", "--from", "0", "--stay"]);
    let mut stdin = publisher.stdin();
    stdin.write_all(b"1\n").unwrap();
    let mut lines = staying.stdout();
    assert_eq!(line(&mut lines), "1\n");
    publisher.signal(Signal::KILL);
    publisher.end();
    let tail = tail.end();
    assert_eq!((tail.code, tail.text(), tail.err.lines().count()), (Some(1), "1\n", 1));
    assert!(tail.err.contains("its producer died"), "{}", tail.err);
    let mut publisher = place.start(&["pub", "ended"]);
    let mut stdin = publisher.stdin();
    stdin.write_all(b"2\n").unwrap();
    assert_eq!(line(&mut lines), "2\n");
    drop(stdin);
    assert_eq!(publisher.end().code, Some(0));
    let staying = staying.end();
    assert_eq!((staying.code, staying.err.as_str()), (Some(0), ""), "the ring is gone with its producer");
}

#[test]
fn signals_and_readers_that_leave() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "left", "--capacity", "4K"]);
    until(|| place.info("left").is_some());
    let mut stdin = publisher.stdin();
    let mut head = place.start(&["tail", "left", "--from", "0"]);
    let mut lossy = place.start(&["tail", "left", "--from", "0"]);
    stdin.write_all(b"one\n").unwrap();
    let (mut lines, mut lossy_lines) = (head.stdout(), lossy.stdout());
    assert_eq!([line(&mut lines), line(&mut lossy_lines)], ["one\n", "one\n"]);
    drop(lines);
    stdin.write_all(b"two\n").unwrap(); // it finds out when it writes
    let head = head.end();
    assert_eq!((head.code, head.err.as_str()), (Some(0), ""));

    assert_eq!(line(&mut lossy_lines), "two\n");
    lossy.signal(Signal::INT);
    let lossy = lossy.end();
    assert_eq!((lossy.code, lossy.err.as_str()), (Some(130), ""));

    // What was lost is also said when a signal ends it.
    stdin.write_all("three\n".repeat(1000).as_bytes()).unwrap();
    place.until("left", |info| info.published == 1002);
    let mut lossy = place.start(&["tail", "left", "--from", "0"]);
    let mut lines = lossy.stdout();
    assert_eq!(line(&mut lines), "three\n");
    let reader = std::thread::spawn(move || std::io::Read::read_to_end(&mut lines, &mut Vec::new()));
    stdin.write_all(b"four\n").unwrap();
    lossy.signal(Signal::INT);
    let lossy = lossy.end();
    assert_eq!(lossy.code, Some(130));
    let (received, lost) = totals(&lossy.err);
    assert!(lost > 900 && (1002..=1003).contains(&(received + lost)), "{}", lossy.err);
    reader.join().unwrap().unwrap();
}

/// What cannot be written is said, also if it is gathered until the end.
#[test]
fn an_output_that_is_full() {
    let place = Place::new();
    assert_eq!(place.run(&["create", "full"]).code, Some(0));
    place.publish(&["pub", "full"], "1\n2\n");
    for command in ["sub", "tail"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = place.command(&[command, "full", "--from", "0"]);
        let ended = command.stdin(Stdio::null()).stdout(full).output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert!(err.starts_with("annulus: cannot write standard output: "), "{err}");
        assert_eq!((ended.status.code(), err.lines().count()), (Some(1), 1));
    }
}

#[test]
fn a_ring_that_is_not_there() {
    let place = Place::made();
    refused(&place.run(&["tail", "none"]), &["`none`", "there is no ring"]);
    refused(&place.run(&["tail", "none", "--wait", "50ms"]), &["`none`", "appeared in time"]);
    let waiting = place.start(&["tail", "early", "--wait", "60", "--from", "0"]);
    waiting.until_it_watches();
    place.publish(&["pub", "other"], "");
    let mut publisher = place.start(&["pub", "early"]);
    let mut stdin = publisher.stdin();
    stdin.write_all(b"x\n").unwrap();
    let mut waiting = waiting;
    let mut lines = waiting.stdout();
    assert_eq!(line(&mut lines), "x\n");
    drop(stdin);
    assert_eq!((publisher.end().code, waiting.end().code), (Some(0), Some(0)));

    let stopped = place.start(&["tail", "none", "--wait", "60"]);
    stopped.until_it_watches();
    stopped.signal(Signal::INT);
    assert_eq!(stopped.end().code, Some(130));
}
