//! An in-place subscriber in a slot of its own, which knows what record is due.

use super::{Arc, PinBits, Ring};
use annulus_core::history::Start;
use annulus_core::reader::{Held, Look, PAYLOAD_OFFSET, Reader};

/// Payload of the record with a sequence: never 0 and never a header.
pub fn value(sequence: u64) -> [u8; 8] {
    (1000 + sequence).to_le_bytes()
}

pub struct Subscriber {
    ring: Arc<Ring>,
    slot: usize,
    pub reader: Reader,
    pins: PinBits,
    /// The sequence that is due.
    pub next: u64,
}

impl Subscriber {
    pub fn join(ring: &Arc<Ring>, slot: usize, start: Start) -> Subscriber {
        let shared = ring.shared();
        let reader = Reader::join(ring.shape, &shared, &shared.slots[slot], start).unwrap();
        let next = reader.sequence();
        Subscriber { ring: ring.clone(), slot, reader, pins: PinBits::new(&ring.shape), next }
    }

    /// Takes the next record and holds it; `None`: there is none yet.
    pub fn look(&mut self) -> Option<Held> {
        match self.reader.look(&self.ring.shared()) {
            Look::Record(held) => {
                assert_eq!(held.sequence, self.next);
                self.next += 1;
                Some(held)
            }
            Look::Empty => None,
            Look::Lost => panic!("a subscriber lost its place"),
        }
    }

    /// The payload of a record that is held.
    pub fn read(&self, held: Held) -> Vec<u8> {
        let mut bytes = vec![0; held.len as usize];
        self.ring.shared().records.read(held.position + PAYLOAD_OFFSET, &mut bytes);
        bytes
    }

    /// Gives a record back; the step that the cursor makes.
    pub fn release(&self, held: Held) -> Option<(u64, u64)> {
        let shared = self.ring.shared();
        self.reader.release(&shared, &shared.slots[self.slot], self.pins.pins(), held)
    }

    /// Takes the next record, reads it and gives it back.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        let held = self.look()?;
        let bytes = self.read(held);
        self.release(held).unwrap();
        Some(bytes)
    }

    /// The same for a record of its [`value`]. Whether there was one.
    pub fn consume(&mut self) -> bool {
        let due = self.next;
        self.next().is_some_and(|bytes| {
            assert_eq!(bytes, value(due));
            true
        })
    }

    /// Consumes all that is there, up to a sequence.
    pub fn drain(&mut self, end: u64) {
        while self.consume() {}
        assert_eq!(self.next, end, "a record was missed");
    }

    pub fn leave(self) {
        self.ring.shared().slots[self.slot].vacate();
    }
}
