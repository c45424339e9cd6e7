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
#![allow(missing_docs)]

use std::hint::black_box;

use annulus::{Observer, Producer, Ring, Subscriber};

const TIMES: usize = 10_000;

fn main() {
    let len = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(8);
    let name = format!("instructions-{}", std::process::id());
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
