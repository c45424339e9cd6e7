//! A directory, and the files in it.
//!
//! A [`Place`] is an *open* directory: whatever is renamed or replaced on the path to it, it goes on meaning
//! the directory that was opened. All the rest is asked relative to it, one name at a time, and no call
//! follows a symbolic link. A name is one component: an empty one, `.`, `..`, one with `/` and one with a
//! zero byte are refused with `InvalidInput` before the kernel sees them, so no name leads out of the
//! directory.
//!
//! Modes are permission bits (`0o7777`; higher bits are ignored) and mean what they say: they are set by
//! fchmod(2), which no umask changes. Until then, a new object is its owner's alone.

mod facts;
mod mapped;
mod object;
mod watch;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use annulus_core::fault::point;
use rustix::fs::{self, AtFlags, CWD, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

pub use crate::mapping::Access;
pub use facts::{Facts, FileSystem, Kind, Space, facts_of, page_size_of};
pub use mapped::file_mapped_at;
pub use object::{
    Seal, anonymous, anonymous_empty, is_sealed, reserve, seal, seals, set_len, shared_memory_object,
};
pub use watch::Watch;

/// For opening a directory so that it can be listed: never through a symbolic link.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open directory. Needs read and search permission on it. See openat(2) and path_resolution(7).
#[derive(Debug)]
pub struct Place {
    fd: OwnedFd,
}

impl Place {
    /// Opens the directory at `path`. Its last component may not be a symbolic link (also not with a slash
    /// behind it, which open(2) would follow); those before it may be.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotADirectory` (which a symbolic link is, too), `PermissionDenied`, and what else open(2)
    /// reports.
    pub fn open(path: &Path) -> io::Result<Place> {
        // The components leave out slashes and dots at the end, behind which NOFOLLOW would not count.
        Place::open_from(CWD, path.components().as_path())
    }

    /// Opens the directory at `path`, after making it with `mode` if it is not there. The mode of one that is
    /// there already stays as it is. Parents are not made.
    ///
    /// # Errors
    ///
    /// As [`open`](Place::open), and what mkdir(2) reports.
    pub fn create(path: &Path, mode: u32) -> io::Result<Place> {
        let path = path.components().as_path();
        point("Place::create");
        match fs::mkdir(path, Mode::RWXU) {
            Ok(()) => Place::open_new(CWD, path, mode),
            Err(Errno::EXIST) => Place::open_from(CWD, path),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the directory `name` in this one; never a symbolic link.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotADirectory` (which a symbolic link is, too), `PermissionDenied`, `InvalidInput` for what is
    /// no name.
    pub fn open_at(&self, name: &str) -> io::Result<Place> {
        Place::open_from(&self.fd, Path::new(component(name)?))
    }

    /// Makes the directory `name` with exactly `mode`, and opens it.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, `PermissionDenied`, `StorageFull`, `InvalidInput` for what is no name, and what else
    /// mkdirat(2) reports.
    pub fn create_at(&self, name: &str, mode: u32) -> io::Result<Place> {
        point("Place::create_at");
        fs::mkdirat(&self.fd, component(name)?, Mode::RWXU)?;
        let made = Place::open_new(&self.fd, Path::new(name), mode);
        if made.is_err() {
            // What cannot be opened (for want of descriptors, say) is not left behind.
            let _ = self.remove_dir(name);
        }
        made
    }

    /// Opens a directory that was just made, and sets its mode.
    fn open_new(from: impl AsFd, path: &Path, mode: u32) -> io::Result<Place> {
        let place = match Place::open_from(&from, path) {
            // A umask can forbid even the owner to open what it made; it cannot forbid it to change the mode.
            // By a handle of the directory itself, because chmod(2) would follow a link of its name.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let handle = fs::openat(&from, path, flags, Mode::empty())?;
                fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), Mode::RWXU)?;
                Place::open_from(&from, path)?
            }
            other => other?,
        };
        point("Place::open_new");
        fs::fchmod(&place.fd, permissions(mode))?;
        Ok(place)
    }

    fn open_from(from: impl AsFd, path: &Path) -> io::Result<Place> {
        Ok(Place { fd: fs::openat(from, path, DIRECTORY, Mode::empty())? })
    }

    /// Whose this directory is and what may be done with it. May be stale by the time you look.
    ///
    /// # Errors
    ///
    /// What fstat(2) reports.
    pub fn facts(&self) -> io::Result<Facts> {
        Ok(Facts::from_stat(&fs::fstat(&self.fd)?))
    }

    /// The facts of what `name` stands for; of the link itself if it is a symbolic link ([`Kind::Other`]).
    /// May be stale by the time you look: another object can have the name then. Ask [`facts_of`] an open
    /// file instead.
    ///
    /// # Errors
    ///
    /// `NotFound`, `InvalidInput` for what is no name, and what else fstatat(2) reports.
    pub fn facts_at(&self, name: &str) -> io::Result<Facts> {
        Ok(Facts::from_stat(&fs::statat(&self.fd, component(name)?, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// What kind of file system this directory is on. See statfs(2).
    ///
    /// # Errors
    ///
    /// What fstatfs(2) reports.
    pub fn file_system(&self) -> io::Result<FileSystem> {
        Ok(FileSystem::from_stat(&fs::fstatfs(&self.fd)?))
    }

    /// Bytes of the pages that files here are made of; see [`page_size_of`].
    ///
    /// # Errors
    ///
    /// What fstatfs(2) reports.
    pub fn page_size(&self) -> io::Result<usize> {
        Ok(facts::page_size_from(&fs::fstatfs(&self.fd)?))
    }

    /// How big the file system is and how much of it this user may still take. A hint: others take from it,
    /// too; only [`reserve`] knows. See statvfs(3).
    ///
    /// # Errors
    ///
    /// What fstatfs(2) reports.
    pub fn space(&self) -> io::Result<Space> {
        Ok(Space::from_stat(&fs::fstatvfs(&self.fd)?))
    }

    /// Makes the file `name`, which may not be there yet, with exactly `mode`, and opens it for reading and
    /// writing. It is empty.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` (also for a symbolic link of that name, wherever it leads), `PermissionDenied`,
    /// `StorageFull`, `InvalidInput` for what is no name, and what else openat(2) reports.
    pub fn create_file(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        point("Place::create_file");
        let fd = fs::openat(&self.fd, component(name)?, flags, Mode::RUSR | Mode::WUSR)?;
        point("Place::create_file, its mode");
        fs::fchmod(&fd, permissions(mode))?;
        Ok(File::from(fd))
    }

    /// Opens the regular file `name`. Never waits, whatever was planted under the name: a FIFO without a
    /// writer would hang a plain open(2).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for anything but a regular file (a symbolic link, directory, FIFO, socket, device) and for
    /// what is no name; `NotFound`, `PermissionDenied`, and what else openat(2) reports.
    pub fn open_file(&self, name: &str, access: Access) -> io::Result<File> {
        let access = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match fs::openat(&self.fd, component(name)?, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            // In turn: a symbolic link, a directory to be written, a socket or a device without a driver.
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(not_regular()),
            Err(error) => return Err(error.into()),
        };
        match facts_of(&file)?.kind {
            Kind::File => Ok(file),
            Kind::Directory | Kind::Other => Err(not_regular()),
        }
    }

    /// Gives what is called `from` the name `to`. What was called `to` loses its name in the same step, so at
    /// every instant `to` means the one or the other. See rename(2).
    ///
    /// # Errors
    ///
    /// `NotFound`, `PermissionDenied`, `DirectoryNotEmpty`, `InvalidInput` for what is no name, and what else
    /// renameat(2) reports.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        point("Place::rename");
        Ok(fs::renameat(&self.fd, component(from)?, &self.fd, component(to)?)?)
    }

    /// Gives what is called `from` the name `to`, unless something has that name. Of several who try at once,
    /// one succeeds. See rename(2), `RENAME_NOREPLACE`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; otherwise as [`rename`](Place::rename). `InvalidInput` also from file systems that cannot
    /// do it.
    pub fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        self.rename_with(from, to, RenameFlags::NOREPLACE)
    }

    /// Swaps two names in one step; both must be there. See rename(2), `RENAME_EXCHANGE`.
    ///
    /// # Errors
    ///
    /// As [`rename`](Place::rename). `InvalidInput` also from file systems that cannot do it.
    pub fn exchange(&self, a: &str, b: &str) -> io::Result<()> {
        self.rename_with(a, b, RenameFlags::EXCHANGE)
    }

    fn rename_with(&self, from: &str, to: &str, flags: RenameFlags) -> io::Result<()> {
        point("Place::rename_with");
        Ok(fs::renameat_with(&self.fd, component(from)?, &self.fd, component(to)?, flags)?)
    }

    /// Removes the name of a file; the file goes with its last name, descriptor and mapping. See unlink(2).
    ///
    /// # Errors
    ///
    /// `NotFound`, `IsADirectory`, `PermissionDenied`, `InvalidInput` for what is no name.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        point("Place::remove_file");
        Ok(fs::unlinkat(&self.fd, component(name)?, AtFlags::empty())?)
    }

    /// Removes an empty directory. See rmdir(2).
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotADirectory`, `DirectoryNotEmpty`, `PermissionDenied`, `InvalidInput` for what is no name.
    pub fn remove_dir(&self, name: &str) -> io::Result<()> {
        point("Place::remove_dir");
        Ok(fs::unlinkat(&self.fd, component(name)?, AtFlags::REMOVEDIR)?)
    }

    /// The names in this directory, without `.` and `..`, in no order. Names that are not UTF-8 are left out:
    /// they are none of ours. Begins from the start at each call. Names that come and go meanwhile may be
    /// there or not. See readdir(3).
    ///
    /// # Errors
    ///
    /// What getdents(2) reports.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        // A description of its own, so that two threads that list at once do not share a place in the list.
        for entry in Dir::read_from(&self.fd)? {
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// All names in this directory, without `.` and `..`, in no order, also those that are not UTF-8: as text for
    /// people, with U+FFFD in it, which means nothing to any other call.
    ///
    /// # Errors
    ///
    /// What getdents(2) reports.
    pub fn names_for_people(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !matches!(name.as_str(), "." | "..") {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Begins to watch for names that appear here. What appears after this call is seen by the first
    /// [`Watch::wait`] that follows; so watch first, then look, then wait. Needs `/proc`. See inotify(7).
    ///
    /// # Errors
    ///
    /// `EMFILE` if this user has too many watches (`fs.inotify.max_user_instances`), `NotFound` without `/proc`.
    pub fn watch(&self) -> io::Result<Watch> {
        Watch::directory(&self.fd)
    }
}

/// One name inside a directory, or `InvalidInput`.
fn component(name: &str) -> io::Result<&str> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not a file name")));
    }
    Ok(name)
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}
