//! Producers in tasks.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use annulus_core::writer::Refusal;
use futures_sink::Sink;

use super::{Async, Waiting};
use crate::error::{SendError, at_home};
use crate::parker::Waits;
use crate::payload::as_bytes;
use crate::{Payload, Producer, TypedProducer};

/// Sends if there is room now.
pub(super) fn sent(producer: &mut Producer, payload: &[u8]) -> Option<Result<(), SendError>> {
    if let Err(forked) = at_home(producer.birth) {
        return Some(Err(forked.into()));
    }
    match producer.publish_now(payload) {
        Ok(()) => Some(Ok(())),
        Err(Refusal::Full(_)) => None,
        Err(Refusal::TooLarge | Refusal::NeedsStamp) => Some(Err(producer.too_large(payload))),
    }
}

impl<H> Async<H> {
    /// Sends what a sink has taken, and then this.
    async fn send_bytes(&mut self, payload: &[u8]) -> Result<(), SendError>
    where
        H: Sends,
    {
        let waiting = Waiting(self);
        poll_fn(|cx| waiting.0.poll_unsent(cx)).await?;
        poll_fn(|cx| waiting.0.poll_when(cx, |handle| sent(handle.producer(), payload))).await
    }

    /// Sends what a sink has taken.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>>
    where
        H: Sends,
    {
        let Some(unsent) = self.unsent.take() else { return Poll::Ready(Ok(())) };
        let outcome = self.poll_when(cx, |handle| sent(handle.producer(), &unsent));
        if outcome.is_pending() {
            self.unsent = Some(unsent);
        }
        outcome
    }

    /// Sends it, or keeps a copy until there is room.
    fn take_to_send(&mut self, payload: &[u8]) -> Result<(), SendError>
    where
        H: Sends,
    {
        assert!(
            self.unsent.is_none(),
            "a sink takes the next only after poll_ready has said that it is ready"
        );
        sent(self.handle.producer(), payload).unwrap_or_else(|| {
            self.unsent = Some(payload.to_vec());
            Ok(())
        })
    }
}

/// A handle that sends.
trait Sends: Waits {
    fn producer(&mut self) -> &mut Producer;
}

impl Sends for Producer {
    fn producer(&mut self) -> &mut Producer {
        self
    }
}

impl<T> Sends for TypedProducer<T> {
    fn producer(&mut self) -> &mut Producer {
        self.inner_mut()
    }
}

impl Async<Producer> {
    /// Sends one record, waiting while a subscriber is a full ring behind: see [`Producer::send`]. Dropped before it is done, it has
    /// sent nothing of it.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.send_bytes(payload).await
    }
}

impl<T: Payload> Async<TypedProducer<T>> {
    /// Sends one value, waiting while a subscriber is a full ring behind. Dropped before it is done, it has sent nothing.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent.
    pub async fn send(&mut self, value: &T) -> Result<(), SendError> {
        self.send_bytes(as_bytes(value)).await
    }
}

macro_rules! sink {
    ([$($generic:tt)*] $handle:ty, $item:ty, $bytes:expr) => {
        /// What is taken is sent at once; what there is no room for yet is copied, and sent before the next. The ring ends when the
        /// handle is dropped, and not when the sink is closed.
        impl<$($generic)*> Sink<$item> for Async<$handle> {
            type Error = SendError;

            fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                self.get_mut().poll_unsent(cx)
            }

            fn start_send(self: Pin<&mut Self>, item: $item) -> Result<(), SendError> {
                self.get_mut().take_to_send($bytes(&item))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                self.get_mut().poll_unsent(cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                self.get_mut().poll_unsent(cx)
            }
        }
    };
}

sink!([B: AsRef<[u8]>] Producer, B, B::as_ref);
sink!([T: Payload] TypedProducer<T>, T, as_bytes);
