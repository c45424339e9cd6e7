//! A ring in each direction.

use std::fmt::Display;
use std::time::Duration;

use annulus::{Align, Clock, FenceMode, Producer, Ring, Subscriber, Waiting, Wake};

use super::{Half, stamp, stamped};
use crate::peer::number;
use crate::plan::{Fence, Profile, System, Wait};
use crate::{Error, Result};

/// How the rings of a run are made. Both processes hold the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingPlan {
    /// Tells these rings from others: the client's process and a number.
    pub(crate) name: (u32, u32),
    /// Which kind of ring.
    pub(crate) kind: System,
    pub(crate) capacity: usize,
    pub(crate) wait: Wait,
    pub(crate) profile: Profile,
    pub(crate) fence: Fence,
}

#[cold]
fn failed(what: &str, error: impl Display) -> Error {
    Error::failed(format!("annulus: {what}: {error}"))
}

impl RingPlan {
    /// As one line of text, for the peer.
    pub(crate) fn words(&self) -> String {
        let Self { name: (process, number), kind, capacity, wait, profile, fence } = self;
        format!("{process} {number} {kind} {capacity} {wait} {profile} {fence}")
    }

    /// From the words of such a line.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let &[process, nr, kind, capacity, wait, profile, fence] = words else {
            return Err(Error::failed(format!("no plan of a ring: {words:?}")));
        };
        Ok(Self {
            name: (number(process)? as u32, number(nr)? as u32),
            kind: kind.parse()?,
            capacity: number(capacity)? as usize,
            wait: wait.parse()?,
            profile: profile.parse()?,
            fence: fence.parse()?,
        })
    }

    fn name(&self, from: &str) -> String {
        format!("bench-{}-{}-{}-{from}", self.name.0, self.name.1, self.kind)
    }

    fn waiting(&self) -> Waiting {
        match self.wait {
            Wait::Spin => Waiting::spin(),
            Wait::Yield => Waiting::yielding(),
            Wait::Park => Waiting::park(),
        }
    }

    fn producer(&self, from: &str) -> Result<Producer> {
        let align = match self.profile {
            Profile::Packed => Align::Packed,
            Profile::Line => Align::Line,
        };
        let fence = match self.fence {
            Fence::Asymmetric => FenceMode::Asymmetric,
            Fence::Symmetric => FenceMode::Symmetric,
            Fence::Spin => FenceMode::SpinOnly,
        };
        let ring = Ring::create(&self.name(from)).capacity(self.capacity).align(align).fence(fence);
        // Said in each case, so that no variable of the environment decides.
        let ring = match self.kind {
            System::AnnulusSemaphore => ring.wake(Wake::Semaphore),
            System::AnnulusTsc => ring.wake(Wake::Futex).stamped(Clock::Tsc),
            System::AnnulusMonotonic => ring.wake(Wake::Futex).stamped(Clock::Monotonic),
            _ => ring.wake(Wake::Futex),
        };
        ring.waiting(self.waiting()).producer().map_err(|e| failed("cannot make a ring", e))
    }

    fn subscriber(&self, from: &str) -> Result<Subscriber> {
        let cannot = |e| failed("cannot open the peer's ring", e);
        let ring = Ring::open(&self.name(from)).waiting(self.waiting());
        ring.wait(Duration::from_secs(5)).map_err(cannot)?.subscribe().map_err(cannot)
    }
}

/// One process's ends: the producer of its own ring, and a subscriber of the other's.
pub(crate) struct Rings {
    kind: System,
    to: Producer,
    from: Subscriber,
}

impl Rings {
    /// The client makes its ring, lets `peer` make the other end, and joins the peer's ring.
    pub(crate) fn client(plan: &RingPlan, peer: impl FnOnce() -> Result<()>) -> Result<Self> {
        let to = plan.producer("client")?;
        peer()?;
        Ok(Self { kind: plan.kind, to, from: plan.subscriber("server")? })
    }

    /// Which kind of ring these are.
    pub(crate) fn kind(&self) -> System {
        self.kind
    }

    /// The server's end: the client's ring is there, and the server's is when this returns.
    pub(crate) fn server(plan: &RingPlan) -> Result<Self> {
        let from = plan.subscriber("client")?;
        Ok(Self { kind: plan.kind, to: plan.producer("server")?, from })
    }
}

impl Half for Rings {
    #[inline(always)]
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        stamp(seq, body);
        match self.to.send(body) {
            Ok(_) => Ok(()),
            Err(e) => Err(failed("cannot send", e)),
        }
    }

    #[inline(always)]
    fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        let record = match self.from.recv() {
            Ok(record) => record,
            Err(e) => return Err(failed("cannot receive", e)),
        };
        if record.len() != body.len() {
            return Err(failed("a record has another length than was sent", record.len()));
        }
        body.copy_from_slice(&record);
        drop(record);
        Ok(stamped(body))
    }
}
