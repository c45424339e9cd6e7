//! How much memory the control group of this process may use: cgroups(7), versions 1 and 2.

use std::fs;
use std::path::{Path, PathBuf};

/// The tightest limit on this process's memory, of its own control group and those above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The group that has the limit, as a directory.
    pub group: PathBuf,
    /// Bytes that it may use.
    pub max: u64,
    /// Bytes that it uses now; files on tmpfs count.
    pub used: u64,
}

/// Version 1 says "no limit" by a number near this, whole pages of it.
const NO_LIMIT: u64 = 1 << 62;

/// The limit that leaves the least room, if there is any. Pages of a file on tmpfs are counted to the group of whoever
/// touched them first. `None` also where `/proc` or the control groups are not mounted.
#[must_use]
pub fn memory_limit() -> Option<MemoryLimit> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut tightest: Option<MemoryLimit> = None;
    for (group, top, [max, used]) in places(&groups, &mounts) {
        for group in group.ancestors().take_while(|group| group.starts_with(&top)) {
            let number = |file| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
            let (Some(max), Some(used)) = (number(max), number(used)) else { continue };
            let room = max.saturating_sub(used);
            if max < NO_LIMIT && tightest.as_ref().is_none_or(|it| room < it.max.saturating_sub(it.used)) {
                tightest = Some(MemoryLimit { group: group.to_owned(), max, used });
            }
        }
    }
    tightest
}

/// A group's directory, the one that it is mounted at, and the files of limit and use.
type Place = (PathBuf, PathBuf, [&'static str; 2]);

/// Where the groups of this process that count memory are, from lines of `cgroup` and of `mountinfo`.
fn places(groups: &str, mounts: &str) -> Vec<Place> {
    let mut found = Vec::new();
    for line in groups.lines() {
        // `number:controllers:/path`
        let mut words = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (words.next(), words.next()) else { continue };
        let (kind, files) = if controllers.is_empty() {
            ("cgroup2", ["memory.max", "memory.current"])
        } else if controllers.split(',').any(|one| one == "memory") {
            ("cgroup", ["memory.limit_in_bytes", "memory.usage_in_bytes"])
        } else {
            continue;
        };
        for mount in mounts.lines() {
            if let Some((top, root)) = mounted(mount, kind) {
                // A container may see the mount of a part of the tree, and itself by a path from the whole.
                let rest = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
                let group = if rest.as_os_str().is_empty() { top.clone() } else { top.join(rest) };
                found.push((group, top, files));
                break;
            }
        }
    }
    found
}

/// Mount point and root of a line of mountinfo, if it mounts the control groups of this kind that count memory.
/// `36 35 98:0 /root /mount rw,... shared:1 - type source rw,options`
fn mounted(line: &str, kind: &str) -> Option<(PathBuf, PathBuf)> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    if after.next()? != kind {
        return None;
    }
    let options = after.nth(1)?;
    if kind == "cgroup" && !options.split(',').any(|one| one == "memory") {
        return None;
    }
    let mut before = before.split(' ').skip(3);
    let root = before.next()?;
    Some((before.next()?.into(), root.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 30 0:22 / /sys rw - sysfs sysfs rw
31 24 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate
35 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
36 31 0:30 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

    #[test]
    fn groups_are_found_where_they_are_mounted() {
        let two = [("/sys/fs/cgroup/a/b", "/sys/fs/cgroup", "memory.max")];
        let one = [("/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/memory", "memory.limit_in_bytes")];
        let top = [("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes")];
        for (groups, expected) in [
            ("0::/a/b\n", &two[..]),
            ("5:cpu,cpuacct:/y\n4:memory:/docker/1/x\n", &one),
            ("4:hugetlb,memory:/docker/1\n", &top),
            // Seen from outside its namespace.
            ("4:memory:/\n", &top),
            ("4:cpu:/a\n", &[]),
            ("", &[]),
            ("rubbish\n:\n::\n0\n", &[("/sys/fs/cgroup", "/sys/fs/cgroup", "memory.max")]),
        ] {
            let found = places(groups, MOUNTS);
            let found: Vec<_> =
                found.iter().map(|(a, b, c)| (a.to_str().unwrap(), b.to_str().unwrap(), c[0])).collect();
            assert_eq!(found, expected, "{groups:?}");
        }
        assert_eq!(places("0::/a\n", "1 2 3\n - \n x - cgroup2\n"), []);
    }
}
