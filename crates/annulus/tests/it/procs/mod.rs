//! Tests with several real processes: this binary runs itself again, in a role.

mod child;
mod copies;
mod creators;
mod death;
mod doctor;
mod flow;
mod fork;
mod handover;
mod hostile;
mod leftovers;
mod limits;
mod memory;
mod prune;
mod refused;
mod resources;
mod roles;
mod sandbox;
mod scribbler;
#[cfg(feature = "shared_memory")]
mod shmem;
mod stepped;
mod takeover;
mod truncated;
