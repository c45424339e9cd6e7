//! The counter against the clock.

use annulus_os::clock::{calibrate, is_tick_steady, monotonic_nanos, ticks};
use annulus_os::sys::pid;

use crate::support::{Child, End, alone};

#[test]
fn the_clock_never_goes_back_and_is_the_same_in_a_child() {
    let alone = alone();
    let before = monotonic_nanos();
    // In the child no number but its exit code can be seen.
    let child = Child::run(&alone, || i32::from(monotonic_nanos() < before));
    assert_eq!(child.wait(), End::Exit(0));
    let after = monotonic_nanos();
    assert!(before < after, "a fork and an exit took {before} to {after} in process {}", pid());
    let mut last = after;
    for _ in 0..10_000 {
        let now = monotonic_nanos();
        assert!(now >= last);
        last = now;
    }
}

#[test]
fn calibrated_ticks_follow_the_clock() {
    assert_eq!(is_tick_steady(), is_tick_steady());
    if !is_tick_steady() {
        eprintln!("NOT TESTED: clock::calibrated_ticks_follow_the_clock: the ticks are not steady here");
        return;
    }
    let calibration = calibrate();
    // Each reading of the counter lies between two of the clock, so that whoever takes the processor away
    // makes the bounds wider and not wrong.
    let bracket = || {
        let before = monotonic_nanos();
        let ticked = calibration.to_nanos(ticks());
        (before, ticked, monotonic_nanos())
    };
    let first = bracket();
    let mut last = bracket();
    while last.0 < first.2 + 50_000_000 {
        last = bracket();
    }
    let ticked = last.1.checked_sub(first.1).expect("calibrated ticks went back");
    let (least, most) = (last.0 - first.2, last.2 - first.0);
    // A tenth: a hundred times what a calibration is off by.
    assert!(ticked >= least - least / 10, "{ticked} ns by ticks, at least {least} ns by the clock");
    assert!(ticked <= most + most / 10, "{ticked} ns by ticks, at most {most} ns by the clock");
    // The base is right, too: not only the rate.
    let far = calibration.to_nanos(ticks()).abs_diff(monotonic_nanos());
    assert!(far < most, "{far} ns between the two, after {most} ns");
}
