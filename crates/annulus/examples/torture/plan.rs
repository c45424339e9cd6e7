//! What follows from the seed: the rings' options, and each record's length and bytes.

use std::path::Path;
use std::time::Duration;

use annulus::{Align, Clock, Create, FenceMode, Group, Open, Ring, Waiting, Wake};

/// The liveness interval of every ring.
pub(crate) const LIVENESS: Duration = Duration::from_millis(100);

/// Numbers that follow from a seed: splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Differing streams for differing words.
    pub(crate) fn of(words: &[u64]) -> Random {
        Random(words.iter().fold(0, |state, &word| mix(state ^ mix(word))))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// From 0 up to, and without, `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Whether what happens once in so many times happens now.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(most.as_nanos() as u64 + 1))
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// What becomes of a group without workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It is kept, so nothing of it may ever be lost.
    Durable,
    /// It never is without: one of its workers stays. Nothing of it may be lost.
    Manned,
    /// It ends, by who leaves last or by a blocked producer, with what it has not done. Another begins behind it.
    Fleeting,
}

/// One group of a ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupPlan {
    pub(crate) number: u32,
    pub(crate) keeping: Keeping,
    /// Deliveries before a record is a dead letter.
    pub(crate) attempts: Option<u32>,
    /// At most so many workers, and one that stays.
    pub(crate) workers: usize,
    /// One record in so many is given back.
    pub(crate) back_one_in: u64,
}

impl GroupPlan {
    pub(crate) fn group(&self) -> Group {
        let mut group = Group::named(&format!("group-{}", self.number));
        if let Some(most) = self.attempts {
            group = group.attempts(most);
        }
        if self.keeping == Keeping::Durable { group.durable() } else { group }
    }
}

/// One ring: everything follows from the seed and its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) ring: u64,
    key: u64,
    pub(crate) capacity: usize,
    pub(crate) align: Align,
    pub(crate) fence: FenceMode,
    pub(crate) wake: Wake,
    pub(crate) clock: Option<Clock>,
    pub(crate) retain: u64,
    pub(crate) persistent: bool,
    pub(crate) no_in_place: bool,
    pub(crate) evict_after: Option<Duration>,
    /// Without those of workers.
    pub(crate) max_subscribers: u32,
    groups: u32,
    claim_words: u32,
    /// One record in so many is as long as any may be, or about.
    long_one_in: u64,
    /// A producer pauses after one call in so many.
    pub(crate) pause_one_in: u64,
}

