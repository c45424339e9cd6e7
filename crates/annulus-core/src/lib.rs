//! The annulus ring itself: one producer, many readers, over memory that several processes may share.
//!
//! This crate holds the layout, the orderings and the state machines. It makes no system call and allocates
//! nothing; what it needs of the system it asks of [`doorbell::Park`]. Programs use the crate `annulus`.
//!
//! Where to begin: [`shape`] and [`header`] say what a record is, [`layout`] where the words are, [`words`]
//! what may be done to each and with which ordering; [`writer`] and [`reader`] are the two halves of the
//! algorithm, and [`doorbell`] how they sleep. `docs/protocol.md` in the repository has the whole argument.
#![no_std]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("annulus needs a 64-bit target: its positions are 64-bit atomics that must not tear.");

#[cfg(any(loom, annulus_faults, fuzzing, test))]
extern crate std;

pub mod acked;
pub mod claim;
#[cfg(not(loom))]
mod copy;
pub mod doorbell;
pub mod fault;
pub mod group;
pub mod header;
pub mod history;
mod join;
pub mod ladder;
pub mod layout;
#[cfg(any(fuzzing, all(test, not(loom))))]
pub mod meddle;
pub mod memory;
pub mod observer;
pub mod reader;
pub mod semaphore;
pub mod shape;
pub mod slots;
pub mod sync;
mod takeover;
pub mod words;
pub mod worker;
pub mod writer;
