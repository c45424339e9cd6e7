//! Fault points: the places at which a test kills a process.
//!
//! One stands before every store to shared memory, before the fence that makes an announcement good, and before every
//! system call that others can notice, so between any two of them. Its name is the verb in which it stands. They are
//! compiled in only under `--cfg annulus_faults`, as `cargo xtask faults` does, and under `--cfg loom`, where models stop
//! a producer at each; otherwise a point is an empty function.

/// Crosses the point of a verb: nothing in life, a test's hook under `--cfg annulus_faults` or `--cfg loom`.
#[cfg(not(any(annulus_faults, loom)))]
#[inline(always)]
pub fn point(verb: &'static str) {
    let _ = verb;
}

#[cfg(any(annulus_faults, loom))]
static HOOK: std::sync::OnceLock<fn(&'static str)> = std::sync::OnceLock::new();

/// Crosses the point of a verb: calls what [`on_point`] was given, if it was.
#[cfg(any(annulus_faults, loom))]
pub fn point(verb: &'static str) {
    if let Some(hook) = HOOK.get() {
        hook(verb);
    }
}

/// Has `hook` called at each point from now on, by whichever thread crosses it; once for a process, and those who
/// fork from it. `false`: there is one already. It may end the process, or the thread that crosses, and do nothing else
/// that others can see.
#[cfg(any(annulus_faults, loom))]
pub fn on_point(hook: fn(&'static str)) -> bool {
    HOOK.set(hook).is_ok()
}
