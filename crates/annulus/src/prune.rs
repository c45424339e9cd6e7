//! What crashes leave in a directory of rings, explained and, if asked, removed.
//!
//! Nothing goes that anybody holds, and the kernel says who does: a lock is dropped when its holder dies, never before.
//!
//! | what | who holds it | it may go |
//! |---|---|---|
//! | a directory under a temporary name | its maker or remover, by `owner` | when `owner` is free, missing, or the directory is empty |
//! | a ring | its producer by `owner`, subscribers by their slots | when all are free, and it is not persistent |
//! | a file of an earlier producer in a ring | the ring's producer | when `owner` is free |
//! | a slot | its subscriber, by its byte of `ctl` | when that is free |
//! | a group | its workers, by its byte of `ctl` | when nobody shares that, and it is not durable |
//!
//! **Races.** A ring or draft is removed under its `owner` lock, and only if its name still means it then: whoever else
//! would give it a name, go on with it or remove it needs the same lock. [`Home::draft`] says how a maker and `prune` share
//! the moment before there is an `owner`.

use std::path::PathBuf;

use annulus_core::doorbell::{leave, when_empty};
use annulus_core::group::GroupLocks;
use annulus_core::group::hand_back;
use annulus_core::layout::{GroupPhase, Identity, Options};
use annulus_os::{Access as OsAccess, Kind, LockFile, sys};

use crate::bells::{ReaderBell, RoomBell};
use crate::error::{Error, ErrorKind};
use crate::group::GroupBytes;
use crate::info::group_name;
use crate::life::{is_slot_held, try_lock_slot, unlock_slot};
use crate::make::{attach, gone};
use crate::memory::{DataMemory, MapOptions, Memory, read_identity};
use crate::registry::{
    Access, CTL, DATA, Home, OWNER, Own, Purpose, RingDir, check_name, is_temporary, life_name,
};

/// What is to be removed from a directory of rings: from [`Ring::prune`](crate::Ring::prune), ended by
/// [`dry_run`](Prune::dry_run) or [`apply`](Prune::apply).
///
/// # Examples
///
/// ```
/// use annulus::{Fate, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-prune-{}", std::process::id());
/// let tx = Ring::create("alive").dir(&dir).producer()?;
/// // What a creator leaves that is killed before its first step is done.
/// std::fs::create_dir(format!("{dir}/.0123456789abcdef")).unwrap();
/// let found = Ring::prune().dir(&dir).apply()?;
/// let fates: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.fate)).collect();
/// assert_eq!(fates, [(".0123456789abcdef", Fate::Removed), ("alive", Fate::Kept)]);
/// # drop(tx);
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), annulus::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is looked at before `.dry_run()` or `.apply()`"]
pub struct Prune {
    dir: Option<PathBuf>,
    persistent: bool,
    unreadable: bool,
}

/// Something in a directory of rings, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Its name in the directory; of what is inside a ring, the ring's name and its own, with a slash between them.
    /// Names that are not UTF-8 have U+FFFD in them.
    pub name: String,
    /// What it is.
    pub found: Found,
    /// Bytes of its files; 0 for a slot, which is part of a ring.
    pub bytes: u64,
    /// What becomes of it.
    pub fate: Fate,
    /// Why, and what to do where that is not what one may want.
    pub why: String,
}

/// What [`Prune`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Found {
    /// A ring that has a producer, or gets one just now.
    Held,
    /// A ring without a producer, which stays because its creator said so.
    Persistent,
    /// A ring whose producer has died, or died while it ended.
    Leftover,
    /// A ring in the making or on its way out, under a temporary name.
    Draft,
    /// A file in a ring of a producer that is gone.
    LifeFile,
    /// The slot of a subscriber that has died.
    DeadSlot,
    /// A group of workers that have all died, and which is not durable; what they have not done is lost with it.
    DeadGroup,
    /// A ring that this program cannot read: damaged, or of another version.
    Unreadable,
    /// Something that no ring is.
    Foreign,
}

/// What becomes of a [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// It stays.
    Kept,
    /// It would be removed; a slot would be freed.
    Removable,
    /// It has been.
    Removed,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Found::Held => "held",
            Found::Persistent => "persistent",
            Found::Leftover => "leftover",
            Found::Draft => "draft",
            Found::LifeFile => "life-file",
            Found::DeadSlot => "dead-slot",
            Found::DeadGroup => "dead-group",
            Found::Unreadable => "unreadable",
            Found::Foreign => "foreign",
        })
    }
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fate::Kept => "kept",
            Fate::Removable => "removable",
            Fate::Removed => "removed",
        })
    }
}

