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
//! * [`Subscriber::recv`] receives a [`Record`], which frees its space when it is dropped.
//! * [`Error`] says why a ring could not be opened, and what to do.
//!
//! Linux on 64-bit machines only.

#[cfg(not(target_os = "linux"))]
compile_error!("annulus runs on Linux only: it is built on futexes, memfd and open-file-description locks.");

mod claim;
mod create;
mod error;
mod info;
mod life;
mod memory;
mod open;
mod producer;
mod record;
mod registry;
mod ring;
mod subscriber;

pub use annulus_core::ladder::Waiting;
pub use annulus_core::layout::FenceMode;
pub use annulus_core::shape::Align;

pub use claim::Claim;
pub use create::Create;
pub use error::{
    Behind, Error, ErrorKind, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};
pub use info::{Info, SubscriberInfo};
pub use open::Open;
pub use producer::Producer;
pub use record::Record;
pub use ring::Ring;
pub use subscriber::{Iter, Subscriber};

/// The README's example, compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
