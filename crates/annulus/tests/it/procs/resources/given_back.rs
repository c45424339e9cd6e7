//! Everything that a ring takes is given back.

use std::path::Path;
use std::time::Duration;

use annulus::Ring;

use super::{descriptors, free, mappings, mount, run};
use crate::procs::child::say;
use crate::support::{Dir, entries, may_do_all};

/// No descriptor, no mapping and no byte of the tmpfs leaks over 10,000 times creating, opening and dropping, whatever is
/// dropped first, and whatever is refused meanwhile.
#[test]
fn nothing_leaks() {
    if may_do_all() {
        run("cycles", &Dir::new(), &[]);
    }
}

pub(super) fn cycles(dir: &str) {
    mount(dir, c"size=16m,mode=0700");
    let now = || (descriptors(), mappings(), free(dir), entries(Path::new(dir)));
    let create = |name: &str| Ring::create(name).dir(dir).capacity(4096).max_subscribers(2).prefault(false);
    let open = || Ring::open("r").dir(dir).prefault(false);
    let cycle = |n: usize| {
        let mut tx = create("r").persistent(n.is_multiple_of(5)).producer().unwrap();
        let rx = open().subscribe().unwrap();
        let mut copying = open().subscribe_copying().unwrap();
        let mut observer = open().observe().unwrap();
        tx.send(b"x").unwrap();
        drop(rx.recv().unwrap());
        copying.recv(&mut [0; 8]).unwrap();
        observer.recv(&mut [0; 8]).unwrap();
        match n % 6 {
            0 => assert!(open().producer().is_err()),
            1 => assert!(open().subscribe().is_err()),
            2 => assert!(Ring::open("none").dir(dir).subscribe().is_err()),
            3 => assert!(open().wait(Duration::ZERO).is_ok()),
            4 => assert!(create("r").producer().is_err()),
            _ => assert_eq!(open().info().unwrap().subscribers.len(), 2),
        }
        match n % 3 {
            0 => drop((tx, rx, copying, observer)),
            1 => drop((observer, copying, rx, tx)),
            _ => drop((rx, tx, observer, copying)),
        }
        if n.is_multiple_of(5) {
            // Taken over once, then taken away.
            drop(open().producer().unwrap());
            open().remove().unwrap();
        }
    };
    (0..60).for_each(cycle);
    let before = now();
    for n in 0..10_000 {
        cycle(n);
        if n % 1000 == 999 {
            assert_eq!(now(), before, "after {n} cycles");
        }
    }
    say("done");
}
