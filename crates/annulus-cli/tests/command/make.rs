//! `create` and `rm`: rings that outlive their producers.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::rig::{Place, Running, line};
use crate::wrong::refused;

/// What the command is for: a ring, a producer that is killed, another one, and readers before and after.
#[test]
fn a_ring_outlives_its_producers() {
    let place = Place::new();
    let made = place.run(&["create", "kept", "--capacity", "64K"]);
    assert_eq!((made.code, made.text(), made.err.as_str()), (Some(0), "", ""));
    let info = place.info("kept").unwrap();
    assert_eq!((info.persistent, info.epoch, info.published, info.producer_alive), (true, 0, 0, false));

    // Readers wait for the first producer.
    let staying = place.start(&["sub", "kept", "--stay", "--count", "4"]);
    let mut leaving = place.start(&["sub", "kept"]);
    place.until("kept", |info| info.subscribers.len() == 2);
    let tail = place.start(&["tail", "kept", "--from", "0", "--stay", "--count", "4"]);

    let mut first = place.start(&["pub", "kept"]);
    let mut stdin = first.stdin();
    stdin.write_all(b"1\n2\n").unwrap();
    let mut lines = leaving.stdout();
    assert_eq!([line(&mut lines), line(&mut lines)], ["1\n", "2\n"]);
    place.until("kept", |info| info.published == 2);
    first.signal(Signal::KILL);
    assert_eq!(first.end().code, None);
    assert_eq!(leaving.end().code, Some(1));

    place.publish(&["pub", "kept"], "3\n4\n");
    for reader in [staying, tail] {
        let reader = reader.end();
        assert_eq!((reader.code, reader.text(), reader.err.as_str()), (Some(0), "1\n2\n3\n4\n", ""));
    }
    let info = place.info("kept").unwrap();
    assert_eq!((info.published, info.takeovers, info.epoch, info.state), (4, 1, 2, "closed"));
    // The ring is at rest, and says what it holds to whoever asks.
    for command in ["sub", "tail"] {
        let late = place.run(&[command, "kept", "--from", "oldest"]);
        assert_eq!((late.code, late.text(), late.err.as_str()), (Some(0), "1\n2\n3\n4\n", ""));
    }
    let removed = place.run(&["rm", "kept"]);
    assert_eq!((removed.code, removed.text(), removed.err.as_str()), (Some(0), "", ""));
    assert_eq!(place.names(), [""; 0]);
}

/// A reader that stays also waits for the next producer when one has ended cleanly.
#[test]
fn a_reader_that_stays_waits_at_a_ring_at_rest() {
    let place = Place::new();
    place.run(&["create", "rest"]);
    let args = ["rest", "--stay", "--from", "0"];
    let mut readers =
        [&["sub"][..], &["sub", "--copy"], &["tail"]].map(|how| place.start(&[how, &args].concat()));
    let mut lines = readers.each_mut().map(Running::stdout);
    for word in ["one\n", "two\n"] {
        place.publish(&["pub", "rest"], word);
        for lines in &mut lines {
            assert_eq!(line(lines), word);
        }
    }
    // Removed, it has no next producer.
    assert_eq!(place.run(&["rm", "rest"]).code, Some(0));
    for reader in readers {
        let reader = reader.end();
        assert_eq!((reader.code, reader.err.as_str()), (Some(0), ""));
    }
}

