//! A ring at work whose words somebody else writes, between operations and between any two loads of one: whatever it
//! says then, nobody reads past its end, panics or looks for ever, and the producer waits only for readers that are
//! there.

use annulus_core::header::encode;
use annulus_core::history::{Resume, Start};
use annulus_core::layout::{CTL_HEAD_BYTES, PRODUCER_PAGE_OFFSET, RECORDS_OFFSET_MIN, SLOT_BYTES};
use annulus_core::shape::{Align, Shape};
use annulus_core::words::NO_CURSOR;
use annulus_core::writer::{Refusal, Who, Writer};

use crate::input::Input;
use crate::meddler::{self, Change, Place};
use crate::players::{Copies, Got, InPlace};
use crate::rig::{Mapped, Ring};

const CAPACITY: u64 = 4096;
const SLOTS: u32 = 4;
const OPERATIONS: usize = 200;
const READERS: usize = 6;

thread_local! {
    static RING: Mapped = Mapped::new(CAPACITY, SLOTS);
}

/// Words of the producer's page that the algorithm reads: lease, licence, tail, published, newest, epoch, state.
const PRODUCER_WORDS: [usize; 7] = [0, 1, 16, 17, 18, 32, 33];
/// Where the anchors and their sequences are, in words of the producer's page.
const ANCHOR_WORDS: std::ops::Range<usize> = 128..192;

enum Player {
    InPlace(InPlace),
    Copies(Copies),
}

struct Table<'a> {
    ring: &'a Mapped,
    shape: Shape,
    writer: Writer,
    readers: Vec<Player>,
    retain: u64,
    /// Nobody borrows, so the producer may evict.
    copying: bool,
    /// Nothing changes during this operation but what it changes itself.
    quiet: bool,
}

/// Plays one input.
pub fn run(bytes: &[u8]) {
    RING.with(|ring| {
        ring.clear();
        meddler::forget();
        play(ring, &mut Input(bytes));
        meddler::forget();
    });
}

fn play(ring: &Mapped, input: &mut Input<'_>) {
    let options = input.byte();
    let align = if options & 1 == 0 { Align::Packed } else { Align::Line };
    let shape = Shape::new(CAPACITY, align).expect("a shape");
    let shape = if options & 2 == 0 { shape } else { shape.stamped().expect("a shape") };
    let retain = if options & 4 == 0 { 0 } else { 20 };
    let position = [0, (1 << 32) - CAPACITY, (1 << 63) - CAPACITY, 3 * CAPACITY][usize::from(options >> 6)];
    let shared = ring.shared();
    for slot in shared.slots {
        slot.vacate();
    }
    let writer = Writer::create(shape, &shared, position, position / 8, retain);
    let copying = options & 8 != 0;
    let mut table = Table { ring, shape, writer, readers: Vec::new(), retain, copying, quiet: true };
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        table.step(input);
    }
    meddler::forget();
    table.quiet = true;
    table.goes_on();
}

