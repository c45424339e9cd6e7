//! What can be done to a ring, and random lists of it.

use annulus_core::header::encode;
use annulus_core::history::Start;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// How long a record is, on a ring of any capacity.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Len {
    Bytes(u8),
    /// Of the longest.
    Permille(u16),
    /// So much shorter than the longest.
    Below(u8),
    /// So much longer than the longest, and one.
    Above(u8),
}

impl Len {
    pub(crate) fn of(self, max: u64) -> u64 {
        match self {
            Len::Bytes(n) => u64::from(n).min(max),
            Len::Permille(n) => max * u64::from(n) / 1000,
            Len::Below(n) => max.saturating_sub(u64::from(n)),
            Len::Above(n) => max + 1 + u64::from(n),
        }
    }
}

/// What a record holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fill {
    /// Bytes that no other record has there.
    Noise,
    /// What looks like nothing published.
    Zeros,
    /// Headers of records that are published, or will be soon.
    Headers,
}

/// A record to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft {
    pub(crate) len: Len,
    pub(crate) fill: Fill,
}

impl Draft {
    /// The longest record that there is.
    pub(crate) fn longest() -> Draft {
        Draft { len: Len::Below(0), fill: Fill::Noise }
    }

    /// Its bytes, on a ring whose longest record has `max`, and which has published so many. `nth` makes it unlike others.
    pub(crate) fn bytes(self, max: u64, published: u64, nth: u64) -> Vec<u8> {
        let len = usize::try_from(self.len.of(max)).expect("a length");
        let word = |i: u64| match self.fill {
            Fill::Zeros => 0,
            Fill::Noise => (nth << 20 | i).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            Fill::Headers => encode((published + i).wrapping_sub(1), i * 8),
        };
        (0..(len as u64).div_ceil(8)).flat_map(|i| word(i).to_le_bytes()).take(len).collect()
    }
}

/// Which kind of reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    InPlace,
    Copying,
    Observer,
}

/// Where a reader begins, as far as a list can say it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From {
    Newest,
    Oldest,
    Last(u8),
    /// So many before the next one.
    Before(u8),
    /// So many after it.
    After(u8),
}

impl From {
    pub(crate) fn start(self, published: u64) -> Start {
        match self {
            From::Newest => Start::Newest,
            From::Oldest => Start::Oldest,
            From::Last(n) => Start::Last(n.into()),
            From::Before(n) => Start::Sequence(published.saturating_sub(n.into())),
            From::After(n) => Start::Sequence(published + u64::from(n)),
        }
    }
}

/// Room that is claimed, and written in pieces from the back, each overlapping the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) draft: Draft,
    pub(crate) piece: u8,
}

/// Where a producer stops for ever.
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    /// Between two records.
    Idle,
    /// With room claimed and written to.
    Claim(Claim),
    /// With a batch that nobody has seen.
    Batch(Vec<Draft>),
    /// With records that are out, and so many of the words stored that say so.
    Published(Vec<Draft>, u8),
    /// After a wish so far on, of what may be wished, and before anything was granted.
    Announced(u16),
}

/// One thing to do. A reader is the n-th of those that are there.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Send(Draft),
    /// Flushed, or dropped.
    Batch(Vec<Draft>, bool),
    /// Committed so much shorter than claimed, or dropped.
    Claim(Claim, Option<u8>),
    Join(Kind, From),
    /// With a word, or without one.
    Leave(u8, bool),
    /// The slots of all who left without a word are freed.
    Reap,
    /// So many records, going on with the newest if lapped.
    Receive(u8, u8, bool),
    Latest(u8),
    /// The n-th of those that it holds.
    Release(u8, u8),
    /// All that it holds, the newest first.
    ReleaseAll(u8),
    /// A record for which all in the way are given up.
    Evict(Draft),
    Stop(Stop),
    TakeOver,
}

fn len() -> impl Strategy<Value = Len> {
    prop_oneof![
        10 => (0..80_u8).prop_map(Len::Bytes),
        4 => (0..200_u16).prop_map(Len::Permille),
        3 => (0..=1000_u16).prop_map(Len::Permille),
        2 => (0..70_u8).prop_map(Len::Below),
        1 => (0..70_u8).prop_map(Len::Above),
    ]
}

pub(crate) fn draft() -> impl Strategy<Value = Draft> {
    let fill = prop_oneof![5 => Just(Fill::Noise), 1 => Just(Fill::Zeros), 1 => Just(Fill::Headers)];
    (len(), fill).prop_map(|(len, fill)| Draft { len, fill })
}

fn claim() -> impl Strategy<Value = Claim> {
    (draft(), 0..40_u8).prop_map(|(draft, piece)| Claim { draft, piece })
}

pub(crate) fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        2 => Just(From::Newest),
        3 => Just(From::Oldest),
        2 => (0..60_u8).prop_map(From::Last),
        2 => (0..60_u8).prop_map(From::Before),
        1 => (0..12_u8).prop_map(From::After),
    ]
}

pub(crate) fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![2 => Just(Kind::InPlace), 1 => Just(Kind::Copying), 1 => Just(Kind::Observer)]
}

fn stop() -> impl Strategy<Value = Stop> {
    prop_oneof![
        Just(Stop::Idle),
        claim().prop_map(Stop::Claim),
        vec(draft(), 1..8).prop_map(Stop::Batch),
        (vec(draft(), 1..4), 0..3_u8).prop_map(|(drafts, words)| Stop::Published(drafts, words)),
        (0..=1000_u16).prop_map(Stop::Announced),
    ]
}

/// Any operation.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    let which = || any::<u8>();
    prop_oneof![
        12 => draft().prop_map(Op::Send),
        4 => (vec(draft(), 0..12), prop_oneof![4 => Just(true), 1 => Just(false)])
            .prop_map(|(drafts, flushed)| Op::Batch(drafts, flushed)),
        3 => (claim(), prop_oneof![3 => (0..40_u8).prop_map(Some), 1 => Just(None)])
            .prop_map(|(claim, less)| Op::Claim(claim, less)),
        5 => (kind(), from()).prop_map(|(kind, from)| Op::Join(kind, from)),
        1 => (which(), any::<bool>()).prop_map(|(reader, word)| Op::Leave(reader, word)),
        1 => Just(Op::Reap),
        12 => (which(), 1..12_u8, prop_oneof![3 => Just(false), 1 => Just(true)])
            .prop_map(|(reader, count, newest)| Op::Receive(reader, count, newest)),
        2 => which().prop_map(Op::Latest),
        6 => (which(), which()).prop_map(|(reader, nth)| Op::Release(reader, nth)),
        4 => which().prop_map(Op::ReleaseAll),
        2 => draft().prop_map(Op::Evict),
        1 => stop().prop_map(Op::Stop),
        1 => Just(Op::TakeOver),
    ]
}
