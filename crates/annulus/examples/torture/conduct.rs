//! The conductor: starts everything, lets things happen at random, and asks the checker in the end.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::actor::{Actor, Role};
use crate::check::first_line;
use crate::deeds::Deeds;
use crate::forward::Sabotage;
use crate::notes::Noted;
use crate::plan::{Plan, Random};
use crate::ring::{Ring, Starter};
use crate::stage::{PLACE, PREFIX, Stage};
use crate::sys;

const USAGE: &str = "torture --seconds N --seed S [--sabotage drop|dup|tear]";
/// So many rings at once.
const RINGS: u64 = 4;
/// Something happens after at most so long,
const STEP: Duration = Duration::from_millis(16);
/// and at most so many things at once.
const AT_ONCE: u64 = 4;
/// A run goes well for so long, then a reader sabotages it. That one may be killed too early, or get no record: so long
/// after it there is another.
const SABOTEUR: Duration = Duration::from_millis(500);
/// A directory whose run is gone is left alone for so long: it may be one that just begins.
const FRESH: Duration = Duration::from_secs(60);

/// 0: nothing is wrong. 1: the checker, or a process of the run, says that something is. 2: there was no whole run.
pub(crate) fn main(args: &[&str]) -> ExitCode {
    let outcome = Wish::new(args).and_then(|wish| Conductor::new(&wish)?.run(wish.time));
    match outcome {
        Ok(faults) if faults.is_empty() => {
            println!("torture: nothing lost, doubled or torn");
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            for fault in faults {
                println!("torture: red: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("torture: {why}");
            ExitCode::from(2)
        }
    }
}

struct Wish {
    time: Duration,
    seed: u64,
    sabotage: Option<Sabotage>,
}

impl Wish {
    fn new(args: &[&str]) -> Result<Wish, String> {
        let value = |name: &str| {
            let at = args.iter().position(|arg| *arg == name)?;
            args.get(at + 1).copied()
        };
        let number = |name: &str| value(name).and_then(|word| word.parse::<u64>().ok()).ok_or(USAGE);
        let (seconds, seed) = (number("--seconds")?, number("--seed")?);
        let sabotage = match value("--sabotage") {
            None if args.len() == 4 => None,
            Some(word) if args.len() == 6 => Some(Sabotage::of_word(word).ok_or(USAGE)?),
            _ => return Err(USAGE.into()),
        };
        Ok(Wish { time: Duration::from_secs(seconds), seed, sabotage })
    }
}

/// In the order of its fields it ends.
struct Conductor {
    rings: Vec<Ring>,
    cast: Cast,
    random: Random,
    begun: u64,
    steps: u64,
}

/// Starts processes, and talks to the checker. In the order of its fields it ends them, and then their directory.
struct Cast {
    checker: Checker,
    directory: Directory,
    seed: u64,
    sabotage: Option<Sabotage>,
    /// The next reader that is started then, or later, is a saboteur.
    next_saboteur: Instant,
    ids: u64,
    deeds: Deeds,
}

impl Starter for Cast {
    fn start(&mut self, ring: u64, role: Role) -> Result<Actor, String> {
        self.ids += 1;
        self.deeds.started(role);
        let mut sabotage = None;
        if role != Role::Producer && self.sabotage.is_some() && Instant::now() >= self.next_saboteur {
            self.next_saboteur = Instant::now() + SABOTEUR;
            sabotage = self.sabotage;
        }
        Actor::start(&self.directory.0, self.seed, ring, self.ids, role, sabotage)
    }

    fn produced(&mut self, ring: u64, noted: Noted) -> Result<(), String> {
        let [begin, attempted, confirmed, closed] = noted;
        self.checker.tell(&format!("produced {ring} {begin} {attempted} {confirmed} {closed}"))
    }

    fn deeds(&mut self) -> &mut Deeds {
        &mut self.deeds
    }
}

impl Conductor {
    fn new(wish: &Wish) -> Result<Conductor, String> {
        sys::die_with_parent(None)?;
        sys::hold_ends_back();
        sweep();
        let directory = Directory::new().map_err(|error| format!("a directory in {PLACE}: {error}"))?;
        let (seed, sabotage) = (wish.seed, wish.sabotage);
        let word = sabotage.map_or(String::new(), |sabotage| format!(", sabotage {}", sabotage.word()));
        println!("torture: seed {seed}, {} s{word}", wish.time.as_secs());
        let checker = Checker::start(&directory.0, seed)?;
        let next_saboteur = Instant::now() + SABOTEUR;
        let deeds = Deeds::default();
        let cast = Cast { checker, directory, seed, sabotage, next_saboteur, ids: 0, deeds };
        Ok(Conductor { rings: Vec::new(), cast, random: Random::of(&[seed]), begun: 0, steps: 0 })
    }

    /// Returns what is wrong.
    fn run(mut self, time: Duration) -> Result<Vec<String>, String> {
        let begin = Instant::now();
        for _ in 0..RINGS {
            let ring = self.next_ring()?;
            self.rings.push(ring);
        }
        let mut faults = Vec::new();
        while !self.rings.is_empty() && faults.is_empty() {
            if sys::sleep_unless_asked_to_end(self.random.up_to(STEP)) {
                return Err("it was asked to end".into());
            }
            let over = begin.elapsed() >= time;
            // What is wrong with a part is wrong with the ring: red, not a run that failed.
            if let Err(fault) = self.step(over) {
                faults.push(fault);
            }
            faults.extend(self.cast.checker.faults()?);
        }
        self.rings.clear();
        self.finish(begin, faults)
    }

    fn next_ring(&mut self) -> Result<Ring, String> {
        let plan = Plan::of(self.cast.seed, self.begun);
        self.begun += 1;
        Ring::start(plan, &mut self.random, Instant::now(), &mut self.cast)
    }

    fn step(&mut self, over: bool) -> Result<(), String> {
        self.steps += 1;
        let about =
            |ring: &Ring, why: String| format!("ring {} ({}), {why}", ring.plan.ring, ring.plan.describe());
        for _ in 0..=self.random.below(AT_ONCE) {
            let i = self.random.below(self.rings.len() as u64) as usize;
            let ring = &mut self.rings[i];
            ring.happen(&mut self.random, Instant::now(), &mut self.cast).map_err(|why| about(ring, why))?;
        }
        let mut ended = Vec::new();
        for (i, ring) in self.rings.iter_mut().enumerate() {
            if over {
                ring.end(&mut self.cast).map_err(|why| about(ring, why))?;
            }
            if ring.tend(Instant::now(), &mut self.cast).map_err(|why| about(ring, why))? {
                ended.push(i);
            }
        }
        for i in ended.into_iter().rev() {
            let ring = self.rings.swap_remove(i);
            let name = ring.plan.name();
            if self.cast.directory.0.rings().join(&name).exists() {
                return Err(format!("{name} was closed, and its directory is still there"));
            }
            if !over {
                let ring = self.next_ring()?;
                self.rings.push(ring);
            }
        }
        Ok(())
    }

    /// Everybody is dead: what the checker says, and what is left.
    fn finish(mut self, begin: Instant, mut faults: Vec<String>) -> Result<Vec<String>, String> {
        let whole = faults.is_empty();
        let (told, counts) = self.cast.checker.end(whole)?;
        faults.extend(told);
        if sys::has_children() {
            faults.push("a child is left that nobody waited for".into());
        }
        let (time, rings, steps) = (begin.elapsed().as_secs_f64(), self.begun, self.steps);
        println!("  {time:.1} s, {steps} steps, {rings} rings, {RINGS} at a time");
        print!("{}", self.cast.deeds);
        println!("  checker: {counts}");
        if whole {
            faults.extend(self.cast.directory.leftovers(self.cast.deeds.killed_producers())?);
            if self.cast.sabotage.is_some() && !self.cast.directory.0.sabotaged().exists() {
                return Err("nobody got so far as to sabotage anything; give it more seconds".into());
            }
        }
        Ok(faults)
    }
}

/// The checker's process.
struct Checker {
    child: Child,
    input: Option<ChildStdin>,
    said: Receiver<String>,
}

impl Checker {
    fn start(stage: &Stage, seed: u64) -> Result<Checker, String> {
        let failed = |error: io::Error| format!("start the checker: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("checker").arg(stage.root()).arg(std::process::id().to_string()).arg(seed.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("no pipe from the checker")?;
        let mut output = BufReader::new(output);
        let first = first_line(&mut output).map_err(failed)?;
        if first != "ready" {
            return Err(format!("the checker says {first:?}"));
        }
        let (tell, said) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Ok(Checker { child, input, said })
    }

    fn tell(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("the checker has been told the end")?;
        writeln!(input, "{line}").map_err(|error| format!("tell the checker: {error}"))
    }

    /// What it has found so far.
    fn faults(&mut self) -> Result<Vec<String>, String> {
        let mut faults = Vec::new();
        loop {
            match self.said.try_recv() {
                Ok(line) => faults.push(line.trim_start_matches("red: ").to_owned()),
                Err(TryRecvError::Empty) => return Ok(faults),
                Err(TryRecvError::Disconnected) => return Err("the checker has ended".into()),
            }
        }
    }

    /// What is wrong, and the counts. Of a run that was broken off it says nothing new.
    fn end(&mut self, whole: bool) -> Result<(Vec<String>, String), String> {
        self.tell(if whole { "judge" } else { "stop" })?;
        self.input = None;
        let mut lines: Vec<String> = self.said.iter().collect();
        let status = self.child.wait().map_err(|error| format!("wait for the checker: {error}"))?;
        let counts = lines.pop().unwrap_or_default();
        match counts.strip_prefix("counts: ") {
            Some(counts) if status.success() => {
                let faults = lines.iter().map(|line| line.trim_start_matches("red: ").to_owned()).collect();
                Ok((faults, counts.to_owned()))
            }
            _ => Err(format!("the checker ended with {status}, and said {counts:?}")),
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        // One that was waited for is left alone by both.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The run's directory, removed when it is dropped.
struct Directory(Stage);

impl Directory {
    fn new() -> io::Result<Directory> {
        let root = PathBuf::from(format!("{PLACE}/{PREFIX}{}", std::process::id()));
        fs::create_dir(&root)?;
        let directory = Directory(Stage::at(&root));
        let lock = fs::File::create(directory.0.lock())?;
        if sys::try_lock(&lock) {
            // For as long as this process lives.
            std::mem::forget(lock);
        }
        Ok(directory)
    }

    /// What is left of the rings and is not explained: only a killed creator may leave something, under a temporary
    /// name, and one such each.
    fn leftovers(&self, killed: u64) -> Result<Vec<String>, String> {
        let entries = |path: &Path| -> Result<Vec<String>, String> {
            let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
            entries
                .map(|entry| match entry {
                    Ok(entry) => Ok(entry.file_name().to_string_lossy().into_owned()),
                    Err(error) => Err(error.to_string()),
                })
                .collect()
        };
        let (temporary, others): (Vec<String>, Vec<String>) =
            entries(&self.0.rings())?.into_iter().partition(|name| is_temporary(name));
        println!("  leftovers: {} of creators and closers that were killed", temporary.len());
        let mut faults: Vec<String> =
            others.iter().map(|name| format!("{name} is left of the rings")).collect();
        if temporary.len() as u64 > killed {
            faults.push(format!("{} leftovers of {killed} killed producers", temporary.len()));
        }
        let ours = ["rings", "checker", "lock", "sabotaged"];
        let unknown = entries(self.0.root())?.into_iter().filter(|name| !ours.contains(&name.as_str()));
        faults.extend(unknown.map(|name| format!("{name} is left of the run")));
        Ok(faults)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Were it to fail, the next run would sweep it away.
        let _ = fs::remove_dir_all(self.0.root());
    }
}

/// As the library names what is not finished: a dot and 16 hexadecimal digits.
fn is_temporary(name: &str) -> bool {
    name.strip_prefix('.')
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// Removes the directories of runs that were killed.
fn sweep() {
    let Ok(entries) = fs::read_dir(PLACE) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let stage = Stage::at(&entry.path());
        let Ok(lock) = fs::File::open(stage.lock()) else { continue };
        let age =
            lock.metadata().and_then(|facts| facts.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > FRESH) && sys::try_lock(&lock) {
            let _ = fs::remove_dir_all(stage.root());
        }
    }
}
