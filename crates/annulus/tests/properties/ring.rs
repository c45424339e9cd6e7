//! The ring of annulus-core under lists of operations: on the heap, and in a mapping.

use crate::case::case;
use crate::rig::{Heap, Mapped};
use crate::runner::check;
use crate::table::{SLOTS, play};

/// Rings from the smallest on, which wrap every few records.
#[test]
fn tiny_rings_on_the_heap() {
    check(8000, case(vec![32, 64, 128, 256], 160), |case| {
        play(&Heap::new(case.setting.capacity, SLOTS), case);
    });
}

/// Rings whose sixteenths hold some records each.
#[test]
fn small_rings_on_the_heap() {
    check(3000, case(vec![512, 1024, 4096], 300), |case| {
        play(&Heap::new(case.setting.capacity, SLOTS), case);
    });
}

/// Rings of a page and two, mapped twice back to back.
#[test]
fn rings_in_a_mirrored_mapping() {
    let page = annulus_os::sys::page_size() as u64;
    check(2500, case(vec![page, 2 * page], 300), |case| {
        play(&Mapped::new(case.setting.capacity, SLOTS), case);
    });
}