impl Plan {
    pub(crate) fn of(seed: u64, ring: u64) -> Plan {
        let mut random = Random::of(&[seed, ring]);
        let r = &mut random;
        let key = r.next();
        // What the rings of a run differ in most goes round, so that even a short run has each.
        let turn = ring + mix(seed) % 6;
        let groups = if turn.is_multiple_of(2) { 1 + r.below(2) as u32 } else { 0 };
        let (no_in_place, evict_after, max_subscribers) = match turn % 6 {
            1 => (true, Some(r.up_to(Duration::from_millis(20))), 6),
            3 => (r.one_in(2), None, 0),
            5 => (true, if r.one_in(3) { Some(Duration::ZERO) } else { None }, 5),
            _ => (false, None, 3 + r.below(5) as u32),
        };
        let bits = 12 + [0, 4, 2, 8, 1, 6][(ring % 6) as usize] + r.below(2);
        let capacity = 1_usize << bits;
        Plan {
            ring,
            key,
            capacity,
            align: r.pick(&[Align::Line, Align::Packed]),
            fence: [FenceMode::Asymmetric, FenceMode::Symmetric, FenceMode::Asymmetric, FenceMode::SpinOnly]
                [((turn + turn / 2) % 4) as usize],
            wake: r.pick(&[Wake::Futex, Wake::Futex, Wake::Semaphore]),
            clock: r.pick(&[None, None, Some(Clock::Monotonic)]),
            // A ring refuses to retain more than it could hold.
            retain: r.pick(&[0, 0, 5, (capacity as u64 / 256).min(300)]),
            persistent: r.one_in(4),
            no_in_place,
            evict_after,
            max_subscribers,
            groups,
            claim_words: r.pick(&[2, 16, 64, 1024]),
            long_one_in: if bits > 16 { 2000 } else { r.pick(&[16, 60, 400]) },
            pause_one_in: r.pick(&[20, 60, 200]),
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("ring-{}", self.ring)
    }

    /// Its groups.
    pub(crate) fn groups(&self) -> Vec<GroupPlan> {
        (0..self.groups).map(|number| self.group(number)).collect()
    }

    pub(crate) fn group(&self, number: u32) -> GroupPlan {
        let mut r = Random::of(&[self.key, u64::from(number)]);
        let keepings = [Keeping::Durable, Keeping::Manned, Keeping::Fleeting, Keeping::Durable];
        GroupPlan {
            number,
            keeping: keepings[((self.ring / 2 + u64::from(number)) % 4) as usize],
            attempts: r.pick(&[None, None, Some(1), Some(3)]),
            workers: 1 + r.below(4) as usize,
            back_one_in: r.pick(&[8, 30, 200]),
        }
    }

    pub(crate) fn create(&self, dir: &Path) -> Create {
        let places = self.groups().iter().map(|group| group.workers as u32 + 1).sum::<u32>();
        let mut ring = Ring::open_or_create(&self.name())
            .dir(dir)
            .capacity(self.capacity)
            .align(self.align)
            .fence(self.fence)
            .wake(self.wake)
            .max_subscribers(self.max_subscribers + places)
            .max_groups(self.groups)
            .claim_words(self.claim_words)
            .retain(self.retain)
            .persistent(self.persistent)
            .liveness(LIVENESS);
        if self.no_in_place {
            ring = ring.no_in_place();
        }
        if let Some(patience) = self.evict_after {
            ring = ring.evict_after(patience);
        }
        if let Some(clock) = self.clock {
            ring = ring.stamped(clock);
        }
        ring
    }

    pub(crate) fn open(&self, dir: &Path) -> Open {
        Ring::open(&self.name()).dir(dir)
    }

    /// The longest record, by the layout's rule: header, payload and the zero header behind it fit into the ring.
    pub(crate) fn max_len(&self) -> usize {
        let align = if self.align == Align::Line { 64 } else { 8 };
        let stamp = if self.clock.is_some() { 8 } else { 0 };
        self.capacity - align - 8 - stamp
    }

    /// The length of a record, in bytes.
    pub(crate) fn len(&self, n: u64) -> usize {
        let max = self.max_len() as u64;
        let mut r = Random::of(&[self.key, n]);
        if r.one_in(self.long_one_in) {
            return if r.one_in(4) { max } else { r.below(max + 1) } as usize;
        }
        let most = match r.below(16) {
            0 => 0,
            1 => max / 16,
            2 | 3 => 1024,
            _ => 72,
        };
        r.below(most.min(max) + 1) as usize
    }

    /// The bytes of a record.
    pub(crate) fn fill(&self, n: u64, payload: &mut Vec<u8>) {
        let len = self.len(n);
        payload.clear();
        payload.reserve(len + 8);
        let mut state = mix(self.key ^ mix(n ^ GOLDEN));
        while payload.len() < len {
            state = state.wrapping_add(GOLDEN);
            payload.extend_from_slice(&mix(state).to_le_bytes());
        }
        payload.truncate(len);
    }

    pub(crate) fn record(&self, n: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        self.fill(n, &mut payload);
        payload
    }

    /// What people are told of it.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{} B {:?} {:?} {:?}", self.capacity, self.align, self.fence, self.wake);
        for (is, word) in [
            (self.clock.is_some(), " stamped"),
            (self.persistent, " persistent"),
            (self.no_in_place, " no_in_place"),
        ] {
            if is {
                text.push_str(word);
            }
        }
        if let Some(patience) = self.evict_after {
            text.push_str(&format!(" evict_after {patience:?}"));
        }
        for group in self.groups() {
            let GroupPlan { number, keeping, attempts, workers, .. } = group;
            text.push_str(&format!(" group {number} {keeping:?} of {workers}"));
            if let Some(most) = attempts {
                text.push_str(&format!(" attempts {most}"));
            }
        }
        if self.groups > 0 {
            text.push_str(&format!(" claim words {}", self.claim_words));
        }
        format!("{text} retain {} subscribers {}", self.retain, self.max_subscribers)
    }
}

/// Some way to wait. Few spin: there are more processes than processors.
pub(crate) fn waiting(random: &mut Random) -> Waiting {
    match random.below(12) {
        0 => Waiting::spin(),
        1 => Waiting::pause(),
        2..=4 => Waiting::yielding(),
        5..=7 => Waiting::park(),
        8 => Waiting::park_after(20),
        _ => Waiting::park_after(0),
    }
}
