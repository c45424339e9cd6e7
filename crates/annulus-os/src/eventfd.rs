//! A descriptor that poll(2) finds readable when somebody says so: eventfd(2).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{EventfdFlags, eventfd};

/// A descriptor that is raised and lowered. It is closed by execve(2), and never blocks.
#[derive(Debug)]
pub struct EventFd(File);

impl EventFd {
    /// A new one, lowered.
    ///
    /// # Errors
    ///
    /// Too many open files, in this process or on the machine.
    pub fn new() -> io::Result<EventFd> {
        Ok(EventFd(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?.into()))
    }

    /// Makes it readable, and whoever waits for that wake.
    pub fn raise(&self) {
        // Refused only where the count is at its end, which is readable.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Makes it not readable.
    pub fn lower(&self) {
        // Refused where it is lowered.
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
