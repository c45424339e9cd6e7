//! Counts instructions of `try_send` and `try_recv`, as callgrind sees them:
//!
//! ```text
//! cargo build --release -p annulus-benches --example instructions
//! valgrind --tool=callgrind --toggle-collect='*count_send*' target/release/examples/instructions 8
//! ```
//!
//! and the same with `count_recv`; `count_observe` with `observed` as the second argument, with which an observer
//! reads along, and `count_send` must count the same. The argument is the payload's length in bytes; each function runs 10,000 times on a
//! ring that is large enough not to ask for room more than sixteen times.
//!
//! With a number as the second argument there are so many subscribers on a ring of 1 MiB, and each lets go of all it has
//! read once a chunk, a sixteenth of that: `count_send` is to be next to the same for 1 and for 64. With `full` as the
//! third they let go of one record at a time, of a ring that is full: the producer then looks at all of them for each.
#![allow(missing_docs)]

use std::hint::black_box;

use annulus::{Observer, Producer, Ring, Subscriber};

const TIMES: usize = 10_000;

fn main() {
    let len = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(8);
    let name = format!("instructions-{}", std::process::id());
    if let Some(readers) = std::env::args().nth(2).and_then(|arg| arg.parse().ok()) {
        return many(&name, len, readers, std::env::args().nth(3).is_some_and(|arg| arg == "full"));
    }
    let mut tx = Ring::create(&name).capacity(1 << 26).producer().expect("a ring");
    let rx = Ring::open(&name).subscribe().expect("the ring");
    let observed = std::env::args().nth(2).is_some_and(|arg| arg == "observed");
    let mut observer = observed.then(|| Ring::open(&name).observe().expect("the ring"));
    let payload = vec![7; len];
    let mut buf = vec![0; len];
    for _ in 0..TIMES {
        count_send(&mut tx, &payload);
        count_recv(&rx);
        if let Some(observer) = &mut observer {
            count_observe(observer, &mut buf);
        }
    }
}

/// Sends to many subscribers in one thread, which take a chunk at a time, or one record of a full ring.
fn many(name: &str, len: usize, readers: usize, full: bool) {
    const CAPACITY: usize = 1 << 20;
    let mut tx = Ring::create(name).capacity(CAPACITY).producer().expect("a ring");
    let readers: Vec<_> = (0..readers).map(|_| Ring::open(name).subscribe().expect("the ring")).collect();
    let payload = vec![7; len];
    let chunk = CAPACITY / 16 / (8 + len).next_multiple_of(64);
    let ahead = if full { std::iter::from_fn(|| tx.try_send(&payload).ok()).count() } else { 0 };
    let step = if full { 1 } else { chunk };
    for _ in 0..TIMES / step {
        // What is read before what is sent: of a full ring, there would be no room.
        for rx in readers.iter().filter(|_| ahead > 0) {
            drop(rx.try_recv().expect("a record"));
        }
        (0..step).for_each(|_| count_send(&mut tx, &payload));
        for rx in readers.iter().filter(|_| ahead == 0) {
            let first = rx.try_recv().expect("a record"); // the cursor waits for it
            (1..step).for_each(|_| drop(rx.try_recv().expect("a record")));
            drop(first);
        }
    }
}

#[inline(never)]
fn count_send(tx: &mut Producer, payload: &[u8]) {
    tx.try_send(black_box(payload)).expect("room");
}

#[inline(never)]
fn count_recv(rx: &Subscriber) {
    black_box(&*rx.try_recv().expect("a record"));
}

#[inline(never)]
fn count_observe(observer: &mut Observer, buf: &mut [u8]) {
    black_box(observer.try_recv(buf).expect("a record"));
}
