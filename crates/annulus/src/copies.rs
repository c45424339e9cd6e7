//! The verbs of a reader that copies: the same for one that the producer waits for and for one it does not.

use crate::copier::Copier;
use crate::error::CopyError;
use crate::received::OwnedRecord;

/// Gives a reader around a [`Copier`] its verbs.
macro_rules! copying_reader {
    ($name:ident) => {
        impl $name {
            pub(crate) fn inner(&self) -> &Copier {
                &self.0
            }

            pub(crate) fn inner_mut(&mut self) -> &mut Copier {
                &mut self.0
            }

            /// Copies the next record into `buf`; waits for it.
            ///
            /// # Errors
            ///
            /// [`CopyError`](crate::CopyError): [`Lagged`](crate::CopyError::Lagged) if records were lost, and the next call goes on behind them;
            /// [`TooSmall`](crate::CopyError::TooSmall) if `buf` is shorter than the record, which stays the next. `buf` may hold
            /// rubbish then.
            pub fn recv(&mut self, mut buf: &mut [u8]) -> Result<$crate::Received, $crate::CopyError> {
                self.0.recv(&mut buf)
            }

            /// The same if a record is there.
            ///
            /// # Errors
            ///
            /// [`TryCopyError`](crate::TryCopyError).
            ///
            /// # Examples
            ///
            /// ```
            /// use annulus::{Ring, TryCopyError};
            /// # let dir = format!("/dev/shm/annulus-doc-try-{}-{:?}", std::process::id(), std::thread::current().id());
            /// # let mut tx = Ring::create("t").dir(&dir).producer()?;
            /// # let mut rx = Ring::open("t").dir(&dir).observe()?;
            /// let mut buf = [0; 4];
            /// assert_eq!(rx.try_recv(&mut buf), Err(TryCopyError::Empty));
            /// tx.send(b"too long")?;
            /// assert_eq!(rx.try_recv(&mut buf), Err(TryCopyError::TooSmall { need: 8 }));
            /// let mut buf = [0; 8];
            /// assert_eq!(rx.try_recv(&mut buf)?.len, 8);
            /// # drop((rx, tx));
            /// # std::fs::remove_dir(dir).unwrap();
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn try_recv(&mut self, mut buf: &mut [u8]) -> Result<$crate::Received, $crate::TryCopyError> {
                self.0.try_recv(&mut buf)
            }

            /// The same, waiting at most `timeout`. A record that comes exactly then is returned.
            ///
            /// # Errors
            ///
            /// [`CopyTimeoutError`](crate::CopyTimeoutError).
            pub fn recv_timeout(
                &mut self,
                mut buf: &mut [u8],
                timeout: std::time::Duration,
            ) -> Result<$crate::Received, $crate::CopyTimeoutError> {
                self.0.recv_timeout(&mut buf, timeout)
            }

            /// Copies the next record into `buf`, which becomes as long as it; waits for it. Allocates only when a record
            /// is longer than any before.
            ///
            /// # Errors
            ///
            /// [`CopyError`](crate::CopyError), never `TooSmall`; `buf` may hold rubbish then.
            ///
            /// # Examples
            ///
            /// ```
            /// use annulus::Ring;
            /// # let dir = format!("/dev/shm/annulus-doc-into-{}-{:?}", std::process::id(), std::thread::current().id());
            /// # let mut tx = Ring::create("t").dir(&dir).producer()?;
            /// # let mut rx = Ring::open("t").dir(&dir).observe()?;
            /// let mut buf = Vec::new();
            /// tx.send_batch(["short", "rather longer"])?;
            /// rx.recv_into(&mut buf)?;
            /// assert_eq!(buf, b"short");
            /// rx.recv_into(&mut buf)?;
            /// assert_eq!(buf, b"rather longer");
            /// # drop((rx, tx));
            /// # std::fs::remove_dir(dir).unwrap();
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn recv_into(
                &mut self,
                mut buf: &mut Vec<u8>,
            ) -> Result<$crate::Received, $crate::CopyError> {
                self.0.recv(&mut buf)
            }

            /// The same if a record is there.
            ///
            /// # Errors
            ///
            /// [`TryCopyError`](crate::TryCopyError), never `TooSmall`.
            pub fn try_recv_into(
                &mut self,
                mut buf: &mut Vec<u8>,
            ) -> Result<$crate::Received, $crate::TryCopyError> {
                self.0.try_recv(&mut buf)
            }

            /// The same, waiting at most `timeout`.
            ///
            /// # Errors
            ///
            /// [`CopyTimeoutError`](crate::CopyTimeoutError), never `TooSmall`.
            pub fn recv_into_timeout(
                &mut self,
                mut buf: &mut Vec<u8>,
                timeout: std::time::Duration,
            ) -> Result<$crate::Received, $crate::CopyTimeoutError> {
                self.0.recv_timeout(&mut buf, timeout)
            }

            /// Copies the newest record, also one that was received before, and goes on behind it. Records passed over are not
            /// losses. A ring that holds a record has a newest one, whether or not its producer lives.
            ///
            /// # Errors
            ///
            /// [`TryCopyError`](crate::TryCopyError): `Empty` if nothing was published yet, or if the room of
            /// the newest record was given to one that was not sent; `Lagged` if records of about the ring's size come so fast
            /// that none can be copied.
            ///
            /// # Examples
            ///
            /// ```
            /// use annulus::Ring;
            /// # let dir = format!("/dev/shm/annulus-doc-latest-{}-{:?}", std::process::id(), std::thread::current().id());
            /// # let mut tx = Ring::create("pose").dir(&dir).producer()?;
            /// tx.send_batch(["1", "2", "3"])?;
            /// # let mut rx = Ring::open("pose").dir(&dir).observe()?;
            /// let mut buf = [0; 8];
            /// let received = rx.latest(&mut buf)?;
            /// assert_eq!((received.sequence, &buf[..received.len]), (2, &b"3"[..]));
            /// # drop((rx, tx));
            /// # std::fs::remove_dir(dir).unwrap();
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn latest(&mut self, mut buf: &mut [u8]) -> Result<$crate::Received, $crate::TryCopyError> {
                self.0.latest(&mut buf)
            }

            /// The same into `buf`, which becomes as long as the record.
            ///
            /// # Errors
            ///
            /// [`TryCopyError`](crate::TryCopyError), never `TooSmall`.
            pub fn latest_into(
                &mut self,
                mut buf: &mut Vec<u8>,
            ) -> Result<$crate::Received, $crate::TryCopyError> {
                self.0.latest(&mut buf)
            }

            /// Records of one's own as they come, until the end: losses are items, `Closed` ends the iteration, any other end
            /// is its last item. Allocates for each record; [`recv_into`](Self::recv_into) does not.
            ///
            /// # Examples
            ///
            /// ```
            /// use annulus::{CopyError, Ring};
            /// # let dir = format!("/dev/shm/annulus-doc-iter-{}-{:?}", std::process::id(), std::thread::current().id());
            /// # let mut tx = Ring::create("t").dir(&dir).producer()?;
            /// # let mut rx = Ring::open("t").dir(&dir).observe()?;
            /// tx.send_batch(["a", "b"])?;
            /// drop(tx);
            /// for record in &mut rx {
            ///     match record {
            ///         Ok(record) => println!("{}: {} bytes", record.sequence, record.len()),
            ///         Err(CopyError::Lagged(lost)) => println!("{lost} lost"),
            ///         Err(end) => return Err(end.into()),
            ///     }
            /// }
            /// # drop(rx);
            /// # std::fs::remove_dir(dir).unwrap();
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn iter(&mut self) -> $crate::Copies<'_> {
                $crate::Copies::new(&mut self.0)
            }

            /// The sequence of the next record.
            pub fn sequence(&self) -> u64 {
                self.0.sequence()
            }

            /// Records that were lost so far, in all.
            pub fn lost(&self) -> u64 {
                self.0.lost()
            }

            /// Longest record that the ring takes, in bytes: a buffer that no record is too long for.
            pub fn max_len(&self) -> usize {
                self.0.identity().shape.max_user_len() as usize
            }

            /// The time now, in nanoseconds by the ring's [`Clock`](crate::Clock), to compare with [`Received::time`](crate::Received::time); by
            /// `CLOCK_MONOTONIC` on a ring without stamps.
            pub fn now(&self) -> u64 {
                self.0.now()
            }

            /// How this handle waits from now on.
            pub fn set_waiting(&mut self, waiting: $crate::Waiting) {
                self.0.set_waiting(waiting);
            }

            /// Whether the ring's name still means this ring.
            pub fn is_linked(&self) -> bool {
                self.0.is_linked()
            }
        }

        impl<'a> IntoIterator for &'a mut $name {
            type Item = Result<$crate::OwnedRecord, $crate::CopyError>;
            type IntoIter = $crate::Copies<'a>;

            fn into_iter(self) -> $crate::Copies<'a> {
                self.iter()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("sequence", &self.sequence())
                    .field("lost", &self.lost())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use copying_reader;

/// Records of one's own as they come: see [`Observer::iter`](crate::Observer::iter).
#[derive(Debug)]
pub struct Copies<'a> {
    copier: &'a mut Copier,
    ended: bool,
}

impl<'a> Copies<'a> {
    pub(crate) fn new(copier: &'a mut Copier) -> Copies<'a> {
        Copies { copier, ended: false }
    }
}

impl Iterator for Copies<'_> {
    type Item = Result<OwnedRecord, CopyError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut payload = Vec::new();
        match self.copier.recv(&mut &mut payload) {
            Ok(received) => Some(Ok(OwnedRecord::new(received, payload))),
            Err(CopyError::Ended(end)) => {
                self.ended = true;
                (end != crate::RecvError::Closed).then_some(Err(CopyError::Ended(end)))
            }
            Err(lost) => Some(Err(lost)),
        }
    }
}
