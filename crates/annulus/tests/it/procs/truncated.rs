//! A file of a ring is made shorter. Whoever may write `ctl` can do that, and nothing can be done against it in a file
//! with a name: those that share `ctl` have it mapped. What holds is that nobody else is harmed, that nobody takes part of
//! a `ctl` for one, and that the name is soon a ring again.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use annulus::{CopyError, Error, ErrorKind, RecvError, RecvTimeoutError, Ring, Start, Waiting};

use super::child::{Child, listen, say};
use crate::copiers::{Account, KINDS, Kind};
use crate::support::{Dir, INTERVALS, helpful, in_time, payload};

/// How many records this many times round: far more than a ring.
const LAPS: u64 = 200;

/// What the roles' rings say.
const LIVENESS: Duration = Duration::from_millis(50);

fn open_file(dir: &Dir, file: &str) -> File {
    OpenOptions::new().read(true).write(true).open(dir.file("r", file)).unwrap()
}

fn ctl(dir: &Dir) -> File {
    open_file(dir, "ctl")
}

/// The role: sends a record whenever it is told to.
pub(super) fn sender(dir: &str) {
    let mut tx = Ring::create("r").dir(dir).capacity(4096).liveness(LIVENESS).producer().unwrap();
    say("ready");
    while listen() == "send" {
        tx.send(&payload(tx.sequence(), 56)).unwrap();
        say("sent");
    }
}

/// The harm is confined to those who share `ctl`: the producer ends with SIGBUS, an observer reads on and is told that
/// it is lost, who attaches is told that it is no ring, and whoever creates it again has one.
#[test]
fn a_ctl_that_is_cut_off() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = Child::start("sender", &[dir.text()]);
        tx.expect("ready");
        let mut rx = Kind::Observer.open(dir.open("r"));
        tx.tell("send");
        tx.expect("sent");
        let whole = ctl(&dir).metadata().unwrap().len();
        ctl(&dir).set_len(0).unwrap();
        for error in [
            dir.open("r").subscribe().unwrap_err(),
            dir.open("r").subscribe_copying().unwrap_err(),
            dir.open("r").info().unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{error}");
            helpful(&error);
        }
        // An observer does not need it.
        let mut late = Kind::Observer.open(dir.open("r").start(Start::Oldest));
        tx.tell("send");
        assert_eq!(tx.wait().signal(), Some(libc::SIGBUS), "what is promised is not more than this");
        for rx in [&mut rx, &mut late] {
            let mut buf = [0; 56];
            assert_eq!(rx.recv(&mut buf).unwrap().sequence, 0);
            // The second was published before its sender looked whether anybody sleeps.
            assert_eq!(rx.recv(&mut buf).map(|received| received.sequence), Ok(1));
            assert_eq!(buf[..], payload(1, 56));
            assert_eq!(rx.recv(&mut buf), Err(CopyError::Ended(RecvError::ProducerLost)));
        }
        // A length that is right again does not make it the ring's: its words are gone.
        let error = dir.open("r").producer().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{error}");
        ctl(&dir).set_len(whole).unwrap();
        for error in [dir.open("r").producer().unwrap_err(), dir.open("r").subscribe().unwrap_err()] {
            assert_eq!(error.kind(), &ErrorKind::NotARing("its ctl file belongs to another ring"));
            helpful(&error);
        }
        let mut tx = dir.create("r").capacity(4096).producer().unwrap();
        let rx = dir.open("r").subscribe().unwrap();
        tx.send(b"again").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"again");
    });
}

/// Cut off and made long again while nobody looked: all its words are 0. Those attached go on, and those that copy can
/// account for every record.
#[test]
fn a_ctl_that_was_cut_off_for_a_moment() {
    in_time(|| {
        // In the first lap a cursor of 0 counts, later it does not.
        for before in [0, 10, LAPS] {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).liveness(Duration::from_millis(1)).max_subscribers(4);
            let mut tx = ring.producer().unwrap();
            let in_place = dir.open("r").subscribe().unwrap();
            let mut copiers = [Kind::Copying, Kind::Observer].map(|kind| kind.open(dir.open("r")));
            let mut accounts = [Account::new(0), Account::new(0)];
            let (mut borrowed, mut next, mut evicted) = (0, 0, false);
            for n in 0..before + LAPS {
                if n == before {
                    let file = ctl(&dir);
                    let whole = file.metadata().unwrap().len();
                    file.set_len(0).unwrap();
                    file.set_len(whole).unwrap();
                }
                tx.send_timeout(&payload(n, 56), LIVENESS * INTERVALS).unwrap();
                match in_place.recv_timeout(Duration::ZERO) {
                    Ok(record) => {
                        assert_eq!((record.sequence(), &*record), (next, &payload(next, 56)[..]));
                        (borrowed, next) = (borrowed + 1, next + 1);
                    }
                    Err(RecvTimeoutError::Ended(RecvError::Evicted)) => evicted = true,
                    Err(other) => panic!("{other}"),
                }
                for (rx, account) in copiers.iter_mut().zip(&mut accounts) {
                    let mut buf = [0; 56];
                    let got = rx.recv(&mut buf);
                    assert_eq!(account.enter(got, &buf, |n| payload(n, 56)), None);
                }
            }
            assert!(!evicted && borrowed == before + LAPS);
            accounts.iter().for_each(|account| account.balances(before + LAPS));
            let error = dir.open("r").subscribe().unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::NotARing("its ctl file belongs to another ring"));
        }
    });
}

