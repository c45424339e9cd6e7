//! `ls` and `info`.

use std::fs;
use std::io::Write;

use rustix::process::Signal;

use crate::rig::{Place, until};

#[test]
fn a_ring_as_text_and_as_json() {
    let place = Place::new();
    let mut publisher =
        place.start(&["pub", "shown", "--capacity", "8K", "--align", "packed", "--subscribers", "1"]);
    let subscriber = place.start(&["sub", "shown", "--wait", "60"]);
    publisher.stdin().write_all(b"a\nb\n").unwrap();
    assert_eq!(publisher.end().code, Some(0));
    assert_eq!(subscriber.end().code, Some(0));

    let publisher = place.start(&["pub", "shown", "--capacity", "8K", "--align", "packed"]);
    let subscriber = place.start(&["sub", "shown", "--wait", "60"]);
    let info = place.until("shown", |info| info.subscribers.len() == 1);

    let text = place.run(&["info", "shown"]);
    assert_eq!((text.code, text.err.as_str()), (Some(0), ""));
    let words: Vec<(&str, &str)> = text.text().lines().map(|line| line.split_once(": ").unwrap()).collect();
    for (name, value) in [
        ("name", "shown"),
        ("capacity", "8192"),
        ("align", "packed"),
        ("fence", "asymmetric"),
        ("state", "open"),
        ("producer_alive", "yes"),
        ("producer_pid", &publisher.0.id().to_string()),
        ("published", "0"),
        ("subscribers", "1"),
        ("uuid", &format!("{:032x}", info.uuid)),
    ] {
        assert!(words.contains(&(name, value)), "{name} {value}: {}", text.text());
    }
    let json = place.run(&["info", "shown", "--json"]);
    let (json, pid) = (json.text().strip_suffix('\n').unwrap(), subscriber.0.id());
    assert!(!json.contains('\n') && json.starts_with("{\"name\":\"shown\",\"uuid\":\""), "{json}");
    assert!(json.contains("\"capacity\":8192,") && json.contains("\"type\":null,"), "{json}");
    assert!(json.contains("\"persistent\":false,") && json.contains("\"producer_alive\":true,"), "{json}");
    let rest = format!(
        r#""subscribers":[{{"slot":0,"alive":true,"pid":{pid},"kind":"in-place","behind":0,"lost":0,"sleeps":"#
    );
    assert!(json.contains(&rest) && json.ends_with("}],\"groups\":[]}"), "{json}");
    // All fields, in both.
    for line in words.iter().take(words.len() - 1) {
        assert!(json.contains(&format!("\"{}\":", line.0)), "{} is not in {json}", line.0);
    }
}

#[test]
fn rings_alive_dead_and_broken() {
    let place = Place::new();
    assert_eq!(place.run(&["ls"]).text(), "NAME  CAPACITY  PUBLISHED  STATE  PRODUCER  SUBSCRIBERS\n");
    let mut publishers = ["alive", "dead"].map(|name| place.start(&["pub", name, "--capacity", "64K"]));
    for publisher in &mut publishers {
        publisher.0.stdin.as_mut().unwrap().write_all(b"x\ny\n").unwrap();
    }
    place.until("alive", |info| info.published == 2);
    place.until("dead", |info| info.published == 2);
    let [_alive, dead] = publishers;
    dead.signal(Signal::KILL);
    dead.end();
    place.until("dead", |info| !info.producer_alive);
    fs::create_dir(place.path().join("empty")).unwrap();
    fs::write(place.path().join("foreign"), "no ring").unwrap();
    fs::create_dir(place.path().join("torn")).unwrap();
    fs::write(place.path().join("torn/data"), "x").unwrap();
    fs::write(place.path().join("torn/ctl"), "").unwrap();
    fs::write(place.path().join(".hidden"), "").unwrap();

    let text = place.run(&["ls"]);
    assert_eq!((text.code, text.err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = text.text().lines().collect();
    assert_eq!(lines.len(), 6, "{}", text.text());
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines[1]), ["alive", "65536", "2", "open", "alive", "0"]);
    assert_eq!(words(lines[2]), ["dead", "65536", "2", "open", "dead", "0"]);
    for (line, name) in lines[3..].iter().zip(["empty", "foreign", "torn"]) {
        assert!(line.starts_with(&format!("ring `{name}`: what is there is not a whole ring")), "{line}");
    }
    let json = place.run(&["ls", "--json", "--dir", place.path().to_str().unwrap()]);
    let lines: Vec<&str> = json.text().lines().collect();
    assert_eq!((json.code, lines.len()), (Some(0), 5));
    assert_eq!(format!("{}\n", lines[1]), place.run(&["info", "dead", "--json"]).text());
    assert!(lines[2].starts_with("{\"name\":\"empty\",\"error\":\"ring `empty`: "), "{}", lines[2]);
    assert_eq!(place.run(&["info", "foreign"]).code, Some(2));
    until(|| place.info("alive").is_some_and(|info| info.producer_alive));
}

/// Values of a type: `info` names it, `tail --struct` takes them apart.
#[test]
fn a_ring_of_a_type() {
    let place = Place::new();
    let ring = || annulus::TypedRing::<[u32; 2]>::create("typed").dir(place.path());
    let mut tx = ring().producer().unwrap();
    tx.send(&[1, u32::MAX]).unwrap();
    let text = place.run(&["info", "typed"]);
    for wanted in ["type: [u32; 2]", "type_size: 8", "type_align: 4"] {
        assert!(text.text().lines().any(|line| line == wanted), "{wanted}: {}", text.text());
    }
    let json = place.run(&["info", "typed", "--json"]);
    assert!(
        json.text().contains("\"type\":\"[u32; 2]\",\"type_size\":8,\"type_align\":4,"),
        "{}",
        json.text()
    );
    let tail = place.run(&["tail", "typed", "--from", "0", "--count", "1", "--struct", "Ii"]);
    assert_eq!((tail.code, tail.text()), (Some(0), "1 -1\n"));
}
