//! What is no value of the type is refused: at the opening, or where it stands in the ring.

use std::fmt::Debug;

use annulus::{
    CopyError, CopyTimeoutError, Error, ErrorKind, Payload, RecvError, RecvTimeoutError, Resume, Ring, Start,
    TryCopyError, TryRecvError,
};

use super::{BRIEF, Book, Quote, Tick, create, open, open_or_create, renamed_field};
use crate::support::{Dir, helpful, no_forks};

/// What a ring and an opener differ in.
#[track_caller]
fn difference<T: Debug>(opened: Result<T, Error>) -> (&'static str, String, String) {
    let error = opened.unwrap_err();
    helpful(&error);
    match error.kind() {
        ErrorKind::Mismatch { field, theirs, ours } => (field, theirs.clone(), ours.clone()),
        other => panic!("{other:?}"),
    }
}

/// A ring of one type, opened as another by every end: all say the same, and none leaves anything.
#[track_caller]
fn differs<Theirs: Payload, Ours: Payload>(field: &str, theirs: &str, ours: &str) {
    let expected = (field, theirs.to_owned(), ours.to_owned());
    let dir = Dir::new();
    let mut tx = create::<Theirs>(&dir).max_subscribers(1).persistent(true).producer().unwrap();
    for _ in 0..2 {
        assert_eq!(difference(open::<Ours>(&dir).subscribe()), expected);
        assert_eq!(difference(open::<Ours>(&dir).subscribe_copying()), expected);
        assert_eq!(difference(open::<Ours>(&dir).observe()), expected);
        assert!(open::<Ours>(&dir).producer().unwrap_err().is_producer_alive());
        assert!(open_or_create::<Ours>(&dir).producer().unwrap_err().is_producer_alive());
        // The only place for a subscriber is still free.
        drop(open::<Theirs>(&dir).subscribe().unwrap());
    }
    let value: Box<Theirs> = Box::new(zeros());
    tx.send(&value).unwrap();
    let _alone = no_forks();
    drop(tx);
    assert_eq!(difference(open::<Ours>(&dir).producer()), expected);
    assert_eq!(difference(open_or_create::<Ours>(&dir).producer()), expected);
    assert_eq!(open_or_create::<Theirs>(&dir).producer().unwrap().sequence(), 1);
    assert_eq!(open::<Theirs>(&dir).producer().unwrap().sequence(), 1);
}

/// A value of some type: what an observer copies of a ring that was fed bytes.
fn zeros<T: Payload>() -> T {
    let _alone = no_forks();
    let dir = Dir::new();
    let vacant = Ring::create_typed::<T>("zeros").dir(dir.path()).capacity(4096).persistent(true);
    vacant.without_producer().unwrap();
    let mut observer = Ring::open_typed::<T>("zeros").dir(dir.path()).observe().unwrap();
    let mut tx = Ring::open("zeros").dir(dir.path()).producer().unwrap();
    tx.send(&vec![0; size_of::<T>()]).unwrap();
    observer.recv().unwrap().payload
}

mod longer {
    annulus::payload! {
        pub(super) struct Quote {
            id: u64,
            bid: f64,
            ask: f64,
            venue: [u8; 4],
            flags: i32,
            more: u64,
        }
    }
}

mod pairs {
    pub(super) mod bytes {
        annulus::payload! {
            #[derive(Debug)]
            pub(crate) struct Pair {
                all: [u8; 8],
            }
        }
    }

    pub(super) mod nine_bytes {
        annulus::payload! {
            pub(crate) struct Pair {
                all: [u8; 9],
            }
        }
    }

    pub(super) mod words {
        annulus::payload! {
            pub(crate) struct Pair {
                x: u32,
                y: u32,
            }
        }
    }

    pub(super) mod aligned_words {
        annulus::payload! {
            #[repr(align(8))]
            pub(crate) struct Pair {
                x: u32,
                y: u32,
            }
        }
    }
}

/// Case 22: a wrong type of the same size.
#[test]
fn another_name_is_refused() {
    differs::<Quote, Book>("type", "Quote", "Book");
    differs::<u64, i64>("type", "u64", "i64");
    differs::<[u8; 8], u64>("type", "[u8; 8]", "u64");
    differs::<[u8; 8], [u8; 7]>("type", "[u8; 8]", "[u8; 7]");
    differs::<(), Tick>("type", "()", "Tick");
}

