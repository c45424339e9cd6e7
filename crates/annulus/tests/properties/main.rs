//! Properties: random lists of operations, held against a plain model that never forgets a record.
//!
//! One thread does what a list says, so every interleaving here is one of whole operations; what threads do within them is
//! the models' business. A list that fails is shrunk, and printed with the seed that leads to it; nothing is written to disk.
//!
//! * `PROPTEST_CASES=100000 cargo test -p annulus --test properties` is a campaign: so many lists for each property, some
//!   minutes for each that plays on the heap, and an hour for rings with names. Without it, each property has a number of its
//!   own, for some seconds in all.
//! * `PROPTEST_RNG_SEED=N` has the lists of seed N again.

mod api;
mod case;
mod dir;
mod model;
mod ops;
mod players;
mod pure;
mod reading;
mod receiving;
mod rig;
mod ring;
mod runner;
mod stopping;
mod table;
mod typed;
