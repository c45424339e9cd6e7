//! Where records flow: small `Copy` enums, each with a sentence that says what to do.

use std::fmt;

use annulus_core::reader::End;
use annulus_core::writer::Who;
use annulus_os::Birth;

macro_rules! error_text {
    ($name:ident { $($pattern:pat => $text:expr),* $(,)? }) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $($pattern => f.write_str(&$text)),*
                }
            }
        }

        impl std::error::Error for $name {}
    };
}

const DRAINED: &str = "the ring is drained and its producer has ended; nothing will come any more";
const LOST: &str = "the ring is drained and its producer died; wait for the next one, or end";
const REPLACED: &str = "another ring took this one's name; open the name again";
const EVICTED: &str = "the producer went on without this reader; subscribe again";
const NOBODY: &str = "no subscriber and no group is there, and nothing was sent; start one, or use `wait_for_subscribers` first";
const FORKED: &str =
    "this process is a forked child of the one that opened the ring; open it here, after the fork";
const DAMAGED: &str =
    "the ring holds something that no producer writes; end its processes and create it again";

fn too_large(len: usize, max: usize) -> String {
    format!(
        "a record of {len} bytes is longer than the {max} that this ring takes; send less, or use a larger ring"
    )
}

fn full(behind: Behind) -> String {
    format!("the ring is full: {} is {} bytes behind; send again when it has read", behind.who, behind.bytes)
}

fn gone(acks: Acks) -> String {
    let Acks { of, released, gone } = acks;
    format!(
        "the record was sent, and {released} of {of} receivers released it; {gone} died, left or were given up before they did: \
         send it again only if those who come after them should have it twice"
    )
}

fn overdue(acks: Acks) -> String {
    let Acks { of, released, gone } = acks;
    format!(
        "the record was sent, and only {released} of {of} receivers released it in time ({gone} never will); \
         do not send it again, and wait longer the next time"
    )
}

/// Who holds a full ring's producer back. May be stale by the time you look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Behind {
    /// A subscriber, or a group of workers.
    pub who: Who,
    /// Bytes that it has not released.
    pub bytes: u64,
}

/// Why [`Producer::send`](crate::Producer::send) did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// No record of this ring may be so long.
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The longest, in bytes.
        max: usize,
    },
    /// This process is a forked child of the one that opened the ring: only that one may use the handle.
    Forked,
}

/// Why [`Producer::try_send`](crate::Producer::try_send) did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError {
    /// A subscriber is a full ring behind.
    Full(Behind),
    /// No record of this ring may be so long.
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The longest, in bytes.
        max: usize,
    },
    /// This process is a forked child of the one that opened the ring: only that one may use the handle.
    Forked,
}

/// Why [`Producer::send_timeout`](crate::Producer::send_timeout) did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendTimeoutError {
    /// A subscriber was still a full ring behind when the time was over.
    TimedOut(Behind),
    /// No record of this ring may be so long.
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The longest, in bytes.
        max: usize,
    },
    /// This process is a forked child of the one that opened the ring: only that one may use the handle.
    Forked,
}

/// Who was to release a record, subscribers and groups of workers, and how many have: of those that [`Producer::send_acked`](crate::Producer::send_acked)
/// waited for. May be stale by the time you look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acks {
    /// How many there were when the record was published.
    pub of: u32,
    /// How many have released it.
    pub released: u32,
    /// How many never will: they died, left or ended before they did, or had been given up.
    pub gone: u32,
}

/// Why [`Producer::send_acked`](crate::Producer::send_acked) cannot say that everyone released the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendAckedError {
    /// There is nobody to wait for; nothing was sent.
    NoSubscribers,
    /// The record was sent, and some of those that it was for never released it.
    Gone(Acks),
    /// No record of this ring may be so long; nothing was sent.
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The longest, in bytes.
        max: usize,
    },
    /// This process is a forked child of the one that opened the ring: only that one may use the handle.
    Forked,
}

/// Why [`Producer::send_acked_timeout`](crate::Producer::send_acked_timeout) cannot say that everyone released the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendAckedTimeoutError {
    /// The record was sent, and not everyone had released it when the time was over.
    TimedOut(Acks),
    /// A subscriber was still a full ring behind when the time was over; nothing was sent.
    Full(Behind),
    /// There is nobody to wait for; nothing was sent.
    NoSubscribers,
    /// The record was sent, and some of those that it was for never released it.
    Gone(Acks),
    /// No record of this ring may be so long; nothing was sent.
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The longest, in bytes.
        max: usize,
    },
    /// This process is a forked child of the one that opened the ring: only that one may use the handle.
    Forked,
}

