//! `cargo xtask spin`: the second model of the protocol, in Promela, checked by Spin to its last state.
//!
//! Each model says in its header how it is run and which faults can be put into it:
//!
//! ```text
//!  * RUN name: flags; N states      must find no error, and see at least N states
//!  * DEEP name: flags; N states     the same, only with --deep
//!  * FAULT name: what; flags        with -DFAULT_name beside the flags: must find an error; without it, none
//! ```
//!
//! A run that did not see every state is red, and so is a statement that no run of its model reaches, unless its line
//! says `NEVER REACHED`: a model whose crash never happens proves nothing. Nor does a fault under flags that are an error
//! without it, so each set of flags that only faults have is a run as well, called `sound`.

use crate::process::{capture, line, target};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Where the models live.
const MODELS: &str = "crates/annulus-core/spin";
/// MiB for one checker; two run at once.
const MEMORY: u32 = 2200;
/// The same with `--deep`.
const DEEP_MEMORY: u32 = 12000;
/// Steps of the longest run: an error deeper than that would not be seen, which is said, and red.
const DEPTH: u32 = 20_000;
/// Marks a line of which some statement is there for the faults only.
const NEVER: &str = "NEVER REACHED";

/// One check of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    model: String,
    name: String,
    flags: Vec<String>,
    expected: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    /// No error, in at least so many states.
    Holds { states: u64, deep: bool },
    /// An error; what was put into the model.
    Fails { what: String },
}

/// What the checker found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Found {
    errors: Option<u64>,
    states: u64,
    /// The first error, in the checker's words.
    error: Option<String>,
    /// Why not every state was seen.
    incomplete: Option<String>,
    unreached: BTreeSet<Statement>,
    /// The processes that said what is unreached in them, with how many states they have: one of another size was
    /// compiled from another text.
    processes: BTreeSet<(String, u32)>,
}

/// A file's line, as the checker names it.
type Line = (String, u32);
/// Of a process and its size: a state's number, its line, and its statement.
type Statement = ((String, u32), u32, Line, String);

/// Runs what CI runs; with `--deep` the large bounds instead.
///
/// # Errors
///
/// No Spin, no model, a run with an error or without every state, a fault that makes no difference, a statement that
/// is never reached.
pub(crate) fn run(root: &Path, args: &[&str]) -> Result<(), String> {
    let deep = match args {
        [] => false,
        ["--deep"] => true,
        _ => return Err(format!("unknown arguments {args:?}: --deep, or nothing")),
    };
    let found = Command::new("spin").arg("-V").stdin(Stdio::null()).output();
    if !found.is_ok_and(|out| out.status.success()) {
        return Err("spin is not installed: apt-get install spin".into());
    }
    let models = root.join(MODELS);
    let work = target(root).join("spin");
    let mut checks = Vec::new();
    for file in sources(&models, "pml")? {
        let text = read(&models.join(&file))?;
        let of_file = checks_in(&file, &text)?;
        for expected in ["RUN", "FAULT"] {
            if !of_file.iter().any(|c| c.expected.word() == expected) {
                return Err(format!("{MODELS}/{file} has no line `{expected} name: ..`"));
            }
        }
        checks.extend(of_file);
    }
    checks.extend(sound(&checks));
    if checks.is_empty() {
        return Err(format!("{MODELS} holds no model"));
    }
    checks.retain(|c| match c.expected {
        Expected::Holds { deep: is_deep, .. } => is_deep == deep,
        Expected::Fails { .. } => !deep,
    });
    let results = all(&models, &work, &checks, if deep { DEEP_MEMORY } else { MEMORY })?;
    if !deep {
        let never = never(&models)?;
        let missed = missed(&results, &never);
        if !missed.is_empty() {
            return Err(format!("no run reaches\n  {}", missed.join("\n  ")));
        }
    }
    let faults = checks.iter().filter(|c| c.expected.word() == "FAULT").count();
    println!("spin: {} runs without an error, {faults} faults found", checks.len() - faults);
    Ok(())
}

impl Expected {
    fn word(&self) -> &'static str {
        match self {
            Expected::Holds { deep: false, .. } => "RUN",
            Expected::Holds { deep: true, .. } => "DEEP",
            Expected::Fails { .. } => "FAULT",
        }
    }
}

