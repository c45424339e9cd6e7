//! Readers in tasks.

use annulus_core::reader::Held;

use super::Async;
use crate::error::{CopyError, RecvError, TryCopyError, unless_empty};
use crate::{
    CopyingSubscriber, Observer, Payload, Received, Record, Subscriber, TypedCopyingSubscriber,
    TypedObserver, TypedOwnedRecord, TypedRecord, TypedSubscriber,
};

/// What a look at a subscriber found that ends the wait.
pub(super) fn held(subscriber: &Subscriber) -> Option<Result<Held, RecvError>> {
    unless_empty(subscriber.try_held())
}

/// What a look of a reader that copies found that ends the wait.
pub(super) fn copied<T>(outcome: Result<T, TryCopyError>) -> Option<Result<T, CopyError>> {
    match outcome {
        Ok(received) => Some(Ok(received)),
        Err(TryCopyError::Empty) => None,
        Err(TryCopyError::Lagged(lost)) => Some(Err(CopyError::Lagged(lost))),
        Err(TryCopyError::TooSmall { need }) => Some(Err(CopyError::TooSmall { need })),
        Err(TryCopyError::Ended(end)) => Some(Err(CopyError::Ended(end))),
    }
}

impl Async<Subscriber> {
    /// The next record, lent in place: see [`Subscriber::recv`].
    ///
    /// # Errors
    ///
    /// [`RecvError`], after every record that was sent before the end.
    pub async fn recv(&mut self) -> Result<Record<'_>, RecvError> {
        // Between the look that takes it and the record that gives it back there is nothing to be dropped at.
        let held = self.when(|subscriber| held(subscriber)).await?;
        Ok(Record::new(&self.handle, held))
    }
}

impl<T: Payload> Async<TypedSubscriber<T>> {
    /// The next value, lent in place: see [`TypedSubscriber::recv`].
    ///
    /// # Errors
    ///
    /// [`RecvError`], after every value that was sent before the end.
    pub async fn recv(&mut self) -> Result<TypedRecord<'_, T>, RecvError> {
        // Nothing that may come is its own any more: not waited for.
        if self.handle.is_stuck() {
            return Err(RecvError::Corrupt);
        }
        let held = self.when(|subscriber| held(subscriber.inner())).await;
        self.handle.take(|subscriber| held.map(|held| Record::new(subscriber, held)), |end| end)
    }
}

macro_rules! copying {
    ($($handle:ty),* $(,)?) => {$(
        impl Async<$handle> {
            /// Copies the next record into `buf`.
            ///
            /// # Errors
            ///
            /// [`CopyError`]: [`Lagged`](CopyError::Lagged) if records were lost, and the next call goes on behind them;
            /// [`TooSmall`](CopyError::TooSmall) if `buf` is shorter than the record, which stays the next.
            pub async fn recv(&mut self, buf: &mut [u8]) -> Result<Received, CopyError> {
                self.when(|reader| copied(reader.try_recv(buf))).await
            }

            /// The same into `buf`, which becomes as long as the record.
            ///
            /// # Errors
            ///
            /// [`CopyError`], never `TooSmall`.
            pub async fn recv_into(&mut self, buf: &mut Vec<u8>) -> Result<Received, CopyError> {
                self.when(|reader| copied(reader.try_recv_into(buf))).await
            }
        }
    )*};
}

copying!(CopyingSubscriber, Observer);

macro_rules! typed_copying {
    ($($handle:ident),* $(,)?) => {$(
        impl<T: Payload> Async<$handle<T>> {
            /// Copies the next value out.
            ///
            /// # Errors
            ///
            /// [`CopyError`]: [`Lagged`](CopyError::Lagged) if records were lost, and the next call goes on behind them; never
            /// `TooSmall`.
            pub async fn recv(&mut self) -> Result<TypedOwnedRecord<T>, CopyError> {
                self.when(|reader| copied(reader.try_recv())).await
            }
        }
    )*};
}

typed_copying!(TypedCopyingSubscriber, TypedObserver);
