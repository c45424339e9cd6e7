//! Values of many types, through every verb of every end.

use std::fmt::Debug;

use annulus::{
    Align, Clock, CopyError, Create, ErrorKind, Payload, RecvError, TryCopyError, TryRecvError, TrySendError,
    TypedCopyingSubscriber, TypedObserver, TypedSubscriber,
};

use super::{BRIEF, Book, Depth, Tick, create, open, quote};
use crate::support::{Dir, helpful};

fn create_as<T: Payload>(dir: &Dir, align: Align, clock: Option<Clock>) -> Create<T> {
    let ring = create(dir).align(align);
    match clock {
        Some(clock) => ring.stamped(clock),
        None => ring,
    }
}

/// Each value through every verb of every end, on rings of every kind.
#[track_caller]
fn round_trips<T: Payload + Debug + PartialEq>(values: &[T]) {
    for align in [Align::Line, Align::Packed] {
        for clock in [None, Some(Clock::Monotonic)] {
            let dir = Dir::new();
            let mut tx = create_as::<T>(&dir, align, clock).producer().unwrap();
            let rx = open::<T>(&dir).subscribe().unwrap();
            let mut copying = open::<T>(&dir).subscribe_copying().unwrap();
            let mut observer = open::<T>(&dir).observe().unwrap();
            let mut verbs = (0..).map(|verb| verb % 6);
            for round in 0..200 {
                for (value, verb) in values.iter().zip(&mut verbs) {
                    match verb {
                        0 => tx.send(value).unwrap(),
                        1 => tx.try_send(value).unwrap(),
                        2 => tx.send_timeout(value, BRIEF).unwrap(),
                        3 => assert_eq!(tx.send_batch([*value]), Ok(1)),
                        4 => assert_eq!(tx.send_batch(std::slice::from_ref(value)), Ok(1)),
                        _ => assert_eq!(tx.try_send_batch([value]), Ok(1)),
                    }
                    in_place(&rx, value, round, clock.is_some());
                    copied(&mut copying, value, round, clock.is_some());
                    observed(&mut observer, value, round, clock.is_some());
                }
            }
            assert_eq!(tx.sequence(), 200 * values.len() as u64);
            assert_eq!(
                (rx.sequence(), copying.sequence(), observer.sequence()),
                (tx.sequence(), tx.sequence(), tx.sequence())
            );
            drop(tx);
            assert!(matches!(rx.recv(), Err(RecvError::Closed)));
            assert!(matches!(copying.recv(), Err(CopyError::Ended(RecvError::Closed))));
            assert!(matches!(observer.recv(), Err(CopyError::Ended(RecvError::Closed))));
            assert_eq!((copying.lost(), observer.lost()), (0, 0));
        }
    }
}

fn in_place<T: Payload + Debug + PartialEq>(rx: &TypedSubscriber<T>, value: &T, round: u64, stamped: bool) {
    let sequence = rx.sequence();
    let record = match round % 4 {
        0 => rx.recv().unwrap(),
        1 => rx.try_recv().unwrap(),
        2 => rx.recv_timeout(BRIEF).unwrap(),
        _ => rx.iter().next().unwrap().unwrap(),
    };
    assert_eq!(&*record, value);
    assert_eq!(record.as_ref(), value);
    assert!(std::ptr::from_ref(&*record).is_aligned());
    assert_eq!(record.sequence(), sequence);
    assert_eq!(record.time().is_some_and(|time| time > 0 && time <= rx.now()), stamped);
    assert!(rx.held_bytes() >= 8 + size_of::<T>() as u64, "it is borrowed");
    drop(record);
    assert_eq!(rx.held_bytes(), 0);
    assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Empty);
}

macro_rules! copy_check {
    ($name:ident, $reader:ident) => {
        fn $name<T: Payload + Debug + PartialEq>(rx: &mut $reader<T>, value: &T, round: u64, stamped: bool) {
            let sequence = rx.sequence();
            if round % 8 > 4 {
                let (size, mut got) = (size_of::<T>(), *value);
                let received = match round % 8 {
                    5 => rx.recv_into(&mut got).unwrap(),
                    6 => rx.try_recv_into(&mut got).unwrap(),
                    _ => rx.recv_into_timeout(&mut got, BRIEF).unwrap(),
                };
                assert_eq!((received.sequence, received.len, &got), (sequence, size, value));
                assert_eq!(received.time().is_some(), stamped);
            } else {
                let record = match round % 8 {
                    0 => rx.recv().unwrap(),
                    1 => rx.try_recv().unwrap(),
                    2 => rx.recv_timeout(BRIEF).unwrap(),
                    3 => rx.latest().unwrap(),
                    _ => rx.iter().next().unwrap().unwrap(),
                };
                assert_eq!((&*record, &record.payload, record.sequence), (value, value, sequence));
                assert_eq!(record.time().is_some_and(|time| time > 0 && time <= rx.now()), stamped);
            }
            assert_eq!(rx.try_recv(), Err(TryCopyError::Empty));
        }
    };
}

