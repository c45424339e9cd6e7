//! One ring, all who are at it, and what must be so: the producer's half. Whether a record is refused, who is blamed, how far
//! the licence goes, and what a producer finds that takes over, are all computed from the model.

use annulus_core::memory::Memory;
use annulus_core::words::{NO_CURSOR, NOWHERE};
use annulus_core::writer::{Batch, Full, Refusal, Room, Who, Writer};

use crate::case::{Case, Setting};
use crate::model::Model;
use crate::ops::{Claim, Draft, Op};
use crate::reading::Player;
use crate::rig::Rig;

pub(crate) const SLOTS: u32 = 4;

/// What the producer's page should say of the last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) published: u64,
    pub(crate) newest: u64,
    pub(crate) tail: u64,
}

pub(crate) struct Table<'a, R> {
    pub(crate) rig: &'a R,
    pub(crate) setting: Setting,
    pub(crate) model: Model,
    /// None between a producer that has stopped and the next.
    pub(crate) writer: Option<Writer>,
    pub(crate) words: Words,
    pub(crate) readers: Vec<Player>,
    /// Slot and cursor of those that left without a word.
    pub(crate) dead: Vec<(usize, u64)>,
    pub(crate) licence: u64,
    pub(crate) lease: u64,
    /// Each licence, and the furthest that it was past where the next record went: the next asking is no further away.
    gaps: Vec<(u64, u64)>,
    /// Records sent or tried, which makes each unlike the others.
    pub(crate) drafts: u64,
}

/// Plays a list to its end, and then what must go well on any ring.
pub(crate) fn play<R: Rig>(rig: &R, case: &Case) {
    let Setting { position, sequence, retain, .. } = case.setting;
    let writer = Writer::create(case.setting.shape(), &rig.shared(), position, sequence, retain);
    let mut table = Table {
        rig,
        setting: case.setting,
        model: Model::new(case.setting.shape(), position, sequence),
        writer: Some(writer),
        words: Words { published: sequence, newest: NOWHERE, tail: position },
        readers: Vec::new(),
        dead: Vec::new(),
        licence: position,
        lease: position,
        gaps: Vec::new(),
        drafts: 0,
    };
    for op in &case.ops {
        table.step(op);
        table.check();
    }
    table.finish();
}

