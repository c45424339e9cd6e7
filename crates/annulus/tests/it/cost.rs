//! What sending and receiving cost: no allocation on any path. (That they make no system call is shown with
//! processes of their own.)
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::time::Duration;

use annulus::{FenceMode, Record, Waiting};

use crate::support::Dir;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count() {
    // A thread that is ending has no counter any more, and nobody who asks for it.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes to the system's allocator with the same arguments; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// How often the calling thread has allocated or freed in `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1_u64)))), 2);
    assert_eq!(allocations(|| {}), 0);
}

/// Every way to send and to receive, over many wraps, full and empty, with and without waiting.
#[test]
fn no_path_allocates() {
    for fence in [FenceMode::Asymmetric, FenceMode::Symmetric, FenceMode::SpinOnly] {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).fence(fence).producer().unwrap();
        let rx = dir.open("r").waiting(Waiting::park_after(0)).subscribe().unwrap();
        let bytes = [7_u8; 600];
        let brief = Duration::from_millis(1);
        let n = allocations(|| {
            for round in 0..300 {
                let record = &bytes[..round % 600];
                tx.send(record).unwrap();
                tx.try_send(record).unwrap();
                tx.send_timeout(record, brief).unwrap();
                assert_eq!(tx.send_batch([record; 2]), Ok(2));
                drop(rx.recv().unwrap());
                drop(rx.try_recv().unwrap());
                drop(rx.recv_timeout(brief).unwrap());
                assert_eq!(rx.iter().take(2).count(), 2);
                let mut claim = tx.claim(300).unwrap();
                claim.write_all(&bytes[..100]).unwrap();
                claim.write_at(200, &bytes[..50]);
                claim.commit();
                drop(tx.try_claim(2000).unwrap());
                drop(rx.recv().unwrap());
            }
        });
        assert_eq!(n, 0, "sending and receiving");
        let n = allocations(|| {
            for _ in 0..20 {
                while tx.try_send(&bytes[..40]).is_ok() {}
                assert!(tx.send_timeout(&bytes[..40], brief).is_err());
                assert!(tx.try_claim(40).is_err());
                assert_eq!(tx.try_send_batch([&bytes[..40]]), Ok(0));
                let mut held: [Option<Record<'_>>; 63] = std::array::from_fn(|_| None);
                for place in &mut held {
                    *place = Some(rx.recv().unwrap());
                }
                for i in 0..63 {
                    drop(held[i * 20 % 63].take());
                }
                assert_eq!(rx.held_bytes(), 0);
                assert!(rx.try_recv().is_err());
                assert!(rx.recv_timeout(brief).is_err());
            }
        });
        assert_eq!(n, 0, "full, holding many, out of order, empty");
        let n = allocations(|| {
            assert!(tx.try_send(&[0; 5000]).is_err());
            assert!(tx.send(&[0; 5000]).is_err());
            for _ in 0..200 {
                assert!(rx.try_recv().is_err());
            }
        });
        assert_eq!(n, 0, "refusals and polls");
    }
}

/// The end, said again and again, allocates nothing either.
#[test]
fn the_end_does_not_allocate() {
    let dir = Dir::new();
    let tx = dir.create("r").producer().unwrap();
    let rx = dir.open("r").subscribe().unwrap();
    drop(tx);
    assert_eq!(allocations(|| (0..1000).for_each(|_| assert!(rx.recv().is_err()))), 0);
}