/// The role: reads a record whenever it is told to, in a way of reading.
pub(super) fn reader(dir: &str, how: &str) {
    let open = Ring::open("r").dir(dir).waiting(Waiting::park_after(0));
    if how == "subscribe" {
        let rx = open.subscribe().unwrap();
        say("ready");
        while listen() == "read" {
            say(&format!("{:?}", rx.recv_timeout(LIVENESS * INTERVALS).map(|record| record.sequence())));
        }
    } else {
        let mut rx = if how == "observe" { KINDS[0] } else { KINDS[1] }.open(open);
        say("ready");
        while listen() == "read" {
            let got = rx.recv_timeout(&mut [0; 56], LIVENESS * INTERVALS);
            say(&format!("{:?}", got.map(|received| received.sequence)));
        }
    }
}

/// What all are told who come to read a ring, in whatever way.
fn readers_refused(dir: &Dir) -> Vec<Error> {
    vec![
        dir.open("r").subscribe().unwrap_err(),
        dir.open("r").subscribe_copying().unwrap_err(),
        dir.open("r").observe().unwrap_err(),
        dir.open("r").info().unwrap_err(),
    ]
}

/// trust.md, "Truncation": `data` can be shortened by its owner's processes alone, and all readers trust them with that. Who
/// has it mapped ends with SIGBUS at the next look, readers of every kind and the producer, and nobody else: who comes is
/// told that it is no ring, with any part of it missing and also when it has its length again; and whoever creates it
/// again has one.
#[test]
fn a_data_that_is_cut_off() {
    in_time(|| {
        for left in [0, 1, 4096, 8192, 16384] {
            let dir = Dir::new();
            let mut tx = Child::start("sender", &[dir.text()]);
            tx.expect("ready");
            let mut readers = ["subscribe", "copy", "observe"].map(|how| {
                let mut rx = Child::start("reader-of-what-is-cut", &[dir.text(), how]);
                rx.expect("ready");
                rx
            });
            tx.tell("send");
            tx.expect("sent");
            for rx in &mut readers {
                rx.tell("read");
                rx.expect("Ok(0)");
            }
            let data = open_file(&dir, "data");
            let whole = data.metadata().unwrap().len();
            data.set_len(left).unwrap();
            for error in readers_refused(&dir) {
                assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{left}: {error}");
                helpful(&error);
            }
            tx.tell("send");
            assert_eq!(
                tx.wait().signal(),
                Some(libc::SIGBUS),
                "{left}: what is promised is not more than this"
            );
            for rx in &mut readers {
                rx.tell("read");
                assert_eq!(rx.wait().signal(), Some(libc::SIGBUS), "{left}: what is promised is not more");
            }
            let error = dir.open("r").producer().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{left}: {error}");
            // As long as it was, and what was cut off is zeros.
            data.set_len(whole).unwrap();
            match left {
                0 | 1 => {
                    for error in readers_refused(&dir) {
                        let told = matches!(error.kind(), ErrorKind::NotARing(_));
                        assert!(told, "{left}: {error}");
                        helpful(&error);
                    }
                }
                // It says what it is, and the rest may be anything: an error, or a reader that gets nothing of it.
                _ => {
                    for mut rx in KINDS.into_iter().filter_map(|kind| kind.try_open(dir.open("r")).ok()) {
                        rx.recv_timeout(&mut [0; 56], LIVENESS * INTERVALS).unwrap_err();
                    }
                    if let Ok(rx) = dir.open("r").subscribe() {
                        rx.recv_timeout(LIVENESS * INTERVALS).map(drop).unwrap_err();
                    }
                    _ = dir.open("r").info().map(|info| format!("{info:?}"));
                }
            }
            let mut tx = dir.create("r").capacity(4096).producer().unwrap();
            let rx = dir.open("r").subscribe().unwrap();
            tx.send(b"again").unwrap();
            assert_eq!(&*rx.recv().unwrap(), b"again");
        }
    });
}
