//! Who may be at the other end of a socket.

use std::os::unix::net::UnixStream;

use annulus_os::{pass, sys};

use super::reason::Reason;
use crate::error::{Error, ErrorKind};

/// The users and groups that a ring may be handed to, or taken from: an allow-list, asked of the kernel
/// (`SO_PEERCRED` of unix(7)), never of the peer.
///
/// A peer is allowed if its effective user is on the list, or its effective group. What counts is who connected the
/// socket, or made the pair, by the numbers of this process's user namespace: users that it does not know are 65534
/// there. A process may have handed a connected socket to another since.
///
/// # Examples
///
/// ```
/// use annulus::handover::Peers;
/// let own = Peers::new(); // this process's user, and root
/// let service = Peers::nobody().uid(990); // that user alone
/// let traders = Peers::new().gid(1200); // also whoever runs with that group
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    uids: Vec<u32>,
    gids: Vec<u32>,
}

/// As [`new`](Peers::new).
impl Default for Peers {
    fn default() -> Self {
        Peers::new()
    }
}

impl Peers {
    /// This process's effective user, and root, which may do all that anyway.
    pub fn new() -> Peers {
        Peers::nobody().uid(sys::uid()).uid(0)
    }

    /// Nobody yet.
    pub fn nobody() -> Peers {
        Peers { uids: Vec::new(), gids: Vec::new() }
    }

    /// Allows a user, too.
    pub fn uid(mut self, uid: u32) -> Peers {
        self.uids.push(uid);
        self
    }

    /// Allows whoever runs with this effective group, too. Supplementary groups do not count: the kernel does not tell
    /// them.
    pub fn gid(mut self, gid: u32) -> Peers {
        self.gids.push(gid);
        self
    }

    /// Whether this user and group may be at the other end.
    pub fn allows(&self, uid: u32, gid: u32) -> bool {
        self.uids.contains(&uid) || self.gids.contains(&gid)
    }

    pub(super) fn check(&self, socket: &UnixStream, ring: &str) -> Result<u32, Error> {
        let peer = pass::peer(socket).map_err(|source| Error::io("ask who the peer is", ring, source))?;
        if self.allows(peer.uid, peer.gid) {
            return Ok(peer.uid);
        }
        Err(Error::of(ErrorKind::Handover(Reason::StrangePeer { uid: peer.uid, gid: peer.gid }), ring))
    }
}
