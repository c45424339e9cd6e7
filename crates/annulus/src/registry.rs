//! Names: where rings live, how one comes into being whole, how a leftover is replaced, how one goes.
//!
//! A ring is a directory made under a temporary name, filled, and renamed into place, so that nobody ever
//! attaches to half of one and a creator that is killed leaves only a directory whose name begins with a dot.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annulus_core::layout::lock_byte;
use annulus_os::sys::TransparentHugePages;
use annulus_os::{Facts, FileSystem, LockFile, Place, lock, sys};

use crate::HugePages;
use crate::error::{Error, ErrorKind};

/// Names of the files of a ring.
pub(crate) const DATA: &str = "data";
pub(crate) const CTL: &str = "ctl";
pub(crate) const OWNER: &str = "owner";
/// The byte that is locked in `owner` and `life.<epoch>`.
pub(crate) const LOCK: u64 = 0;
/// The byte of `owner` that is locked before [`LOCK`], and given back after it, by whoever has that for a while only. A
/// producer gives it back once it is there to stay.
const BRIEF: u64 = 1;
/// How often a lock that somebody has for a while is asked for again, a millisecond apart.
const BRIEF_TRIES: u32 = 1000;
/// How often it is asked whether the dead have let go of all they held, a millisecond apart.
const LIFE_TRIES: u32 = 200;
/// Times a draft may be taken away in the moment before it is held; see [`Home::draft`].
const DRAFT_TRIES: u32 = 100;
/// A ring's directory: who may list it is decided by the directory above, who may open by the files' modes.
const RING_MODE: u32 = 0o755;
/// The file that keeps producers apart is their user's alone.
const OWNER_MODE: u32 = 0o600;
/// The default directory is its user's alone.
const HOME_MODE: u32 = 0o700;
const NAME_MAX: usize = 200;
/// What is wrong with a ring of which somebody has deleted a file.
pub(crate) const MISSING: &str = "one of its files is missing";

/// Why a directory is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To make or take over rings in it, on such pages.
    Produce(HugePages),
    /// To go on with a ring that is there, or to remove it.
    Own,
    /// To look after what is left there; never to make it.
    Tend,
    /// To read rings in it in place, also those of another user that is trusted.
    Read,
    /// To copy out of rings in it, whoever writes them.
    Copy,
}

/// What the caller said about directories and users.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) allow_disk: bool,
    pub(crate) trusted: Vec<u32>,
}

impl Access {
    /// Whether what a user writes may be read in place: ourselves, root, and who was named.
    pub(crate) fn trusts(&self, uid: u32) -> bool {
        uid == sys::uid() || uid == 0 || self.trusted.contains(&uid)
    }
}

/// What a ring's name means now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// This ring.
    Ours,
    /// Another one.
    Another,
    /// Nothing, or it cannot be said.
    Nothing,
}

/// The directory in which rings live.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) place: Place,
    /// Where it was: another can stand there by now.
    path: PathBuf,
}

/// The directory that is used when none is named: `$ANNULUS_DIR`, or `/dev/shm/annulus-<uid>`.
pub(crate) fn default_dir() -> PathBuf {
    match std::env::var_os("ANNULUS_DIR") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => format!("/dev/shm/annulus-{}", sys::uid()).into(),
    }
}

/// Whether `$ANNULUS_DIR` names a directory.
fn is_dir_named() -> bool {
    std::env::var_os("ANNULUS_DIR").is_some_and(|dir| !dir.is_empty())
}

/// Whether a name of a ring or of a group may have it.
pub(crate) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// Checks a ring's name.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let ok = (1..=NAME_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_plain);
    if ok { Ok(()) } else { Err(Error::of(ErrorKind::BadName, &name.escape_debug().to_string())) }
}

