//! Readers as streams: records of one's own as they come, until the end.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::Async;
use super::readers::{copied, held};
use crate::error::{CopyError, RecvError};
use crate::payload::{as_bytes, as_bytes_mut, zeroed};
use crate::{
    CopyingSubscriber, Observer, OwnedRecord, Payload, Received, Record, Subscriber, TypedCopyingSubscriber,
    TypedObserver, TypedOwnedRecord, TypedRecord, TypedSubscriber,
};

/// An error that can be an end.
trait Ends {
    fn end(&self) -> Option<RecvError>;
}

impl Ends for RecvError {
    fn end(&self) -> Option<RecvError> {
        Some(*self)
    }
}

impl Ends for CopyError {
    fn end(&self) -> Option<RecvError> {
        match *self {
            CopyError::Ended(end) => Some(end),
            _ => None,
        }
    }
}

impl<H> Async<H> {
    /// The item for what came: `Closed` is none.
    fn item<T, E: Ends>(&mut self, came: Result<T, E>) -> Option<Result<T, E>> {
        let end = came.as_ref().err().and_then(Ends::end);
        self.ended = end.is_some();
        (end != Some(RecvError::Closed)).then_some(came)
    }
}

/// A value of one's own.
fn copy_of<T: Payload>(record: &TypedRecord<'_, T>) -> TypedOwnedRecord<T> {
    let mut value = zeroed();
    as_bytes_mut(&mut value).copy_from_slice(as_bytes::<T>(record));
    TypedOwnedRecord::new(record.sequence(), value, record.time())
}

macro_rules! stream {
    ($([$($payload:ident)?] $handle:ty => $item:ty, $error:ty, $look:expr;)*) => {$(
        /// Records of one's own as they come: losses are items, `Closed` ends the stream, any other end is its last item.
        impl<$($payload: Payload)?> Stream for Async<$handle> {
            type Item = Result<$item, $error>;

            fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                let this = self.get_mut();
                if this.ended {
                    return Poll::Ready(None);
                }
                this.poll_when(cx, $look).map(|came| this.item(came))
            }
        }

        impl<$($payload: Payload)?> FusedStream for Async<$handle> {
            fn is_terminated(&self) -> bool {
                self.ended
            }
        }
    )*};
}

stream! {
    [] Subscriber => OwnedRecord, RecvError, |subscriber: &mut Subscriber| {
        held(subscriber).map(|held| held.map(|held| {
            let record = Record::new(subscriber, held);
            OwnedRecord::new(Received::new(record.sequence(), record.len(), record.time()), record.to_vec())
        }))
    };
    [T] TypedSubscriber<T> => TypedOwnedRecord<T>, RecvError, |subscriber: &mut TypedSubscriber<T>| {
        if subscriber.is_stuck() {
            return Some(Err(RecvError::Corrupt));
        }
        let held = held(subscriber.inner())?;
        let taken = subscriber.take(|inner| held.map(|held| Record::new(inner, held)), |end| end);
        Some(taken.map(|record| copy_of(&record)))
    };
    [] CopyingSubscriber => OwnedRecord, CopyError, |reader: &mut CopyingSubscriber| {
        let mut payload = Vec::new();
        let came = copied(reader.try_recv_into(&mut payload))?;
        Some(came.map(|received| OwnedRecord::new(received, payload)))
    };
    [] Observer => OwnedRecord, CopyError, |reader: &mut Observer| {
        let mut payload = Vec::new();
        let came = copied(reader.try_recv_into(&mut payload))?;
        Some(came.map(|received| OwnedRecord::new(received, payload)))
    };
    [T] TypedCopyingSubscriber<T> => TypedOwnedRecord<T>, CopyError, |reader: &mut TypedCopyingSubscriber<T>| {
        copied(reader.try_recv())
    };
    [T] TypedObserver<T> => TypedOwnedRecord<T>, CopyError, |reader: &mut TypedObserver<T>| {
        copied(reader.try_recv())
    };
}