impl<R: Rig> Table<'_, R> {
    fn step(&mut self, op: &Op) {
        match op {
            Op::Send(draft) => drop(self.send(*draft)),
            Op::Batch(drafts, flushed) => self.batch(drafts, *flushed),
            Op::Claim(claim, less) => self.claim(*claim, *less),
            Op::Evict(draft) if self.setting.no_in_place => self.evict(*draft),
            Op::Evict(draft) => drop(self.send(*draft)),
            Op::Stop(stop) => self.stop(stop),
            Op::TakeOver => self.take_over(),
            Op::Join(kind, from) => self.join(*kind, *from),
            Op::Reap => self.reap(),
            Op::Leave(reader, _)
            | Op::Receive(reader, ..)
            | Op::Latest(reader)
            | Op::Release(reader, _)
            | Op::ReleaseAll(reader) => {
                if !self.readers.is_empty() {
                    self.read(usize::from(*reader) % self.readers.len(), op);
                }
            }
        }
    }

    /// What must go well whatever was before: everybody hears the rest and releases it, and then the longest record fits,
    /// whoever the producer is, and everybody hears it.
    fn finish(&mut self) {
        self.take_over();
        self.reap();
        for draft in [Draft::longest(), Draft::longest()] {
            for reader in 0..self.readers.len() {
                self.drain(reader);
            }
            self.check();
            assert!(
                self.send(draft),
                "no room for the longest record after everybody has released everything"
            );
            self.check();
            self.take_over();
        }
        for reader in 0..self.readers.len() {
            self.drain(reader);
        }
        self.check();
    }

    /// Slots that are taken, and the cursors that should stand there.
    fn cursors(&self) -> impl Iterator<Item = (usize, u64)> {
        let living = self.readers.iter().filter_map(|reader| reader.cursor(&self.model));
        living.chain(self.dead.iter().copied())
    }

    /// Those that hold the producer back.
    fn counting(&self) -> impl Iterator<Item = (usize, u64)> {
        let reach = self.licence.saturating_sub(self.setting.capacity);
        self.cursors().filter(move |(_, cursor)| *cursor >= reach)
    }

    /// The lowest of these, and its slot; or the tail.
    fn floor(&self) -> (u64, usize) {
        let lowest = self.counting().map(|(slot, cursor)| (cursor, slot)).min();
        lowest.filter(|(cursor, _)| *cursor < self.model.tail).unwrap_or((self.model.tail, 0))
    }

    /// What the producer must answer to a record of so many bytes at `start`: where it ends, or why not.
    fn expected(&self, start: u64, len: u64) -> Result<u64, Refusal> {
        if len > self.model.shape.max_user_len() {
            return Err(Refusal::TooLarge);
        }
        let end = self.model.end(start, len);
        let wanted = (end + 8).saturating_sub(self.setting.capacity);
        let (floor, slot) = self.floor();
        if wanted > floor {
            return Err(Refusal::Full(Full {
                who: Who::Slot(slot as u32),
                behind: self.model.tail - floor,
                wanted,
            }));
        }
        Ok(end)
    }

    /// Holds an answer against what was expected, and the licence against what was asked for.
    fn agree<T>(&mut self, start: u64, got: Result<T, Refusal>, expected: Result<u64, Refusal>) -> Option<T> {
        let told = got.as_ref().map(drop).map_err(|refusal| *refusal);
        assert_eq!(told, expected.map(drop), "for a record at {start}");
        let end = match expected {
            Ok(end) => Some((end, true)),
            Err(Refusal::Full(full)) => Some((full.wanted + self.setting.capacity - 8, false)),
            Err(_) => None,
        };
        self.granted(start, end);
        got.ok()
    }

    /// The licence after the producer has asked for room up to `end`, and got it or not.
    fn granted(&mut self, start: u64, asked: Option<(u64, bool)>) {
        let shape = self.model.shape;
        let page = self.rig.shared().producer;
        let (before, now, lease) = (self.licence, page.licence.glance(), page.lease.glance());
        assert!(now >= before && lease >= self.lease && lease >= now, "a licence or a lease went back");
        assert!(lease <= self.model.tail + shape.capacity(), "a wish for what nobody can grant");
        let top = self.floor().0 + shape.capacity();
        match asked {
            Some((end, true)) if end + 8 <= before => assert_eq!(now, before, "a grant without need"),
            Some((end, fits)) => {
                // A sixteenth more than needed, as far as the cursors let it; or less, to keep what shall be kept.
                let most = (end + 8).max(end + shape.chunk()).min(top).max(before);
                let least = match (fits, self.setting.retain) {
                    (false, _) => before,
                    (true, 0) => most,
                    (true, _) => end + 8,
                };
                assert!((least..=most).contains(&now), "granted {now}, not {least} to {most}");
                if now > before {
                    self.keeps(end, now);
                }
            }
            None => assert_eq!(now, before, "a grant that nobody asked for"),
        }
        (self.licence, self.lease) = (now, lease);
        self.note_gap(start);
    }

    /// Nothing that shall be kept is given away for more than the record that needs it.
    fn keeps(&self, end: u64, now: u64) {
        if self.setting.retain == 0 {
            return;
        }
        // What had to go, for this record or for a claim before, is not kept any more.
        let needed = self.licence.max(end + 8);
        let places = self.kept().map(|n| self.model.position_of(n) + self.setting.capacity);
        let most = places.filter(|place| *place >= needed).min().unwrap_or(end + 8);
        assert!(now <= most, "granted {now} over what is kept, up to {most}");
    }

    /// The records that the producer keeps where it can, and the next one.
    pub(crate) fn kept(&self) -> std::ops::RangeInclusive<u64> {
        let published = self.model.published();
        published.saturating_sub(self.setting.retain).max(self.model.first)..=published
    }

    /// The producer may not ask again before its licence: and at an asking, it leaves an anchor.
    pub(crate) fn note_gap(&mut self, from: u64) {
        let gap = self.licence - from;
        match self.gaps.last_mut() {
            Some((licence, most)) if *licence == self.licence => *most = gap.max(*most),
            _ => self.gaps.push((self.licence, gap)),
        }
    }

    /// How far an anchor is behind the oldest byte that can be read, at most.
    pub(crate) fn slack(&self, border: u64) -> u64 {
        let there = self.gaps.iter().rev().take_while(|(licence, _)| *licence >= border);
        there.map(|(_, gap)| *gap).max().unwrap_or(0) + self.model.shape.chunk()
    }

    fn bytes(&mut self, draft: Draft) -> Vec<u8> {
        self.drafts += 1;
        draft.bytes(self.model.shape.max_user_len(), self.model.published(), self.drafts)
    }

    /// The one who sends: after a stop, the next producer.
    pub(crate) fn writer(&mut self) -> Writer {
        if self.writer.is_none() {
            self.take_over();
        }
        self.writer.take().expect("there is one now")
    }

    /// Records went out, and all words say so.
    pub(crate) fn published(&mut self, stamp: u64, records: Vec<Vec<u8>>) {
        for payload in records {
            self.words.newest = self.model.tail;
            self.model.publish(stamp, payload);
        }
        self.words = Words { published: self.model.published(), tail: self.model.tail, ..self.words };
    }

    fn send(&mut self, draft: Draft) -> bool {
        let mut writer = self.writer();
        let (shared, payload) = (self.rig.shared(), self.bytes(draft));
        let (start, stamp) = (self.model.tail, self.drafts);
        let expected = self.expected(start, payload.len() as u64);
        let got = if self.setting.stamped {
            let bare = writer.publish(&shared, &payload);
            assert!(
                matches!(bare, Err(Refusal::NeedsStamp | Refusal::TooLarge)),
                "published without a stamp"
            );
            writer.publish_stamped(&shared, stamp, &payload)
        } else {
            writer.publish(&shared, &payload)
        };
        self.writer = Some(writer);
        let sent = self.agree(start, got, expected).is_some();
        if sent {
            self.published(stamp, vec![payload]);
        }
        sent
    }

    /// Puts records into a batch until one is refused.
    pub(crate) fn stage(&mut self, writer: &mut Writer, drafts: &[Draft]) -> (Batch, Vec<Vec<u8>>) {
        let (shared, mut batch, mut staged) = (self.rig.shared(), writer.batch(), Vec::new());
        let (mut start, stamp) = (self.model.tail, self.drafts);
        for draft in drafts {
            let payload = self.bytes(*draft);
            let expected = self.expected(start, payload.len() as u64);
            let got = if self.setting.stamped {
                writer.stage_stamped(&mut batch, &shared, stamp, &payload)
            } else {
                writer.stage(&mut batch, &shared, &payload)
            };
            if self.agree(start, got, expected).is_some() {
                start = expected.expect("it agrees");
                staged.push(payload);
            }
        }
        (batch, staged)
    }

    fn batch(&mut self, drafts: &[Draft], flushed: bool) {
        let mut writer = self.writer();
        let stamp = self.drafts;
        let (batch, staged) = self.stage(&mut writer, drafts);
        if flushed {
            assert_eq!(writer.flush(batch, &self.rig.shared()), staged.len() as u64);
            self.published(stamp, staged);
        }
        self.writer = Some(writer);
    }

    /// Claims room and writes the bytes, from the back, some of them twice.
    pub(crate) fn fill(&mut self, writer: &mut Writer, claim: Claim) -> Option<(Room, Vec<u8>)> {
        let (shared, payload, start) = (self.rig.shared(), self.bytes(claim.draft), self.model.tail);
        let expected = self.expected(start, payload.len() as u64);
        let got = writer.claim(&shared, payload.len() as u64);
        let room = self.agree(start, got, expected)?;
        assert_eq!(room.len(), payload.len() as u64);
        let piece = usize::from(claim.piece) + 1;
        for at in (0..payload.len()).step_by(piece).rev() {
            let to = (at + piece + 3).min(payload.len());
            writer.fill(&room, &shared, at as u64, &payload[at..to]);
        }
        Some((room, payload))
    }

    fn claim(&mut self, claim: Claim, less: Option<u8>) {
        let mut writer = self.writer();
        let (shared, stamp) = (self.rig.shared(), self.drafts + 1);
        if let (Some((room, mut payload)), Some(less)) = (self.fill(&mut writer, claim), less) {
            payload.truncate(payload.len().saturating_sub(less.into()));
            if self.setting.stamped {
                writer.stamp(&room, &shared, stamp);
            }
            writer.commit(room, &shared, payload.len() as u64);
            self.published(stamp, vec![payload]);
        }
        self.writer = Some(writer);
    }

    /// Gives up whoever is in the way of a record, and sends it.
    fn evict(&mut self, draft: Draft) {
        let len = draft.len.of(self.model.shape.max_user_len());
        if len > self.model.shape.max_user_len() {
            return;
        }
        let mut writer = self.writer();
        let end = self.model.end(self.model.tail, len);
        let wanted = (end + 8).saturating_sub(self.setting.capacity);
        let (in_the_way, others): (Vec<_>, Vec<_>) =
            self.counting().map(|(_, cursor)| cursor).partition(|cursor| *cursor < wanted);
        assert_eq!(writer.evict(&self.rig.shared(), end), Ok(in_the_way.len() as u64));
        self.writer = Some(writer);
        let page = self.rig.shared().producer;
        let (now, lease) = (page.licence.glance(), page.lease.glance());
        assert!(now >= self.licence && now >= end + 8, "no room after all in the way were given up");
        let floor = others.into_iter().min().unwrap_or(u64::MAX).min(self.model.tail);
        assert!(now <= floor + self.setting.capacity, "granted over somebody who was not in the way");
        assert!(lease >= self.lease && lease >= now && lease <= self.model.tail + self.setting.capacity);
        (self.licence, self.lease) = (now, lease);
        self.note_gap(self.model.tail);
        assert!(self.send(draft), "refused after all in the way were given up");
    }

    /// What must hold between any two operations.
    fn check(&mut self) {
        let shared = self.rig.shared();
        let page = shared.producer;
        let words = Words {
            published: page.published.glance(),
            newest: page.newest.glance(),
            tail: page.tail.glance(),
        };
        assert_eq!(words, self.words);
        assert_eq!(shared.records.word(self.model.tail).glance(), 0, "the header at the tail");
        self.note_gap(self.model.tail);
        for (i, slot) in shared.slots.iter().enumerate() {
            let expected =
                self.cursors().find(|(slot, _)| *slot == i).map_or(NO_CURSOR, |(_, cursor)| cursor);
            assert_eq!(slot.cursor.glance(), expected, "the cursor of slot {i}");
        }
        for reader in &self.readers {
            reader.check(self.rig, &self.model);
        }
    }
}
