//! What the kernel says about files and file systems.

use std::fs::File;
use std::io;

use rustix::fs::{FileType, Stat, StatFs, StatVfs, fstatfs};

use crate::sys::page_size;

/// Whose a file is, what it is, and which. As they were when asked; all but `dev`, `ino` and `kind` can
/// change at any time. See stat(2) and inode(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The owner. Only root can give a file away, so the owner made it, or root did.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits, `0o7777` at most.
    pub mode: u32,
    /// With `ino`, the file's identity for as long as anybody has it open; later the pair may be used again.
    pub dev: u64,
    /// See `dev`.
    pub ino: u64,
    /// Names it has. 0: it was deleted and lives on in those who have it open. A directory has 2 or more, or
    /// on some file systems 1 always.
    pub links: u64,
    /// Length in bytes, holes included.
    pub size: u64,
    /// Bytes of storage that it has: fewer than `size` if it has holes. Of shared memory, pages that are there.
    pub allocated: u64,
    /// What it is.
    pub kind: Kind,
}

/// What a file is, as far as we care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; memfds are, too.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, FIFO, socket or device.
    Other,
}

impl Facts {
    // The widths of these fields differ from architecture to architecture.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
    pub(super) fn from_stat(stat: &Stat) -> Facts {
        Facts {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode as u32 & 0o7777,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            links: stat.st_nlink as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            // In units of 512 bytes, whatever the file system's are.
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Directory,
                _ => Kind::Other,
            },
        }
    }
}

/// The facts of an open file, whatever its name means by now.
///
/// # Errors
///
/// What fstat(2) reports.
pub fn facts_of(file: &File) -> io::Result<Facts> {
    Ok(Facts::from_stat(&rustix::fs::fstat(file)?))
}

/// The size in bytes of the pages that an open file is made of: the huge page of its hugetlbfs, else
/// [`page_size`]. A power of two; the same for the life of the file. What is mapped of the file, and on
/// hugetlbfs its length, are multiples of it. See fstatfs(2), `f_bsize`.
///
/// # Errors
///
/// What fstatfs(2) reports.
pub fn page_size_of(file: &File) -> io::Result<usize> {
    Ok(page_size_from(&fstatfs(file)?))
}

// The width and the sign of the field differ from architecture to architecture.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
pub(super) fn page_size_from(stat: &StatFs) -> usize {
    match FileSystem::from_stat(stat) {
        FileSystem::Hugetlbfs => stat.f_bsize as usize,
        _ => page_size(),
    }
}

/// What kind of file system a directory is on: whether a mapping of its files is plain memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// tmpfs(5): memory, with a limit and with swap. `/dev/shm`, and where memfds live.
    Tmpfs,
    /// Memory without limit or swap. It has no fallocate(2).
    Ramfs,
    /// Huge pages. Lengths and addresses are multiples of those, see [`page_size_of`]. Its files
    /// are mapped, and read with read(2), but never written with write(2).
    Hugetlbfs,
    /// Another machine, or a program (FUSE), may stand behind it: shared mappings are not shared by all who
    /// see the name, and any access may wait for a network. The name is for people.
    Network(&'static str),
    /// Anything else, mostly disks: mappings work, but write-back can stall a writer. The number is `f_type`
    /// of statfs(2), 32 bits.
    Other(u64),
}

impl FileSystem {
    // The width and the sign of the field differ from architecture to architecture.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
    pub(super) fn from_stat(stat: &StatFs) -> FileSystem {
        FileSystem::from_magic(stat.f_type as u64 & 0xffff_ffff)
    }

    /// The numbers are from statfs(2) and `linux/magic.h`.
    fn from_magic(magic: u64) -> FileSystem {
        match magic {
            0x0102_1994 => FileSystem::Tmpfs,
            0x8584_58f6 => FileSystem::Ramfs,
            0x9584_58f6 => FileSystem::Hugetlbfs,
            0x6969 => FileSystem::Network("nfs"),
            0x517b | 0xfe53_4d42 => FileSystem::Network("smb"),
            0xff53_4d42 => FileSystem::Network("cifs"),
            0x0102_1997 => FileSystem::Network("9p"),
            0x6573_5546 => FileSystem::Network("fuse"),
            0x00c3_6400 => FileSystem::Network("ceph"),
            0x5346_414f | 0x6b41_4653 => FileSystem::Network("afs"),
            0x7375_7245 => FileSystem::Network("coda"),
            0x564c => FileSystem::Network("ncp"),
            0x786f_4256 => FileSystem::Network("vboxsf"),
            0x0bd0_0bd0 => FileSystem::Network("lustre"),
            0x4750_4653 => FileSystem::Network("gpfs"),
            0x0116_1970 => FileSystem::Network("gfs2"),
            0x7461_636f => FileSystem::Network("ocfs2"),
            0x2003_0528 => FileSystem::Network("orangefs"),
            0xaad7_aaea => FileSystem::Network("panfs"),
            other => FileSystem::Other(other),
        }
    }
}

/// The size of a file system and what is left of it, in bytes. Both are 0 for a tmpfs or hugetlbfs without a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What a user without privileges may still take.
    pub free: u64,
}

impl Space {
    pub(super) fn from_stat(stat: &StatVfs) -> Space {
        Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magic_number_with_its_top_bit_set_survives_sign_extension() {
        let wide = i64::from(0x8584_58f6_u32.cast_signed()).cast_unsigned();
        assert_eq!(FileSystem::from_magic(wide & 0xffff_ffff), FileSystem::Ramfs);
        assert_eq!(FileSystem::from_magic(0xef53), FileSystem::Other(0xef53));
        assert_eq!(FileSystem::from_magic(0x6573_5546), FileSystem::Network("fuse"));
    }
}
