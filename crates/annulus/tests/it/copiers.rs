//! Readers that copy, of both kinds, with one set of verbs; and the account of what one has received and lost.

use std::time::Duration;

use annulus::{
    CopyError, CopyTimeoutError, CopyingSubscriber, Observer, Open, OwnedRecord, Received, RecvError,
    TryCopyError, Waiting,
};

/// Which kind of reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Observer,
    Copying,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Observer, Kind::Copying];

impl Kind {
    #[track_caller]
    pub(crate) fn open(self, open: Open) -> Copier {
        self.try_open(open).unwrap()
    }

    pub(crate) fn try_open(self, open: Open) -> Result<Copier, annulus::Error> {
        match self {
            Kind::Observer => open.observe().map(Copier::Observer),
            Kind::Copying => open.subscribe_copying().map(Copier::Copying),
        }
    }
}

/// A reader of either kind.
#[derive(Debug)]
pub(crate) enum Copier {
    Observer(Observer),
    Copying(CopyingSubscriber),
}

macro_rules! either {
    ($self:expr, $rx:ident => $call:expr) => {
        match $self {
            Copier::Observer($rx) => $call,
            Copier::Copying($rx) => $call,
        }
    };
}

impl Copier {
    pub(crate) fn recv(&mut self, buf: &mut [u8]) -> Result<Received, CopyError> {
        either!(self, rx => rx.recv(buf))
    }

    pub(crate) fn try_recv(&mut self, buf: &mut [u8]) -> Result<Received, TryCopyError> {
        either!(self, rx => rx.try_recv(buf))
    }

    pub(crate) fn recv_timeout(
        &mut self,
        buf: &mut [u8],
        limit: Duration,
    ) -> Result<Received, CopyTimeoutError> {
        either!(self, rx => rx.recv_timeout(buf, limit))
    }

    pub(crate) fn recv_into(&mut self, buf: &mut Vec<u8>) -> Result<Received, CopyError> {
        either!(self, rx => rx.recv_into(buf))
    }

    pub(crate) fn try_recv_into(&mut self, buf: &mut Vec<u8>) -> Result<Received, TryCopyError> {
        either!(self, rx => rx.try_recv_into(buf))
    }

    pub(crate) fn recv_into_timeout(
        &mut self,
        buf: &mut Vec<u8>,
        limit: Duration,
    ) -> Result<Received, CopyTimeoutError> {
        either!(self, rx => rx.recv_into_timeout(buf, limit))
    }

    pub(crate) fn latest(&mut self, buf: &mut [u8]) -> Result<Received, TryCopyError> {
        either!(self, rx => rx.latest(buf))
    }

    pub(crate) fn latest_into(&mut self, buf: &mut Vec<u8>) -> Result<Received, TryCopyError> {
        either!(self, rx => rx.latest_into(buf))
    }

    pub(crate) fn items(&mut self) -> Vec<Result<OwnedRecord, CopyError>> {
        either!(self, rx => rx.iter().collect())
    }

    pub(crate) fn sequence(&self) -> u64 {
        either!(self, rx => rx.sequence())
    }

    pub(crate) fn lost(&self) -> u64 {
        either!(self, rx => rx.lost())
    }

    pub(crate) fn max_len(&self) -> usize {
        either!(self, rx => rx.max_len())
    }

    pub(crate) fn now(&self) -> u64 {
        either!(self, rx => rx.now())
    }

    pub(crate) fn set_waiting(&mut self, waiting: Waiting) {
        either!(self, rx => rx.set_waiting(waiting));
    }

    pub(crate) fn is_linked(&self) -> bool {
        either!(self, rx => rx.is_linked())
    }

    /// The records that are there; none may be lost.
    #[track_caller]
    pub(crate) fn items_now(&mut self) -> Vec<Vec<u8>> {
        let mut items = Vec::new();
        let mut buf = Vec::new();
        loop {
            match self.try_recv_into(&mut buf) {
                Ok(_) => items.push(buf.clone()),
                Err(TryCopyError::Empty) => return items,
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// What a reader has received and lost. Each loss must be exact: the next record is just behind it.
#[derive(Debug)]
pub(crate) struct Account {
    /// The sequence that must come next.
    pub(crate) next: u64,
    pub(crate) received: u64,
    pub(crate) lagged: u64,
}

impl Account {
    pub(crate) fn new(next: u64) -> Account {
        Account { next, received: 0, lagged: 0 }
    }

    /// Enters what a call has returned; the end if it was that. `expected` makes the bytes of a record.
    #[track_caller]
    pub(crate) fn enter(
        &mut self,
        got: Result<Received, CopyError>,
        buf: &[u8],
        expected: impl FnOnce(u64) -> Vec<u8>,
    ) -> Option<RecvError> {
        match got {
            Ok(received) => {
                assert_eq!(received.sequence, self.next, "a gap, or a record twice");
                assert!(buf[..received.len] == expected(self.next), "a torn record: {}", self.next);
                self.received += 1;
                self.next += 1;
                None
            }
            Err(CopyError::Lagged(lost)) => {
                assert!(lost > 0, "a loss of nothing");
                self.lagged += lost;
                self.next += lost;
                None
            }
            Err(CopyError::Ended(end)) => Some(end),
            Err(other) => panic!("{other}"),
        }
    }

    /// Reads to the end, which it returns.
    #[track_caller]
    pub(crate) fn read_all(&mut self, rx: &mut Copier, expected: impl Fn(u64) -> Vec<u8>) -> RecvError {
        let mut buf = Vec::new();
        loop {
            let got = rx.recv_into(&mut buf);
            if let Some(end) = self.enter(got, &buf, &expected) {
                assert_eq!((rx.sequence(), rx.lost()), (self.next, self.lagged));
                return end;
            }
        }
    }

    /// That everything that was published is accounted for.
    #[track_caller]
    pub(crate) fn balances(&self, published: u64) {
        assert_eq!(self.received + self.lagged, published, "{self:?}");
    }
}
