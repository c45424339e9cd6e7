//! Rings: one in each direction, or one with many readers, or many with one reader.

mod fan;
mod many;
mod tasks;

use std::fmt::Display;
use std::time::Duration;

use annulus::{Align, Clock, Create, FenceMode, Producer, Ring, Subscriber, Waiting, Wake, Worker};

use fan::Fan;
use many::Many;
use tasks::Tasks;

use super::{Half, Way, copied, stamp};
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
pub(super) fn failed(what: &str, error: impl Display) -> Error {
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

    fn create(&self, from: &str) -> Create {
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
        ring.waiting(self.waiting())
    }

    fn producer(&self, from: &str) -> Result<Producer> {
        self.create(from).producer().map_err(|e| failed("cannot make a ring", e))
    }

    /// A ring of this process's own, and the workers of a group on it.
    pub(super) fn group(&self, workers: u32) -> Result<(Producer, Vec<Worker>)> {
        let producer = self.create("group").max_groups(1).producer();
        let producer = producer.map_err(|e| failed("cannot make a ring", e))?;
        let join = |_| Ring::open(&self.name("group")).waiting(self.waiting()).join_group("bench");
        let workers = (0..workers).map(join).collect::<std::result::Result<_, _>>();
        Ok((producer, workers.map_err(|e| failed("cannot join a group", e))?))
    }

    fn subscriber(&self, from: &str) -> Result<Subscriber> {
        let cannot = |e| failed("cannot open the peer's ring", e);
        let ring = Ring::open(&self.name(from)).waiting(self.waiting());
        ring.wait(Duration::from_secs(5)).map_err(cannot)?.subscribe().map_err(cannot)
    }
}

/// One process's ends of the rings of one way.
pub(crate) enum Rings {
    /// The producer of its own ring, and a subscriber of the other's.
    Pair(Box<Pair>),
    /// A producer, or all subscribers of its ring.
    Fan(Box<Fan>),
    /// The producers of many rings, or their subscribers.
    Many(Many),
    /// A pair, for a task.
    Tasks(Box<Tasks>),
    /// Both ends, for two tasks of the client's; the other one's is away during a round.
    Within(Box<Tasks>, Option<Box<Tasks>>),
}

impl Rings {
    /// The client makes its rings and lets `peer` make the other ends.
    pub(crate) fn client(way: Way, plan: &RingPlan, peer: impl FnOnce() -> Result<()>) -> Result<Self> {
        match way {
            Way::Fan(_) => {
                let fan = Fan::producer(plan)?;
                peer().map(|()| Self::Fan(Box::new(fan)))
            }
            Way::Many(rings) => {
                let many = Many::producers(plan, rings)?;
                peer().map(|()| Self::Many(many))
            }
            Way::TasksWithin => {
                let [ours, theirs] = Pair::both(plan)?;
                Ok(Self::Within(Box::new(Tasks::new(ours)?), Some(Box::new(Tasks::new(theirs)?))))
            }
            _ => {
                let to = plan.producer("client")?;
                peer()?;
                Self::of(way, Pair { to, from: plan.subscriber("server")? })
            }
        }
    }

    /// The server's ends: the client's rings are there, and all of the server's are when this returns.
    pub(crate) fn server(way: Way, plan: &RingPlan) -> Result<Self> {
        Ok(match way {
            Way::Fan(readers) => Self::Fan(Box::new(Fan::subscribers(plan, readers)?)),
            Way::Many(rings) => Self::Many(Many::subscribers(plan, rings)?),
            _ => {
                let from = plan.subscriber("client")?;
                Self::of(way, Pair { from, to: plan.producer("server")? })?
            }
        })
    }

    fn of(way: Way, pair: Pair) -> Result<Self> {
        Ok(match way {
            Way::Tasks => Self::Tasks(Box::new(Tasks::new(pair)?)),
            _ => Self::Pair(Box::new(pair)),
        })
    }
}

/// A ring in each direction.
pub(crate) struct Pair {
    to: Producer,
    from: Subscriber,
}

impl Pair {
    /// Both ends, in this process.
    fn both(plan: &RingPlan) -> Result<[Self; 2]> {
        let (to, back) = (plan.producer("client")?, plan.producer("server")?);
        let (there, from) = (plan.subscriber("client")?, plan.subscriber("server")?);
        Ok([Self { to, from }, Self { to: back, from: there }])
    }
}

#[inline(always)]
fn send(to: &mut Producer, seq: u64, body: &mut [u8]) -> Result<()> {
    stamp(seq, body);
    match to.send(body) {
        Ok(_) => Ok(()),
        Err(e) => Err(failed("cannot send", e)),
    }
}

#[inline(always)]
fn recv(from: &Subscriber, body: &mut [u8]) -> Result<u64> {
    let record = match from.recv() {
        Ok(record) => record,
        Err(e) => return Err(failed("cannot receive", e)),
    };
    copied(&record, body)
}

impl Half for Pair {
    #[inline(always)]
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        send(&mut self.to, seq, body)
    }

    #[inline(always)]
    fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        recv(&self.from, body)
    }
}
