//! The same lists over what programs use: a ring with a name, its producer, and readers of every kind. What cannot be done from
//! outside is left out (a stop in the middle) or becomes what can (the next producer, after a clean end).

use std::cell::OnceCell;

use annulus::{
    Clock, CopyingSubscriber, ErrorKind, Observer, Open, Producer, Received, Record, Resume, SendError,
    Start, Subscriber, TryCopyError, TrySendError,
};

use crate::case::{Case, Setting, case};
use crate::dir::Dir;
use crate::model::Model;
use crate::ops::{Claim, Draft, Kind, Op};
use crate::runner::check;

/// Readers that copy, at most; and those that read in place, which stay to the end.
const READERS: usize = 4;

/// Lists over the public API.
#[test]
fn rings_with_names() {
    let page = annulus_os::sys::page_size() as u64;
    check(700, case(vec![page, 2 * page], 120), play);
}

fn play(case: &Case) {
    let Setting { capacity, align, stamped, no_in_place, retain, position, sequence } = case.setting;
    let dir = Dir::new();
    let ring = dir.create("r").capacity(capacity as usize).align(align).retain(retain).persistent(true);
    let ring = if stamped { ring.stamped(Clock::Monotonic) } else { ring };
    let ring = if no_in_place { ring.no_in_place() } else { ring };
    let producer = ring.start_at(position, sequence).producer().expect("a new ring");
    let seats: [OnceCell<Subscriber>; READERS] = Default::default();
    let mut table = Table {
        dir: &dir,
        setting: case.setting,
        model: Model::new(case.setting.shape(), position, sequence),
        producer: Some(producer),
        seats: &seats,
        in_place: Vec::new(),
        copies: Vec::new(),
        most: position,
        is_even: true,
        drafts: 0,
    };
    for op in &case.ops {
        table.step(op);
    }
    table.finish();
}

pub(crate) enum Copier {
    Copying(CopyingSubscriber),
    Observer(Observer),
}

impl Copier {
    pub(crate) fn receive(&mut self, buf: &mut Vec<u8>) -> Result<Received, TryCopyError> {
        match self {
            Copier::Copying(reader) => reader.try_recv_into(buf),
            Copier::Observer(reader) => reader.try_recv_into(buf),
        }
    }

    pub(crate) fn latest(&mut self, buf: &mut Vec<u8>) -> Result<Received, TryCopyError> {
        match self {
            Copier::Copying(reader) => reader.latest_into(buf),
            Copier::Observer(reader) => reader.latest_into(buf),
        }
    }

    pub(crate) fn sequence(&self) -> u64 {
        match self {
            Copier::Copying(reader) => reader.sequence(),
            Copier::Observer(reader) => reader.sequence(),
        }
    }

    pub(crate) fn lost(&self) -> u64 {
        match self {
            Copier::Copying(reader) => reader.lost(),
            Copier::Observer(reader) => reader.lost(),
        }
    }
}

/// Why a record is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    TooLarge,
    /// Somebody is so many bytes behind.
    Full(u64),
}

impl Why {
    fn of(error: TrySendError) -> Why {
        match error {
            TrySendError::Full(behind) => Why::Full(behind.bytes),
            TrySendError::TooLarge { .. } => Why::TooLarge,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) struct Copies {
    pub(crate) reader: Copier,
    /// Sequence that it wants next.
    pub(crate) next: u64,
    /// Where it stands: records before the one that it wants are passed over first.
    pub(crate) place: u64,
    pub(crate) lost: u64,
    /// It has not looked yet: what it is told first may be a loss of its start.
    pub(crate) fresh: bool,
}

pub(crate) struct InPlace<'a> {
    pub(crate) reader: &'a Subscriber,
    pub(crate) held: Vec<Record<'a>>,
    pub(crate) next: u64,
    pub(crate) place: u64,
}

pub(crate) struct Table<'a> {
    dir: &'a Dir,
    pub(crate) setting: Setting,
    pub(crate) model: Model,
    producer: Option<Producer>,
    seats: &'a [OnceCell<Subscriber>; READERS],
    pub(crate) in_place: Vec<InPlace<'a>>,
    pub(crate) copies: Vec<Copies>,
    /// The furthest that the licence can be.
    pub(crate) most: u64,
    /// Whether all room that was ever asked for was for records that are published.
    pub(crate) is_even: bool,
    drafts: u64,
}

