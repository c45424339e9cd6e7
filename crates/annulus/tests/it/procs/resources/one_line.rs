//! How much of the shared memory a publication looks at.
#![allow(unsafe_code)]

use std::fs;
use std::os::unix::process::ExitStatusExt;

use annulus::Ring;

use crate::procs::child::{Child, listen, say};
use crate::support::Dir;

/// Sixteen chunks of 64 KiB, in which 1,024 of the smallest records fit each.
const CAPACITY: usize = 1 << 20;
const CHUNK: usize = 1024;

/// Sends with the page of every reader's slot taken away: whoever looks there is killed.
pub(super) fn send(dir: &str, two_chunks: bool) {
    let mut tx = Ring::create("r").dir(dir).capacity(CAPACITY).max_subscribers(64).producer().unwrap();
    say("ready");
    assert_eq!(listen(), "go");
    // The first asks for room for all of its chunk.
    tx.send(b"first").unwrap();
    let ctl = format!("{dir}/r/ctl");
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    // The writable one: around it lie guards of the same file.
    let line = maps.lines().find(|line| line.ends_with(&ctl) && line.contains(" rw-s ")).unwrap();
    let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16).unwrap());
    // The first page is the doorbells'; the slots follow.
    let (at, len) = (start + 4096, end - start - 4096);
    // SAFETY: pages of a mapping of this process; nobody but this thread uses it, which ends by the signal if it does.
    assert_eq!(unsafe { libc::mprotect(at as *mut libc::c_void, len, libc::PROT_NONE) }, 0);
    let count = if two_chunks { 2 * CHUNK } else { CHUNK - 2 };
    for n in 0..count {
        if n % 2 == 0 {
            tx.send(&[1; 8]).unwrap();
        } else {
            tx.try_send(&[1; 8]).unwrap();
        }
    }
    // SAFETY: ends the process; dropping the ring would look at its slots.
    unsafe { libc::_exit(7) };
}

/// Case: a registry scan on every publish. With 64 subscribers attached a whole chunk is published without one look at
/// their slots, in a process that would be killed by any; the next chunk asks for room, and looks at them.
#[test]
fn a_publication_looks_at_no_slot() {
    for two_chunks in [false, true] {
        let dir = Dir::new();
        let words = ["one-line", dir.text(), if two_chunks { "two-chunks" } else { "one-chunk" }];
        let mut sender = Child::start("resources", &words);
        sender.expect("ready");
        let readers: Vec<_> = (0..64).map(|_| dir.open("r").prefault(false).subscribe().unwrap()).collect();
        sender.tell("go");
        let status = sender.wait();
        if two_chunks {
            assert_eq!(status.signal(), Some(libc::SIGSEGV));
        } else {
            assert_eq!(status.code(), Some(7), "{status:?}");
            let last = readers[63].iter().take(CHUNK - 1).map(|record| record.unwrap().sequence()).last();
            assert_eq!(last, Some(CHUNK as u64 - 2));
        }
    }
}
