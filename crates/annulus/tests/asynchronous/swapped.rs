//! Handles that were put in each other's places.

use std::time::Duration;

use annulus::{FenceMode, Wake};

use crate::forged::until_parked;
use crate::runtimes::alone;
use crate::support::{Dir, in_time, until};

/// Each waits at its own ring's doorbell from then on: nothing else would wake it.
#[test]
fn swapped_handles_wait_at_their_own_doorbells() {
    let _alone = alone();
    in_time(|| {
        let dir = Dir::new();
        let never = Duration::from_secs(3600);
        let ring = |name| {
            let ring = dir.create(name).capacity(4096).fence(FenceMode::Symmetric).wake(Wake::Futex);
            ring.liveness(never).producer().unwrap()
        };
        let mut producers = [ring("a"), ring("b")];
        let open = |name| dir.open(name).subscribe().unwrap().into_async().unwrap();
        let [mut one, mut other] = ["a", "b"].map(open);
        for _ in 0..3 {
            std::mem::swap(one.get_mut(), other.get_mut());
            producers.reverse();
            for (rx, tx) in [(&mut one, 0), (&mut other, 1)] {
                let mut recv = Box::pin(rx.recv());
                let woken = until_parked(recv.as_mut());
                producers[tx].send(b"ring").unwrap();
                until("its own bell wakes it", || woken.is_more());
                drop(recv);
                assert_eq!(&*rx.get_ref().try_recv().unwrap(), b"ring");
            }
        }
    });
}
