//! The measuring loops: one round of a bench over any half, as the client times it and as the server
//! answers it. They are compiled anew for each kind of half, so nothing is called through a table.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::clock::{Clock, monotonic_ns};
use crate::peer::Ctl;
use crate::plan::Bench;
use crate::systems::{Half, Visit};
use crate::tasks::TaskHalf;
use crate::{Error, Result, sleep};

/// Ends a round. The numbers of messages stay below it.
pub(crate) const STOP: u64 = u64::MAX;
/// Round trips at the start of a round that are not measured: the peer's first look comes late.
pub(crate) const UNTIMED: u32 = 32;
/// How long after its last word the reader has had time to fall asleep.
const DOZE: Duration = Duration::from_micros(60);
/// The same for one that has to look at many rings before, at most: it is found out.
const LONGEST_DOZE: Duration = Duration::from_millis(2);
/// How long after a burst of a fan-out the next one begins, at the soonest: about as long as 64 readers take. The pause
/// itself makes the next burst dearer, as others use the processor and its caches meanwhile: it is to be the same for all.
const BURST_EVERY: Duration = Duration::from_micros(500);

/// What the client has of one round.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    /// Ticks of each round trip, or nanoseconds of each wake, or ticks of each burst.
    pub(crate) samples: Vec<u32>,
    /// Of how many messages each sample tells.
    pub(crate) of: u64,
    /// Messages a second, of a stream or a fan-out.
    pub(crate) rate: f64,
    /// Messages of a stream.
    pub(crate) count: u64,
    /// Wakes left out because the reader had not slept.
    pub(crate) awake: u64,
}

impl Sheet {
    /// Room for the fastest round, its pages already there.
    pub(crate) fn new() -> Self {
        let mut samples = vec![1; 1 << 20];
        samples.clear();
        Self { samples, of: 1, ..Self::default() }
    }
}

/// The client's side of one round.
pub(crate) struct Client<'a> {
    pub(crate) bench: Bench,
    pub(crate) size: usize,
    pub(crate) length: Duration,
    /// Bytes of a ring.
    pub(crate) capacity: usize,
    pub(crate) clock: Clock,
    pub(crate) ctl: &'a Ctl,
    /// The number of the last message; it goes on from round to round.
    pub(crate) seq: &'a mut u64,
    pub(crate) sheet: &'a mut Sheet,
    /// Lets the server make its half, once the client's exists.
    pub(crate) ready: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl Visit for Client<'_> {
    type Out = ();

    fn visit<H: Half>(mut self, half: &mut H) -> Result<()> {
        let mut body = self.begin()?;
        match self.bench {
            Bench::PingPong | Bench::Async => self.ping_pong(half, &mut body),
            Bench::Stream => self.stream(half, &mut body),
            Bench::Wake | Bench::Select => self.wake(half, &mut body),
            Bench::Fanout => self.fan_out(half, &mut body),
            Bench::Group => Err(no_peer()),
        }
    }

    fn visit_task<H: TaskHalf>(self, runtime: &Runtime, half: &mut H) -> Result<()> {
        runtime.block_on(self.trips(half))
    }
}

impl Client<'_> {
    /// Before the first message: an empty sheet, a server that is ready, and what is sent.
    pub(crate) fn begin(&mut self) -> Result<Vec<u8>> {
        self.sheet.samples.clear();
        (self.sheet.count, self.sheet.awake, self.sheet.of) = (0, 0, 1);
        (self.ready)(*self.seq)?;
        Ok(vec![0x5a; self.size])
    }

    /// One stamp for each round trip: the end of one is the start of the next.
    fn ping_pong<H: Half>(&mut self, half: &mut H, body: &mut [u8]) -> Result<()> {
        let (clock, samples) = (self.clock, &mut self.sheet.samples);
        let mut seq = *self.seq;
        let mut answer = vec![0; self.size];
        for _ in 0..UNTIMED {
            seq += 1;
            half.send(seq, body)?;
            same(half.recv(&mut answer)?, seq)?;
        }
        let mut last = clock.now();
        let end = last + clock.ticks(self.length);
        loop {
            seq += 1;
            half.send(seq, body)?;
            same(half.recv(&mut answer)?, seq)?;
            black_box(&mut answer);
            let now = clock.now();
            samples.push((now - last).min(u64::from(u32::MAX)) as u32);
            if now >= end || samples.len() == samples.capacity() {
                break;
            }
            last = now;
        }
        *self.seq = seq;
        half.send(STOP, body)
    }

    /// From the first send until the server has copied out the last message.
    fn stream<H: Half>(&mut self, half: &mut H, body: &mut [u8]) -> Result<()> {
        let clock = self.clock;
        let between_looks = 1 + 4096 / self.size;
        let (first, mut seq) = (*self.seq, *self.seq);
        let began = clock.now();
        let end = began + clock.ticks(self.length);
        while clock.now() < end {
            for _ in 0..between_looks {
                seq += 1;
                half.send(seq, body)?;
            }
        }
        half.send(STOP, body)?;
        self.ctl.wait_for(seq);
        let took = (clock.now() - began) as f64 * clock.ns_per_tick();
        self.sheet.count = seq - first;
        self.sheet.rate = self.sheet.count as f64 * 1e9 / took;
        *self.seq = seq;
        Ok(())
    }

    /// Bursts of a chunk each, as a producer asks for room once a chunk: a sample is the sending of one. The next
    /// begins when all readers have read it, so that no burst waits for room. The rate is without the pause before it.
    fn fan_out<H: Half>(&mut self, half: &mut H, body: &mut [u8]) -> Result<()> {
        let clock = self.clock;
        let burst = (self.capacity / 16 / (8 + self.size).next_multiple_of(64)).max(1) as u64;
        let (first, mut seq) = (*self.seq, *self.seq);
        let mut now = clock.now();
        let end = now + clock.ticks(self.length);
        let mut busy = 0;
        while now < end {
            let began = now;
            for _ in 0..burst {
                seq += 1;
                half.send(seq, body)?;
            }
            let sent = clock.now();
            self.sheet.samples.push((sent - began).min(u64::from(u32::MAX)) as u32);
            self.ctl.wait_for(seq);
            now = clock.now();
            busy += now - began;
            while now - began < clock.ticks(BURST_EVERY) {
                spin_loop();
                now = clock.now();
            }
        }
        let took = busy as f64 * clock.ns_per_tick();
        half.send(STOP, body)?;
        self.sheet.of = burst;
        self.sheet.rate = (seq - first) as f64 * 1e9 / took;
        *self.seq = seq;
        Ok(())
    }

    /// Each message finds the reader asleep, or does not count.
    fn wake<H: Half>(&mut self, half: &mut H, body: &mut [u8]) -> Result<()> {
        let clock = self.clock;
        let mut doze = clock.ticks(DOZE);
        let mut last = clock.now();
        let end = last + clock.ticks(self.length);
        while last < end {
            while clock.now() - last < doze {
                spin_loop();
            }
            *self.seq += 1;
            let sent = monotonic_ns();
            half.send(*self.seq, body)?;
            self.ctl.wait_for(*self.seq);
            let woken = self.ctl.woken_at.load(Relaxed);
            if self.ctl.slept.load(Relaxed) != 0 {
                self.sheet.samples.push(woken.saturating_sub(sent).min(u64::from(u32::MAX)) as u32);
            } else {
                self.sheet.awake += 1;
                if self.bench == Bench::Select {
                    doze = (2 * doze).min(clock.ticks(LONGEST_DOZE));
                }
            }
            last = clock.now();
        }
        half.send(STOP, body)
    }
}

