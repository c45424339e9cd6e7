//! Who still has what was deleted.

use std::fs;
use std::io;
use std::path::Path;

/// A file that a process has mapped and that has no name any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeletedMapping {
    /// The process, in our PID namespace; for people.
    pub pid: u32,
    /// The name that the file had last, below the directory that was asked about.
    pub name: String,
    /// Whether the process may write it.
    pub writes: bool,
}

/// What processes of this PID namespace have mapped of the files that were below `dir` (an absolute path without links) and
/// were deleted, sorted, each once. Only processes that this one may look into are seen (ptrace(2), access modes), and only
/// those that know the directory by this path. See proc_pid_maps(5).
///
/// # Errors
///
/// `NotFound` without `/proc`, and what else listing it reports.
pub fn deleted_mappings(dir: &Path) -> io::Result<Vec<DeletedMapping>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Gone by now, or none of our business.
        let Ok(maps) = fs::read(entry.path().join("maps")) else { continue };
        let maps = String::from_utf8_lossy(&maps);
        found.extend(maps.lines().filter_map(|line| parse(line, pid, dir)));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// `start-end rw-s offset dev inode    /path (deleted)`
fn parse(line: &str, pid: u32, dir: &Path) -> Option<DeletedMapping> {
    let path = line.strip_suffix(" (deleted)")?;
    let path = &path[path.find('/')?..];
    let name = Path::new(path).strip_prefix(dir).ok()?.to_str()?;
    let writes = line.split(' ').nth(1)?.contains('w');
    Some(DeletedMapping { pid, name: name.to_owned(), writes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let dir = Path::new("/dev/shm/r");
        let line = "7f00-7f10 rw-s 00001000 00:17 42       /dev/shm/r/a/data (deleted)";
        let found = parse(line, 7, dir).unwrap();
        assert_eq!(found, DeletedMapping { pid: 7, name: "a/data".to_owned(), writes: true });
        assert!(!parse(&line.replace("rw-s", "r--s"), 7, dir).unwrap().writes);
        for other in ["", "/", " (deleted)", "x (deleted)", "7f00-7f10 rw-s 0 0 0 /dev/shm/rr/a (deleted)"] {
            assert_eq!(parse(other, 7, dir), None, "{other:?}");
        }
        assert_eq!(parse(&line.replace(" (deleted)", ""), 7, dir), None);
    }
}
