//! What a reader finds that was not there from the beginning: record boundaries, and how far back they go.
//!
//! The producer leaves an *anchor* at the first record boundary of each sixteenth of the ring that it asks room
//! from, with the 64-bit sequence that belongs to it. Late joiners start from anchors, and observers that were
//! lapped resume at the oldest one that is still valid: `licence <= anchor + capacity`. So losses are always
//! differences of 64-bit sequences, never of the 32 bits in a header.

use crate::header::decode;
use crate::layout::{ANCHORS, ProducerPage};
use crate::memory::{Memory, View};
use crate::shape::Shape;

/// Where a reader begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Start {
    /// With the next record that is published.
    #[default]
    Newest,
    /// With the oldest record that can still be read; with the next one if there is none.
    Oldest,
    /// With the record of this sequence. One that is not published yet is waited for, and those before it are
    /// passed over, by the reader's looks: a subscriber that does not look holds the producer back meanwhile. One that
    /// is gone is a loss: observers and copying subscribers are told how many records they missed, an in-place
    /// subscription is refused.
    Sequence(u64),
    /// With the last so many records; with fewer if fewer can be read.
    Last(u64),
}

/// Where a reader goes on after it has lost records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resume {
    /// At the oldest record that can still be read: loses least.
    #[default]
    Oldest,
    /// At the next record that is published: is up to date at once.
    Newest,
}

/// A record boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Where a header is, or will be.
    pub position: u64,
    /// Its record's sequence.
    pub sequence: u64,
}

/// What the producer's words say that they cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

/// Which boundary is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The one behind the newest record.
    Tail,
    /// The oldest one.
    Oldest,
    /// The last one that is not past this sequence, or the oldest.
    AtMost(u64),
}

/// Tries of a search. Each fails only if the producer went on by much meanwhile.
#[cfg(not(fuzzing))]
pub(crate) const TRIES: u64 = 100_000;
/// Few under a fuzzer, where the words are damaged, and no producer goes on.
#[cfg(fuzzing)]
pub(crate) const TRIES: u64 = 40;
/// Records between two looks that a header's 32 bits can tell apart with certainty.
const NEAR: u64 = 1 << 30;

/// Whether so much was published between two looks that 32 bits do not tell the records apart.
pub(crate) fn is_far(before: u64, after: u64) -> bool {
    after.wrapping_sub(before) > NEAR
}

impl Start {
    /// The boundary to look for, and the first sequence that is wanted, of a ring that has published so many.
    pub(crate) fn wish(self, published: u64) -> (Wish, u64) {
        match self {
            Start::Newest | Start::Last(0) => (Wish::Tail, 0),
            Start::Oldest => (Wish::Oldest, 0),
            Start::Sequence(n) if n >= published => (Wish::Tail, n),
            Start::Sequence(n) => (Wish::AtMost(n), n),
            Start::Last(n) => {
                let first = published.saturating_sub(n);
                (Wish::AtMost(first), first)
            }
        }
    }
}

/// Whether a position can be a record boundary at all. Leaves room for sums with capacities.
pub(crate) fn is_boundary(shape: &Shape, position: u64) -> bool {
    position.is_multiple_of(shape.align().bytes()) && position <= u64::MAX - 4 * shape.capacity()
}

/// Leaves a boundary for those who come later, unless there is an earlier one in its sixteenth. By the producer;
/// the header there is zero or a record's.
pub(crate) fn leave(page: &ProducerPage, shape: &Shape, spot: Spot) {
    let stretch = spot.position / shape.chunk();
    let i = stretch as usize % ANCHORS;
    let there = page.anchors[i].glance();
    // `NOWHERE` is in a stretch where no boundary can be.
    if there / shape.chunk() != stretch {
        page.anchor_sequences[i].preset(spot.sequence);
        page.anchors[i].publish(spot.position);
    }
}

/// The boundary that is wished for among those whose bytes the producer may not have overwritten yet, nor would if
/// its licence were `passed`. `None`: there is no such anchor.
pub(crate) fn find<M: Memory>(shape: &Shape, view: &View<'_, M>, wish: Wish, passed: u64) -> Option<Spot> {
    let page = view.producer;
    let mut found: Option<Spot> = None;
    for (anchor, sequence) in page.anchors.iter().zip(&page.anchor_sequences) {
        let spot = Spot { position: anchor.look(), sequence: sequence.glance() };
        if !is_boundary(shape, spot.position)
            || spot.position > page.tail.observe()
            || page.licence.validate().max(passed) > spot.position + shape.capacity()
        {
            continue;
        }
        let better = found.is_none_or(|found| match wish {
            Wish::AtMost(n) if spot.sequence <= n => found.sequence > n || found.sequence < spot.sequence,
            Wish::AtMost(n) => found.sequence > n && spot.position < found.position,
            Wish::Tail | Wish::Oldest => spot.position < found.position,
        });
        if better {
            found = Some(spot);
        }
    }
    found
}

