//! System calls that are refused, by a real seccomp(2) filter, and a system without `/proc`.
#![allow(unsafe_code)]

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annulus::{CopyError, Error, ErrorKind, FenceMode, RecvError, RecvTimeoutError, Ring, Start, Waiting};

use super::{private_mounts, run};
use crate::procs::child::say;
use crate::procs::sandbox::filter;
use crate::support::{Dir, LONG, each_in_time, entries, helpful, in_time, may_do_all};

const HOUR: Duration = Duration::from_secs(3600);
const COUNT: u64 = 5000;

/// What the errors are called that a sandbox answers with.
const ERRNOS: [(&str, i32); 3] = [("EPERM", libc::EPERM), ("ENOSYS", libc::ENOSYS), ("EINVAL", libc::EINVAL)];

fn sandboxed(call: &str, errnos: &[&str]) {
    for errno in errnos {
        run("refused", &Dir::new(), &[call, errno]);
    }
}

/// Case 30: membarrier refused, as forbidden or as unknown, to everybody: slower, correct.
#[test]
fn membarrier() {
    sandboxed("membarrier", &["EPERM", "ENOSYS"]);
}

/// A membarrier that says yes and does nothing, as Linux makes it for a processor on which a thread of the producer's process
/// has ended: no wake is lost, with a liveness interval of an hour.
#[test]
fn a_membarrier_that_does_nothing() {
    run("no-fence", &Dir::new(), &[]);
}

/// Case 30: a kernel without `futex_waitv`, and a filter that refuses it: everything there is goes without.
#[test]
fn futex_waitv() {
    sandboxed("futex_waitv", &["EPERM", "ENOSYS"]);
}

/// Without memfds a ring that has a name goes on as ever.
#[test]
fn memfd_create() {
    sandboxed("memfd_create", &["EPERM", "ENOSYS"]);
}

/// Without inotify a ring is waited for by looking again and again.
#[test]
fn inotify() {
    sandboxed("inotify", &["EPERM", "ENOSYS"]);
}

/// Pages that cannot be brought in ahead, as before Linux 5.14, are touched instead.
#[test]
fn populating_pages() {
    sandboxed("madvise", &["EINVAL"]);
}

/// Locking in memory, where it is asked for: a typed error; not asked for, nobody misses it.
#[test]
fn mlock() {
    sandboxed("mlock", &["EPERM", "ENOSYS"]);
}

/// Locks of open file descriptions: an error that says so for whoever opens a ring, also for one who would only ask.
#[test]
fn file_locks() {
    sandboxed("fcntl", &["EPERM", "ENOSYS", "EINVAL"]);
}

/// What a ring cannot be made without: a typed error, and nothing left.
#[test]
fn what_a_ring_is_made_with() {
    for call in ["fallocate", "ftruncate", "renameat2", "getrandom", "mmap"] {
        sandboxed(call, &["EPERM", "ENOSYS"]);
    }
}

/// Answers `errno` to a call, to some only with certain second arguments.
fn refuse(call: libc::c_long, errno: i32, arguments: &[i32]) {
    let answer = libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    if arguments.is_empty() {
        return filter(&[call], answer, libc::SECCOMP_RET_ALLOW);
    }
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at: usize| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at as u32);
    let equal = |k: u32, jt: u8, jf: u8| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, k);
    let ret = |what: u32| op(libc::BPF_RET | libc::BPF_K, 0, 0, what);
    let n = arguments.len() as u8;
    // The low half of the second argument, on a little-endian machine.
    let second = std::mem::offset_of!(libc::seccomp_data, args) + 8;
    let mut program = vec![load(0), equal(call as u32, 0, n + 1), load(second)];
    for (i, &argument) in (0..n).zip(arguments) {
        program.push(equal(argument.cast_unsigned(), n - i, 0));
    }
    program.extend([ret(libc::SECCOMP_RET_ALLOW), ret(answer)]);
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: both change what this thread may do, nothing else; the program lives until the kernel has copied it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

/// That the filter works: a call with these arguments, which would do nothing, is refused.
fn is_refused(call: libc::c_long, arguments: [libc::c_long; 3], errno: i32) {
    // SAFETY: with arguments that no call does anything with, were it allowed.
    let result = unsafe { libc::syscall(call, arguments[0], arguments[1], arguments[2], 0_i64) };
    assert_eq!((result, std::io::Error::last_os_error().raw_os_error()), (-1, Some(errno)));
}

