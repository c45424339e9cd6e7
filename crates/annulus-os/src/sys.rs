//! Who we are and when it is: the plain facts of this process and this machine.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::thread::{ClockId, clock_nanosleep_relative};
use rustix::time::Timespec;

/// The size of a page in bytes: a power of two, at least 4,096; the same for the life of the process.
/// See sysconf(3), `_SC_PAGESIZE`.
#[must_use]
pub fn page_size() -> usize {
    rustix::param::page_size()
}

/// When the kernel puts huge pages under memfds of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransparentHugePages {
    /// Not at all: `never` or `deny`.
    Never,
    /// Where [`Mapping::advise_huge`](crate::Mapping::advise_huge) asked for them: `advise`.
    Advised,
    /// Wherever they fit, or fit into the file's length: `always`, `within_size` or `force`.
    Always,
    /// The kernel has none, or does not say in words that are known here.
    Unknown,
}

/// What `/sys/kernel/mm/transparent_hugepage/shmem_enabled` says about huge pages for shared memory; may be
/// stale by the time you look. It governs memfds. A tmpfs goes by the `huge=` that it was mounted with,
/// unless `deny` or `force` overrules that.
#[must_use]
pub fn transparent_huge_pages() -> TransparentHugePages {
    match fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled") {
        Ok(choices) => chosen(&choices),
        Err(_) => TransparentHugePages::Unknown,
    }
}

/// Of a line of words, the one in brackets holds.
fn chosen(choices: &str) -> TransparentHugePages {
    let word = choices.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    match word.map(|(word, _)| word) {
        Some("never" | "deny") => TransparentHugePages::Never,
        Some("advise") => TransparentHugePages::Advised,
        Some("always" | "within_size" | "force") => TransparentHugePages::Always,
        _ => TransparentHugePages::Unknown,
    }
}

/// The size of a transparent huge page in bytes, a power of two and mostly 2 MiB; `None` if the kernel has
/// none. See `/sys/kernel/mm/transparent_hugepage/hpage_pmd_size`.
#[must_use]
pub fn transparent_huge_page_size() -> Option<usize> {
    let size = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").ok()?;
    size.trim_end().parse().ok().filter(|size: &usize| size.is_power_of_two())
}

/// Bytes of memory that could be had now without swapping, as the kernel estimates it; without `/proc`, all that the
/// machine has. Knows nothing of cgroups. May be stale by the time you look. See proc_meminfo(5), `MemAvailable`.
#[must_use]
pub fn available_memory() -> u64 {
    let said = fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse_available(&text));
    said.unwrap_or_else(|| {
        let info = rustix::system::sysinfo();
        // The width of the field differs from architecture to architecture.
        #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
        let total = info.totalram as u64;
        total.saturating_mul(u64::from(info.mem_unit))
    })
}

fn parse_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The effective user id, which file permissions are checked by. See geteuid(2).
#[must_use]
pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective group id. See getegid(2).
#[must_use]
pub fn gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// This process's id in its own PID namespace: for people, never for deciding who is alive. Asked of the
/// kernel each time, so it is right in a forked child too. See getpid(2).
#[must_use]
pub fn pid() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().unsigned_abs()
}

/// When this process started, in clock ticks since boot; 0 if `/proc` is absent. With [`pid`] it tells people
/// two processes apart that had the same number. See proc_pid_stat(5), field 22.
#[must_use]
pub fn start_time() -> u64 {
    fs::read("/proc/self/stat").ok().and_then(|stat| parse_start_time(&stat)).unwrap_or(0)
}

/// Field 22 of a stat line. Field 2 is the program's name in parentheses, which may hold spaces, parentheses
/// and bytes that are no UTF-8; so the counting starts after the last `)`, at field 3.
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    let after = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(&stat[after..]).ok()?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// Sleeps for so long, or until a signal comes: for loops that look again whatever has ended it.
///
/// std's `sleep` goes on with what is left, which the kernel rounds up by its timer slack (50 us) each time: under
/// signals that come faster than that it never ends. See clock_nanosleep(2) and `PR_SET_TIMERSLACK` in prctl(2).
pub fn nap(duration: Duration) {
    // Too long to be said is longer than any machine runs.
    let longest = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
    let _ = clock_nanosleep_relative(ClockId::Monotonic, &Timespec::try_from(duration).unwrap_or(longest));
}

