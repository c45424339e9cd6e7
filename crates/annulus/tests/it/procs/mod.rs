//! Tests with several real processes: this binary runs itself again, in a role.

mod asleep;
mod child;
mod containers;
mod copies;
mod counted;
mod creators;
mod death;
mod deleted;
mod doctor;
mod flow;
mod fork;
mod forks;
mod handover;
mod heirs;
mod hostile;
mod kills;
mod leftovers;
mod limits;
mod memory;
mod outlived;
mod pollable;
mod prune;
mod puppet;
mod races;
mod refused;
mod resources;
mod restart;
mod roles;
mod sandbox;
mod scribbler;
#[cfg(feature = "shared_memory")]
mod shmem;
mod stepped;
mod strangers;
mod takeover;
mod truncated;
