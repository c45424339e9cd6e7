//! One producer and readers of every kind do what the input says, and everything they are told is held against a list
//! that never forgets: records, their bytes, losses, whether the ring is full, where a late joiner begins.

use annulus_core::history::{Resume, Start};
use annulus_core::memory::Memory;
use annulus_core::reader::JoinFailed;
use annulus_core::shape::{Align, Shape};
use annulus_core::words::NO_CURSOR;
use annulus_core::writer::{Full, Refusal, Who, Writer};

use crate::input::Input;
use crate::model::Model;
use crate::players::{Copies, Got, InPlace};
use crate::rig::{Heap, Mapped, Ring};

const SLOTS: u32 = 4;
const READERS: usize = 6;
/// Operations of one run: the longest that still is quick.
const OPERATIONS: usize = 400;

thread_local! {
    static MAPPED: Mapped = Mapped::new(4096, SLOTS);
}

/// Plays one input.
pub fn run(bytes: &[u8]) {
    let input = &mut Input(bytes);
    let (kind, options) = (input.byte(), input.byte());
    let align = if options & 1 == 0 { Align::Packed } else { Align::Line };
    let capacity = [128, 256, 1024, 4096][usize::from(kind & 3)];
    let Some(shape) = Shape::new(capacity, align) else { return };
    let shape = if options & 2 == 0 { Some(shape) } else { shape.stamped() };
    let Some(shape) = shape else { return };
    let settings = Settings {
        copying: options & 4 != 0,
        retain: if options & 8 == 0 { 0 } else { u64::from(input.byte() % 24) },
        position: [0, (1 << 32) - capacity, (1 << 63) - capacity, 7 * capacity]
            [usize::from((options >> 4) & 3)],
        sequence: [0, (1 << 32) - 3, (1 << 63) - 3, 1 << 31][usize::from(options >> 6)],
    };
    if capacity == 4096 {
        MAPPED.with(|ring| {
            ring.clear();
            play(ring, shape, &settings, input);
        });
    } else {
        play(&Heap::new(capacity, SLOTS), shape, &settings, input);
    }
}

#[derive(Debug)]
struct Settings {
    /// Nobody borrows, so the producer may evict.
    copying: bool,
    retain: u64,
    position: u64,
    sequence: u64,
}

/// A reader, and the sequence that it wants next.
enum Player {
    InPlace(InPlace, u64),
    Copies(Copies, u64),
}

impl Player {
    /// Its slot, and the cursor that should stand there.
    fn cursor(&self) -> Option<(usize, u64)> {
        match self {
            Player::InPlace(reader, _) => {
                let oldest = reader.held.first().map(|held| held.position);
                Some((reader.slot, oldest.unwrap_or_else(|| reader.core.position())))
            }
            Player::Copies(reader, _) => reader.slot.map(|slot| (slot, reader.core.position())),
        }
    }
}

struct Table<'a, R> {
    ring: &'a R,
    settings: &'a Settings,
    model: Model,
    writer: Writer,
    readers: Vec<Player>,
    /// Cursors of those that died without a word.
    dead: Vec<(usize, u64)>,
    licence: u64,
    taken_over: bool,
    stamp: u64,
}

fn play<R: Ring>(ring: &R, shape: Shape, settings: &Settings, input: &mut Input<'_>) {
    let shared = ring.shared();
    for slot in shared.slots {
        slot.vacate();
    }
    let writer = Writer::create(shape, &shared, settings.position, settings.sequence, settings.retain);
    let mut table = Table {
        ring,
        settings,
        model: Model::new(shape, settings.position, settings.sequence),
        writer,
        readers: Vec::new(),
        dead: Vec::new(),
        licence: settings.position,
        taken_over: false,
        stamp: 0,
    };
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        table.step(input);
        table.check();
    }
    // Everybody hears the rest.
    for i in 0..table.readers.len() {
        while table.receive(i, Resume::Oldest) {}
    }
    table.check();
}

