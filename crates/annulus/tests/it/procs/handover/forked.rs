//! Children without exec of those who have a ring without a name, and of those to whom one was handed over.

use std::thread;
use std::time::{Duration, Instant};

use annulus::handover::Offer;
use annulus::{RecvError, RecvTimeoutError, SendError, TypedRing, Waiting};

use super::super::child::{Child, say};
use super::super::fork::{is_there, leave_a_child};
use super::super::forks::{Board, Fork};
use super::{INTERVAL, INTERVALS, bind, connect, new_socket, receive, send, small, wait_for_ever};
use crate::copiers::{Account, KINDS};
use crate::support::in_time;

/// Long, so that three of them are long on a busy machine.
const LIVENESS: Duration = Duration::from_millis(500);

/// A producer that hands out a ring, and whose child has copies of all that it has: the ring alone, or also an offer
/// that it has not given away.
pub(super) fn producer(socket: &str, with: &str) {
    let tx = small("forked").liveness(LIVENESS).producer().unwrap();
    send(&connect(socket), tx.offer().unwrap());
    let _kept = (with == "offer").then(|| (tx.offer().unwrap(), tx.offer_data().unwrap()));
    leave_a_child();
    wait_for_ever();
}

/// Promise: fork without exec: the locks of the parent are not kept alive, for a ring without a name. The process with
/// its producer, and maybe with an offer of it, forks a child that sleeps, and is killed: readers of all kinds see
/// `ProducerLost` within three intervals, yielding or parked.
#[test]
fn a_killed_producer_whose_child_sleeps() {
    for with in ["nothing", "offer"] {
        for waiting in [Waiting::yielding(), Waiting::park_after(0)] {
            in_time(move || {
                let name = new_socket();
                let listener = bind(&name);
                let mut producer = Child::start("handed-forked-producer", &[&name, with]);
                let open = receive(&listener.accept().unwrap().0).open().waiting(waiting);
                let child = producer.hear();
                let rx = open.clone().subscribe().unwrap();
                let in_place = thread::spawn(move || (rx.recv().map(drop).unwrap_err(), Instant::now()));
                let copiers = KINDS.map(|kind| kind.open(open.clone())).map(|mut rx| {
                    thread::spawn(move || (Account::new(0).read_all(&mut rx, |_| Vec::new()), Instant::now()))
                });
                // Nobody ends as long as it lives.
                let other = open.clone().subscribe().unwrap();
                let waited = other.recv_timeout(LIVENESS).map(drop);
                assert_eq!(waited.unwrap_err(), RecvTimeoutError::TimedOut);
                producer.kill();
                let dead = Instant::now();
                for reader in [in_place].into_iter().chain(copiers) {
                    let (end, noticed) = reader.join().unwrap();
                    let took = noticed.saturating_duration_since(dead);
                    assert!(end == RecvError::ProducerLost && took < LIVENESS * 3, "{end:?} after {took:?}");
                }
                assert!(!open.info().unwrap().producer_alive);
                assert!(is_there(&child), "the child was there all the time");
            });
        }
    }
}

/// Takes a ring and holds its first record; a child has copies of the subscriber, and of offers and what opens the
/// ring.
pub(super) fn subscriber(socket: &str) {
    let socket = connect(socket);
    let (_kept, open) = (receive(&socket), receive(&socket).open());
    let rx = open.clone().subscribe().unwrap();
    say("joined");
    let _record = rx.recv().unwrap();
    leave_a_child();
    wait_for_ever();
}

/// Promise: the same for those to whom a ring was handed over: one that holds a record, and an offer, forks a child that
/// sleeps, and is killed: the blocked producer goes on, and the place is free.
#[test]
fn a_killed_subscriber_whose_child_sleeps() {
    in_time(|| {
        let name = new_socket();
        let listener = bind(&name);
        let mut tx = small("forked").max_subscribers(1).producer().unwrap();
        let mut holder = Child::start("handed-forked-subscriber", &[&name]);
        let socket = listener.accept().unwrap().0;
        (0..2).for_each(|_| send(&socket, tx.offer().unwrap()));
        holder.expect("joined");
        tx.send(&[0; 64]).unwrap();
        let child = holder.hear();
        while tx.try_send(&[0; 64]).is_ok() {}
        holder.kill();
        for _ in 0..200 {
            tx.send_timeout(&[0; 64], INTERVAL * INTERVALS).unwrap();
        }
        let open = tx.offer().unwrap().open();
        assert!(open.clone().info().unwrap().subscribers.is_empty());
        open.subscribe().unwrap();
        assert!(is_there(&child), "the child was there all the time");
    });
}

