//! Which mutation is on. This file goes into the mutated copy of annulus-core as it is; here it is only tested.
//!
//! The number comes from an environment variable that is read once. With another that names a file, every mutation's
//! number is written there when its place is first reached, at once, so that a test that dies has said what it reached.

extern crate std;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::io::Write;
use std::string::String;
use std::sync::OnceLock;

/// The variable that holds the number of the mutation.
pub(crate) const NUMBER: &str = "ANNULUS_MUTANT";
/// The variable that names the file for what is reached.
pub(crate) const TRACE: &str = "ANNULUS_MUTANT_TRACE";

/// Not read yet, or tracing: whoever asks goes the slow way.
const SLOW: u32 = u32::MAX - 1;
const UNREAD: u32 = u32::MAX;
/// No mutation has this number. 0 stands for a mutation of a check that was not generated.
const NONE: u32 = u32::MAX - 2;

static ACTIVE: AtomicU32 = AtomicU32::new(UNREAD);
static REACHED: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static FILE: OnceLock<Option<std::fs::File>> = OnceLock::new();

#[inline]
fn active(reached: &[u32]) -> u32 {
    let active = ACTIVE.load(Ordering::Relaxed);
    if active < SLOW { active } else { slow(reached) }
}

#[cold]
#[inline(never)]
fn slow(reached: &[u32]) -> u32 {
    if ACTIVE.load(Ordering::Relaxed) == UNREAD {
        let number = std::env::var(NUMBER).ok().and_then(|n| n.parse().ok());
        let traces = std::env::var_os(TRACE).is_some();
        ACTIVE.store(if traces { SLOW } else { number.unwrap_or(NONE) }, Ordering::Relaxed);
    }
    let active = ACTIVE.load(Ordering::Relaxed);
    if active != SLOW {
        return active;
    }
    let file = FILE.get_or_init(|| {
        let path = std::env::var_os(TRACE)?;
        Some(std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the trace's file"))
    });
    for &n in reached.iter().filter(|n| **n != 0) {
        let bit = 1 << (n % 64);
        if REACHED[n as usize / 64 % 64].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let mut line = String::new();
            let _ = core::fmt::Write::write_fmt(&mut line, format_args!("{n}\n"));
            file.as_ref().expect("tracing").write_all(line.as_bytes()).expect("the trace's file");
        }
    }
    NONE
}

/// Whether mutation `n` is on.
#[inline]
pub(crate) fn on(n: u32) -> bool {
    active(&[n]) == n
}

/// The ordering as it is written, or the weaker one.
#[inline]
pub(crate) fn ordering(n: u32, written: Ordering, weaker: Ordering) -> Ordering {
    if on(n) { weaker } else { written }
}

/// What a check found, or the contrary, or always yes, or always no.
#[inline]
pub(crate) fn check(negated: u32, yes: u32, no: u32, found: bool) -> bool {
    let active = active(&[negated, yes, no]);
    if active == negated {
        !found
    } else if active == yes {
        true
    } else if active == no {
        false
    } else {
        found
    }
}