impl Prune {
    /// The directory of rings: `$ANNULUS_DIR`, or `/dev/shm/annulus-<uid>`, unless said. Never made.
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.dir = Some(path.into());
        self
    }

    /// Whether persistent rings go, too, that nobody holds; they do not unless said.
    pub fn persistent(mut self, yes: bool) -> Self {
        self.persistent = yes;
        self
    }

    /// Whether rings go, too, that this program cannot read, so that nobody knows whether they are persistent; they do
    /// not unless said. Subscribers of such a ring cannot be seen.
    pub fn unreadable(mut self, yes: bool) -> Self {
        self.unreadable = yes;
        self
    }

    /// What there is, and what [`apply`](Prune::apply) would do. Changes nothing and takes no lock. May be stale by the time
    /// you look.
    ///
    /// # Errors
    ///
    /// [`UnsafeDirectory`](ErrorKind::UnsafeDirectory) if the directory is another's or others may write it; what the
    /// system refuses. A directory that does not exist holds nothing.
    pub fn dry_run(&self) -> Result<Vec<Finding>, Error> {
        self.run(false)
    }

    /// Removes what nobody holds, and says what there was. Slots of dead subscribers of rings that stay are freed.
    ///
    /// Whoever reads a ring in place or as a copying subscriber holds it; who observes does not, goes on until it has read
    /// what is there, and is then told that the producer is lost.
    ///
    /// # Errors
    ///
    /// As [`dry_run`](Prune::dry_run). What cannot be removed is no error, but kept, and the finding says why.
    pub fn apply(&self) -> Result<Vec<Finding>, Error> {
        self.run(true)
    }

    fn run(&self, apply: bool) -> Result<Vec<Finding>, Error> {
        let access = Access { dir: self.dir.clone(), allow_disk: true, ..Access::default() };
        let home = match Home::open(&access, Purpose::Tend) {
            Ok(home) => home,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        self.tend(&home, apply)
    }

    /// The same, for who has the directory open.
    pub(crate) fn tend(&self, home: &Home, apply: bool) -> Result<Vec<Finding>, Error> {
        let mut names = home
            .place
            .names_for_people()
            .map_err(|source| Error::io("list the directory of rings", "", source))?;
        names.sort();
        let mut visit = Visit { home, wishes: self, apply, findings: Vec::new() };
        for name in names {
            // What has gone since it was listed is nobody's finding.
            if let Err(error) = visit.entry(&name)
                && !error.is_not_found()
            {
                visit.add(
                    &name,
                    Found::Unreadable,
                    0,
                    Fate::Kept,
                    format!("it cannot be looked at: {error}"),
                );
            }
        }
        Ok(visit.findings)
    }
}

/// What is in a directory that may be a ring's.
struct Contents {
    bytes: u64,
    /// Its files that a ring has.
    ours: Vec<String>,
    /// Something else.
    foreign: Option<String>,
}

/// One walk over a directory.
struct Visit<'a> {
    home: &'a Home,
    wishes: &'a Prune,
    apply: bool,
    findings: Vec<Finding>,
}

