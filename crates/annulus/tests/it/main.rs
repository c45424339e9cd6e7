//! The public API, from one process and from several.

mod api;
mod bad_input;
mod batches;
mod claims;
mod closing;
mod cost;
mod damage;
mod delivery;
mod full;
mod guards;
mod names;
mod positions;
mod procs;
mod support;
mod waiting;
