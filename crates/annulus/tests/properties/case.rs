//! A ring to begin with, and what is done to it.

use annulus_core::shape::{Align, Shape};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::ops::{Op, op};
use crate::runner::Tell;

/// A ring, as it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) capacity: u64,
    pub(crate) align: Align,
    pub(crate) stamped: bool,
    /// Nobody reads in place, so the producer may evict.
    pub(crate) no_in_place: bool,
    pub(crate) retain: u64,
    /// Where the first record goes.
    pub(crate) position: u64,
    pub(crate) sequence: u64,
}

impl Setting {
    pub(crate) fn shape(&self) -> Shape {
        let shape = Shape::new(self.capacity, self.align).expect("a shape");
        if self.stamped { shape.stamped().expect("room for a stamp") } else { shape }
    }
}

/// A ring, and a list of operations.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) setting: Setting,
    pub(crate) ops: Vec<Op>,
}

impl Tell for Case {
    fn tell(&self) -> Vec<String> {
        let ops = self.ops.iter().map(|op| format!("{op:?}"));
        std::iter::once(format!("{:?}", self.setting)).chain(ops).collect()
    }
}

/// Capacity and alignment from the smallest on; with a stamp, the smallest that have room for one.
fn geometry(capacities: Vec<u64>) -> impl Strategy<Value = (u64, Align, bool)> {
    let align = select(vec![Align::Packed, Align::Line]);
    (select(capacities), align, prop_oneof![3 => Just(false), 1 => Just(true)]).prop_map(
        |(capacity, align, stamped)| {
            let align = if Shape::new(capacity, align).is_some() { align } else { Align::Packed };
            let stamped = stamped && Shape::new(capacity, align).and_then(Shape::stamped).is_some();
            (capacity, align, stamped)
        },
    )
}

/// Where rings begin: at 0, and up to three laps before the ends of 32 bits and of 63, or just there.
pub(crate) fn position(capacity: u64) -> impl Strategy<Value = u64> {
    (select(vec![0, 1_u64 << 32, 1 << 63]), 0..4_u64)
        .prop_map(move |(edge, laps)| edge.saturating_sub(laps * capacity))
}

/// First sequences: some records before the ends of 31, 32 and 63 bits, and as late as any ring gets.
pub(crate) fn sequence() -> impl Strategy<Value = u64> {
    let edges = vec![0, 1_u64 << 31, 3 << 31, 1 << 32, 1 << 63, u64::MAX - (1 << 20)];
    (select(edges), 0..60_u64).prop_map(|(edge, before)| edge.saturating_sub(before))
}

/// A ring of one of these capacities.
pub(crate) fn setting(capacities: Vec<u64>) -> impl Strategy<Value = Setting> {
    let retain = prop_oneof![2 => Just(0), 1 => 1..30_u64];
    (geometry(capacities), any::<bool>(), retain, sequence()).prop_flat_map(
        |((capacity, align, stamped), no_in_place, retain, sequence)| {
            position(capacity).prop_map(move |position| Setting {
                capacity,
                align,
                stamped,
                no_in_place,
                retain,
                position,
                sequence,
            })
        },
    )
}

/// A ring of one of these capacities, and up to so many operations.
pub(crate) fn case(capacities: Vec<u64>, most: usize) -> impl Strategy<Value = Case> {
    (setting(capacities), vec(op(), 1..most)).prop_map(|(setting, ops)| Case { setting, ops })
}