impl Visit<'_> {
    fn add(&mut self, name: &str, found: Found, bytes: u64, fate: Fate, why: impl Into<String>) {
        self.findings.push(Finding { name: name.to_owned(), found, bytes, fate, why: why.into() });
    }

    fn entry(&mut self, name: &str) -> Result<(), Error> {
        let Ok(facts) = self.home.place.facts_at(name) else {
            if name.contains('\u{fffd}') {
                let why =
                    "its name is not UTF-8, so it is none of annulus's; remove it by hand if nobody needs it";
                self.add(name, Found::Foreign, 0, Fate::Kept, why);
            }
            return Ok(());
        };
        let why = match facts.kind {
            Kind::File => "a file, and rings are directories; remove it by hand if nobody needs it",
            Kind::Other => {
                "a link, FIFO, socket or device, which no ring is; it is not followed; remove it by hand if nobody \
                 needs it"
            }
            Kind::Directory if facts.uid != sys::uid() => {
                "it belongs to another user; that user's `annulus prune` may remove it"
            }
            Kind::Directory if is_temporary(name) => return self.draft(name),
            Kind::Directory if check_name(name).is_ok() => return self.ring(name),
            Kind::Directory => {
                "a directory of a name that no ring can have; remove it by hand if nobody needs it"
            }
        };
        let bytes = if facts.kind == Kind::File { facts.size } else { 0 };
        self.add(name, Found::Foreign, bytes, Fate::Kept, why);
        Ok(())
    }

    /// A ring in the making, one on its way out, or what a killed process left of either.
    fn draft(&mut self, name: &str) -> Result<(), Error> {
        let ring = self.home.ring(name)?;
        // Listed before `owner` is asked for. That is the first file of a draft: where there are files and no `owner`, it has
        // been removed, and the rest is nobody's any more.
        let contents = contents(&ring, name)?;
        let bytes = contents.bytes;
        if let Some(foreign) = contents.foreign {
            self.add(name, Found::Draft, bytes, Fate::Kept, holds_foreign(&foreign));
            return Ok(());
        }
        if contents.ours.is_empty() {
            let why = "empty: its maker was killed before its first file";
            let fate = match self.apply.then(|| self.home.place.remove_dir(name)) {
                None => Fate::Removable,
                Some(Ok(())) => Fate::Removed,
                Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Some(Err(_)) => {
                    self.add(name, Found::Draft, bytes, Fate::Kept, IN_THE_MAKING);
                    return Ok(());
                }
            };
            self.add(name, Found::Draft, bytes, fate, why);
            return Ok(());
        }
        let hold = match self.hold(&ring, name) {
            Ok(Some(hold)) => Some(hold),
            Ok(None) => {
                self.add(name, Found::Draft, bytes, Fate::Kept, IN_THE_MAKING);
                return Ok(());
            }
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(error),
        };
        if !self.home.still_means(name, &ring) {
            return Ok(());
        }
        let why = "its maker or remover was killed";
        if !self.apply {
            self.add(name, Found::Draft, bytes, Fate::Removable, why);
            return Ok(());
        }
        self.home.remove(name, &ring.place);
        drop(hold);
        self.tell_removed(name, &ring, Found::Draft, bytes, why);
        Ok(())
    }

    /// A directory that has a ring's name.
    fn ring(&mut self, name: &str) -> Result<(), Error> {
        let home = self.home;
        let ring = home.ring(name)?;
        let contents = contents(&ring, name)?;
        let bytes = contents.bytes;
        if ![DATA, CTL, OWNER].iter().any(|file| contents.ours.iter().any(|ours| ours == file)) {
            if home.still_means(name, &ring) {
                let why =
                    "a directory with none of a ring's files in it; remove it by hand if nobody needs it";
                self.add(name, Found::Foreign, bytes, Fate::Kept, why);
            }
            return Ok(());
        }
        let hold = match self.hold(&ring, name).or_else(|error| gone(home, name, &ring, error)) {
            Ok(hold) => hold,
            Err(error) if is_missing(&error) => {
                let why = "its `owner` file is missing or no file, so nobody can tell whether a producer has it; end the \
                           processes that use it, then remove the directory by hand";
                self.add(name, Found::Unreadable, bytes, Fate::Kept, why);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !home.still_means(name, &ring) {
            return Ok(());
        }
        let Some(hold) = hold else {
            self.add(name, Found::Held, bytes, Fate::Kept, "its producer lives, or one is about to take it");
            self.slots(&ring, name);
            return Ok(());
        };
        if ring.is_lived_in() {
            let why = "its producer lives, but its `owner` file was deleted; end it, and start it again";
            self.add(name, Found::Held, bytes, Fate::Kept, why);
            return Ok(());
        }
        // From here on nobody takes it over, replaces or removes it, unless this is a dry run; and a reader that takes a
        // slot looks for this lock afterwards, as we look at the slots afterwards: one of us sees the other.
        let leaving = match self.apply.then(|| ring.leave(name)) {
            Some(Ok(None)) => {
                self.add(name, Found::Leftover, bytes, Fate::Kept, "another `prune` has it");
                return Ok(());
            }
            leaving => leaving.transpose().ok().flatten(),
        };
        let identity = ring.file(DATA, OsAccess::Read, name).and_then(|data| read_identity(name, &data));
        let (found, kept, why) = self.judge(&ring, name, identity.as_ref());
        let kept = kept.or_else(|| contents.foreign.as_deref().map(holds_foreign));
        if let Some(why) = kept {
            self.add(name, found, bytes, Fate::Kept, why);
            if identity.is_ok() {
                self.life_files(&ring, name, &contents.ours);
                drop(hold);
                self.slots(&ring, name);
            }
        } else if self.apply {
            home.retire(name, &ring);
            drop((leaving, hold));
            self.tell_removed(name, &ring, found, bytes, &why);
        } else {
            self.add(name, found, bytes, Fate::Removable, why);
        }
        Ok(())
    }

    /// What a ring without a producer is; why it stays, if it does; and why it may go, if it does not.
    fn judge(
        &self,
        ring: &RingDir,
        name: &str,
        identity: Result<&Identity, &Error>,
    ) -> (Found, Option<String>, String) {
        let identity = match identity {
            Ok(identity) => identity,
            Err(error) => {
                let is_known = matches!(
                    error.kind(),
                    ErrorKind::NotARing(_) | ErrorKind::Corrupt(_) | ErrorKind::LayoutVersion { .. }
                );
                let kept = match (is_known, self.wishes.unreadable) {
                    (true, true) => None,
                    (true, false) => Some(format!(
                        "{error}; whether it is persistent cannot be told: remove it with `.unreadable(true)`"
                    )),
                    (false, _) => Some(format!("{error}; mend that, and prune again")),
                };
                return (Found::Unreadable, kept, "it cannot be read, and no producer has it".to_owned());
            }
        };
        let is_persistent = identity.options.has(Options::PERSISTENT);
        let found = if is_persistent { Found::Persistent } else { Found::Leftover };
        let kept = match living(ring, name, identity) {
            Err(error) => Some(format!("its subscribers cannot be looked at: {error}")),
            Ok(n) if n > 0 => Some(format!("{n} subscribers still hold it; it may go when they have ended")),
            Ok(_) if is_persistent && !self.wishes.persistent => {
                Some("persistent rings stay; remove it with `.persistent(true)`, or by its name".to_owned())
            }
            Ok(_) => None,
        };
        let why = if is_persistent {
            "persistent, and nobody has it now".to_owned()
        } else {
            "its producer has died, and nobody holds it".to_owned()
        };
        (found, kept, why)
    }

    /// Whether nobody has the `owner` lock: takes it, if this is no dry run. `None`: somebody has.
    fn hold(&self, ring: &RingDir, name: &str) -> Result<Option<Option<Own>>, Error> {
        if self.apply {
            Ok(ring.try_prune(name)?.map(Some))
        } else {
            Ok((!ring.is_owned(name)?).then_some(None))
        }
    }

    /// Files of earlier producers, and half-made ones. The ring has no producer, and gets none meanwhile.
    fn life_files(&mut self, ring: &RingDir, name: &str, files: &[String]) {
        let data = ring.file(DATA, OsAccess::Read, name);
        let Ok(data) = data.and_then(|data| DataMemory::attach(name, &data, OsAccess::Read, UNTOUCHED))
        else {
            return;
        };
        let current = life_name(data.view().producer.epoch.look());
        for file in files.iter().filter(|file| is_life(file) && **file != current) {
            let bytes = ring.place.facts_at(file).map_or(0, |facts| facts.size);
            let path = format!("{name}/{file}");
            let why = "the sign of life of a producer that is gone";
            match self.apply.then(|| ring.place.remove_file(file)) {
                None => self.add(&path, Found::LifeFile, bytes, Fate::Removable, why),
                Some(Ok(())) => self.add(&path, Found::LifeFile, bytes, Fate::Removed, why),
                Some(Err(error)) => {
                    let why = format!("it could not be removed: {error}");
                    self.add(&path, Found::LifeFile, bytes, Fate::Kept, why);
                }
            }
        }
    }

    /// The slots of the dead, in a ring that stays.
    fn slots(&mut self, ring: &RingDir, name: &str) {
        let Ok((memory, _data, ctl)) = attach(name, ring, OsAccess::Read, UNTOUCHED) else { return };
        for (i, slot) in (0..).zip(memory.slots()) {
            // Whoever leaves frees the slot before the lock: so the lock is looked at first, and the slot again.
            if slot.is_free() || ctl.file().is_ok_and(|ctl| is_slot_held(ctl, i)) || slot.is_free() {
                continue;
            }
            let mut fate = Fate::Removable;
            if self.apply {
                if !matches!(try_lock_slot(&ctl, i), Ok(true)) {
                    continue;
                }
                // Under the lock the slot is nobody's, and stays so until it is unlocked.
                let is_dead = !slot.is_free();
                if is_dead {
                    // What a worker held is its group's again, before its number can be another's.
                    hand_back(memory.shared(), i, &ReaderBell::of(&memory));
                    // The producer may have waited for its cursor.
                    leave(memory.ctl(), slot, &RoomBell::of(&memory));
                }
                let _ = unlock_slot(&ctl, i);
                if !is_dead {
                    continue;
                }
                fate = Fate::Removed;
            }
            self.add(&format!("{name}/slot {i}"), Found::DeadSlot, 0, fate, "its subscriber has died");
        }
        self.groups(name, &memory, &ctl);
    }

    /// The groups whose workers have all died, but for those that are to be kept.
    fn groups(&mut self, name: &str, memory: &Memory, ctl: &LockFile) {
        let locks = GroupBytes(ctl);
        for (number, group) in memory.shared().all_groups() {
            let is_active = || group.phase() == Some(GroupPhase::Active);
            // Whoever leaves ends the group before its share of the lock goes. A dry run only asks.
            if !is_active() || !(if self.apply { locks.try_own(number) } else { locks.is_free(number) }) {
                continue;
            }
            let is_dead = is_active();
            if self.apply {
                if is_dead {
                    group.end();
                    // The producer may have waited for its floor.
                    when_empty(memory.ctl(), &RoomBell::of(memory));
                }
                locks.unlock(number);
            }
            if is_dead {
                let fate = if self.apply { Fate::Removed } else { Fate::Removable };
                let path = format!("{name}/group {}", group_name(group));
                self.add(&path, Found::DeadGroup, 0, fate, "its workers have died");
            }
        }
    }

    /// Says that it went, or that it did not.
    fn tell_removed(&mut self, name: &str, ring: &RingDir, found: Found, bytes: u64, why: &str) {
        // A ring was put under another name first: what counts is whether its directory has any.
        let is_gone = ring.place.facts().is_ok_and(|facts| facts.links == 0);
        if is_gone {
            self.add(name, found, bytes, Fate::Removed, why);
        } else {
            let why = "it could not be removed; see who may write the directory, and whether something else is in it";
            self.add(name, found, bytes, Fate::Kept, why);
        }
    }
}

const IN_THE_MAKING: &str = "a living process is making or removing it";
/// To look at words, not at records.
const UNTOUCHED: MapOptions = MapOptions {
    prefault: false,
    lock: false,
    node: None,
    huge: crate::HugePages::Never,
    fresh: false,
    shared_object: false,
};

fn holds_foreign(what: &str) -> String {
    format!("`{what}` in it is none of a ring's files; remove that by hand, then prune again")
}

/// Whether one of the ring's files is not there, or no file.
fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotARing(_))
}

