//! The directory of a run, and what each process in it is told.

use std::path::{Path, PathBuf};

use crate::plan::{Plan, Random};
use crate::sys;

/// Where runs have their directories.
pub(crate) const PLACE: &str = "/dev/shm";
/// How these are called.
pub(crate) const PREFIX: &str = "annulus-torture-";

/// The directory of a run.
#[derive(Debug, Clone)]
pub(crate) struct Stage(PathBuf);

impl Stage {
    pub(crate) fn at(root: &Path) -> Stage {
        Stage(root.to_owned())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// The directory of rings.
    pub(crate) fn rings(&self) -> PathBuf {
        self.0.join("rings")
    }

    /// Where readers reach the checker.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("checker")
    }

    /// What a process notes.
    pub(crate) fn notes(&self, id: u64) -> PathBuf {
        self.0.join(format!("notes-{id}"))
    }

    /// Made by the first reader whose sabotage was sent to the checker.
    pub(crate) fn sabotaged(&self) -> PathBuf {
        self.0.join("sabotaged")
    }

    /// Locked while the run goes on.
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
}

/// What a producer or a reader is.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) stage: Stage,
    pub(crate) plan: Plan,
    pub(crate) id: u64,
    /// Its own decisions.
    pub(crate) random: Random,
}

impl Part {
    /// The words that make such a part, for [`Part::new`].
    pub(crate) fn words(stage: &Stage, seed: u64, ring: u64, id: u64) -> Vec<String> {
        let numbers = [u64::from(std::process::id()), seed, ring, id];
        let mut words = vec![stage.root().to_string_lossy().into_owned()];
        words.extend(numbers.map(|n| n.to_string()));
        words
    }

    /// Reads the first five words; those that follow are the role's.
    pub(crate) fn new<'a>(words: &'a [&'a str]) -> Result<(Part, &'a [&'a str]), String> {
        let [root, parent, seed, ring, id, rest @ ..] = words else { return Err("too few words".into()) };
        let number = |word: &str| word.parse::<u64>().map_err(|error| format!("{word}: {error}"));
        let (parent, seed, ring, id) = (number(parent)?, number(seed)?, number(ring)?, number(id)?);
        sys::die_with_parent(Some(parent as u32))?;
        let part = Part {
            stage: Stage::at(Path::new(root)),
            plan: Plan::of(seed, ring),
            id,
            random: Random::of(&[seed, ring, id]),
        };
        Ok((part, rest))
    }
}
