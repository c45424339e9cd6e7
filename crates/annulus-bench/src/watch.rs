//! Sees that the peer lives and that rounds end, while the client spins and cannot look.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

/// A round takes milliseconds; one that is not over after this long never will be.
const LIMIT_MS: i32 = 10_000;
/// Between the rounds the client sees for itself that the peer has ended; it then has this long to say so.
const GRACE: Duration = Duration::from_millis(300);
/// Value of the count after the last round.
const OVER: u64 = u64::MAX;

/// The watching thread's view of the run. It sleeps in the kernel and costs the rounds nothing.
pub(crate) struct Watch(Arc<AtomicU64>);

impl Watch {
    /// Watches the peer at the other end of `socket`. Start it before the caller is pinned.
    pub(crate) fn start(socket: UnixStream) -> io::Result<Self> {
        let rounds = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&rounds);
        thread::Builder::new().name("bench-watch".into()).spawn(move || watch(&socket, &seen))?;
        Ok(Self(rounds))
    }

    /// One more round is over.
    pub(crate) fn round(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(OVER, Relaxed); // before the socket is closed
    }
}

fn watch(socket: &UnixStream, rounds: &AtomicU64) {
    let mut last = OVER;
    loop {
        let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: one pollfd of ours, and the count says one.
        let ready = unsafe { libc::poll(&raw mut poll, 1, LIMIT_MS) };
        let now = rounds.load(Relaxed);
        let what = match ready {
            _ if now == OVER => return,
            0 if now == last => "a round did not end within 10 seconds",
            0 => {
                last = now;
                continue;
            }
            1.. => {
                thread::sleep(GRACE);
                if rounds.load(Relaxed) == OVER {
                    return;
                }
                "the peer process has ended in the middle of a round"
            }
            _ => continue, // a signal
        };
        eprintln!("bench: {what}");
        std::process::exit(1);
    }
}
