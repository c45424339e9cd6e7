//! The words of a group of workers.

use crate::fault::point;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

word! {
    /// A record's word in a group's claim table: see [`claim`](crate::claim). Changed by compare-and-exchange only, but
    /// for the beginning of a group, so all that was done before earlier changes is ordered with the last.
    ClaimWord(AtomicU64, u64) = 0
}

impl ClaimWord {
    /// The word; if its record is done, so are all reads of it.
    #[inline]
    pub fn look(&self) -> u64 {
        // [done] acquire
        self.0.load(Ordering::Acquire)
    }

    /// Claims the record. What was believed of it before is true if this succeeds.
    #[inline]
    pub fn claim(&self, from: u64, to: u64) -> bool {
        point("ClaimWord::claim");
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Ends a claim: done with the record, or given back. Reads of it are over.
    #[inline]
    pub fn settle(&self, from: u64, to: u64) -> bool {
        point("ClaimWord::settle");
        // [done] release
        self.0.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Between marking a record done and looking at its neighbours, at the floor, and at who waits: of two who finish at once
    /// at least one sees both done; and of one who finishes and one who is about to sleep for that, one sees the other.
    #[inline]
    pub fn between() {
        // [finish] release
        // [finish] acquire
        fence(Ordering::SeqCst);
    }
}

word! {
    /// How often records were given back to a group. Moved by who gives back, after the record's word.
    Returns(AtomicU32, u32) = 0
}

impl Returns {
    /// Says that a record was given back.
    pub fn bump(&self) {
        point("Returns::bump");
        // [returned] release
        self.0.fetch_add(1, Ordering::Release);
    }

    /// How often; those records' words are visible.
    #[inline]
    pub fn look(&self) -> u32 {
        // [returned] acquire
        self.0.load(Ordering::Acquire)
    }
}

word! {
    /// Whether a worker waits for records to be done: 0 no, 1 yes. Set by the worker, taken by who has done one.
    Awaited(AtomicU32, u32) = 0
}

impl Awaited {
    /// Declares a worker that waits, behind its declaration at the doorbell. Its last look follows.
    pub fn declare(&self) {
        point("Awaited::declare");
        self.0.store(1, Ordering::Relaxed);
        // [finish] acquire: who has done a record sees this, or its mark is seen
        fence(Ordering::SeqCst);
    }

    /// The look of who has done a record, behind [`ClaimWord::between`]: takes the declaration if there is one.
    #[inline]
    pub fn take(&self) -> bool {
        if self.0.load(Ordering::Relaxed) == 0 {
            return false;
        }
        point("Awaited::take");
        self.0.swap(0, Ordering::Relaxed) != 0
    }
}

word! {
    /// Whether a group is anybody's. Changed by whoever holds the group's lock alone.
    GroupState(AtomicU32, u32) = 0
}

impl GroupState {
    /// Stores the state, after the table and the name that belong to it.
    pub fn set(&self, state: u32) {
        point("GroupState::set");
        // [group] release
        self.0.store(state, Ordering::Release);
    }

    /// The state; if the group is somebody's, its table and its name are there.
    pub fn look(&self) -> u32 {
        // [group] acquire
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use std::rc::Rc;

    use super::*;
    use crate::meddle::tests::meddled;

    /// Two have done a record, and one takes the declaration while the other looks at it: that one wakes nobody.
    #[test]
    fn a_declaration_is_taken_once() {
        for at in 0..3 {
            let awaited = Rc::new(Awaited::default());
            awaited.declare();
            let (other, mut loads) = (awaited.clone(), 0);
            let taken = meddled(
                move |_| {
                    if loads == at {
                        assert!(other.take());
                    }
                    loads += 1;
                },
                || awaited.take(),
            );
            assert_eq!(taken, at == 2, "before the load {at}");
            assert!(!awaited.take());
        }
    }
}
