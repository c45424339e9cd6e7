//! The floor's kinds as halves.

use memmap2::MmapRaw;

use super::{Half, stamp, stamped};
use crate::Result;
use crate::floor::{BODY, OneSlot, Slots, TwoLine};

pub(super) struct Word<'a, const PAUSES: u32>(TwoLine<'a, PAUSES>);

pub(super) fn two_line<const PAUSES: u32>(map: &MmapRaw, client: bool) -> Word<'_, PAUSES> {
    Word(TwoLine::new(map, client))
}

impl<const PAUSES: u32> Half for Word<'_, PAUSES> {
    #[inline(always)]
    fn send(&mut self, seq: u64, _: &mut [u8]) -> Result<()> {
        self.0.send(seq);
        Ok(())
    }

    #[inline(always)]
    fn recv(&mut self, _: &mut [u8]) -> Result<u64> {
        Ok(self.0.recv(false))
    }
}

pub(super) struct Slot<'a, const PAUSES: u32>(OneSlot<'a, PAUSES>);

pub(super) fn one_slot<const PAUSES: u32>(
    map: &MmapRaw,
    client: bool,
    spot: usize,
    size: usize,
) -> Slot<'_, PAUSES> {
    Slot(OneSlot::new(map, client, spot, size))
}

impl<const PAUSES: u32> Half for Slot<'_, PAUSES> {
    #[inline(always)]
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        stamp(seq, body);
        self.0.put(body);
        self.0.0.send(seq);
        Ok(())
    }

    #[inline(always)]
    fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        self.0.0.recv(false);
        self.0.take(body);
        Ok(stamped(body))
    }
}

/// All of the mapping behind the floor's lines is the buffer.
pub(super) fn slots<const PAUSES: u32>(map: &MmapRaw, client: bool, size: usize) -> Slots<PAUSES> {
    Slots::new(map, client, size, map.len() - BODY)
}

impl<const PAUSES: u32> Half for Slots<PAUSES> {
    #[inline(always)]
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        stamp(seq, body);
        Slots::send(self, body);
        Ok(())
    }

    #[inline(always)]
    fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        Slots::recv(self, body);
        Ok(stamped(body))
    }
}

/// The raw futex, and the message in one slot, copied in and out.
pub(super) struct Wake<'a>(OneSlot<'a, 0>);

pub(super) fn futex(map: &MmapRaw, client: bool, spot: usize, size: usize) -> Wake<'_> {
    Wake(OneSlot::new(map, client, spot, size))
}

impl Half for Wake<'_> {
    #[inline(always)]
    fn send(&mut self, seq: u64, body: &mut [u8]) -> Result<()> {
        stamp(seq, body);
        self.0.put(body);
        self.0.0.send_wake(seq);
        Ok(())
    }

    #[inline(always)]
    fn recv(&mut self, body: &mut [u8]) -> Result<u64> {
        self.0.0.recv(true);
        self.0.take(body);
        Ok(stamped(body))
    }
}
