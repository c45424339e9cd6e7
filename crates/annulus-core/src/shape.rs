//! The geometry of a ring: what is derived from capacity and alignment, checked once.

use core::fmt;

use crate::header::{HEADER_BYTES, LENGTH_MAX};

/// Where records begin: on every line, or on every word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Align {
    /// 64 bytes. A record of up to 56 bytes is one cache line and shares it with no other.
    Line,
    /// 8 bytes. Many tiny records share a line: the most records a byte of memory.
    Packed,
}

impl Align {
    /// Bytes between possible record beginnings.
    pub const fn bytes(self) -> u64 {
        match self {
            Align::Line => 64,
            Align::Packed => 8,
        }
    }

    /// The alignment of so many bytes, if it is one.
    pub const fn from_bytes(bytes: u64) -> Option<Align> {
        match bytes {
            64 => Some(Align::Line),
            8 => Some(Align::Packed),
            _ => None,
        }
    }
}

impl fmt::Display for Align {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Align::Line => "line",
            Align::Packed => "packed",
        })
    }
}

/// Smallest capacity that the algorithm works with: one packed record of a word or two, and the zero behind
/// it. A mapping asks for a page at least.
pub const CAPACITY_MIN: u64 = 32;
/// Largest capacity, 2^40 bytes: above it no machine of today has the memory, and sums of a position
/// and a capacity stay far from overflow.
pub const CAPACITY_MAX: u64 = 1 << 40;
/// Parts of the ring: the licence is asked for in sixteenths.
#[cfg(not(loom))]
pub const CHUNKS: u64 = 16;
/// Halves under loom, so that one asking covers several records of a ring that is small enough to explore.
#[cfg(loom)]
pub const CHUNKS: u64 = 2;

/// Capacity, alignment, and what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    capacity: u64,
    /// Bytes of alignment, less one.
    align_mask: u64,
    max_len: u64,
    /// Bytes of each payload that are the ring's own, before the user's: a stamp, or none.
    prefix: u64,
}

/// Bytes of a record's time of publication, on rings that are stamped.
pub const STAMP_BYTES: u64 = 8;

impl Shape {
    /// The shape of a ring of `capacity` bytes, a power of two from [`CAPACITY_MIN`] to [`CAPACITY_MAX`].
    /// That it is a multiple of the page size is the mapping's concern.
    pub const fn new(capacity: u64, align: Align) -> Option<Shape> {
        if !capacity.is_power_of_two() || capacity < CAPACITY_MIN || capacity > CAPACITY_MAX {
            return None;
        }
        // The largest record leaves room for the zero header behind it.
        let Some(room) = capacity.checked_sub(align.bytes() + HEADER_BYTES) else {
            return None;
        };
        let max_len = if room < LENGTH_MAX { room } else { LENGTH_MAX };
        Some(Shape { capacity, align_mask: align.bytes() - 1, max_len, prefix: 0 })
    }

    /// The same ring, each record of which begins with its time of publication. `None`: too small for that.
    pub const fn stamped(mut self) -> Option<Shape> {
        if self.max_len < STAMP_BYTES {
            return None;
        }
        self.prefix = STAMP_BYTES;
        Some(self)
    }

    /// Bytes of each payload before the user's own: 0, or [`STAMP_BYTES`].
    #[inline]
    pub const fn prefix(&self) -> u64 {
        self.prefix
    }

    /// Bytes of record space.
    #[inline]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Where records begin.
    #[inline]
    pub const fn align(&self) -> Align {
        if self.align_mask == Align::Line.bytes() - 1 { Align::Line } else { Align::Packed }
    }

    /// Longest payload, in bytes, with the prefix.
    #[inline]
    pub const fn max_len(&self) -> u64 {
        self.max_len
    }

    /// Longest payload of the user's own, in bytes.
    #[inline]
    pub const fn max_user_len(&self) -> u64 {
        self.max_len - self.prefix
    }

    /// Whether a payload of a ring of this shape can have this length, the prefix included.
    #[inline]
    pub const fn is_len(&self, len: u64) -> bool {
        len >= self.prefix && len <= self.max_len
    }

    /// Bytes in a sixteenth of the ring, the unit of asking for room.
    #[inline]
    pub const fn chunk(&self) -> u64 {
        self.capacity / CHUNKS
    }

    /// Bytes that a record of `len` payload bytes takes, header and padding included.
    #[inline]
    pub const fn need(&self, len: u64) -> u64 {
        (HEADER_BYTES + len + self.align_mask) & !self.align_mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_in_range() {
        for bad in [0, 1, 16, 129, 4097, CAPACITY_MAX + 1, 1 << 41, 1 << 60, u64::MAX] {
            assert_eq!(Shape::new(bad, Align::Line), None, "{bad}");
        }
        assert!(Shape::new(CAPACITY_MIN, Align::Packed).is_some());
        assert_eq!(Shape::new(64, Align::Line), None, "no room for the zero behind a record");
        assert!(Shape::new(CAPACITY_MAX, Align::Packed).is_some());
    }

    #[test]
    fn the_largest_record_leaves_room_for_the_zero_behind_it() {
        for align in [Align::Line, Align::Packed] {
            for bits in 7..=40 {
                let shape = Shape::new(1 << bits, align).unwrap();
                let need = shape.need(shape.max_len());
                assert!(need + HEADER_BYTES <= shape.capacity());
                if shape.max_len() < LENGTH_MAX {
                    assert!(shape.need(shape.max_len() + 1) + HEADER_BYTES > shape.capacity());
                }
            }
        }
    }

    #[test]
    fn need_is_header_and_payload_rounded_up() {
        let line = Shape::new(4096, Align::Line).unwrap();
        let packed = Shape::new(4096, Align::Packed).unwrap();
        for (len, l, p) in [(0, 64, 8), (1, 64, 16), (8, 64, 16), (48, 64, 56), (56, 64, 64), (57, 128, 72)] {
            assert_eq!((line.need(len), packed.need(len)), (l, p), "{len}");
        }
    }
}