/// Why [`Subscriber::recv`](crate::Subscriber::recv) has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// Drained, and the producer ended cleanly.
    Closed,
    /// Drained, and the producer died. Another may take over: receiving again goes on with its records.
    ProducerLost,
    /// Another ring took the name.
    Replaced,
    /// The producer went on without this reader.
    Evicted,
    /// The ring holds something that no producer writes.
    Corrupt,
    /// This process is a forked child of the one that opened the ring: only that one may use the handle.
    Forked,
}

/// Why [`Subscriber::try_recv`](crate::Subscriber::try_recv) has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// Nothing new yet.
    Empty,
    /// Nothing will come: see [`RecvError`].
    Ended(RecvError),
}

/// What a look has found that ends a wait.
pub(crate) fn unless_empty<T>(outcome: Result<T, TryRecvError>) -> Option<Result<T, RecvError>> {
    match outcome {
        Ok(found) => Some(Ok(found)),
        Err(TryRecvError::Ended(end)) => Some(Err(end)),
        Err(TryRecvError::Empty) => None,
    }
}

/// Why [`Subscriber::recv_timeout`](crate::Subscriber::recv_timeout) has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// Nothing new in time.
    TimedOut,
    /// Nothing will come: see [`RecvError`].
    Ended(RecvError),
}

/// Why an [`Observer`](crate::Observer) or a [`CopyingSubscriber`](crate::CopyingSubscriber) has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyError {
    /// The producer went on without this reader: so many records were lost. The next call goes on behind them.
    Lagged(u64),
    /// The buffer is shorter than the record, which stays the next.
    TooSmall {
        /// Bytes that the record has.
        need: usize,
    },
    /// Nothing will come: see [`RecvError`].
    Ended(RecvError),
}

/// The same where nobody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryCopyError {
    /// Nothing new yet.
    Empty,
    /// As [`CopyError::Lagged`].
    Lagged(u64),
    /// As [`CopyError::TooSmall`].
    TooSmall {
        /// Bytes that the record has.
        need: usize,
    },
    /// Nothing will come: see [`RecvError`].
    Ended(RecvError),
}

/// The same where one waits for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyTimeoutError {
    /// Nothing new in time.
    TimedOut,
    /// As [`CopyError::Lagged`].
    Lagged(u64),
    /// As [`CopyError::TooSmall`].
    TooSmall {
        /// Bytes that the record has.
        need: usize,
    },
    /// Nothing will come: see [`RecvError`].
    Ended(RecvError),
}

macro_rules! from_copy_error {
    ($($name:ident),*) => {$(
        impl From<CopyError> for $name {
            fn from(error: CopyError) -> Self {
                match error {
                    CopyError::Lagged(lost) => $name::Lagged(lost),
                    CopyError::TooSmall { need } => $name::TooSmall { need },
                    CopyError::Ended(end) => $name::Ended(end),
                }
            }
        }
    )*};
}

from_copy_error!(TryCopyError, CopyTimeoutError);

/// Why [`Producer::wait_for_subscribers`](crate::Producer::wait_for_subscribers) did not find so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// Fewer were there when the time was over.
    TimedOut {
        /// How many.
        present: u32,
    },
    /// The ring has not so many places.
    TooMany {
        /// How many it has.
        max: u32,
    },
    /// This process is a forked child of the one that opened the ring: only that one may use the handle.
    Forked,
}

/// Why a [`Select`](crate::Select) found nothing ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectError {
    /// Nothing was ready when the time was over.
    TimedOut,
    /// An empty list, and no limit: it would wait for ever.
    NoSources,
}

impl From<End> for RecvError {
    fn from(end: End) -> Self {
        match end {
            End::Closed => RecvError::Closed,
            End::Superseded => RecvError::Replaced,
            End::Damaged => RecvError::Corrupt,
        }
    }
}

fn lagged(lost: u64) -> String {
    format!(
        "the producer went on over {lost} records that were not read; read on, faster, or in a larger ring"
    )
}

fn too_small(need: usize) -> String {
    format!("the next record has {need} bytes, more than the buffer; give it so many, or use `recv_into`")
}

