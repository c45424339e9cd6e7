//! A file of a ring is made shorter. Whoever may write `ctl` can do that, and nothing can be done against it in a file
//! with a name: those that share `ctl` have it mapped. What holds is that nobody else is harmed, that nobody takes part of
//! a `ctl` for one, and that the name is soon a ring again.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use annulus::{CopyError, ErrorKind, RecvError, RecvTimeoutError, Ring};

use super::child::{Child, listen, say};
use crate::copiers::{Account, Kind};
use crate::support::{Dir, helpful, in_time, payload};

/// How many records this many times round: far more than a ring.
const LAPS: u64 = 200;

fn ctl(dir: &Dir) -> File {
    OpenOptions::new().read(true).write(true).open(dir.file("r", "ctl")).unwrap()
}

/// The role: sends a record whenever it is told to.
pub(super) fn sender(dir: &str) {
    let mut tx =
        Ring::create("r").dir(dir).capacity(4096).liveness(Duration::from_millis(50)).producer().unwrap();
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
        let mut late = Kind::Observer.open(dir.open("r").start(annulus::Start::Oldest));
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
                tx.send_timeout(&payload(n, 56), Duration::from_millis(20)).unwrap();
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
