//! The readers' half of the table: where each stands, what it must be told next, and where a late joiner begins.

use annulus_core::history::{Resume, Start};
use annulus_core::observer::Taken;
use annulus_core::reader::JoinFailed;
use annulus_core::words::NO_CURSOR;

use crate::model::Model;
use crate::ops::{From, Kind, Op};
use crate::players::{Copies, Got, InPlace};
use crate::rig::Rig;
use crate::table::{SLOTS, Table};

/// Readers at one ring, at most.
const READERS: usize = 6;

/// Where a reader stands, as the model has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stand {
    /// Sequence at the place where it looks next.
    place: u64,
    /// The first that it wants.
    first: u64,
    /// A loss that it was not told of yet.
    owed: u64,
}

impl Stand {
    /// The next that it wants.
    fn next(self) -> u64 {
        self.place.max(self.first)
    }
}

#[derive(Debug)]
pub(crate) enum Player {
    InPlace(InPlace, Stand),
    Copies(Copies, Stand),
}

impl Player {
    /// Its slot, and the cursor that should stand there.
    pub(crate) fn cursor(&self, model: &Model) -> Option<(usize, u64)> {
        match self {
            Player::InPlace(reader, stand) => {
                let oldest = reader.held.first().map(|held| held.position);
                Some((reader.slot, oldest.unwrap_or_else(|| model.position_of(stand.place))))
            }
            Player::Copies(reader, stand) => reader.slot.map(|slot| (slot, model.position_of(stand.place))),
        }
    }

    /// What it holds is as it was sent.
    pub(crate) fn check<R: Rig>(&self, rig: &R, model: &Model) {
        let Player::InPlace(reader, _) = self else { return };
        assert!(!reader.core.is_damaged());
        for held in &reader.held {
            let record = model.record(held.sequence);
            assert_eq!(held.position, record.position);
            let bytes = rig.held(*held);
            let (stamp, payload) = bytes.split_at(model.shape.prefix() as usize);
            assert!(
                stamp.is_empty() || stamp == record.stamp.to_le_bytes(),
                "the stamp of {}",
                held.sequence
            );
            assert!(payload == record.payload, "the bytes of {}, which is held", held.sequence);
        }
    }
}

