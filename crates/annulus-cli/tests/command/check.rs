//! `check`: a line and an exit code for Nagios.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::rig::{Ended, Place, until};

/// One line on standard output, with a word for the code, these words, and these figures.
#[track_caller]
fn told(ended: &Ended, code: i32, words: &[&str], figures: &str) {
    let word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][code as usize];
    assert_eq!(ended.code, Some(code), "{}{}", ended.text(), ended.err);
    let line = ended.text().strip_suffix('\n').unwrap();
    assert!(line.starts_with(&format!("ANNULUS {word} - ")) && !line.contains('\n'), "{line}");
    for word in words {
        assert!(line.contains(word), "`{word}` is not in: {line}");
    }
    let found = line.split_once(" | ").map_or("", |(_, figures)| figures);
    assert!(found.starts_with(figures), "{line}");
}

#[test]
fn a_ring_that_is_well_and_one_whose_producer_dies() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "well", "--capacity", "4K", "--stamped", "monotonic"]);
    let pid = publisher.0.id().to_string();
    place.until("well", |info| info.producer_alive);
    let check = |args: &[&str]| place.run(&[&["check", "well"], args].concat());
    told(&check(&[]), 0, &["well: ", &pid], "published=0c;;;;");
    told(&check(&["--producer-alive"]), 0, &[&format!("producer {pid} lives")], "published=0c;;;;");
    told(&check(&["--max-lag", "50%"]), 0, &["no subscribers"], "published=0c;;;; lag=0B;;2048;0;4096");
    told(&check(&["--max-age", "1h"]), 2, &["nothing published yet"], "published=0c;;;; age=U;;3600;0;");
    let subscriber = place.start(&["sub", "well"]);
    place.until("well", |info| info.subscribers.len() == 1);
    subscriber.signal(Signal::STOP);
    publisher.0.stdin.as_mut().unwrap().write_all("x\n".repeat(16).as_bytes()).unwrap();
    place.until("well", |info| info.published == 16);

    let all = check(&[
        "--producer-alive",
        "--max-lag",
        "1K",
        "--warn-lag",
        "1K",
        "--max-age",
        "1h",
        "--warn-age",
        "30m",
    ]);
    let reader = format!("lag 1024 bytes (slot 0, pid {})", subscriber.0.id());
    told(
        &all,
        0,
        &["lives", &reader, "newest record", "s old"],
        "published=16c;;;; lag=1024B;1024;1024;0;4096 age=0.",
    );
    assert!(all.text().ends_with("s;1800;3600;0;\n"), "{}", all.text());
    assert_eq!(all.err, "");

    told(&check(&["--warn-lag", "1023"]), 1, &["well: lag 1024"], "published=16c;;;; lag=1024B;1023;;0;4096");
    told(&check(&["--warn-lag", "0", "--max-lag", "25%"]), 1, &["lag 1024"], "");
    told(&check(&["--warn-age", "1ns"]), 1, &["well: newest record"], "published=16c;;;; age=0.");
    told(&check(&["--warn-lag", "0", "--max-lag", "24%"]), 2, &["lag 1024"], "");
    told(&check(&["--max-age", "1ns", "--warn-lag", "0"]), 2, &["well: newest record", "lag 1024"], "");

    publisher.signal(Signal::KILL);
    publisher.end();
    let died = format!("producer {pid} died");
    told(&check(&["--producer-alive"]), 2, &[&died], "published=16c;;;;");
    // Not asked for, it is only told.
    told(&check(&["--max-age", "1h"]), 0, &[&died], "published=16c;;;; age=");
    // A dead subscriber holds nobody for long.
    subscriber.signal(Signal::KILL);
    subscriber.end();
    told(&check(&["--max-lag", "0"]), 0, &["no subscribers"], "published=16c;;;; lag=0B;;0;0;4096");
}

/// Without stamps there is no other way than to watch.
#[test]
fn a_ring_without_stamps_is_watched() {
    let place = Place::new();
    let mut idle = place.start(&["pub", "idle"]);
    place.until("idle", |info| info.producer_alive);
    let quiet = place.run(&["check", "idle", "--max-age", "50ms"]);
    told(&quiet, 2, &["nothing published for 0."], "published=0c;;;; age=0.");
    told(&place.run(&["check", "idle", "--warn-age", "50ms"]), 1, &["nothing published for"], "");
    let _busy = place.start(&["pub", "busy", "--rate", "100"]);
    place.until("busy", |info| info.published > 0);
    told(&place.run(&["check", "busy", "--max-age", "60"]), 0, &["a record came within"], "");
    told(
        &place.run(&["check", "busy", "--warn-age", "1ns", "--max-age", "60"]),
        1,
        &["a record came within"],
        "",
    );

    let mut watching = ["INT", "gone"].map(|_| place.start(&["check", "idle", "--max-age", "1h"]));
    for watching in &mut watching {
        drop(watching.stdin());
        watching.until_it_listens();
    }
    let [stopped, gone] = watching;
    stopped.signal(Signal::INT);
    told(&stopped.end(), 3, &["stopped by a signal"], "");
    // A look that finds the ring precedes the watching; either way nobody can know any more.
    drop(idle.stdin());
    assert_eq!(idle.end().code, Some(0));
    told(&gone.end(), 3, &["ring `idle`: there is no ring"], "");
}

#[test]
fn rings_at_rest() {
    let place = Place::new();
    assert_eq!(place.run(&["create", "kept", "--stamped", "tsc"]).code, Some(0));
    told(&place.run(&["check", "kept"]), 0, &["no producer yet"], "published=0c;;;;");
    told(&place.run(&["check", "kept", "--producer-alive"]), 2, &["kept: no producer yet"], "");
    place.publish(&["pub", "kept"], "x\n");
    told(&place.run(&["check", "kept", "--producer-alive"]), 2, &["its producer has ended"], "published=1c");
    told(&place.run(&["check", "kept", "--max-age", "1h"]), 0, &["newest record"], "published=1c");
}

#[test]
fn what_cannot_be_known() {
    let place = Place::new();
    told(&place.run(&["check", "none", "--producer-alive"]), 3, &["ring `none`: there is no ring"], "");
    told(&place.run(&["check", "a|b"]), 3, &["a ring's name is"], "");
    for args in [
        &["check"][..],
        &["check", "x", "--max-lag", "many"],
        &["check", "x", "--max-lag", "101%"],
        &["check", "x", "--max-age", "0"],
        &["check", "x", "--max-age", "5 s"],
        &["check", "x", "--nothing"],
    ] {
        let ended = place.run(args);
        told(&ended, 3, &["wrong arguments", "`annulus check --help`"], "");
        assert!(ended.err.starts_with("error: "), "{}", ended.err);
    }
    let help = place.run(&["check", "--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    assert!(help.text().contains("3  UNKNOWN"), "{}", help.text());
}

/// The code says it also to who does not read the line.
#[test]
fn nobody_reads_the_line() {
    let place = Place::new();
    assert_eq!(place.run(&["create", "kept"]).code, Some(0));
    for (args, code) in [(&["check", "kept"][..], 0), (&["check", "kept", "--producer-alive"], 2)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(args);
        let ended = command.stdin(Stdio::null()).stdout(writer).output().unwrap();
        assert_eq!((ended.status.code(), &ended.stderr[..]), (Some(code), &b""[..]));
    }
    until(|| place.run(&["rm", "kept"]).code == Some(0));
}
