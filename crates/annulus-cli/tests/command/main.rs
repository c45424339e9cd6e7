//! The command as its users run it: the real program, real processes, a directory for each test.

mod bench;
mod rig;
mod show;
mod signals;
mod stream;
mod wrong;
