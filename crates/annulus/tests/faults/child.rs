//! Children: copies of this process that do one thing and end, or are ended.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Longer than anything that goes well can take, on a machine with other things to do.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Exit code of a child that panicked.
const PANICKED: i32 = 101;

/// How a child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It goes on.
    Running,
    /// It has come to its end.
    Finished,
    /// A signal killed it.
    Killed,
    /// It stands, for its tracer.
    Stopped(i32),
}

/// A child. Dropped, it is killed and waited for.
#[derive(Debug)]
pub(crate) struct Child {
    pid: libc::pid_t,
    state: State,
}

impl Child {
    /// A copy of this process that calls `work` and ends there, without any destructor of what it has from us.
    pub(crate) fn start(work: impl FnOnce()) -> Child {
        // SAFETY: this process has one thread, so the child may do whatever we may.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: sets an attribute of this process only. Whoever forked us waits for us, so lives.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let code = if catch_unwind(AssertUnwindSafe(work)).is_ok() { 0 } else { PANICKED };
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(code) };
        }
        Child { pid, state: State::Running }
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// How it stands now, or, if `wait`, once it does not run any more.
    ///
    /// # Panics
    ///
    /// If it has panicked.
    pub(crate) fn state(&mut self, wait: bool) -> State {
        if matches!(self.state, State::Finished | State::Killed) {
            return self.state;
        }
        let mut status = 0;
        let flags = libc::__WALL | if wait { 0 } else { libc::WNOHANG };
        // SAFETY: our own child, and one int to write to.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, flags) };
        assert!(pid == 0 || pid == self.pid, "waitpid: {}", std::io::Error::last_os_error());
        if pid == self.pid && !libc::WIFSTOPPED(status) {
            // Gone, whatever the checks below say.
            self.state = State::Killed;
        }
        self.state = if pid == 0 {
            State::Running
        } else if libc::WIFSTOPPED(status) {
            State::Stopped(libc::WSTOPSIG(status))
        } else if libc::WIFSIGNALED(status) {
            assert_eq!(libc::WTERMSIG(status), libc::SIGKILL, "a child died of another signal");
            State::Killed
        } else {
            assert_eq!(libc::WEXITSTATUS(status), 0, "a child has failed");
            State::Finished
        };
        self.state
    }

    /// Kills it, and waits until it is gone, however it went.
    pub(crate) fn kill(&mut self) {
        while !matches!(self.state, State::Finished | State::Killed) {
            let mut status = 0;
            // SAFETY: our own child, not waited for yet, so the number is still its own; one int to write to.
            let pid = unsafe {
                libc::kill(self.pid, libc::SIGKILL);
                libc::waitpid(self.pid, &raw mut status, libc::__WALL)
            };
            if pid != self.pid || !libc::WIFSTOPPED(status) {
                self.state = State::Killed;
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn finishes(mut self) {
        assert_eq!(self.state(true), State::Finished);
    }

    /// Whether it sleeps in the kernel, which here is only for a doorbell.
    pub(crate) fn is_asleep(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends this process as a crash does.
pub(crate) fn die() -> ! {
    loop {
        // SAFETY: signals this process only.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

/// Has this process die when it crosses a point of this name; nothing where there are no points.
pub(crate) fn doomed(point: &'static str) {
    #[cfg(annulus_faults)]
    crate::points::doom(point);
    let _ = point;
}
