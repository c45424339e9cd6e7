//! How a property is run: as many cases as asked for, and what is said of one that fails.

use std::fmt::{self, Write as _};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

/// What failed, as a list for people: one operation a line.
pub(crate) struct Told<'a, T>(pub(crate) &'a T);

/// A case that can be told.
pub(crate) trait Tell: fmt::Debug {
    /// One line for each part of it.
    fn tell(&self) -> Vec<String> {
        vec![format!("{self:?}")]
    }
}

impl<T: Tell> fmt::Display for Told<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.tell().iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Runs a property on so many cases, or as many as `PROPTEST_CASES` says; panics with the smallest case that fails.
pub(crate) fn check<S: Strategy>(cases: u32, strategy: S, property: impl Fn(&S::Value))
where
    S::Value: Tell,
{
    let asked = std::env::var("PROPTEST_CASES").ok().map(|n| n.parse().expect("PROPTEST_CASES is a number"));
    let given =
        std::env::var("PROPTEST_RNG_SEED").ok().map(|n| n.parse().expect("PROPTEST_RNG_SEED is a number"));
    let seed =
        given.unwrap_or_else(|| u64::from_le_bytes(annulus_os::sys::random_bytes().expect("random bytes")));
    let config = Config {
        cases: asked.unwrap_or(cases),
        rng_seed: RngSeed::Fixed(seed),
        // No file of failures beside the sources: the seed says as much.
        failure_persistence: None,
        ..Config::default()
    };
    let cases = config.cases;
    let result = TestRunner::new(config).run(&strategy, |case| {
        property(&case);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => {
            let mut text = String::new();
            write!(text, "{why}\n{}", Told(&case)).expect("a string");
            panic!("{text}again with PROPTEST_CASES={cases} PROPTEST_RNG_SEED={seed}");
        }
        Err(TestError::Abort(why)) => panic!("given up: {why}"),
    }
}