impl Home {
    /// Opens the directory and refuses one that others could change. A producer makes it if it is missing; a
    /// reader does so only for the default one, which nobody else may make in its place.
    pub(crate) fn open(access: &Access, purpose: Purpose) -> Result<Home, Error> {
        let path = access.dir.clone().unwrap_or_else(default_dir);
        let shown = path.display().to_string();
        let producing = matches!(purpose, Purpose::Produce(_));
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotADirectory => unsafe_dir(&path, "not a directory, or a symbolic link"),
            std::io::ErrorKind::NotFound if producing => {
                Error::new(ErrorKind::NoParent { path: path.clone() })
            }
            std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound),
            _ => Error::io("open the directory of rings", &shown, source),
        };
        // A reader makes only the default directory: another's would be in the way of its real owner.
        let may_make = producing || (purpose != Purpose::Tend && access.dir.is_none() && !is_dir_named());
        let (place, made) = match Place::open(&path) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound && may_make => {
                (Place::create(&path, HOME_MODE).map_err(failed)?, true)
            }
            other => (other.map_err(failed)?, false),
        };
        if let Err(error) = check_file_system(&place, &path, access, purpose) {
            if made {
                // Not left behind. One that has become somebody's meanwhile is not empty, and stays.
                let _ = std::fs::remove_dir(&path);
            }
            return Err(error);
        }
        let facts = place.facts().map_err(|source| Error::io("look at the directory", &shown, source))?;
        match purpose {
            Purpose::Produce(_) | Purpose::Own | Purpose::Tend if facts.uid != sys::uid() => {
                return Err(unsafe_dir(&path, "it belongs to another user"));
            }
            Purpose::Read if !access.trusts(facts.uid) => {
                return Err(Error::new(ErrorKind::Untrusted { uid: facts.uid }));
            }
            // Whoever copies trusts nobody.
            Purpose::Produce(_) | Purpose::Own | Purpose::Tend | Purpose::Read | Purpose::Copy => {}
        }
        if facts.mode & 0o022 != 0 {
            return Err(unsafe_dir(&path, "others may write it"));
        }
        Ok(Home { place, path })
    }

    /// Bytes of a page of the files here.
    pub(crate) fn page_size(&self) -> Result<usize, Error> {
        self.place.page_size().map_err(|source| Error::io("look at the file system", "", source))
    }

    /// Opens the directory of a ring.
    pub(crate) fn ring(&self, name: &str) -> Result<RingDir, Error> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotADirectory => {
                Error::of(ErrorKind::NotARing("it is not a directory"), name)
            }
            _ => Error::look_up("open the ring", name, source),
        };
        let place = self.place.open_at(name).map_err(failed)?;
        let facts = place.facts().map_err(failed)?;
        Ok(RingDir { place, facts })
    }

    /// What a name means now, to one who has opened the directory of a ring.
    pub(crate) fn meaning(&self, name: &str, ring: &RingDir) -> Name {
        match self.place.facts_at(name) {
            Ok(now) if now.ino == ring.facts.ino && now.dev == ring.facts.dev => Name::Ours,
            Ok(_) => Name::Another,
            Err(_) => self.meaning_anew(name, ring),
        }
    }

    /// The same where this directory has no such name: if it was deleted and made anew, rings are in the new one.
    fn meaning_anew(&self, name: &str, ring: &RingDir) -> Name {
        match Place::open(&self.path).and_then(|place| place.facts_at(name)) {
            Ok(now) if now.ino == ring.facts.ino && now.dev == ring.facts.dev => Name::Ours,
            Ok(_) => Name::Another,
            Err(_) => Name::Nothing,
        }
    }

    /// Whether a name still means the directory that was opened.
    pub(crate) fn still_means(&self, name: &str, ring: &RingDir) -> bool {
        self.meaning(name, ring) == Name::Ours
    }

    /// A new directory under a temporary name, and its `owner` file, locked. Removed again unless it is
    /// [kept](Draft::keep).
    ///
    /// `owner` is the first file in it, so what `prune` may take can be told from what is being made: a directory whose
    /// `owner` is locked is somebody's; an empty one may be on its way to that, and `prune` only removes it *as an empty
    /// directory*, which fails once there is a file; whoever has locked an `owner` before its maker did takes it away. The
    /// maker then finds its directory or its file gone, or the lock taken, and begins again.
    pub(crate) fn draft(&self, name: &str) -> Result<(Draft<'_>, RingDir, LockFile), Error> {
        for _ in 0..DRAFT_TRIES {
            if let Some(made) = self.try_draft(name)? {
                return Ok(made);
            }
        }
        Err(Error::of(ErrorKind::System("make the ring's directory"), name))
    }

    /// `None`: `prune` was faster.
    fn try_draft(&self, name: &str) -> Result<Option<(Draft<'_>, RingDir, LockFile)>, Error> {
        let temporary = temporary_name(name)?;
        let failed = |source| Error::io("make the ring's directory", name, source);
        let is_gone = |source: &std::io::Error| source.kind() == std::io::ErrorKind::NotFound;
        let place = match self.place.create_at(&temporary, RING_MODE) {
            Err(source) if is_gone(&source) => return Ok(None),
            place => place.map_err(failed)?,
        };
        let draft = Draft { home: self, temporary, kept: false };
        let facts = place.facts().map_err(failed)?;
        let owner = match LockFile::open(|| place.create_file(OWNER, OWNER_MODE)) {
            Err(source) if is_gone(&source) => return Ok(None),
            owner => owner.map_err(failed)?,
        };
        let locked =
            lock::try_lock(&owner, LOCK).map_err(|source| Error::lock("lock the ring", name, source))?;
        // Unlinked only by who holds its lock: once we do and it has its name, it keeps it.
        let links = owner.file().and_then(annulus_os::place::facts_of).map_err(failed)?.links;
        Ok((locked && links > 0).then_some((draft, RingDir { place, facts }, owner)))
    }

    /// Takes a ring's directory out of sight and removes it, if the name still means it. The caller holds
    /// the ring's `owner` lock, so nobody replaces it meanwhile.
    pub(crate) fn retire(&self, name: &str, ring: &RingDir) {
        if !self.still_means(name, ring) {
            return;
        }
        let Ok(temporary) = temporary_name(name) else { return };
        if self.place.rename_no_replace(name, &temporary).is_err() {
            return;
        }
        if self.still_means(&temporary, ring) {
            self.remove(&temporary, &ring.place);
        } else {
            // Somebody has deleted our `owner` file, so another could take the name in between: it gets it back.
            let _ = self.place.rename_no_replace(&temporary, name);
        }
    }

    /// Removes an open directory of ours under a temporary name, with what is in it. What cannot be removed
    /// stays for `prune`: there is nobody to tell.
    pub(crate) fn remove(&self, temporary: &str, place: &Place) {
        // The large ones first, and by name: listing needs a descriptor, which a process may lack.
        for file in [DATA, CTL, OWNER] {
            let _ = place.remove_file(file);
        }
        for file in place.names().unwrap_or_default() {
            let _ = place.remove_file(&file);
        }
        let _ = self.place.remove_dir(temporary);
    }

    /// The names of rings here, sorted. They may be gone by the time you look.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let mut names =
            self.place.names().map_err(|source| Error::io("list the directory of rings", "", source))?;
        names.retain(|name| check_name(name).is_ok());
        names.sort();
        Ok(names)
    }
}

