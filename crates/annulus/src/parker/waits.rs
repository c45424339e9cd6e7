//! What the parker can wait for: each kind of handle.

use std::task::Waker;

use super::seat::{Parked, Seat};
use crate::copier::Copier;
use crate::error::Error;
use crate::{
    CopyingSubscriber, Observer, Producer, Subscriber, TypedCopyingSubscriber, TypedObserver, TypedProducer,
    TypedSubscriber, Worker,
};

/// Looks in a row before others get their turn.
const LOOKS: u32 = 4;

/// A handle that can wait with the parker.
pub(crate) trait Waits {
    /// Takes a place with the parker.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    fn seat(&self) -> Result<Seat, Error>;

    /// Waits, after a look that found nothing.
    fn park(&mut self, seat: &mut Seat, waker: &Waker) -> Parked;

    /// Waits no longer, having looked or not.
    fn leave(&mut self, seat: &Seat);
}

/// Looks, and waits if there is nothing. `None` and [`Parked::LookAgain`]: let others have their turn, and come again.
pub(crate) fn look_or_park<H: Waits, T>(
    handle: &mut H,
    seat: &mut Seat,
    waker: &Waker,
    mut look: impl FnMut(&mut H) -> Option<T>,
) -> Result<T, Parked> {
    for _ in 0..LOOKS {
        if let Some(found) = look(handle) {
            seat.found();
            handle.leave(seat);
            return Ok(found);
        }
        if handle.park(seat, waker) == Parked::Waiting {
            return Err(Parked::Waiting);
        }
    }
    Err(Parked::LookAgain)
}

macro_rules! reader {
    ($($reader:ty),* $(,)?) => {$(
        impl Waits for $reader {
            fn seat(&self) -> Result<Seat, Error> {
                Seat::of_reader(self)
            }

            fn park(&mut self, seat: &mut Seat, waker: &Waker) -> Parked {
                seat.park_reader(self, waker)
            }

            fn leave(&mut self, seat: &Seat) {
                seat.give_up(self);
            }
        }
    )*};
}

reader!(Subscriber, Copier, Worker);

impl Waits for Producer {
    fn seat(&self) -> Result<Seat, Error> {
        Seat::of_producer(&self.memory)
    }

    fn park(&mut self, seat: &mut Seat, waker: &Waker) -> Parked {
        match self.wanted.take() {
            Some(full) => seat.park_producer(self, full, waker),
            // It was not refused, so there is nothing to wait for.
            None => Parked::LookAgain,
        }
    }

    fn leave(&mut self, seat: &Seat) {
        seat.leave_room(self);
    }
}

/// A handle around one that waits does as that one does.
macro_rules! as_inner {
    ($([$($payload:ident)?] $outer:ty),* $(,)?) => {$(
        impl<$($payload)?> Waits for $outer {
            fn seat(&self) -> Result<Seat, Error> {
                self.inner().seat()
            }

            fn park(&mut self, seat: &mut Seat, waker: &Waker) -> Parked {
                self.inner_mut().park(seat, waker)
            }

            fn leave(&mut self, seat: &Seat) {
                self.inner_mut().leave(seat);
            }
        }
    )*};
}

as_inner!(
    [] CopyingSubscriber,
    [] Observer,
    [T] TypedSubscriber<T>,
    [T] TypedCopyingSubscriber<T>,
    [T] TypedObserver<T>,
    [T] TypedProducer<T>,
);
