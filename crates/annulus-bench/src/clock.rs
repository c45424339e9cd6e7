//! The stopwatch: the time stamp counter where it can be trusted, and the kernel's monotonic clock.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

/// Counts ticks of a few tenths of a nanosecond; a stamp costs a few nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Option<Instant>, // none: the stamp counter is used
    ns_per_tick: f64,
}

impl Clock {
    /// Takes about 30 ms where the stamp counter is measured against `Instant`.
    pub(crate) fn calibrate() -> Self {
        let mut clock = Self { base: None, ns_per_tick: 1.0 };
        if !counter_is_steady() {
            clock.base = Some(Instant::now());
            return clock;
        }
        let (began, first) = (Instant::now(), clock.now());
        while began.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let (took, last) = (began.elapsed(), clock.now());
        clock.ns_per_tick = took.as_nanos() as f64 / (last - first) as f64;
        clock
    }

    /// The stamp of this instant, in ticks.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        match self.base {
            None => counter(),
            Some(base) => base.elapsed().as_nanos() as u64,
        }
    }

    /// Nanoseconds in one tick.
    pub(crate) fn ns_per_tick(&self) -> f64 {
        self.ns_per_tick
    }

    /// A length of time in ticks.
    pub(crate) fn ticks(&self, time: Duration) -> u64 {
        (time.as_nanos() as f64 / self.ns_per_tick) as u64
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds: the same clock in every process and on every CPU.
#[inline(always)]
pub(crate) fn monotonic_ns() -> u64 {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills in a timespec of ours, nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut at) };
    at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn counter() -> u64 {
    // SAFETY: every x86_64 CPU has the instruction, and Linux lets user code run it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// CPUID 0x8000_0007, EDX bit 8: the counter runs at one rate in every state of the CPU.
#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe)] // `__cpuid` is a safe function in newer toolchains
fn counter_is_steady() -> bool {
    use core::arch::x86_64::__cpuid;
    // SAFETY: every x86_64 CPU has CPUID; it only reads.
    unsafe { __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & (1 << 8) != 0 }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    0
}

#[cfg(not(target_arch = "x86_64"))]
fn counter_is_steady() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_as_long_by_both_clocks() {
        let clock = Clock::calibrate();
        let (ticks, ns) = (clock.now(), monotonic_ns());
        // sleep: the passing of time is what is measured
        std::thread::sleep(Duration::from_millis(20));
        let (ticks, ns) = (clock.now() - ticks, monotonic_ns() - ns);
        let ratio = ticks as f64 * clock.ns_per_tick() / ns as f64;
        assert!((0.98..1.02).contains(&ratio), "{ratio}");
    }
}
