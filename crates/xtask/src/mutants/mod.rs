//! `cargo xtask mutants`: does any test notice when annulus-core is wrong?
//!
//! The mutations are generated from its source ([`find`]): each ordering one step weaker, each fence removed, each check on
//! a word that another process writes negated or skipped, each two neighbouring stores swapped. A copy of the source is
//! written with all of them in, each behind its number, so that everything is built twice, not once for each; an environment
//! variable says which one is on ([`switch`]). Then each test is run once as it is, to see how long it takes and which
//! mutations it reaches; and for each mutation the tests that reach it, the quickest first, until one fails or does not
//! end. What survives stands in a table in `docs/mutants.md`, with a reason; anything else that survives is red, and so is
//! a row of what is killed.

mod build;
mod copy;
mod edit;
pub(crate) mod find;
mod finder;
mod pick;
mod results;
pub(crate) mod rows;
mod run;
mod shared;
#[allow(dead_code, reason = "it works in the copy; here are its names and its tests")]
mod switch;
mod syntax;

use crate::process::{self, capture};
use find::{Found, Kind, Mutation, SOURCES};
use results::Result as Done;
use run::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A test that takes longer without a mutation is left out.
const LIMIT: Duration = Duration::from_secs(10);
/// In a sample, which is to be quick, it is tried on what survives all others and stands in no table.
const LIMIT_SAMPLE: Duration = Duration::from_secs(1);
/// The same with `--slow`, which tries every test on everything.
const LIMIT_SLOW: Duration = Duration::from_secs(600);

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Args {
    list: bool,
    /// So many, picked by the seed; else all.
    sample: Option<usize>,
    seed: Option<String>,
    only: Option<String>,
    slow: bool,
    resume: bool,
    jobs: usize,
    json: Option<PathBuf>,
}

fn parse(args: &[&str]) -> Result<Args, String> {
    let mut parsed = Args { jobs: 2, ..Args::default() };
    let mut args = args.iter();
    while let Some(&arg) = args.next() {
        let mut value = || args.next().map(|v| (*v).to_owned()).ok_or_else(|| format!("{arg} needs a value"));
        let number = |v: String| v.parse().map_err(|_| format!("{arg} {v}: not a number"));
        match arg {
            "--list" => parsed.list = true,
            "--all" => parsed.sample = None,
            "--sample" => parsed.sample = Some(number(value()?)?),
            "--seed" => parsed.seed = Some(value()?),
            "--only" => parsed.only = Some(value()?),
            "--slow" => parsed.slow = true,
            "--resume" => parsed.resume = true,
            "--jobs" => parsed.jobs = number(value()?)?.max(1),
            "--json" => parsed.json = Some(value()?.into()),
            _ => return Err(format!("mutants knows no {arg}")),
        }
    }
    Ok(parsed)
}

/// Generates the mutations, and runs the tests on those that are asked for.
///
/// # Errors
///
/// A survivor without a row, a row without a survivor, a test that fails without a mutation, or anything that cannot be
/// built.
pub(crate) fn run(root: &Path, args: &[&str]) -> Result<(), String> {
    let args = parse(args)?;
    let found = find::find(&|name| std::fs::read_to_string(root.join(SOURCES).join(name)).ok())?;
    let rows = rows_of(root, &found.mutations)?;
    let chosen = choose(root, &args, &found.mutations);
    if chosen.is_empty() {
        return Err("no mutation is left to run".into());
    }
    if args.list {
        for mutation in &chosen {
            println!("{:<8} | {} | line {}", format!("{:?}", mutation.kind), mutation.key, mutation.line);
        }
        println!("mutants: {}", counts(&found.mutations));
        return Ok(());
    }
    // A test runs in its package's folder, so its own path must not depend on where it is started.
    let target = std::path::absolute(process::target(root)).map_err(|e| e.to_string())?;
    let (tests, sources) = prepare(root, &target, &found, &args)?;
    let file = target.join("mutants").join(if args.sample.is_some() { "sample.tsv" } else { "results.tsv" });
    let before = results::earlier(&file, sources);
    let cannot = |e| format!("cannot write {}: {e}", file.display());
    let out = Mutex::new(results::begin(&file, sources, &before).map_err(cannot)?);
    let earlier = if args.resume { before } else { BTreeMap::new() };
    let begin = Instant::now();
    let outcomes = run::parallel(args.jobs, &chosen, |_, mutation| {
        if let Some(outcome) = earlier.get(&mutation.key) {
            return Ok::<Outcome, String>(outcome.clone());
        }
        let thorough = args.slow || args.sample.is_some() && !rows.contains(&mutation.key);
        let outcome = run::judge(mutation, &tests, thorough)?;
        println!("{}", results::line(mutation, &outcome));
        results::add(&mut out.lock().expect("no job panics"), &mutation.key, &outcome).map_err(cannot)?;
        Ok(outcome)
    });
    let mut done = Vec::new();
    for (mutation, outcome) in chosen.into_iter().zip(outcomes) {
        done.push(Done { mutation, outcome: outcome? });
    }
    println!("mutants: {} of {}, in {:.0?}", done.len(), counts(&found.mutations), begin.elapsed());
    if let Some(path) = &args.json {
        std::fs::write(path, results::json(&done))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    verdict(&done, &rows)
}

/// The keys of the table; every row names a mutation and has a reason.
fn rows_of(root: &Path, mutations: &[Mutation]) -> Result<BTreeSet<String>, String> {
    let text = std::fs::read_to_string(root.join(rows::DOC)).map_err(|e| format!("{}: {e}", rows::DOC))?;
    let rows = rows::rows(&text).ok_or_else(|| format!("{} has no table of survivors", rows::DOC))?;
    let keys: BTreeSet<&str> = mutations.iter().map(|m| m.key.as_str()).collect();
    for row in &rows {
        if !keys.contains(row.key.as_str()) || !row.is_reasoned() {
            let (doc, line) = (rows::DOC, row.line);
            return Err(format!(
                "{doc}:{line}: no mutation is `{}`, or its reason is none; see tidy",
                row.key
            ));
        }
    }
    Ok(rows.into_iter().map(|row| row.key).collect())
}

fn choose<'m>(root: &Path, args: &Args, mutations: &'m [Mutation]) -> Vec<&'m Mutation> {
    let wanted = |m: &&Mutation| args.only.as_ref().is_none_or(|only| m.key.contains(only));
    let all: Vec<&Mutation> = mutations.iter().filter(wanted).collect();
    let Some(n) = args.sample else { return all };
    let seed = args.seed.clone().unwrap_or_else(|| {
        let mut head = Command::new("git");
        head.args(["-c", "safe.directory=*", "rev-parse", "HEAD"]).current_dir(root);
        capture(&mut head).map_or_else(|_| "0".into(), |hash| hash.trim().to_owned())
    });
    println!("mutants: a sample of {n}, --seed {seed}");
    pick::pick(&all, n, &seed)
}

