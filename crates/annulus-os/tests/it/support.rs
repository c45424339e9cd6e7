//! Folders that go away, child processes, bytes of mappings, and file systems of one's own.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Held by every test that forks, and by those that a copy of their descriptors in somebody's child would
/// disturb: a child has all descriptors of the process, so for a moment it holds every lock.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder in memory, removed with all that is in it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new("/dev/shm").join(format!("annulus-os-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn place(&self) -> annulus_os::Place {
        annulus_os::Place::open(&self.0).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes of a mapping, one at a time: for tests that write and read in one thread.
pub(crate) fn read(mapping: &annulus_os::Mapping, offset: usize) -> u8 {
    assert!(offset < mapping.len());
    // SAFETY: inside the mapping; the tests write and read in one thread.
    unsafe { mapping.base().as_ptr().add(offset).read_volatile() }
}

/// See [`read`].
pub(crate) fn write(mapping: &annulus_os::Mapping, offset: usize, byte: u8) {
    assert!(offset < mapping.len());
    // SAFETY: inside the mapping, made for writing; the tests write and read in one thread.
    unsafe { mapping.base().as_ptr().add(offset).write_volatile(byte) }
}

/// How a child that reads or, if `store`, writes the byte at `offset` from the base ends: 0 if it survives.
pub(crate) fn touch(
    alone: &MutexGuard<'_, ()>,
    mapping: &annulus_os::Mapping,
    offset: isize,
    store: bool,
) -> End {
    let byte = mapping.base().as_ptr().wrapping_offset(offset);
    Child::run(alone, || {
        // SAFETY: an access that faults ends the child, which is what is tested; any other lies inside the
        // mapping.
        unsafe { if store { byte.write_volatile(1) } else { _ = byte.read_volatile() } }
        0
    })
    .wait()
}

/// How a child ended.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
}

/// For what a child is about to say, in milliseconds. One that never does has failed.
const PATIENCE_MS: i32 = 60_000;

pub(crate) struct Child(libc::pid_t);

impl Child {
    /// Runs `work` in a child, which then exits with what it returns. The test binary has several threads, so
    /// `work` may touch memory and make system calls, and must not allocate or panic.
    pub(crate) fn run(_alone: &MutexGuard<'_, ()>, work: impl FnOnce() -> i32) -> Child {
        // SAFETY: fork has no preconditions. The child only resets two settings, runs `work` (which keeps to
        // what is allowed after fork in a program with threads) and leaves without running any destructor.
        unsafe {
            match libc::fork() {
                -1 => panic!("fork: {}", io::Error::last_os_error()),
                0 => {
                    // The end by a signal is wanted: no handler of the test harness, no core file. And nobody
                    // survives a test that failed meanwhile.
                    libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                    libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    let code = work();
                    libc::_exit(code);
                }
                pid => Child(pid),
            }
        }
    }

    pub(crate) fn kill(&self) {
        // SAFETY: our own child, not waited for yet, so the number is still its own.
        assert_eq!(unsafe { libc::kill(self.0, libc::SIGKILL) }, 0);
    }

    pub(crate) fn wait(self) -> End {
        let mut status = 0;
        // SAFETY: waitpid writes one int into `status`.
        assert_eq!(unsafe { libc::waitpid(self.0, &raw mut status, 0) }, self.0);
        if libc::WIFSIGNALED(status) {
            End::Signal(libc::WTERMSIG(status))
        } else {
            End::Exit(libc::WEXITSTATUS(status))
        }
    }
}

/// A pipe for one byte: how a child says that it is ready.
pub(crate) struct Ready {
    read: libc::c_int,
    write: libc::c_int,
}

impl Ready {
    pub(crate) fn new() -> Ready {
        let mut ends = [0; 2];
        // SAFETY: pipe2 writes two ints into `ends`.
        assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        Ready { read: ends[0], write: ends[1] }
    }

    pub(crate) fn say(&self) {
        // SAFETY: reads one byte of a literal.
        unsafe { libc::write(self.write, b"!".as_ptr().cast(), 1) };
    }

