//! Waiting at many words at once: each way does the same.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annulus_core::doorbell::Park;
use annulus_core::words::Bell;
use annulus_os::many::{Many, Poke, Way, Word};
use annulus_os::place::anonymous;
use annulus_os::sys::page_size;
use annulus_os::{Access, Futex, Mapping};

use crate::support::{Child, End, alone};

const WAYS: [Way; 3] = [Way::IoUring, Way::Waitv, Way::Naps];
/// Longer than any wake takes. Only failures last so long.
const LONG: Duration = Duration::from_secs(60);

/// Bells of their own, 64 bytes apart.
struct Bells(Arc<Mapping>);

impl Bells {
    fn new(count: usize) -> Bells {
        let bytes = (64 * count).next_multiple_of(page_size());
        let file = anonymous("bells", bytes as u64).unwrap();
        Bells(Arc::new(Mapping::plain(&file, bytes, Access::ReadWrite).unwrap()))
    }

    fn bell(&self, i: usize) -> &Bell {
        assert!(64 * i < self.0.len());
        // SAFETY: aligned and inside the mapping, which the result borrows; everybody here uses it as a bell only.
        unsafe { self.0.base().add(64 * i).cast().as_ref() }
    }

    fn word(&self, i: usize) -> Word {
        Word::within(&self.0, self.bell(i).futex()).unwrap()
    }

    fn ring(&self, i: usize, bits: u32) -> u32 {
        self.bell(i).move_on();
        Futex.wake(self.bell(i).futex(), u32::MAX, bits)
    }
}

fn each_way(test: impl Fn(&mut Many, &Poke)) {
    for way in WAYS {
        let poke = Poke::default();
        match Many::with(way, poke.clone()) {
            Ok(mut many) => {
                test(&mut many, &poke);
                assert_eq!(many.way(), way, "it did not fall back");
            }
            Err(error) => println!("{way:?} is not offered here: {error}"),
        }
    }
}

/// Waits until so many tokens have come.
fn collect(many: &mut Many, count: usize) -> BTreeSet<u64> {
    let (start, mut woken) = (Instant::now(), Vec::new());
    while woken.len() < count {
        let left = LONG.checked_sub(start.elapsed()).expect("all come");
        many.wait(Some(left), &mut woken);
    }
    let set: BTreeSet<_> = woken.iter().copied().collect();
    assert_eq!((set.len(), woken.len()), (count, count), "each once");
    set
}

#[test]
fn a_word_is_kept_mapped_and_must_lie_inside() {
    let (bells, other) = (Bells::new(1), Bells::new(1));
    let word = bells.word(0);
    assert!(Word::within(&bells.0, other.bell(0).futex()).is_none());
    drop(bells);
    assert_eq!(word.get().glance(), 0);
}

#[test]
fn of_a_thousand_those_come_that_moved() {
    const COUNT: usize = 1000;
    each_way(|many, _| {
        let bells = Bells::new(COUNT);
        for i in 0..COUNT {
            many.add(i as u64, bells.word(i), 0, 1);
        }
        let moved = [0, 126, 127, 128, 500, 999];
        std::thread::scope(|scope| {
            scope.spawn(|| moved.iter().for_each(|&i| _ = bells.ring(i, 1)));
            assert_eq!(collect(many, moved.len()), moved.iter().map(|&i| i as u64).collect());
        });
        // One that is not in the one call that takes 127.
        for seen in 1..20 {
            // Of the lowest token, so the one that is waited at last.
            many.add(0, bells.word(0), seen, 1);
            std::thread::scope(|scope| {
                scope.spawn(|| bells.ring(0, 1));
                assert_eq!(collect(many, 1), BTreeSet::from([0]));
            });
        }
        // The others are still waited for.
        for i in 0..COUNT {
            bells.ring(i, 1);
        }
        assert_eq!(collect(many, COUNT - moved.len()).len(), COUNT - moved.len());
    });
}

#[test]
fn a_word_that_has_moved_already_comes_at_once() {
    each_way(|many, _| {
        let bells = Bells::new(2);
        bells.ring(1, 1);
        many.add(7, bells.word(0), 0, 1);
        many.add(8, bells.word(1), 0, 1);
        assert_eq!(collect(many, 1), BTreeSet::from([8]));
    });
}

#[test]
fn a_token_that_was_removed_does_not_come() {
    each_way(|many, _| {
        let bells = Bells::new(3);
        for i in 0..3 {
            many.add(i, bells.word(i as usize), 0, 1);
        }
        // Handed over before it is taken back, the other not.
        many.wait(Some(Duration::ZERO), &mut Vec::new());
        many.remove(0);
        many.add(3, bells.word(0), 0, 1);
        many.remove(3);
        many.wait(Some(Duration::ZERO), &mut Vec::new());
        assert_eq!(bells.ring(0, 1), 0, "nobody waits there");
        (1..3).for_each(|i| _ = bells.ring(i, 1));
        assert_eq!(collect(many, 2), BTreeSet::from([1, 2]));
    });
}

