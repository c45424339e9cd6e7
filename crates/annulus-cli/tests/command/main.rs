//! The command as its users run it: the real program, real processes, a directory for each test.

mod bench;
mod check;
mod doctor;
mod from;
mod made_up;
mod make;
mod prune;
mod rig;
mod show;
mod signals;
mod stream;
mod tail;
mod users;
mod watch;
mod wrong;