    /// Waits for the byte.
    pub(crate) fn hear(&self) {
        let mut byte = 0_u8;
        let mut poll = libc::pollfd { fd: self.read, events: libc::POLLIN, revents: 0 };
        // SAFETY: one `pollfd` of our own, and an open descriptor.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, PATIENCE_MS) }, 1, "the child says nothing");
        // SAFETY: writes at most one byte into `byte`.
        assert_eq!(unsafe { libc::read(self.read, (&raw mut byte).cast(), 1) }, 1);
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // SAFETY: both are ours, and closed only here.
        unsafe {
            libc::close(self.read);
            libc::close(self.write);
        }
    }
}

/// Blocks for ever; for a child that is to be killed.
pub(crate) fn forever() -> ! {
    loop {
        // SAFETY: pause has no preconditions.
        unsafe { libc::pause() };
    }
}

/// Runs `work` in a thread of its own whose umask and working directory are nobody else's. See unshare(2).
pub(crate) fn with_own_umask(mask: u32, work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: neither call has preconditions; after unshare the mask is this thread's alone.
            unsafe {
                assert_eq!(libc::unshare(libc::CLONE_FS), 0);
                libc::umask(mask);
            }
            work();
        });
    });
}

/// Runs `work` in a thread that alone sees a tmpfs of `size` bytes at the path it is given.
///
/// Needs the right to mount: `false` if this user has not.
pub(crate) fn with_small_tmpfs(size: usize, work: impl FnOnce(&Path) + Send) -> bool {
    with_mount("tmpfs", &format!("size={size}"), work)
}

/// Runs `work` in a thread that alone sees a new file system of that kind at the path it is given.
///
/// Needs the right to mount: `false` if this user has not, or if there is no such file system or option.
pub(crate) fn with_mount(kind: &str, options: &str, work: impl FnOnce(&Path) + Send) -> bool {
    let folder = Folder::new();
    let target = CString::new(folder.path().to_str().unwrap()).unwrap();
    let [kind, options] = [kind, options].map(|text| CString::new(text).unwrap());
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let null = std::ptr::null();
            // SAFETY: the strings are terminated and live; null is allowed where the flags say that nothing
            // is read. After unshare all mounts are this thread's alone, and end with it.
            let mounted = unsafe {
                libc::unshare(libc::CLONE_NEWNS) == 0
                    && libc::mount(null, c"/".as_ptr(), null, libc::MS_REC | libc::MS_PRIVATE, null.cast())
                        == 0
                    && libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast())
                        == 0
            };
            if mounted {
                work(folder.path());
            }
            mounted
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs the test `name` of this binary again as root of its own user and mount namespaces, where it may
/// mount. `Some`: whether it succeeded. `None`, after saying so, if the machine does not allow that.
pub(crate) fn again_as_root(name: &str) -> Option<bool> {
    const MARK: &str = "ANNULUS_OS_TEST_AS_ROOT";
    if std::env::var_os(MARK).is_some() {
        eprintln!("NOT TESTED: {name}: no right to mount, even as root of a user namespace");
        return None;
    }
    let _alone = alone();
    let possible = |program: &Path, arguments: &[&str]| {
        std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .arg(program)
            .args(arguments)
            .env(MARK, "1")
            .status()
            .is_ok_and(|status| status.success())
    };
    if !possible(Path::new("true"), &[]) {
        eprintln!("NOT TESTED: {name}: no user namespaces here");
        return None;
    }
    Some(possible(&std::env::current_exe().unwrap(), &["--exact", name]))
}

/// Runs `work`, with a signal that only interrupts sent to its thread again and again.
pub(crate) fn under_signals<T>(every: Duration, work: impl FnOnce() -> T) -> T {
    extern "C" fn nothing(_: libc::c_int) {}
    let over = AtomicBool::new(false);
    // SAFETY: an all-zero `sigaction` is one without flags, so that system calls are not resumed, and with an
    // empty mask; the handler does nothing. The thread is alive while it is signalled: it waits for the
    // sender.
    let me = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
        libc::pthread_self()
    };
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: see above.
                unsafe { libc::pthread_kill(me, libc::SIGUSR1) };
                std::thread::park_timeout(every);
            }
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        sender.thread().unpark();
        result
    })
}
