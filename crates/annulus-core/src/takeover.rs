//! Becoming the producer of a ring whose producer is gone, at whatever instruction that was.

use crate::header::{HEADER_BYTES, decode};
use crate::history::{Damaged, Retained, Spot, Wish, find, is_boundary};
use crate::memory::{Memory, Shared};
use crate::shape::Shape;
use crate::writer::Writer;

impl Writer {
    /// Goes on where a producer that is gone has stopped, at whatever instruction that was. The caller holds
    /// the ring's `owner` lock.
    ///
    /// # Errors
    ///
    /// If the words contradict each other: somebody else than a producer has written them.
    pub fn take_over<M: Memory>(
        shape: Shape,
        shared: &Shared<'_, M>,
        retain: u64,
    ) -> Result<Writer, Damaged> {
        let page = shared.producer;
        let start = page.tail.look();
        let published = page.published.look();
        let licence = page.licence.glance();
        let capacity = shape.capacity();
        if !is_boundary(&shape, start) {
            return Err(Damaged("tail"));
        }
        if licence < start || licence - start > capacity {
            return Err(Damaged("licence"));
        }
        // The words may be behind the records: the header is stored first, then `published`, then `tail`. A ring that
        // has no record yet may have no licence either, so the header is looked at before that.
        let (mut tail, mut last, mut newest) = (start, None, None);
        loop {
            let header = shared.records.word(tail).look();
            if header == 0 {
                break;
            }
            let near = last.map_or(published, |sequence: u64| sequence.wrapping_add(1));
            let (sequence, len) = decode(header, near).ok_or(Damaged("header"))?;
            if last.is_some() && sequence != near || !shape.is_len(len) {
                return Err(Damaged("header"));
            }
            let need = shape.need(len);
            if licence - tail < need + HEADER_BYTES {
                return Err(Damaged("record past the licence"));
            }
            newest = Some(tail);
            tail += need;
            last = Some(sequence);
        }
        let sequence = last.map_or(published, |sequence| sequence.wrapping_add(1));
        let lease = page.lease.glance();
        if lease < licence || lease - tail > capacity {
            return Err(Damaged("lease"));
        }
        page.published.publish(sequence);
        if let Some(newest) = newest {
            page.newest.publish(newest);
        }
        page.tail.publish(tail);
        // Announced by a producer that may have died before its fence: announced again, with ours.
        page.lease.announce(lease);
        let tail = Spot { position: tail, sequence };
        let oldest = find(&shape, &shared.view(), Wish::Oldest, 0).unwrap_or(tail);
        Ok(Writer::at(shape, shared, tail, [licence, lease], Retained::new(retain, oldest)))
    }
}