impl<R: Rig> Table<'_, R> {
    /// Frees the slots of those that left without a word.
    pub(crate) fn reap(&mut self) {
        for (slot, _) in self.dead.drain(..) {
            self.rig.shared().slots[slot].vacate();
        }
    }

    /// A reader does something.
    pub(crate) fn read(&mut self, reader: usize, op: &Op) {
        match *op {
            Op::Leave(_, with_a_word) => {
                let left = self.readers.swap_remove(reader).cursor(&self.model);
                match left {
                    Some((slot, _)) if with_a_word => self.rig.shared().slots[slot].vacate(),
                    left => self.dead.extend(left),
                }
            }
            Op::Receive(_, count, newest) => {
                let resume = if newest { Resume::Newest } else { Resume::Oldest };
                for _ in 0..count {
                    self.receive(reader, resume);
                }
            }
            Op::Latest(_) => self.latest(reader),
            Op::Release(_, nth) => self.release(reader, nth.into()),
            Op::ReleaseAll(_) => self.release_all(reader),
            _ => unreachable!("no reader's: {op:?}"),
        }
    }

    /// Hears everything, and holds nothing any more.
    pub(crate) fn drain(&mut self, reader: usize) {
        while self.receive(reader, Resume::Oldest) {}
        self.release_all(reader);
    }

    fn over(&self, position: u64) -> bool {
        self.licence > position + self.setting.capacity
    }

    /// That a place may be where the oldest is that can still be read, for one who must keep behind `passed`.
    fn oldest(&self, place: u64, passed: u64) {
        let border = passed.saturating_sub(self.setting.capacity).max(self.model.base);
        let position = self.model.position_of(place);
        assert!(position >= border, "begins with what may be overwritten");
        let most = if border == self.model.base { border } else { border + self.slack(border) };
        assert!(position <= most, "begins at {position}, and could at {border}");
    }

    pub(crate) fn join(&mut self, kind: Kind, from: From) {
        let free = (0..SLOTS as usize).find(|i| self.rig.shared().slots[*i].cursor.glance() == NO_CURSOR);
        let slot = if kind == Kind::Observer { None } else { free };
        if self.readers.len() == READERS || kind != Kind::Observer && slot.is_none() {
            return;
        }
        let (shared, shape, start) =
            (self.rig.shared(), self.model.shape, from.start(self.model.published()));
        let in_place = kind == Kind::InPlace && !self.setting.no_in_place;
        let passed = if slot.is_some() { shared.producer.lease.glance() } else { self.licence };
        let joined = match slot {
            Some(slot) if in_place => InPlace::join(shape, &shared, slot, start).map(|reader| {
                let (place, next) = (reader.core.position(), reader.core.sequence());
                (place, next, Player::InPlace(reader, Stand { place: 0, first: 0, owed: 0 }))
            }),
            slot => Copies::join(shape, &shared, slot, start).map(|reader| {
                let (place, next) = (reader.core.position(), reader.core.sequence());
                (place, next, Player::Copies(reader, Stand { place: 0, first: 0, owed: 0 }))
            }),
        };
        let (position, sequence, mut player) = match joined {
            Ok(joined) => joined,
            Err(JoinFailed::Gone { oldest }) => {
                let Start::Sequence(n) = start else { panic!("{start:?} is gone") };
                assert!(in_place && n < oldest, "{n} is gone, {oldest} is not");
                self.oldest(oldest, passed);
                return;
            }
            Err(damaged) => panic!("{damaged:?}"),
        };
        let place = self.model.sequence_at(position);
        assert!(passed <= position + self.setting.capacity, "begins with what may be overwritten");
        // As the words say, which may be behind the records if a producer has stopped between them.
        let (published, tail) = (self.words.published, self.model.sequence_at(self.words.tail));
        let passes = |first: u64| first.min(self.model.published()).max(tail);
        let (first, lost) = match start {
            Start::Newest | Start::Last(0) => {
                assert_eq!(place, tail);
                (0, 0)
            }
            Start::Sequence(n) if n >= published => {
                assert_eq!(place, passes(n));
                (n, 0)
            }
            Start::Sequence(n) => (n, place.saturating_sub(n)),
            Start::Oldest => (0, 0),
            Start::Last(n) => (published.saturating_sub(n), 0),
            other => panic!("{other:?}"),
        };
        let stand = Stand { place, first, owed: lost };
        assert!(lost == 0 || !in_place, "joined in place past what it asked for");
        assert_eq!(sequence, stand.next(), "{start:?}");
        let late = match start {
            Start::Oldest | Start::Last(1..) => true,
            Start::Sequence(n) => n < published,
            _ => false,
        };
        if late && place > first {
            // What was asked for could not be had: the oldest is as good as it gets.
            self.oldest(place, passed);
            let kept = first.max(*self.kept().start());
            let there = passed <= self.model.position_of(kept) + self.setting.capacity;
            assert!(
                self.setting.retain == 0 || !there || place <= kept,
                "{kept} is kept, and {place} is the first"
            );
        } else if late {
            assert_eq!(place, first, "{start:?} passes over what it does not want");
        }
        match &mut player {
            Player::InPlace(_, now) | Player::Copies(_, now) => *now = stand,
        }
        self.readers.push(player);
    }

    /// The next record of a reader, or the next loss; whether there was one.
    pub(crate) fn receive(&mut self, reader: usize, resume: Resume) -> bool {
        let shared = self.rig.shared();
        let published = self.model.published();
        let mut player = self.readers.swap_remove(reader);
        let told = match &mut player {
            Player::InPlace(reader, stand) => {
                stand.place = stand.place.max(stand.first.min(published));
                match reader.receive(&shared) {
                    Got::Record(held) => {
                        assert_eq!(
                            (held.sequence, held.position),
                            (stand.place, self.model.position_of(stand.place))
                        );
                        assert!(stand.place >= stand.first, "nobody wants it");
                        stand.place += 1;
                        true
                    }
                    Got::Nothing => {
                        assert_eq!(stand.place, published, "not seen");
                        false
                    }
                    other => panic!("{other:?}"),
                }
            }
            Player::Copies(reader, stand) => {
                // It passes over what it does not want, as long as that is there.
                while stand.place < stand.first.min(published)
                    && !self.over(self.model.position_of(stand.place))
                {
                    stand.place += 1;
                }
                let lapped = stand.owed > 0 || self.over(self.model.position_of(stand.place));
                match reader.receive(&shared, resume) {
                    Got::Record((taken, payload)) => {
                        assert!(!lapped, "{} may be overwritten, and is believed", stand.place);
                        assert_eq!(taken.sequence, stand.place);
                        self.same(taken, &payload);
                        stand.place += 1;
                        true
                    }
                    Got::Nothing => {
                        assert!(
                            !lapped && stand.place == published,
                            "{} of {published} not seen",
                            stand.place
                        );
                        false
                    }
                    Got::Lagged(lost) => {
                        assert!(lapped, "nothing is lost");
                        self.lagged(reader, stand, resume, lost);
                        true
                    }
                    Got::Damaged => panic!("damaged"),
                }
            }
        };
        self.put_back(reader, player);
        told
    }

    /// Puts a reader back where it was among the others.
    fn put_back(&mut self, reader: usize, player: Player) {
        self.readers.push(player);
        let last = self.readers.len() - 1;
        self.readers.swap(reader, last);
    }

    /// A loss is exactly what lies between where a reader was and where it is.
    fn lagged(&self, reader: &Copies, stand: &mut Stand, resume: Resume, lost: u64) {
        if stand.owed > 0 {
            // That of its start, which is told where it stands.
            assert_eq!(lost, stand.owed);
            stand.owed = 0;
        } else {
            let place = self.model.sequence_at(reader.core.position());
            assert_eq!(lost, place.saturating_sub(stand.next()));
            let passed =
                if reader.slot.is_some() { self.rig.shared().producer.lease.glance() } else { self.licence };
            match resume {
                Resume::Oldest => self.oldest(place, passed),
                _ => assert_eq!(place, self.model.sequence_at(self.words.tail)),
            }
            stand.place = place;
        }
        assert_eq!(reader.core.sequence(), stand.next());
    }

    /// That a record was copied as it was sent.
    fn same(&self, taken: Taken, payload: &[u8]) {
        let record = self.model.record(taken.sequence);
        assert_eq!(taken.stamp, if self.setting.stamped { record.stamp } else { 0 });
        assert!(payload == record.payload, "the bytes of {}", taken.sequence);
    }

    fn latest(&mut self, reader: usize) {
        let shared = self.rig.shared();
        let mut player = self.readers.swap_remove(reader);
        if let Player::Copies(reader, stand) = &mut player {
            let newest = self.model.newest();
            let gone = newest.is_some_and(|newest| self.over(self.model.position_of(newest)));
            match reader.latest(&shared, Resume::Newest) {
                Got::Record((taken, payload)) => {
                    assert_eq!(Some(taken.sequence), newest);
                    assert!(!gone, "{} may be overwritten, and is believed", taken.sequence);
                    self.same(taken, &payload);
                    stand.place = taken.sequence + 1;
                    stand.owed = 0;
                }
                Got::Nothing => assert_eq!(newest, None),
                // Only where a claim has taken its room.
                Got::Lagged(lost) => {
                    assert!(gone, "{newest:?} can be read");
                    self.lagged(reader, stand, Resume::Newest, lost);
                }
                Got::Damaged => panic!("damaged"),
            }
        }
        self.put_back(reader, player);
    }

    fn release(&mut self, reader: usize, nth: usize) {
        let (shared, model) = (self.rig.shared(), &self.model);
        let Some(before) = self.readers[reader].cursor(model) else { return };
        let Player::InPlace(in_place, _) = &mut self.readers[reader] else { return };
        if in_place.held.is_empty() {
            return;
        }
        let nth = nth % in_place.held.len();
        let step = in_place.release(&shared, nth);
        let after = self.readers[reader].cursor(model).expect("a slot");
        assert_eq!(step, (nth == 0).then_some((before.1, after.1)), "the cursor's step");
    }

    fn release_all(&mut self, reader: usize) {
        while let Player::InPlace(InPlace { held, .. }, _) = &self.readers[reader] {
            if held.is_empty() {
                return;
            }
            let last = held.len() - 1;
            self.release(reader, last);
        }
    }
}