error_text!(CopyError {
    CopyError::Lagged(lost) => lagged(lost),
    CopyError::TooSmall { need } => too_small(need),
    CopyError::Ended(end) => end.to_string(),
});
error_text!(TryCopyError {
    TryCopyError::Empty => "nothing new yet; try again, or use `recv`",
    TryCopyError::Lagged(lost) => lagged(lost),
    TryCopyError::TooSmall { need } => too_small(need),
    TryCopyError::Ended(end) => end.to_string(),
});
error_text!(CopyTimeoutError {
    CopyTimeoutError::TimedOut => "nothing new in time; try again, or wait longer",
    CopyTimeoutError::Lagged(lost) => lagged(lost),
    CopyTimeoutError::TooSmall { need } => too_small(need),
    CopyTimeoutError::Ended(end) => end.to_string(),
});
error_text!(WaitError {
    WaitError::TimedOut { present } =>
        format!("only {present} subscribers came in time; start the others, or wait longer"),
    WaitError::TooMany { max } =>
        format!("the ring has places for {max} subscribers only; create it with more (`.max_subscribers(..)`)"),
    WaitError::Forked => FORKED,
});
error_text!(SelectError {
    SelectError::TimedOut => "nothing was ready in time; wait again, or longer",
    SelectError::NoSources => "there is nothing in the list to wait for; list a ring, or give the wait a limit",
});
error_text!(SendError {
    SendError::TooLarge { len, max } => too_large(len, max),
    SendError::Forked => FORKED,
});
error_text!(TrySendError {
    TrySendError::Full(behind) => full(behind),
    TrySendError::TooLarge { len, max } => too_large(len, max),
    TrySendError::Forked => FORKED,
});
error_text!(SendTimeoutError {
    SendTimeoutError::TimedOut(behind) => full(behind),
    SendTimeoutError::TooLarge { len, max } => too_large(len, max),
    SendTimeoutError::Forked => FORKED,
});
error_text!(SendAckedError {
    SendAckedError::NoSubscribers => NOBODY,
    SendAckedError::Gone(acks) => gone(acks),
    SendAckedError::TooLarge { len, max } => too_large(len, max),
    SendAckedError::Forked => FORKED,
});
error_text!(SendAckedTimeoutError {
    SendAckedTimeoutError::TimedOut(acks) => overdue(acks),
    SendAckedTimeoutError::Full(behind) => full(behind),
    SendAckedTimeoutError::NoSubscribers => NOBODY,
    SendAckedTimeoutError::Gone(acks) => gone(acks),
    SendAckedTimeoutError::TooLarge { len, max } => too_large(len, max),
    SendAckedTimeoutError::Forked => FORKED,
});
error_text!(RecvError {
    RecvError::Closed => DRAINED,
    RecvError::ProducerLost => LOST,
    RecvError::Replaced => REPLACED,
    RecvError::Evicted => EVICTED,
    RecvError::Corrupt => DAMAGED,
    RecvError::Forked => FORKED,
});
error_text!(TryRecvError {
    TryRecvError::Empty => "nothing new yet; try again, or use `recv`",
    TryRecvError::Ended(end) => end.to_string(),
});
error_text!(RecvTimeoutError {
    RecvTimeoutError::TimedOut => "nothing new in time; try again, or wait longer",
    RecvTimeoutError::Ended(end) => end.to_string(),
});

impl From<SendError> for TrySendError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::TooLarge { len, max } => TrySendError::TooLarge { len, max },
            SendError::Forked => TrySendError::Forked,
        }
    }
}

/// A handle was used in a forked child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forked;

/// Whether a handle may be used: by the process that opened it.
#[inline]
pub(crate) fn at_home(birth: Birth) -> Result<(), Forked> {
    if birth.is_here() { Ok(()) } else { Err(Forked) }
}

macro_rules! from_forked {
    ($($name:ident => $value:expr),* $(,)?) => {$(
        impl From<Forked> for $name {
            fn from(_: Forked) -> Self {
                $value
            }
        }
    )*};
}

from_forked! {
    SendError => SendError::Forked,
    TrySendError => TrySendError::Forked,
    SendTimeoutError => SendTimeoutError::Forked,
    SendAckedError => SendAckedError::Forked,
    SendAckedTimeoutError => SendAckedTimeoutError::Forked,
    WaitError => WaitError::Forked,
    RecvError => RecvError::Forked,
    TryRecvError => TryRecvError::Ended(RecvError::Forked),
    RecvTimeoutError => RecvTimeoutError::Ended(RecvError::Forked),
    CopyError => CopyError::Ended(RecvError::Forked),
    TryCopyError => TryCopyError::Ended(RecvError::Forked),
    CopyTimeoutError => CopyTimeoutError::Ended(RecvError::Forked),
}
