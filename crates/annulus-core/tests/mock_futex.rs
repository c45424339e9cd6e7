//! The stand-ins for futex(2) themselves: the one in `sync.rs` under loom, and the one of plain stress.
//!
//! Shows: what the man page says of FUTEX_WAIT_BITSET and FUTEX_WAKE_BITSET. The comparison and the falling asleep are
//! one step; another value, or no bits, is no sleep; a wake is for those asleep now and is not kept; it wakes those
//! with a common bit, no more than it is asked for, says how many, and none at another word. The test
//! `futex.rs` of annulus-os asks the kernel the same. Cannot show: priorities, deadlines, and early returns, which
//! `spurious_wake.rs` has from a wake for nothing. Which of several sleepers a small count wakes is not asked:
//! the protocol wakes all readers, and one producer, which sleeps alone.

mod common;

use annulus_core::doorbell::Park;
use annulus_core::words::{Bell, Plain32};
use common::{Arc, Futex, model, model_within, relax, thread};
use thread::JoinHandle;

/// A word, its sleepers, and a mark that is set between one wake and the next.
#[derive(Default)]
struct Scene {
    park: Futex,
    bell: Bell,
    other: Bell,
    mark: Plain32,
}

/// Sleeps, and says whether the mark was set when it was woken.
fn sleeper(scene: &Arc<Scene>, bits: u32) -> JoinHandle<bool> {
    let scene = scene.clone();
    thread::spawn(move || {
        scene.park.wait(scene.bell.futex(), 0, bits, None);
        scene.mark.glance() != 0
    })
}

/// Wakes until so many have been woken, who may not be asleep yet.
fn wake(scene: &Scene, count: u32, bits: u32) {
    let mut woken = 0;
    while woken < count {
        let n = scene.park.wake(scene.bell.futex(), count - woken, bits);
        assert!(n <= count - woken, "{n} of {}", count - woken);
        woken += n;
        relax();
    }
}

#[test]
fn the_comparison_and_the_falling_asleep_are_one_step() {
    model(9, || {
        let scene = Arc::new(Scene::default());
        let asleep = sleeper(&scene, 1);
        scene.bell.move_on();
        // One wake only: whoever is not asleep by now finds the bell moved.
        assert!(scene.park.wake(scene.bell.futex(), u32::MAX, 1) <= 1);
        asleep.join().unwrap();
    });
}

#[test]
fn another_value_or_no_bits_is_no_sleep() {
    model(1, || {
        let scene = Scene::default();
        let word = scene.bell.futex();
        scene.park.wait(word, 1, 1, None);
        scene.park.wait(word, 0, 0, None);
        scene.bell.move_on();
        scene.park.wait(word, 0, 1, None);
        assert_eq!(scene.park.wake(word, u32::MAX, u32::MAX), 0);
    });
}

#[test]
fn a_wake_is_not_kept_for_who_sleeps_later() {
    model(11, || {
        let scene = Arc::new(Scene::default());
        for _ in 0..2 {
            assert_eq!(scene.park.wake(scene.bell.futex(), 1, u32::MAX), 0);
        }
        let asleep = sleeper(&scene, 1);
        scene.mark.preset(1);
        wake(&scene, 1, 1);
        assert!(asleep.join().unwrap(), "woken by a wake from before");
    });
}

/// Nor by one at another word, of no bits, or of a count of 0.
#[test]
fn a_sleeper_is_woken_by_its_word_and_a_common_bit_only() {
    model(27, || {
        let scene = Arc::new(Scene::default());
        let asleep = sleeper(&scene, 0b0110);
        assert_eq!(scene.park.wake(scene.bell.futex(), u32::MAX, 0b1001), 0);
        assert_eq!(scene.park.wake(scene.bell.futex(), u32::MAX, 0), 0);
        assert_eq!(scene.park.wake(scene.bell.futex(), 0, u32::MAX), 0);
        assert_eq!(scene.park.wake(scene.other.futex(), u32::MAX, u32::MAX), 0);
        scene.mark.preset(1);
        wake(&scene, 1, 0b0100);
        assert!(asleep.join().unwrap(), "woken by what was not for it");
        assert_eq!(scene.park.wake(scene.bell.futex(), u32::MAX, u32::MAX), 0);
    });
}

#[test]
fn of_two_sleepers_the_one_with_the_bit_is_woken() {
    model(3900, || {
        let scene = Arc::new(Scene::default());
        let (one, two) = (sleeper(&scene, 0b01), sleeper(&scene, 0b10));
        wake(&scene, 1, 0b10);
        two.join().unwrap();
        scene.mark.preset(1);
        wake(&scene, 1, 0b11);
        assert!(one.join().unwrap(), "woken by the other's wake");
    });
}

#[test]
fn no_more_are_woken_than_asked() {
    model_within(2, 2900, || {
        let scene = Arc::new(Scene::default());
        let asleep = [sleeper(&scene, 1), sleeper(&scene, 1)];
        wake(&scene, 1, 1);
        scene.mark.preset(1);
        wake(&scene, 1, 1);
        assert!(asleep.map(|sleeper| sleeper.join().unwrap()).contains(&true), "one wake woke both");
    });
}

#[test]
fn a_wake_for_all_wakes_all() {
    model(630, || {
        let scene = Arc::new(Scene::default());
        let asleep = [sleeper(&scene, 0b01), sleeper(&scene, 0b10)];
        scene.bell.move_on();
        assert!(scene.park.wake(scene.bell.futex(), u32::MAX, u32::MAX) <= 2);
        for sleeper in asleep {
            sleeper.join().unwrap();
        }
    });
}

#[test]
fn a_wake_says_how_many_it_woke() {
    model_within(2, 500, || {
        let scene = Arc::new(Scene::default());
        let asleep = [sleeper(&scene, 1), sleeper(&scene, 1)];
        // Ends once two are said to be woken, and there are no more.
        wake(&scene, 2, 1);
        for sleeper in asleep {
            sleeper.join().unwrap();
        }
    });
}