/// Names of the files with this extension, sorted.
fn sources(dir: &Path, extension: &str) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|x| x == extension))
        .filter_map(|p| p.file_name()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// The lines of a model's header that say how it is checked.
fn checks_in(model: &str, text: &str) -> Result<Vec<Check>, String> {
    let mut checks = Vec::new();
    for line in text.lines().map_while(|l| if l.trim() == "*/" { None } else { Some(l.trim()) }) {
        let Some((word, rest)) = line.trim_start_matches("* ").split_once(' ') else { continue };
        if !["RUN", "DEEP", "FAULT"].contains(&word) {
            continue;
        }
        let bad = || format!("{MODELS}/{model}: cannot read {line:?}");
        let (name, rest) = rest.split_once(": ").ok_or_else(bad)?;
        let (first, second) = rest.rsplit_once("; ").ok_or_else(bad)?;
        let (flags, expected) = if word == "FAULT" {
            (second, Expected::Fails { what: first.to_owned() })
        } else {
            let states = second.strip_suffix(" states").and_then(|n| n.parse().ok()).ok_or_else(bad)?;
            (first, Expected::Holds { states, deep: word == "DEEP" })
        };
        let mut flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        if let Some(flag) = flags.iter().find(|f| !f.starts_with("-D")) {
            return Err(format!("{} ({flag:?} is no flag)", bad()));
        }
        if word == "FAULT" {
            flags.push(format!("-DFAULT_{name}"));
        }
        checks.push(Check { model: model.to_owned(), name: name.to_owned(), flags, expected });
    }
    Ok(checks)
}

/// The faults' flags without the faults, but for those that are a run's already.
fn sound(checks: &[Check]) -> Vec<Check> {
    let key = |c: &Check| (c.model.clone(), c.flags.iter().cloned().collect::<BTreeSet<_>>());
    let mut seen: BTreeSet<_> = checks.iter().filter(|c| c.expected.word() == "RUN").map(key).collect();
    let mut sound = Vec::new();
    for check in checks.iter().filter(|c| c.expected.word() == "FAULT") {
        let mut flags = check.flags.clone();
        flags.pop();
        let name = format!("sound{}", sound.len());
        // What there is to see, a run with a floor has said.
        let expected = Expected::Holds { states: 1, deep: false };
        let check = Check { model: check.model.clone(), name, flags, expected };
        if seen.insert(key(&check)) {
            sound.push(check);
        }
    }
    sound
}

/// Checks all, two at a time, and stops at the first that is red.
fn all(models: &Path, work: &Path, checks: &[Check], memory: u32) -> Result<Vec<(Check, Found)>, String> {
    let next = Mutex::new(checks.iter());
    let results = Mutex::new(Ok(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(check) = next.lock().expect("no worker panics").next() else { return };
                    let outcome = one(models, work, check, memory);
                    let mut results = results.lock().expect("no worker panics");
                    match (outcome, results.as_mut()) {
                        (Ok(found), Ok(done)) => done.push((check.clone(), found)),
                        (Err(why), Ok(_)) => *results = Err(why),
                        (_, Err(_)) => {}
                    }
                    if results.is_err() {
                        return;
                    }
                }
            });
        }
    });
    results.into_inner().expect("no worker panics")
}

/// Generates, compiles and runs one checker, and judges what it says.
fn one(models: &Path, work: &Path, check: &Check, memory: u32) -> Result<Found, String> {
    let stem = check.model.trim_end_matches(".pml");
    let dir = work.join(format!("{stem}.{}", check.name));
    // Nothing of an earlier run may stand for this one.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    // The checker names lines by the path it was given: beside it, that is the file's name alone.
    for file in [sources(models, "pml")?, sources(models, "inc")?].concat() {
        std::fs::copy(models.join(&file), dir.join(&file)).map_err(|e| format!("cannot copy {file}: {e}"))?;
    }
    let mut spin = Command::new("spin");
    capture(spin.args(&check.flags).arg("-a").arg(&check.model).current_dir(&dir))?;
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-w", "-DSAFETY"]).arg(format!("-DMEMLIM={memory}"));
    capture(cc.args(["-o", "pan", "pan.c"]).current_dir(&dir))?;
    let pan = dir.join("pan");
    // Its exit status says little: what it writes decides.
    let mut command = Command::new(&pan);
    command.arg(format!("-m{DEPTH}")).current_dir(&dir).stdin(Stdio::null());
    let out = command.output().map_err(|e| format!("cannot start {}: {e}", line(&command)))?;
    let found = parse(&String::from_utf8_lossy(&out.stdout));
    let said = judge(check, &found).map_err(|why| format!("{why}; see {}", dir.display()))?;
    println!("{said}");
    Ok(found)
}

