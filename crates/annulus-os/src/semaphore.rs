//! Sleeping on a POSIX semaphore that several processes share: sem_overview(7).
//!
//! The semaphore lies in 32 bytes that the caller has somewhere in shared memory. All who share it use one
//! C library: what the bytes mean is that library's affair. There is nothing to destroy on Linux.
//!
//! # What another process can do
//!
//! Whoever can write the words can spoil them. The library takes them as they come:
//!
//! * a wrong count wakes a sleeper that nobody woke, or keeps one asleep that somebody did, until its
//!   timeout. Callers look at their own words after each wait, and give each wait a timeout;
//! * the other bytes never change after [`init`]. Every function here compares them first and does nothing if
//!   they are not as `init` leaves them;
//! * but that is one look, and the library looks again. Somebody who changes them in between, which takes
//!   intent, can make the library ask the kernel for another futex operation than it meant to; it may then
//!   abort this process. A [`Futex`](crate::Futex) trusts no such byte. Share semaphores only with those who
//!   may end this process anyway.
#![allow(unsafe_code)]

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use core::time::Duration;
use std::io;

use annulus_core::fault::point;
use annulus_core::words::Plain64;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// What a semaphore lies in.
pub type Words = [Plain64; 4];

const _: () = {
    assert!(size_of::<libc::sem_t>() <= size_of::<Words>());
    assert!(align_of::<libc::sem_t>() <= align_of::<Words>());
};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A post was taken.
    Posted,
    /// The time is over, and there was no post to take.
    TimedOut,
    /// Neither: a signal came. Look at your words, and wait again.
    Early,
    /// The words are no semaphore: never [`init`]ialised, overwritten, or another C library's. Nothing was
    /// done, and waiting again is no use.
    Broken,
}

