//! What a publication costs with many subscribers, in instructions: a child runs step by step, so the count is exact
//! and the same on any machine, however busy.
#![allow(unsafe_code)]

use annulus::{Producer, Ring, Subscriber};

use super::child::{Child, listen, say};
use super::stepped::Traced;
use crate::support::{Dir, thread_id};

/// A ring as long as the default one. A producer asks for room once in each sixteenth of it, a chunk.
const CAPACITY: usize = 1 << 20;
const RECORD: usize = 64;
const CHUNK: usize = CAPACITY / 16 / RECORD;
/// Chunks that are sent before any is counted: more than a lap, so that places are used again.
const BEFORE: usize = 20;
/// Stands before and behind what is counted. Nobody is told of it but a tracer.
const MARK: libc::c_int = libc::SIGURG;

fn mark() {
    // SAFETY: a signal that is ignored unless somebody traces.
    unsafe { libc::raise(MARK) };
}

/// Sends chunk after chunk, of which each subscriber takes all and lets go of all at once; one chunk is counted.
pub(super) fn sender(dir: &str, readers: usize) {
    let mut tx = Ring::create("r").dir(dir).capacity(CAPACITY).producer().unwrap();
    let open = || Ring::open("r").dir(dir).subscribe().unwrap();
    let readers: Vec<_> = (0..readers).map(|_| open()).collect();
    for _ in 0..BEFORE {
        send(&mut tx);
        readers.iter().for_each(take);
    }
    say(&thread_id().to_string());
    assert_eq!(listen(), "go");
    mark();
    send(&mut tx);
    mark();
    assert_eq!(listen(), "end");
}

fn send(tx: &mut Producer) {
    for _ in 0..CHUNK {
        tx.try_send(&[7; RECORD - 8]).unwrap();
    }
}

fn take(rx: &Subscriber) {
    let first = rx.try_recv().unwrap();
    let rest = std::iter::from_fn(|| rx.try_recv().ok()).count();
    drop(first); // the cursor has waited for it
    assert_eq!(rest, CHUNK - 1);
}

/// Instructions of sending one chunk.
fn instructions(readers: usize) -> u64 {
    let dir = Dir::new();
    let mut child = Child::start("counted-sender", &[dir.text(), &readers.to_string()]);
    let thread = child.hear().parse().unwrap();
    let traced = Traced::new(&child, thread);
    child.tell("go");
    while traced.run_to_signal(libc::PTRACE_CONT) != MARK {}
    let mut steps = 1;
    while traced.run_to_signal(libc::PTRACE_SINGLESTEP) != MARK {
        steps += 1;
    }
    traced.release();
    child.tell("end");
    child.ends_well();
    steps
}

/// The producer looks at the slots once a chunk, so 64 subscribers cost it next to nothing.
#[test]
fn many_subscribers_cost_a_publication_nothing() {
    let [one, eight, all] = [1, 8, 64].map(instructions);
    println!("instructions of {CHUNK} publications with 1, 8, 64 subscribers: {one}, {eight}, {all}");
    assert!(one > 10 * CHUNK as u64, "not counted: {one}");
    for (readers, n) in [(8, eight), (64, all)] {
        assert!(10 * n <= 11 * one, "{readers} subscribers: {n} instructions, with one {one}");
    }
}
