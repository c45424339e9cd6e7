//! The wait ladder: what a blocked participant does next, from the cheapest to the most patient.

/// How to wait, as a value: so many turns of each kind, then the next. `u32::MAX` turns never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiting {
    spins: u32,
    pauses: u32,
    yields: u32,
}

impl Waiting {
    /// Turns on the processor before a parking reader goes to sleep: some ten microseconds, about what a sleep
    /// and a wake cost together, so that a busy ring seldom sleeps.
    const BUDGET: u32 = 500;

    /// Spins for ever: the lowest latency, and all of one processor.
    pub const fn spin() -> Waiting {
        Waiting { spins: u32::MAX, pauses: 0, yields: 0 }
    }

    /// Spins for ever with the processor's pause between looks: kinder to a sibling thread of the core.
    pub const fn pause() -> Waiting {
        Waiting { spins: 0, pauses: u32::MAX, yields: 0 }
    }

    /// Spins a little, then offers the processor to others between looks.
    pub const fn yielding() -> Waiting {
        Waiting { spins: Self::BUDGET, pauses: 0, yields: u32::MAX }
    }

    /// Spins a little, then sleeps in the kernel until it is woken. The default.
    pub const fn park() -> Waiting {
        Waiting { spins: Self::BUDGET, pauses: 0, yields: 0 }
    }

    /// Sleeps in the kernel after `turns` looks. With 0 it sleeps at once.
    pub const fn park_after(turns: u32) -> Waiting {
        Waiting { spins: turns, pauses: 0, yields: 0 }
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Waiting::park()
    }
}

/// What to do before the next look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Look again at once.
    Spin,
    /// One pause of the processor.
    Pause,
    /// Offer the processor.
    Yield,
    /// Sleep.
    Park,
}

/// A wait in progress.
#[derive(Debug)]
pub struct Ladder {
    left: Waiting,
    turn: u32,
}

impl Ladder {
    /// Turns between two looks at the clock: short against a liveness interval, long against the clock.
    const CHECK_EVERY: u32 = 1024;

    /// The first rung of `waiting`.
    pub const fn new(waiting: Waiting) -> Ladder {
        Ladder { left: waiting, turn: 0 }
    }

    /// The same for turns of `looks` looks each, which together are to take as long.
    pub fn among(waiting: Waiting, looks: u32) -> Ladder {
        let share = |turns: u32| if turns == u32::MAX { turns } else { turns.div_ceil(looks.max(1)) };
        let Waiting { spins, pauses, yields } = waiting;
        Ladder::new(Waiting { spins: share(spins), pauses: share(pauses), yields })
    }

    /// The next rung.
    #[inline]
    pub fn step(&mut self) -> Rung {
        self.turn = self.turn.wrapping_add(1);
        let left = &mut self.left;
        for (count, rung) in
            [(&mut left.spins, Rung::Spin), (&mut left.pauses, Rung::Pause), (&mut left.yields, Rung::Yield)]
        {
            match *count {
                0 => {}
                u32::MAX => return rung,
                _ => {
                    *count -= 1;
                    return rung;
                }
            }
        }
        Rung::Park
    }

    /// Whether it is time to look at the clock: seldom while it spins, at each turn that costs a call.
    #[inline]
    pub fn due(&self, rung: Rung) -> bool {
        matches!(rung, Rung::Park | Rung::Yield) || self.turn.is_multiple_of(Self::CHECK_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_spent_in_order_and_endless_ones_never_end() {
        let mut ladder = Ladder::new(Waiting { spins: 2, pauses: 1, yields: 1 });
        let seen: [Rung; 6] = core::array::from_fn(|_| ladder.step());
        assert_eq!(seen, [Rung::Spin, Rung::Spin, Rung::Pause, Rung::Yield, Rung::Park, Rung::Park]);
        let mut ladder = Ladder::new(Waiting::spin());
        assert!((0..10_000).all(|_| ladder.step() == Rung::Spin));
        let mut ladder = Ladder::new(Waiting::park_after(0));
        assert_eq!(ladder.step(), Rung::Park);
    }

    #[test]
    fn many_looks_share_a_budget() {
        let spins_of = |waiting, looks| {
            let mut ladder = Ladder::among(waiting, looks);
            (0..10_000).take_while(|_| ladder.step() == Rung::Spin).count()
        };
        for (turns, looks, spins) in [(500, 0, 500), (500, 1, 500), (500, 3, 167), (500, 1000, 1), (0, 3, 0)]
        {
            assert_eq!(spins_of(Waiting::park_after(turns), looks), spins);
        }
        assert_eq!(spins_of(Waiting::spin(), u32::MAX), 10_000);
        let mut ladder = Ladder::among(Waiting::pause(), 2);
        assert!((0..10_000).all(|_| ladder.step() == Rung::Pause));
    }

    #[test]
    fn the_clock_is_looked_at_seldom_while_spinning() {
        let mut ladder = Ladder::new(Waiting::spin());
        let due = (0..10_240)
            .filter(|_| {
                let r = ladder.step();
                ladder.due(r)
            })
            .count();
        assert_eq!(due, 10);
        assert!(ladder.due(Rung::Park) && ladder.due(Rung::Yield));
    }
}
