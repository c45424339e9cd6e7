//! The measure of time in assertions, for every test binary of this crate.

/// What is to happen soon happens within so many liveness intervals: what a death does to others, and what must not
/// happen for a stop is watched for as long. One is promised; the machine may have other things to do.
pub(crate) const INTERVALS: u32 = 20;