/// Runs with a filter of its own.
pub(super) fn in_a_sandbox(dir: &str, words: &[&str]) {
    let errno = ERRNOS.iter().find(|(name, _)| *name == words[1]).unwrap().1;
    let nowhere = [-1, -1, -1];
    let all_refused = |call: libc::c_long| {
        refuse(call, errno, &[]);
        is_refused(call, nowhere, errno);
    };
    match words[0] {
        "membarrier" => {
            all_refused(libc::SYS_membarrier);
            everything(dir);
        }
        "futex_waitv" => {
            all_refused(libc::SYS_futex_waitv);
            everything(dir);
        }
        "memfd_create" => {
            all_refused(libc::SYS_memfd_create);
            everything(dir);
        }
        "inotify" => {
            all_refused(libc::SYS_inotify_init1);
            everything(dir);
        }
        "madvise" => {
            all_refused(libc::SYS_madvise);
            everything(dir);
        }
        "mlock" => {
            let _tx = Ring::create("r").dir(dir).capacity(4096).producer().unwrap();
            all_refused(libc::SYS_mlock);
            for refused in [
                Ring::create("s").dir(dir).capacity(4096).lock_memory().producer().map(drop),
                Ring::open("r").dir(dir).lock_memory().subscribe().map(drop),
                Ring::open("r").dir(dir).lock_memory().subscribe_copying().map(drop),
                Ring::open("r").dir(dir).lock_memory().observe().map(drop),
            ] {
                match refused.unwrap_err().kind() {
                    ErrorKind::MemoryLimit { .. } => assert_eq!(errno, libc::EPERM),
                    other => assert_eq!(
                        (other, errno),
                        (&ErrorKind::System("lock the ring in memory"), libc::ENOSYS)
                    ),
                }
            }
            assert_eq!(entries(Path::new(dir)), ["r"]);
            assert!(Ring::open("r").dir(dir).info().unwrap().subscribers.is_empty());
            drop(_tx);
            everything(dir);
        }
        "fcntl" => locks_refused(dir, errno),
        call => not_made(dir, call, errno),
    }
    say("done");
}

/// Records that meet their reader at each step on its way to sleep.
pub(super) fn without_fences(dir: &str) {
    refuse(libc::SYS_membarrier, 0, &[]);
    // SAFETY: a command that does not exist.
    assert_eq!(unsafe { libc::syscall(libc::SYS_membarrier, -1, 0, 0) }, 0, "the filter answers");
    // So long that its lines are still on their way when the producer looks for sleepers.
    const BODY: usize = 4096;
    let dir = dir.to_owned();
    each_in_time(move |trips| {
        let ring = |name, waiting| {
            let ring =
                Ring::create(name).dir(&dir).capacity(1 << 15).fence(FenceMode::Asymmetric).liveness(HOUR);
            (ring.producer().unwrap(), Ring::open(name).dir(&dir).waiting(waiting).subscribe().unwrap())
        };
        let (mut there, there_end) = ring("there", Waiting::park_after(0));
        let (mut back, back_end) = ring("back", Waiting::spin());
        let echo = std::thread::spawn(move || {
            for record in &there_end {
                let sum: u64 = record.unwrap().iter().copied().map(u64::from).sum();
                back.send(&sum.to_le_bytes()).unwrap();
            }
        });
        for n in 0..200_000_u64 {
            for _ in 0..n % 64 {
                std::hint::spin_loop();
            }
            there.send(&[n as u8; BODY]).unwrap();
            assert_eq!(*back_end.recv().unwrap(), (BODY as u64 * (n & 0xff)).to_le_bytes());
            trips.store(n, Ordering::Relaxed);
        }
        drop(there);
        echo.join().unwrap();
    });
    say("done");
}

fn locks_refused(dir: &str, errno: i32) {
    let _tx = Ring::create("held").dir(dir).capacity(4096).producer().unwrap();
    drop(Ring::create("left").dir(dir).capacity(4096).persistent(true).producer().unwrap());
    refuse(libc::SYS_fcntl, errno, &[libc::F_OFD_SETLK, libc::F_OFD_SETLKW, libc::F_OFD_GETLK]);
    is_refused(libc::SYS_fcntl, [-1, libc::F_OFD_GETLK.into(), 0], errno);
    let before = entries(Path::new(dir));
    let attempts: [Result<(), Error>; 8] = [
        Ring::create("r").dir(dir).capacity(4096).producer().map(drop),
        Ring::open_or_create("r").dir(dir).capacity(4096).producer().map(drop),
        Ring::open_or_create("left").dir(dir).producer().map(drop),
        Ring::open("left").dir(dir).producer().map(drop),
        Ring::open("left").dir(dir).remove(),
        Ring::open("held").dir(dir).subscribe().map(drop),
        Ring::open("held").dir(dir).subscribe_copying().map(drop),
        // It takes no lock, but could never see that its producer has died.
        Ring::open("held").dir(dir).observe().map(drop),
    ];
    for refused in attempts {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NoLocks, "{error}");
        assert!(error.to_string().contains("F_OFD_SETLK"), "{error}");
        helpful(&error);
    }
    assert_eq!(entries(Path::new(dir)), before);
}

