//! Records go through as they came.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::rig::{Place, feed, line};

/// Lines of many lengths, also empty ones and one longer than a read; the last has no newline.
fn lines(n: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for i in 0..n {
        let filler = "x".repeat(i * 7 % 61);
        let _ = if i % 10 == 9 { writeln!(text) } else { writeln!(text, "{i} {filler}") };
    }
    text.extend(b"the last");
    text
}

#[test]
fn lines_reach_all_subscribers_through_a_small_ring() {
    let place = Place::new();
    let input = lines(100_000);
    let mut publisher = place.start(&["pub", "lines", "--capacity", "16K", "--subscribers", "3"]);
    let subscribers = [(); 3].map(|()| place.start(&["sub", "lines", "--wait", "60"]));
    let feeding = feed(&mut publisher, input.clone());
    let ended = subscribers.map(|subscriber| std::thread::spawn(move || subscriber.end()));
    let publisher = publisher.end();
    assert_eq!((publisher.code, publisher.err.as_str()), (Some(0), ""));
    feeding.join().unwrap().unwrap();
    for subscriber in ended {
        let subscriber = subscriber.join().unwrap();
        assert_eq!((subscriber.code, subscriber.err.as_str()), (Some(0), ""));
        let whole = [&input[..], b"\n"].concat();
        assert!(subscriber.out == whole, "{} bytes of {}", subscriber.out.len(), whole.len());
    }
    assert_eq!(place.names(), [""; 0], "the ring is gone");
}

#[test]
fn blocks_come_out_byte_for_byte() {
    let place = Place::new();
    let input: Vec<u8> = (0..1_000_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for size in ["1000", "3K"] {
        let mut publisher = place.start(&[
            "pub",
            "blocks",
            "--raw",
            size,
            "--capacity",
            "64K",
            "--align",
            "packed",
            "--subscribers",
            "1",
        ]);
        let subscriber = place.start(&["sub", "blocks", "--raw", size, "--wait", "60"]);
        let feeding = feed(&mut publisher, input.clone());
        let subscriber = subscriber.end();
        assert_eq!((subscriber.code, subscriber.err.as_str()), (Some(0), ""));
        assert!(subscriber.out == input, "{} bytes", subscriber.out.len());
        assert_eq!(publisher.end().code, Some(0));
        feeding.join().unwrap().unwrap();
    }
}

#[test]
fn blocks_of_another_size_are_written_and_said() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "odd", "--subscribers", "1"]);
    let subscriber = place.start(&["sub", "odd", "--raw", "4", "--wait", "60"]);
    feed(&mut publisher, b"abcd\nabc\nabcd\nabcdef\n".to_vec());
    let subscriber = subscriber.end();
    assert_eq!((subscriber.code, subscriber.text()), (Some(0), "abcdabcabcdabcdef"));
    assert_eq!(subscriber.err, "annulus: record 1 has 3 bytes, not 4; all are written as they are\n");
}

#[test]
fn a_line_goes_through_while_the_input_is_open() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "talk", "--subscribers", "1", "--fence", "spin"]);
    let mut subscriber = place.start(&["sub", "talk", "--wait", "60"]);
    let (mut stdin, mut stdout) = (publisher.stdin(), subscriber.stdout());
    for word in ["hello\n", "\n", "again\n"] {
        stdin.write_all(word.as_bytes()).unwrap();
        assert_eq!(line(&mut stdout), word);
    }
    stdin.write_all(b"half a").unwrap();
    stdin.write_all(b" line\n").unwrap();
    assert_eq!(line(&mut stdout), "half a line\n");
    drop(stdin);
    assert_eq!((publisher.end().code, subscriber.end().code), (Some(0), Some(0)));
}

#[test]
fn count_ends_a_subscriber() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "counted", "--subscribers", "2"]);
    let all = place.start(&["sub", "counted", "--wait", "60"]);
    let two = place.start(&["sub", "counted", "--wait", "60", "--count", "2"]);
    feed(&mut publisher, b"1\n2\n3\n".to_vec());
    let two = two.end();
    assert_eq!((two.code, two.text()), (Some(0), "1\n2\n"));
    assert_eq!(all.end().text(), "1\n2\n3\n");
}

#[test]
fn a_reader_of_the_output_that_leaves_is_success() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "head", "--subscribers", "1"]);
    let mut subscriber = place.start(&["sub", "head", "--wait", "60"]);
    let (mut stdin, mut stdout) = (publisher.stdin(), subscriber.stdout());
    stdin.write_all(b"one\n").unwrap();
    assert_eq!(line(&mut stdout), "one\n");
    drop(stdout);
    stdin.write_all(b"two\n").unwrap(); // it finds out when it writes
    let subscriber = subscriber.end();
    assert_eq!((subscriber.code, subscriber.err.as_str()), (Some(0), ""));
    place.until("head", |info| info.subscribers.is_empty());
}