/// The sequence of the record at a boundary, or of the one that will be there. `before` was loaded from `published`
/// before the boundary's position was. `None`: the producer went on by too much meanwhile, so look again. What else is
/// said means nothing if its licence has passed the boundary.
pub(crate) fn sequence_at<M: Memory>(
    view: &View<'_, M>,
    position: u64,
    before: u64,
) -> Option<Result<u64, Damaged>> {
    let published = view.producer.published.look();
    if is_far(before, published) {
        return None;
    }
    Some(match view.records.word(position).look() {
        // Were `published` past this boundary, its header would be visible.
        0 => Ok(published),
        header => decode(header, published).map(|(sequence, _)| sequence).ok_or(Damaged("header")),
    })
}

/// The boundary behind the newest record, for one who does not hold the producer back.
pub(crate) fn tail<M: Memory>(shape: &Shape, view: &View<'_, M>) -> Result<Spot, Damaged> {
    let page = view.producer;
    for _ in 0..TRIES {
        let before = page.published.look();
        let position = page.tail.observe();
        if !is_boundary(shape, position) {
            return Err(Damaged("tail"));
        }
        let sequence = sequence_at(view, position, before);
        let intact = page.licence.validate() <= position + shape.capacity();
        match sequence {
            Some(sequence) if intact => return sequence.map(|sequence| Spot { position, sequence }),
            _ => crate::sync::relax(),
        }
    }
    Err(Damaged("tail"))
}

/// How far back the producer keeps records of its own accord.
#[derive(Debug)]
pub(crate) struct Retained {
    records: u64,
    /// The oldest record that is kept, or the tail.
    oldest: Spot,
    /// Up to here, the first boundary of each sixteenth has its anchor.
    anchored: Spot,
}

impl Retained {
    /// Keeps so many from `oldest` on, which is readable, or the tail.
    pub(crate) fn new(records: u64, oldest: Spot) -> Retained {
        Retained { records, oldest, anchored: oldest }
    }

    /// Whether any shall be kept.
    pub(crate) fn is_wanted(&self) -> bool {
        self.records > 0
    }

    /// How far the producer may ask for room beyond what it needs: not past the oldest record that is kept, unless
    /// the next record needs its room. The licence has not passed `oldest`, so the headers from there on are the
    /// producer's own, intact.
    pub(crate) fn limit<M: Memory>(
        &mut self,
        shape: &Shape,
        view: &View<'_, M>,
        end: Spot,
        needed: u64,
        want: u64,
    ) -> u64 {
        if self.records == 0 {
            return want;
        }
        while self.oldest.position < end.position
            && (self.oldest.position + shape.capacity() < needed
                || end.sequence.wrapping_sub(self.oldest.sequence) > self.records)
        {
            let Some(next) = after(shape, view, self.oldest) else { break };
            self.oldest = next;
        }
        needed.max(want.min(self.oldest.position + shape.capacity()))
    }

    /// Leaves the first boundary of each sixteenth up to the tail, so that there is one at, or before, the oldest record
    /// that is kept, whichever that is by then.
    pub(crate) fn leave_all<M: Memory>(&mut self, shape: &Shape, view: &View<'_, M>, tail: Spot) {
        while self.records > 0 && self.anchored.position < tail.position {
            let Some(next) = after(shape, view, self.anchored) else { break };
            self.anchored = next;
            leave(view.producer, shape, next);
        }
    }

    /// Leaves a boundary at the oldest record that is kept, or at the tail if none is, where the one in its sixteenth
    /// was passed by this licence, which is granted already: nobody believes that one any more, and the record can
    /// still be read.
    pub(crate) fn leave_again(&self, page: &ProducerPage, shape: &Shape, tail: Spot, licence: u64) {
        let spot = if self.records == 0 { tail } else { self.oldest };
        let i = (spot.position / shape.chunk()) as usize % ANCHORS;
        if page.anchors[i].glance().saturating_add(shape.capacity()) < licence {
            page.anchor_sequences[i].preset(spot.sequence);
            page.anchors[i].publish(spot.position);
        }
    }
}

