//! Handles with a descriptor, in loops around poll(2).
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use annulus::{RecvError, TryCopyError, TryRecvError, TrySendError, Wake};

use super::child::Child;
use crate::support::{Dir, LONG, WAYS, in_time, payload};

/// Waits until it is readable, or for so many milliseconds.
fn readable(fd: &impl AsFd, millis: i32) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one `pollfd` of our own, and an open descriptor.
    unsafe { libc::poll(&raw mut poll, 1, millis) == 1 }
}

const SOON: i32 = LONG.as_millis() as i32;

/// It is readable until nothing is found, and from then on when something comes; for each way to sleep and each kind of reader.
#[test]
fn it_is_readable_when_there_is_something() {
    in_time(|| {
        for (fence, wake) in WAYS {
            let dir = Dir::new();
            let mut tx = dir.create("r").fence(fence).wake(wake).producer().unwrap();
            let mut rx = dir.open("r").subscribe().unwrap().into_pollable().unwrap();
            let mut copying = dir.open("r").subscribe_copying().unwrap().into_pollable().unwrap();
            let mut observer = dir.open("r").observe().unwrap().into_pollable().unwrap();
            assert!(readable(&rx, 0), "nobody has looked");
            let mut buf = Vec::new();
            for n in 0..50 {
                assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
                assert_eq!(copying.try_recv_into(&mut buf).unwrap_err(), TryCopyError::Empty);
                assert_eq!(observer.try_recv(&mut [0; 8]).unwrap_err(), TryCopyError::Empty);
                tx.send(&payload(n, 8)).unwrap();
                assert!(readable(&rx, SOON) && readable(&copying, SOON) && readable(&observer, SOON));
                loop {
                    // A false alarm is one.
                    match rx.try_recv() {
                        Ok(record) => break assert_eq!(&*record, payload(n, 8)),
                        Err(error) => assert_eq!(error, TryRecvError::Empty),
                    }
                    assert!(readable(&rx, SOON));
                }
                while copying.try_recv_into(&mut buf).is_err() {
                    assert!(readable(&copying, SOON));
                }
                assert_eq!(buf, payload(n, 8));
                while observer.try_recv_into(&mut buf).is_err() {
                    assert!(readable(&observer, SOON));
                }
                assert_eq!(buf, payload(n, 8));
            }
            drop(tx);
            let end = loop {
                assert!(readable(&rx, SOON));
                match rx.try_recv().unwrap_err() {
                    TryRecvError::Empty => {}
                    end => break end,
                }
            };
            assert_eq!(end, TryRecvError::Ended(RecvError::Closed));
        }
    });
}

/// Who stops reading before nothing is left is told again at once.
#[test]
fn it_stays_readable_until_nothing_is_found() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let mut rx = dir.open("r").subscribe().unwrap().into_pollable().unwrap();
    assert!(rx.try_recv().is_err());
    tx.send_batch(["1", "2", "3"]).unwrap();
    for n in [b"1", b"2", b"3"] {
        assert!(readable(&rx, SOON));
        assert!(readable(&rx, 0), "asking changes nothing");
        assert_eq!(&*rx.try_recv().unwrap(), n);
    }
    assert!(readable(&rx, SOON), "nobody has found it empty");
    assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
}

/// An idle one is not readable but for the false alarms: one when its declaration has settled, and one each liveness interval. (One
/// on a ring of semaphores has one each millisecond.)
#[test]
fn it_is_not_readable_when_there_is_nothing() {
    let dir = Dir::new();
    let ring = dir.create("r").wake(Wake::Futex).liveness(Duration::from_secs(3600));
    let _tx = ring.producer().unwrap();
    let mut rx = dir.open("r").subscribe().unwrap().into_pollable().unwrap();
    let mut alarms = 0;
    assert!(rx.try_recv().is_err());
    while readable(&rx, 200) {
        alarms += 1;
        assert!(alarms < 20, "it is always readable");
        assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
    }
}

#[test]
fn a_producer_is_readable_when_there_is_room() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).producer().unwrap().into_pollable().unwrap();
        let rx = dir.open("r").subscribe().unwrap();
        assert!(readable(&tx, 0), "nobody has tried");
        let mut sent = 0;
        for _ in 0..50 {
            loop {
                match tx.try_send(&payload(sent, 100)) {
                    Ok(()) => sent += 1,
                    Err(error) => break assert!(matches!(error, TrySendError::Full(_)), "{error}"),
                }
            }
            for n in rx.sequence()..sent {
                assert_eq!(&*rx.recv().unwrap(), payload(n, 100));
            }
            assert!(readable(&tx, SOON));
        }
        let error = tx.try_send(&[0; 5000]).unwrap_err();
        assert!(matches!(error, TrySendError::TooLarge { len: 5000, .. }), "{error}");
    });
}

/// A producer that is killed makes it readable, too.
#[test]
fn it_is_readable_when_the_producer_dies() {
    in_time(|| {
        let dir = Dir::new();
        let mut producer = Child::start("end", &[dir.text(), "r", "kill"]);
        producer.expect("ready");
        let mut rx = dir.open("r").subscribe().unwrap().into_pollable().unwrap();
        assert!(rx.try_recv().is_err());
        producer.kill();
        loop {
            match rx.try_recv().unwrap_err() {
                TryRecvError::Empty => assert!(readable(&rx, SOON)),
                end => break assert_eq!(end, TryRecvError::Ended(RecvError::ProducerLost)),
            }
        }
    });
}

/// The handle itself is still there, and comes out as it was.
#[test]
fn the_handle_comes_out_again() {
    let dir = Dir::new();
    let mut tx = dir.create("r").producer().unwrap();
    let mut rx = dir.open("r").subscribe().unwrap().into_pollable().unwrap();
    assert!(rx.try_recv().is_err());
    tx.send_batch(["1", "2"]).unwrap();
    assert_eq!(&*rx.get_mut().recv().unwrap(), b"1");
    assert_eq!((rx.get_ref().sequence(), rx.into_inner().sequence()), (1, 1));
}
