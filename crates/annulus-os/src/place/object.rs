//! Memory in files: reserving it, making it without a name, sealing it.

use std::fs::File;
use std::io;
use std::path::Path;

use annulus_core::fault::point;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, memfd_create,
};
use rustix::io::Errno;

use super::{Place, facts_of};
use crate::mapping::Access;
use crate::sys::longest_file;

/// The least that is reserved at a time once signals have come in between: a fraction of a millisecond's
/// work.
const SMALL_STEP: u64 = 1 << 20;

/// Makes `file` `len` bytes long; what is new of it is a hole.
///
/// # Errors
///
/// `FileTooLarge` beyond `RLIMIT_FSIZE`, and what else ftruncate(2) reports.
pub fn set_len(file: &File, len: u64) -> io::Result<()> {
    may_be_long(file, len)?;
    file.set_len(len)
}

/// Refuses what the kernel would answer with SIGXFSZ, which kills. It asks only of one that makes a file longer.
fn may_be_long(file: &File, len: u64) -> io::Result<()> {
    if len > longest_file() && len > facts_of(file)?.size {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than RLIMIT_FSIZE allows"));
    }
    Ok(())
}

/// Gives `file` at least `len` bytes (1 to `i64::MAX`), all of them backed by memory or disk now: a full file
/// system is an error here and never a SIGBUS at some later access. New bytes are zero; old ones stay. Never
/// makes a file shorter.
///
/// Begun again when a signal comes; in ever smaller steps, because a step that is interrupted is undone, and
/// a program with a profiling timer would never get to the end of a large one (tmpfs before Linux 6.11, and
/// hugetlbfs; later ones of tmpfs go on until a signal that kills).
///
/// # Errors
///
/// `InvalidInput` for a length out of range; `StorageFull`, on hugetlbfs also if there are too few free huge
/// pages; `FileTooLarge` beyond `RLIMIT_FSIZE`; `Unsupported` where the file system has no fallocate(2), as ramfs. After an error a part may have been reserved.
pub fn reserve(file: &File, len: u64) -> io::Result<()> {
    if len == 0 || i64::try_from(len).is_err() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "length to reserve is 0 or beyond the largest file",
        ));
    }
    may_be_long(file, len)?;
    let (mut done, mut step) = (0, len);
    while done < len {
        let part = step.min(len - done);
        point("reserve");
        match fallocate(file, FallocateFlags::empty(), done, part) {
            Ok(()) => done += part,
            Err(Errno::INTR) => step = (step / 2).max(SMALL_STEP),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A new file without a name, in memory, `len` bytes long and [reserved](reserve); it can be sealed, and is
/// closed on exec. `name` is for people who look into `/proc`: at most 249 bytes, none of them zero.
///
/// Whoever is given a descriptor of it, even one for reading only, can open it again for writing through
/// `/proc`. Only a [`seal`] prevents that. See memfd_create(2).
///
/// # Errors
///
/// `InvalidInput` for a name or length out of range, and as [`reserve`].
pub fn anonymous(name: &str, len: u64) -> io::Result<File> {
    let file = anonymous_empty(name)?;
    reserve(&file, len)?;
    Ok(file)
}

/// The same, empty and without memory yet: for those who say first where its pages shall come from.
///
/// # Errors
///
/// `InvalidInput` for a name out of range, and what else memfd_create(2) reports.
pub fn anonymous_empty(name: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // A memfd that can never be executed is refused nowhere; one that does not say so may be, and is logged
    // (`vm.memfd_noexec`). Kernels before 6.3 do not know the flag.
    let fd = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        other => other?,
    };
    Ok(File::from(fd))
}

/// Opens the POSIX shared memory object that shm_open(3) opens under `os_id`: one name, with or without a
/// slash before it. It must be there already. Never a symbolic link, and never waits, whatever somebody
/// planted under the name, for anybody may. See shm_overview(7).
///
/// # Errors
///
/// `InvalidInput` for an id that is no such name (as one with a second slash), and for what is no regular file;
/// `NotFound`, also without a `/dev/shm`; `PermissionDenied`; and what else openat(2) reports.
pub fn shared_memory_object(os_id: &str, access: Access) -> io::Result<File> {
    let name = os_id.strip_prefix('/').unwrap_or(os_id);
    Place::open(Path::new("/dev/shm"))?.open_file(name, access)
}

/// What a memfd gives up for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Its length stays as it is, and no seal can be added any more: `F_SEAL_SHRINK | F_SEAL_GROW |
    /// F_SEAL_SEAL`. Whoever maps it need not fear SIGBUS.
    Size,
    /// The same, and nobody can write to it or map it for writing from now on. Mappings for writing that are
    /// there already stay so: map first, then seal. `F_SEAL_FUTURE_WRITE` besides.
    SizeAndFutureWrite,
}

impl Seal {
    fn flags(self) -> SealFlags {
        let size = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        match self {
            Seal::Size => size,
            Seal::SizeAndFutureWrite => size | SealFlags::FUTURE_WRITE,
        }
    }
}

/// Seals an [`anonymous`] file, in one step. Once only: either seal forbids any other. See fcntl(2),
/// `F_ADD_SEALS`.
///
/// # Errors
///
/// `PermissionDenied` if it was sealed before, `InvalidInput` for a file that is no memfd.
pub fn seal(file: &File, seal: Seal) -> io::Result<()> {
    Ok(fcntl_add_seals(file, seal.flags())?)
}

/// The seals of a memfd as `F_GET_SEALS` of fcntl(2) gives them. Seals are never taken away, so what is there
/// stays there; more may be added unless `F_SEAL_SEAL` is among them. `F_SEAL_EXEC` is from the start.
///
/// # Errors
///
/// `InvalidInput` for a file on a file system without seals. A plain file on tmpfs has `F_SEAL_SEAL` alone.
pub fn seals(file: &File) -> io::Result<u32> {
    Ok(fcntl_get_seals(file)?.bits())
}

/// Whether `file` has at least what `seal` stands for. `true` stays true. `false` for files without seals.
///
/// # Errors
///
/// What fcntl(2) reports, apart from `EINVAL`.
pub fn is_sealed(file: &File, seal: Seal) -> io::Result<bool> {
    match fcntl_get_seals(file) {
        Ok(seals) => Ok(seals.contains(seal.flags())),
        Err(Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