impl<R: Ring> Table<'_, R> {
    fn step(&mut self, input: &mut Input<'_>) {
        let operation = input.byte();
        let reader = usize::from(operation >> 4) % self.readers.len().max(1);
        match operation & 15 {
            0 | 1 => self.send(input),
            2 => self.batch(input),
            3 => self.claim(input),
            4 => self.join(input, true),
            5 => self.join(input, false),
            6 if reader < self.readers.len() => self.leave(reader, input),
            7 => self.take_over(input),
            8 if self.settings.copying => self.evict(input),
            9 if reader < self.readers.len() => self.latest(reader),
            10 if reader < self.readers.len() => self.release(reader, input),
            11 if reader < self.readers.len() => while self.receive(reader, Resume::Oldest) {},
            12 => self.reap(),
            13 if reader < self.readers.len() => drop(self.receive(reader, Resume::Newest)),
            _ if reader < self.readers.len() => drop(self.receive(reader, Resume::Oldest)),
            _ => self.send(input),
        }
    }

    fn payload(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let len = input.len(self.model.shape.max_user_len());
        let seed = (self.model.published() as u8).wrapping_add(self.stamp as u8);
        self.stamp += 1;
        // Now and then a payload of zeros, or of what looks like headers.
        match seed % 7 {
            0 => vec![0; len as usize],
            1 => (0..len).map(|i| (self.model.published() + 1).to_le_bytes()[i as usize % 8]).collect(),
            _ => (0..len).map(|i| seed.wrapping_mul(31).wrapping_add(i as u8)).collect(),
        }
    }

    /// The lowest cursor that holds the producer, or the tail.
    fn floor(&self) -> u64 {
        let capacity = self.model.shape.capacity();
        let cursors = self.readers.iter().filter_map(Player::cursor).chain(self.dead.iter().copied());
        cursors.map(|(_, c)| c).filter(|c| c + capacity >= self.licence).min().unwrap_or(self.model.tail)
    }

    /// What the producer must answer to a record of so many bytes at `start`; where it ends.
    fn expected(&self, start: u64, len: u64) -> Result<u64, Refusal> {
        let shape = &self.model.shape;
        if len > shape.max_user_len() {
            return Err(Refusal::TooLarge);
        }
        let end = start + shape.need(len + shape.prefix());
        let (wanted, floor) = ((end + 8).saturating_sub(shape.capacity()), self.floor());
        if wanted > floor.min(self.model.tail) {
            return Err(Refusal::Full(Full { who: Who::Slot(0), behind: self.model.tail - floor, wanted }));
        }
        Ok(end)
    }

    /// Holds an answer against what was expected.
    fn agree<T>(&mut self, got: Result<T, Refusal>, expected: Result<u64, Refusal>) -> Option<T> {
        let end = match (&got, &expected) {
            (Ok(_), Ok(end)) => Some(*end),
            (Err(Refusal::Full(got)), Err(Refusal::Full(expected))) => {
                assert_eq!((got.behind, got.wanted), (expected.behind, expected.wanted));
                let shared = self.ring.shared();
                // There are no groups.
                let Who::Slot(slot) = got.who else { panic!("{got:?}") };
                let blamed = shared.slots[slot as usize].cursor.glance();
                assert!(got.behind == 0 || blamed == self.model.tail - got.behind, "{got:?} blames {blamed}");
                Some(got.wanted + self.model.shape.capacity() - 8)
            }
            (Err(got), Err(expected)) if got == expected => None,
            (got, _) => panic!("{:?}, expected {expected:?}", got.as_ref().map(drop)),
        };
        self.granted(end);
        got.ok()
    }

    /// The licence after the producer has asked for room up to `end`: never past what somebody may read, or what it
    /// keeps, nor further than it asks.
    fn granted(&mut self, end: Option<u64>) {
        let (shape, now) = (self.model.shape, self.ring.shared().producer.licence.glance());
        assert!(now >= self.licence, "the licence went back");
        if now > self.licence {
            let end = end.expect("a grant that nobody asked for");
            let asked = (end + 8).max(end + shape.chunk());
            let floor = self.floor().min(self.model.tail) + shape.capacity();
            assert!(now <= asked && now <= floor, "granted {now}, asked {asked}, floor {floor}");
            if self.settings.retain > 0 && !self.taken_over {
                let kept =
                    self.kept().map(|n| self.model.position_of(n).expect("a record") + shape.capacity());
                // Those that had to go, for this record or for a claim before, are not kept any more.
                let kept = kept.filter(|kept| *kept >= self.licence.max(end + 8)).min().unwrap_or(end + 8);
                assert!(now <= kept, "granted {now} over what is kept, up to {kept}");
            }
        }
        self.licence = now;
    }

    /// The records that the producer keeps where it can, and the next one.
    fn kept(&self) -> std::ops::RangeInclusive<u64> {
        let published = self.model.published();
        published.saturating_sub(self.settings.retain).max(self.model.base.1)..=published
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let payload = self.payload(input);
        self.send_this(payload);
    }

    fn send_this(&mut self, payload: Vec<u8>) -> bool {
        let (shared, stamp) = (self.ring.shared(), self.stamp);
        let expected = self.expected(self.model.tail, payload.len() as u64);
        let got = if self.model.shape.prefix() > 0 {
            let bare = self.writer.publish(&shared, &payload);
            assert!(matches!(bare, Err(Refusal::NeedsStamp | Refusal::TooLarge)));
            self.writer.publish_stamped(&shared, stamp, &payload)
        } else {
            self.writer.publish(&shared, &payload)
        };
        let sent = self.agree(got, expected).is_some();
        if sent {
            self.model.publish(stamp, payload);
        }
        sent
    }

    fn batch(&mut self, input: &mut Input<'_>) {
        let shared = self.ring.shared();
        let (count, keep) = (input.byte() % 20, input.byte());
        let mut batch = self.writer.batch();
        let (mut staged, mut start) = (Vec::new(), self.model.tail);
        for _ in 0..count {
            let (payload, stamp) = (self.payload(input), self.stamp);
            let expected = self.expected(start, payload.len() as u64);
            let got = if self.model.shape.prefix() > 0 {
                self.writer.stage_stamped(&mut batch, &shared, stamp, &payload)
            } else {
                self.writer.stage(&mut batch, &shared, &payload)
            };
            let end = expected.as_ref().map_or(start, |end| *end);
            if self.agree(got, expected).is_none() {
                break;
            }
            start = end;
            staged.push((stamp, payload));
        }
        if keep % 4 == 3 {
            // Dropped: it leaves nothing.
            return;
        }
        assert_eq!(self.writer.flush(batch, &shared), staged.len() as u64);
        for (stamp, payload) in staged {
            self.model.publish(stamp, payload);
        }
    }

    fn claim(&mut self, input: &mut Input<'_>) {
        let (shared, payload) = (self.ring.shared(), self.payload(input));
        let (less, pieces) = (input.below(payload.len() + 1), input.byte());
        let expected = self.expected(self.model.tail, payload.len() as u64);
        let got = self.writer.claim(&shared, payload.len() as u64);
        let Some(room) = self.agree(got, expected) else { return };
        // From the back, in pieces, and some of it twice.
        let piece = usize::from(pieces % 37) + 1;
        for at in (0..payload.len()).step_by(piece).collect::<Vec<_>>().into_iter().rev() {
            let to = (at + piece + 3).min(payload.len());
            self.writer.fill(&room, &shared, at as u64, &payload[at..to]);
        }
        if pieces & 128 != 0 {
            return;
        }
        let len = payload.len() - less;
        if self.model.shape.prefix() > 0 {
            self.writer.stamp(&room, &shared, self.stamp);
        }
        self.writer.commit(room, &shared, len as u64);
        self.model.publish(self.stamp, payload[..len].to_vec());
    }

    /// Gives up whoever is in the way, and sends.
    fn evict(&mut self, input: &mut Input<'_>) {
        let (shared, payload, shape) = (self.ring.shared(), self.payload(input), self.model.shape);
        let Ok(len) = u64::try_from(payload.len()) else { return };
        if len > shape.max_user_len() {
            return;
        }
        let end = self.model.tail + shape.need(len + shape.prefix());
        let wanted = (end + 8).saturating_sub(shape.capacity());
        let held = |(_, c): &(usize, u64)| *c + shape.capacity() >= self.licence && *c < wanted;
        let cursors = self.readers.iter().filter_map(Player::cursor).chain(self.dead.iter().copied());
        let in_the_way = cursors.filter(held).count() as u64;
        assert_eq!(self.writer.evict(&shared, end), Ok(in_the_way));
        // They do not hold it any more: the floor is that of the others.
        let now = shared.producer.licence.glance();
        assert!(now >= self.licence && now >= end + 8);
        let others = self.readers.iter().filter_map(Player::cursor).chain(self.dead.iter().copied());
        let floor =
            others.map(|(_, c)| c).filter(|c| c + shape.capacity() >= self.licence && *c >= wanted).min();
        assert!(now <= floor.unwrap_or(self.model.tail) + shape.capacity(), "granted over somebody else");
        self.licence = now;
        assert!(self.send_this(payload), "no room after all who were in the way are gone");
    }

    /// A new producer after the old one died: anywhere, also between its last stores.
    fn take_over(&mut self, input: &mut Input<'_>) {
        let (shared, died) = (self.ring.shared(), input.byte());
        let page = shared.producer;
        let before = [page.tail.glance(), page.newest.glance(), page.published.glance()];
        if died & 1 != 0 {
            let payload = self.payload(input);
            if self.send_this(payload) {
                for (i, word) in before.into_iter().enumerate() {
                    match i {
                        0 => page.tail.preset(word),
                        1 if died & 2 != 0 => page.newest.preset(word),
                        2 if died & 6 == 6 => page.published.preset(word),
                        _ => {}
                    }
                }
            }
        }
        self.writer =
            Writer::take_over(self.model.shape, &shared, self.settings.retain).expect("a ring that is whole");
        self.taken_over = true;
        assert_eq!(self.writer.tail(), self.model.tail);
        assert_eq!(self.writer.sequence(), self.model.published());
    }

    fn start(&self, input: &mut Input<'_>) -> Start {
        let n = u64::from(input.byte());
        match n % 5 {
            0 => Start::Newest,
            1 => Start::Oldest,
            2 => Start::Last(n / 5),
            3 => Start::Sequence(self.model.published().saturating_sub(n / 5)),
            _ => Start::Sequence(self.model.published() + n / 20),
        }
    }

    fn join(&mut self, input: &mut Input<'_>, with_slot: bool) {
        if self.readers.len() == READERS {
            return;
        }
        let (shared, start, shape) = (self.ring.shared(), self.start(input), self.model.shape);
        let used = |i: &usize| {
            let cursors = self.readers.iter().filter_map(Player::cursor).chain(self.dead.iter().copied());
            !cursors.into_iter().any(|(slot, _)| slot == *i)
        };
        let free = (0..SLOTS as usize).find(used);
        let slot = if with_slot && free.is_none() { return } else { free.filter(|_| with_slot) };
        let in_place = with_slot && !self.settings.copying;
        let joined = match slot {
            Some(slot) if in_place => InPlace::join(shape, &shared, slot, start)
                .map(|reader| (reader.core.position(), reader.core.sequence(), Player::InPlace(reader, 0))),
            slot => Copies::join(shape, &shared, slot, start)
                .map(|reader| (reader.core.position(), reader.core.sequence(), Player::Copies(reader, 0))),
        };
        let passed = if with_slot { shared.producer.lease.glance() } else { self.licence };
        let (published, base) = (self.model.published(), self.model.base);
        let readable = |sequence: u64| {
            self.model.position_of(sequence).is_some_and(|position| passed <= position + shape.capacity())
        };
        // Everything that was ever published is there still, so nothing may be missed.
        let all = passed <= base.0 + shape.capacity();
        let (position, sequence, mut player) = match joined {
            Ok(joined) => joined,
            Err(JoinFailed::Gone { oldest }) => {
                let Start::Sequence(n) = start else { panic!("{start:?} is gone") };
                assert!(in_place && n < oldest && oldest <= published && readable(oldest), "{n} {oldest}");
                assert!(!all || n < base.1, "nothing is gone");
                return;
            }
            Err(damaged) => panic!("{damaged:?}"),
        };
        let at = self.model.sequence_at(position).expect("a boundary");
        assert!(passed <= position + shape.capacity(), "begins with what may be overwritten");
        let next = match start {
            Start::Newest | Start::Last(0) => published,
            Start::Oldest => at,
            Start::Sequence(n) => n,
            Start::Last(n) => published.saturating_sub(n).max(at),
            other => panic!("{other:?}"),
        };
        assert_eq!(sequence, if in_place { next } else { next.max(at) }, "{start:?}");
        if let Start::Oldest | Start::Last(1..) = start {
            let wished = if let Start::Last(n) = start { published.saturating_sub(n) } else { 0 };
            let kept = *self.kept().start();
            assert!(!all || next == wished.max(base.1), "{start:?} begins with {next}, all are there");
            if !self.taken_over && self.settings.retain > 0 && readable(wished.max(kept)) {
                assert!(next <= wished.max(kept), "{start:?} begins with {next}, not {kept} that is kept");
            }
        }
        match &mut player {
            Player::InPlace(_, wanted) | Player::Copies(_, wanted) => *wanted = next,
        }
        self.readers.push(player);
    }

    fn leave(&mut self, reader: usize, input: &mut Input<'_>) {
        let player = self.readers.swap_remove(reader);
        let Some((slot, cursor)) = player.cursor() else { return };
        if input.byte() & 1 == 0 {
            self.ring.shared().slots[slot].vacate();
        } else {
            self.dead.push((slot, cursor));
        }
    }

    fn reap(&mut self) {
        for (slot, _) in self.dead.drain(..) {
            self.ring.shared().slots[slot].vacate();
        }
    }

    /// The next record of a reader; whether it got something.
    fn receive(&mut self, reader: usize, resume: Resume) -> bool {
        let (shared, model) = (self.ring.shared(), &self.model);
        let capacity = model.shape.capacity();
        match &mut self.readers[reader] {
            Player::InPlace(reader, next) => match reader.receive(&shared) {
                Got::Record(held) => {
                    assert_eq!(held.sequence, *next);
                    assert_same(model, held.sequence, &self.ring.borrow(held), held.position);
                    *next += 1;
                    true
                }
                Got::Nothing => {
                    assert!(*next >= model.published(), "{next} of {} not seen", model.published());
                    false
                }
                other => panic!("{other:?}"),
            },
            Player::Copies(reader, next) => {
                let position = reader.core.position();
                let lapped = self.licence > position + capacity;
                match reader.receive(&shared, resume) {
                    Got::Record((taken, payload)) => {
                        assert!(taken.sequence == *next, "{} for {next}", taken.sequence);
                        let record = model.record(*next).expect("a record that was sent");
                        assert_eq!((record.stamp_if(model), &record.payload), (taken.stamp, &payload));
                        assert!(
                            self.licence <= record.position + capacity,
                            "may be overwritten, and believed"
                        );
                        *next += 1;
                        true
                    }
                    Got::Nothing => {
                        assert!(!lapped && *next >= model.published());
                        false
                    }
                    Got::Lagged(lost) => {
                        let now = reader.core.sequence();
                        assert_eq!(lost, now - *next);
                        let there = reader.core.position();
                        let at = model.sequence_at(there).expect("a boundary");
                        assert!(now >= at && (lapped || lost > 0), "nothing was lost");
                        // A loss of its start is told first, where it stands.
                        if there != position {
                            assert!(self.licence <= there + capacity, "goes on where it was lapped");
                            assert!(resume == Resume::Oldest || at == model.published());
                        }
                        *next = now;
                        true
                    }
                    Got::Damaged => panic!("damaged"),
                }
            }
        }
    }

    fn latest(&mut self, reader: usize) {
        let (shared, model) = (self.ring.shared(), &self.model);
        let Player::Copies(reader, next) = &mut self.readers[reader] else { return };
        let newest = model.published().checked_sub(1).and_then(|n| Some((n, model.record(n)?)));
        match (reader.latest(&shared, Resume::Newest), newest) {
            (Got::Record((taken, payload)), Some((n, record))) => {
                assert_eq!((taken.sequence, &payload), (n, &record.payload));
                // It still waits for one that is to come, if it did.
                *next = model.published().max(*next);
            }
            (Got::Nothing, None) => {}
            // An uncommitted claim has taken its room.
            (Got::Lagged(lost), Some((_, record))) => {
                assert!(self.licence > record.position + model.shape.capacity());
                assert_eq!(lost, reader.core.sequence() - *next);
                *next = reader.core.sequence();
            }
            (got, newest) => panic!("{got:?}, newest is {newest:?}"),
        }
    }

    fn release(&mut self, reader: usize, input: &mut Input<'_>) {
        let Player::InPlace(reader, _) = &mut self.readers[reader] else { return };
        if reader.held.is_empty() {
            return;
        }
        let nth = input.below(reader.held.len());
        reader.release(&self.ring.shared(), nth);
        assert!(!reader.core.is_damaged());
    }

    /// What must hold between any two operations.
    fn check(&self) {
        let shared = self.ring.shared();
        assert_eq!(shared.producer.tail.glance(), self.model.tail);
        assert_eq!(shared.producer.published.glance(), self.model.published());
        assert_eq!(shared.records.word(self.model.tail).glance(), 0, "the header at the tail");
        let cursors: Vec<_> =
            self.readers.iter().filter_map(Player::cursor).chain(self.dead.iter().copied()).collect();
        for (i, slot) in shared.slots.iter().enumerate() {
            let expected = cursors.iter().find(|(slot, _)| *slot == i).map_or(NO_CURSOR, |(_, c)| *c);
            assert_eq!(slot.cursor.glance(), expected, "the cursor of slot {i}");
        }
        for player in &self.readers {
            let Player::InPlace(reader, _) = player else { continue };
            for held in &reader.held {
                assert_same(&self.model, held.sequence, &self.ring.borrow(*held), held.position);
            }
        }
    }
}

/// Whether bytes that lie in the ring are those of a record, its stamp before them.
fn assert_same(model: &Model, sequence: u64, bytes: &[u8], position: u64) {
    let record = model.record(sequence).expect("a record that was sent");
    let (stamp, payload) = bytes.split_at(model.shape.prefix() as usize);
    assert_eq!(record.position, position);
    assert!(stamp.is_empty() || stamp == record.stamp.to_le_bytes(), "the stamp of {sequence}");
    assert!(payload == record.payload, "the bytes of {sequence}");
}