/// Refuses a directory whose files the kernel writes back to a disk or to another machine, and one that has not
/// the pages that were asked for.
fn check_file_system(place: &Place, path: &Path, access: &Access, purpose: Purpose) -> Result<(), Error> {
    let shown = path.display().to_string();
    let system =
        place.file_system().map_err(|source| Error::io("look at the file system", &shown, source))?;
    let path = path.to_owned();
    match (system, purpose) {
        (FileSystem::Tmpfs, Purpose::Produce(HugePages::Reserved)) => {
            Err(Error::new(ErrorKind::NoHugePages { path, why: "it is not on hugetlbfs" }))
        }
        (FileSystem::Tmpfs, Purpose::Produce(HugePages::Transparent))
            if sys::transparent_huge_pages() == TransparentHugePages::Never =>
        {
            Err(Error::new(ErrorKind::NoHugePages {
                path,
                why: "/sys/kernel/mm/transparent_hugepage/shmem_enabled does not allow them",
            }))
        }
        (FileSystem::Tmpfs, _) => Ok(()),
        // Who opens what is there need not say what it is made of.
        (FileSystem::Hugetlbfs, Purpose::Produce(HugePages::Reserved)) => Ok(()),
        (FileSystem::Hugetlbfs, Purpose::Own | Purpose::Tend | Purpose::Read | Purpose::Copy) => Ok(()),
        (FileSystem::Other(_) | FileSystem::Ramfs, _) if access.allow_disk => Ok(()),
        _ => Err(Error::new(ErrorKind::WrongFileSystem { path })),
    }
}

/// Whether it is a name that things have until they are whole, and while they are removed.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.strip_prefix('.')
        .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// A name that no ring can have.
fn temporary_name(name: &str) -> Result<String, Error> {
    let [a]: [u64; 1] = random(name)?;
    Ok(format!(".{a:016x}"))
}

/// Random words, for names and uuids.
pub(crate) fn random<const N: usize>(name: &str) -> Result<[u64; N], Error> {
    let mut words = [0; N];
    for word in &mut words {
        *word = u64::from_le_bytes(
            sys::random_bytes().map_err(|source| Error::io("get random bytes", name, source))?,
        );
    }
    Ok(words)
}

fn unsafe_dir(path: &Path, why: &'static str) -> Error {
    Error::new(ErrorKind::UnsafeDirectory { path: path.to_owned(), why })
}

/// An open directory of a ring, and what it was when it was opened.
#[derive(Debug)]
pub(crate) struct RingDir {
    pub(crate) place: Place,
    pub(crate) facts: Facts,
}

