//! Sleepers and wakers, in one process and in two.
#![allow(unsafe_code)]

use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use annulus_core::doorbell::Park;
use annulus_core::sync::FutexWord;
use annulus_os::place::anonymous;
use annulus_os::sys::page_size;
use annulus_os::{Access, Futex, Mapping, membarrier};

use crate::support::{Child, End, alone};

/// Longer than any wake takes, shorter than anybody waits for a test. Only failures last so long.
const LONG: Duration = Duration::from_secs(20);

fn word(map: &Mapping, index: usize) -> &FutexWord {
    // SAFETY: aligned and inside the mapping, which the result borrows; any four bytes are a valid word, and
    // everybody here uses this one through `FutexWord` only.
    unsafe { map.base().cast::<FutexWord>().add(index).as_ref() }
}

fn shared(name: &str) -> Mapping {
    let file = anonymous(name, page_size() as u64).unwrap();
    Mapping::plain(&file, page_size(), Access::ReadWrite).unwrap()
}

/// Wakes until `count` sleepers have been woken; they may not be asleep yet.
fn wake(word: &FutexWord, count: u32, bits: u32) {
    let (start, mut woken) = (Instant::now(), 0);
    while woken < count {
        woken += Futex.wake(word, count - woken, bits);
        assert!(start.elapsed() < LONG, "{woken} of {count} woken");
        std::thread::yield_now();
    }
}

#[test]
fn a_wake_crosses_processes() {
    let alone = alone();
    let map = shared("cross");
    let child = Child::run(&alone, || {
        let start = Instant::now();
        let timed_out = Futex.wait(word(&map, 0), 0, 1, Some(LONG));
        i32::from(timed_out || start.elapsed() >= LONG)
    });
    wake(word(&map, 0), 1, 1);
    assert_eq!(child.wait(), End::Exit(0));
}

#[test]
fn a_wake_reaches_another_mapping_of_the_same_word() {
    let file = anonymous("twice", 2 * page_size() as u64).unwrap();
    let map = Mapping::mirrored(&file, page_size(), page_size(), Access::ReadWrite).unwrap();
    let words = page_size() / size_of::<FutexWord>();
    std::thread::scope(|scope| {
        scope.spawn(|| Futex.wait(word(&map, words), 0, 1, Some(LONG)));
        wake(word(&map, 2 * words), 1, 1);
    });
}

#[test]
fn a_wait_ends_at_its_timeout_and_not_before() {
    let word = FutexWord::default();
    for millis in [0, 1, 30] {
        let (start, timeout) = (Instant::now(), Duration::from_millis(millis));
        assert!(Futex.wait(&word, 0, u32::MAX, Some(timeout)));
        assert!((timeout..LONG).contains(&start.elapsed()), "{millis} ms took {:?}", start.elapsed());
    }
}

#[test]
fn another_value_or_no_bits_is_no_sleep() {
    let word = FutexWord::default();
    let start = Instant::now();
    assert!(!Futex.wait(&word, 1, 1, Some(LONG)));
    assert!(!Futex.wait(&word, 1, 1, None));
    assert!(!Futex.wait(&word, 0, 0, None));
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_timeout_beyond_time_is_none() {
    // Lives for ever, so that a failure here does not wait for a thread that nobody wakes.
    let word: &'static FutexWord = Box::leak(Box::default());
    for timeout in [Duration::MAX, Duration::from_secs(i64::MAX.unsigned_abs())] {
        let sleeper = std::thread::spawn(move || Futex.wait(word, 0, 1, Some(timeout)));
        wake(word, 1, 1);
        assert!(!sleeper.join().unwrap());
    }
}

/// A thread called `name` that is asleep in the kernel when this returns, and not for ever.
fn sleeper<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    word: &'scope FutexWord,
    bits: u32,
) -> ScopedJoinHandle<'scope, bool> {
    let wait = move || Futex.wait(word, 0, bits, Some(LONG));
    let thread = Builder::new().name(name.into()).spawn_scoped(scope, wait).unwrap();
    let start = Instant::now();
    while !asleep(name) {
        assert!(start.elapsed() < LONG, "{name} never slept");
        std::thread::yield_now();
    }
    thread
}

/// Whether the thread called `name` (15 bytes at most, nobody else's) is in the futex call. See proc(5).
fn asleep(name: &str) -> bool {
    let in_call = format!("{} ", libc::SYS_futex);
    std::fs::read_dir("/proc/self/task").unwrap().flatten().any(|task| {
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        read("comm").trim_end() == name && read("syscall").starts_with(&in_call)
    })
}

#[test]
fn only_sleepers_with_a_common_bit_are_woken() {
    let word = FutexWord::default();
    std::thread::scope(|scope| {
        let one = sleeper(scope, "bit-0", &word, 0b001);
        let two = sleeper(scope, "bit-1", &word, 0b010);
        let both = sleeper(scope, "bits-1-and-2", &word, 0b110);
        assert_eq!(Futex.wake(&word, u32::MAX, 0b1000), 0);
        assert_eq!(Futex.wake(&word, u32::MAX, 0), 0);
        assert_eq!(Futex.wake(&word, u32::MAX, 0b100), 1);
        both.join().unwrap();
        assert_eq!(Futex.wake(&word, u32::MAX, 0b010), 1);
        two.join().unwrap();
        assert_eq!(Futex.wake(&word, u32::MAX, u32::MAX), 1);
        one.join().unwrap();
    });
}

#[test]
fn a_count_means_what_it_says_at_both_ends() {
    let word = FutexWord::default();
    std::thread::scope(|scope| {
        for name in ["count-0", "count-1", "count-2", "count-3"] {
            sleeper(scope, name, &word, 1);
        }
        // The kernel itself takes 0 for 1, and u32::MAX for -1, which it also takes for 1.
        assert_eq!(Futex.wake(&word, 0, 1), 0);
        assert_eq!(Futex.wake(&word, 1, 1), 1);
        assert_eq!(Futex.wake(&word, u32::MAX, 1), 3);
    });
}

#[test]
fn membarrier_works_here() {
    assert!(membarrier::heavy(), "the caller need not be registered");
    assert!(membarrier::register());
    assert!(membarrier::register());
    assert!(Futex.heavy());
}
