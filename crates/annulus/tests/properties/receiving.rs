//! What the readers of a ring with a name must be told.

use annulus::{Received, Record, TryCopyError, TryRecvError};

use crate::api::{Copier, Table};

impl Table<'_> {
    /// Lends one record; whether there was one.
    pub(crate) fn borrow(&mut self, which: usize) -> bool {
        let (stamped, model) = (self.setting.stamped, &self.model);
        let reader = &mut self.in_place[which];
        reader.place = reader.place.max(reader.next.min(model.published()));
        let got = reader.reader.try_recv();
        let there = got.is_ok();
        match got {
            Ok(record) => {
                assert_eq!((record.sequence(), record.time().is_some()), (reader.next, stamped));
                reader.held.push(record);
                reader.next += 1;
                reader.place = reader.next;
            }
            Err(TryRecvError::Empty) => assert!(reader.next >= model.published(), "{} not seen", reader.next),
            Err(other) => panic!("{other:?}"),
        }
        // Sorted by sequence, since they come in order and are taken out only.
        for record in &reader.held {
            assert!(
                **record == model.record(record.sequence()).payload,
                "the bytes of {}",
                record.sequence()
            );
        }
        let oldest = reader.held.first().map_or(reader.place, Record::sequence);
        let bytes = model.position_of(reader.place) - model.position_of(oldest);
        assert_eq!(reader.reader.held_bytes(), bytes);
        there
    }

    fn copied(&mut self, which: usize, got: Received, buf: &[u8]) {
        let reader = &mut self.copies[which];
        assert_eq!((got.len, got.time().is_some()), (buf.len(), self.setting.stamped));
        assert!(buf == self.model.record(got.sequence).payload, "the bytes of {}", got.sequence);
        reader.fresh = false;
        reader.next = reader.next.max(got.sequence + 1);
        reader.place = got.sequence + 1;
    }

    /// A loss is exact, and none where the licence cannot have passed the reader.
    fn lagged(&mut self, which: usize, lost: u64) {
        let reader = &mut self.copies[which];
        let passed = self.model.position_of(reader.place) + self.setting.capacity < self.most;
        let observer = matches!(reader.reader, Copier::Observer(_));
        assert!(lost > 0 && (reader.fresh || observer && passed), "{lost} are lost, and nobody was passed");
        reader.lost += lost;
        reader.next += lost;
        reader.place = reader.next;
        reader.fresh = false;
        assert_eq!((reader.reader.sequence(), reader.reader.lost()), (reader.next, reader.lost));
    }

    /// The next record or loss of a reader that copies; whether there was one.
    pub(crate) fn copy(&mut self, which: usize) -> bool {
        let (published, mut buf) = (self.model.published(), Vec::new());
        let reader = &mut self.copies[which];
        match reader.reader.receive(&mut buf) {
            Ok(got) => {
                assert_eq!(got.sequence, reader.next);
                self.copied(which, got, &buf);
            }
            Err(TryCopyError::Lagged(lost)) => self.lagged(which, lost),
            Err(TryCopyError::Empty) => {
                assert!(reader.next >= published, "{} not seen", reader.next);
                reader.place = published;
                return false;
            }
            Err(other) => panic!("{other:?}"),
        }
        true
    }

    pub(crate) fn latest(&mut self, which: usize) {
        let mut buf = Vec::new();
        let newest = self.model.newest();
        let Some(reader) = self.copies.get_mut(which) else { return };
        match (reader.reader.latest(&mut buf), newest) {
            (Ok(got), Some(newest)) => {
                assert_eq!(got.sequence, newest);
                self.copied(which, got, &buf);
            }
            (Err(TryCopyError::Empty), None) => {}
            // A claim has taken the room of the newest.
            (Err(TryCopyError::Lagged(lost)), Some(_)) if !self.is_even => self.lagged(which, lost),
            (Err(TryCopyError::Empty), Some(_)) if !self.is_even => reader.place = self.model.published(),
            (got, newest) => panic!("{got:?}, and {newest:?} is the newest"),
        }
    }
}
