//! The directory of rings, and what its file system can do.

use annulus_os::{FileSystem, LockFile, lock};

use super::{Opinion, Patient, broken, bytes, fine, not_known, not_tried, warning};
use crate::error::{Error, ErrorKind};
use crate::registry::{Home, OWNER, RingDir, random};

/// A byte of `owner` whose lock means nothing.
const SPARE: u64 = 2;
/// No ring fits in less: its identity, a page of records, its slots.
const SMALLEST: u64 = 64 << 10;

impl Patient {
    pub(super) fn directory(&self) -> Opinion {
        let path = self.path.display();
        match &self.home {
            Ok(home) => match home.place.facts() {
                Ok(facts) => fine(format!("{path}, ours, mode {:04o}", facts.mode)),
                Err(error) => broken(format!("{path}: {error}"), "make another, and name it in $ANNULUS_DIR"),
            },
            Err(error) if error.is_not_found() && self.system.is_some() => {
                fine(format!("{path} is not there yet; the first producer makes it"))
            }
            Err(error) if error.is_not_found() => broken(
                format!("{path} is not there, nor is the directory above it"),
                "make that one, or name another directory in $ANNULUS_DIR",
            ),
            Err(error) => broken(
                error.to_string(),
                "run this as the user whose rings they are, or make a directory that nobody else can write \
                 (`mkdir -m 700`), and name it in $ANNULUS_DIR",
            ),
        }
    }

    pub(super) fn file_system(&self) -> Opinion {
        let advice = "name a directory on tmpfs, such as /dev/shm, in $ANNULUS_DIR";
        match self.system {
            None => not_known("there is no directory to ask"),
            Some((FileSystem::Tmpfs, _)) => fine("tmpfs"),
            Some((FileSystem::Hugetlbfs, _)) => fine("hugetlbfs, for rings on reserved huge pages"),
            Some((FileSystem::Ramfs, _)) => {
                broken("ramfs, where no room can be reserved, so producers refuse it", advice)
            }
            Some((FileSystem::Network(name), _)) => broken(
                format!("{name}, a network file system, where readers elsewhere see other bytes"),
                advice,
            ),
            Some((FileSystem::Other(_), _)) => {
                broken("a disk's, where write-back stalls a producer, so producers refuse it", advice)
            }
        }
    }

    pub(super) fn space(&self) -> Opinion {
        let Some((_, space)) = self.system else { return not_known("there is no directory to ask") };
        let taken = self.taken();
        if space.total == 0 {
            return fine(format!("no limit; what is here takes {}", bytes(taken)));
        }
        let found = format!(
            "{} free of {}; what is here takes {}, and a usual ring {}",
            bytes(space.free),
            bytes(space.total),
            bytes(taken),
            bytes(self.usual)
        );
        let advice = "make it larger (`mount -o remount,size=..`; Docker: `--shm-size`), or ask for smaller rings \
             (`.capacity(..)`), or see what `annulus prune` can remove";
        match space.free {
            free if free < SMALLEST => broken(found, advice),
            free if free < self.usual => warning(found, advice),
            _ => fine(found),
        }
    }

    /// Two openings of one file, as two processes have them.
    pub(super) fn locks(&self) -> Opinion {
        let advice =
            "name a directory on tmpfs in $ANNULUS_DIR; a sandbox must allow fcntl(2) with F_OFD_SETLK";
        self.try_out(advice, |_, ring, owner| {
            let failed = |source| Error::io("ask for a lock", "", source);
            // A byte that means nothing: what `owner` means by the others stays so.
            let other = ring.lock_file(OWNER, "")?;
            let is_seen = || other.file().and_then(|file| lock::is_write_locked(file, SPARE)).map_err(failed);
            if !lock::try_lock(owner, SPARE).map_err(failed)?
                || lock::try_lock(&other, SPARE).map_err(failed)?
            {
                return Ok(broken("two processes get the same lock at once", advice));
            }
            if !is_seen()? {
                return Ok(broken("a lock that is held cannot be seen", advice));
            }
            lock::unlock(owner, SPARE).map_err(failed)?;
            match is_seen()? {
                true => Ok(broken("a lock that was given back is held", advice)),
                false => Ok(fine("open-file-description locks work here")),
            }
        })
    }

    pub(super) fn renames(&self) -> Opinion {
        let advice = "name a directory on tmpfs in $ANNULUS_DIR; a sandbox must allow renameat2(2)";
        self.try_out(advice, |_, ring, _| {
            let failed = |source| Error::io("rename a file", "", source);
            // Names that `prune` knows, should this process be killed now.
            let [a, b] = random::<2>("")?.map(|n| format!(".{n:016x}"));
            for file in [&a, &b] {
                ring.place.create_file(file, 0o600).map_err(failed)?;
            }
            match ring.place.rename_no_replace(&a, &b) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
                Ok(()) => return Ok(broken("a rename that should not replace a file did so", advice)),
            }
            let inode = |name: &str| ring.place.facts_at(name).map(|facts| facts.ino).map_err(failed);
            let before = (inode(&a)?, inode(&b)?);
            ring.place.exchange(&a, &b).map_err(failed)?;
            match (inode(&b)?, inode(&a)?) == before {
                true => Ok(fine("names can be exchanged, and taken without replacing")),
                false => Ok(broken("an exchange of two names did not exchange them", advice)),
            }
        })
    }

    pub(super) fn watching(&self) -> Opinion {
        let Ok(home) = &self.home else { return not_tried() };
        match home.place.watch() {
            Ok(_) => fine("a directory can be watched for rings that appear"),
            Err(error) => warning(
                format!(
                    "the directory cannot be watched ({error}), so who waits for a ring looks again and again"
                ),
                "raise fs.inotify.max_user_instances (`sysctl`), and mount /proc",
            ),
        }
    }

    /// Does something in a directory of its own among the rings.
    fn try_out(
        &self,
        advice: &str,
        attempt: impl FnOnce(&Home, &RingDir, &LockFile) -> Result<Opinion, Error>,
    ) -> Opinion {
        let Ok(home) = &self.home else { return not_tried() };
        let tried = home.draft("").and_then(|(draft, ring, owner)| {
            let opinion = attempt(home, &ring, &owner);
            drop(draft);
            opinion
        });
        match tried {
            Ok(opinion) => opinion,
            Err(error) if matches!(error.kind(), ErrorKind::NoSpace { .. }) => {
                broken("there is no room to try it", "free some room first: `annulus prune` says what can go")
            }
            Err(error) => broken(format!("it fails: {error}"), advice),
        }
    }
}
