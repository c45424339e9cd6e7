//! Whose turn it is, where several have something.

use std::time::Duration;

use annulus::{FenceMode, Select, Selectable};

use super::{all, rings};
use crate::support::{Dir, in_time};

/// Rings that always have something: each is served once in as many turns as there are.
#[test]
fn all_of_128_that_are_always_ready_have_their_turns() {
    const COUNT: usize = 128;
    in_time(|| {
        let dir = Dir::new();
        let (mut producers, subscribers) = rings(&dir, COUNT, FenceMode::Asymmetric);
        let refill = |tx: &mut annulus::Producer| while tx.try_send(&[1; 8]).is_ok() {};
        producers.iter_mut().for_each(refill);
        let (mut select, mut last) = (Select::new(), [None::<usize>; COUNT]);
        for turn in 0..20 * COUNT {
            let at = select.wait(&all(&subscribers)).unwrap();
            drop(subscribers[at].try_recv().unwrap());
            refill(&mut producers[at]);
            let waited = turn - last[at].map_or(0, |last| last + 1);
            assert!(waited < 2 * COUNT, "ring {at} waited for {waited} turns");
            last[at] = Some(turn);
        }
        assert!(last.iter().all(Option::is_some), "one never had its turn");
    });
}

/// One that seldom has something has its turn soon, among busy ones, whatever the order of the list.
#[test]
fn a_busy_ring_does_not_keep_the_others_waiting() {
    in_time(|| {
        let dir = Dir::new();
        let (mut producers, subscribers) = rings(&dir, 4, FenceMode::Asymmetric);
        let mut select = Select::new();
        let mut list: Vec<usize> = (0..4).collect();
        for seldom in 0..4 {
            // What is left from when it was a busy one.
            while subscribers[seldom].try_recv().is_ok() {}
            for round in 0..50 {
                producers[seldom].send(b"seldom").unwrap();
                let mut turns = 0;
                loop {
                    for (n, tx) in producers.iter_mut().enumerate() {
                        if n != seldom {
                            let _ = tx.try_send(b"often");
                        }
                    }
                    list.rotate_left(round % 4);
                    let sources: Vec<&dyn Selectable> =
                        list.iter().map(|&n| &subscribers[n] as &dyn Selectable).collect();
                    let which = list[select.wait(&sources).unwrap()];
                    drop(subscribers[which].try_recv().unwrap());
                    if which == seldom {
                        break;
                    }
                    turns += 1;
                    assert!(turns < 8, "it waited for {turns} turns of 3 others");
                }
            }
        }
    });
}

/// The first of the list that is ready, however often; the others when it has nothing.
#[test]
fn the_most_urgent_comes_first() {
    let dir = Dir::new();
    let (mut producers, subscribers) = rings(&dir, 3, FenceMode::Asymmetric);
    let mut select = Select::new();
    for tx in &mut producers {
        tx.send_batch(["1", "2", "3"]).unwrap();
    }
    for n in 0..9 {
        let at = select.wait_biased(&all(&subscribers)).unwrap();
        assert_eq!(at, n / 3);
        drop(subscribers[at].try_recv().unwrap());
    }
    let nothing = select.wait_biased_timeout(&all(&subscribers), Duration::ZERO);
    assert_eq!(nothing, Err(annulus::SelectError::TimedOut));
}

/// Who always finds something looks for ends too.
#[test]
fn an_end_among_busy_rings_is_found() {
    in_time(|| {
        let dir = Dir::new();
        let (mut producers, subscribers) = rings(&dir, 3, FenceMode::Asymmetric);
        let mut select = Select::new();
        drop(producers.remove(1));
        for turn in 0.. {
            for tx in &mut producers {
                let _ = tx.try_send(b"often");
            }
            let at = select.wait(&all(&subscribers)).unwrap();
            let got = subscribers[at].try_recv();
            if at == 1 {
                assert!(got.is_err());
                break;
            }
            assert!(turn < 6);
        }
    });
}