#[cfg(feature = "zerocopy-08")]
#[test]
fn another_number_of_zerocopy_is_refused() {
    use annulus::Zerocopy;
    differs::<Zerocopy<u32, 1>, Zerocopy<u32, 2>>("type", "Zerocopy<4 bytes, 1>", "Zerocopy<4 bytes, 2>");
    differs::<Zerocopy<u8>, u8>("type", "Zerocopy<1 bytes, 0>", "u8");
}

/// Case 22: a size that is off by one, or more.
#[test]
fn another_size_is_refused() {
    let field = "size of the type in bytes";
    differs::<Quote, longer::Quote>(field, "32", "40");
    differs::<longer::Quote, Quote>(field, "40", "32");
    differs::<pairs::bytes::Pair, pairs::nine_bytes::Pair>(field, "8", "9");
    differs::<pairs::nine_bytes::Pair, pairs::words::Pair>(field, "9", "8");
}

#[test]
fn another_alignment_is_refused() {
    let field = "alignment of the type";
    differs::<pairs::bytes::Pair, pairs::words::Pair>(field, "1", "4");
    differs::<pairs::aligned_words::Pair, pairs::words::Pair>(field, "8", "4");
    differs::<pairs::words::Pair, pairs::aligned_words::Pair>(field, "4", "8");
}

/// Case 22: a wrong type of the same name and size.
#[test]
fn other_fields_are_refused() {
    let [theirs, ours] =
        [Quote::FINGERPRINT, renamed_field::Quote::FINGERPRINT].map(|print| format!("{print:016x}"));
    let field = "fingerprint of the type's fields";
    differs::<Quote, renamed_field::Quote>(field, &theirs, &ours);
    differs::<renamed_field::Quote, Quote>(field, &ours, &theirs);
    // What is inside shows outside, where name, size and alignment are the same.
    let [theirs, ours] = [<[Quote; 2]>::FINGERPRINT, <[renamed_field::Quote; 2]>::FINGERPRINT]
        .map(|print| format!("{print:016x}"));
    differs::<[Quote; 2], [renamed_field::Quote; 2]>(field, &theirs, &ours);
}

#[test]
fn bytes_are_no_values() {
    let expected = ("type", "bytes".to_owned(), "Quote".to_owned());
    let dir = Dir::new();
    let tx = dir.create("r").capacity(4096).persistent(true).producer().unwrap();
    assert_eq!(difference(open::<Quote>(&dir).subscribe()), expected);
    assert_eq!(difference(open::<Quote>(&dir).subscribe_copying()), expected);
    assert_eq!(difference(open::<Quote>(&dir).observe()), expected);
    drop(tx);
    assert_eq!(difference(open::<Quote>(&dir).producer()), expected);
    assert_eq!(difference(open_or_create::<Quote>(&dir).producer()), expected);
    assert_eq!(dir.open("r").info().unwrap().payload, None);
}

/// Readers of values can join a ring before it has a producer, and keep to its type.
#[test]
fn a_typed_ring_without_a_producer() {
    let dir = Dir::new();
    create::<u16>(&dir).persistent(true).without_producer().unwrap();
    let rx = open::<u16>(&dir).subscribe().unwrap();
    assert_eq!(difference(open::<i16>(&dir).producer()), ("type", "u16".to_owned(), "i16".to_owned()));
    open::<u16>(&dir).producer().unwrap().send(&9).unwrap();
    assert_eq!(*rx.recv().unwrap(), 9);
}

