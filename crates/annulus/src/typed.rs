//! Rings whose records are values of one type: the ways to them, and what their builders end in.

mod copies;
mod copying;
mod producer;
mod record;
mod subscriber;
mod worker;

use std::marker::PhantomData;

pub use copies::{TypedCopies, TypedOwnedRecord};
pub use copying::{TypedCopyingSubscriber, TypedObserver};
pub use producer::TypedProducer;
pub use record::TypedRecord;
pub use subscriber::{TypedIter, TypedSubscriber};
pub use worker::{TypedJob, TypedWorker};

use crate::create::{Create, Existing, Spec, TypeWish};
use crate::error::Error;
use crate::group::Group;
use crate::open::Open;
use crate::payload::{Payload, check};

/// The ways to a ring whose records are values of one type, by name: what [`Ring`](crate::Ring) is for bytes.
///
/// Values are sent as their bytes, so `T` is a [`Payload`]: a number, an array, or a struct that
/// [`payload!`](crate::payload!) declares. Nothing is encoded: a [`TypedSubscriber`] borrows each value where it lies in
/// the ring, the others copy it.
///
/// ```
/// use annulus::TypedRing;
///
/// annulus::payload! {
///     #[derive(Debug, PartialEq)]
///     pub struct Quote {
///         pub id: u64,
///         pub bid: f64,
///         pub ask: f64,
///     }
/// }
///
/// # let dir = format!("/dev/shm/annulus-doc-typed-{}", std::process::id());
/// let mut tx = TypedRing::<Quote>::create("quotes").dir(&dir).producer()?;
/// let rx = TypedRing::<Quote>::open("quotes").dir(&dir).subscribe()?;
/// tx.send(&Quote { id: 7, bid: 1.0842, ask: 1.0843 })?;
/// let quote = rx.recv()?; // borrowed in place, as a `Quote`
/// assert_eq!(quote.bid, 1.0842);
/// # drop(quote);
/// # drop((tx, rx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is checked
///
/// A ring keeps the name, the size and the alignment of its type, and a fingerprint of its fields. Whoever opens it as
/// another type gets [`Mismatch`](crate::ErrorKind::Mismatch), which says what differs; so does who opens a ring of
/// bytes as one of a type.
///
/// ```
/// use annulus::{ErrorKind, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-mismatch-{}", std::process::id());
/// let tx = Ring::create_typed::<[f32; 3]>("wind").dir(&dir).producer()?;
/// let error = Ring::open_typed::<[f32; 4]>("wind").dir(&dir).subscribe().unwrap_err();
/// let ErrorKind::Mismatch { field, theirs, ours } = error.kind() else { panic!() };
/// assert_eq!((*field, &**theirs, &**ours), ("type", "[f32; 3]", "[f32; 4]"));
/// # drop(tx);
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), annulus::Error>(())
/// ```
///
/// [`Ring::open`](crate::Ring::open) does not ask for a type, and reads the bytes of the values: what tools do. Its
/// [`producer`](Open::producer) can send anything. So readers of values check each record's length, too: one that is
/// no value is [`RecvError::Corrupt`](crate::RecvError::Corrupt), and they do not go past it.
///
/// At compile time: a value is aligned to at most 8 bytes, and shorter than 2^30. That it fits in the ring is checked
/// when the ring is created.
#[derive(Debug)]
#[non_exhaustive]
pub struct TypedRing<T: Payload> {
    payload: PhantomData<fn(T) -> T>,
}

impl<T: Payload> TypedRing<T> {
    /// A new ring of such values: see [`Ring::create`](crate::Ring::create).
    pub fn create(name: &str) -> Create<T> {
        Create::new(TypedRing::<T>::spec(name, Existing::Replace))
    }

    /// The ring of that name, new if there is none: see [`Ring::open_or_create`](crate::Ring::open_or_create).
    pub fn open_or_create(name: &str) -> Create<T> {
        Create::new(TypedRing::<T>::spec(name, Existing::TakeOver))
    }

    /// A ring that exists, or that [will](Open::wait).
    pub fn open(name: &str) -> Open<T> {
        Open::new(name, Some(TypeWish::of::<T>()))
    }

    pub(crate) fn spec(name: &str, existing: Existing) -> Spec {
        Spec { payload: Some(TypeWish::of::<T>()), ..Spec::new(name, existing) }
    }
}

impl TypeWish {
    pub(crate) fn of<T: Payload>() -> TypeWish {
        const { check::<T>() };
        let (size, align) = (size_of::<T>(), align_of::<T>());
        TypeWish { name: T::NAME, size, align, fingerprint: T::FINGERPRINT }
    }
}

/// For records of one type.
impl<T: Payload> Create<T> {
    /// Creates the ring, or takes it over from a producer that is gone, and becomes its producer.
    ///
    /// # Errors
    ///
    /// As for [bytes](Create::producer); [`Mismatch`](crate::ErrorKind::Mismatch) also with a ring of another type,
    /// [`BadOption`](crate::ErrorKind::BadOption) also if a value does not fit in the ring.
    pub fn producer(self) -> Result<TypedProducer<T>, Error> {
        self.spec.producer().map(TypedProducer::new)
    }
}

/// For records of one type.
impl<T: Payload> Open<T> {
    /// Subscribes: from now on the producer waits for this reader, which may borrow values in place.
    ///
    /// # Errors
    ///
    /// As for [bytes](Open::subscribe), and [`Mismatch`](crate::ErrorKind::Mismatch) with the ring's type.
    pub fn subscribe(self) -> Result<TypedSubscriber<T>, Error> {
        self.spec.subscribe().map(TypedSubscriber::new)
    }

    /// Subscribes with copies: the producer waits for this reader, which trusts nobody.
    ///
    /// # Errors
    ///
    /// As for [bytes](Open::subscribe_copying), and [`Mismatch`](crate::ErrorKind::Mismatch) with the ring's type.
    pub fn subscribe_copying(self) -> Result<TypedCopyingSubscriber<T>, Error> {
        self.spec.subscribe_copying().map(TypedCopyingSubscriber::new)
    }

    /// Joins a group as a worker: each value goes to exactly one worker of each group.
    ///
    /// # Errors
    ///
    /// As for [bytes](Open::join_group), and [`Mismatch`](crate::ErrorKind::Mismatch) with the ring's type.
    pub fn join_group(self, group: impl Into<Group>) -> Result<TypedWorker<T>, Error> {
        self.spec.join_group(&group.into()).map(TypedWorker::new)
    }

    /// Observes: reads along without holding anybody back, and with permission to read only.
    ///
    /// # Errors
    ///
    /// As for [bytes](Open::observe), and [`Mismatch`](crate::ErrorKind::Mismatch) with the ring's type.
    pub fn observe(self) -> Result<TypedObserver<T>, Error> {
        self.spec.observe().map(TypedObserver::new)
    }

    /// Becomes the producer of a ring that exists and whose producer is gone, or that never had one.
    ///
    /// # Errors
    ///
    /// As for [bytes](Open::producer), and [`Mismatch`](crate::ErrorKind::Mismatch) with the ring's type.
    pub fn producer(self) -> Result<TypedProducer<T>, Error> {
        self.spec.producer().map(TypedProducer::new)
    }
}
