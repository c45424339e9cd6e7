//! `hz` and `lag`.

use std::io::BufRead;

use rustix::process::Signal;

use crate::rig::{Place, line, until};
use crate::wrong::refused;

/// The numbers of a line.
fn numbers(line: &str) -> Vec<f64> {
    line.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn rates_without_a_place_in_the_ring() {
    let place = Place::new();
    // Records of 56 bytes take 64 of the ring.
    let args = ["pub", "rated", "--rate", "1k", "--size", "56", "--max-subscribers", "0"];
    let publisher = place.start(&args);
    place.until("rated", |info| info.published > 0);
    let two = place.run(&["hz", "rated", "--count", "2", "--window", "1"]);
    assert_eq!((two.code, two.err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = two.text().lines().collect();
    let headings: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(headings, ["records/s", "bytes/s", "bytes/record", "min", "max", "stddev"]);
    assert_eq!(lines.len(), 3);
    for line in &lines[1..] {
        let numbers = numbers(line);
        let [records, bytes, mean, min, max, deviation] = numbers[..] else { panic!("{line}") };
        // The counters are read one after the other, while the producer goes on.
        assert!((32.0..128.0).contains(&mean) && (32.0..128.0).contains(&(bytes / records)), "{line}");
        assert!(records > 0.0 && (min, max, deviation) == (records, records, 0.0), "{line}");
    }
    let mut hz = place.start(&["hz", "rated"]);
    let mut lines = hz.stdout();
    line(&mut lines);
    assert!(numbers(&line(&mut lines))[0] > 0.0);
    publisher.signal(Signal::INT);
    publisher.end();
    let hz = hz.end();
    assert_eq!((hz.code, hz.err.as_str()), (Some(0), "annulus: the ring is gone: its producer has ended\n"));
}

#[test]
fn how_watching_a_rate_ends() {
    let place = Place::new();
    refused(&place.run(&["hz", "none"]), &["`none`", "there is no ring"]);
    assert_eq!(place.run(&["hz", "none", "--window", "0"]).code, Some(2));
    let publisher = place.start(&["pub", "watched"]);
    place.until("watched", |info| info.producer_alive);
    let mut stopped = place.start(&["hz", "watched"]);
    let mut closed = place.start(&["hz", "watched"]);
    let mut left = place.start(&["hz", "watched"]);
    for reader in [&mut stopped, &mut closed, &mut left] {
        let mut lines = reader.stdout();
        assert!(line(&mut lines).contains("records/s"));
        reader.0.stdout = Some(lines.into_inner());
    }
    stopped.signal(Signal::INT);
    let stopped = stopped.end();
    assert_eq!((stopped.code, stopped.err.as_str()), (Some(130), ""));
    drop(closed.stdout());
    let closed = closed.end();
    assert_eq!((closed.code, closed.err.as_str()), (Some(0), ""));
    publisher.signal(Signal::KILL);
    publisher.end();
    let left = left.end();
    assert_eq!((left.code, left.err.as_str()), (Some(1), "annulus: the producer died\n"));
    assert_eq!(numbers(left.text().lines().next().unwrap())[0], 0.0);

    // A ring that has had no producer yet is waited for; one whose producer has ended is not.
    assert_eq!(place.run(&["create", "kept"]).code, Some(0));
    let vacant = place.run(&["hz", "kept", "--count", "1"]);
    assert_eq!((vacant.code, vacant.text().lines().count(), vacant.err.as_str()), (Some(0), 2, ""));
    place.publish(&["pub", "kept"], "x\n");
    let rested = place.run(&["hz", "kept"]);
    assert_eq!((rested.code, rested.err.as_str()), (Some(0), "annulus: the producer has ended\n"));
}

#[test]
fn how_far_behind() {
    let place = Place::new();
    refused(&place.run(&["lag", "none"]), &["`none`", "there is no ring"]);
    let mut publisher = place.start(&["pub", "behind", "--capacity", "4K"]);
    place.until("behind", |info| info.producer_alive);
    let none = place.run(&["lag", "behind"]);
    assert_eq!((none.code, none.text()), (Some(0), "SLOT  PID  KIND  BEHIND  %  LOST  ALIVE\n"));
    let mut readers = Vec::new();
    for (n, how) in [&["sub"][..], &["sub", "--copy"]].into_iter().enumerate() {
        let reader = place.start(&[how, &["behind"]].concat());
        place.until("behind", |info| info.subscribers.len() == n + 1);
        reader.signal(Signal::STOP);
        readers.push(reader);
    }
    let mut stdin = publisher.stdin();
    std::io::Write::write_all(&mut stdin, "x\n".repeat(16).as_bytes()).unwrap();
    place.until("behind", |info| info.published == 16);
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let pids: Vec<String> = readers.iter().map(|reader| reader.0.id().to_string()).collect();
    let table = place.run(&["lag", "behind"]);
    assert_eq!((table.code, table.err.as_str()), (Some(0), ""));
    let row = |slot: &str, pid: &str, kind: &str, alive: &str| {
        [slot, pid, kind, "1024", "25.0", "0", alive].map(str::to_owned).to_vec()
    };
    let rows = [row("0", &pids[0], "in-place", "yes"), row("1", &pids[1], "copying", "yes")];
    assert_eq!(words(table.text()), rows, "{}", table.text());
    let killed = readers.remove(0);
    killed.signal(Signal::KILL);
    killed.end();
    assert_eq!(words(place.run(&["lag", "behind"]).text())[0], row("0", &pids[0], "in-place", "no"));

    // Again and again.
    let mut watching = ["10ms", "10ms"].map(|time| place.start(&["lag", "behind", "--watch", time]));
    for watching in &mut watching {
        let mut lines = watching.stdout().lines().map(Result::unwrap);
        for _ in 0..3 {
            assert!(lines.next().unwrap().starts_with("SLOT"));
            assert_eq!(lines.by_ref().take(3).map(|line| line.len()).min(), Some(0), "two rows and a blank");
        }
        std::thread::spawn(move || lines.count()); // reads on
    }
    let [stopped, left] = watching;
    stopped.signal(Signal::INT);
    assert_eq!(stopped.end().code, Some(130));
    drop((readers, stdin));
    assert_eq!(publisher.end().code, Some(0));
    let left = left.end();
    assert_eq!((left.code, left.err.as_str()), (Some(0), ""));
    until(|| place.info("behind").is_none());
    assert_eq!(place.run(&["lag", "behind", "--watch", "0"]).code, Some(2));
}