impl RingDir {
    /// Opens one of the ring's files.
    pub(crate) fn file(
        &self,
        file: &'static str,
        access: annulus_os::Access,
        name: &str,
    ) -> Result<File, Error> {
        self.place.open_file(file, access).map_err(|source| not_opened(name, source))
    }

    /// Whether its records still have their name. May be stale by the time you look.
    pub(crate) fn has_records(&self) -> bool {
        self.place.facts_at(DATA).is_ok()
    }

    /// Makes the file whose lock keeps producers apart, if somebody has deleted it; locked before it has its name. A
    /// producer may still hold the one that was there. `None`: another has made it, or taken the whole ring away.
    pub(crate) fn mend_owner(&self, name: &str) -> Result<Option<Own>, Error> {
        let failed = |source| Error::io("look who holds the ring", name, source);
        let is_late = |source: &std::io::Error| {
            matches!(source.kind(), std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotFound)
        };
        let temporary = temporary_name(name)?;
        let file = match LockFile::open(|| self.place.create_file(&temporary, OWNER_MODE)) {
            Err(source) if is_late(&source) => return Ok(None),
            file => file.map_err(failed)?,
        };
        let own = Own { file: Some(file) };
        let put = own.lock(BRIEF).and_then(|_| own.lock(LOCK)).and_then(|_| {
            // Nobody else knows the file, so both were free.
            self.place.rename_no_replace(&temporary, OWNER)
        });
        match put {
            Ok(()) => Ok(Some(own)),
            Err(source) => {
                let _ = self.place.remove_file(&temporary);
                if is_late(&source) { Ok(None) } else { Err(failed(source)) }
            }
        }
    }

    /// Opens one of the ring's files for reading, writing and locks.
    pub(crate) fn lock_file(&self, file: &'static str, name: &str) -> Result<LockFile, Error> {
        let open = || self.place.open_file(file, annulus_os::Access::ReadWrite);
        LockFile::open(open).map_err(|source| not_opened(name, source))
    }

