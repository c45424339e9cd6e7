//! What needs no ring, or no more than one: headers, shapes, the wait ladder, pins, and boundaries near the end of what 64 bits
//! can say.

use annulus_core::header::{LENGTH_MAX, decode, encode, length_if};
use annulus_core::history::{Resume, Start};
use annulus_core::ladder::{Ladder, Rung, Waiting};
use annulus_core::observer::{Observer, Sight};
use annulus_core::shape::{Align, CAPACITY_MAX, CAPACITY_MIN, Shape};
use annulus_core::words::NOWHERE;
use annulus_core::writer::{Refusal, Writer};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::case::sequence;
use crate::players::{Got, InPlace};
use crate::rig::{Heap, Rig};
use crate::runner::{Tell, check};

impl<A: std::fmt::Debug, B: std::fmt::Debug> Tell for (A, B) {}
impl<A: std::fmt::Debug, B: std::fmt::Debug, C: std::fmt::Debug> Tell for (A, B, C) {}
impl<A: std::fmt::Debug, B: std::fmt::Debug, C: std::fmt::Debug, D: std::fmt::Debug> Tell for (A, B, C, D) {}

/// A header says its sequence and its length to those who are within 2^31 records of it, and to nobody else that it is theirs.
#[test]
fn headers() {
    let sequence = || prop_oneof![any::<u64>(), sequence()];
    let len = prop_oneof![0..=LENGTH_MAX, Just(LENGTH_MAX), 0..100_u64];
    check(20_000, (sequence(), len, any::<i32>(), any::<u64>()), |&(sequence, len, ahead, word)| {
        let header = encode(sequence, len);
        let near = sequence.wrapping_sub(i64::from(ahead) as u64);
        assert_eq!(decode(header, near), Some((sequence, len)));
        assert_eq!(length_if(header, sequence), Some(len));
        assert_eq!(length_if(header, near), (ahead == 0).then_some(len));
        // Any word at all: what one says, the other says, too.
        match decode(word, near) {
            Some((sequence, len)) => {
                assert_eq!((encode(sequence, len), length_if(word, sequence)), (word, Some(len)));
            }
            None => assert_eq!(length_if(word, word >> 32), None),
        }
    });
}

fn shapes() -> impl Strategy<Value = (u64, Align, bool)> {
    let capacity =
        prop_oneof![4 => (5..41_u32).prop_map(|bits| 1_u64 << bits), 1 => any::<u64>(), 1 => 0..200_u64];
    (capacity, select(vec![Align::Packed, Align::Line]), any::<bool>())
}

/// A record takes the least multiple of the alignment that holds it and its header, and the longest leaves room for the next
/// header and no more.
#[test]
fn shapes_of_all_sizes() {
    check(20_000, (shapes(), any::<u64>(), 0..300_u64), |&((capacity, align, stamped), any, near)| {
        let possible = capacity.is_power_of_two()
            && (CAPACITY_MIN..=CAPACITY_MAX).contains(&capacity)
            && capacity >= align.bytes() + 8;
        let shape = Shape::new(capacity, align);
        assert_eq!(shape.is_some(), possible);
        let Some(shape) = shape.and_then(|shape| if stamped { shape.stamped() } else { Some(shape) }) else {
            return;
        };
        assert_eq!((shape.capacity(), shape.align(), shape.chunk()), (capacity, align, capacity / 16));
        let max = shape.max_len();
        assert_eq!(shape.max_user_len() + shape.prefix(), max);
        assert_eq!(shape.prefix(), if stamped { 8 } else { 0 });
        let fits = |len: u64| len <= LENGTH_MAX && shape.need(len) + 8 <= capacity;
        assert!(fits(max) && !fits(max + 1), "{max} is not the longest");
        for len in [any % (max + 1), near, max.saturating_sub(near), max + near] {
            let need = shape.need(len);
            assert!(need % align.bytes() == 0 && need >= len + 8 && need < len + 8 + align.bytes());
            assert_eq!(shape.is_len(len), (shape.prefix()..=max).contains(&len), "{len}");
        }
        assert!(!shape.is_len(max + 1 + any % (u64::MAX - max)));
    });
}

/// So many looks, and then sleep for ever; and the clock is looked at in time.
#[test]
fn ladders() {
    check(500, (0..3000_u32, 0..3000_u32), |&(turns, more)| {
        let mut ladder = Ladder::new(Waiting::park_after(turns));
        let mut last_due = 0;
        for turn in 0..turns + more {
            let rung = ladder.step();
            assert_eq!(rung, if turn < turns { Rung::Spin } else { Rung::Park });
            if ladder.due(rung) {
                last_due = turn;
            }
            assert!(turn - last_due <= 1024, "the clock is forgotten");
        }
    });
}