fn not_made(dir: &str, call: &str, errno: i32) {
    let number = match call {
        "fallocate" => libc::SYS_fallocate,
        "ftruncate" => libc::SYS_ftruncate,
        "renameat2" => libc::SYS_renameat2,
        "getrandom" => libc::SYS_getrandom,
        "mmap" => libc::SYS_mmap,
        other => panic!("no call {other}"),
    };
    // The allocator may need memory, and the standard library random numbers, before this is told; so they have them.
    drop(vec![0_u8; 1 << 20]);
    refuse(number, errno, &[]);
    for ring in [Ring::create("r"), Ring::open_or_create("r")] {
        let error = ring.dir(dir).capacity(4096).producer().unwrap_err();
        let typed = matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::System(_));
        assert!(typed && error.to_string().contains("ring `r`"), "{error}");
        assert!(std::error::Error::source(&error).is_some(), "the system's word is missing: {error}");
        assert!(entries(Path::new(dir)).is_empty(), "something is left");
    }
}

/// `/proc` is not there: everything that goes by a name works; who has started when is not known.
#[test]
fn without_a_proc() {
    if may_do_all() {
        run("no-proc", &Dir::new(), &[]);
    }
}

pub(super) fn without_proc(dir: &str) {
    private_mounts();
    // SAFETY: unmounts for this process alone; the string is terminated.
    assert_eq!(unsafe { libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH) }, 0);
    assert!(!Path::new("/proc/self").exists());
    everything(dir);
    say("done");
}

/// All that can be done with rings, sleeping and being woken, with a liveness interval that ends no sleep.
fn everything(dir: &str) {
    let dir = dir.to_owned();
    in_time(move || {
        wait_for_it(&dir);
        let parked = Waiting::park_after(0);
        let ring = || Ring::create("r").dir(&dir).capacity(4096).liveness(HOUR).waiting(parked);
        let mut tx = ring().persistent(true).producer().unwrap();
        let open = || Ring::open("r").dir(&dir).waiting(parked).start(Start::Oldest);
        let rx = open().subscribe().unwrap();
        let mut copying = open().subscribe_copying().unwrap();
        let mut observer = open().waiting(Waiting::yielding()).observe().unwrap();
        let info = open().info().unwrap();
        assert_eq!((info.subscribers.len(), info.producer_alive), (2, true));
        assert_eq!(Ring::list(Some(Path::new(&dir))).unwrap(), ["r"]);
        assert!(open().producer().unwrap_err().is_producer_alive());
        assert!(ring().producer().unwrap_err().is_already_exists());
        // The ring is full again and again: each side sleeps, and is woken by the other.
        let sent = std::thread::spawn(move || {
            (0..COUNT).for_each(|n| tx.send(&[n as u8; 100]).unwrap());
            tx
        });
        let copied = std::thread::spawn(move || {
            let mut buf = [0; 100];
            for n in 0..COUNT {
                assert_eq!(copying.recv(&mut buf).unwrap().sequence, n);
                assert_eq!(buf, [n as u8; 100]);
            }
            copying
        });
        let observed = std::thread::spawn(move || {
            let (mut buf, mut next) = ([0; 100], 0);
            while next < COUNT {
                match observer.recv(&mut buf) {
                    Ok(got) => {
                        assert_eq!((got.sequence, buf), (next, [next as u8; 100]));
                        next += 1;
                    }
                    Err(CopyError::Lagged(lost)) => next += lost,
                    Err(other) => panic!("{other}"),
                }
            }
        });
        for n in 0..COUNT {
            let record = rx.recv().unwrap();
            assert_eq!((record.sequence(), &*record), (n, &[n as u8; 100][..]));
        }
        let (tx, mut copying) = (sent.join().unwrap(), copied.join().unwrap());
        observed.join().unwrap();
        assert!(tx.is_linked() && rx.is_linked());
        drop(tx);
        let tx = open().producer().unwrap();
        assert_eq!(tx.sequence(), COUNT);
        let nothing = rx.recv_timeout(Duration::from_millis(1)).map(drop);
        assert_eq!(nothing, Err(RecvTimeoutError::TimedOut));
        drop(tx);
        assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
        assert!(copying.recv(&mut [0; 100]).is_err());
        open().remove().unwrap();
        assert!(entries(Path::new(&dir)).is_empty());
    });
}

/// A ring that appears while somebody waits for it.
fn wait_for_it(dir: &str) {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Ring::open("late").dir(dir).wait(LONG).map(drop));
        let tx = Ring::create("late").dir(dir).capacity(4096).producer().unwrap();
        waiting.join().unwrap().unwrap();
        drop(tx);
    });
}
