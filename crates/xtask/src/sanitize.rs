//! `cargo xtask sanitize`: the stress and process tests in programs built with AddressSanitizer, and under valgrind's memcheck.
//!
//! The two see different things. AddressSanitizer is compiled in, so it is fast, and children, which are the same program
//! started again, have it too; but it does not look into assembly, which is what copies records, nor at bytes that nobody
//! has written. Memcheck looks at every instruction and every byte, of one process, whose threads take turns.
//! Neither knows where a ring ends: the guard pages around each mapping do.
//!
//! A byte of a mapping that was written at one address counts as written at every other, so it is the heap blocks of the
//! core's tests that show what is copied without ever having been written. ThreadSanitizer does not understand fences,
//! on which this protocol stands: races are looked for by `loom`. The programs that die at a fault point are not here: what they
//! go through is what these do, and nothing is left of them to report.
//!
//! Leaks are looked for where processes end as programs do. LeakSanitizer stops all threads by ptrace at the end of a process,
//! which a process that is traced, has another user's id or may make few system calls cannot have; and children end in
//! the middle of something, for that is their part. Mappings and descriptors are counted by tests of their own.

mod asan;
mod memcheck;
mod programs;

use std::path::Path;
use std::time::Instant;

pub(crate) use asan::{Leaks, build};
pub(crate) use programs::Choice;
use programs::folder;

/// The public API's tests, in one process and in several.
pub(crate) const API: &str = "crates/annulus/tests/it/main.rs";
const CORE: &str = "crates/annulus-core/src/lib.rs";

/// Milliseconds of scribbling for each case that does: `hostile` is where it takes long.
const SCRIBBLING: u64 = 300;

/// The models as plain stress.
const MODELS: &str = "crates/annulus-core/tests/";

/// Choices among what cargo built, and whether leaks are looked for in them.
type Plan = &'static [(Choice<'static>, Leaks)];

/// Under AddressSanitizer everything, the models beside this.
const ASAN: Plan = &[
    (Choice::all(CORE), Leaks::Found),
    (OS, Leaks::Found),
    (Choice::all("crates/annulus-os/tests/it/main.rs"), Leaks::Left),
    (
        Choice {
            source: API,
            only: &[],
            without: &[
                ("procs::", "several processes, below"),
                ("pages_are_brought_in", "the sanitizer's own pages come when they are touched"),
            ],
        },
        Leaks::Found,
    ),
    (Choice { source: API, only: &["procs::"], without: &NOT_SANITIZED }, Leaks::Left),
];

const OS: Choice<'static> = Choice {
    source: "crates/annulus-os/src/lib.rs",
    only: &[],
    without: &[("no_page_faults_after_prefault", "the sanitizer's own pages come when they are touched")],
};

/// Tests that count what the whole process does, of which the sanitizer does some itself.
const NOT_SANITIZED: [(&str, &str); 9] = [
    ("killed_readers_cost_one_wake", "a process that may make no system call; the sanitizer makes some"),
    ("copying_makes_no_system_call", "the same"),
    ("receiving_makes_no_system_call", "the same"),
    ("sending_makes_no_system_call", "the same"),
    (
        "what_a_ring_is_made_with",
        "system calls that are refused, without which the sanitizer ends the process",
    ),
    ("given_back::nothing_leaks", "counts mappings, of which the sanitizer makes its own"),
    ("who_waits_costs_nothing", "measures time"),
    ("too_few_addresses", "a limit of addresses far below what the sanitizer takes at the start"),
    (
        "a_publication_looks_at_no_slot",
        "a child that must end with SIGSEGV, which the sanitizer takes for itself",
    ),
];

/// In CI, beside the scribblers of `hostile`: the cheap stress, whatever copies, and processes that die, follow one another,
/// fork and are handed memory.
const QUICK_ASAN: Plan = &[
    (Choice::all(CORE), Leaks::Found),
    (OS, Leaks::Found),
    (Choice::all("crates/annulus-core/tests/publish_consume.rs"), Leaks::Found),
    (Choice::all("crates/annulus-core/tests/sleep_wake.rs"), Leaks::Found),
    (
        Choice {
            source: API,
            only: &["batches::", "claims::", "closing::", "copies::", "held::", "payloads::", "typed::"],
            without: &[("procs::", "several processes, below")],
        },
        Leaks::Found,
    ),
    (
        Choice {
            source: API,
            only: &["procs::death::", "procs::takeover::", "procs::fork::", "procs::limits::"],
            without: &[],
        },
        Leaks::Left,
    ),
];

/// Under memcheck one process over heap blocks, the models beside this, and over real mappings.
const MEMCHECK: &[Choice<'static>] = &[
    Choice::all(CORE),
    Choice {
        source: API,
        only: &[],
        without: &[
            ("procs::", "children are not followed"),
            (
                "delivery::",
                "producers at full speed: where threads take turns, who must catch one waits for it",
            ),
            ("starts::", "the same"),
            ("pages_are_brought_in", "counts page faults"),
        ],
    },
];

/// In CI: the copies over every length, and what becomes of padding.
const QUICK_MEMCHECK: &[Choice<'static>] = &[
    Choice::all(CORE),
    Choice::all("crates/annulus-core/tests/identity.rs"),
    Choice {
        source: API,
        only: &["claims::", "payloads::"],
        without: &[("procs::", "children are not followed")],
    },
];

/// Runs it all, or with `--quick` what CI has time for.
///
/// # Errors
///
/// What was found, the first of it; and words that are not known.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    let quick = quick(words)?;
    println!("== AddressSanitizer");
    let sanitized = build(root, quick)?;
    let begin = Instant::now();
    let mut plan = if quick { QUICK_ASAN } else { ASAN }.to_vec();
    if !quick {
        plan.extend(folder(&sanitized.programs, MODELS)?.into_iter().map(|choice| (choice, Leaks::Found)));
        // The command as well, which is a child of its tests.
        plan.push((Choice::all("crates/annulus-cli/tests/command/main.rs"), Leaks::Left));
    }
    let mut tests = 0;
    for (choice, leaks) in plan {
        tests += told(&choice, || sanitized.run(&choice, leaks, SCRIBBLING))?;
    }
    println!("== AddressSanitizer: {tests} tests in {:.1} s", begin.elapsed().as_secs_f64());

    println!("\n== memcheck");
    let memcheck = memcheck::build(root)?;
    let begin = Instant::now();
    let mut plan = if quick { QUICK_MEMCHECK } else { MEMCHECK }.to_vec();
    if !quick {
        plan.extend(folder(&memcheck.0, MODELS)?);
    }
    let mut tests = 0;
    for choice in plan {
        tests += told(&choice, || memcheck.run(&choice))?;
    }
    println!("== memcheck: {tests} tests in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a part, and says what and how long it was.
fn told(choice: &Choice<'_>, part: impl FnOnce() -> Result<usize, String>) -> Result<usize, String> {
    let begin = Instant::now();
    let tests = part()?;
    println!("{:<50}{tests:>5} tests{:>8.1} s", choice.source, begin.elapsed().as_secs_f64());
    Ok(tests)
}

fn quick(words: &[&str]) -> Result<bool, String> {
    match words {
        [] => Ok(false),
        ["--quick"] => Ok(true),
        _ => Err("usage: cargo xtask sanitize [--quick]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(quick(&[]), Ok(false));
        assert_eq!(quick(&["--quick"]), Ok(true));
        assert!(quick(&["--slow"]).is_err());
    }
}