#[test]
fn a_wait_ends_at_its_limit_and_not_before() {
    each_way(|many, _| {
        let bells = Bells::new(200);
        for (words, millis) in [(0..0, 0), (0..0, 20), (0..1, 20), (1..200, 20)] {
            words.for_each(|i| many.add(i as u64, bells.word(i), 0, 1));
            let (start, limit, mut woken) = (Instant::now(), Duration::from_millis(millis), Vec::new());
            many.wait(Some(limit), &mut woken);
            // Naps are shorter at first, and may be.
            assert!(many.way() == Way::Naps || start.elapsed() >= limit, "{:?}", many.way());
            assert!(start.elapsed() < LONG && woken.is_empty());
        }
    });
}

#[test]
fn a_poke_ends_the_wait_or_the_next_one() {
    each_way(|many, poke| {
        let start = Instant::now();
        for _ in 0..100 {
            poke.poke();
            many.wait(Some(LONG), &mut Vec::new());
            std::thread::scope(|scope| {
                scope.spawn(|| poke.poke());
                many.wait(Some(LONG), &mut Vec::new());
            });
        }
        assert!(start.elapsed() < LONG, "{:?}", many.way());
        // Each is worth one wait, and perhaps one more.
        let limit = Duration::from_millis(20);
        let slept = (0..10).any(|_| {
            let start = Instant::now();
            many.wait(Some(limit), &mut Vec::new());
            start.elapsed() >= limit
        });
        assert!(slept, "{:?}", many.way());
    });
}

/// What io_uring can say, and the others cannot.
#[test]
fn a_wake_for_others_is_not_taken_by_who_tells_its_bits() {
    let bells = Bells::new(1);
    each_way(|many, _| {
        many.add(0, bells.word(0), bells.bell(0).seen(), 0b10);
        many.wait(Some(Duration::ZERO), &mut Vec::new());
        if many.way() == Way::IoUring {
            assert_eq!(Futex.wake(bells.bell(0).futex(), 1, 0b01), 0);
            assert_eq!(Futex.wake(bells.bell(0).futex(), 1, 0b11), 1);
            assert_eq!(collect(many, 1), BTreeSet::from([0]));
        }
    });
}

#[test]
fn a_wake_comes_from_another_process() {
    let alone = alone();
    each_way(|many, _| {
        let bells = Bells::new(300);
        (0..300).for_each(|i| many.add(i as u64, bells.word(i), 0, 1));
        many.wait(Some(Duration::ZERO), &mut Vec::new());
        let child = Child::run(&alone, || {
            bells.ring(299, 1);
            0
        });
        assert_eq!(collect(many, 1), BTreeSet::from([299]));
        assert_eq!(child.wait(), End::Exit(0));
    });
}

/// A map of an io_uring keeps it alive, and its requests with it, which take wakes that are for others: no child has one, and one
/// that drops what its parent had, or goes on with it, hurts nobody.
#[test]
fn a_forked_child_has_nothing_of_it() {
    let alone = alone();
    each_way(|many, _| {
        let bells = Bells::new(1);
        many.add(0, bells.word(0), 0, 1);
        many.wait(Some(Duration::ZERO), &mut Vec::new());
        let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().matches("[io_uring]").count();
        // Of other tests, which run beside it, too.
        assert!(maps() > 0 || many.way() != Way::IoUring);
        let child = Child::run(&alone, || {
            let left = maps() > 0;
            many.remove(0);
            many.wait(Some(Duration::ZERO), &mut Vec::new());
            i32::from(left || many.way() == Way::IoUring)
        });
        assert_eq!(child.wait(), End::Exit(0));
        bells.ring(0, 1);
        assert_eq!(collect(many, 1), BTreeSet::from([0]));
    });
}

/// More at once than either queue of an io_uring holds.
#[test]
fn ten_thousand_in_one_thread() {
    const COUNT: usize = 10_000;
    each_way(|many, _| {
        let bells = Bells::new(COUNT);
        for _ in 0..2 {
            for i in 0..COUNT {
                many.add(i as u64, bells.word(i), bells.bell(i).seen(), 1);
            }
            many.wait(Some(Duration::ZERO), &mut Vec::new());
            (0..COUNT).for_each(|i| _ = bells.ring(i, 1));
            assert_eq!(collect(many, COUNT).len(), COUNT);
        }
    });
}

/// No wake is lost between two threads that wake each other, each through a word of its own.
#[test]
fn a_dialogue_through_many() {
    const TURNS: u32 = 2000;
    each_way(|many, _| {
        let bells = Bells::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0..TURNS {
                    while bells.bell(1).seen() == turn {
                        Futex.wait(bells.bell(1).futex(), turn, 1, Some(LONG));
                    }
                    bells.ring(0, 1);
                }
            });
            for turn in 0..TURNS {
                many.add(u64::from(turn), bells.word(0), turn, 1);
                bells.ring(1, 1);
                assert_eq!(collect(many, 1), BTreeSet::from([u64::from(turn)]));
            }
        });
    });
}
