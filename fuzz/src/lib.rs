//! What the fuzz targets do with their input: [`attach`] to bytes from anywhere, [`mutate`] words while a ring is at
//! work, and hold it against an [`oracle`]. `README.md` says how to run them.

pub mod attach;
mod files;
mod input;
mod meddler;
mod model;
pub mod mutate;
pub mod oracle;
#[path = "../../crates/annulus/tests/properties/players.rs"]
mod players;
mod rig;
pub mod seeds;