impl Table<'_> {
    fn step(&mut self, input: &mut Input<'_>) {
        let shared = self.ring.shared();
        let operation = input.byte();
        self.quiet = !meddler::is_planned();
        let reader = usize::from(operation >> 4) % self.readers.len().max(1);
        match (operation & 15, self.readers.get_mut(reader)) {
            (0 | 1, _) => drop(self.send(input)),
            (2, _) => self.batch(input),
            (3, _) => self.plan(input),
            (4 | 5, _) => self.change(input),
            (6, _) => self.join(input),
            (7, _) => self.take_over(),
            (8, Some(Player::Copies(reader))) => {
                check(&reader.latest(&shared, Resume::Newest), self.shape);
            }
            (9, Some(_)) => {
                self.readers.swap_remove(reader);
            }
            (10, Some(Player::InPlace(reader))) if !reader.held.is_empty() => {
                let nth = input.below(reader.held.len());
                reader.release(&shared, nth);
                let _ =
                    (reader.core.is_damaged(), reader.core.is_evicted(&shared), reader.core.ended(&shared));
            }
            (11, _) if self.copying => {
                let _ = self.writer.evict(&shared, self.writer.tail() + self.shape.need(input.len(1000)));
            }
            (12, _) => self.claim(input),
            (13, Some(Player::Copies(reader))) => {
                check(&reader.receive(&shared, Resume::Newest), self.shape);
                let _ = reader.core.ended(&shared.view());
            }
            (_, Some(Player::Copies(reader))) => check(&reader.receive(&shared, Resume::Oldest), self.shape),
            (_, Some(Player::InPlace(reader))) => {
                if let Got::Record(held) = reader.receive(&shared) {
                    assert!(self.shape.is_len(held.len), "{held:?}");
                    assert_eq!(self.ring.borrow(held).len() as u64, held.len);
                }
            }
            _ => drop(self.send(input)),
        }
    }

    /// An answer of the producer's own. It says that the ring is full only because of a cursor that counts.
    fn judge<T>(&self, answer: &Result<T, Refusal>) {
        let Err(Refusal::Full(full)) = answer else { return };
        let tail = self.writer.tail();
        // There are no groups.
        let Who::Slot(slot) = full.who else { panic!("{full:?}") };
        assert!(full.behind <= CAPACITY && slot < SLOTS, "{full:?}");
        if self.quiet && full.behind > 0 {
            let cursor = self.ring.shared().slots[slot as usize].cursor.glance();
            assert_eq!(Some(full.behind), tail.checked_sub(cursor), "{full:?} for the cursor {cursor}");
        }
    }

    fn send(&mut self, input: &mut Input<'_>) -> Result<(), Refusal> {
        let (shared, len) = (self.ring.shared(), input.len(self.shape.max_user_len()));
        let payload = vec![len as u8; len as usize];
        let answer = if self.shape.prefix() > 0 {
            self.writer.publish_stamped(&shared, 7, &payload)
        } else {
            self.writer.publish(&shared, &payload)
        };
        self.judge(&answer);
        answer
    }

    fn batch(&mut self, input: &mut Input<'_>) {
        let (shared, mut batch) = (self.ring.shared(), self.writer.batch());
        for _ in 0..input.byte() % 8 {
            let payload = vec![1; input.len(self.shape.max_user_len()) as usize];
            let answer = if self.shape.prefix() > 0 {
                self.writer.stage_stamped(&mut batch, &shared, 7, &payload)
            } else {
                self.writer.stage(&mut batch, &shared, &payload)
            };
            self.judge(&answer);
        }
        if input.byte() & 1 == 0 {
            self.writer.flush(batch, &shared);
        }
    }

    fn claim(&mut self, input: &mut Input<'_>) {
        let (shared, len) = (self.ring.shared(), input.len(self.shape.max_user_len()));
        let answer = self.writer.claim(&shared, len);
        self.judge(&answer);
        let Ok(room) = answer else { return };
        let offset = input.below(len as usize + 1) as u64;
        self.writer.fill(&room, &shared, offset, &vec![3; (len - offset) as usize]);
        if input.byte() & 1 == 0 {
            self.writer.commit(room, &shared, offset);
        }
    }

    fn join(&mut self, input: &mut Input<'_>) {
        if self.readers.len() == READERS {
            return;
        }
        let (shared, kind, n) = (self.ring.shared(), input.byte(), u64::from(input.byte()));
        let start = match kind & 7 {
            0 | 1 => Start::Newest,
            2 => Start::Oldest,
            3 => Start::Last(n),
            4 => Start::Sequence(self.writer.sequence().wrapping_sub(n)),
            5 => Start::Sequence(n),
            _ => Start::Sequence(input.word()),
        };
        // Whatever the slot says of itself: the kernel's lock decides whose it is, and these come one by one.
        let slot = usize::from(kind >> 4) % SLOTS as usize;
        let player = match kind & 8 {
            0 if !self.copying => InPlace::join(self.shape, &shared, slot, start).map(Player::InPlace),
            0 => Copies::join(self.shape, &shared, Some(slot), start).map(Player::Copies),
            _ => Copies::join(self.shape, &shared, None, start).map(Player::Copies),
        };
        // Whoever had that slot has left.
        if kind & 8 == 0 {
            self.readers.retain(|reader| match reader {
                Player::InPlace(reader) => reader.slot != slot,
                Player::Copies(reader) => reader.slot != Some(slot),
            });
        }
        self.readers.extend(player);
    }

    fn take_over(&mut self) {
        if let Ok(writer) = Writer::take_over(self.shape, &self.ring.shared(), self.retain) {
            assert!(writer.tail().is_multiple_of(self.shape.align().bytes()));
            self.writer = writer;
        }
    }

    fn value(&self, input: &mut Input<'_>) -> u64 {
        let (tail, sequence) = (self.writer.tail(), self.writer.sequence());
        let near = |input: &mut Input<'_>| i64::from(input.byte().cast_signed());
        match input.byte() % 9 {
            0 => input.word(),
            1 => tail.wrapping_add_signed(8 * near(input)),
            2 => tail.wrapping_add_signed(CAPACITY.cast_signed() * near(input) / 4),
            3 => encode(sequence.wrapping_add_signed(near(input)), u64::from(input.short())),
            4 => encode(sequence.wrapping_add_signed(near(input) / 16), u64::from(input.byte())),
            5 => u64::MAX - 8 * u64::from(input.byte()),
            6 => (CAPACITY * u64::from(1 + input.byte() % 8)).wrapping_neg(),
            7 => u64::from(input.byte()),
            _ => sequence.wrapping_add_signed(near(input)),
        }
    }

    fn place(&self, input: &mut Input<'_>) -> Place {
        let page = PRODUCER_PAGE_OFFSET / 8;
        let records = RECORDS_OFFSET_MIN as usize / 8;
        let words = CAPACITY as usize / 8;
        match input.byte() % 8 {
            0 => Place::Loaded,
            1 | 2 => Place::Data(page + PRODUCER_WORDS[input.below(PRODUCER_WORDS.len())]),
            3 => Place::Data(page + ANCHOR_WORDS.start + input.below(ANCHOR_WORDS.len())),
            4 => {
                let near = usize::from(input.byte());
                Place::Data(records + ((self.writer.tail() / 8) as usize + words - near / 2) % words)
            }
            5 => Place::Data(records + input.below(words)),
            6 => Place::Ctl((CTL_HEAD_BYTES + input.below(SLOTS as usize) * SLOT_BYTES) / 8),
            _ => Place::Ctl(input.below(self.ring.ctl().len())),
        }
    }

    /// Changes a word now.
    fn change(&self, input: &mut Input<'_>) {
        let (place, value) = (self.place(input), self.value(input));
        make(&Change { after: 0, place, value }, 0);
    }

    /// Changes words while the next operations run.
    fn plan(&self, input: &mut Input<'_>) {
        let changes = (0..1 + input.byte() % 4)
            .map(|_| Change {
                after: u32::from(input.byte()),
                place: self.place(input),
                value: self.value(input),
            })
            .collect();
        meddler::plan(changes, make);
    }

    /// A producer that nobody is in the way of has room, whatever was written anywhere; one whom cursors from the
    /// future seem to hold is not held.
    fn goes_on(&mut self) {
        for _ in 0..4 {
            let tail = self.writer.tail();
            for (i, slot) in self.ring.shared().slots.iter().enumerate() {
                slot.cursor.preset([NO_CURSOR, tail + 1, tail + 2 * CAPACITY, NO_CURSOR - 1][i % 4]);
            }
            assert_eq!(self.send(&mut Input(&[200])), Ok(()), "blocked for ever");
        }
    }
}

/// What was received is a record of this ring's.
fn check<R>(got: &Got<(R, Vec<u8>)>, shape: Shape) {
    if let Got::Record((_, payload)) = got {
        assert!(payload.len() as u64 <= shape.max_user_len(), "{} bytes", payload.len());
    }
}

fn make(change: &Change, loaded: usize) {
    RING.with(|ring| {
        let words = match change.place {
            Place::Data(_) => ring.data(),
            Place::Ctl(_) => ring.ctl(),
            Place::Loaded if ring.data().as_ptr_range().contains(&std::ptr::without_provenance(loaded)) => {
                ring.data()
            }
            Place::Loaded => ring.ctl(),
        };
        let nth = match change.place {
            Place::Data(nth) | Place::Ctl(nth) => nth,
            Place::Loaded => loaded.wrapping_sub(words.as_ptr().addr()) / 8,
        };
        if let Some(word) = words.get(nth) {
            word.preset(change.value);
        }
    });
}
