//! A record's word in a group's claim table: who has it, and how often it was delivered in vain.
//!
//! ```text
//!  63                     20 19      12 11       4 3      0
//! ┌─────────────────────────┬──────────┬──────────┬────────┐
//! │ sequence (low 44 bits)  │ attempts │   slot   │ stage  │
//! └─────────────────────────┴──────────┴──────────┴────────┘
//!
//! done (a lap of the table ago) ──claim──► claimed ──done──► done
//!                                 ▲  │
//!                               claim │ give back, or adoption after a death: one attempt more
//!                                 │  ▼
//!                               returned, or after the last attempt: dead
//! ```
//!
//! Every move is one compare-and-exchange of the whole word. Race: two move at once; one succeeds, and the other looks again.
//! A word never says again what it once said, but for records of a sequence 2^44 later and for those whose attempts are not counted
//! any more, which are given back as they were taken: so who succeeds has been right about everything it read before.

use crate::words::ClaimWord;

/// The most that a word counts of attempts.
pub const ATTEMPTS_MAX: u32 = 0xff;
/// The first slot whose owner cannot be a worker, since a claim word has no number for it.
pub const WORKER_SLOTS: u32 = 0x100;

const SEQUENCE_SHIFT: u32 = 20;
const SEQUENCE_BITS: u32 = u64::BITS - SEQUENCE_SHIFT;
const ATTEMPTS_SHIFT: u32 = 12;
const SLOT_SHIFT: u32 = 4;

/// What has become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Some worker has it.
    Claimed,
    /// Given back, or taken from the dead: for the next.
    Returned,
    /// Over. Also of a record that came before the group.
    Done,
    /// Given back as often as the group allows: for who asks for dead letters.
    Dead,
}

/// What a claim word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The record's sequence, its low 44 bits.
    sequence: u64,
    /// Deliveries that came to nothing, at most [`ATTEMPTS_MAX`].
    pub attempts: u32,
    /// Whose it is, or was.
    pub slot: u32,
    /// What has become of it.
    pub stage: Stage,
}

impl Claim {
    /// What the word of a record says.
    pub const fn new(sequence: u64, attempts: u32, slot: u32, stage: Stage) -> Claim {
        Claim { sequence: low(sequence), attempts, slot, stage }
    }

    /// As stored.
    pub const fn to_word(self) -> u64 {
        let stage = match self.stage {
            Stage::Done => 0,
            Stage::Claimed => 1,
            Stage::Returned => 2,
            Stage::Dead => 3,
        };
        self.sequence << SEQUENCE_SHIFT
            | ((self.attempts & ATTEMPTS_MAX) as u64) << ATTEMPTS_SHIFT
            | ((self.slot % WORKER_SLOTS) as u64) << SLOT_SHIFT
            | stage
    }

    /// From the stored word. `None`: no worker stores that.
    pub const fn from_word(word: u64) -> Option<Claim> {
        let stage = match word % (1 << SLOT_SHIFT) {
            0 => Stage::Done,
            1 => Stage::Claimed,
            2 => Stage::Returned,
            3 => Stage::Dead,
            _ => return None,
        };
        Some(Claim {
            sequence: word >> SEQUENCE_SHIFT,
            attempts: (word >> ATTEMPTS_SHIFT) as u32 & ATTEMPTS_MAX,
            slot: (word >> SLOT_SHIFT) as u32 % WORKER_SLOTS,
            stage,
        })
    }

    /// Whether it is of the record of this sequence.
    pub const fn is_of(&self, sequence: u64) -> bool {
        self.sequence == low(sequence)
    }

    /// Whether the record of this sequence is done: its word says so, or is a later one's, which had to wait for that.
    pub const fn is_over(&self, sequence: u64) -> bool {
        let ahead = low(self.sequence.wrapping_sub(sequence));
        match self.stage {
            Stage::Done if ahead == 0 => true,
            _ => ahead != 0 && ahead < 1 << (SEQUENCE_BITS - 1),
        }
    }

    /// The word that the same record has when it is given back: for the next one, or a dead letter after so many attempts in all
    /// (0: never).
    #[must_use]
    pub const fn given_back(self, attempts_max: u32) -> Claim {
        let attempts = if self.attempts < ATTEMPTS_MAX { self.attempts + 1 } else { ATTEMPTS_MAX };
        let dead = attempts_max != 0 && attempts >= attempts_max;
        Claim { attempts, stage: if dead { Stage::Dead } else { Stage::Returned }, ..self }
    }
}

