//! The producer asks for room while subscribers join: lease and licence.
//!
//! Shows: once a join has returned, no later record is missed, and no record that the subscriber may read is
//! overwritten. Cannot show: a joiner that is stopped for longer than the bounded number of its tries.

mod common;

use annulus_core::reader::{Look, PAYLOAD_OFFSET, Reader};
use annulus_core::writer::Writer;
use common::{Arc, PinBits, Ring, model, relax, thread};

/// Payload of the record with a sequence: never 0 and never a header.
fn value(sequence: u64) -> u64 {
    1000 + sequence
}

fn join_while_publishing(start: u64, records: u64, joiners: usize) {
    let ring = Arc::new(Ring::new(joiners));
    let mut writer = Writer::create(ring.shape, &ring.shared(), start, start);
    // One lap without readers, so that the place of a joiner holds leftovers and the licence is ahead.
    writer.publish(&ring.shared(), &value(start).to_le_bytes()).unwrap();
    let end = start + records;
    let readers: Vec<_> = (0..joiners)
        .map(|i| {
            let ring = ring.clone();
            thread::spawn(move || {
                let shared = ring.shared();
                let slot = &shared.slots[i];
                let reader = Reader::join(ring.shape, &shared, slot).unwrap();
                let pins = PinBits::new(&ring.shape);
                while reader.sequence() < end {
                    let sequence = reader.sequence();
                    match reader.look(&shared) {
                        Look::Record(held) => {
                            let mut bytes = [0; 8];
                            shared.records.read(held.position + PAYLOAD_OFFSET, &mut bytes);
                            assert_eq!(u64::from_le_bytes(bytes), value(sequence));
                            reader.release(&shared, slot, &pins.pins(), held).unwrap();
                        }
                        Look::Empty => relax(),
                        Look::Lost => panic!("a subscriber that had joined lost its place"),
                    }
                }
                slot.vacate();
            })
        })
        .collect();
    for i in 1..records {
        while writer.publish(&ring.shared(), &value(start + i).to_le_bytes()).is_err() {
            relax();
        }
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn a_joiner_misses_nothing_after_it_has_joined() {
    model(|| join_while_publishing(0, 4, 1));
}

#[test]
fn positions_and_sequences_near_the_32_bit_wrap() {
    model(|| join_while_publishing((1 << 32) - 32, 3, 1));
}

/// Three threads that wait for each other are more than loom explores: stress only.
#[cfg(not(loom))]
#[test]
fn two_joiners() {
    model(|| join_while_publishing(0, 5, 2));
}
