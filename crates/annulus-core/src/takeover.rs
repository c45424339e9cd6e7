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
        // Room for part of the zero behind the last record is what nobody grants; none at all is a ring without a record.
        if (1..HEADER_BYTES).contains(&(licence - start)) {
            return Err(Damaged("licence"));
        }
        // The words may be behind the records: the header is stored first, then `published`, then `tail`. A ring that
        // has no record yet may have no licence either, so the header is looked at before that.
        let (mut tail, mut sequence, mut newest) = (start, published, None);
        let mut first = published;
        loop {
            let header = shared.records.word(tail).look();
            if header == 0 {
                break;
            }
            let (found, len) = decode(header, sequence).ok_or(Damaged("header"))?;
            if newest.is_none() {
                first = found;
            } else if found != sequence {
                return Err(Damaged("header"));
            }
            if !shape.is_len(len) {
                return Err(Damaged("header"));
            }
            let need = shape.need(len);
            if licence - tail < need + HEADER_BYTES {
                return Err(Damaged("record past the licence"));
            }
            newest = Some(tail);
            tail += need;
            sequence = found.wrapping_add(1);
        }
        // One store makes a record visible, or a batch, and `published` follows before the next: it is in front of all
        // that is found here, or behind all.
        if published != first && published != sequence {
            return Err(Damaged("published"));
        }
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

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::header::encode;
    use crate::history::tests::{Ring, beginnings};
    use crate::layout::ProducerPage;
    use crate::shape::{Align, STAMP_BYTES};
    use crate::words::NOWHERE;

    /// A ring whose producer died between the header that made two records visible at once and the words behind it.
    fn interrupted([position, sequence]: [u64; 2]) -> Ring {
        let mut ring = Ring::new(1024, 0);
        let mut writer = Writer::create(ring.shape, &ring.shared(), position, sequence, 0);
        for _ in 0..3 {
            ring.publish(&mut writer, 8).unwrap();
        }
        let words = |page: &ProducerPage| [page.published.glance(), page.newest.glance(), page.tail.glance()];
        let [published, newest, tail] = words(&ring.page);
        let mut batch = writer.batch();
        writer.stage(&mut batch, &ring.shared(), &[1; 8]).unwrap();
        writer.stage(&mut batch, &ring.shared(), &[2; 8]).unwrap();
        writer.flush(batch, &ring.shared());
        ring.page.published.preset(published);
        ring.page.newest.preset(newest);
        ring.page.tail.preset(tail);
        ring
    }

    fn take_over(ring: &Ring) -> Result<Writer, Damaged> {
        Writer::take_over(ring.shape, &ring.shared(), 0)
    }

    #[test]
    fn goes_on_behind_what_is_visible() {
        for begin in beginnings(1024) {
            let ring = interrupted(begin);
            // All that its words may say: granted is a whole lap, or what the header behind the last record needs.
            let [tail, end] = [begin[0] + 48, begin[0] + 80];
            for (published, licence, lease) in [
                (begin[1] + 3, end + 8, end + 8),
                (begin[1] + 5, tail + 1024, tail + 1024),
                (begin[1] + 3, end + 8, end + 1024),
            ] {
                ring.page.tail.preset(tail);
                ring.page.published.preset(published);
                ring.page.licence.preset(licence);
                ring.page.lease.preset(lease);
                let writer = take_over(&ring).unwrap();
                assert_eq!((writer.sequence(), writer.tail()), (begin[1] + 5, end));
                let page = &ring.page;
                assert_eq!((page.published.glance(), page.tail.glance()), (begin[1] + 5, end));
                assert_eq!(page.newest.glance(), end - 16);
                assert_eq!((page.licence.glance(), page.lease.glance()), (licence, lease));
            }
        }
    }

    #[test]
    fn a_ring_without_a_record_is_taken_over_as_it_is() {
        for begin in beginnings(1024) {
            let ring = Ring::new(1024, 0);
            Writer::create(ring.shape, &ring.shared(), begin[0], begin[1], 0);
            let writer = take_over(&ring).unwrap();
            assert_eq!([writer.tail(), writer.sequence()], begin);
            assert_eq!(ring.page.newest.glance(), NOWHERE);
        }
    }

    /// What is blamed, and what somebody has stored in the ring of [`interrupted`] that begins at 0 with sequence 0, whose
    /// tail is at 48 and whose last records are 3 and 4.
    type Damage = (&'static str, fn(&Ring));

    #[test]
    fn words_that_contradict_each_other_are_damage() {
        fn put(ring: &Ring, position: u64, header: u64) {
            ring.shared().records.word(position).prepare(header);
        }
        let all: [Damage; 20] = [
            ("tail", |ring| ring.page.tail.preset(44)),
            ("tail", |ring| {
                // Sums with the capacity would overflow.
                ring.page.tail.preset(u64::MAX - 1023);
                ring.page.licence.preset(u64::MAX - 1023);
                ring.page.lease.preset(u64::MAX - 1023);
            }),
            ("licence", |ring| ring.page.licence.preset(40)),
            ("licence", |ring| ring.page.licence.preset(48 + 1024 + 8)),
            ("licence", |ring| ring.page.licence.preset(u64::MAX)),
            ("licence", |ring| ring.page.licence.preset(48 + 1)),
            ("licence", |ring| ring.page.licence.preset(48 + 7)),
            // A record to which nothing was granted, or not enough for itself, or not for the header behind it.
            ("record past the licence", |ring| ring.page.licence.preset(48)),
            ("record past the licence", |ring| ring.page.licence.preset(48 + 8)),
            ("record past the licence", |ring| ring.page.licence.preset(80)),
            ("record past the licence", |ring| put(ring, 64, encode(4, 1000))),
            ("header", |ring| put(ring, 48, 1)),
            ("header", |ring| put(ring, 80, 1)),
            ("header", |ring| put(ring, 64, encode(3, 8))),
            ("header", |ring| put(ring, 64, encode(5, 8))),
            ("header", |ring| put(ring, 64, encode(4, 1024))),
            ("published", |ring| ring.page.published.preset(2)),
            ("published", |ring| ring.page.published.preset(4)),
            ("published", |ring| ring.page.published.preset(6)),
            ("lease", |ring| ring.page.lease.preset(ring.page.licence.glance() - 8)),
        ];
        for (i, (what, damage)) in all.into_iter().enumerate() {
            let ring = interrupted([0, 0]);
            damage(&ring);
            assert_eq!(take_over(&ring).err(), Some(Damaged(what)), "{i}");
        }
        // Further ahead than anybody could ask for.
        let ring = interrupted([0, 0]);
        ring.page.lease.preset(80 + 1024 + 8);
        assert_eq!(take_over(&ring).err(), Some(Damaged("lease")));
    }

    /// Nobody publishes a record without its stamp on a ring that has them.
    #[test]
    fn a_record_too_short_for_its_stamp_is_damage() {
        let shape = Shape::new(1024, Align::Packed).and_then(Shape::stamped).unwrap();
        for (len, damaged) in [(STAMP_BYTES, None), (STAMP_BYTES - 1, Some(Damaged("header")))] {
            let ring = Ring::shaped(shape, 0);
            let mut writer = Writer::create(shape, &ring.shared(), 0, 0, 0);
            writer.publish_stamped(&ring.shared(), 7, &[]).unwrap();
            ring.page.tail.preset(0);
            ring.page.published.preset(0);
            ring.shared().records.word(0).prepare(encode(0, len));
            assert_eq!(take_over(&ring).err(), damaged);
        }
    }
}
