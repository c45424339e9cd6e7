//! Over a Unix socket: one message of 256 bytes, and the descriptors with its first.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use annulus_os::pass;

use super::offer::Offer;
use super::peers::Peers;
use super::reason::Reason;
use crate::error::{Error, ErrorKind};

/// Bytes of the message: `annulusH`, its version, the number of descriptors, the length of the name, the name, zeros.
/// It has one length, so that what the socket's owners send behind it stays theirs.
const BYTES: usize = 256;
const MAGIC: &[u8; 8] = b"annulusH";
const VERSION: u8 = 1;
const NAME_AT: usize = 11;
/// What errors are about as long as the name is not known.
const UNKNOWN: &str = "(handed over)";

/// Hands a ring to the process at the other end of a Unix socket, if the kernel says that it is one of `peers`. Waits at
/// most `timeout`, mostly not at all: it returns when the message is on its way, not when it has arrived.
///
/// The socket can be used for other things before and after, by both sides in the same order. Whether it blocks
/// makes no difference. The other side takes it with [`receive`].
///
/// # Errors
///
/// [`Handover`](ErrorKind::Handover) with [`StrangePeer`](Reason::StrangePeer), and nothing was sent; with
/// [`TimedOut`](Reason::TimedOut) or [`PeerGone`](Reason::PeerGone), after which the socket is of no use; and what
/// sendmsg(2) reports. The offer is withdrawn in any case.
pub fn send(socket: &UnixStream, offer: Offer, peers: &Peers, timeout: Duration) -> Result<(), Error> {
    peers.check(socket, offer.name())?;
    // Closed in the end, whatever that is.
    let (name, data, ctl) = offer.into_files();
    let descriptors: Vec<_> = std::iter::once(&data).chain(&ctl).map(AsFd::as_fd).collect();
    let mut message = [0; BYTES];
    message[..8].copy_from_slice(MAGIC);
    message[8] = VERSION;
    message[9] = descriptors.len() as u8;
    // 200 bytes at most, which was checked when the ring was made.
    message[10] = name.len() as u8;
    message[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
    pass::send(socket, &message, &descriptors, Instant::now().checked_add(timeout))
        .map_err(|source| failed("hand the ring over", &name, source))
}

/// Takes a ring that the process at the other end of a Unix socket [sends](send), if the kernel says that it is one of
/// `peers`. Waits at most `timeout`.
///
/// Nothing of what comes is trusted. Each descriptor must be a memfd that is sealed as [`Ring::anonymous`] seals it, and as
/// long as a ring of its shape is, so that no access to it can fail later; a descriptor too many is closed, and so is
/// whatever is refused. Whose memory may be read in place is asked when it is opened, of who made it and of who sent it: see
/// [`Open::trust_uid`](crate::Open::trust_uid).
///
/// [`Ring::anonymous`]: crate::Ring::anonymous
///
/// # Errors
///
/// [`Handover`](ErrorKind::Handover) with [`StrangePeer`](Reason::StrangePeer), and nothing was read; with any other of
/// the [`Reason`]s, after which the socket is of no use; those of [`Offer::from_fds`]; and what recvmsg(2) reports.
pub fn receive(socket: &UnixStream, peers: &Peers, timeout: Duration) -> Result<Offer, Error> {
    let giver = peers.check(socket, UNKNOWN)?;
    let refused = |reason| Error::of(ErrorKind::Handover(reason), UNKNOWN);
    let mut message = [0; BYTES];
    let deadline = Instant::now().checked_add(timeout);
    let received = pass::receive(socket, &mut message, 2, deadline)
        .map_err(|source| failed("take the ring", UNKNOWN, source))?;
    let came = received.descriptors.len();
    if received.more {
        return Err(refused(Reason::Descriptors { expected: 2, came }));
    }
    let (name, expected) = read(&message).ok_or_else(|| refused(Reason::BadMessage))?;
    if came != expected {
        return Err(refused(Reason::Descriptors { expected, came }));
    }
    let mut files = received.descriptors.into_iter().map(File::from);
    // One at least: it was counted.
    let Some(data) = files.next() else { return Err(refused(Reason::BadMessage)) };
    Ok(Offer::of_files(name, data, files.next())?.sent_by(giver))
}

/// The name in a message, and how many descriptors it says it has.
fn read(message: &[u8; BYTES]) -> Option<(&str, usize)> {
    let (count, len) = (usize::from(message[9]), usize::from(message[10]));
    if &message[..8] != MAGIC || message[8] != VERSION || !(1..=2).contains(&count) {
        return None;
    }
    let (name, rest) = message[NAME_AT..].split_at_checked(len)?;
    let name = str::from_utf8(name).ok()?;
    rest.iter().all(|&byte| byte == 0).then_some((name, count))
}

fn failed(step: &'static str, ring: &str, source: io::Error) -> Error {
    let reason = match source.kind() {
        io::ErrorKind::TimedOut => Reason::TimedOut,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            Reason::PeerGone
        }
        _ => return Error::io(step, ring, source),
    };
    Error::caused(ErrorKind::Handover(reason), ring, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_with_care() {
        let mut good = [0; BYTES];
        good[..8].copy_from_slice(MAGIC);
        (good[8], good[9], good[10]) = (VERSION, 2, 3);
        good[NAME_AT..NAME_AT + 3].copy_from_slice(b"abc");
        assert_eq!(read(&good), Some(("abc", 2)));
        for (at, byte) in [(0, b'A'), (8, 2), (9, 0), (9, 3), (10, 2), (10, 255), (11, 0xff), (BYTES - 1, 1)]
        {
            let mut bad = good;
            bad[at] = byte;
            assert_eq!(read(&bad), None, "{at} {byte}");
        }
        // As long as there is room for: what is a name is checked elsewhere.
        good[10] = 245;
        good[NAME_AT..].fill(b'x');
        assert_eq!(read(&good).unwrap().0.len(), 245);
    }
}
