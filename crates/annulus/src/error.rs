//! What can go wrong: one [`Error`] for creating and opening, small `Copy` enums where records flow.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::handover::Reason;
use annulus_os::lock;
use annulus_os::sys::is_out_of_files;

mod flow;

pub use flow::{
    Acks, Behind, CopyError, CopyTimeoutError, RecvError, RecvTimeoutError, SelectError, SendAckedError,
    SendAckedTimeoutError, SendError, SendTimeoutError, TryCopyError, TryRecvError, TrySendError, WaitError,
};
pub(crate) use flow::{at_home, unless_empty};

/// Why a ring could not be created or opened.
///
/// Its text says what happened and what to do; [`kind`](Error::kind) is for programs.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    ring: Option<String>,
    source: Option<io::Error>,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The name is not 1 to 200 of `A-Z a-z 0-9 . _ -`, or begins with a dot.
    BadName,
    /// The capacity asked for, in bytes, is outside what a ring may have.
    BadCapacity {
        /// What was asked.
        asked: usize,
        /// The largest that a ring may have.
        max: usize,
    },
    /// Another option is out of its range; the text says which and what its range is.
    BadOption(&'static str),
    /// No ring of this name.
    NotFound,
    /// No ring of this name appeared in time.
    WaitTimedOut,
    /// A ring of this name is held by a producer, or persistent.
    AlreadyExists,
    /// The ring has a living producer, and one is all it may have.
    ProducerAlive,
    /// The ring exists with other options than were asked.
    Mismatch {
        /// The option.
        field: &'static str,
        /// What the ring has.
        theirs: String,
        /// What was asked.
        ours: String,
    },
    /// There is something of this name, but it is not a whole ring; says what is wrong with it.
    NotARing(&'static str),
    /// The ring's layout is of another version of annulus.
    LayoutVersion {
        /// What the ring has.
        theirs: u32,
        /// What this program speaks.
        ours: u32,
    },
    /// The system does not permit it.
    PermissionDenied,
    /// The directory could be changed by others.
    UnsafeDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The directory of rings cannot be made, because the one above it is missing.
    NoParent {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is on a file system where a ring would stall or tear.
    WrongFileSystem {
        /// The directory.
        path: PathBuf,
    },
    /// Every slot for subscribers is taken by a living one.
    NoFreeSlot {
        /// How many there are.
        slots: u32,
    },
    /// Every place that a worker can have, one of the first 256 for subscribers, is taken.
    TooManyWorkers {
        /// How many there are.
        max: u32,
    },
    /// The name of a group is not 1 to 64 of `A-Z a-z 0-9 . _ -`.
    BadGroupName,
    /// Every place for groups is taken by one that has workers or is durable.
    NoFreeGroup {
        /// How many there are.
        groups: u32,
    },
    /// The group exists, and was made otherwise than this worker asks for.
    GroupMismatch {
        /// What of it.
        field: &'static str,
        /// What the group has.
        theirs: String,
        /// What was asked.
        ours: String,
    },
    /// The file system has too little room.
    NoSpace {
        /// Bytes that the ring needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The ring lends no records in place.
    CopyingOnly,
    /// The record to start with is gone.
    StartGone {
        /// The oldest record that can be started with.
        oldest: u64,
    },
    /// This machine has no such NUMA node, or its kernel knows of none.
    NoSuchNode {
        /// The node.
        node: u32,
    },
    /// This process may not lock so much memory.
    MemoryLimit {
        /// Bytes that the ring takes in this process.
        needed: u64,
    },
    /// This process may not make files so long.
    FileLimit {
        /// Bytes that the longest of the ring's files needs.
        needed: u64,
    },
    /// This process, or the machine, has as many open files as it may have.
    TooManyFiles,
    /// The system has no memory, or this process no addresses, for it.
    NoMemory,
    /// Locks of open file descriptions are refused, so nobody could tell who lives.
    NoLocks,
    /// The directory has no huge pages of the kind that was asked for.
    NoHugePages {
        /// The directory.
        path: PathBuf,
        /// What is in the way.
        why: &'static str,
    },
    /// The ring belongs to a user whose processes this one does not trust to write what it reads in place.
    Untrusted {
        /// The user.
        uid: u32,
    },
    /// Users other than the ring's own may write its records, by the mode of their file: so they are not lent in place,
    /// whomever one trusts.
    OthersWrite {
        /// The mode.
        mode: u32,
    },
    /// This process is a forked child of the one that has the handle.
    Forked,
    /// A word of the ring says what no producer writes.
    Corrupt(&'static str),
    /// It was not handed over, or what was is refused.
    Handover(Reason),
    /// Another system call failed; says which step it was.
    System(&'static str),
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Error {
        Error { kind, ring: None, source: None }
    }

    pub(crate) fn of(kind: ErrorKind, ring: &str) -> Error {
        Error { kind, ring: Some(ring.to_owned()), source: None }
    }

    /// Says which ring it is about, if nothing more exact is said.
    pub(crate) fn about(mut self, ring: &str) -> Error {
        self.ring.get_or_insert_with(|| ring.to_owned());
        self
    }

    /// Maps a failed look-up of a name: what is not found is a ring.
    pub(crate) fn look_up(step: &'static str, ring: &str, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::NotFound => Error::of(ErrorKind::NotFound, ring),
            _ => Error::io(step, ring, source),
        }
    }

    /// The same with the system's own words.
    pub(crate) fn caused(kind: ErrorKind, ring: &str, source: io::Error) -> Error {
        Error { kind, ring: Some(ring.to_owned()), source: Some(source) }
    }

    /// The same error as one of another kind.
    pub(crate) fn instead(self, kind: ErrorKind) -> Error {
        Error { kind, ..self }
    }

    /// Maps a failed system call of a step.
    pub(crate) fn io(step: &'static str, ring: &str, source: io::Error) -> Error {
        let kind = match source.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ErrorKind::NoSpace { needed: 0, free: 0 }
            }
            io::ErrorKind::OutOfMemory => ErrorKind::NoMemory,
            _ if is_out_of_files(&source) => ErrorKind::TooManyFiles,
            _ => ErrorKind::System(step),
        };
        Error { kind, ring: Some(ring.to_owned()), source: Some(source) }
    }

    /// Maps a failed system call of a step that is not about one ring.
    pub(crate) fn step(step: &'static str, source: io::Error) -> Error {
        Error { ring: None, ..Error::io(step, "", source) }
    }

    /// Maps a failed lock. One that another holds is no failure, so this is a kernel or a sandbox that has no such locks, or
    /// no more of them.
    pub(crate) fn lock(step: &'static str, ring: &str, source: io::Error) -> Error {
        match lock::is_refused(&source) {
            true => Error { kind: ErrorKind::NoLocks, ring: Some(ring.to_owned()), source: Some(source) },
            false => Error::io(step, ring, source),
        }
    }

    /// What kind of error this is.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Whether there is no ring of the name, now or in time.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, ErrorKind::NotFound | ErrorKind::WaitTimedOut)
    }

    /// Whether the ring has a living producer already.
    pub fn is_producer_alive(&self) -> bool {
        matches!(self.kind, ErrorKind::ProducerAlive)
    }

    /// Whether the ring exists already and may not be replaced.
    pub fn is_already_exists(&self) -> bool {
        matches!(self.kind, ErrorKind::AlreadyExists)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ring) = &self.ring {
            write!(f, "ring `{ring}`: ")?;
        }
        match &self.kind {
            ErrorKind::BadName => f.write_str(
                "a ring's name is 1 to 200 characters of A-Z a-z 0-9 . _ - and does not begin with a dot; \
                 choose another name",
            ),
            ErrorKind::BadCapacity { asked, max } => {
                write!(f, "a capacity of {asked} bytes is not possible; ask for 1 to {max}")
            }
            ErrorKind::BadOption(what) => f.write_str(what),
            ErrorKind::NotFound => f.write_str(
                "there is no ring of this name; start its producer first, or wait for it with \
                 `.wait(timeout)`",
            ),
            ErrorKind::WaitTimedOut => {
                f.write_str("no ring of this name appeared in time; start its producer, or wait longer")
            }
            ErrorKind::AlreadyExists => f.write_str(
                "it exists and is held by a producer or persistent; use `open_or_create`, or another name",
            ),
            ErrorKind::ProducerAlive => f.write_str(
                "it has a living producer, and a ring has only one; stop that one, or send through a ring \
                 of your own",
            ),
            ErrorKind::Mismatch { field, theirs, ours } => write!(
                f,
                "its {field} is {theirs}, but {ours} was asked; ask for {theirs}, or end the old ring first"
            ),
            ErrorKind::NotARing(what) => {
                write!(f, "what is there is not a whole ring: {what}; remove it, or choose another name")
            }
            ErrorKind::LayoutVersion { theirs, ours } => write!(
                f,
                "its layout has version {theirs}, this program speaks {ours}; build both sides with the same \
                 annulus"
            ),
            ErrorKind::PermissionDenied => f.write_str(
                "the system does not permit it; ask the ring's owner for other modes (`.permissions(..)`)",
            ),
            ErrorKind::UnsafeDirectory { path, why } => write!(
                f,
                "{}: {why}; use a directory of your own that others cannot write (chmod go-w)",
                path.display()
            ),
            ErrorKind::NoParent { path } => write!(
                f,
                "{}: the directory above it is missing; make that, or name another (`.dir(..)`)",
                path.display()
            ),
            ErrorKind::WrongFileSystem { path } => write!(
                f,
                "{}: not on tmpfs, and writing back to a disk would stall the ring; use /dev/shm, or \
                 `.allow_disk()`",
                path.display()
            ),
            ErrorKind::NoFreeSlot { slots } => write!(
                f,
                "all its {slots} places for subscribers are taken; end one, or create the ring with more \
                 (`.max_subscribers(..)`)"
            ),
            ErrorKind::TooManyWorkers { max } => write!(
                f,
                "all {max} places that workers can have are taken, by workers or subscribers; end one, or share the \
                 work of one among threads"
            ),
            ErrorKind::BadGroupName => f.write_str(
                "a group's name is 1 to 64 characters of A-Z a-z 0-9 . _ -; choose another name",
            ),
            ErrorKind::NoFreeGroup { groups: 0 } => f.write_str(
                "it has no places for groups of workers; create the ring with some (`.max_groups(..)`)",
            ),
            ErrorKind::NoFreeGroup { groups } => write!(
                f,
                "all its {groups} places for groups of workers are taken; end one, or create the ring with more \
                 (`.max_groups(..)`)"
            ),
            ErrorKind::GroupMismatch { field, theirs, ours } => write!(
                f,
                "the group's {field} is {theirs}, but {ours} was asked; ask for {theirs}, or end its workers first"
            ),
            ErrorKind::NoSpace { needed: 0, .. } => {
                f.write_str("the file system is full; free some, or ask for a smaller capacity")
            }
            ErrorKind::NoSpace { needed, free } => write!(
                f,
                "it needs {needed} bytes, and {free} are free; free some, or ask for a smaller capacity"
            ),
            ErrorKind::Untrusted { uid } => write!(
                f,
                "it belongs to uid {uid}; read copies with `subscribe_copying` or `observe`, or name that user with \
                 `.trust_uid({uid})` if its processes may write what you read in place"
            ),
            ErrorKind::OthersWrite { mode } => write!(
                f,
                "the mode of its records, 0{mode:o}, lets others write them; read copies with `subscribe_copying` or \
                 `observe`, or have that taken away (`.permissions(..)` when it is made, or chmod)"
            ),
            ErrorKind::CopyingOnly => {
                f.write_str("it lends no records in place; read copies with `subscribe_copying` or `observe`")
            }
            ErrorKind::StartGone { oldest } => write!(
                f,
                "the record to start with is gone, and {oldest} is the oldest; start there, or with \
                 `Start::Oldest`"
            ),
            ErrorKind::NoSuchNode { node } => {
                write!(f, "this machine has no NUMA node {node}; `numactl --hardware` lists those it has")
            }
            ErrorKind::MemoryLimit { needed } => write!(
                f,
                "this process may not lock its {needed} bytes in memory; raise RLIMIT_MEMLOCK (`ulimit -l`), or \
                 do without `.lock_memory()`"
            ),
            ErrorKind::FileLimit { needed } => write!(
                f,
                "it needs files of {needed} bytes, longer than this process may make; raise RLIMIT_FSIZE \
                 (`ulimit -f`), or ask for a smaller capacity"
            ),
            ErrorKind::TooManyFiles => {
                f.write_str("too many files are open; raise RLIMIT_NOFILE (`ulimit -n`), or close some")
            }
            ErrorKind::NoMemory => f.write_str(
                "there is no room for it in memory; raise RLIMIT_AS (`ulimit -v`), free some, or ask for a smaller \
                 capacity",
            ),
            ErrorKind::NoLocks => f.write_str(
                "locks of open file descriptions are refused, and without them nobody can tell who lives; allow \
                 fcntl(2) F_OFD_SETLK and F_OFD_GETLK in the sandbox",
            ),
            ErrorKind::NoHugePages { path, why } => write!(
                f,
                "{}: no huge pages, because {why}; see `HugePages` for what each kind needs",
                path.display()
            ),
            ErrorKind::Forked => f.write_str(
                "this process is a forked child of the one that has the handle; open the ring here, after the fork",
            ),
            ErrorKind::Corrupt(what) => {
                write!(f, "its {what} says what no producer writes; end its processes and create it again")
            }
            ErrorKind::Handover(reason) => reason.fmt(f),
            ErrorKind::System(step) => write!(f, "could not {step}; see what the system says, and try again"),
        }?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
