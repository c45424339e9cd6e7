//! A signal ends the command at once, and nothing stays behind.

use std::io::Write;

use annulus::Ring;
use rustix::process::Signal;

use crate::rig::{Place, Running, feed, line, until};

/// A producer that waits for input, and a subscriber that waits for records.
fn pair(place: &Place, name: &str) -> (Running, Running) {
    let mut publisher = place.start(&["pub", name, "--subscribers", "1"]);
    let mut subscriber = place.start(&["sub", name, "--wait", "60"]);
    publisher.0.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let mut stdout = subscriber.stdout();
    assert_eq!(line(&mut stdout), "hello\n");
    subscriber.0.stdout = Some(stdout.into_inner());
    (publisher, subscriber)
}

#[test]
fn a_producer_that_waits_for_input_takes_its_ring_with_it() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let (publisher, subscriber) = pair(&place, "waiting");
        publisher.signal(signal);
        let publisher = publisher.end();
        assert_eq!((publisher.code, publisher.err.as_str()), (Some(code), ""));
        assert_eq!(place.names(), [""; 0]);
        assert_eq!(subscriber.end().code, Some(0));
    }
}

#[test]
fn a_subscriber_drains_what_was_sent_before_the_signal() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "drained", "--subscribers", "1"]);
    let subscriber = place.start(&["sub", "drained", "--wait", "60"]);
    until(|| place.info("drained").is_some_and(|info| info.subscribers.len() == 1));
    subscriber.signal(Signal::STOP);
    let mut stdin = publisher.stdin();
    stdin.write_all(b"1\n2\n3\n").unwrap();
    place.until("drained", |info| info.published == 3);
    publisher.signal(Signal::INT);
    assert_eq!(publisher.end().code, Some(130));
    subscriber.signal(Signal::CONT);
    let subscriber = subscriber.end();
    assert_eq!((subscriber.code, subscriber.text()), (Some(0), "1\n2\n3\n"));
}

#[test]
fn a_producer_that_waits_for_room_can_be_stopped() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "full", "--capacity", "4K", "--subscribers", "1"]);
    until(|| place.info("full").is_some());
    let rx = Ring::open("full").dir(place.path()).subscribe().unwrap(); // and never receives
    let feeding = feed(&mut publisher, b"some words\n".repeat(100_000));
    place.until("full", |info| info.full > 0 && info.sleeps > 0);
    publisher.signal(Signal::INT);
    assert_eq!(publisher.end().code, Some(130));
    assert_eq!(place.names(), [""; 0]);
    assert!(feeding.join().unwrap().is_err(), "nobody reads the rest of the input");
    assert_eq!(&*rx.recv().unwrap(), b"some words");
}

#[test]
fn a_producer_that_waits_for_subscribers_can_be_stopped() {
    let place = Place::new();
    let publisher = place.start(&["pub", "lonely", "--subscribers", "1"]);
    until(|| place.info("lonely").is_some());
    publisher.signal(Signal::INT);
    assert_eq!((publisher.end().code, place.names().len()), (Some(130), 0));
}

#[test]
fn a_subscriber_that_waits_for_records_frees_its_place() {
    let place = Place::new();
    let (mut publisher, subscriber) = pair(&place, "idle");
    subscriber.signal(Signal::INT);
    let subscriber = subscriber.end();
    assert_eq!((subscriber.code, subscriber.err.as_str()), (Some(130), ""));
    assert_eq!(place.info("idle").unwrap().subscribers.len(), 0);
    drop(publisher.stdin());
    assert_eq!(publisher.end().code, Some(0));
}

#[test]
fn a_subscriber_that_waits_for_a_ring_can_be_stopped() {
    let place = Place::made();
    let subscriber = place.start(&["sub", "none", "--wait", "60"]);
    // It listens for signals before it looks for the ring.
    subscriber.until_it_watches();
    subscriber.signal(Signal::INT);
    assert_eq!(subscriber.end().code, Some(130));
}

#[test]
fn a_second_signal_ends_a_subscriber_whose_output_nobody_reads() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "stuck", "--capacity", "4K", "--subscribers", "1"]);
    let mut subscriber = place.start(&["sub", "stuck", "--wait", "60"]);
    let _unread = subscriber.stdout();
    feed(&mut publisher, b"some words\n".repeat(100_000));
    // A full ring that stays so: the pipe and all between are full too.
    let mut looks = 0;
    until(|| {
        let info = place.info("stuck");
        let full = info.is_some_and(|info| info.subscribers.iter().any(|one| one.behind > 3500));
        looks = if full { looks + 1 } else { 0 };
        looks == 100
    });
    subscriber.signal(Signal::INT);
    subscriber.signal(Signal::TERM);
    assert!(matches!(subscriber.end().code, Some(130 | 143)));
}
