//! Handles for tasks, in several runtimes. The tests run one at a time: they count threads, and what each thread does.

#[allow(dead_code, unused_imports)] // what the other test binary needs, too
#[path = "../it/support/mod.rs"]
mod support;

mod cancel;
mod death;
mod forged;
mod fork;
mod groups;
mod many;
mod reactor;
mod refused;
mod roles;
mod rooms;
mod runtimes;
mod stuck;
mod swapped;
mod threads;
mod verbs;
