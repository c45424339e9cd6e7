//! Runs tests on mutations: each test a process of its own, only those that reach the mutation, until one fails.

use super::build::Test;
use super::find::Mutation;
use super::switch::{NUMBER, TRACE};
use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a test is waited for that was too slow to be timed.
const LIMIT_SLOW: Duration = Duration::from_secs(120);

/// What a test did without a mutation.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) test: Test,
    /// How long it took, or the limit that it went beyond.
    took: Duration,
    /// It was stopped at the limit.
    is_slow: bool,
    /// The mutations that it reached.
    reaches: HashSet<u32>,
}

impl Timed {
    /// Whether it was stopped at the limit.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }
}

/// How a mutation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// By this test.
    Killed(String),
    /// By this test, which did not end in time.
    Timeout(String),
    /// Every test that reaches it passed: so many.
    Survived(usize),
    /// No test reaches it.
    NotReached,
}

enum End {
    Passed,
    Failed,
    TooLong,
}

/// Runs every test once without a mutation, `jobs` at a time.
///
/// # Errors
///
/// A test that fails.
pub(super) fn record(
    tests: &[Test],
    traces: &Path,
    jobs: usize,
    limit: Duration,
) -> Result<Vec<Timed>, String> {
    let cannot = |e| format!("cannot make {}: {e}", traces.display());
    let _ = std::fs::remove_dir_all(traces);
    std::fs::create_dir_all(traces).map_err(cannot)?;
    let timed = parallel(jobs, tests, |i, test| {
        let trace = traces.join(i.to_string());
        let begin = Instant::now();
        let end = run(test, (TRACE, trace.as_os_str()), limit)?;
        if matches!(end, End::Failed) {
            return Err(format!("{} fails without a mutation", test.title));
        }
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        Ok(Timed {
            test: test.clone(),
            took: begin.elapsed(),
            is_slow: matches!(end, End::TooLong),
            reaches: text.lines().filter_map(|n| n.parse().ok()).collect(),
        })
    });
    let mut timed: Vec<Timed> = timed.into_iter().collect::<Result<_, _>>()?;
    timed.sort_by_key(|t| (t.is_slow, t.took));
    Ok(timed)
}

/// What becomes of one mutation. The slow tests, too, if `thorough`.
pub(super) fn judge(mutation: &Mutation, tests: &[Timed], thorough: bool) -> Result<Outcome, String> {
    let mut tried = 0;
    for timed in tests.iter().filter(|t| t.reaches.contains(&mutation.id) && (thorough || !t.is_slow)) {
        tried += 1;
        let limit = if timed.is_slow { LIMIT_SLOW } else { timed.took * 5 + Duration::from_secs(10) };
        match run(&timed.test, (NUMBER, mutation.id.to_string().as_ref()), limit)? {
            End::Passed => {}
            End::Failed => return Ok(Outcome::Killed(timed.test.title.clone())),
            // A slow test's time is not known.
            End::TooLong if timed.is_slow => {}
            End::TooLong => return Ok(Outcome::Timeout(timed.test.title.clone())),
        }
    }
    let reached = tests.iter().any(|t| t.reaches.contains(&mutation.id));
    Ok(if reached { Outcome::Survived(tried) } else { Outcome::NotReached })
}

fn run(test: &Test, variable: (&str, &std::ffi::OsStr), limit: Duration) -> Result<End, String> {
    // A mutation that allocates for ever must not take the machine with it.
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -v 8388608; exec \"$0\" \"$@\""])
        .arg(&test.program)
        .args(["--exact", &test.name, "--test-threads", "1"])
        .current_dir(&test.folder)
        .env_remove(NUMBER)
        .env_remove(TRACE)
        .env(variable.0, variable.1)
        .env("LOOM_MAX_PREEMPTIONS", preemptions())
        // A model that ends sooner than it did is no failure here.
        .env("ANNULUS_MODEL_FLOORS", "off")
        // The same random cases for every mutation.
        .env("PROPTEST_RNG_SEED", "1")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| format!("cannot start {}: {e}", test.title))?;
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(End::Passed),
            Ok(Some(_)) => return Ok(End::Failed),
            Ok(None) if begin.elapsed() > limit => {
                let _ = child.kill();
                let _ = child.wait();
                return Ok(End::TooLong);
            }
            Ok(None) => {}
            Err(e) => return Err(format!("cannot wait for {}: {e}", test.title)),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// As many as the models have otherwise: with two, the order of taking and moving in a doorbell survives.
pub(super) fn preemptions() -> std::ffi::OsString {
    std::env::var_os("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|| "3".into())
}

/// Calls `each` for every item, `jobs` at a time; the results in the order of the items.
pub(super) fn parallel<T: Sync, R: Send>(
    jobs: usize,
    items: &[T],
    each: impl Fn(usize, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((i, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
                {
                    let result = each(i, item);
                    done.lock().expect("no job panics").push((i, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no job panics");
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order() {
        let items: Vec<u64> = (0..100).collect();
        assert_eq!(parallel(3, &items, |i, n| (i as u64, *n)), (0..100).map(|n| (n, n)).collect::<Vec<_>>());
    }
}
