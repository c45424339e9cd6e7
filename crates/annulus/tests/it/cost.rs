//! What sending and receiving cost: no allocation on any path. (That they make no system call is shown with
//! processes of their own.)
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::time::Duration;

use annulus::{Clock, CopyError, FenceMode, Record, Resume, Ring, TryCopyError, Waiting};

use crate::copiers::KINDS;
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

/// Case 32: steady state allocates nothing: every way to send and to receive, over many wraps, full and empty, with and without waiting.
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

/// The same for values.
#[test]
fn no_path_of_values_allocates() {
    let dir = Dir::new();
    let mut tx = Ring::create_typed::<[u64; 40]>("r").dir(dir.path()).capacity(4096).producer().unwrap();
    let open = || Ring::open_typed::<[u64; 40]>("r").dir(dir.path());
    let rx = open().subscribe().unwrap();
    let mut copying = open().subscribe_copying().unwrap();
    let mut observer = open().observe().unwrap();
    let brief = Duration::from_millis(1);
    let n = allocations(|| {
        for n in 0..300 {
            let value = [n; 40];
            tx.send(&value).unwrap();
            tx.try_send(&value).unwrap();
            tx.send_timeout(&value, brief).unwrap();
            assert_eq!(tx.send_batch([value; 2]), Ok(2));
            assert_eq!(tx.try_send_batch([value]), Ok(1));
            assert_eq!(*rx.recv().unwrap(), value);
            assert_eq!(*rx.try_recv().unwrap(), value);
            assert_eq!(*rx.recv_timeout(brief).unwrap(), value);
            assert_eq!(rx.iter().take(3).count(), 3);
            assert!(rx.try_recv().is_err());
            assert_eq!(*copying.recv().unwrap(), value);
            assert_eq!(*copying.try_recv().unwrap(), value);
            assert_eq!(copying.iter().take(4).count(), 4);
            assert!(copying.recv_timeout(brief).is_err());
            assert_eq!(*observer.latest().unwrap(), value);
            assert!(observer.try_recv().is_err());
        }
    });
    assert_eq!(n, 0);
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

/// Case 32: readers that copy: every verb, lapped again and again and finding the way, too short a buffer, the newest, with a
/// vector that has grown once; and a producer that gives them up.
#[test]
fn no_path_of_a_copy_allocates() {
    for fence in [FenceMode::Asymmetric, FenceMode::SpinOnly] {
        for resume in [Resume::Oldest, Resume::Newest] {
            for kind in KINDS {
                let dir = Dir::new();
                let ring =
                    dir.create("r").capacity(4096).fence(fence).stamped(Clock::Monotonic).no_in_place();
                let mut tx = ring.evict_after(Duration::ZERO).retain(3).producer().unwrap();
                let mut rx = kind.open(dir.open("r").resume(resume).waiting(Waiting::park_after(0)));
                let (bytes, brief) = ([7_u8; 600], Duration::from_micros(10));
                let (mut buf, mut vec) = ([0_u8; 600], Vec::with_capacity(600));
                let mut lagged = 0;
                let n = allocations(|| {
                    for round in 0..600 {
                        let record = &bytes[..round];
                        tx.send(record).unwrap();
                        if round > 0 {
                            let short = rx.try_recv(&mut buf[..round - 1]);
                            assert_eq!(short, Err(TryCopyError::TooSmall { need: round }));
                        }
                        rx.recv(&mut buf).unwrap();
                        tx.send_batch([record; 3]).unwrap();
                        rx.recv_into(&mut vec).unwrap();
                        rx.recv_timeout(&mut buf, brief).unwrap();
                        rx.recv_into_timeout(&mut vec, brief).unwrap();
                        assert!(rx.recv_into_timeout(&mut vec, brief).is_err());
                        assert!(rx.try_recv(&mut buf).is_err());
                        rx.latest(&mut buf).unwrap();
                        rx.latest_into(&mut vec).unwrap();
                        // Over a lap, and back to the newest.
                        (0..80).for_each(|_| tx.try_send(record).unwrap());
                        match rx.recv_into(&mut vec) {
                            Err(CopyError::Lagged(lost)) => lagged += lost,
                            other => panic!("{other:?}"),
                        }
                        rx.latest(&mut buf).unwrap();
                    }
                });
                assert_eq!((n, lagged > 600), (0, true), "{kind:?}");
                let n = allocations(|| (0..200).for_each(|_| assert!(rx.try_recv(&mut buf).is_err())));
                assert_eq!(n, 0, "polls");
                drop(tx);
                assert_eq!(allocations(|| assert!(rx.recv(&mut buf).is_err())), 0, "the end");
            }
        }
    }
}
