//! Readers as a program has them, over annulus-core: what the crate `annulus` does around each look, without its waits.
//! The fuzz targets play with these, too.

use std::cell::Cell;

use annulus_core::history::{Resume, Start};
use annulus_core::layout::{Slot, SlotKind};
use annulus_core::memory::{Memory, Shared};
use annulus_core::observer::{Observer, Sight, Taken};
use annulus_core::reader::{Held, JoinFailed, Look, Passed, Pins, Reader};
use annulus_core::shape::Shape;

/// What a try to receive came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got<R> {
    Record(R),
    Nothing,
    /// So many records are gone.
    Lagged(u64),
    /// Words that no producer writes.
    Damaged,
}

/// A subscriber that reads in place.
#[derive(Debug)]
pub(crate) struct InPlace {
    pub(crate) core: Reader,
    pub(crate) slot: usize,
    /// Records that it holds, in the order of their sequence.
    pub(crate) held: Vec<Held>,
    bits: Vec<Cell<u64>>,
    count: Cell<u64>,
}

impl InPlace {
    pub(crate) fn join<M: Memory>(
        shape: Shape,
        shared: &Shared<'_, M>,
        slot: usize,
        start: Start,
    ) -> Result<InPlace, JoinFailed> {
        let place = &shared.slots[slot];
        place.vacate();
        place.occupy(SlotKind::InPlace, 1, 0, 1);
        let core = Reader::join(shape, shared, place, start).inspect_err(|_| place.vacate())?;
        place.settle();
        let bits = (0..Pins::words(&shape)).map(|_| Cell::new(0)).collect();
        Ok(InPlace { core, slot, held: Vec::new(), bits, count: Cell::new(0) })
    }

    /// Takes the next record, and holds it.
    pub(crate) fn receive<M: Memory>(&mut self, shared: &Shared<'_, M>) -> Got<Held> {
        loop {
            match self.core.look(shared) {
                Look::Record(held) => {
                    self.held.push(held);
                    return Got::Record(held);
                }
                Look::Empty => return Got::Nothing,
                Look::Lost => match self.core.pass_over(shared, &shared.slots[self.slot]) {
                    Passed::All => {}
                    Passed::Some => return Got::Nothing,
                    Passed::Lost | Passed::Nothing => return Got::Damaged,
                },
            }
        }
    }

    /// Gives one of the held records back; the step that the cursor made.
    pub(crate) fn release<M: Memory>(&mut self, shared: &Shared<'_, M>, nth: usize) -> Option<(u64, u64)> {
        let held = self.held.remove(nth);
        let pins = Pins::new(&self.bits, &self.count);
        self.core.release(shared, &shared.slots[self.slot], pins, held)
    }
}

/// An observer, or a copying subscriber: one with a slot.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) core: Observer,
    pub(crate) slot: Option<usize>,
}

impl Copies {
    pub(crate) fn join<M: Memory>(
        shape: Shape,
        shared: &Shared<'_, M>,
        slot: Option<usize>,
        start: Start,
    ) -> Result<Copies, JoinFailed> {
        let core = match slot {
            None => Observer::start(shape, &shared.view(), start).map_err(|e| JoinFailed::Damaged(e.0))?,
            Some(slot) => {
                let place = &shared.slots[slot];
                place.vacate();
                place.occupy(SlotKind::Copying, 1, 0, 1);
                let core = Observer::join(shape, shared, place, start).inspect_err(|_| place.vacate())?;
                place.settle();
                core
            }
        };
        Ok(Copies { core, slot })
    }

    fn place<'a, M: Copy>(&self, shared: &Shared<'a, M>) -> Option<&'a Slot> {
        self.slot.map(|slot| &shared.slots[slot])
    }

    /// Takes the next record, or finds a place again where it was lapped.
    pub(crate) fn receive<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        resume: Resume,
    ) -> Got<(Taken, Vec<u8>)> {
        let sight = self.core.look(&shared.view());
        self.follow(shared, sight, resume)
    }

    /// Takes the newest record.
    pub(crate) fn latest<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        resume: Resume,
    ) -> Got<(Taken, Vec<u8>)> {
        let sight = self.core.newest(&shared.view());
        self.follow(shared, sight, resume)
    }

    fn follow<M: Memory>(
        &mut self,
        shared: &Shared<'_, M>,
        sight: Sight,
        resume: Resume,
    ) -> Got<(Taken, Vec<u8>)> {
        match sight {
            Sight::Record(seen) => {
                let mut payload = vec![0xa5; seen.len()];
                if let Ok(taken) = self.core.take(&shared.view(), seen, &mut payload) {
                    if let Some(place) = self.place(shared) {
                        self.core.hold(place);
                    }
                    return Got::Record((taken, payload));
                }
                self.find_again(shared, resume)
            }
            Sight::Empty => {
                // It may have passed over records before the first that is wanted.
                if let Some(place) = self.place(shared) {
                    self.core.hold(place);
                }
                Got::Nothing
            }
            Sight::Lapped => self.find_again(shared, resume),
            Sight::Damaged => Got::Damaged,
        }
    }

    fn find_again<M: Memory>(&mut self, shared: &Shared<'_, M>, resume: Resume) -> Got<(Taken, Vec<u8>)> {
        let lost = match self.place(shared) {
            None => self.core.resume(&shared.view(), resume),
            Some(place) => self.core.rejoin(shared, place, resume),
        };
        lost.map_or(Got::Damaged, Got::Lagged)
    }
}
