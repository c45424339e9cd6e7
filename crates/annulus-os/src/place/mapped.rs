//! Which file lies behind an address.

use std::fs;
use std::io;

/// Device and inode, as in [`Facts`](super::Facts), of the file that this process has mapped at `address`. `None` where
/// nothing is mapped, or memory of no file. As it was when asked. See proc_pid_maps(5).
///
/// A device number is that of the file's file system, which some file systems (not tmpfs) do not tell in `stat`.
///
/// # Errors
///
/// `NotFound` without `/proc`, and what else reading it reports.
pub fn file_mapped_at(address: usize) -> io::Result<Option<(u64, u64)>> {
    // Names of files may be any bytes.
    let maps = fs::read("/proc/self/maps")?;
    let maps = String::from_utf8_lossy(&maps);
    Ok(maps
        .lines()
        .filter_map(parse)
        .find(|area| (area.start..area.end).contains(&address))
        .and_then(Area::file))
}

struct Area {
    start: usize,
    end: usize,
    dev: u64,
    ino: u64,
}

impl Area {
    /// Memory of no file has inode 0.
    fn file(self) -> Option<(u64, u64)> {
        (self.ino != 0).then_some((self.dev, self.ino))
    }
}

/// `start-end permissions offset major:minor inode name`, all but the inode in hexadecimal.
fn parse(line: &str) -> Option<Area> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (major, minor) = words.nth(2)?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    Some(Area {
        start: usize::from_str_radix(start, 16).ok()?,
        end: usize::from_str_radix(end, 16).ok()?,
        dev: rustix::fs::makedev(number(major)?, number(minor)?),
        ino: words.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::{anonymous, facts_of};
    use crate::{Access, Mapping};

    #[test]
    fn lines_are_read() {
        let area = parse("7f00-7f10 rw-s 00001000 00:17 42    /dev/shm/a b (deleted)").unwrap();
        assert_eq!((area.start, area.end, area.dev, area.ino), (0x7f00, 0x7f10, 0x17, 42));
        assert_eq!(parse("7f00-7f10 rw-p 00000000 00:00 0 ").unwrap().file(), None);
        assert!(
            ["", "7f00 rw-p 0 00:00 0", "a-b rw-p 0 00 0", "a-b rw-p"]
                .iter()
                .all(|line| parse(line).is_none())
        );
    }

    #[test]
    fn a_mapping_leads_to_its_file() {
        let file = anonymous("annulus-test", 8192).unwrap();
        let facts = facts_of(&file).unwrap();
        let mapping = Mapping::plain(&file, 4096, Access::Read).unwrap();
        let base = mapping.base().as_ptr().addr();
        for inside in [base, base + 4095] {
            assert_eq!(file_mapped_at(inside).unwrap(), Some((facts.dev, facts.ino)));
        }
        assert_eq!(file_mapped_at(0).unwrap(), None);
        let local = 0;
        assert_eq!(file_mapped_at((&raw const local).addr()).unwrap(), None);
    }
}
