//! What can be waited for.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::sleeper::Sleeper;
use crate::typed::{TypedCopyingSubscriber, TypedObserver, TypedSubscriber, TypedWorker};
use crate::{CopyingSubscriber, Observer, Payload, Subscriber, Worker};

/// Something that a [`Select`](crate::Select) waits for: the reading end of a ring, or a file descriptor. From
/// [`Selectable::as_source`].
#[derive(Clone, Copy, Debug)]
pub struct Source<'a>(Kind<'a>);

#[derive(Clone, Copy)]
enum Kind<'a> {
    Ring(&'a dyn Sleeper),
    /// A reader that has an end to tell which its ring knows nothing of.
    Ended(&'a dyn Sleeper),
    File(BorrowedFd<'a>),
}

/// What a [`Select`](crate::Select) can wait for: all reading ends of rings, and whatever [has a file descriptor](AsFd), which
/// is ready when a read would not block.
///
/// A type of your own that holds one of these says which:
///
/// ```
/// use annulus::{Selectable, Source, Subscriber};
///
/// struct Feed {
///     name: String,
///     rx: Subscriber,
/// }
///
/// impl Selectable for Feed {
///     fn as_source(&self) -> Source<'_> {
///         self.rx.as_source()
///     }
/// }
/// ```
pub trait Selectable {
    /// What is waited for: the same each time.
    fn as_source(&self) -> Source<'_>;
}

impl<T: AsFd> Selectable for T {
    fn as_source(&self) -> Source<'_> {
        Source(Kind::File(self.as_fd()))
    }
}

impl Selectable for Subscriber {
    fn as_source(&self) -> Source<'_> {
        Source(Kind::Ring(self))
    }
}

impl Selectable for Worker {
    fn as_source(&self) -> Source<'_> {
        Source(Kind::Ring(self))
    }
}

impl<T: Payload> Selectable for TypedSubscriber<T> {
    fn as_source(&self) -> Source<'_> {
        let kind = if self.is_stuck() { Kind::Ended } else { Kind::Ring };
        Source(kind(self.inner()))
    }
}

/// A handle around one that can be waited for is waited for as that one.
macro_rules! as_inner {
    ($([$($payload:ident)?] $outer:ty),* $(,)?) => {$(
        impl<$($payload: Payload)?> Selectable for $outer {
            fn as_source(&self) -> Source<'_> {
                Source(Kind::Ring(self.inner()))
            }
        }
    )*};
}

as_inner!([] CopyingSubscriber, [] Observer, [T] TypedCopyingSubscriber<T>, [T] TypedObserver<T>, [T] TypedWorker<T>);

impl<'a> Source<'a> {
    /// Who it is, in whatever order and place: no two that are alive have the same.
    pub(super) fn key(self) -> usize {
        match self.0 {
            // Even, and no small number.
            Kind::Ring(sleeper) | Kind::Ended(sleeper) => sleeper.key(),
            Kind::File(file) => file.as_raw_fd().unsigned_abs() as usize * 2 + 1,
        }
    }

    /// The ring, if it is one that may still have something.
    pub(super) fn ring(self) -> Option<&'a dyn Sleeper> {
        match self.0 {
            Kind::Ring(sleeper) => Some(sleeper),
            Kind::Ended(_) | Kind::File(_) => None,
        }
    }

    pub(super) fn file(self) -> Option<BorrowedFd<'a>> {
        match self.0 {
            Kind::File(file) => Some(file),
            Kind::Ring(_) | Kind::Ended(_) => None,
        }
    }

    /// Whether it has something, as far as a look at memory says.
    pub(super) fn has_news(self) -> bool {
        match self.0 {
            Kind::Ring(sleeper) => sleeper.has_news(),
            Kind::Ended(_) => true,
            Kind::File(_) => false,
        }
    }
}

impl std::fmt::Debug for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Ring(_) | Kind::Ended(_) => f.write_str("Ring"),
            Kind::File(file) => f.debug_tuple("File").field(file).finish(),
        }
    }
}