/// What the checker's output says. Whatever is missing from it is not assumed.
fn parse(text: &str) -> Found {
    let mut found = Found::default();
    let (mut process, mut listed) = (None, Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("unreached in proctype ") {
            process = Some(name.trim().to_owned());
        } else if line.starts_with("unreached in ") {
            process = Some("init".to_owned());
        } else if let Some((_, errors)) = line.split_once(", errors: ") {
            found.errors = errors.trim().parse().ok();
        } else if let Some(states) = line.strip_suffix(" states, stored") {
            found.states = states.trim().parse().unwrap_or(0);
        } else if let Some(error) = line.strip_prefix("pan:1: ") {
            found.error = Some(error.to_owned());
        } else if line.starts_with("error: max search depth") || line.contains("Search not completed") {
            found.incomplete.get_or_insert_with(|| line.trim().to_owned());
        } else if line.starts_with("pan: reached -DMEMLIM") || line.starts_with("pan: out of memory") {
            found.incomplete = Some(line.to_owned());
        } else if let Some(statement) = statement(line) {
            listed.push(statement);
        } else if let Some(name) = size(line).and_then(|size| Some((process.take()?, size))) {
            let named = listed.drain(..).map(|(state, line, text)| (name.clone(), state, line, text));
            found.unreached.extend(named);
            found.processes.insert(name);
        }
    }
    found
}

/// `ring.inc:290, state 226, "i = 1"`.
fn statement(line: &str) -> Option<(u32, Line, String)> {
    let (place, rest) = line.trim().split_once(", state ")?;
    let (file, number) = place.rsplit_once(':')?;
    let (state, statement) = rest.split_once(", ")?;
    let at = (file.to_owned(), number.parse().ok()?);
    Some((state.parse().ok()?, at, statement.trim_matches('"').to_owned()))
}

/// `(23 of 399 states)` is 399.
fn size(line: &str) -> Option<u32> {
    line.trim().strip_prefix('(')?.strip_suffix(" states)")?.split_once(" of ")?.1.parse().ok()
}

/// What to say of a check that is as it should be.
fn judge(check: &Check, found: &Found) -> Result<String, String> {
    let Check { model, name, .. } = check;
    let Found { errors, states, error, incomplete, .. } = found;
    let error = error.as_deref().unwrap_or("no error");
    match (&check.expected, errors) {
        (_, None) => Err(format!("{model} {name}: the checker did not finish: {incomplete:?}")),
        (Expected::Fails { what }, Some(0)) => Err(format!("{model}: nothing fails with {name}: {what}")),
        (Expected::Fails { what }, Some(_)) => {
            Ok(format!("{model} FAULT {name} ({what}): {error}, after {states} states"))
        }
        (Expected::Holds { .. }, Some(1..)) => Err(format!("{model} {name}: {error}")),
        (Expected::Holds { states: floor, .. }, Some(0)) => match incomplete {
            Some(why) => Err(format!("{model} {name}: not every state was seen: {why}")),
            None if found.processes.is_empty() => {
                Err(format!("{model} {name}: the checker does not say what it has reached"))
            }
            None if states < floor => {
                Err(format!("{model} {name}: {states} states, and there must be {floor}"))
            }
            None => Ok(format!("{model} {} {name}: {states} states, no error", check.expected.word())),
        },
    }
}

/// The lines that may stay unreached.
fn never(models: &Path) -> Result<BTreeSet<Line>, String> {
    let mut marked = BTreeSet::new();
    for file in [sources(models, "pml")?, sources(models, "inc")?].concat() {
        let text = read(&models.join(&file))?;
        let lines = (1..).zip(text.lines()).filter(|(_, line)| line.contains(NEVER));
        marked.extend(lines.map(|(number, _)| (file.clone(), number)));
    }
    Ok(marked)
}

