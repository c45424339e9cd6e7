//! Sleeping at several words at once.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use annulus_core::doorbell::Park;
use annulus_core::words::Bell;
use annulus_os::waitv::WORDS_MAX;
use annulus_os::{Futex, Waits};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);

fn bells(count: usize) -> Arc<Vec<Bell>> {
    Arc::new((0..count).map(|_| Bell::default()).collect())
}

fn waits_of(bells: &[Bell]) -> Waits {
    let mut waits = Waits::new();
    for bell in bells {
        waits.push(bell.futex(), bell.seen());
    }
    waits
}

fn ring(bell: &Bell) {
    bell.move_on();
    Futex.wake(bell.futex(), 1, 1);
}

/// Each of them, also one of those that a single call does not take, ends the sleep long before its limit.
#[test]
fn any_of_the_words_wakes() {
    for count in [1, 3, WORDS_MAX, WORDS_MAX + 1, 3 * WORDS_MAX] {
        let bells = bells(count);
        for which in [0, count / 2, count - 1] {
            let rung = Arc::clone(&bells);
            let (begin, ready) = mpsc::channel();
            let ringer = std::thread::spawn(move || {
                ready.recv().unwrap();
                ring(&rung[which]);
            });
            let mut waits = waits_of(&bells);
            let seen = bells[which].seen();
            begin.send(()).unwrap();
            let begin = Instant::now();
            while bells[which].seen() == seen {
                assert!(!waits.wait(Some(LONG)).unwrap(), "slept through {which} of {count}");
                assert!(begin.elapsed() < LONG);
            }
            ringer.join().unwrap();
        }
    }
}

/// The compare that comes with the sleep: who was rung between its look and its sleep does not sleep.
#[test]
fn a_word_that_says_something_else_is_not_slept_at() {
    let bells = bells(WORDS_MAX);
    for which in [0, 1, WORDS_MAX - 1] {
        let mut waits = waits_of(&bells);
        bells[which].move_on();
        assert!(!waits.wait(None).unwrap());
    }
}

#[test]
fn the_limit_passes() {
    let bells = bells(2 * WORDS_MAX);
    for count in [1, 2, WORDS_MAX, 2 * WORDS_MAX] {
        let mut waits = waits_of(&bells[..count]);
        assert_eq!((waits.len(), waits.is_empty()), (count, false));
        let begin = Instant::now();
        // A signal may end it before.
        while !waits.wait(Some(SHORT)).unwrap() {}
        assert!(begin.elapsed() >= SHORT);
    }
}

/// A turn at some of the words is no sleep of the asked length.
#[test]
fn a_turn_is_not_the_limit() {
    let bells = bells(WORDS_MAX + 1);
    assert!(!waits_of(&bells).wait(Some(LONG)).unwrap());
    assert!(!waits_of(&bells).wait(None).unwrap());
}

#[test]
fn without_words_there_is_nothing_to_wait_for() {
    let mut waits = waits_of(&bells(1));
    waits.clear();
    assert!(waits.is_empty());
    assert_eq!(waits.wait(None).unwrap_err().raw_os_error(), Some(libc::EINVAL));
}
