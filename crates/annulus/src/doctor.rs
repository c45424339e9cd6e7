//! Whether this machine, this process and this directory are fit for rings, and what to do where they are not.
//!
//! ```
//! use annulus::doctor::{Doctor, Verdict};
//! # let dir = format!("/dev/shm/annulus-doc-doctor-{}", std::process::id());
//! # drop(annulus::Ring::create("r").dir(&dir).producer()?);
//! let checks = Doctor::new().dir(&dir).only(["directory", "locks"]).examine();
//! assert!(checks.iter().all(|check| check.verdict == Verdict::Fine), "{checks:?}");
//! # std::fs::remove_dir(dir).unwrap();
//! # Ok::<(), annulus::Error>(())
//! ```

mod machine;
mod place;
mod rings;

use std::fmt;
use std::path::PathBuf;

use annulus_os::{FileSystem, Space};

use crate::create::{Existing, Spec};
use crate::error::Error;
use crate::memory::ctl_file_bytes;
use crate::prune::{Finding, Found, Prune};
use crate::registry::{Access, Home, Purpose, default_dir};

/// Descriptors that a handle keeps open at most: its directory, its ring, and up to three files with locks of their own.
/// Creating and opening takes a few more for a moment.
pub const DESCRIPTORS: u64 = 5;

/// What is examined, in the order in which it is told.
pub const CHECKS: [&str; 19] = [
    "directory",
    "file-system",
    "space",
    "locks",
    "renames",
    "watching",
    "leftovers",
    "deleted-rings",
    "memory-limit",
    "address-space",
    "locked-memory",
    "descriptors",
    "proc",
    "membarrier",
    "futex-waitv",
    "cpus",
    "governor",
    "tick-counter",
    "huge-pages",
];

/// How one thing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// One of [`CHECKS`].
    pub name: &'static str,
    /// Whether that is fine.
    pub verdict: Verdict,
    /// What was found; "not known" and why, where the system does not say.
    pub found: String,
    /// What to do; where it is fine, that there is nothing to do.
    pub advice: String,
}

/// What a [`Check`] comes to. The worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Rings work, but slower, or not as many or as large as one may want; or nobody knows.
    Warning,
    /// Rings cannot be made here.
    Broken,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Fine => "fine",
            Verdict::Warning => "warning",
            Verdict::Broken => "broken",
        })
    }
}

/// What is to be examined, ended by [`examine`](Doctor::examine).
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is examined before `.examine()`"]
pub struct Doctor {
    dir: Option<PathBuf>,
    only: Vec<String>,
}

impl Doctor {
    /// Everything, in the default directory.
    pub fn new() -> Doctor {
        Doctor::default()
    }

    /// The directory of rings: `$ANNULUS_DIR`, or `/dev/shm/annulus-<uid>`, unless said. Never made.
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.dir = Some(path.into());
        self
    }

    /// Only these of [`CHECKS`]. Names that are none of them are not examined.
    pub fn only<S: Into<String>>(mut self, checks: impl IntoIterator<Item = S>) -> Self {
        self.only = checks.into_iter().map(Into::into).collect();
        self
    }

    /// Examines, and never fails: what cannot be examined is told as such.
    ///
    /// Locks and renames are tried in a temporary directory inside that of the rings, which is removed again. The rest only
    /// looks. Limits are those of this process, and a service's may be others: run it as the service runs.
    pub fn examine(&self) -> Vec<Check> {
        let patient = Patient::new(self.dir.as_ref());
        let wanted = |name: &&str| self.only.is_empty() || self.only.iter().any(|only| only == *name);
        let names = CHECKS.into_iter().filter(wanted);
        names.map(|name| patient.examine(name).named(name)).collect()
    }
}

/// What is examined.
struct Patient {
    path: PathBuf,
    home: Result<Home, Error>,
    /// Of the directory, or where it would be made.
    system: Option<(FileSystem, Space)>,
    findings: Result<Vec<Finding>, Error>,
    /// Bytes of a ring as it is made unless something else is asked.
    usual: u64,
}

