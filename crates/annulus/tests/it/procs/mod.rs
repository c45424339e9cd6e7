//! Tests with several real processes: this binary runs itself again, in a role.

mod child;
mod creators;
mod death;
mod flow;
mod fork;
mod leftovers;
mod limits;
mod roles;
mod sandbox;
mod stepped;
mod takeover;
