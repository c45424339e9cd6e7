//! Races made certain: a process is held at one of its system calls, by ptrace(2), while something happens.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::child::Child;
use crate::support::{Dir, Patience, entries, may_do_all};

/// A thread of a child, stopped at its system calls by the thread that made this.
pub(super) struct Traced(libc::pid_t, File);

impl Traced {
    /// The thread is waiting for a line from us meanwhile.
    pub(super) fn new(child: &Child, thread: libc::pid_t) -> Traced {
        let memory = File::open(format!("/proc/{}/mem", child.pid())).unwrap();
        let null = std::ptr::null_mut::<libc::c_void>();
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        // SAFETY: neither request reads or writes memory of this process; the thread is our child's.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, thread, null, options as usize), 0);
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, thread, null, null), 0);
        }
        let traced = Traced(thread, memory);
        traced.stopped();
        traced
    }

    /// Waits until it is stopped; says by which signal, which for a system call has a bit more.
    fn stopped(&self) -> libc::c_int {
        let (mut status, mut patience) = (0, Patience::new());
        loop {
            // SAFETY: waitpid writes one int into `status`.
            let pid = unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL | libc::WNOHANG) };
            if pid == self.0 {
                break;
            }
            if pid != 0 || patience.is_over() {
                // Its end is for its tracer to take, or whoever waits for its process waits for ever.
                // SAFETY: our own child's thread, not waited for yet; waitpid writes one int into `status`.
                unsafe {
                    libc::kill(self.0, libc::SIGKILL);
                    libc::waitpid(self.0, &raw mut status, libc::__WALL);
                }
                panic!("the traced thread does not stop");
            }
            std::thread::yield_now();
        }
        assert!(libc::WIFSTOPPED(status), "the traced thread has ended");
        libc::WSTOPSIG(status)
    }

    /// Lets it run on, to its end or by one instruction, and says what has stopped it then. The signal is not delivered.
    pub(super) fn run_to_signal(&self, request: libc::c_uint) -> libc::c_int {
        self.go_on(request);
        self.stopped()
    }

    fn go_on(&self, request: libc::c_uint) {
        let null = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the thread is stopped and ours; nothing of this process is read or written.
        assert_eq!(unsafe { libc::ptrace(request, self.0, null, null) }, 0);
    }

    /// Runs it to its `n`th openat(2) of `file`, counted from now; it stands before the call then.
    fn until_opens(&self, file: &str, n: usize) {
        let mut seen = 0;
        while seen < n {
            if self.run_to_signal(libc::PTRACE_SYSCALL) != libc::SIGTRAP | 0x80 {
                continue;
            }
            // SAFETY: all-zero is a value of this struct of integers, and the kernel writes at most its size.
            let info = unsafe {
                let mut info: libc::ptrace_syscall_info = std::mem::zeroed();
                let size = size_of::<libc::ptrace_syscall_info>();
                assert!(libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, self.0, size, &raw mut info) > 0);
                info
            };
            if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
                continue;
            }
            // SAFETY: at an entry, this is the part of the union that the kernel has filled in.
            let entry = unsafe { info.u.entry };
            if entry.nr != libc::SYS_openat as u64 {
                continue;
            }
            let mut path = vec![0; file.len() + 1];
            let read = self.1.read_exact_at(&mut path, entry.args[1]).is_ok();
            if read && path.strip_suffix(b"\0") == Some(file.as_bytes()) {
                seen += 1;
            }
        }
    }

    /// Lets it run on alone.
    pub(super) fn release(self) {
        self.go_on(libc::PTRACE_DETACH);
    }
}

/// A process that does what the role `race` does, and its thread, held where it opens `owner` for the `n`th time.
fn held(dir: &Dir, order: &str, n: usize) -> (Child, Traced) {
    let mut racer = Child::start("race", &[dir.text(), "r"]);
    racer.tell("who");
    let thread = racer.hear().parse().unwrap();
    let traced = Traced::new(&racer, thread);
    racer.tell(order);
    traced.until_opens("owner", n);
    (racer, traced)
}

/// `create` finds a ring under the name, and the ring ends just before it looks who holds it: the name is free then,
/// and the new ring gets it. What it must not say is that something there is broken.
#[test]
fn a_ring_that_ends_under_a_creator() {
    let dir = Dir::new();
    let tx = dir.create("r").capacity(4096).producer().unwrap();
    let (mut racer, traced) = held(&dir, "create", 1);
    drop(tx);
    traced.release();
    racer.expect("won");
    racer.tell("end");
    racer.expect("ended");
    racer.ends_well();
    assert!(dir.entries().is_empty());
}

/// The same for `open_or_create`.
#[test]
fn a_ring_that_ends_under_an_opener() {
    let dir = Dir::new();
    let tx = dir.create("r").capacity(4096).producer().unwrap();
    let (mut racer, traced) = held(&dir, "open", 1);
    drop(tx);
    traced.release();
    racer.expect("won");
    racer.tell("end");
    racer.expect("ended");
    racer.ends_well();
    assert!(dir.entries().is_empty());
}

/// A leftover is replaced by another creator just before this one looks who holds it: it is refused or goes on, but
/// there is never a second producer of the other's ring.
#[test]
fn a_leftover_replaced_under_a_creator() {
    // A creator looks at the leftover, makes its own ring, which takes one, and looks again.
    for (order, n, refusal) in [("create", 3, "AlreadyExists"), ("open", 1, "ProducerAlive")] {
        let dir = Dir::new();
        let mut victim = Child::start("end", &[dir.text(), "r", "kill"]);
        victim.expect("ready");
        victim.kill();
        let (mut racer, traced) = held(&dir, order, n);
        let mut tx = dir.create("r").capacity(4096).producer().unwrap();
        traced.release();
        racer.expect(refusal);
        let rx = dir.open("r").subscribe().unwrap();
        tx.send(b"the only one").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"the only one");
        racer.ends_well();
        drop(tx);
        assert!(dir.entries().is_empty());
    }
}

/// Case 25: the tmpfs gets full between a creator's look at its free space and the reservation: an error, nothing left.
#[test]
fn a_file_system_that_fills_up_under_a_creator() {
    if !may_do_all() {
        return;
    }
    for order in ["create", "open"] {
        let dir = Dir::new();
        let mut racer = Child::start("resources", &["race", dir.text()]);
        racer.tell("who");
        let thread = racer.hear().parse().unwrap();
        let traced = Traced::new(&racer, thread);
        racer.tell(order);
        // Made after the look, before any room is taken.
        traced.until_opens("ctl", 1);
        let there = PathBuf::from(format!("/proc/{thread}/root{}", dir.text()));
        assert!(fs::write(there.join(".ballast"), vec![0; 2 << 20]).is_err(), "there is room for more");
        traced.release();
        racer.expect("NoSpace { needed: 0, free: 0 }");
        assert_eq!(entries(&there), [".ballast"]);
        racer.tell("leave");
        racer.ends_well();
    }
}
