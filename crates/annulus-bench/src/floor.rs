//! The physical floor: the least that two processes can do on these CPUs and under this kernel. It uses
//! nothing of annulus, so no fault elsewhere can move it. Every kind has two ends over one mapping; the
//! client's is made first, and waits for the server's.
#![allow(unsafe_code)]

use crossbeam_utils::CachePadded;
use memmap2::MmapRaw;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::{hint::spin_loop, ptr::copy_nonoverlapping as copy};

pub(crate) const BODY: usize = 4096; // bytes at the front of the mapping for the lines; then payload

/// A line for each direction, which its writer alone writes; first the client's. Where a line is decides how
/// long it takes, by up to a third, so there are several pairs and each has its turn.
type Lines = [[CachePadded<AtomicU64>; 2]; 16];
const TURN: usize = 64; // messages

fn body(map: &MmapRaw, at: usize, len: usize) -> *mut u8 {
    assert!(BODY + at + len <= map.len());
    map.as_mut_ptr().wrapping_add(BODY + at)
}

#[inline(always)]
fn spin<const PAUSES: u32>(word: &AtomicU64, done: impl Fn(u64) -> bool) -> u64 {
    loop {
        match word.load(Acquire) {
            value if done(value) => return value,
            _ => (0..PAUSES).for_each(|_| spin_loop()),
        }
    }
}

/// Raw two-line ping-pong: the message is the word on the line, and larger than the one before.
pub(crate) struct TwoLine<'a, const PAUSES: u32>(&'a Lines, usize, usize, (usize, u64)); // me, sent, got
impl<'a, const PAUSES: u32> TwoLine<'a, PAUSES> {
    pub(crate) fn new(map: &'a MmapRaw, client: bool) -> Self {
        // SAFETY: page-aligned, longer than a page, mapped as long as the borrow; atomics take any bits.
        let lines: &Lines = unsafe { &*map.as_ptr().cast() };
        lines.iter().flatten().filter(|_| client).for_each(|line| line.store(0, Release));
        Self(lines, usize::from(!client), 0, (0, 0))
    }
    #[inline(always)]
    pub(crate) fn send(&mut self, value: u64) -> &'a AtomicU64 {
        let line = &self.0[self.2 / TURN % 16][self.1];
        self.2 += 1;
        line.store(value, Release);
        line
    }
    #[inline(always)]
    pub(crate) fn recv(&mut self, asleep: bool) -> u64 {
        let (count, last) = self.3;
        let line = &self.0[count / TURN % 16][1 - self.1];
        let (word, mut now) = (&raw const **line, line.load(Acquire));
        while asleep && now <= last {
            // SAFETY: the kernel reads the first half of the word, which is its low one; no timeout.
            unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, now as u32, 0usize) };
            now = line.load(Acquire);
        }
        self.3 = (count + 1, spin::<PAUSES>(line, |v| v > last));
        self.3.1
    }
    /// Raw futex: the same, and a wake.
    pub(crate) fn send_wake(&mut self, value: u64) {
        // SAFETY: the kernel takes the address as a key only.
        unsafe { libc::syscall(libc::SYS_futex, self.send(value), libc::FUTEX_WAKE, 1) };
    }
}

/// One slot a direction, plain copy in (then the flag) and out of it, and two-line ping-pong for its flags.
pub(crate) struct OneSlot<'a, const PAUSES: u32>(pub(crate) TwoLine<'a, PAUSES>, [*mut u8; 2]);
impl<'a, const PAUSES: u32> OneSlot<'a, PAUSES> {
    pub(crate) fn new(map: &'a MmapRaw, client: bool, spot: usize, size: usize) -> Self {
        let stride = size.next_multiple_of(128);
        let first = spot % ((map.len() - BODY) / stride / 2) * 2 * stride;
        let [a, b] = [first, first + stride].map(|at| body(map, at, size));
        Self(TwoLine::new(map, client), if client { [a, b] } else { [b, a] })
    }
    pub(crate) fn put(&mut self, msg: &[u8]) {
        // SAFETY: the slot is `msg.len()` bytes of the mapping, and its reader has answered: it is ours.
        unsafe { copy(msg.as_ptr(), self.1[0], msg.len()) };
    }
    pub(crate) fn take(&mut self, to: &mut [u8]) {
        // SAFETY: as in `put`, once the flag has come: its writer is done.
        unsafe { copy(self.1[1], to.as_mut_ptr(), to.len()) };
    }
}

/// One-way stream: `len` bytes of fixed slots, each a flag (1: full) and the payload beside it.
pub(crate) struct Slots<const PAUSES: u32>(*mut u8, usize, usize, usize); // base, stride, end, next slot
impl<const PAUSES: u32> Slots<PAUSES> {
    pub(crate) fn new(map: &MmapRaw, client: bool, size: usize, len: usize) -> Self {
        let stride = (size + 8).next_multiple_of(32);
        let end = len / stride * stride;
        if client {
            // SAFETY: `body` checks the range; the server is not at it yet.
            unsafe { body(map, 0, end).write_bytes(0, end) };
        }
        Self(body(map, 0, end), stride, end, 0)
    }
    #[inline(always)]
    pub(crate) fn pass(&mut self, full: u64, copy: impl FnOnce(*mut u8)) {
        let place = self.0.wrapping_add(self.3);
        self.3 = if self.3 + self.1 == self.2 { 0 } else { self.3 + self.1 };
        // SAFETY: inside the mapping and aligned, as base and stride are; atomics take any bits.
        let flag = unsafe { &*place.cast::<AtomicU64>() };
        spin::<PAUSES>(flag, |v| v == full);
        copy(place.wrapping_add(8));
        flag.store(1 - full, Release);
    }
    #[inline(always)]
    pub(crate) fn send(&mut self, msg: &[u8]) {
        // SAFETY: an empty slot is the sender's, and a stride holds the message.
        self.pass(0, |slot| unsafe { copy(msg.as_ptr(), slot, msg.len()) });
    }
    #[inline(always)]
    pub(crate) fn recv(&mut self, to: &mut [u8]) {
        // SAFETY: a full slot is the receiver's, and a stride holds the message.
        self.pass(1, |slot| unsafe { copy(slot, to.as_mut_ptr(), to.len()) });
    }
}