    /// Takes the lock that keeps producers apart, for a while: see [`Own`]. Waits for others who have it for a while, and for
    /// nobody else. `None`: a producer has it.
    pub(crate) fn try_own(&self, name: &str) -> Result<Option<Own>, Error> {
        for _ in 0..BRIEF_TRIES {
            match self.try_hold(name)? {
                Hold::Mine(own) => return Ok(Some(own)),
                Hold::Producers => return Ok(None),
                Hold::Brief => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(None)
    }

    /// The same without waiting. `None`: somebody has it.
    pub(crate) fn try_prune(&self, name: &str) -> Result<Option<Own>, Error> {
        match self.try_hold(name)? {
            Hold::Mine(own) => Ok(Some(own)),
            Hold::Producers | Hold::Brief => Ok(None),
        }
    }

    fn try_hold(&self, name: &str) -> Result<Hold, Error> {
        let failed = |source| Error::lock("lock the ring", name, source);
        let own = Own { file: Some(self.lock_file(OWNER, name)?) };
        if !own.lock(BRIEF).map_err(failed)? {
            return Ok(Hold::Brief);
        }
        // Whoever has this one without the other has it to stay.
        Ok(if own.lock(LOCK).map_err(failed)? { Hold::Mine(own) } else { Hold::Producers })
    }

    /// Says to readers that come now that the ring is about to go. `None`: somebody else says so. Nothing is said, and nobody
    /// comes, where there is no `ctl`.
    pub(crate) fn leave(&self, name: &str) -> Result<Option<Option<LockFile>>, Error> {
        let ctl = match self.lock_file(CTL, name) {
            Ok(ctl) => ctl,
            Err(error) if *error.kind() == ErrorKind::NotARing(MISSING) => return Ok(Some(None)),
            Err(error) => return Err(error),
        };
        let locked = lock::try_lock(&ctl, lock_byte::LEAVING)
            .map_err(|source| Error::lock("lock the ring", name, source))?;
        Ok(locked.then_some(Some(ctl)))
    }

    /// Whether somebody has the lock that keeps producers apart. Takes nothing.
    pub(crate) fn is_owned(&self, name: &str) -> Result<bool, Error> {
        let owner = self.file(OWNER, annulus_os::Access::Read, name)?;
        lock::is_write_locked(&owner, LOCK)
            .map_err(|source| Error::io("look at the ring's lock", name, source))
    }

    /// Whether a producer lives here although nobody has the `owner` lock: somebody has deleted that file. Of a producer
    /// that dies the kernel closes the descriptors one by one, so it is asked for a while.
    pub(crate) fn is_lived_in(&self) -> bool {
        for _ in 0..LIFE_TRIES {
            let names = self.place.names().unwrap_or_default();
            let is_held = names.iter().filter(|file| file.starts_with("life.")).any(|file| {
                let life = self.place.open_file(file, annulus_os::Access::Read);
                life.is_ok_and(|life| lock::is_write_locked(&life, LOCK).unwrap_or(false))
            });
            if !is_held {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Makes the file by which readers see that the producer of an epoch lives: locked before it has its
    /// name. The mode is that of `data`, but nobody else may write it: a stranger's write lock would look like life.
    pub(crate) fn begin_life(&self, epoch: u64, mode: u32, name: &str) -> Result<LockFile, Error> {
        let failed = |source| Error::io("make the producer's life file", name, source);
        let temporary = temporary_name(name)?;
        let life = LockFile::open(|| self.place.create_file(&temporary, mode & !0o022)).map_err(failed)?;
        let named = lock::try_lock(&life, LOCK).and_then(|locked| {
            // Nobody else knows the file, so the lock is free.
            debug_assert!(locked);
            self.place.rename(&temporary, &life_name(epoch))
        });
        if let Err(source) = named {
            let _ = self.place.remove_file(&temporary);
            return Err(failed(source));
        }
        Ok(life)
    }

    /// Removes what earlier producers left: their life files, and half-made ones.
    pub(crate) fn end_earlier_lives(&self, epoch: u64) {
        let current = life_name(epoch);
        for file in self.place.names().unwrap_or_default() {
            if file != current && (file.starts_with("life.") || file.starts_with('.')) {
                let _ = self.place.remove_file(&file);
            }
        }
    }
}

fn not_opened(name: &str, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::InvalidInput => {
            Error::of(ErrorKind::NotARing("one of its files is not a regular file"), name)
        }
        std::io::ErrorKind::NotFound => Error::of(ErrorKind::NotARing(MISSING), name),
        _ => Error::io("open the ring", name, source),
    }
}

/// The lock that keeps producers apart, held for a while, and the byte behind it, which says so. A creator that looks, a
/// `prune`, a takeover that may yet fail: whoever is refused meanwhile waits instead of believing in a producer.
#[derive(Debug)]
pub(crate) struct Own {
    /// `None` only once it is settled.
    file: Option<LockFile>,
}

enum Hold {
    Mine(Own),
    /// A producer has it.
    Producers,
    /// Somebody has it for a while.
    Brief,
}

impl Own {
    fn lock(&self, byte: u64) -> std::io::Result<bool> {
        self.file.as_ref().map_or(Ok(false), |file| lock::try_lock(file, byte))
    }

    /// Keeps the lock to stay: a producer's.
    pub(crate) fn settle(mut self) -> Option<LockFile> {
        let file = self.file.take()?;
        // Unlocking what is held does not fail; were it to, others would wait for nothing, once.
        let _ = lock::unlock(&file, BRIEF);
        Some(file)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Not left to the descriptor, of which a child between fork and exec has a copy. In this order: see `BRIEF`.
        if let Some(file) = &self.file {
            let _ = lock::unlock(file, LOCK);
            let _ = lock::unlock(file, BRIEF);
        }
    }
}

/// Name of a producer's life file.
pub(crate) fn life_name(epoch: u64) -> String {
    format!("life.{epoch}")
}

/// A ring in the making.
pub(crate) struct Draft<'a> {
    home: &'a Home,
    temporary: String,
    kept: bool,
}

impl Draft<'_> {
    /// Gives it its name, unless something has that name already (`false`).
    pub(crate) fn keep(&mut self, name: &str) -> Result<bool, Error> {
        match self.home.place.rename_no_replace(&self.temporary, name) {
            Ok(()) => {
                self.kept = true;
                Ok(true)
            }
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(Error::io("put the ring in place", name, source)),
        }
    }

    /// Puts it in the place of what has the name now, which becomes the draft and is removed with it. `false`: nothing has
    /// it any more.
    pub(crate) fn replace(&mut self, name: &str) -> Result<bool, Error> {
        match self.home.place.exchange(&self.temporary, name) {
            Ok(()) => Ok(true),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::io("put the ring in place", name, source)),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // An empty one needs no descriptor, of which there may be none.
        if !self.kept
            && self.home.place.remove_dir(&self.temporary).is_err()
            && let Ok(place) = self.home.place.open_at(&self.temporary)
        {
            self.home.remove(&self.temporary, &place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names() {
        let long = "x".repeat(200);
        for good in ["a", "quotes", "A.b-c_9", "0", long.as_str()] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let longer = "x".repeat(201);
        for bad in ["", ".", "..", ".a", "a/b", "a b", "a\0", "é", "a\n", longer.as_str()] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
