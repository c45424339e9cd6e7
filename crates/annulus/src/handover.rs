//! Rings without a name, given from process to process.
//!
//! [`Ring::anonymous`](crate::Ring::anonymous) makes a ring in two sealed memfds instead of files. Only those who are
//! given it can have it, and whatever they do, they can write no record, change no length and lift no seal.
//! [`Producer::offer`](crate::Producer::offer) makes an [`Offer`]: what one subscriber's process needs;
//! [`offer_data`](crate::Producer::offer_data) one for observers, who get no more than that. An offer goes
//!
//! * to a **child**, with [`HandOver::hand_over`], which takes it as [`Ring::inherited`](crate::Ring::inherited);
//! * over a **Unix socket**, with [`send`] and [`receive`], each of which asks the kernel who the [peer](Peers) is;
//! * any other way that descriptors travel, with [`Offer::into_fds`] and [`Offer::from_fds`];
//! * to another thread: [`Offer::open`].
//!
//! What arrives is an [`Open`](crate::Open), and so a reader of any kind.
//!
//! ```
//! use std::os::unix::net::UnixStream;
//! use std::time::Duration;
//! use annulus::Ring;
//! use annulus::handover::{self, Peers};
//!
//! let mut tx = Ring::anonymous("quotes").producer()?;
//! let (ours, theirs) = UnixStream::pair()?; // mostly a connection to another process
//! handover::send(&ours, tx.offer()?, &Peers::new(), Duration::from_secs(1))?;
//!
//! let offer = handover::receive(&theirs, &Peers::new(), Duration::from_secs(1))?;
//! let rx = offer.open().subscribe()?;
//! tx.send(b"hello")?;
//! assert_eq!(&*rx.recv()?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it differs from a ring with a name
//!
//! * **It ends with its producer.** Nobody can map sealed `data` for writing again, so nobody can take it over: also a
//!   reader that [stays](crate::Open::stay) gets [`ProducerLost`](crate::RecvError::ProducerLost) when the producer
//!   dies. To be restarted without loss, a service uses a ring with a name.
//! * **Its memory goes with the last who has it**; nothing is left behind by any crash.
//! * `is_linked()` is always true: what has no name cannot lose it. [`Open::wait`](crate::Open::wait) returns at once,
//!   [`Open::remove`](crate::Open::remove) and [`Open::producer`](crate::Open::producer) are errors.
//! * **Two processes that talk** make a ring each, and hand it to the other: who writes is who sealed.
//!
//! # What it needs
//!
//! `/proc`. A descriptor that is passed on shares its open file description, and with it the locks by which the living are
//! told from the dead; so the sender opens one anew for each offer, through `/proc/self/fd`, and gets
//! [`Reason::NoDescription`] where it cannot. Receivers do the same for each reader; without `/proc` they use what they
//! were given, once.
//!
//! See memfd_create(2), fcntl(2) on seals and locks, unix(7).

mod child;
mod handed;
mod make;
mod offer;
mod peers;
mod reason;
mod socket;

pub use child::{HandOver, VARIABLE};
pub(crate) use handed::Handed;
pub use offer::Offer;
pub use peers::Peers;
pub use reason::Reason;
pub use socket::{receive, send};
