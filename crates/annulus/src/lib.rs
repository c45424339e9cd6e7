//! One ring in shared memory: one producer, many readers, between processes or within one.
//!
//! ```
//! use annulus::Ring;
//!
//! # let dir = format!("/dev/shm/annulus-doc-lib-{}", std::process::id());
//! let mut tx = Ring::open_or_create("quotes").dir(&dir).capacity(1 << 20).producer()?;
//! let rx = Ring::open("quotes").dir(&dir).subscribe()?;
//! tx.send(b"hello")?;
//! let record = rx.recv()?; // borrowed in place; its space is released on drop
//! assert_eq!(&*record, b"hello");
//! # drop(record);
//! # drop((tx, rx));
//! # std::fs::remove_dir(dir).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A **ring** has a name, a capacity in bytes and one [`Producer`]. Any number of [`Subscriber`]s read every
//! record, once and in order, in place; the producer waits when one of them is a full ring behind. Nothing is
//! lost when a process is killed: a new producer goes on in sequence, a dead subscriber stops counting. Blocked
//! sides sleep in the kernel. There is no daemon.
//!
//! * [`Ring`] says how to begin; [`Create`] and [`Open`] hold the options.
//! * [`Producer::send`], [`Producer::send_batch`] and [`Producer::claim`] send.
//! * [`Producer::send_acked`] sends and waits until everyone has released the record.
//! * [`Subscriber::recv`] receives a [`Record`], which frees its space when it is dropped.
//! * [`Open::join_group`] joins a group, each record of which one [`Worker`] gets.
//! * [`Select`] waits for several rings at once.
//! * [`TypedRing`] says how to begin where each record is a value of one type, a [`Payload`].
//! * [`Ring::anonymous`] makes a ring without a name, and [`handover`] gives it to other processes.
//! * [`Ring::prune`] removes what crashes left; [`doctor`] says whether a machine is fit for rings.
//! * [`Error`] says why a ring could not be opened, and what to do.
//!
//! Linux on 64-bit machines only.

#[cfg(not(target_os = "linux"))]
compile_error!("annulus runs on Linux only: it is built on futexes, memfd and open-file-description locks.");

mod acked;
#[cfg(feature = "async")]
mod asynchronous;
mod bells;
mod claim;
mod clock;
mod copier;
mod copies;
mod copying;
mod create;
pub mod doctor;
mod error;
mod group;
pub mod handover;
mod info;
mod job;
mod life;
mod make;
mod memory;
mod object;
mod observer;
mod open;
mod options;
mod parker;
mod payload;
mod pollable;
mod producer;
mod prune;
mod received;
mod record;
mod registry;
mod ring;
mod room;
mod select;
#[cfg(feature = "shared_memory")]
mod shmem;
mod sleeper;
mod subscriber;
mod typed;
mod wait;
mod whereabouts;
mod worker;

pub use annulus_core::history::{Resume, Start};
pub use annulus_core::ladder::Waiting;
pub use annulus_core::layout::{FenceMode, WakeBackend as Wake};
pub use annulus_core::shape::Align;
pub use annulus_core::writer::Who;

#[cfg(feature = "async")]
pub use asynchronous::{Async, AsyncJob};
#[cfg(feature = "tokio")]
pub use asynchronous::{TokioError, TokioPollable};
pub use claim::Claim;
pub use clock::Clock;
pub use copies::Copies;
pub use copying::CopyingSubscriber;
pub use create::Create;
pub use error::{
    Acks, Behind, CopyError, CopyTimeoutError, Error, ErrorKind, RecvError, RecvTimeoutError, SelectError,
    SendAckedError, SendAckedTimeoutError, SendError, SendTimeoutError, TryCopyError, TryRecvError,
    TrySendError, WaitError,
};
pub use group::Group;
pub use info::{GroupInfo, Info, SubscriberInfo, TypeInfo};
pub use job::Job;
pub use observer::Observer;
pub use open::Open;
pub use options::HugePages;
#[doc(hidden)]
pub use payload::Fields as __PayloadFields;
pub use payload::Payload;
#[cfg(feature = "zerocopy-08")]
pub use payload::Zerocopy;
pub use pollable::Pollable;
pub use producer::Producer;
pub use prune::{Fate, Finding, Found, Prune};
pub use received::{OwnedRecord, Received};
pub use record::Record;
pub use ring::Ring;
pub use select::{Select, Selectable, Source};
pub use subscriber::{Iter, Subscriber};
pub use typed::{
    TypedCopies, TypedCopyingSubscriber, TypedIter, TypedJob, TypedObserver, TypedOwnedRecord, TypedProducer,
    TypedRecord, TypedRing, TypedSubscriber, TypedWorker,
};
pub use worker::{Jobs, Worker};

/// The examples of the README and of the guide, compiled and run with the other examples.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/introduction.md")]
    struct Introduction;
    #[doc = include_str!("../../../docs/guide/first-ring.md")]
    struct FirstRing;
    #[doc = include_str!("../../../docs/guide/readers.md")]
    struct Readers;
    #[doc = include_str!("../../../docs/guide/groups.md")]
    struct Groups;
    #[doc = include_str!("../../../docs/guide/sizing.md")]
    struct Sizing;
    #[doc = include_str!("../../../docs/guide/waiting.md")]
    struct Waiting;
    #[cfg(feature = "async")]
    #[doc = include_str!("../../../docs/guide/async.md")]
    struct Async;
    #[doc = include_str!("../../../docs/guide/waiting-on-many.md")]
    struct WaitingOnMany;
    #[doc = include_str!("../../../docs/guide/rendezvous.md")]
    struct Rendezvous;
    #[doc = include_str!("../../../docs/guide/typed.md")]
    struct Typed;
    #[doc = include_str!("../../../docs/guide/handover.md")]
    struct Handover;
}