/// A producer's sign of life, or one that had not got its name yet.
fn is_life(file: &str) -> bool {
    is_temporary(file)
        || file
            .strip_prefix("life.")
            .is_some_and(|epoch| !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit()))
}

fn contents(ring: &RingDir, name: &str) -> Result<Contents, Error> {
    let names =
        ring.place.names_for_people().map_err(|source| Error::look_up("list the ring", name, source))?;
    let mut contents = Contents { bytes: 0, ours: Vec::new(), foreign: None };
    for file in names {
        match ring.place.facts_at(&file) {
            Ok(facts) if facts.kind == Kind::File => {
                contents.bytes = contents.bytes.saturating_add(facts.size);
                if [DATA, CTL, OWNER].contains(&file.as_str()) || is_life(&file) {
                    contents.ours.push(file);
                } else {
                    contents.foreign = Some(file);
                }
            }
            // Gone since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !file.contains('\u{fffd}') => {}
            _ => contents.foreign = Some(file),
        }
    }
    Ok(contents)
}

/// Subscribers that hold slots of a ring.
fn living(ring: &RingDir, name: &str, identity: &Identity) -> Result<usize, Error> {
    let ctl = match ring.file(CTL, OsAccess::Read, name) {
        Ok(ctl) => ctl,
        // Nobody holds what is not there.
        Err(error) if is_missing(&error) => return Ok(0),
        Err(error) => return Err(error),
    };
    Ok((0..identity.slots).filter(|&slot| is_slot_held(&ctl, slot)).count())
}
