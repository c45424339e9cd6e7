//! Counts instructions of `try_send` and `try_recv`, as callgrind sees them:
//!
//! ```text
//! cargo build --release -p annulus-benches --example instructions
//! valgrind --tool=callgrind --toggle-collect='*count_send*' target/release/examples/instructions 8
//! ```
//!
//! and the same with `count_recv`. The argument is the payload's length in bytes; each function runs 10,000 times on a
//! ring that is large enough not to ask for room more than sixteen times.
#![allow(missing_docs)]

use std::hint::black_box;

use annulus::{Producer, Ring, Subscriber};

const TIMES: usize = 10_000;

fn main() {
    let len = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(8);
    let name = format!("instructions-{}", std::process::id());
    let mut tx = Ring::create(&name).capacity(1 << 26).producer().expect("a ring");
    let rx = Ring::open(&name).subscribe().expect("the ring");
    let payload = vec![7; len];
    for _ in 0..TIMES {
        count_send(&mut tx, &payload);
        count_recv(&rx);
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
