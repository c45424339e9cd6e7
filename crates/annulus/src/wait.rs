//! The waiting loop of readers, of whatever kind.

use std::time::{Duration, Instant};

use annulus_core::ladder::{Ladder, Rung};

/// Turns of waiting after which a reader looks whether the producer waits for it: soon, but not in the way of a
/// record that is about to come.
const TURNS_TO_RING: u32 = 512;

/// A reader's first sleep behind a declaration that the producer may have missed: see
/// [`Settled`](annulus_core::doorbell::Settled). Not shorter than a tick of the kernel (1 to 10 ms): the processor's timer is set for
/// one that ends before it, and set again at the wake, which `annulus bench --benches wake` notices.
pub(crate) const FIRST_SLEEP: Duration = Duration::from_millis(10);

/// A reader that waits for something.
pub(crate) trait Waiter {
    /// What it waits for, or why it waits no longer.
    type Got;

    /// What is there.
    fn look(&mut self) -> Option<Self::Got>;

    /// Wakes the producer if it waits for this reader: once per emptiness, since whatever the producer does after
    /// it ends the emptiness.
    fn ring(&mut self);

    /// The end, if it has come; asks the kernel once per liveness interval.
    fn end(&mut self, now: Instant) -> Option<Self::Got>;

    /// How long it may sleep before it asks again for the end.
    fn patience(&self, now: Instant) -> Duration;

    /// Sleeps for at most so long.
    fn park(&mut self, left: Duration);
}

/// Waits as `ladder` says until there is something; `None` at the deadline. What comes exactly then is returned.
#[inline]
pub(crate) fn wait<W: Waiter>(
    waiter: &mut W,
    mut ladder: Ladder,
    deadline: Option<Instant>,
) -> Option<W::Got> {
    let (mut turns_to_ring, mut rang) = (TURNS_TO_RING, false);
    loop {
        if let Some(got) = waiter.look() {
            return Some(got);
        }
        let rung = ladder.step();
        turns_to_ring = turns_to_ring.saturating_sub(1);
        if !rang && (turns_to_ring == 0 || rung == Rung::Park) {
            rang = true;
            waiter.ring();
        }
        if ladder.due(rung) {
            let now = Instant::now();
            if let Some(end) = waiter.end(now) {
                return Some(end);
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                return waiter.look();
            }
            if rung == Rung::Park {
                let patience = waiter.patience(now);
                waiter.park(deadline.map_or(patience, |deadline| patience.min(deadline - now)));
            }
        }
        match rung {
            Rung::Park => {}
            Rung::Spin | Rung::Pause => annulus_core::sync::relax(),
            Rung::Yield => std::thread::yield_now(),
        }
    }
}