/// A reader that holds as many records as there are, and gives them back in any order: the cursor is always at the oldest that
/// it still holds, as a set of them says.
#[test]
fn pins() {
    let lens = || vec(0..40_u64, 1..100);
    let lists = (select(vec![Align::Packed, Align::Line]), 0..64_u64, lens(), vec(any::<u16>(), 400));
    check(2000, lists, |(align, begin, lens, order)| {
        let shape = Shape::new(1024, *align).expect("a shape");
        let rig = Heap::new(1024, 1);
        let shared = rig.shared();
        let mut writer = Writer::create(shape, &shared, begin << 10, *begin, 0);
        let mut reader = InPlace::join(shape, &shared, 0, Start::Newest).expect("a reader");
        let mut order = order.iter();
        let mut ends = std::collections::BTreeMap::new();
        for len in lens.iter().cycle().take(200) {
            // As many as fit, all held; then some are given back.
            if writer.publish(&shared, &vec![7; *len as usize]).is_ok() {
                let Got::Record(held) = reader.receive(&shared) else { panic!("no record") };
                ends.insert(held.position, writer.tail());
                continue;
            }
            for nth in order.by_ref().take(1 + ends.len() / 2) {
                let Some(nth) = usize::from(*nth).checked_rem(ends.len()) else { break };
                let position = *ends.keys().nth(nth).expect("one of them");
                assert_eq!(reader.held[nth].position, position);
                reader.release(&shared, nth);
                ends.remove(&position);
                let oldest = ends.keys().next().copied().unwrap_or(writer.tail());
                assert_eq!(shared.slots[0].cursor.glance(), oldest);
                assert_eq!(reader.core.held_bytes(), writer.tail() - oldest);
            }
        }
    });
}

/// Positions around the last that a ring can have: they are refused, or everything at them goes well; nothing overflows.
#[test]
fn the_end_of_all_positions() {
    let near = (select(vec![u64::MAX, u64::MAX - 4 * 256, 1 << 63]), -2048..2048_i64)
        .prop_map(|(edge, off)| edge.saturating_add_signed(off));
    let position = prop_oneof![near.clone().prop_map(|p| p & !7), near, any::<u64>()];
    let words = (position, 0..=256_u64, 0..=256_u64, sequence());
    check(5000, words, |&(tail, ahead, wish, published)| {
        let shape = Shape::new(256, Align::Packed).expect("a shape");
        let rig = Heap::new(256, 1);
        let shared = rig.shared();
        let page = shared.producer;
        let licence = tail.saturating_add(ahead);
        page.tail.preset(tail);
        page.published.preset(published);
        page.licence.preset(licence);
        page.lease.preset(licence.saturating_add(wish.min(256 - ahead)));
        page.newest.preset(NOWHERE);
        let possible = tail % 8 == 0 && tail <= u64::MAX - 4 * 256;
        let observer = Observer::start(shape, &shared.view(), Start::Oldest);
        assert_eq!(observer.is_ok(), possible, "an observer at {tail}");
        let writer = Writer::take_over(shape, &shared, 3);
        // Where nothing is granted, there can be no zero behind a last record: only a new ring is like that.
        let granted = ahead >= 8 || ahead == 0;
        assert_eq!(writer.is_ok(), possible && granted, "a takeover at {tail}");
        let (Ok(mut observer), Ok(mut writer)) = (observer, writer) else { return };
        // As far as there are positions, and not one record further than that.
        for n in 0..3 {
            let payload = [n; 100];
            match writer.publish(&shared, &payload) {
                Ok(()) => {}
                Err(Refusal::Full(_)) => panic!("nobody is there"),
                Err(other) => panic!("{other:?}"),
            }
            let Sight::Record(seen) = observer.look(&shared.view()) else { panic!("no record {n}") };
            let mut copy = [0xff; 100];
            let taken = observer.take(&shared.view(), seen, &mut copy).expect("it is there");
            assert_eq!((taken.sequence, copy), (published + u64::from(n), payload));
        }
        // Nobody begins behind the last position that a record may have.
        let possible = writer.tail() <= u64::MAX - 4 * 256;
        assert_eq!(observer.resume(&shared.view(), Resume::Newest).ok(), possible.then_some(0));
    });
}