#[test]
fn a_new_producer_goes_on_for_those_who_stay() {
    let place = Place::new();
    let mut first = place.start(&["pub", "long", "--subscribers", "2"]);
    let mut subscriber = place.start(&["sub", "long", "--wait", "60", "--stay", "--count", "4"]);
    let leaving = place.start(&["sub", "long", "--wait", "60"]);
    let (mut stdin, mut stdout) = (first.stdin(), subscriber.stdout());
    stdin.write_all(b"1\n2\n").unwrap();
    assert_eq!((line(&mut stdout), line(&mut stdout)), ("1\n".into(), "2\n".into()));
    first.signal(Signal::KILL);
    assert_eq!(first.end().code, None);
    let leaving = leaving.end(); // by then the death has been noticed
    assert_eq!((leaving.code, leaving.text()), (Some(1), "1\n2\n"));
    let info = place.info("long").unwrap();
    assert_eq!((info.producer_alive, info.state, info.subscribers.len()), (false, "open", 1));
    let mut second = place.start(&["pub", "long"]);
    let mut stdin = second.stdin();
    stdin.write_all(b"3\n").unwrap();
    assert_eq!(line(&mut stdout), "3\n");
    let info = place.until("long", |info| info.published == 3);
    assert_eq!((info.takeovers, info.epoch), (1, 2));
    stdin.write_all(b"4\n").unwrap();
    assert_eq!(line(&mut stdout), "4\n");
    assert_eq!(subscriber.end().code, Some(0));
}

#[test]
fn a_dead_producer_is_told_after_all_that_it_sent() {
    let place = Place::new();
    let mut publisher = place.start(&["pub", "dead", "--subscribers", "1"]);
    let subscriber = place.start(&["sub", "dead", "--wait", "60"]);
    let mut stdin = publisher.stdin();
    stdin.write_all(b"1\n2\n").unwrap();
    place.until("dead", |info| info.published == 2);
    publisher.signal(Signal::KILL);
    let subscriber = subscriber.end();
    assert_eq!((subscriber.code, subscriber.text()), (Some(1), "1\n2\n"));
    assert!(subscriber.err.contains("its producer died"), "{}", subscriber.err);
    assert_eq!(subscriber.err.lines().count(), 1);
}

#[test]
fn a_subscriber_may_come_before_its_ring() {
    let place = Place::made();
    let elsewhere = place.path().join("later");
    for dir in [None, elsewhere.to_str()] {
        let at = |args: &[&'static str]| {
            let dir = dir.map(|dir| format!("--dir={dir}"));
            place.start(&args.iter().copied().chain(dir.as_deref()).collect::<Vec<_>>())
        };
        let mut subscriber = at(&["sub", "early", "--wait", "60"]);
        if dir.is_none() {
            subscriber.until_it_watches(); // a directory that is not there yet cannot be watched
        }
        let mut publisher = at(&["pub", "early", "--subscribers", "1"]);
        assert!(subscriber.0.try_wait().unwrap().is_none());
        feed(&mut publisher, b"x\n".to_vec());
        assert_eq!(subscriber.end().text(), "x\n");
        assert_eq!(publisher.end().code, Some(0));
    }
}

#[test]
fn an_empty_input_is_an_empty_ring() {
    let place = Place::new();
    let publisher = place.command(&["pub", "empty"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!((publisher.status.code(), place.names().len()), (Some(0), 0));
}

/// Two that share the lines of a ring print each once.
#[test]
fn a_group_shares_lines() {
    let place = Place::new();
    let input = lines(2000);
    assert_eq!(place.run(&["create", "jobs", "--capacity", "16K"]).code, Some(0));
    let workers = [(); 2].map(|()| place.start(&["sub", "jobs", "--group", "g"]));
    place.until("jobs", |info| info.groups.first().is_some_and(|group| group.workers == 2));
    let mut publisher = place.start(&["pub", "jobs"]);
    let feeding = feed(&mut publisher, input.clone());
    let ended = workers.map(|worker| std::thread::spawn(move || worker.end()));
    assert_eq!(publisher.end().code, Some(0));
    feeding.join().unwrap().unwrap();
    let mut got: Vec<Vec<u8>> = Vec::new();
    for worker in ended {
        let worker = worker.join().unwrap();
        assert_eq!((worker.code, worker.err.as_str()), (Some(0), ""));
        got.extend(worker.out.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec));
    }
    let mut all: Vec<Vec<u8>> =
        input.split(|&byte| byte == b'\n').map(|line| [line, b"\n"].concat()).collect();
    got.sort_unstable();
    all.sort_unstable();
    assert!(got == all, "{} lines of {}", got.len(), all.len());
}