impl Table<'_> {
    fn producer(&mut self) -> &mut Producer {
        self.producer.as_mut().expect("a producer")
    }

    fn step(&mut self, op: &Op) {
        let nth = |which: u8, of: usize| usize::from(which) % of.max(1);
        let (copies, in_place) = (self.copies.len(), self.in_place.len());
        match op {
            Op::Send(draft) | Op::Evict(draft) => drop(self.send(*draft)),
            Op::Batch(drafts, _) => self.batch(drafts),
            Op::Claim(claim, less) => self.claim(*claim, *less),
            Op::Join(kind, from) => self.join(*kind, from.start(self.model.published())),
            Op::Stop(_) | Op::TakeOver => self.next_producer(),
            Op::Leave(which, _) if copies > 0 => drop(self.copies.swap_remove(nth(*which, copies))),
            Op::Receive(which, count, _) => {
                let which = nth(*which, copies + in_place);
                for _ in 0..*count {
                    if which < copies {
                        self.copy(which);
                    } else if which < copies + in_place {
                        self.borrow(which - copies);
                    }
                }
            }
            Op::Latest(which) if copies > 0 => self.latest(nth(*which, copies)),
            Op::Release(which, record) if in_place > 0 => {
                let held = &mut self.in_place[nth(*which, in_place)].held;
                if !held.is_empty() {
                    drop(held.remove(nth(*record, held.len())));
                }
            }
            Op::ReleaseAll(which) if in_place > 0 => {
                let held = &mut self.in_place[nth(*which, in_place)].held;
                while held.pop().is_some() {}
            }
            _ => {}
        }
    }

    fn finish(&mut self) {
        for draft in [Draft::longest(), Draft::longest()] {
            self.drain();
            assert!(
                self.send(draft),
                "no room for the longest record after everybody has released everything"
            );
            self.next_producer();
        }
        self.drain();
    }

    fn drain(&mut self) {
        for which in 0..self.copies.len() {
            while self.copy(which) {}
        }
        for which in 0..self.in_place.len() {
            while self.borrow(which) {}
            self.in_place[which].held.clear();
        }
    }

    fn next_producer(&mut self) {
        self.producer = None;
        let next = self.dir.open("r").producer().expect("a ring without a producer");
        assert_eq!(next.sequence(), self.model.published());
        self.producer = Some(next);
    }

    fn bytes(&mut self, draft: Draft) -> Vec<u8> {
        self.drafts += 1;
        draft.bytes(self.model.shape.max_user_len(), self.model.published(), self.drafts)
    }

    /// The lowest cursor.
    fn floor(&self) -> u64 {
        let in_place =
            self.in_place.iter().map(|reader| reader.held.first().map_or(reader.place, Record::sequence));
        let copying = self.copies.iter().filter(|reader| matches!(reader.reader, Copier::Copying(_)));
        let oldest = in_place.chain(copying.map(|reader| reader.place)).min();
        oldest.map_or(self.model.tail, |oldest| self.model.position_of(oldest))
    }

    /// What must be said to a record of so many bytes at `start`: where it ends, or why not.
    fn expected(&mut self, start: u64, len: usize) -> Result<u64, Why> {
        if len as u64 > self.model.shape.max_user_len() {
            return Err(Why::TooLarge);
        }
        let end = self.model.end(start, len as u64);
        self.most = self.most.max((end + 8).max(end + self.model.shape.chunk()));
        let floor = self.floor();
        if (end + 8).saturating_sub(self.setting.capacity) > floor {
            return Err(Why::Full(self.model.tail - floor));
        }
        Ok(end)
    }

    fn send(&mut self, draft: Draft) -> bool {
        let payload = self.bytes(draft);
        let expected = self.expected(self.model.tail, payload.len());
        let got = self.producer().try_send(&payload).map_err(Why::of);
        assert_eq!(got, expected.map(drop));
        if got.is_ok() {
            self.model.publish(0, payload);
        }
        got.is_ok()
    }

    fn batch(&mut self, drafts: &[Draft]) {
        let payloads: Vec<_> = drafts.iter().map(|draft| self.bytes(*draft)).collect();
        let (mut start, mut count, mut stopped) = (self.model.tail, 0, None);
        for payload in &payloads {
            match self.expected(start, payload.len()) {
                Ok(end) => (start, count) = (end, count + 1),
                Err(why) => {
                    stopped = Some((why, payload.len()));
                    break;
                }
            }
        }
        let expected = match stopped {
            Some((Why::TooLarge, len)) => Err(SendError::TooLarge { len, max: self.producer().max_len() }),
            _ => Ok(count),
        };
        assert_eq!(self.producer().try_send_batch(&payloads), expected);
        for payload in payloads.into_iter().take(count as usize) {
            self.model.publish(0, payload);
        }
    }

    /// Written from the back, in pieces that overlap; or, to be shorter than claimed, from the front and not to the end.
    fn claim(&mut self, claim: Claim, less: Option<u8>) {
        let mut payload = self.bytes(claim.draft);
        let expected = self.expected(self.model.tail, payload.len());
        self.is_even &= less == Some(0);
        match self.producer().try_claim(payload.len()) {
            Ok(mut room) => {
                assert!(expected.is_ok(), "claimed, where {expected:?}");
                assert_eq!((room.claimed(), room.written()), (payload.len(), 0));
                payload.truncate(payload.len() - usize::from(less.unwrap_or(0)).min(payload.len()));
                let piece = usize::from(claim.piece) + 1;
                let mut places: Vec<_> = (0..payload.len()).step_by(piece).collect();
                if claim.piece.is_multiple_of(2) {
                    places.reverse();
                }
                for at in places {
                    room.write_at(at, &payload[at..(at + piece + 3).min(payload.len())]);
                }
                assert_eq!(room.written(), payload.len());
                if less.is_some() {
                    room.commit();
                    self.model.publish(0, payload);
                }
            }
            Err(got) => assert_eq!(Err(Why::of(got)), expected),
        }
    }

    /// How many of the newest there must be for one who comes now, if the ring is to keep so many.
    fn kept(&self) -> u64 {
        let (mut first, mut bytes) = (self.model.published(), 8);
        while first > self.model.first && self.model.published() - first < self.setting.retain {
            bytes += self.model.position_of(first) - self.model.position_of(first - 1);
            if bytes > self.setting.capacity {
                break;
            }
            first -= 1;
        }
        if self.is_even { first } else { self.model.published() }
    }

    fn open(&self, start: Start) -> Open {
        self.dir.open("r").start(start).resume(Resume::Oldest).stay()
    }

    fn join(&mut self, kind: Kind, start: Start) {
        let published = self.model.published();
        let in_place = kind == Kind::InPlace && !self.setting.no_in_place;
        if self.copies.len() == READERS && !in_place || self.in_place.len() == READERS && in_place {
            return;
        }
        let joined = if in_place {
            let seat = &self.seats[self.in_place.len()];
            self.open(start).subscribe().map(|reader| {
                let reader = seat.get_or_init(|| reader);
                let next = reader.sequence();
                let place = next.min(published);
                self.in_place.push(InPlace { reader, held: Vec::new(), next, place });
                next
            })
        } else {
            let opened = match kind {
                Kind::Observer => self.open(start).observe().map(Copier::Observer),
                _ => self.open(start).subscribe_copying().map(Copier::Copying),
            };
            opened.map(|reader| {
                let next = reader.sequence();
                // A loss of its start is told by the first look.
                let wanted = if let Start::Sequence(n) = start { n } else { next };
                self.copies.push(Copies {
                    reader,
                    next: wanted,
                    place: next.min(published),
                    lost: 0,
                    fresh: true,
                });
                next
            })
        };
        let next = match joined {
            Ok(next) => next,
            Err(error) => {
                let &ErrorKind::StartGone { oldest } = error.kind() else { panic!("{error}") };
                let Start::Sequence(n) = start else { panic!("{start:?} is gone") };
                assert!(in_place && n < oldest && oldest <= published.min(self.kept()).max(n + 1));
                return;
            }
        };
        let (first, kept) = (self.model.first, self.kept());
        match start {
            Start::Oldest => assert!((first..=kept).contains(&next), "{next} is the oldest, {kept} is kept"),
            Start::Last(n) => {
                let wished = published.saturating_sub(n).max(first);
                assert!(
                    (wished..=kept.max(wished)).contains(&next),
                    "{next} of the last {n}, {kept} is kept"
                );
            }
            Start::Sequence(n) if n >= published || in_place => assert_eq!(next, n),
            Start::Sequence(n) => assert!((n.max(first)..=kept.max(n)).contains(&next), "{next} for {n}"),
            _ => assert_eq!(next, published),
        }
    }
}
