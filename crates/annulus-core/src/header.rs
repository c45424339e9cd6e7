//! A record's header: one 64-bit word, the record's number, and the flag that publishes it.
//!
//! ```text
//!  63            32 31 30 29             0
//! ┌────────────────┬──┬──┬────────────────┐
//! │ sequence (low) │P │L │ payload length │
//! └────────────────┴──┴──┴────────────────┘
//! ```

/// Bytes of a header.
pub const HEADER_BYTES: u64 = 8;
/// Set in every published header, so that none is 0.
const PUBLISHED: u64 = 1 << 31;
/// Reserved for rings that grow; a reader of this version takes it for damage.
const LINK: u64 = 1 << 30;
/// Longest payload that the length field can say, in bytes.
pub const LENGTH_MAX: u64 = LINK - 1;

/// The header of a published record. `len` is in bytes and at most [`LENGTH_MAX`].
#[inline]
pub fn encode(sequence: u64, len: u64) -> u64 {
    debug_assert!(len <= LENGTH_MAX);
    (sequence << 32) | PUBLISHED | len
}

/// What a header word says to a reader that expects `sequence`.
#[inline]
pub fn length_if(header: u64, sequence: u64) -> Option<u64> {
    // One comparison: the low sequence, P set and L clear.
    let expected = encode(sequence, 0) >> 30;
    (header >> 30 == expected).then_some(header & LENGTH_MAX)
}

/// The 64-bit sequence and the length in a published header whose sequence is within 2^31 of `near`.
/// `None`: not a published header of this version.
pub fn decode(header: u64, near: u64) -> Option<(u64, u64)> {
    if header & PUBLISHED == 0 || header & LINK != 0 {
        return None;
    }
    let low = (header >> 32) as u32;
    let ahead = low.wrapping_sub(near as u32).cast_signed();
    Some((near.wrapping_add_signed(i64::from(ahead)), header & LENGTH_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_accepts_only_its_own_sequence() {
        for sequence in [0, 1, u64::from(u32::MAX), 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX] {
            for len in [0, 1, 48, LENGTH_MAX] {
                let header = encode(sequence, len);
                assert_ne!(header, 0);
                assert_eq!(length_if(header, sequence), Some(len));
                assert_eq!(length_if(header, sequence.wrapping_add(1)), None);
                assert_eq!(length_if(header | LINK, sequence), None);
                assert_eq!(length_if(header & !PUBLISHED, sequence), None);
            }
        }
        assert_eq!(length_if(0, 0), None);
    }

    #[test]
    fn the_high_half_comes_from_the_neighbourhood() {
        for near in [5, u64::from(u32::MAX) - 1, (1 << 32) + 3, 1 << 63] {
            for off in -3i64..=3 {
                let sequence = near.wrapping_add_signed(off);
                assert_eq!(decode(encode(sequence, 9), near), Some((sequence, 9)));
            }
        }
        assert_eq!(decode(0, 0), None);
        assert_eq!(decode(encode(1, 1) | LINK, 0), None);
    }
}
