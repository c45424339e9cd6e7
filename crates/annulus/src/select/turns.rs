//! Whose turn it is among those that are ready.
//!
//! Turns go in rounds. In a round each that is ready has one turn; when nobody is left who is ready and has had none, the next
//! round begins. So who becomes ready waits for the rest of one round, and at most for all others in the next: less than twice as
//! many turns as there are ready ones, in whatever order they are listed.

use std::collections::HashSet;

#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Who has had a turn in this round.
    served: HashSet<usize>,
    /// Where the last turn was: behind it the next is looked for, so that in a list that stays the same few are looked at.
    behind: usize,
}

impl Turns {
    /// Of `count` in a list, the one that is ready and has its turn now. `key` says who stands at a place.
    pub(super) fn next(
        &mut self,
        count: usize,
        key: impl Fn(usize) -> usize,
        mut is_ready: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        self.in_round(count, &key, &mut is_ready).or_else(|| {
            let again = self.find(count, |turns, at| turns.served.contains(&key(at)) && is_ready(at))?;
            // Where nobody is ready no round ends.
            self.served.clear();
            self.serve(again, count, &key);
            Some(again)
        })
    }

    /// The same, of those alone who have had no turn in this round, which goes on in any case.
    pub(super) fn in_round(
        &mut self,
        count: usize,
        key: impl Fn(usize) -> usize,
        mut is_ready: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let found = self.find(count, |turns, at| !turns.served.contains(&key(at)) && is_ready(at))?;
        self.serve(found, count, &key);
        Some(found)
    }

    fn find(&self, count: usize, mut is_next: impl FnMut(&Turns, usize) -> bool) -> Option<usize> {
        let begin = if self.behind < count { self.behind } else { 0 };
        (begin..count).chain(0..begin).find(|&at| is_next(self, at))
    }

    fn serve(&mut self, at: usize, count: usize, key: impl Fn(usize) -> usize) {
        self.behind = at + 1;
        self.served.insert(key(at));
        if self.served.len() > count {
            // Some are not in the list any more.
            self.served = (0..count).map(&key).filter(|key| self.served.contains(key)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that come again.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % n as u64) as usize
        }
    }

    #[test]
    fn who_is_always_ready_has_every_nth_turn() {
        for count in [1, 2, 3, 128, 1000] {
            let mut turns = Turns::default();
            let order: Vec<usize> =
                (0..3 * count).map(|_| turns.next(count, |at| at, |_| true).unwrap()).collect();
            assert!(order.iter().enumerate().all(|(n, &at)| at == n % count), "{order:?}");
        }
    }

    /// Whatever comes and goes, and in whatever order it is listed: while one is ready and has no turn, others have fewer than
    /// twice as many turns as were ready meanwhile.
    #[test]
    fn nobody_waits_longer_than_twice_the_number_of_the_ready() {
        for seed in 1..400_u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let count = 1 + random.below(12);
            let mut list: Vec<usize> = (0..count).map(|n| 100 + n).collect();
            let mut ready: HashSet<usize> = HashSet::new();
            // For each that is ready and waits: turns of others, and who was ready meanwhile.
            let mut waits: Vec<(usize, usize, HashSet<usize>)> = Vec::new();
            let mut turns = Turns::default();
            let shuffles = random.below(2) == 0;
            for _ in 0..500 {
                if shuffles {
                    let (a, b) = (random.below(count), random.below(count));
                    list.swap(a, b);
                }
                for &one in &list {
                    // Some are ready nearly always, some seldom.
                    if random.below(1 + one % 5) == 0 && ready.insert(one) {
                        waits.push((one, 0, HashSet::new()));
                    }
                }
                waits.iter_mut().for_each(|(_, _, meanwhile)| meanwhile.extend(&ready));
                let turn = turns.next(count, |at| list[at], |at| ready.contains(&list[at]));
                assert_eq!(turn.is_some(), !ready.is_empty());
                let Some(at) = turn else { continue };
                let served = list[at];
                waits.retain(|&(one, ..)| one != served);
                ready.remove(&served);
                if random.below(3) > 0 && ready.insert(served) {
                    waits.push((served, 0, HashSet::new()));
                }
                for (one, others, meanwhile) in &mut waits {
                    if *one != served {
                        *others += 1;
                    }
                    assert!(*others < 2 * meanwhile.len().max(1), "seed {seed}: {one} after {others}");
                }
            }
        }
    }

    /// One that is asked for out of turn now and then takes no turn from the others, be the round longer than that is apart.
    #[test]
    fn who_is_asked_for_out_of_turn_ends_no_round() {
        let (mut turns, mut had) = (Turns::default(), [0; 100]);
        for n in 0..2000 {
            let early = if n % 64 == 0 { turns.in_round(100, |at| at, |at| at == 0) } else { None };
            had[early.or_else(|| turns.next(100, |at| at, |_| true)).unwrap()] += 1;
            turns.next(100, |at| at, |_| false);
        }
        assert_eq!(had, [20; 100]);
    }

    /// Handles come and go: what is remembered is no more than the list.
    #[test]
    fn those_that_are_gone_are_forgotten() {
        let mut turns = Turns::default();
        for n in 0..1000 {
            let list = [7, 2 * n + 100, 2 * n + 101];
            turns.next(3, |at| list[at], |at| at == 1 || n % 2 == 0).unwrap();
            assert!(turns.served.len() <= 3);
        }
    }
}
