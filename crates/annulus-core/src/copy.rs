//! The one primitive by which payload moves into the ring, and out of it where the producer may be overwriting.
//!
//! An observer may be reading what is overwritten, so every byte of a record is written, and by observers read, by
//! something that counts as atomic: relaxed words when short; above that a block of assembly. Elsewhere than on x86-64,
//! under Miri, and under `--cfg annulus_words`, which is for testing that: words.
//!
//! A block of assembly counts as any Rust code that could do what it does, and here that is code of relaxed words, too:
//! all that it touches in the ring is whole, aligned words. A word that it stores a byte at a time is stored once with
//! each further byte in it, which nobody but the only writer could do; a word that it loads a byte at a time is loaded
//! once for each. So nothing in the ring is ever accessed atomically at two sizes, which would be a race although each
//! access is atomic: an observer's look at a header may fall on payload, and its copy on headers.
//! A racing `memcpy` counts as nothing of the kind.
#![allow(unsafe_code)]

#[cfg(all(target_arch = "x86_64", not(any(miri, annulus_words))))]
use crate::fault::point;
use crate::words::Header;

/// From here on a loop over 16-byte registers is faster than words.
#[cfg(all(target_arch = "x86_64", not(any(miri, annulus_words))))]
const WIDE_FROM: usize = 64;
/// From here on the processor's own string copy is.
#[cfg(all(target_arch = "x86_64", not(any(miri, annulus_words))))]
const STRING_FROM: usize = 1024;

/// Copies `src` to `dst`, and zeros after it up to the next multiple of 8 when `src` ends within a word.
///
/// # Safety
///
/// `dst` is 8-byte aligned and valid for writes of `src.len()` rounded up to 8; nobody else writes there
/// meanwhile; others may read only atomically or not at all; `src` does not overlap it.
#[inline]
pub(crate) unsafe fn copy_in(dst: *mut u8, src: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, annulus_words))))]
    if src.len() >= WIDE_FROM {
        point("copy_in");
        let wide = if src.len() >= STRING_FROM { src.len() & !7 } else { src.len() & !63 };
        // SAFETY: `wide` is at most `src.len()`, and a multiple of 64 unless the string copy takes it.
        unsafe {
            if src.len() >= STRING_FROM {
                string_copy(dst, src.as_ptr(), wide);
            } else {
                wide_copy(dst, src.as_ptr(), wide);
            }
            word_copy(dst.add(wide), &src[wide..]);
        }
        return;
    }
    // SAFETY: the same contract.
    unsafe { word_copy(dst, src) }
}

/// Copies `dst.len()` bytes from `src`, which the producer may be overwriting: any mixture of old and new bytes
/// may arrive. Loads that come after it in program order are not done before its own.
///
/// # Safety
///
/// `src` is 8-byte aligned and valid for reads of `dst.len()` rounded up to 8; whoever writes there meanwhile does so
/// as [`copy_in`] does; `dst` does not overlap it.
#[inline]
pub(crate) unsafe fn copy_out(dst: &mut [u8], src: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, annulus_words))))]
    if dst.len() >= WIDE_FROM {
        let string = dst.len() >= STRING_FROM;
        let wide = if string { dst.len() & !7 } else { dst.len() & !63 };
        // SAFETY: `wide` is at most `dst.len()`, and a multiple of 64 unless the string copy takes it; it is a
        // multiple of 8, so `src` stays aligned behind it.
        unsafe {
            if string {
                string_copy(dst.as_mut_ptr(), src, wide);
                // The string copy's loads are in no order among themselves, and the look at the licence may
                // not overtake any of them. Reads and writes no memory, and faults nowhere.
                core::arch::asm!("lfence", options(nostack, preserves_flags));
            } else {
                wide_copy(dst.as_mut_ptr(), src, wide);
            }
            words_out(&mut dst[wide..], src.add(wide));
        }
        return;
    }
    // SAFETY: the same contract.
    unsafe { words_out(dst, src) }
}

