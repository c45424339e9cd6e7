//! Waiting for names to appear in a directory.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// Reads made to drain the queue after a wait. Bounded, so that somebody who makes names without end cannot
/// keep us here; what is left over ends the next wait at once.
const DRAIN: usize = 64;

/// Watches one directory, from [`Place::watch`](crate::place::Place::watch). See inotify(7).
#[derive(Debug)]
pub struct Watch {
    queue: OwnedFd,
}

impl Watch {
    pub(super) fn directory(directory: &OwnedFd) -> io::Result<Watch> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // inotify wants a path; this one means the directory that is open, wherever it is by now.
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let events =
            WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        inotify::add_watch(&queue, path, events | WatchFlags::ONLYDIR)?;
        Ok(Watch { queue })
    }

    /// Waits once until a name is made in the directory or moved into it, the directory itself is moved, or
    /// `timeout` has passed (one too long to express is none). `true`: something happened since the last
    /// call, or a signal came, so look again. `false`: the time is over.
    ///
    /// Says neither what nor how much: events are merged, lost when too many, and stale. That the directory
    /// was deleted is told only after every descriptor of it is closed; so look at the link count now and
    /// then.
    ///
    /// # Errors
    ///
    /// What poll(2) and read(2) report.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(timeout).ok();
        let mut waited = [PollFd::new(&self.queue, PollFlags::IN)];
        match poll(&mut waited, timeout.as_ref()) {
            Ok(0) => Ok(false),
            Ok(_) => self.drain().map(|()| true),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn drain(&self) -> io::Result<()> {
        // Room for an event with the longest name, or for many with short ones.
        let mut events = [0_u8; 4096];
        for _ in 0..DRAIN {
            match rustix::io::read(&self.queue, &mut events) {
                Ok(1..) => {}
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