/// Records that are no values, sent by who opened the ring without its type: every reader says so at the first, and
/// again whenever it is asked.
#[test]
fn a_record_of_another_length_is_refused() {
    for len in [0, 1, 7, 9, 16, 4000] {
        let dir = Dir::new();
        create::<u64>(&dir).capacity(16384).persistent(true).without_producer().unwrap();
        let rx = open::<u64>(&dir).subscribe().unwrap();
        let mut copying = open::<u64>(&dir).subscribe_copying().unwrap();
        let mut observer = open::<u64>(&dir).observe().unwrap();
        let mut raw = dir.open("r").producer().unwrap();
        raw.send(&7_u64.to_ne_bytes()).unwrap();
        raw.send(&vec![0xff; len]).unwrap();

        assert_eq!(*rx.recv().unwrap(), 7);
        assert_eq!(*copying.recv().unwrap(), 7);
        assert_eq!(*observer.recv().unwrap(), 7);
        for _ in 0..2 {
            assert_eq!(rx.recv().unwrap_err(), RecvError::Corrupt, "{len}");
            assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Ended(RecvError::Corrupt));
            assert_eq!(rx.recv_timeout(BRIEF).unwrap_err(), RecvTimeoutError::Ended(RecvError::Corrupt));
            let all: Vec<_> = rx.iter().map(|record| record.map(|value| *value)).collect();
            assert_eq!(all, [Err(RecvError::Corrupt)]);
            assert_eq!((rx.sequence(), rx.held_bytes()), (1, 0));

            let end = RecvError::Corrupt;
            assert_eq!(copying.recv(), Err(CopyError::Ended(end)), "{len}");
            assert_eq!(copying.try_recv(), Err(TryCopyError::Ended(end)));
            assert_eq!(copying.recv_timeout(BRIEF), Err(CopyTimeoutError::Ended(end)));
            assert_eq!(copying.latest(), Err(TryCopyError::Ended(end)));
            assert_eq!(copying.recv_into(&mut 0), Err(CopyError::Ended(end)));
            assert_eq!(copying.iter().collect::<Vec<_>>(), [Err(CopyError::Ended(end))]);
            assert_eq!((copying.sequence(), copying.lost()), (1, 0));

            assert_eq!(observer.recv(), Err(CopyError::Ended(end)), "{len}");
            assert_eq!(observer.try_recv_into(&mut 0), Err(TryCopyError::Ended(end)));
            assert_eq!(observer.recv_into_timeout(&mut 0, BRIEF), Err(CopyTimeoutError::Ended(end)));
            assert_eq!(observer.latest_into(&mut 0), Err(TryCopyError::Ended(end)));
            assert_eq!(observer.iter().collect::<Vec<_>>(), [Err(CopyError::Ended(end))]);
            assert_eq!((observer.sequence(), observer.lost()), (1, 0));
        }

        // Behind it all is well: for who begins there, and for who asks for the newest only.
        raw.send(&8_u64.to_ne_bytes()).unwrap();
        let behind = Start::Sequence(rx.sequence() + 1);
        assert_eq!(*open::<u64>(&dir).start(behind).subscribe().unwrap().recv().unwrap(), 8);
        assert_eq!(rx.recv().unwrap_err(), RecvError::Corrupt, "this one's way has ended");
        assert_eq!(*copying.latest().unwrap(), 8);
        assert_eq!(*observer.latest().unwrap(), 8);
    }
}

/// A value without bytes is a record without bytes, and no other.
#[test]
fn nothing_is_no_byte() {
    let dir = Dir::new();
    create::<()>(&dir).persistent(true).without_producer().unwrap();
    let rx = open::<()>(&dir).subscribe().unwrap();
    let mut observer = open::<()>(&dir).observe().unwrap();
    let mut raw = dir.open("r").producer().unwrap();
    raw.send_batch([&b""[..], b"x"]).unwrap();
    assert_eq!(rx.recv().map(|record| *record), Ok(()));
    assert_eq!(rx.recv().unwrap_err(), RecvError::Corrupt);
    assert_eq!(observer.recv().map(|record| *record), Ok(()));
    assert_eq!(observer.recv(), Err(CopyError::Ended(RecvError::Corrupt)));
}

/// A record that was overwritten is a loss, even where its length was not a value's.
#[test]
fn an_observer_leaves_what_is_gone() {
    let dir = Dir::new();
    create::<u64>(&dir).persistent(true).without_producer().unwrap();
    let mut observer = open::<u64>(&dir).resume(Resume::Newest).observe().unwrap();
    let mut raw = dir.open("r").producer().unwrap();
    raw.send(b"no value").unwrap();
    raw.send(b"nor this one").unwrap();
    assert_eq!(observer.recv().unwrap().sequence, 0, "eight bytes are a value, whatever they mean");
    assert_eq!(observer.recv(), Err(CopyError::Ended(RecvError::Corrupt)));
    drop(raw);
    let mut tx = open::<u64>(&dir).producer().unwrap();
    tx.send_batch(2..1000).unwrap();
    assert_eq!(observer.recv(), Err(CopyError::Lagged(999)));
    tx.send(&1000).unwrap();
    assert_eq!(*observer.recv().unwrap(), 1000);
}