#[inline(always)]
pub(crate) fn same(got: u64, seq: u64) -> Result<()> {
    if got == seq { Ok(()) } else { Err(wrong(got, seq)) }
}

#[cold]
fn wrong(got: u64, seq: u64) -> Error {
    Error::failed(format!("a wrong record came: message {seq} was due, and {got} is what it says"))
}

/// The server's side of one round.
pub(crate) struct Server<'a> {
    pub(crate) bench: Bench,
    pub(crate) size: usize,
    pub(crate) ctl: &'a Ctl,
    /// The number of the last message.
    pub(crate) seq: u64,
    /// Tells the client that all is ready, once the half exists.
    pub(crate) ready: &'a mut dyn FnMut() -> Result<()>,
}

impl Visit for Server<'_> {
    type Out = ();

    fn visit<H: Half>(self, half: &mut H) -> Result<()> {
        let mut body = vec![0; self.size];
        (self.ready)()?;
        match self.bench {
            Bench::PingPong | Bench::Async => self.ping_pong(half, &mut body),
            Bench::Stream => self.stream(half, &mut body),
            Bench::Wake | Bench::Select => self.wake(half, &mut body),
            Bench::Fanout => self.fan_out(half, &mut body),
            Bench::Group => Err(no_peer()),
        }
    }

    fn visit_task<H: TaskHalf>(self, runtime: &Runtime, half: &mut H) -> Result<()> {
        runtime.block_on(self.answers(half))
    }
}

#[cold]
fn no_peer() -> Error {
    Error::failed("this is measured within one process")
}

impl Server<'_> {
    /// Sends back what comes, read out in full before.
    fn ping_pong<H: Half>(mut self, half: &mut H, body: &mut [u8]) -> Result<()> {
        loop {
            let got = half.recv(body)?;
            if got == STOP {
                return Ok(());
            }
            self.seq += 1;
            same(got, self.seq)?;
            half.send(got, body)?;
        }
    }

    fn stream<H: Half>(mut self, half: &mut H, body: &mut [u8]) -> Result<()> {
        loop {
            let got = half.recv(body)?;
            black_box(&mut *body);
            if got == STOP {
                self.ctl.done.store(self.seq, Release);
                return Ok(());
            }
            self.seq += 1;
            same(got, self.seq)?;
        }
    }

    /// Tells after each message that all readers have read it.
    fn fan_out<H: Half>(mut self, half: &mut H, body: &mut [u8]) -> Result<()> {
        loop {
            let got = half.recv(body)?;
            black_box(&mut *body);
            if got == STOP {
                return Ok(());
            }
            self.seq += 1;
            same(got, self.seq)?;
            self.ctl.done.store(self.seq, Release);
        }
    }

    /// Stamps each message, and tells whether this thread has left its CPU to wait for it.
    fn wake<H: Half>(mut self, half: &mut H, body: &mut [u8]) -> Result<()> {
        let mut switches = sleep::count();
        loop {
            let got = half.recv(body)?;
            let at = monotonic_ns();
            if got == STOP {
                return Ok(());
            }
            self.seq += 1;
            same(got, self.seq)?;
            let now = sleep::count();
            self.ctl.woken_at.store(at, Relaxed);
            self.ctl.slept.store(now - switches, Relaxed);
            switches = now;
            self.ctl.done.store(self.seq, Release);
        }
    }
}

impl Ctl {
    /// Spins until the server says that it is done with message `seq`.
    fn wait_for(&self, seq: u64) {
        while self.done.load(Acquire) != seq {
            spin_loop();
        }
    }
}