/// Whether a failure says that this process, or the machine, has as many open files as it may have. See
/// getrlimit(2), `RLIMIT_NOFILE`, and proc_sys_fs(5), `file-max`.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// How long a file this process may make, in bytes; `u64::MAX` is no limit. Whoever makes one longer all the same is
/// *killed*, by SIGXFSZ, unless it ignores that. See getrlimit(2), `RLIMIT_FSIZE`.
#[must_use]
pub fn longest_file() -> u64 {
    getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX)
}

/// `N` bytes from the kernel's random generator. See getrandom(2).
///
/// # Errors
///
/// Whatever getrandom(2) reports; a sandbox may refuse the call. Blocks only early at boot, before the
/// generator has its seed.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        // More than 256 bytes may come in parts, and a signal may come first.
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// Nanoseconds since 1970 by the wall clock, for people: it may be set back. 0 before 1970, and `u64::MAX`
/// after the year 2554. See clock_gettime(2), `CLOCK_REALTIME`.
#[must_use]
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_found_behind_any_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n";
        for name in ["cat", "a b", "a) S 9 9 (b", ")", ""] {
            assert_eq!(parse_start_time(format!("42 ({name}) {fields}").as_bytes()), Some(4711), "{name}");
        }
        assert_eq!(parse_start_time(&[b"42 (\xff\xfe) ", fields.as_bytes()].concat()), Some(4711));
        assert_eq!(parse_start_time(b""), None);
        assert_eq!(parse_start_time(b"42 (cat) S 1 2"), None);
    }

    #[test]
    fn the_memory_that_is_left_is_read() {
        let text = "MemTotal:       8000000 kB\nMemAvailable:   6000000 kB\n";
        assert_eq!(parse_available(text), Some(6_000_000 << 10));
        for text in [
            "",
            "MemTotal: 1 kB",
            "MemAvailable: x kB",
            "MemAvailable: 1",
            "MemAvailable: 99999999999999999999 kB",
        ] {
            assert_eq!(parse_available(text), None, "{text:?}");
        }
        assert!((1 << 20..1 << 50).contains(&available_memory()));
    }

    #[test]
    fn of_the_choices_the_one_in_brackets_holds() {
        let cases = [
            ("always within_size advise [never] deny force\n", TransparentHugePages::Never),
            ("always within_size advise never [deny] force\n", TransparentHugePages::Never),
            ("always within_size [advise] never deny force\n", TransparentHugePages::Advised),
            ("[always] within_size advise never deny force\n", TransparentHugePages::Always),
            ("always [within_size] advise never deny force\n", TransparentHugePages::Always),
            ("always within_size advise never deny [force]", TransparentHugePages::Always),
            ("always [something_new] never\n", TransparentHugePages::Unknown),
            ("always advise never", TransparentHugePages::Unknown),
            ("never ]advise[", TransparentHugePages::Unknown),
            ("", TransparentHugePages::Unknown),
        ];
        for (choices, expected) in cases {
            assert_eq!(chosen(choices), expected, "{choices:?}");
        }
        if let Some(size) = transparent_huge_page_size() {
            assert!(size > page_size());
            assert_ne!(transparent_huge_pages(), TransparentHugePages::Unknown);
        }
    }

    #[test]
    fn this_process_has_started() {
        let start = start_time();
        assert!(start > 0);
        assert_eq!(start, start_time());
        assert_eq!(pid(), std::process::id());
    }

    #[test]
    fn random_bytes_fill_the_whole_array() {
        let many = random_bytes::<4096>().unwrap();
        // 64 equal bytes in a row mean that a part was left out, not bad luck.
        assert!(many.chunks(64).all(|part| part.iter().any(|&byte| byte != part[0])));
        assert_ne!(random_bytes::<16>().unwrap(), random_bytes::<16>().unwrap());
        assert_eq!(random_bytes::<0>().unwrap(), []);
    }

    #[test]
    fn the_page_and_the_clock_are_sane() {
        assert!(page_size().is_power_of_two() && page_size() >= 4096);
        let (early, late) = (1_600_000_000_000_000_000, u64::MAX);
        assert!((early..late).contains(&unix_nanos()));
    }
}