/// Builds the mutated copy, runs every test on it once, and takes the sum of its sources.
fn prepare(root: &Path, target: &Path, found: &Found, args: &Args) -> Result<(Vec<run::Timed>, u64), String> {
    let source = target.join("mutants/src");
    let has_properties = copy::write(root, &source, found)?;
    let begin = Instant::now();
    let tests = build::build(&source, target, has_properties)?;
    let built = begin.elapsed();
    let (count, begin) = (tests.len(), Instant::now());
    let limit = match args.sample {
        _ if args.slow => LIMIT_SLOW,
        Some(_) => LIMIT_SAMPLE,
        None => LIMIT,
    };
    let tests = run::record(&tests, &target.join("mutants/reached"), args.jobs, limit)?;
    let slow = tests.iter().filter(|t| t.is_slow()).count();
    println!(
        "mutants: built in {built:.0?}; {count} tests pass without a mutation in {:.0?}, {slow} of them slow; {} preemptions",
        begin.elapsed(),
        run::preemptions().display()
    );
    let mut sum = pick::sum(run::preemptions().as_encoded_bytes());
    for file in copy::files(&source.join(copy::COPIES)) {
        sum = sum.rotate_left(1) ^ pick::sum(&std::fs::read(&file).unwrap_or_default());
    }
    Ok((tests, sum))
}

fn counts(mutations: &[Mutation]) -> String {
    let of = |kind| mutations.iter().filter(|m| m.kind == kind).count();
    format!(
        "{} mutations ({} orderings, {} fences, {} checks, {} swaps)",
        mutations.len(),
        of(Kind::Ordering),
        of(Kind::Fence),
        of(Kind::Check),
        of(Kind::Swap)
    )
}

/// Every survivor has its row, and no row is of one that was killed.
fn verdict(done: &[Done<'_>], rows: &BTreeSet<String>) -> Result<(), String> {
    let mut bad = 0;
    let mut alive = 0;
    for Done { mutation, outcome } in done {
        let known = rows.contains(&mutation.key);
        alive += usize::from(outcome.survives());
        match outcome {
            Outcome::Survived(_) | Outcome::NotReached if !known => {
                bad += 1;
                println!("no row in {}: {}", rows::DOC, results::line(mutation, outcome));
                println!("| {} | {} |", rows::quoted(&mutation.key), rows::REASONS[0]);
            }
            Outcome::Killed(_) | Outcome::Timeout(_) if known => {
                bad += 1;
                println!("a row too many in {}: {}", rows::DOC, results::line(mutation, outcome));
            }
            _ => {}
        }
    }
    println!("mutants: {} killed, {alive} survive, {} rows", done.len() - alive, rows.len());
    if bad == 0 { Ok(()) } else { Err(format!("{bad} mutations are not as {} says", rows::DOC)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let args = parse(&["--sample", "24", "--seed", "x", "--jobs", "0"]).unwrap();
        assert_eq!((args.sample, args.seed.as_deref(), args.jobs), (Some(24), Some("x"), 1));
        assert!(parse(&["--sample"]).unwrap_err().contains("needs a value"));
        assert!(parse(&["--sample", "x"]).unwrap_err().contains("not a number"));
        assert!(parse(&["--frob"]).is_err());
    }

    #[test]
    fn survivors_and_rows_agree() {
        let mutation = Mutation { id: 1, kind: Kind::Check, file: "x.rs".into(), line: 2, key: "k".into() };
        let verdict = |outcome: Outcome, rows: &[&str]| {
            let done = [Done { mutation: &mutation, outcome }];
            verdict(&done, &rows.iter().map(|r| (*r).to_owned()).collect()).is_ok()
        };
        let killed = |by: &str| Outcome::Killed(by.into());
        assert!(verdict(killed("t"), &[]) && verdict(Outcome::Survived(1), &["k"]));
        assert!(!verdict(Outcome::Survived(1), &[]) && !verdict(Outcome::NotReached, &["other"]));
        assert!(!verdict(killed("t"), &["k"]) && !verdict(Outcome::Timeout("t".into()), &["k"]));
    }
}
