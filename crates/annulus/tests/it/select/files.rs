//! File descriptors among the rings.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use annulus::{FenceMode, Select, SelectError, Selectable};

use super::{BRIEF, asleep_at_once, rings, sent_to_sleeper};
use crate::support::{Dir, each_in_time, in_time};

fn take(stream: &mut UnixStream) {
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
}

/// Rings and sockets in one wait: whichever has something ends it.
#[test]
fn rings_and_descriptors() {
    each_in_time(|trips| {
        let dir = Dir::new();
        let (mut producers, subscribers) = rings(&dir, 2, FenceMode::Asymmetric);
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let mut select = asleep_at_once();
        for n in 0..100 {
            sent_to_sleeper(
                || far.write_all(b"!").unwrap(),
                || assert_eq!(select.wait(&[&subscribers[0], &near, &subscribers[1]]), Ok(1)),
            );
            take(&mut near);
            sent_to_sleeper(
                || producers[1].send(b"!").unwrap(),
                || assert_eq!(select.wait(&[&subscribers[0], &near, &subscribers[1]]), Ok(2)),
            );
            drop(subscribers[1].try_recv().unwrap());
            trips.store(n, Ordering::Relaxed);
        }
        let nothing = select.wait_timeout(&[&subscribers[0], &near], BRIEF);
        assert_eq!(nothing, Err(SelectError::TimedOut));
        // Whoever reads finds that nothing will come.
        drop(far);
        assert_eq!(select.wait(&[&subscribers[0], &near]), Ok(1));
    });
}

#[test]
fn descriptors_alone() {
    in_time(|| {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let (other, _open) = UnixStream::pair().unwrap();
        let mut select = asleep_at_once();
        for _ in 0..10 {
            let nothing = select.wait_timeout(&[&other, &near], BRIEF);
            assert_eq!(nothing, Err(SelectError::TimedOut));
            sent_to_sleeper(
                || far.write_all(b"!").unwrap(),
                || assert_eq!(select.wait(&[&other, &near]), Ok(1)),
            );
            take(&mut near);
        }
    });
}

/// A descriptor that always has something has its turns among rings that always have something, and no more.
#[test]
fn a_descriptor_takes_its_turns() {
    in_time(|| {
        let dir = Dir::new();
        let (mut producers, subscribers) = rings(&dir, 2, FenceMode::Asymmetric);
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"!").unwrap();
        let (mut select, mut turns) = (Select::new(), [0; 3]);
        for _ in 0..300 {
            for tx in &mut producers {
                let _ = tx.try_send(b"often");
            }
            let sources: [&dyn Selectable; 3] = [&subscribers[0], &near, &subscribers[1]];
            let at = select.wait(&sources).unwrap();
            turns[at] += 1;
            if at != 1 {
                drop(subscribers[at / 2].try_recv().unwrap());
            }
        }
        assert!(turns.iter().all(|turns| (90..=110).contains(turns)), "{turns:?}");
        assert_eq!(select.wait_biased(&[&near, &subscribers[0]]), Ok(0));
    });
}

/// The first of the list that is ready is the answer each time, also when the producers and descriptors are asked for.
#[test]
fn a_descriptor_does_not_overtake_what_is_more_urgent() {
    let dir = Dir::new();
    let (mut producers, subscribers) = rings(&dir, 1, FenceMode::Asymmetric);
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"!").unwrap();
    producers[0].send(b"urgent").unwrap();
    let mut select = Select::new();
    for n in 0..200 {
        assert_eq!(select.wait_biased(&[&subscribers[0], &near]), Ok(0), "{n}");
    }
}
