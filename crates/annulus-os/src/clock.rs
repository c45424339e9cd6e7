//! What time it is, for measuring and never for deciding: a clock that never goes back, and the counter of
//! the processor itself, which costs less to read.
#![allow(unsafe_code)]

use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a calibration takes. The ends are off by some tens of nanoseconds each, so a rate is off by a few
/// millionths.
const SPAN: Duration = Duration::from_millis(20);

/// Brackets tried at each end; the tightest counts.
const BRACKETS: u32 = 32;

/// The shift of every [`calibrate`]d rate: fine enough for counters to 10^12 a second, and coarse enough for
/// the factors of slow ones.
const SHIFT: u32 = 32;

/// Nanoseconds since some point in the past; the same for all processes of this machine, except where a container
/// has a time of its own (time_namespaces(7)). Never goes back, and stands still while the machine is suspended.
/// See clock_gettime(2), `CLOCK_MONOTONIC`.
#[inline]
#[must_use]
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither part is ever negative, and 584 years fit.
    now.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec.cast_unsigned())
}

/// The processor's counter, in units that [`calibrate`] finds out; nanoseconds by [`monotonic_nanos`] on
/// processors without one that is known here. Only differences mean something, and only if
/// [`is_tick_steady`].
///
/// Orders nothing and is ordered by nothing: the processor may take the reading some nanoseconds before
/// earlier loads are done, or after later ones have begun. On x86-64 this is RDTSC without a fence, on aarch64
/// a read of CNTVCT_EL0 without ISB.
#[inline]
#[must_use]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC touches neither memory nor flags. Linux lets everybody use it; a process that gave it up
    // (prctl(2), PR_SET_TSC) is ended by a signal.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }

    #[cfg(target_arch = "aarch64")]
    {
        let ticks: u64;
        // SAFETY: reads one register, which Linux lets everybody read, and changes nothing else.
        unsafe {
            core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags));
        }
        ticks
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    monotonic_nanos()
}

/// Whether [`ticks`] run at one rate whatever the processor's frequency and sleep, so that a calibration holds
/// and two processors agree about as well as clocks do. On x86-64 what CPUID says (leaf 0x8000_0007, EDX bit 8,
/// the *invariant TSC*); a virtual machine may hide it. `true` elsewhere.
#[must_use]
pub fn is_tick_steady() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::__cpuid;
        const POWER: u32 = 0x8000_0007;
        // Newer compilers know that it is safe; the oldest allowed does not.
        #[allow(unused_unsafe)]
        // SAFETY: every x86-64 processor has CPUID, and the leaf that says which leaves there are.
        unsafe {
            __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & (1 << 8) != 0
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// How [`ticks`] become nanoseconds:
/// `nanos = base_nanos + ((ticks - base_ticks) * factor >> shift)`.
///
/// Processes of one machine may share it as words: what one has calibrated holds for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// Nanoseconds in a tick, times 2^shift.
    pub factor: u64,
    /// 0 to 63.
    pub shift: u32,
    /// The counter at some moment.
    pub base_ticks: u64,
    /// [`monotonic_nanos`] at the same moment.
    pub base_nanos: u64,
}

impl Calibration {
    /// The nanoseconds of a reading, also of one before the base. Anything is allowed and nothing wraps: what
    /// is before 0 is 0, what is too late to express is `u64::MAX`. Readings taken long after the base drift
    /// away from [`monotonic_nanos`], by some microseconds a second.
    #[inline]
    #[must_use]
    pub fn to_nanos(self, ticks: u64) -> u64 {
        let span = |ticks: u64| {
            let product = u128::from(ticks) * u128::from(self.factor);
            u64::try_from(product.checked_shr(self.shift).unwrap_or(0)).unwrap_or(u64::MAX)
        };
        match ticks.checked_sub(self.base_ticks) {
            Some(later) => self.base_nanos.saturating_add(span(later)),
            None => self.base_nanos.saturating_sub(span(self.base_ticks - ticks)),
        }
    }

    /// Its four fields, in order.
    #[must_use]
    pub fn to_words(self) -> [u64; 4] {
        [self.factor, u64::from(self.shift), self.base_ticks, self.base_nanos]
    }

    /// The reverse, for words that another process wrote: `None` for a shift above 63 or a factor of 0. Any
    /// other words are a calibration, if perhaps a wrong one.
    #[must_use]
    pub fn from_words([factor, shift, base_ticks, base_nanos]: [u64; 4]) -> Option<Calibration> {
        let shift = u32::try_from(shift).ok().filter(|&shift| shift <= 63)?;
        (factor != 0).then_some(Calibration { factor, shift, base_ticks, base_nanos })
    }