/// Makes the words a semaphore that nobody has posted to, whatever they were. Nobody else may use them
/// meanwhile. See sem_init(3).
///
/// # Errors
///
/// `Unsupported` if the C library has no semaphores between processes.
pub fn init(words: &Words) -> io::Result<()> {
    // The library leaves out some bytes; they are to be the same everywhere.
    for word in words {
        word.preset(0);
    }
    point("semaphore::init");
    // SAFETY: sem_init writes one `sem_t`, and there is room for it, aligned (asserted above). All its bytes lie
    // in atomics, so they may change behind a shared reference. Those who read them at the same time, against
    // the rule above, read with machine instructions of their own and see some bytes; see `call`.
    let result = unsafe { libc::sem_init(semaphore(words), 1, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Wakes one sleeper, or lets the next one through. See sem_post(3).
///
/// `false`: nothing was done, because the words are no semaphore, or because there are so many posts already
/// (`SEM_VALUE_MAX`) that nobody sleeps.
pub fn post(words: &Words) -> bool {
    point("semaphore::post");
    // SAFETY: sem_post is a function of one semaphore, as `call` asks.
    unsafe { call(words, |semaphore| libc::sem_post(semaphore)) == Some(Ok(())) }
}

/// Takes a post if there is one; never sleeps. `false` also if the words are no semaphore. See sem_trywait(3).
pub fn try_wait(words: &Words) -> bool {
    point("semaphore::try_wait");
    // SAFETY: sem_trywait is a function of one semaphore, as `call` asks.
    unsafe { call(words, |semaphore| libc::sem_trywait(semaphore)) == Some(Ok(())) }
}

/// Sleeps until there is a post, takes it, and returns; or until `timeout` has passed (one too long to express is
/// none), or a signal comes. See sem_wait(3) and sem_clockwait(3).
///
/// No step of the wall clock moves the end of the timeout, if [`is_timeout_steady`]. With other C
/// libraries it stands on the wall clock: one that is set forward meanwhile ends it so much sooner, and one
/// that is set back so much later. A post ends the wait at once in any case.
pub fn wait(words: &Words, timeout: Option<Duration>) -> Outcome {
    wait_by(words, timeout, clockwait())
}

fn wait_by(words: &Words, timeout: Option<Duration>, found: Option<ClockWait>) -> Outcome {
    let clock = if found.is_some() { ClockId::Monotonic } else { ClockId::Realtime };
    let deadline = timeout.and_then(|timeout| {
        let end = clock_gettime(clock).checked_add(Timespec::try_from(timeout).ok()?)?;
        Some(libc::timespec { tv_sec: end.tv_sec, tv_nsec: end.tv_nsec })
    });
    point("semaphore::wait");
    // SAFETY: each is a function of one semaphore, as `call` asks; besides, it reads one `timespec`, which lives
    // until it returns.
    let done = unsafe {
        call(words, |semaphore| match (deadline, found) {
            (None, _) => libc::sem_wait(semaphore),
            (Some(end), Some(clockwait)) => clockwait(semaphore, libc::CLOCK_MONOTONIC, &raw const end),
            (Some(end), None) => libc::sem_timedwait(semaphore, &raw const end),
        })
    };
    match done {
        None => Outcome::Broken,
        Some(Ok(())) => Outcome::Posted,
        Some(Err(libc::ETIMEDOUT)) => Outcome::TimedOut,
        // EINTR; no other is possible with a deadline that the clock itself made.
        Some(Err(_)) => Outcome::Early,
    }
}

/// Whether the timeout of a [`wait`] stands on a clock that nobody sets: with glibc from 2.30 on. The answer
/// never changes. The first call of this or of `wait` in a program asks the dynamic linker, which takes
/// locks: in a program with threads, make it before any fork(2) whose child waits.
#[must_use]
pub fn is_timeout_steady() -> bool {
    clockwait().is_some()
}

/// The words as the C library sees them.
fn semaphore(words: &Words) -> *mut libc::sem_t {
    ptr::from_ref(words).cast_mut().cast()
}

/// Calls `function` with the semaphore; `None`, and no call, if the words are not one. An error is `errno`.
///
/// # Safety
///
/// `function` touches nothing but the semaphore, and what it lives on itself.
unsafe fn call(words: &Words, function: impl FnOnce(*mut libc::sem_t) -> c_int) -> Option<Result<(), c_int>> {
    // What `init` leaves behind the first word, which alone ever changes: count and sleepers are in it.
    let model = Words::default();
    init(&model).ok()?;
    if words[1..].iter().zip(&model[1..]).any(|(word, model)| word.glance() != model.glance()) {
        return None;
    }
    // What must hold for the call itself: there is one `sem_t`, aligned (asserted above), mapped for reading
    // and writing as long as `words` is borrowed, and made by sem_init with these bytes. It may change behind
    // the shared reference, for it is all atomics. In this process nothing but those and the library touches
    // it; the library, which the Rust compiler never sees into, works on count and sleepers with atomic
    // instructions and only reads the rest. That others can write it too, at any time and anything, gives
    // these instructions other values and not another meaning: any value of the first word is a count and
    // sleepers. For the rest see the top of this file.
    if function(semaphore(words)) == 0 {
        return Some(Ok(()));
    }
    Some(Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)))
}

type ClockWait = unsafe extern "C" fn(*mut libc::sem_t, libc::clockid_t, *const libc::timespec) -> c_int;

/// sem_clockwait(3), if this C library has it: glibc has since 2.30, musl has not. Looked for when the program
/// runs, so that it starts with any.
fn clockwait() -> Option<ClockWait> {
    // Null: not looked for yet. Dangling: not there. Several may look at once and find the same.
    static FOUND: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    let absent = ptr::dangling_mut();
    let mut found = FOUND.load(Ordering::Relaxed);
    if found.is_null() {
        // SAFETY: the name is terminated, and dlsym only looks.
        found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"sem_clockwait".as_ptr()) };
        if found.is_null() {
            found = absent;
        }
        FOUND.store(found, Ordering::Relaxed);
    }
    if found == absent {
        return None;
    }
    // SAFETY: the address is not null, and it is what the C library calls sem_clockwait, which has this type in
    // glibc's <semaphore.h>, and in POSIX.
    Some(unsafe { core::mem::transmute::<*mut c_void, ClockWait>(found) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn without_a_steady_timeout_a_wait_ends_as_well() {
        let words = Words::default();
        init(&words).unwrap();
        let (start, timeout) = (Instant::now(), Duration::from_millis(30));
        assert_eq!(wait_by(&words, Some(timeout), None), Outcome::TimedOut);
        // Somebody may set the wall clock forward a little, but nobody sets it by 30 ms just now.
        assert!(start.elapsed() > timeout / 2);
        assert!(post(&words));
        assert_eq!(wait_by(&words, Some(Duration::from_secs(20)), None), Outcome::Posted);
        assert!(post(&words));
        assert_eq!(wait_by(&words, Some(Duration::MAX), None), Outcome::Posted);
        assert_eq!(wait_by(&words, Some(Duration::ZERO), None), Outcome::TimedOut);
        assert_eq!(wait_by(&Words::default(), None, None), Outcome::Broken);
    }
}