/// The boundary behind one of the producer's own records. `None` if somebody else has written there.
fn after<M: Memory>(shape: &Shape, view: &View<'_, M>, spot: Spot) -> Option<Spot> {
    let (sequence, len) = decode(view.records.word(spot.position).glance(), spot.sequence)?;
    Some(Spot { position: spot.position + shape.need(len), sequence: sequence.wrapping_add(1) })
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    extern crate std;

    use std::boxed::Box;
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::rc::Rc;
    use std::vec::Vec;

    use super::*;
    use crate::header::encode;
    use crate::join::{JoinFailed, join};
    use crate::layout::{CtlHead, GroupHead, Slot};
    use crate::meddle::tests::meddled;
    use crate::memory::{Block, BlockWord, Shared};
    use crate::observer::{Observer, Sight};
    use crate::reader::{Look, Reader};
    use crate::shape::{Align, CAPACITY_MAX, CHUNKS};
    use crate::words::{ClaimWord, Header, NOWHERE};
    use crate::writer::{Full, Refusal, Who, Writer};

    /// A ring on the heap, and what was published in it.
    pub(crate) struct Ring {
        pub(crate) shape: Shape,
        pub(crate) page: Box<ProducerPage>,
        pub(crate) slots: Vec<Slot>,
        ctl: Box<CtlHead>,
        words: Vec<BlockWord>,
        pub(crate) groups: Vec<GroupHead>,
        pub(crate) claims: Vec<ClaimWord>,
        /// Where each record is, by sequence.
        pub(crate) places: BTreeMap<u64, u64>,
    }

    impl Ring {
        pub(crate) fn new(capacity: u64, slots: usize) -> Ring {
            Ring::shaped(Shape::new(capacity, Align::Packed).unwrap(), slots)
        }

        pub(crate) fn shaped(shape: Shape, slots: usize) -> Ring {
            Ring {
                shape,
                page: Box::default(),
                slots: (0..slots).map(|_| Slot::default()).collect(),
                groups: Vec::new(),
                claims: Vec::new(),
                ctl: Box::default(),
                words: (0..shape.capacity() / 8).map(|_| BlockWord::default()).collect(),
                places: BTreeMap::new(),
            }
        }

        /// The same ring with places for groups, each with so many claim words.
        pub(crate) fn with_groups(mut self, groups: usize, claim_words: usize) -> Ring {
            self.groups = (0..groups).map(|_| GroupHead::default()).collect();
            self.claims = (0..groups * claim_words).map(|_| ClaimWord::default()).collect();
            self
        }

        pub(crate) fn shared(&self) -> Shared<'_, Block<'_>> {
            Shared {
                producer: &self.page,
                ctl: &self.ctl,
                slots: &self.slots,
                groups: &self.groups,
                claims: &self.claims,
                records: Block::new(&self.words).unwrap(),
            }
        }

        /// The same, with an account of how many words were asked for, and an end to that.
        pub(crate) fn asked<'a>(&'a self, words: &'a Cell<u64>, most: u64) -> Shared<'a, Asked<'a>> {
            let Shared { producer, ctl, slots, groups, claims, records } = self.shared();
            Shared { producer, ctl, slots, groups, claims, records: Asked { records, words, most } }
        }

        pub(crate) fn view(&self) -> View<'_, Block<'_>> {
            self.shared().view()
        }

        /// Publishes a record of so many bytes, all of them the low ones of its sequence.
        pub(crate) fn publish(&mut self, writer: &mut Writer, len: usize) -> Result<(), Refusal> {
            let payload = std::vec![writer.sequence() as u8; len];
            let place = [writer.sequence(), writer.tail()];
            writer.publish(&self.shared(), &payload)?;
            self.places.insert(place[0], place[1]);
            Ok(())
        }

        /// The anchors that the licence has not passed, by position.
        pub(crate) fn anchors(&self) -> BTreeMap<u64, u64> {
            let licence = self.page.licence.glance();
            let all = self.page.anchors.iter().zip(&self.page.anchor_sequences);
            all.map(|(anchor, sequence)| (anchor.glance(), sequence.glance()))
                .filter(|(anchor, _)| *anchor != NOWHERE && licence <= anchor + self.shape.capacity())
                .collect()
        }

        /// Reads from a start to the end; checks each record, and returns the first and the last sequence.
        pub(crate) fn read_all(&self, start: Start) -> (u64, u64) {
            let view = self.view();
            let mut observer = Observer::start(self.shape, &view, start).unwrap();
            let first = observer.sequence();
            loop {
                match observer.look(&view) {
                    Sight::Record(seen) => {
                        let mut payload = std::vec![0; seen.len()];
                        let sequence = observer.take(&view, seen, &mut payload).unwrap().sequence;
                        assert!(payload.iter().all(|&byte| byte == sequence as u8));
                    }
                    Sight::Empty => return (first, observer.sequence()),
                    other => panic!("{other:?} at {}", observer.sequence()),
                }
            }
        }
    }

    /// A block of which no more than so many words are asked for.
    #[derive(Clone, Copy)]
    pub(crate) struct Asked<'a> {
        records: Block<'a>,
        words: &'a Cell<u64>,
        most: u64,
    }

    impl Memory for Asked<'_> {
        fn word(&self, position: u64) -> &Header {
            self.words.set(self.words.get() + 1);
            assert!(self.words.get() <= self.most, "more than {} words are asked for", self.most);
            self.records.word(position)
        }

        fn read_racing(&self, position: u64, payload: &mut [u8]) {
            self.records.read_racing(position, payload);
        }

        fn write(&self, position: u64, payload: &[u8]) {
            self.records.write(position, payload);
        }
    }

    /// A ring that holds more records than 32 bits tell apart, all of them empty: the one of sequence `base + n` is at
    /// `8 * n`. There is one word, which is asked for again whenever it is looked at.
    pub(crate) struct Vast {
        pub(crate) shape: Shape,
        base: u64,
        page: Rc<ProducerPage>,
        slot: [Slot; 1],
        ctl: CtlHead,
        word: Header,
        pub(crate) asked: Rc<Cell<u64>>,
    }

    impl Vast {
        pub(crate) fn new(base: u64, records: u64) -> Vast {
            let vast = Vast {
                shape: Shape::new(CAPACITY_MAX, Align::Packed).unwrap(),
                base,
                page: Rc::default(),
                slot: [Slot::default()],
                ctl: CtlHead::default(),
                word: Header::default(),
                asked: Rc::default(),
            };
            vast.page.anchors[0].preset(0);
            vast.page.anchor_sequences[0].preset(base);
            Vast::stand(&vast.page, base, records);
            vast
        }

        /// The words of a ring that has published so many.
        fn stand(page: &ProducerPage, base: u64, records: u64) {
            page.published.preset(base + records);
            page.newest.preset(8 * (records - 1));
            page.tail.preset(8 * records);
            page.licence.preset(8 * records + 8);
            page.lease.preset(8 * records + 8);
        }

        pub(crate) fn shared(&self) -> Shared<'_, &Vast> {
            Shared {
                producer: &self.page,
                ctl: &self.ctl,
                slots: &self.slot,
                groups: &[],
                claims: &[],
                records: self,
            }
        }

        /// Whether the record of this sequence is there.
        pub(crate) fn is_at(&self, spot: Spot) -> bool {
            spot.sequence.wrapping_sub(self.base) == spot.position / 8
        }

        /// The answer of a verb while which so many more are published, just before its load of this number, if it gets as
        /// far; and how many words of records it had asked for by then.
        pub(crate) fn racing<R>(
            &self,
            more: u64,
            load: u64,
            verb: impl FnOnce(&Vast) -> R,
        ) -> Option<(R, u64)> {
            let (page, base, asked) = (self.page.clone(), self.base, self.asked.clone());
            let hit = Rc::new(Cell::new(None));
            let (mut loads, at) = (0, hit.clone());
            let answer = meddled(
                move |_| {
                    if loads == load {
                        at.set(Some(asked.get()));
                        Vast::stand(&page, base, page.published.glance() - base + more);
                    }
                    loads += 1;
                },
                || verb(self),
            );
            hit.get().map(|asked| (answer, asked))
        }
    }

    impl Memory for &Vast {
        fn word(&self, position: u64) -> &Header {
            self.asked.set(self.asked.get() + 1);
            assert!(self.asked.get() < 1000, "goes through all records");
            let n = position / 8;
            let is_there = self.base + n < self.page.published.glance();
            self.word.preset(if is_there { encode(self.base + n, 0) } else { 0 });
            &self.word
        }

        fn read_racing(&self, _: u64, _: &mut [u8]) {
            unreachable!("these records are empty");
        }

        fn write(&self, _: u64, _: &[u8]) {
            unreachable!("these records are there");
        }
    }

    /// Where rings begin: 0, and a lap before 2^32 and 2^63, positions and sequences.
    pub(crate) fn beginnings(capacity: u64) -> [[u64; 2]; 3] {
        [[0, 0], [(1 << 32) - capacity, (1 << 32) - 20], [(1 << 63) - capacity, (1 << 63) - 20]]
    }

    /// Payload lengths that fill a ring unevenly.
    fn len(i: u64) -> usize {
        (i * 13 % 41) as usize
    }

    #[test]
    fn finds_what_is_wished_for_among_valid_anchors() {
        for [position, sequence] in beginnings(1024) {
            let mut ring = Ring::new(1024, 0);
            let mut writer = Writer::create(ring.shape, &ring.shared(), position, sequence, 0);
            for i in 0..120 {
                ring.publish(&mut writer, len(i)).unwrap();
                let anchors = ring.anchors();
                let find = |wish| find(&ring.shape, &ring.view(), wish, 0);
                let spot =
                    |(position, sequence): (&u64, &u64)| Spot { position: *position, sequence: *sequence };
                // Each belongs to its record.
                for (position, sequence) in &anchors {
                    assert!(*position == writer.tail() || ring.places[sequence] == *position, "{i}");
                }
                assert_eq!(find(Wish::Oldest), anchors.iter().next().map(spot), "{i}");
                for n in sequence..=writer.sequence() + 2 {
                    let last = anchors.iter().rfind(|(_, sequence)| **sequence <= n);
                    let wished = last.or(anchors.iter().next()).map(spot);
                    assert_eq!(find(Wish::AtMost(n)), wished, "{i}: at most {n}");
                }
            }
        }
    }

    #[test]
    fn an_anchor_in_each_stretch_that_room_was_asked_from() {
        let mut ring = Ring::new(1024, 0);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        for _ in 0..300 {
            ring.publish(&mut writer, 8).unwrap();
        }
        // All but the sixteenth that was granted last, which holds what is overwritten next.
        assert!(ring.anchors().len() as u64 >= CHUNKS - 1, "{:?}", ring.anchors());
    }

    #[test]
    fn the_first_boundary_in_a_stretch_stays_until_two_laps_later() {
        for [position, sequence] in beginnings(1024) {
            let ring = Ring::new(1024, 0);
            let chunk = ring.shape.chunk();
            let at = |position| {
                let i = (position / chunk) as usize % ANCHORS;
                [ring.page.anchors[i].glance(), ring.page.anchor_sequences[i].glance()]
            };
            let leave = |position, sequence| leave(&ring.page, &ring.shape, Spot { position, sequence });
            for stretch in 0..ANCHORS as u64 {
                let (position, sequence) = (position + stretch * chunk, sequence + 10 * stretch);
                assert_eq!(at(position)[0], NOWHERE, "a place of its own for each of two laps");
                leave(position + 8, sequence);
                leave(position + 16, sequence + 1);
                leave(position + chunk - 8, sequence + 2);
                assert_eq!(at(position), [position + 8, sequence]);
            }
            let later = position + 2 * ring.shape.capacity();
            leave(later, sequence + 1000);
            assert_eq!(at(position), [later, sequence + 1000]);
        }
    }

    #[test]
    fn what_no_producer_writes_is_no_boundary() {
        let ring = Ring::new(1024, 0);
        Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        for bad in [4, 1023, NOWHERE, NOWHERE - 7, u64::MAX - 1024, 4096] {
            ring.page.anchors[0].preset(bad);
            assert_eq!(find(&ring.shape, &ring.view(), Wish::Oldest, 0), None, "{bad}");
        }
        for bad in [4, NOWHERE, u64::MAX - 1024] {
            ring.page.tail.preset(bad);
            assert_eq!(tail(&ring.shape, &ring.view()), Err(Damaged("tail")));
        }
    }

    #[test]
    fn retained_records_stay_readable_while_they_fit() {
        for [position, sequence] in beginnings(1024) {
            for retain in [1, 2, 5, 17, 40, 100] {
                let mut ring = Ring::new(1024, 0);
                let mut writer = Writer::create(ring.shape, &ring.shared(), position, sequence, retain);
                for i in 0..400 {
                    ring.publish(&mut writer, len(i)).expect("retaining refuses nothing");
                    let needed = writer.tail() + 8;
                    let kept = writer.sequence().saturating_sub(retain).max(sequence);
                    let fits = ring.places.range(kept..).find(|(_, place)| *place + 1024 >= needed);
                    let oldest = *fits.unwrap().0;
                    let (first, end) = ring.read_all(Start::Last(retain));
                    assert_eq!((first, end), (oldest, writer.sequence()), "{retain} retained, record {i}");
                    assert!(ring.read_all(Start::Oldest).0 <= oldest);
                }
            }
        }
    }

    #[test]
    fn retaining_ends_where_the_next_record_needs_the_room() {
        let mut ring = Ring::new(1024, 0);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 4);
        for _ in 0..50 {
            for _ in 0..6 {
                ring.publish(&mut writer, 8).unwrap();
            }
            // Takes the whole ring but for the header behind it.
            ring.publish(&mut writer, ring.shape.max_len() as usize).unwrap();
            assert_eq!(ring.read_all(Start::Last(4)).0, writer.sequence() - 1);
        }
    }

    #[test]
    fn a_large_batch_leaves_anchors_inside() {
        for retain in [0, 3, 60] {
            for [position, sequence] in beginnings(1024) {
                let mut ring = Ring::new(1024, 0);
                let mut writer = Writer::create(ring.shape, &ring.shared(), position, sequence, retain);
                for _ in 0..20 {
                    ring.publish(&mut writer, 8).unwrap();
                }
                for _ in 0..5 {
                    let (tail, first) = (writer.tail(), writer.sequence());
                    let mut batch = writer.batch();
                    let mut end = tail;
                    for i in 0..62 {
                        let n = writer.sequence() + i;
                        writer.stage(&mut batch, &ring.shared(), &[n as u8; 8]).unwrap();
                        ring.places.insert(n, end);
                        end += 16;
                    }
                    assert_eq!(writer.flush(batch, &ring.shared()), 62);
                    let anchors = ring.anchors();
                    let inside = anchors.range(tail..end).count() as u64;
                    assert!(inside >= CHUNKS - 1, "{retain}: {inside} anchors in nearly a lap");
                    for (position, sequence) in anchors {
                        assert!(position == writer.tail() || ring.places[&sequence] == position);
                    }
                    let last = ring.read_all(Start::Sequence(first + 50));
                    assert_eq!(last, (first + 50, first + 62));
                    ring.publish(&mut writer, 8).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_takeover_keeps_newest_anchors_and_what_is_retained() {
        for [position, sequence] in beginnings(1024) {
            let mut ring = Ring::new(1024, 0);
            let mut writer = Writer::create(ring.shape, &ring.shared(), position, sequence, 20);
            for i in 0..150 {
                ring.publish(&mut writer, len(i)).unwrap();
                if i % 7 != 0 {
                    continue;
                }
                let (anchors, newest) = (ring.anchors(), ring.page.newest.glance());
                let last = ring.read_all(Start::Last(20));
                // As after a death between the header and the words behind it.
                ring.page.published.preset(writer.sequence() - i % 2);
                ring.page.newest.preset(if i == 0 { NOWHERE } else { ring.places[&(writer.sequence() - 2)] });
                ring.page.tail.preset(newest);
                writer = Writer::take_over(ring.shape, &ring.shared(), 20).unwrap();
                assert_eq!(ring.page.newest.glance(), newest);
                assert_eq!(ring.anchors(), anchors);
                assert_eq!(ring.read_all(Start::Last(20)), last);
            }
        }
    }

    /// The producer is blocked, and its wish is so far ahead that only the tail is clear of it.
    #[test]
    fn joins_beside_a_producer_that_waits_for_a_large_record() {
        let mut ring = Ring::new(4096, 2);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        Reader::join(ring.shape, &ring.shared(), &ring.slots[0], Start::Newest).unwrap();
        while writer.tail() < 4000 {
            ring.publish(&mut writer, 8).unwrap();
        }
        // As one that has announced it, and was refused by who joined in between.
        ring.page.lease.preset(writer.tail() + 4096);
        for wish in [Wish::Oldest, Wish::AtMost(3), Wish::Tail] {
            let spot = join(&ring.shape, &ring.shared(), &ring.slots[1].cursor, wish);
            assert_eq!(spot, Ok(Spot { position: writer.tail(), sequence: writer.sequence() }), "{wish:?}");
        }
    }

    /// A record that is refused costs nobody anything: who joins further back still can, and what is retained stays.
    #[test]
    fn a_refusal_takes_nothing() {
        let mut ring = Ring::new(4096, 2);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 20);
        Reader::join(ring.shape, &ring.shared(), &ring.slots[0], Start::Newest).unwrap();
        for _ in 0..20 {
            ring.publish(&mut writer, 8).unwrap();
        }
        let before = (ring.page.lease.glance(), ring.page.licence.glance());
        for _ in 0..3 {
            let large = ring.publish(&mut writer, ring.shape.max_len() as usize);
            assert!(
                matches!(large, Err(Refusal::Full(Full { who: Who::Slot(0), behind: 320, .. }))),
                "{large:?}"
            );
            assert_eq!((ring.page.lease.glance(), ring.page.licence.glance()), before);
        }
        let late = Reader::join(ring.shape, &ring.shared(), &ring.slots[1], Start::Last(20)).unwrap();
        assert_eq!(late.sequence(), 0);
    }

    /// A record is refused because of a reader that joined further back than any before: what is retained stays.
    #[test]
    fn a_refusal_gives_up_nothing_that_is_retained() {
        let mut ring = Ring::new(1024, 2);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 64);
        let reader = Reader::join(ring.shape, &ring.shared(), &ring.slots[0], Start::Newest).unwrap();
        for _ in 0..30 {
            ring.publish(&mut writer, 16).unwrap();
        }
        // The last look at cursors finds nobody.
        ring.slots[0].vacate();
        assert_eq!(reader.sequence(), 0);
        writer.extend(&ring.shared(), writer.tail() + 100).unwrap();
        let _late = Reader::join(ring.shape, &ring.shared(), &ring.slots[1], Start::Oldest).unwrap();
        let refused = writer.claim(&ring.shared(), 900);
        assert!(matches!(refused, Err(Refusal::Full(Full { who: Who::Slot(1), .. }))));
        ring.slots[1].vacate();
        // More than is needed is asked for, but not over what is retained.
        writer.extend(&ring.shared(), 1000).unwrap();
        assert_eq!(ring.read_all(Start::Oldest).0, 0);
    }

    /// A reader stands between the producer and more room than it needs: what is retained can still be joined, though the
    /// reader stands at its boundary.
    #[test]
    fn what_is_retained_can_be_joined_beside_a_slow_reader() {
        for evicts in [false, true] {
            let mut ring = Ring::new(1024, 3);
            let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 3);
            Reader::join(ring.shape, &ring.shared(), &ring.slots[0], Start::Newest).unwrap();
            for (tail, len) in [(0, 8), (16, 8), (32, 8), (48, 8), (64, 8), (80, 8), (96, 872), (976, 24)] {
                assert_eq!(writer.tail(), tail);
                if tail == ring.shape.chunk() {
                    Reader::join(ring.shape, &ring.shared(), &ring.slots[1], Start::Newest).unwrap();
                }
                ring.publish(&mut writer, len).unwrap();
            }
            if evicts {
                assert_eq!(writer.evict(&ring.shared(), 1040), Ok(1));
            } else {
                ring.slots[0].vacate();
                writer.extend(&ring.shared(), 1040).unwrap();
            }
            let late = Reader::join(ring.shape, &ring.shared(), &ring.slots[2], Start::Oldest).unwrap();
            assert_eq!((late.position(), late.sequence()), (64, 4));
        }
    }

    /// A batch leaves boundaries of its own, which must not stand in for earlier ones in the same sixteenth.
    #[test]
    fn what_a_batch_retains_has_its_boundaries() {
        for first in 0..8 {
            let mut ring = Ring::new(4096, 0);
            let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 14);
            for i in 0..200 {
                let mut batch = writer.batch();
                let mut place = [writer.sequence(), writer.tail()];
                for len in [8 * first, 96, 8, 400, 1000 * (i % 4)] {
                    writer.stage(&mut batch, &ring.shared(), &std::vec![place[0] as u8; len]).unwrap();
                    ring.places.insert(place[0], place[1]);
                    place = [place[0] + 1, place[1] + ring.shape.need(len as u64)];
                }
                writer.flush(batch, &ring.shared());
                let licence = ring.page.licence.glance();
                let kept = writer.sequence().saturating_sub(14)..;
                let oldest = kept.into_iter().find(|n| ring.places[n] + 4096 >= licence).unwrap();
                assert!(ring.read_all(Start::Oldest).0 <= oldest, "{i}");
            }
        }
    }

    /// It was granted a part of what it asked for, and asks next when it is far beyond.
    #[test]
    fn a_batch_that_is_refused_leaves_its_boundary() {
        let mut ring = Ring::new(1024, 1);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        for _ in 0..4 {
            ring.publish(&mut writer, 80).unwrap();
        }
        writer.extend(&ring.shared(), 600).unwrap();
        // The producer has not looked at its cursor yet.
        let _late = Reader::join(ring.shape, &ring.shared(), &ring.slots[0], Start::Oldest).unwrap();
        let mut batch = writer.batch();
        writer.stage(&mut batch, &ring.shared(), &[0; 200]).unwrap();
        assert!(matches!(writer.stage(&mut batch, &ring.shared(), &[0; 500]), Err(Refusal::Full(_))));
        assert_eq!(writer.flush(batch, &ring.shared()), 1);
        assert_eq!(ring.page.licence.glance(), 1024);
        assert_eq!(ring.anchors().get(&writer.tail()), Some(&writer.sequence()));
    }

    /// The lease is a little ahead: what is clear of it is joined, and no more is given up.
    #[test]
    fn joins_at_the_oldest_boundary_that_the_producer_has_not_asked_for() {
        let mut ring = Ring::new(4096, 2);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        let reader = Reader::join(ring.shape, &ring.shared(), &ring.slots[0], Start::Newest).unwrap();
        while ring.publish(&mut writer, 8).is_ok() {}
        let lease = ring.page.lease.glance();
        let clear = ring.anchors().into_iter().find(|(position, _)| position + 4096 >= lease).unwrap();
        let late = Reader::join(ring.shape, &ring.shared(), &ring.slots[1], Start::Oldest).unwrap();
        assert_eq!((late.position(), late.sequence()), clear);
        assert!(matches!(late.look(&ring.shared()), Look::Record(held) if held.sequence == clear.1));
        assert!(matches!(reader.look(&ring.shared()), Look::Record(held) if held.sequence == 0));
        let gone = Reader::join(ring.shape, &ring.shared(), &ring.slots[1], Start::Sequence(0));
        assert!(matches!(gone, Err(JoinFailed::Gone { oldest }) if oldest == clear.1));
    }

    /// More is published between two looks than 32 bits tell apart: at whatever instant, what is found is a record boundary with
    /// its own sequence, and nobody calls it damage.
    #[test]
    fn a_boundary_keeps_its_sequence_however_fast_the_producer_is() {
        type Verb = fn(&Vast) -> Result<Spot, JoinFailed>;
        let verbs: [Verb; 4] = [
            |vast| {
                tail(&vast.shape, &vast.shared().view()).map_err(|Damaged(what)| JoinFailed::Damaged(what))
            },
            |vast| join(&vast.shape, &vast.shared(), &vast.slot[0].cursor, Wish::Tail),
            |vast| join(&vast.shape, &vast.shared(), &vast.slot[0].cursor, Wish::Oldest),
            // Nothing that has an anchor: the record after the next.
            |vast| join(&vast.shape, &vast.shared(), &vast.slot[0].cursor, Wish::AtMost(vast.base + 7)),
        ];
        for (verb, base) in verbs.iter().flat_map(|verb| [0, (1 << 32) - 3].map(|base| (verb, base))) {
            for more in [1, 2, NEAR, NEAR + 1, 1 << 31, (1 << 32) - 5, 1 << 32, (1 << 32) + 1, 1 << 35] {
                for load in 0.. {
                    let vast = Vast::new(base, 5);
                    let Some((spot, _)) = vast.racing(more, load, verb) else {
                        assert!(load > 4, "as many loads as it takes at least");
                        break;
                    };
                    assert!(spot.is_ok_and(|spot| vast.is_at(spot)), "{more} before load {load}: {spot:?}");
                }
            }
        }
    }

    /// Anchors and sequences that contradict each other: the wish is kept all the same.
    #[test]
    fn a_wish_is_kept_whatever_anchors_say() {
        let ring = Ring::new(1024, 0);
        ring.page.tail.preset(1024);
        ring.page.licence.preset(1024);
        for [a, b, c] in [[0, 64, 128], [0, 128, 64], [64, 0, 128], [64, 128, 0], [128, 0, 64], [128, 64, 0]]
        {
            for sequences in 0..64 {
                let spots = [(a, sequences % 4), (b, sequences / 4 % 4), (c, sequences / 16)]
                    .map(|(position, sequence)| Spot { position, sequence });
                for (i, spot) in spots.iter().enumerate() {
                    ring.page.anchors[i].preset(spot.position);
                    ring.page.anchor_sequences[i].preset(spot.sequence);
                }
                for n in 0..4 {
                    let found = find(&ring.shape, &ring.view(), Wish::AtMost(n), 0).unwrap();
                    let last = spots.iter().filter(|spot| spot.sequence <= n).map(|spot| spot.sequence).max();
                    match last {
                        Some(last) => assert_eq!(found.sequence, last, "{spots:?}: at most {n}"),
                        None => assert_eq!(found.position, 0, "{spots:?}: the oldest"),
                    }
                }
            }
        }
    }

    /// Somebody else has written over the producer's headers: looking for what is retained ends at the tail.
    #[test]
    fn what_is_retained_is_looked_for_no_further_than_the_tail() {
        for header in [encode(0, 0), encode(0, 8), encode(5, 100), encode(1 << 31, 0), encode(0, 1000), 7, 0]
        {
            let mut ring = Ring::new(1024, 0);
            let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 3);
            for _ in 0..30 {
                ring.publish(&mut writer, 8).unwrap();
            }
            for position in (0..1024).step_by(8) {
                ring.shared().records.word(position).prepare(header);
            }
            // Two looks through all that is there.
            let words = Cell::new(0);
            let shared = ring.asked(&words, 2 * writer.tail() / 8);
            writer.extend(&shared, writer.tail() + 500).unwrap();
            assert!(ring.page.licence.glance() <= writer.tail() + 1024);
        }
    }

    /// Two words for each record, and none again: retaining costs only those who ask for it.
    #[test]
    fn a_producer_that_retains_nothing_reads_no_record_again() {
        let ring = Ring::new(1024, 1);
        let words = Cell::new(0);
        let shared = ring.asked(&words, 600);
        let mut writer = Writer::create(ring.shape, &shared, 0, 0, 0);
        for _ in 0..300 {
            writer.publish(&shared, &[0; 8]).unwrap();
        }
        assert_eq!(words.get(), 600);
    }

    /// What is behind the newest record says what no producer writes: damage at once.
    #[test]
    fn a_damaged_header_at_the_tail_is_told() {
        let mut ring = Ring::new(1024, 1);
        let mut writer = Writer::create(ring.shape, &ring.shared(), 0, 0, 0);
        ring.publish(&mut writer, 8).unwrap();
        for bad in [1, 7 << 32, encode(1, 8) | 1 << 30] {
            ring.shared().records.word(writer.tail()).prepare(bad);
            assert_eq!(tail(&ring.shape, &ring.view()), Err(Damaged("header")));
            let joined = join(&ring.shape, &ring.shared(), &ring.slots[0].cursor, Wish::Tail);
            assert_eq!(joined, Err(JoinFailed::Damaged("header")));
        }
    }

    /// Words that contradict each other: `published` for ever behind a record. An end, and no endless search.
    #[test]
    fn a_start_with_a_sequence_ends_though_words_are_damaged() {
        let ring = Ring::new(1024, 1);
        Writer::create(ring.shape, &ring.shared(), 0, 5, 0);
        ring.shared().records.word(0).prepare(crate::header::encode(100, 8));
        let start = Start::Sequence(50);
        let observer = Observer::start(ring.shape, &ring.view(), start);
        assert!(observer.is_ok_and(|observer| observer.sequence() <= 100));
        let copying = Observer::join(ring.shape, &ring.shared(), &ring.slots[0], start);
        assert!(copying.is_ok_and(|observer| observer.sequence() <= 100));
        assert!(Reader::join(ring.shape, &ring.shared(), &ring.slots[0], start).is_err());
    }
}
