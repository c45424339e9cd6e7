//! `pub` of made-up records.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::rig::{Place, until};
use crate::wrong::refused;

/// What a record has to be.
fn made_up(number: u64, size: usize) -> String {
    let digits = format!("{number:020}");
    let letters = (0..).map(|i| char::from(b'a' + ((number + i) % 26) as u8));
    match size.checked_sub(20) {
        Some(rest) => digits.chars().chain(letters.take(rest)).collect(),
        None => digits[20 - size..].to_owned(),
    }
}

#[test]
fn each_record_says_its_number() {
    let place = Place::new();
    for (size, args) in
        [(64, &[][..]), (1, &["--size", "1"]), (20, &["--size", "20"]), (1000, &["--size", "1000"])]
    {
        assert_eq!(place.run(&["create", "made"]).code, Some(0));
        // The second goes on where the first has ended.
        for count in ["30", "12"] {
            let ended = place.run(&[&["pub", "made", "--count", count], args].concat());
            assert_eq!((ended.code, ended.text(), ended.err.as_str()), (Some(0), "", ""));
        }
        let read = place.run(&["tail", "made", "--from", "0"]);
        let lines: Vec<&str> = read.text().lines().collect();
        assert_eq!((read.code, lines.len()), (Some(0), 42));
        for (number, line) in (0..).zip(lines) {
            assert_eq!(line, made_up(number, size));
        }
        assert_eq!(place.run(&["rm", "made"]).code, Some(0));
    }
}

/// As fast as a subscriber reads, which misses nothing.
#[test]
fn many_to_a_subscriber() {
    let place = Place::new();
    let args = ["pub", "many", "--count", "200k", "--size", "40", "--capacity", "16K", "--subscribers", "1"];
    let publisher = place.start(&args);
    let subscriber = place.start(&["sub", "many", "--wait", "60"]).end();
    assert_eq!((publisher.end().code, subscriber.code), (Some(0), Some(0)));
    let mut lines = 0;
    for (number, line) in subscriber.text().lines().enumerate() {
        assert_eq!(line, made_up(number as u64, 40));
        lines += 1;
    }
    assert_eq!(lines, 200_000);
}

/// No record is sent before it is due, whichever way is waited.
#[test]
fn a_rate_is_kept() {
    let place = Place::new();
    for (rate, count) in [("100", 31), ("50k", 10_001)] {
        assert_eq!(place.run(&["create", "paced", "--stamped", "monotonic"]).code, Some(0));
        let began = Instant::now();
        assert_eq!(place.run(&["pub", "paced", "--rate", rate, "--count", &count.to_string()]).code, Some(0));
        let wanted = Duration::from_millis(if rate == "100" { 300 } else { 200 });
        assert!(began.elapsed() >= wanted, "{:?}", began.elapsed());
        let info = place.info("paced").unwrap();
        assert_eq!(info.published, count);
        assert_eq!(place.run(&["rm", "paced"]).code, Some(0));
    }
}

#[test]
fn a_signal_ends_it() {
    let place = Place::new();
    // Due in a day, waiting for room, and busy.
    let cases = [("0.00002", "8"), ("10k", "2000"), ("1G", "8")];
    for (rate, size) in cases {
        let args = ["pub", "endless", "--rate", rate, "--size", size, "--capacity", "4K"];
        let publisher = place.start(&args);
        until(|| place.info("endless").is_some_and(|info| info.published > 0));
        if size == "2000" {
            let rx = annulus::Ring::open("endless").dir(place.path()).subscribe().unwrap();
            place.until("endless", |info| info.full > 0 && info.sleeps > 0);
            drop(rx);
        }
        publisher.signal(Signal::INT);
        let ended = publisher.end();
        assert_eq!((ended.code, ended.err.as_str()), (Some(130), ""));
        assert_eq!(place.names(), [""; 0]);
    }
}

#[test]
fn wrong_use() {
    let place = Place::new();
    // Before it waits for anybody.
    let big = ["pub", "big", "--capacity", "4K", "--size", "1M", "--subscribers", "1"];
    refused(&place.run(&big), &["a record of 1048576 bytes", "use a larger ring"]);
    for args in [
        &["--rate", "0"][..],
        &["--rate", "-1"],
        &["--rate", "fast"],
        &["--rate", "2G"],
        &["--size", "0"],
        &["--size", "64KB"],
        &["--count", "-1"],
        &["--count", "1.5"],
        &["--count", "1", "--raw", "8"],
    ] {
        let ended = place.run(&[&["pub", "x"], args].concat());
        assert_eq!((ended.code, ended.text()), (Some(2), ""), "{args:?}");
        assert!(ended.err.starts_with("error: "), "{}", ended.err);
    }
    assert_eq!(place.names(), [""; 0]);
}
