//! Why a ring was not handed over.

use std::fmt;

/// Why a ring was not handed over, or is refused: in [`ErrorKind::Handover`](crate::ErrorKind::Handover).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Whoever started this program has handed over no ring of this name.
    NotInherited,
    /// Another part of this program has taken it already.
    Taken,
    /// The environment variable [`VARIABLE`](crate::handover::VARIABLE) is not as this library writes it.
    BadVariable,
    /// The variable names a descriptor that is closed, or another file by now.
    NotOpen {
        /// Its number.
        descriptor: i32,
    },
    /// It is no memfd; says which of the two.
    NotAMemfd(&'static str),
    /// It lacks a seal that it must have; says which of the two.
    Unsealed(&'static str),
    /// It is sealed memory, but no whole ring; says what is wrong.
    NotARing(&'static str),
    /// Others came than were announced, or too many; all were closed.
    Descriptors {
        /// How many a ring has: 1 for observers, 2 for subscribers.
        expected: usize,
        /// How many came; if more than expected, as far as they were counted.
        came: usize,
    },
    /// What came over the socket is not what this library sends.
    BadMessage,
    /// The process at the other end is not one of those that were allowed.
    StrangePeer {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// The other side did not do its part in time.
    TimedOut,
    /// The other side has closed the socket.
    PeerGone,
    /// Only `data` was handed over, and subscribing takes `ctl`, too.
    DataOnly,
    /// No open file description of its own could be had, mostly for want of `/proc`.
    NoDescription,
    /// The ring has a name, by which others open it.
    Named,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotInherited => f.write_str(
                "no ring of this name was handed to this program; start it by a `Command` with `.hand_over(..)`",
            ),
            Reason::Taken => f.write_str(
                "it was taken already by another part of this program; take it once, and clone what `inherited` returns",
            ),
            Reason::BadVariable => f.write_str(
                "$ANNULUS_RINGS is not as annulus writes it; leave it to `.hand_over(..)`, or unset it",
            ),
            Reason::NotOpen { descriptor } => write!(
                f,
                "descriptor {descriptor} is not the ring that $ANNULUS_RINGS says; only a direct child has it, as long \
                 as it does not close what it does not know"
            ),
            Reason::NotAMemfd(which) => {
                write!(f, "its {which} is no memfd; only rings made by `Ring::anonymous` can be handed over")
            }
            Reason::Unsealed(which) => write!(
                f,
                "its {which} is not sealed, so that its sender could pull it away; take only rings made by \
                 `Ring::anonymous`"
            ),
            Reason::NotARing(what) => {
                write!(f, "what was handed over is not a whole ring: {what}; ask its sender for another")
            }
            Reason::Descriptors { expected, came } => write!(
                f,
                "{came} descriptors came where {expected} belong, and were closed; close the socket, and look at who \
                 sends there (or at RLIMIT_NOFILE)"
            ),
            Reason::BadMessage => {
                f.write_str("what came is no ring; close the socket, and send there with `handover::send` only")
            }
            Reason::StrangePeer { uid, gid } => write!(
                f,
                "the process at the other end has uid {uid} and gid {gid}, which is not allowed; if it shall be, add \
                 `.uid({uid})` or `.gid({gid})` to the `Peers`"
            ),
            Reason::TimedOut => f.write_str("the other side took too long; close the socket, or wait longer"),
            Reason::PeerGone => f.write_str("the other side has closed the socket; connect again"),
            Reason::DataOnly => f.write_str(
                "only its data was handed over, which is for observers; use `observe`, or have the producer send an \
                 `offer()`",
            ),
            Reason::NoDescription => f.write_str(
                "its memory could not be opened anew, and a shared description would share its locks; mount /proc",
            ),
            Reason::Named => {
                f.write_str("it has a name, by which others open it; make one with `Ring::anonymous` to hand it over")
            }
        }
    }
}