#[test]
fn all_that_is_asked_of_a_ring() {
    let place = Place::made();
    let schema = place.path().join(".schema");
    fs::write(&schema, "f32 \"x\"\n\u{e9}").unwrap();
    let schema = format!("@{}", schema.display());
    let words = "--capacity 10000 --align packed --fence spin --wake semaphore --max-subscribers 3 \
                 --retain 7 --no-in-place --evict-after 5ms --stamped monotonic --liveness 50ms --mode 0604,0606 \
                 --huge-pages never --schema";
    let args = [&["create", "asked"], &words.split_whitespace().collect::<Vec<_>>()[..], &[&schema]].concat();
    let made = place.run(&args);
    assert_eq!(made.err, "annulus: the capacity of 10000 bytes is rounded up to 16384\n");
    assert_eq!((made.code, made.text()), (Some(0), ""));
    let text = place.run(&["info", "asked"]);
    for wanted in [
        "capacity: 16384",
        "align: packed",
        "fence: spin",
        "wake: semaphore",
        "max_subscribers: 3",
        "retain: 7",
        "no_in_place: yes",
        "evict_after_ns: 5000000",
        "clock: monotonic",
        "liveness_ns: 50000000",
        "persistent: yes",
        "schema: f32 \"x\"\\n\u{e9}",
        "producer_pid: none",
        "type: none",
    ] {
        assert!(text.text().lines().any(|line| line == wanted), "{wanted}: {}", text.text());
    }
    let json = place.run(&["info", "asked", "--json"]);
    assert!(json.text().contains(r#""schema":"f32 \"x\"\u000aé","#), "{}", json.text());
    let sizes = ["data", "ctl"].map(|file| {
        let facts = fs::metadata(place.path().join("asked").join(file)).unwrap();
        (facts.len(), facts.permissions().mode() & 0o777)
    });
    assert_eq!(sizes.map(|size| size.1), [0o604, 0o606]);
    for (name, (bytes, _)) in ["data_bytes", "ctl_bytes"].iter().zip(sizes) {
        assert!(json.text().contains(&format!("\"{name}\":{bytes},")), "{}", json.text());
    }
    // Whoever publishes may ask for what the ring is, and for nothing else.
    place.publish(&["pub", "asked", "--align", "packed", "--retain", "7"], "x\n");
    refused(
        &place.run(&["pub", "asked", "--retain", "8"]),
        &["number of records retained is 7, but 8 was asked"],
    );
    refused(&place.run(&["pub", "asked", "--stamped", "tsc"]), &["is monotonic, but tsc was asked"]);
}

#[test]
fn rings_that_cannot_be_made() {
    let place = Place::new();
    for (args, words) in [
        (&["--retain", "1M"][..], &["cannot retain so many"][..]),
        (&["--max-subscribers", "4097"], &["at most 4096"]),
        (&["--liveness", "2h"], &["1 ms to an hour"]),
        (&["--mode", "0440"], &["0600 to 0777"]),
        (&["--schema", "@/no/such/file"], &["/no/such/file", "cannot read the schema"]),
        (&["--schema", &"x".repeat(4097)], &["at most 4096 bytes"]),
        (&["--capacity", "0"], &["capacity", "ask for 1 to"]),
        (&["--huge-pages", "reserved"], &["hugetlbfs", "`annulus create --help`"]),
    ] {
        refused(&place.run(&[&["create", "bad"], args].concat()), words);
        assert_eq!(place.names(), [""; 0], "{args:?}");
    }
    let elsewhere = place.path().join("no/directory");
    refused(&place.run(&["create", "x", "--dir", elsewhere.to_str().unwrap()]), &["`--dir`", "missing"]);
    for args in [
        &["--evict-after", "5ms"][..],
        &["--evict-after", "5 ms", "--no-in-place"],
        &["--retain", "many"],
        &["--stamped", "sundial"],
        &["--mode", "rw"],
        &["--wake", "shout"],
        &["--huge-pages", "yes"],
    ] {
        let ended = place.run(&[&["create", "bad"], args].concat());
        assert_eq!((ended.code, ended.text()), (Some(2), ""), "{args:?}");
        assert!(ended.err.starts_with("error: "), "{}", ended.err);
        assert_eq!(place.names(), [""; 0], "{args:?}");
    }
}

/// What stays is never replaced; what a dead producer left is.
#[test]
fn a_name_that_is_taken() {
    let place = Place::new();
    assert_eq!(place.run(&["create", "taken"]).code, Some(0));
    let uuid = place.info("taken").unwrap().uuid;
    refused(&place.run(&["create", "taken"]), &["`taken`", "exists", "`annulus rm`"]);
    assert_eq!(place.info("taken").unwrap().uuid, uuid);

    let left = place.start(&["pub", "left"]);
    let uuid = place.until("left", |info| info.producer_alive).uuid;
    refused(&place.run(&["create", "left"]), &["`left`", "exists"]);
    left.signal(Signal::KILL);
    left.end();
    assert_eq!(place.run(&["create", "left"]).code, Some(0));
    let info = place.info("left").unwrap();
    assert!(info.uuid != uuid && info.persistent, "{info:?}");
}

#[test]
fn rings_that_are_removed_and_one_that_is_not() {
    let place = Place::new();
    for name in ["a", "b"] {
        assert_eq!(place.run(&["create", name]).code, Some(0));
    }
    let mut publisher = place.start(&["pub", "held"]);
    place.until("held", |info| info.producer_alive);
    let removed = place.run(&["rm", "a", "held", "none", "b"]);
    assert_eq!((removed.code, removed.text()), (Some(2), ""));
    let lines: Vec<&str> = removed.err.lines().collect();
    let pid = publisher.0.id();
    assert_eq!(
        lines[0],
        format!("annulus: ring `held`: it has a living producer, pid {pid}; end that one first")
    );
    assert!(lines.len() == 2 && lines[1].contains("ring `none`: there is no ring"), "{lines:?}");
    assert_eq!(place.names(), ["held"]);
    assert!(place.info("held").unwrap().producer_alive);
    publisher.stdin().write_all(b"still there\n").unwrap();
    assert_eq!(publisher.end().code, Some(0));
    // Nothing to remove is not done well either.
    refused(&place.run(&["rm", "held"]), &["`held`", "there is no ring"]);
    assert_eq!(place.run(&["rm"]).code, Some(2));
}

/// Who waits for the first producer of a ring that is removed waits for nothing.
#[test]
fn readers_of_a_ring_that_is_removed_before_its_first_producer() {
    let place = Place::new();
    assert_eq!(place.run(&["create", "vacant"]).code, Some(0));
    let readers = [&["sub", "vacant"][..], &["sub", "vacant", "--stay"], &["sub", "vacant", "--copy"]]
        .map(|args| place.start(args));
    place.until("vacant", |info| info.subscribers.len() == 3);
    assert_eq!(place.run(&["rm", "vacant"]).code, Some(0));
    for reader in readers {
        let reader = reader.end();
        assert_eq!((reader.code, reader.text(), reader.err.lines().count()), (Some(1), "", 1));
    }
}