/// Promise: fork without exec, and the child's handles are errors, the parent's as they were; but what only says how to
/// open or make a ring without a name, and an offer, is good in the child too: what it opens is its own, and goes with it.
#[test]
fn what_is_kept_over_a_fork() {
    in_time(|| {
        let mut keeper = Child::start("handed-forked-keeper", &[]);
        // Its input ends when it is waited for, and a role that finds that in the beginning does nothing.
        keeper.expect("all is well");
        keeper.ends_well();
    });
}

/// Forks with handles, an offer, and what opens and makes rings.
pub(super) fn keeper() {
    let mut tx = small("kept").max_subscribers(3).producer().unwrap();
    let mut typed = TypedRing::<u64>::anonymous("typed").producer().unwrap();
    let values = typed.offer().unwrap().open_typed::<u64>().subscribe().unwrap();
    let (offer, open, make) = (tx.offer().unwrap(), tx.offer().unwrap().open(), small("own"));
    let typed_offer = typed.offer().unwrap();
    // Both sides have these, and open them.
    let take = |offer: &mut Option<Offer>| offer.take().unwrap().open().subscribe().unwrap();
    let (mut offer, mut typed_offer) = (Some(offer), Some(typed_offer));
    let (board, [ready, received]) = (Board::new(), [0, 1]);
    let child = Fork::new(|| {
        assert_eq!(tx.send(b"x"), Err(SendError::Forked));
        assert_eq!(typed.send(&1), Err(SendError::Forked));
        assert_eq!(values.recv().map(drop).unwrap_err(), RecvError::Forked);
        for refused in [tx.offer(), tx.offer_data(), typed.offer()] {
            refused.map(drop).expect_err("what is the parent's cannot be handed over by a child");
        }
        let mut own = make.clone().producer().unwrap();
        let rx = own.offer().unwrap().open().subscribe().unwrap();
        own.send(b"own").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"own");
        let (by_offer, by_open) = (take(&mut offer), open.clone().subscribe().unwrap());
        let mut observer = open.clone().observe().unwrap();
        let values = typed_offer.take().unwrap().open_typed::<u64>().subscribe().unwrap();
        board.count(ready);
        assert_eq!(&*by_offer.recv().unwrap(), b"to all");
        assert_eq!(&*by_open.recv().unwrap(), b"to all");
        assert_eq!(observer.recv(&mut [0; 8]).unwrap().len, 6);
        assert_eq!(*values.recv().unwrap(), 7);
        board.count(received);
        wait_for_ever();
    });
    board.until(ready, 1);
    let ours = take(&mut offer);
    let places = || -> Vec<(u32, bool)> {
        let info = open.clone().info().unwrap();
        info.subscribers.iter().map(|subscriber| (subscriber.pid, subscriber.alive)).collect()
    };
    let (its, us) = (child.0.cast_unsigned(), std::process::id());
    assert_eq!(places(), [(its, true), (its, true), (us, true)]);
    tx.send(b"to all").unwrap();
    typed.send(&7).unwrap();
    assert_eq!(&*ours.recv().unwrap(), b"to all");
    assert_eq!(*values.recv().unwrap(), 7);
    board.until(received, 1);
    // Its places go with it, and ours stay.
    child.kill();
    assert_eq!(places(), [(its, false), (its, false), (us, true)]);
    for n in 0..200_u64 {
        tx.send_timeout(&n.to_le_bytes(), INTERVAL * INTERVALS).unwrap();
        assert_eq!(*ours.recv().unwrap(), n.to_le_bytes());
    }
    assert_eq!(places(), [(us, true)]);
    let mut own = make.producer().unwrap();
    own.send(b"ours").unwrap();
    assert!(open.subscribe().is_ok() && typed_offer.is_some());
    say("all is well");
}