/// The statements that no run of their model reaches, though some run has them.
fn missed(results: &[(Check, Found)], never: &BTreeSet<Line>) -> Vec<String> {
    let runs = || results.iter().filter(|(check, _)| check.expected.word() == "RUN");
    let mut missed = BTreeSet::new();
    for (check, found) in runs() {
        for statement in &found.unreached {
            let (process, state, at, words) = statement;
            let reached = runs().any(|(other, found)| {
                other.model == check.model
                    && found.processes.contains(process)
                    && !found.unreached.contains(statement)
            });
            if !reached && !never.contains(at) {
                let name = &process.0;
                missed
                    .insert(format!("{}: {}:{} in {name}, state {state}: {words}", check.model, at.0, at.1));
            }
        }
    }
    missed.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
State-vector 84 byte, depth reached 599, errors: 0
    65895 states, stored
   107906 states, matched

unreached in proctype producer
\tring.inc:290, state 226, \"i = 1\"
\t(1 of 346 states)
unreached in proctype death
\tjoin.pml:97, state 9, \"-end-\"
\t(1 of 9 states)
unreached in init
\t(0 of 4 states)
";

    const BAD: &str = "\
pan:1: assertion violated (seen==0) (at depth 473)
pan: wrote observe.pml.trail

Warning: Search not completed
State-vector 84 byte, depth reached 578, errors: 1
     1123 states, stored
";

    fn check(expected: Expected) -> Check {
        Check { model: "join.pml".into(), name: "n".into(), flags: Vec::new(), expected }
    }

    fn holds(states: u64) -> Check {
        check(Expected::Holds { states, deep: false })
    }

    #[test]
    fn reads_what_the_checker_found() {
        let found = parse(GOOD);
        assert_eq!((found.errors, found.states, &found.incomplete), (Some(0), 65895, &None));
        let at = |file: &str, line| (file.to_owned(), line);
        let producer = (("producer".into(), 346), 226, at("ring.inc", 290), "i = 1".into());
        assert!(found.unreached.contains(&producer));
        assert!(found.unreached.contains(&(("death".into(), 9), 9, at("join.pml", 97), "-end-".into())));
        assert!(found.processes.contains(&("init".into(), 4)));
        assert_eq!(found.unreached.len(), 2);
        let found = parse(BAD);
        assert_eq!((found.errors, found.states), (Some(1), 1123));
        assert_eq!(found.error.as_deref(), Some("assertion violated (seen==0) (at depth 473)"));
    }

    #[test]
    fn a_faults_flags_are_sound_without_it() {
        let text =
            "* RUN a: -DX -DY; 7 states\n* FAULT b: it; -DY -DX\n* FAULT c: it; -DX\n* FAULT d: it; -DX\n";
        let sound = sound(&checks_in("m.pml", text).unwrap());
        assert_eq!(sound.len(), 1);
        assert_eq!(
            (sound[0].flags.as_slice(), &sound[0].expected),
            (&["-DX".to_owned()][..], &holds(1).expected)
        );
    }

    #[test]
    fn only_a_whole_search_counts() {
        assert!(judge(&holds(65895), &parse(GOOD)).is_ok());
        assert!(judge(&holds(65896), &parse(GOOD)).unwrap_err().contains("must be"));
        assert!(judge(&holds(1), &parse(BAD)).unwrap_err().contains("seen==0"));
        assert!(judge(&holds(1), &parse("")).unwrap_err().contains("did not finish"));
        let mute: String = GOOD.lines().take_while(|l| !l.is_empty()).map(|l| format!("{l}\n")).collect();
        assert!(judge(&holds(1), &parse(&mute)).unwrap_err().contains("has reached"));
        for cut in [
            "error: max search depth too small\n",
            "Warning: Search not completed\n",
            "pan: reached -DMEMLIM bound\n",
        ] {
            let why = judge(&holds(1), &parse(&format!("{cut}{GOOD}"))).unwrap_err();
            assert!(why.contains("not every state"), "{why}");
        }
    }

    #[test]
    fn a_fault_must_be_found() {
        let fault = check(Expected::Fails { what: "w".into() });
        assert!(judge(&fault, &parse(BAD)).unwrap().contains("seen==0"));
        assert!(judge(&fault, &parse(GOOD)).unwrap_err().contains("nothing fails"));
        assert!(judge(&fault, &parse("")).is_err());
    }

    #[test]
    fn reads_a_models_header() {
        let text = "/*\n * Words.\n * RUN a: -DX=1 -DY=2; 7 states\n * DEEP b: -DX=2; 9 states\n * FAULT c: it; then; -DX=1\n */\n* RUN d: -DZ; 1 states\n";
        let checks = checks_in("m.pml", text).unwrap();
        let names: Vec<_> = checks.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(checks[0].flags, ["-DX=1", "-DY=2"]);
        assert_eq!(checks[1].expected, Expected::Holds { states: 9, deep: true });
        assert_eq!(checks[2].expected, Expected::Fails { what: "it; then".into() });
        assert_eq!(checks[2].flags, ["-DX=1", "-DFAULT_c"]);
        for bad in ["RUN a: -DX", "RUN a: -DX; many states", "FAULT a -DX", "FAULT c: it; X=1"] {
            assert!(checks_in("m.pml", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_statement_must_be_reached_by_some_run_that_has_it() {
        let all = GOOD.lines().filter(|l| !l.contains(", state ")).collect::<Vec<_>>().join("\n");
        let other = all.replace("of 346", "of 347").replace("of 9", "of 8");
        let run = |text: &str| (holds(1), parse(text));
        let marked = BTreeSet::from([("join.pml".to_owned(), 97)]);
        assert_eq!(missed(&[run(GOOD)], &marked).len(), 1);
        assert_eq!(missed(&[run(GOOD)], &BTreeSet::new()).len(), 2);
        assert!(missed(&[run(GOOD), run(&all)], &BTreeSet::new()).is_empty());
        assert_eq!(missed(&[run(GOOD), run(&other)], &marked).len(), 1);
    }
}
