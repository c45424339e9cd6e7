//! A ring that bears another's number.

use std::fs::OpenOptions;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use annulus::FenceMode;
use annulus_core::layout::CtlHead;

use crate::runtimes::alone;
use crate::support::{Dir, in_time, until};

/// Where the identity page, with which `data` begins, has the uuid: docs/layout.md.
const UUID: u64 = 112;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Who waits with the parker, and is woken by nothing but its bell.
pub(crate) struct Parked {
    count: Arc<Count>,
    before: usize,
}

impl Parked {
    /// Whether it was woken since.
    pub(crate) fn is_more(&self) -> bool {
        self.count.0.load(Ordering::SeqCst) > self.before
    }
}

/// Polls until it is not to be polled again at once.
pub(crate) fn until_parked(mut future: Pin<&mut impl Future>) -> Parked {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    for _ in 0..100 {
        let before = count.0.load(Ordering::SeqCst);
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        if count.0.load(Ordering::SeqCst) == before {
            return Parked { count, before };
        }
    }
    panic!("it looks again and again");
}

/// Whose files say the uuid of another ring, is another ring all the same: its tasks sleep at its own doorbell, and are woken by it.
#[test]
fn a_ring_with_anothers_uuid_is_not_mistaken_for_it() {
    let _alone = alone();
    in_time(|| {
        let dir = Dir::new();
        let make = |name: &str| {
            let ring = dir.create(name).fence(FenceMode::Symmetric).wake(annulus::Wake::Futex);
            ring.liveness(Duration::from_secs(3600)).producer().unwrap()
        };
        let (mut honest_tx, mut forged_tx) = (make("honest"), make("forged"));
        let file = |ring, file| OpenOptions::new().read(true).write(true).open(dir.file(ring, file)).unwrap();
        let mut uuid = [0; 16];
        file("honest", "data").read_exact_at(&mut uuid, UUID).unwrap();
        let mut in_ctl = [0; 16];
        file("honest", "ctl").read_exact_at(&mut in_ctl, offset_of!(CtlHead, uuid) as u64).unwrap();
        assert_eq!(uuid, in_ctl);
        file("forged", "data").write_all_at(&uuid, UUID).unwrap();
        file("forged", "ctl").write_all_at(&uuid, offset_of!(CtlHead, uuid) as u64).unwrap();
        let open = |name: &str| dir.open(name).subscribe().unwrap().into_async().unwrap();
        let (mut honest, mut forged) = (open("honest"), open("forged"));
        for round in 0..3 {
            let mut waits = [(&mut honest, &mut honest_tx), (&mut forged, &mut forged_tx)];
            for (rx, tx) in &mut waits {
                let mut recv = Box::pin(rx.recv());
                let woken = until_parked(recv.as_mut());
                tx.send(b"ring").unwrap();
                until("its own bell wakes it", || woken.is_more());
                drop(recv);
                assert_eq!(&*rx.get_ref().try_recv().unwrap(), b"ring");
            }
            // The bells part.
            for _ in 0..round {
                let mut recv = Box::pin(waits[0].0.recv());
                assert!(recv.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                waits[0].1.send(b"more").unwrap();
                drop(recv);
                assert_eq!(&*waits[0].0.get_ref().try_recv().unwrap(), b"more");
            }
        }
    });
}