copy_check!(copied, TypedCopyingSubscriber);
copy_check!(observed, TypedObserver);

#[test]
fn numbers_arrive() {
    round_trips(&[0_u8, 1, 0x7f, 0x80, 0xff]);
    round_trips(&[0_u16, u16::MAX]);
    round_trips(&[i32::MIN, -1, i32::MAX]);
    round_trips(&[u64::MAX, 0, 1 << 63]);
    round_trips(&[1.5_f32, f32::INFINITY]);
    round_trips(&[-0.0_f64, f64::MIN_POSITIVE]);
}

#[test]
fn structs_and_arrays_arrive() {
    round_trips(&[quote(0), quote(1), quote(1 << 30)]);
    round_trips(&[[quote(7); 5], [quote(8); 5]]);
    let book = Book { quotes: [quote(1), quote(2), quote(3)], depth: Depth(3), _pad: [0; 6] };
    round_trips(&[book, Book { depth: Depth(9), ..book }]);
    round_trips(&[[[1_u8, 2, 3], [4, 5, 6]]]);
    round_trips(&[Depth(1), Depth(0xffff)]);
}

#[test]
fn values_without_bytes_arrive() {
    round_trips(&[()]);
    round_trips(&[Tick {}]);
    round_trips(&[[0_u64; 0]]);
    round_trips(&[[Tick {}; 3]]);
}

#[cfg(feature = "zerocopy-08")]
#[test]
fn types_of_zerocopy_arrive() {
    use annulus::Zerocopy;
    use zerocopy::network_endian::U32;

    type Address = Zerocopy<U32, 1>;
    round_trips(&[Zerocopy::<u32, 9>(7), 8.into()]);
    round_trips::<Address>(&[U32::new(0x7f00_0001).into()]);
}

/// The largest value of a ring of each kind, many times; one byte more is refused before anything is made.
#[test]
fn the_largest_value() {
    fn fits<const N: usize, const MORE: usize>(align: Align, clock: Option<Clock>) {
        let dir = Dir::new();
        let error = create_as::<[u8; MORE]>(&dir, align, clock).producer().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
        helpful(&error);
        assert!(dir.entries().is_empty());
        let mut tx = create_as::<[u8; N]>(&dir, align, clock).producer().unwrap();
        let rx = open::<[u8; N]>(&dir).subscribe().unwrap();
        let mut observer = open::<[u8; N]>(&dir).observe().unwrap();
        for n in 0..100 {
            tx.send(&[n; N]).unwrap();
            assert!(matches!(tx.try_send(&[n; N]), Err(TrySendError::Full(_))));
            assert_eq!(*rx.recv().unwrap(), [n; N]);
            assert_eq!(*observer.recv().unwrap(), [n; N]);
        }
    }
    fits::<4024, 4025>(Align::Line, None);
    fits::<4080, 4081>(Align::Packed, None);
    fits::<4016, 4017>(Align::Line, Some(Clock::Monotonic));
    fits::<4072, 4073>(Align::Packed, Some(Clock::Monotonic));
}

/// A value larger than a thread's stack, which no end puts there.
#[test]
fn values_larger_than_the_stack() {
    const LEN: usize = 12 << 20;
    let dir = Dir::new();
    let mut tx = create::<[u8; LEN]>(&dir).capacity(16 << 20).producer().unwrap();
    let rx = open::<[u8; LEN]>(&dir).subscribe().unwrap();
    let mut copying = open::<[u8; LEN]>(&dir).subscribe_copying().unwrap();
    let mut observer = open::<[u8; LEN]>(&dir).observe().unwrap();
    let mut film: Box<[u8; LEN]> = vec![0; LEN].try_into().unwrap();
    let mut copy = film.clone();
    for n in 1..4 {
        film.fill(n);
        match n {
            1 => tx.send(&film).unwrap(),
            2 => assert_eq!(tx.send_batch([&*film]), Ok(1)),
            _ => assert_eq!(tx.send_batch([film.clone()]), Ok(1), "a box lends it"),
        }
        copy.fill(0);
        copying.recv_into(&mut copy).unwrap();
        assert!(copy == film);
        copy.fill(0);
        observer.latest_into(&mut copy).unwrap();
        assert!(copy == film);
        let record = rx.recv().unwrap();
        assert!(*record == *film);
    }
}