/// # Safety
///
/// As [`copy_out`].
#[inline]
unsafe fn words_out(dst: &mut [u8], src: *const u8) {
    let whole = dst.len() / 8;
    let mut chunks = dst.chunks_exact_mut(8);
    for (i, chunk) in (&mut chunks).enumerate() {
        // SAFETY: `8 * i + 8 <= dst.len()`, so the word is in bounds; `src` is aligned by contract, and a `Header` is
        // an atomic word with any bits.
        let word = unsafe { (*src.add(8 * i).cast::<Header>()).payload() };
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let rest = chunks.into_remainder();
    if !rest.is_empty() {
        // SAFETY: as above; the contract makes `src` valid up to the rounded length.
        let word = unsafe { (*src.add(8 * whole).cast::<Header>()).payload() };
        for (i, byte) in rest.iter_mut().enumerate() {
            *byte = word.to_le_bytes()[i];
        }
    }
}

/// # Safety
///
/// As [`copy_in`].
#[inline]
unsafe fn word_copy(dst: *mut u8, src: &[u8]) {
    let words = src.len() / 8;
    let from = src.as_ptr();
    for i in 0..words {
        // SAFETY: `8 * i + 8 <= src.len()`, so both are in bounds; `dst` is aligned by contract, and a `Header`
        // is an atomic word with any bits.
        unsafe {
            let word = from.add(8 * i).cast::<u64>().read_unaligned();
            (*dst.add(8 * i).cast::<Header>()).prepare(word);
        }
    }
    if !src.len().is_multiple_of(8) {
        let last = last_word(&src[8 * words..]);
        // SAFETY: the contract makes `dst` valid up to the rounded length.
        unsafe { (*dst.add(8 * words).cast::<Header>()).prepare(last) }
    }
}

/// One to seven bytes as a little-endian word with zeros above, without a loop or a call.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    if n >= 4 {
        let low = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let high = u32::from_le_bytes([bytes[n - 4], bytes[n - 3], bytes[n - 2], bytes[n - 1]]);
        u64::from(low) | u64::from(high) << (8 * (n - 4))
    } else {
        // First, middle and last may be the same byte: or-ing it onto itself changes nothing.
        u64::from(bytes[0])
            | u64::from(bytes[n / 2]) << (8 * (n / 2))
            | u64::from(bytes[n - 1]) << (8 * (n - 1))
    }
}

/// Copies a positive multiple of 64 bytes, four registers a turn.
///
/// # Safety
///
/// As [`copy_in`], with `len` a positive multiple of 64.
#[cfg(all(target_arch = "x86_64", not(any(miri, annulus_words))))]
#[inline]
unsafe fn wide_copy(dst: *mut u8, src: *const u8, len: usize) {
    debug_assert!(len > 0 && len.is_multiple_of(64));
    // SAFETY: reads `src..src + len` and writes `dst..dst + len`, in bounds by contract; the registers that
    // it changes are declared; it leaves the stack and the flags that matter alone.
    unsafe {
        core::arch::asm!(
            "2:",
            "movups {a}, [{s} + {i}]",
            "movups {b}, [{s} + {i} + 16]",
            "movups {c}, [{s} + {i} + 32]",
            "movups {d}, [{s} + {i} + 48]",
            "movups [{t} + {i}], {a}",
            "movups [{t} + {i} + 16], {b}",
            "movups [{t} + {i} + 32], {c}",
            "movups [{t} + {i} + 48], {d}",
            "add {i}, 64",
            "jnz 2b",
            s = in(reg) src.add(len),
            t = in(reg) dst.add(len),
            i = inout(reg) (len as isize).wrapping_neg() => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// Copies with `rep movsb`, which moves whole lines inside the processor.
///
/// # Safety
///
/// As [`copy_in`].
#[cfg(all(target_arch = "x86_64", not(any(miri, annulus_words))))]
#[inline]
unsafe fn string_copy(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: reads and writes `len` bytes, in bounds by contract; the direction flag is clear, as the ABI
    // promises at entry of every block.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rsi") src => _,
            inout("rdi") dst => _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_length_arrives_and_nothing_past_the_rounded_end_changes() {
        for len in (0..300).chain([1023, 1024, 1025, 4095, 4096, 4097, 65536]) {
            let src: Vec<u8> = (0..len).map(|i| (i * 7 + 1) as u8).collect();
            let mut dst = std::vec![0xaau64.wrapping_mul(0x0101_0101_0101_0101); len / 8 + 3];
            // SAFETY: the vector is aligned, longer than `len` rounded up, and ours alone.
            unsafe { copy_in(dst.as_mut_ptr().cast(), &src) };
            let bytes: Vec<u8> = dst.iter().flat_map(|w| w.to_le_bytes()).collect();
            assert_eq!(&bytes[..len], &src[..], "{len}");
            let mut back = std::vec![0x55; len];
            // SAFETY: what was just written, aligned and longer than `len` rounded up.
            unsafe { copy_out(&mut back, dst.as_ptr().cast()) };
            assert_eq!(back, src, "{len}: and back");
            let rounded = len.next_multiple_of(8);
            assert!(bytes[len..rounded].iter().all(|&b| b == 0), "{len}: padding is zero");
            assert!(bytes[rounded..].iter().all(|&b| b == 0xaa), "{len}: nothing past the end");
        }
    }
}
