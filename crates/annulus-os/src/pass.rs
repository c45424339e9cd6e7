//! Descriptors on their way to another process: over a Unix socket, with a time limit, and with who is at its other
//! end. unix(7), `SCM_RIGHTS` and `SO_PEERCRED`.
//!
//! A descriptor that is passed shares its open file description with the original, and with it every
//! [lock](crate::lock). Pass on none that holds one; [`reopen`](crate::inherit::reopen) gives a description of its own.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Most descriptors that [`send`] takes, and that [`receive`] makes room for.
pub const MOST: usize = 3;

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The effective user id, as it is called in this process's user namespace.
    pub uid: u32,
    /// The effective group id. Other groups are not told.
    pub gid: u32,
}

/// Who was at the other end of a socket when it was connected, or when its pair was made. The kernel says so, not the
/// peer. It may have handed the socket to another since. `SO_PEERCRED` of unix(7).
///
/// # Errors
///
/// What getsockopt(2) reports.
pub fn peer(socket: &UnixStream) -> io::Result<Peer> {
    // Not rustix's, for which a pid is never 0: that of a peer in another PID namespace is.
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of_val(&peer) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `peer`, which are as many as it has; any bits are a value of it.
    let result = unsafe {
        let value = (&raw mut peer).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, value, &raw mut len)
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer { uid: peer.uid, gid: peer.gid })
}

/// Sends all of `bytes`, which are not empty, and with the first of them up to [`MOST`] descriptors. Whether the socket
/// blocks makes no difference.
///
/// # Errors
///
/// `TimedOut` at the deadline, when a part may have been sent; `BrokenPipe` if the other side has closed; `EPERM` and
/// `ETOOMANYREFS` if too many descriptors are on their way; `InvalidInput` for too many here.
pub fn send(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let mut sent = 0;
    while sent < bytes.len() {
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let first = sent == 0 && !descriptors.is_empty();
        if first && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(socket, &[io::IoSlice::new(&bytes[sent..])], &mut ancillary, flags) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(socket, PollFlags::OUT, deadline)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What came with the bytes.
#[derive(Debug)]
pub struct Received {
    /// The descriptors, all closed on exec.
    pub descriptors: Vec<OwnedFd>,
    /// There were more than there was room for; the kernel has closed those.
    pub more: bool,
}

/// Receives as many bytes as `bytes` has, and the descriptors that come with them. Reads nothing behind them. Ends early,
/// with what there is, once more than `expected` descriptors have come: whoever sends more sends for ever, maybe.
/// Whether the socket blocks makes no difference.
///
/// # Errors
///
/// `TimedOut` at the deadline; `UnexpectedEof` if the other side has closed; and what recvmsg(2) reports. Whatever has
/// come is closed, and bytes that were read are gone.
pub fn receive(
    socket: &UnixStream,
    bytes: &mut [u8],
    expected: usize,
    deadline: Option<Instant>,
) -> io::Result<Received> {
    let mut received = Received { descriptors: Vec::new(), more: false };
    let mut filled = 0;
    while filled < bytes.len() {
        match receive_part(socket, &mut bytes[filled..], &mut received) {
            Ok(_) if received.more || received.descriptors.len() > expected => {
                received.more = true;
                return Ok(received);
            }
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => wait(socket, PollFlags::IN, deadline)?,
                _ => return Err(error),
            },
        }
    }
    Ok(received)
}

/// One recvmsg(2): some bytes, and the descriptors that are with them. Not rustix's, for which the pid of a sender is
/// never 0; that of one in another PID namespace is, where the socket's owner has asked for credentials.
fn receive_part(socket: &UnixStream, bytes: &mut [u8], received: &mut Received) -> io::Result<usize> {
    // Room for credentials too, which come first. Words, so that it is aligned as a header must be.
    let mut space = [0_u64; cmsg_space!(ScmCredentials(1), ScmRights(MOST)).div_ceil(size_of::<u64>())];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: a struct of integers and pointers, for which all zero is a value: nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&space) as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: the message tells of `bytes` and `space`, both borrowed exclusively and as long as it says.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: what recvmsg has left in `message` are `msg_controllen` bytes of `space`, in whole control messages; the two
    // functions lead from one to the next within them, or to null. A header is aligned as `space` is. Behind one of
    // SCM_RIGHTS are, up to its length, descriptors that the kernel has just opened and that nobody else knows of.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(head) = header.as_ref() {
            if (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                // The width of the field differs from C library to C library.
                #[allow(clippy::unnecessary_cast)]
                let len = (head.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let first = libc::CMSG_DATA(header).cast::<libc::c_int>();
                for i in 0..len / size_of::<libc::c_int>() {
                    received.descriptors.push(OwnedFd::from_raw_fd(first.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    received.more |= message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(count)
}

/// Waits until the socket may be tried again, or a signal comes.
fn wait(socket: &UnixStream, what: PollFlags, deadline: Option<Instant>) -> io::Result<()> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    // A time too long to express is none.
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut [PollFd::from_borrowed_fd(socket.as_fd(), what)], left.as_ref()) {
        // After the last wait comes a last try.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