/// A check that has no name yet.
struct Opinion {
    verdict: Verdict,
    found: String,
    advice: String,
}

impl Opinion {
    fn named(self, name: &'static str) -> Check {
        Check { name, verdict: self.verdict, found: self.found, advice: self.advice }
    }
}

fn fine(found: impl Into<String>) -> Opinion {
    Opinion { verdict: Verdict::Fine, found: found.into(), advice: "nothing to do".to_owned() }
}

fn warning(found: impl Into<String>, advice: impl Into<String>) -> Opinion {
    Opinion { verdict: Verdict::Warning, found: found.into(), advice: advice.into() }
}

fn broken(found: impl Into<String>, advice: impl Into<String>) -> Opinion {
    Opinion { verdict: Verdict::Broken, found: found.into(), advice: advice.into() }
}

/// Where `/proc` or `/sys` do not say.
fn not_known(why: &str) -> Opinion {
    warning(format!("not known: {why}"), "mount /proc and /sys here, or ask outside this container")
}

/// What cannot be tried before there is a directory.
fn not_tried() -> Opinion {
    fine("not tried: there is no directory to try it in yet")
}

impl Patient {
    fn new(dir: Option<&PathBuf>) -> Patient {
        let path = dir.cloned().unwrap_or_else(default_dir);
        let access = Access { dir: Some(path.clone()), allow_disk: true, ..Access::default() };
        let home = Home::open(&access, Purpose::Tend);
        let place = annulus_os::Place::open(&path).or_else(|error| match (error.kind(), path.parent()) {
            (std::io::ErrorKind::NotFound, Some(parent)) => annulus_os::Place::open(parent),
            _ => Err(error),
        });
        let system = place.ok().and_then(|place| Some((place.file_system().ok()?, place.space().ok()?)));
        let findings = match &home {
            Ok(home) => Prune::default().tend(home, false),
            Err(_) => Ok(Vec::new()),
        };
        let page = annulus_os::sys::page_size();
        let usual = Spec::new("doctor", Existing::Replace).identity(page);
        let usual = usual.map_or(0, |ring| ring.data_bytes() + ctl_file_bytes(&ring, page) as u64);
        Patient { path, home, system, findings, usual }
    }

    /// Bytes of each thing here that is a ring's. A file's length may be anything.
    fn sizes(&self) -> impl Iterator<Item = u64> {
        self.findings.iter().flatten().filter(|one| one.found != Found::Foreign).map(|one| one.bytes)
    }

    /// Bytes of the largest ring there is, or of a usual one.
    fn largest(&self) -> u64 {
        self.sizes().max().unwrap_or(0).max(self.usual)
    }

    /// Bytes of all of them.
    fn taken(&self) -> u64 {
        self.sizes().fold(0, u64::saturating_add)
    }

    fn examine(&self, name: &'static str) -> Opinion {
        match name {
            "directory" => self.directory(),
            "file-system" => self.file_system(),
            "space" => self.space(),
            "locks" => self.locks(),
            "renames" => self.renames(),
            "watching" => self.watching(),
            "leftovers" => self.leftovers(),
            "deleted-rings" => self.deleted_rings(),
            "memory-limit" => self.memory_limit(),
            "address-space" => self.address_space(),
            "locked-memory" => self.locked_memory(),
            "descriptors" => machine::descriptors(),
            "proc" => machine::proc(),
            "membarrier" => machine::membarrier(),
            "futex-waitv" => machine::futex_waitv(),
            "cpus" => machine::cpus(),
            "governor" => machine::governor(),
            "tick-counter" => machine::tick_counter(),
            _ => machine::huge_pages(),
        }
    }
}

/// Bytes for people.
fn bytes(n: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, size)| n >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", n as f64 / *size as f64),
        None => format!("{n} bytes"),
    }
}