    /// The line through two readings; the later one is the base.
    fn through(earlier: Reading, later: Reading) -> Calibration {
        // A counter that stands still, or a clock that does, makes a useless rate but no division by 0.
        let ticks = later.ticks.saturating_sub(earlier.ticks).max(1);
        let nanos = later.nanos.saturating_sub(earlier.nanos);
        let factor = (u128::from(nanos) << SHIFT) / u128::from(ticks);
        Calibration {
            factor: u64::try_from(factor).unwrap_or(u64::MAX).max(1),
            shift: SHIFT,
            base_ticks: later.ticks,
            base_nanos: later.nanos,
        }
    }
}

/// Finds out how fast [`ticks`] are, against [`monotonic_nanos`]. Sleeps for about 20 ms. Being descheduled
/// meanwhile does no harm: of several readings at each end the one counts that was over soonest.
#[must_use]
pub fn calibrate() -> Calibration {
    let earlier = reading();
    thread::sleep(SPAN);
    Calibration::through(earlier, reading())
}

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Reading {
    ticks: u64,
    nanos: u64,
}

fn reading() -> Reading {
    let mut tightest = u64::MAX;
    let mut best = Reading { ticks: 0, nanos: 0 };
    for _ in 0..BRACKETS {
        let before = monotonic_nanos();
        let ticks = ticks();
        let width = monotonic_nanos().saturating_sub(before);
        if width < tightest {
            tightest = width;
            best = Reading { ticks, nanos: before + width / 2 };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Calibration = Calibration { factor: 1 << 33, shift: 32, base_ticks: 1_000, base_nanos: 5_000 };

    #[test]
    fn ticks_become_nanoseconds_on_both_sides_of_the_base() {
        for (ticks, nanos) in [(1_000, 5_000), (1_001, 5_002), (999, 4_998), (0, 3_000), (3_500, 10_000)] {
            assert_eq!(TWO.to_nanos(ticks), nanos, "{ticks}");
        }
        let half = Calibration { factor: 1, shift: 1, ..TWO };
        assert_eq!((half.to_nanos(1_001), half.to_nanos(1_002), half.to_nanos(998)), (5_000, 5_001, 4_999));
    }

    #[test]
    fn no_reading_and_no_calibration_wraps_or_panics() {
        let ends = [0, 1, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX];
        for factor in ends {
            for shift in [0, 1, 32, 63, 64, 127, 128, u32::MAX] {
                for base_ticks in ends {
                    for base_nanos in ends {
                        let calibration = Calibration { factor, shift, base_ticks, base_nanos };
                        let nanos = ends.map(|ticks| calibration.to_nanos(ticks));
                        assert!(nanos.is_sorted(), "{calibration:?}");
                        assert_eq!(calibration.to_nanos(base_ticks), base_nanos);
                    }
                }
            }
        }
        let steep = Calibration { factor: u64::MAX, shift: 0, base_ticks: 1 << 63, base_nanos: 7 };
        assert_eq!((steep.to_nanos(0), steep.to_nanos(u64::MAX)), (0, u64::MAX));
        // 2^127 >> 63 is 2^64, one more than there is.
        let edge = Calibration { factor: 1 << 63, shift: 63, base_ticks: 0, base_nanos: 0 };
        assert_eq!((edge.to_nanos(1 << 63), edge.to_nanos(u64::MAX)), (1 << 63, u64::MAX));
    }

    #[test]
    fn words_are_taken_back_unless_they_are_no_calibration() {
        assert_eq!(Calibration::from_words(TWO.to_words()), Some(TWO));
        let last = Calibration { shift: 63, factor: u64::MAX, ..TWO };
        assert_eq!(Calibration::from_words(last.to_words()), Some(last));
        for shift in [64, 1 << 32, (1 << 32) + 5, u64::MAX] {
            assert_eq!(Calibration::from_words([1, shift, 0, 0]), None, "{shift}");
        }
        assert_eq!(Calibration::from_words([0, 32, 0, 0]), None);
    }

    #[test]
    fn the_line_goes_through_both_readings() {
        let earlier = Reading { ticks: 1 << 40, nanos: 7_000_000_000 };
        // In turn: 3 GHz, 24 MHz, 1 MHz, nanoseconds; over 20 ms.
        for ticks in [60_000_000, 480_000, 20_000, 20_000_000] {
            let later = Reading { ticks: earlier.ticks + ticks, nanos: earlier.nanos + 20_000_000 };
            let line = Calibration::through(earlier, later);
            assert_eq!(line.to_nanos(later.ticks), later.nanos);
            assert!(line.to_nanos(earlier.ticks).abs_diff(earlier.nanos) <= 1, "{ticks}");
            assert_eq!(Calibration::from_words(line.to_words()), Some(line));
        }
    }

    #[test]
    fn a_counter_or_a_clock_that_stands_still_is_no_panic() {
        let (low, high) = (Reading { ticks: 0, nanos: 0 }, Reading { ticks: u64::MAX, nanos: u64::MAX });
        for (earlier, later) in [(low, low), (low, high), (high, low), (high, high)] {
            let line = Calibration::through(earlier, later);
            assert_eq!(Calibration::from_words(line.to_words()), Some(line));
        }
    }
}
