//! The word beside each semaphore.

use crate::fault::point;
use crate::sync::{AtomicU32, Ordering, fence};

word! {
    /// Whether somebody sleeps on the semaphore beside it: 0 no; 1 yes; 2 yes, and a waker has taken the
    /// declaration, so it posts, or died before it could. Set by the sleeper, taken by whoever wakes it.
    Asleep(AtomicU32, u32) = 0
}

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const TAKEN: u32 = 2;

impl Asleep {
    /// Declares its only sleeper, which then looks at the bell again and stays awake if that has moved. The
    /// fence makes this and [`before_looking`](Asleep::before_looking) a Dekker pair.
    pub fn declare(&self) {
        point("Asleep::declare");
        self.0.store(ASLEEP, Ordering::Relaxed);
        // [semaphore] acquire
        fence(Ordering::SeqCst);
    }

    /// Taken back by the sleeper itself when it is awake again, whether or not a waker had taken it.
    pub fn withdraw(&self) {
        point("Asleep::withdraw");
        self.0.store(AWAKE, Ordering::Relaxed);
    }

    /// A waker's step from moving the bell to its looks at declarations: of it and a sleeper that moves at
    /// once, either it sees the declaration, or the sleeper sees the bell.
    pub fn before_looking() {
        // [semaphore] release
        fence(Ordering::SeqCst);
    }

    /// Claims the right to post. Once for a declaration: a reader that died asleep is posted to once, not for
    /// ever.
    pub fn take(&self) -> bool {
        // The look first: most are awake, and a look leaves their lines where they are.
        if self.0.load(Ordering::Relaxed) != ASLEEP {
            return false;
        }
        point("Asleep::take");
        self.0.compare_exchange(ASLEEP, TAKEN, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The same; or, once more for a declaration, if a waker has taken it already, since that may have died
    /// before it posted.
    pub fn take_again(&self) -> bool {
        if self.take() {
            return true;
        }
        if self.0.load(Ordering::Relaxed) == AWAKE {
            return false;
        }
        point("Asleep::take_again");
        self.0.swap(AWAKE, Ordering::Relaxed) != AWAKE
    }
}
