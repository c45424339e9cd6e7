//! Posts and waits, in one process and in two.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use annulus_os::place::anonymous;
use annulus_os::semaphore::{self, Outcome, Words, init, is_timeout_steady, post, try_wait, wait};
use annulus_os::sys::page_size;
use annulus_os::{Access, Mapping};

use crate::support::{Child, End, alone, under_signals};

/// Longer than any wake takes, shorter than anybody waits for a test. Only failures last so long.
const LONG: Duration = Duration::from_secs(20);

/// The words at the `index`th 32 bytes.
fn words(map: &Mapping, index: usize) -> &Words {
    assert!((index + 1) * size_of::<Words>() <= map.len());
    // SAFETY: aligned and inside the mapping, which the result borrows; any bits are words, and everybody here
    // uses them through `Words` only.
    unsafe { map.base().cast::<Words>().add(index).as_ref() }
}

fn shared(name: &str) -> Mapping {
    let file = anonymous(name, page_size() as u64).unwrap();
    Mapping::plain(&file, page_size(), Access::ReadWrite).unwrap()
}

#[test]
fn a_post_crosses_processes_both_ways() {
    let alone = alone();
    let map = shared("posts");
    let (there, back) = (words(&map, 0), words(&map, 3));
    init(there).unwrap();
    init(back).unwrap();
    // Before the fork: the child may not take the locks of the dynamic linker.
    let _ = is_timeout_steady();
    let child = Child::run(&alone, || {
        for _ in 0..100 {
            if wait(there, Some(LONG)) != Outcome::Posted || !post(back) {
                return 1;
            }
        }
        // The last without a timeout.
        i32::from(wait(there, None) != Outcome::Posted)
    });
    for _ in 0..100 {
        assert!(post(there));
        assert_eq!(wait(back, Some(LONG)), Outcome::Posted);
    }
    assert!(post(there));
    assert_eq!(child.wait(), End::Exit(0));
    assert!(!try_wait(back) && !try_wait(there));
}

#[cfg(target_env = "gnu")]
#[test]
fn timeouts_are_steady_with_every_glibc_that_can_do_it() {
    // SAFETY: the result is a terminated string that is never changed.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    let version: Vec<u32> = version.to_str().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(is_timeout_steady(), version >= vec![2, 30], "glibc {version:?}");
}

#[test]
fn a_post_reaches_a_sleeper_at_another_mapping_of_the_same_words() {
    let file = anonymous("two views", page_size() as u64).unwrap();
    let maps = [(); 2].map(|()| Mapping::plain(&file, page_size(), Access::ReadWrite).unwrap());
    init(words(&maps[0], 1)).unwrap();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| wait(words(&maps[0], 1), Some(LONG)));
        assert!(post(words(&maps[1], 1)));
        assert_eq!(sleeper.join().unwrap(), Outcome::Posted);
    });
}

#[test]
fn posts_are_counted_and_forgotten_at_the_next_start() {
    let semaphore = Words::default();
    init(&semaphore).unwrap();
    assert!(!try_wait(&semaphore));
    for _ in 0..3 {
        assert!(post(&semaphore));
    }
    assert!(try_wait(&semaphore));
    assert_eq!(wait(&semaphore, None), Outcome::Posted);
    assert_eq!(wait(&semaphore, Some(Duration::ZERO)), Outcome::Posted);
    assert!(!try_wait(&semaphore));
    assert_eq!(wait(&semaphore, Some(Duration::ZERO)), Outcome::TimedOut);
    assert!(post(&semaphore));
    init(&semaphore).unwrap();
    assert!(!try_wait(&semaphore));
}

#[test]
fn a_wait_ends_at_its_timeout_and_not_before() {
    let semaphore = Words::default();
    init(&semaphore).unwrap();
    for millis in [0, 1, 30] {
        let (start, timeout) = (Instant::now(), Duration::from_millis(millis));
        assert_eq!(wait(&semaphore, Some(timeout)), Outcome::TimedOut);
        assert!((timeout..LONG).contains(&start.elapsed()), "{millis} ms took {:?}", start.elapsed());
    }
}

#[test]
fn a_timeout_beyond_time_is_none() {
    // Lives for ever, so that a failure here does not wait for a thread that nobody wakes.
    let semaphore: &'static Words = Box::leak(Box::default());
    init(semaphore).unwrap();
    for timeout in [Duration::MAX, Duration::from_secs(i64::MAX.unsigned_abs())] {
        let sleeper = std::thread::spawn(move || wait(semaphore, Some(timeout)));
        assert!(post(semaphore));
        assert_eq!(sleeper.join().unwrap(), Outcome::Posted);
    }
}

#[test]
fn a_signal_ends_a_wait_early() {
    let semaphore = Words::default();
    init(&semaphore).unwrap();
    for timeout in [None, Some(LONG)] {
        let outcome = under_signals(Duration::from_millis(2), || wait(&semaphore, timeout));
        assert_eq!(outcome, Outcome::Early);
    }
}

#[test]
fn words_that_are_no_semaphore_are_left_alone() {
    let semaphore = Words::default();
    init(&semaphore).unwrap();
    let good = [0, 1, 2, 3].map(|index| semaphore[index].glance());
    for index in 1..4 {
        for bit in [0, 7, 31, 32, 63] {
            semaphore[index].preset(good[index] ^ (1 << bit));
            let spoilt = [0, 1, 2, 3].map(|index| semaphore[index].glance());
            assert_eq!(wait(&semaphore, None), Outcome::Broken, "word {index}, bit {bit}");
            assert_eq!(wait(&semaphore, Some(LONG)), Outcome::Broken);
            assert!(!post(&semaphore) && !try_wait(&semaphore));
            assert_eq!([0, 1, 2, 3].map(|index| semaphore[index].glance()), spoilt);
            semaphore[index].preset(good[index]);
        }
    }
    assert!(post(&semaphore) && try_wait(&semaphore));
    // Never initialised.
    assert_eq!(wait(&Words::default(), None), Outcome::Broken);
}

#[test]
fn no_count_and_no_number_of_sleepers_is_fatal() {
    let semaphore = Words::default();
    init(&semaphore).unwrap();
    for first in [1, u64::from(u32::MAX), 1 << 31, (1 << 31) - 1, 1 << 32, u64::MAX << 32, 1 << 63, u64::MAX]
    {
        for deed in [
            |words: &Words| _ = post(words),
            |words| _ = try_wait(words),
            |words| _ = wait(words, Some(Duration::from_millis(1))),
        ] as [fn(&Words); 3]
        {
            semaphore[0].preset(first);
            deed(&semaphore);
        }
    }
    semaphore::init(&semaphore).unwrap();
    assert_eq!(wait(&semaphore, Some(Duration::ZERO)), Outcome::TimedOut);
}