const fn low(sequence: u64) -> u64 {
    sequence << SEQUENCE_SHIFT >> SEQUENCE_SHIFT
}

/// A group's claim table: as many words as records can be in flight, a power of two.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(&'a [ClaimWord]);

impl<'a> Table<'a> {
    /// Over so many words, a power of two.
    pub(crate) fn new(words: &'a [ClaimWord]) -> Table<'a> {
        debug_assert!(words.len().is_power_of_two());
        Table(words)
    }

    /// Records that can be in flight.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A record's word.
    #[inline]
    pub fn of(&self, sequence: u64) -> &'a ClaimWord {
        &self.0[sequence as usize & (self.0.len() - 1)]
    }

    /// All words.
    pub fn words(&self) -> impl Iterator<Item = &'a ClaimWord> {
        self.0.iter()
    }

    /// Makes the table that of a group which begins with the record of this sequence: those before it are done.
    pub(crate) fn begin(&self, first: u64) {
        for i in 0..self.len() {
            let before = Claim::new(first.wrapping_sub(i + 1), 0, 0, Stage::Done);
            self.of(first.wrapping_sub(i + 1)).preset(before.to_word());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    const STAGES: [Stage; 4] = [Stage::Claimed, Stage::Returned, Stage::Done, Stage::Dead];

    #[test]
    fn a_word_says_what_was_stored() {
        for sequence in [0, 1, u64::from(u32::MAX), (1 << 44) - 1, 1 << 44, 1 << 63, u64::MAX] {
            for attempts in [0, 1, 254, 255] {
                for slot in [0, 1, 255] {
                    for stage in STAGES {
                        let claim = Claim::new(sequence, attempts, slot, stage);
                        assert_eq!(Claim::from_word(claim.to_word()), Some(claim));
                        assert!(claim.is_of(sequence) && claim.is_of(sequence.wrapping_add(1 << 44)));
                        assert!(!claim.is_of(sequence.wrapping_add(1)));
                        assert!(!claim.is_of(sequence.wrapping_sub(1 << 43)));
                    }
                }
            }
        }
        for stage in 4..16 {
            assert_eq!(Claim::from_word(1 << 20 | stage), None);
        }
    }

    #[test]
    fn a_record_is_over_when_its_word_says_so_or_is_a_later_ones() {
        for sequence in [0, 7, (1 << 44) - 1, 1 << 44, u64::MAX] {
            for stage in STAGES {
                let over = |of: u64| Claim::new(of, 1, 2, stage).is_over(sequence);
                assert_eq!(over(sequence), stage == Stage::Done);
                assert!(over(sequence.wrapping_add(16)) && over(sequence.wrapping_add((1 << 43) - 1)));
                assert!(!over(sequence.wrapping_sub(16)) && !over(sequence.wrapping_add(1 << 43)));
            }
        }
    }

    #[test]
    fn a_record_that_is_given_back_often_enough_is_a_dead_letter() {
        let mut claim = Claim::new(7, 0, 3, Stage::Claimed);
        for attempts in 1..=300 {
            let back = claim.given_back(0);
            assert_eq!((back.stage, back.attempts), (Stage::Returned, attempts.min(ATTEMPTS_MAX)));
            assert!(back.is_of(7) && back.slot == 3);
            for max in [1, 2, attempts, 255] {
                let stage = claim.given_back(max).stage;
                assert_eq!(stage == Stage::Dead, attempts.min(255) >= max, "{attempts} of {max}");
            }
            claim = Claim { stage: Stage::Claimed, ..back };
        }
    }

    #[test]
    fn a_new_table_says_that_all_before_are_done() {
        for first in [0, 5, 1 << 32, (1 << 44) + 3, u64::MAX] {
            let words: Vec<ClaimWord> = (0..16).map(|_| ClaimWord::default()).collect();
            let table = Table::new(&words);
            table.begin(first);
            for i in 1..=16 {
                let claim = Claim::from_word(table.of(first.wrapping_sub(i)).glance()).unwrap();
                assert!(claim.is_of(first.wrapping_sub(i)) && claim.stage == Stage::Done);
            }
            assert_eq!((table.len(), table.is_empty(), table.words().count()), (16, false, 16));
        }
    }
}
