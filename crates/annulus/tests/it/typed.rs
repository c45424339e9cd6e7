//! Rings of values: everything about them that depends on the ring, and what the tests of the values themselves share.

mod arrive;
mod refused;

use std::collections::VecDeque;
use std::process::{Command, Stdio};
use std::time::Duration;

use annulus::{
    Align, CopyError, Create, ErrorKind, Open, Payload, RecvError, Ring, SendTimeoutError, Start,
    TryCopyError, TypedCopyingSubscriber, TypedObserver, TypedProducer, TypedRing, TypedSubscriber,
    WaitError, Waiting,
};

use crate::support::{Dir, LONG, Random, in_time, no_forks};

annulus::payload! {
    #[derive(Debug, PartialEq)]
    struct Quote {
        id: u64,
        bid: f64,
        ask: f64,
        venue: [u8; 4],
        flags: i32,
    }

    #[derive(Debug, PartialEq)]
    struct Book {
        quotes: [Quote; 3],
        depth: Depth,
        _pad: [u8; 6],
    }

    #[derive(Debug, PartialEq)]
    struct Depth(u16);

    #[derive(Debug, PartialEq)]
    struct Tick {}
}

mod renamed_field {
    annulus::payload! {
        pub(super) struct Quote {
            id: u64,
            bid: f64,
            asks: f64,
            venue: [u8; 4],
            flags: i32,
        }
    }
}

const BRIEF: Duration = Duration::from_millis(1);

fn quote(n: u64) -> Quote {
    Quote { id: n, bid: n as f64 / 8.0, ask: -(n as f64), venue: *b"XETR", flags: -(n as i32) }
}

fn create<T: Payload>(dir: &Dir) -> Create<T> {
    Ring::create_typed("r").dir(dir.path()).capacity(4096)
}

fn open_or_create<T: Payload>(dir: &Dir) -> Create<T> {
    Ring::open_or_create_typed("r").dir(dir.path())
}

fn open<T: Payload>(dir: &Dir) -> Open<T> {
    Ring::open_typed("r").dir(dir.path())
}

/// The same struct declared in another place, as in another program, is the same type.
#[test]
fn the_same_struct_elsewhere_is_accepted() {
    mod elsewhere {
        annulus::payload! {
            #[derive(Debug)]
            pub(super) struct Depth(pub(super) u16);
        }
    }
    let dir = Dir::new();
    let mut tx = create::<Depth>(&dir).producer().unwrap();
    let rx = open::<elsewhere::Depth>(&dir).subscribe().unwrap();
    tx.send(&Depth(7)).unwrap();
    assert_eq!(rx.recv().unwrap().0, 7);
}

#[test]
fn a_producer_of_the_same_type_goes_on() {
    let dir = Dir::new();
    let ring = || open_or_create::<Quote>(&dir).capacity(4096).persistent(true);
    let mut tx = ring().producer().unwrap();
    let rx = open::<Quote>(&dir).stay().subscribe().unwrap();
    tx.send(&quote(0)).unwrap();
    drop(tx);
    let mut tx = ring().producer().unwrap();
    assert_eq!(tx.sequence(), 1);
    tx.send(&quote(1)).unwrap();
    drop(tx);
    let mut tx = open::<Quote>(&dir).producer().unwrap();
    tx.send(&quote(2)).unwrap();
    for n in 0..3 {
        let record = rx.recv().unwrap();
        assert_eq!((record.sequence(), *record), (n, quote(n)));
    }
}

/// `create` replaces a leftover of whatever type; readers of the old one are told.
#[test]
fn a_leftover_of_another_type_is_replaced() {
    let dir = Dir::new();
    let mut old = create::<u32>(&dir).producer().unwrap();
    old.send(&1).unwrap();
    assert!(create::<Quote>(&dir).producer().unwrap_err().is_already_exists());
    drop(old);
    let mut tx = create::<Quote>(&dir).producer().unwrap();
    let rx = open::<Quote>(&dir).subscribe().unwrap();
    tx.send(&quote(4)).unwrap();
    assert_eq!(*rx.recv().unwrap(), quote(4));
}

#[test]
fn tools_see_the_type_and_read_the_bytes() {
    let dir = Dir::new();
    let mut tx = TypedRing::<Quote>::create("r").dir(dir.path()).capacity(4096).producer().unwrap();
    let info = dir.open("r").info().unwrap();
    let payload = info.payload.unwrap();
    assert_eq!((&*payload.name, payload.size, payload.align), ("Quote", 32, 8));
    assert_eq!(payload.fingerprint, Quote::FINGERPRINT);
    assert!(TypedRing::<Book>::open("r").dir(dir.path()).info().is_ok(), "whatever is expected");

    let rx = dir.open("r").subscribe().unwrap();
    let mut copying = dir.open("r").subscribe_copying().unwrap();
    let mut observer = dir.open("r").observe().unwrap();
    tx.send(&quote(5)).unwrap();
    let record = rx.recv().unwrap();
    assert_eq!(record.len(), 32);
    assert_eq!((&record[..8], &record[24..28]), (&5_u64.to_ne_bytes()[..], &b"XETR"[..]));
    let mut buf = [0; 64];
    assert_eq!(copying.recv(&mut buf).unwrap().len, 32);
    assert_eq!(&buf[..32], &*record);
    assert_eq!(observer.recv(&mut buf).unwrap().len, 32);
    assert_eq!(&buf[..32], &*record);
}

/// What is received and what is lost add up, and each value is the one of its number.
#[test]
fn observers_count_what_they_lose() {
    let dir = Dir::new();
    let mut tx = create::<Quote>(&dir).producer().unwrap();
    let mut observer = open::<Quote>(&dir).observe().unwrap();
    let (mut received, mut lost, mut random) = (0, 0, Random::new(41));
    let mut sent = 0;
    for _ in 0..300 {
        let more = random.below(100);
        assert_eq!(tx.send_batch((sent..sent + more).map(quote)), Ok(more));
        sent += more;
        for _ in 0..random.below(60) {
            match observer.try_recv() {
                Ok(record) => {
                    assert_eq!(*record, quote(record.sequence));
                    received += 1;
                    assert_eq!(received + lost, record.sequence + 1);
                }
                Err(TryCopyError::Lagged(n)) => lost += n,
                Err(TryCopyError::Empty) => break,
                Err(other) => panic!("{other}"),
            }
        }
    }
    drop(tx);
    for record in &mut observer {
        match record {
            Ok(_) => received += 1,
            Err(CopyError::Lagged(n)) => lost += n,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((received + lost, observer.lost()), (sent, lost));
    assert!(received > 0 && lost > 0);
}

/// An observer beside a producer at full speed never sees a mixture of two values.
#[test]
fn no_value_is_torn() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = create::<[u64; 40]>(&dir).producer().unwrap();
        let mut observer = open::<[u64; 40]>(&dir).waiting(Waiting::yielding()).observe().unwrap();
        let sender = std::thread::spawn(move || (0..200_000).for_each(|n| tx.send(&[n; 40]).unwrap()));
        let mut seen = 0;
        loop {
            match observer.recv() {
                Ok(record) => {
                    assert_eq!(*record, [record.sequence; 40]);
                    seen += 1;
                }
                Err(CopyError::Lagged(_)) => {}
                Err(CopyError::Ended(RecvError::Closed)) => break,
                Err(other) => panic!("{other}"),
            }
        }
        sender.join().unwrap();
        assert_eq!(seen + observer.lost(), 200_000);
    });
}

#[test]
fn late_joiners_get_what_is_retained() {
    let dir = Dir::new();
    let mut tx = create::<Quote>(&dir).retain(5).producer().unwrap();
    tx.send_batch((0..1000).map(quote)).unwrap();
    let late = || open::<Quote>(&dir).start(Start::Last(3));
    let rx = late().subscribe().unwrap();
    let (mut copying, mut observer) = (late().subscribe_copying().unwrap(), late().observe().unwrap());
    for n in 997..1000 {
        let record = rx.recv().unwrap();
        assert_eq!((record.sequence(), *record), (n, quote(n)));
        assert_eq!(*copying.recv().unwrap(), quote(n));
        assert_eq!(*observer.recv().unwrap(), quote(n));
    }
    let oldest = open::<Quote>(&dir).start(Start::Oldest).subscribe().unwrap();
    let first = oldest.recv().unwrap();
    assert!(first.sequence() <= 995);
    assert_eq!(*first, quote(first.sequence()));
    let gone = open::<Quote>(&dir).start(Start::Sequence(1)).subscribe().unwrap_err();
    assert!(matches!(gone.kind(), ErrorKind::StartGone { .. }), "{gone}");
}

/// Values that are held stay as they are and where they are, whatever is sent and whatever is dropped.
#[test]
fn held_values_stay() {
    let dir = Dir::new();
    let mut tx = create::<Quote>(&dir).align(Align::Packed).producer().unwrap();
    let rx = open::<Quote>(&dir).subscribe().unwrap();
    let (mut held, mut sent, mut random) = (VecDeque::new(), 0, Random::new(42));
    for _ in 0..5000 {
        if random.below(2) == 0 && tx.try_send(&quote(sent)).is_ok() {
            sent += 1;
        }
        if random.below(2) == 0
            && let Ok(record) = rx.try_recv()
        {
            held.push_back(record);
        }
        if random.below(3) == 0 && !held.is_empty() {
            let i = random.below(held.len() as u64) as usize;
            held.swap_remove_back(i);
        }
        for record in &held {
            assert_eq!(**record, quote(record.sequence()));
        }
    }
    assert!(sent > 1000);
}

#[test]
fn the_rest_of_a_producer() {
    let dir = Dir::new();
    let mut tx = create::<u32>(&dir).max_subscribers(1).producer().unwrap();
    assert_eq!((tx.name(), tx.capacity(), tx.sequence(), tx.is_linked()), ("r", 4096, 0, true));
    assert_eq!(tx.wait_for_subscribers(2), Err(WaitError::TooMany { max: 1 }));
    let none = tx.wait_for_subscribers_timeout(1, BRIEF);
    assert_eq!(none, Err(WaitError::TimedOut { present: 0 }));
    let rx = open::<u32>(&dir).subscribe().unwrap();
    tx.wait_for_subscribers(1).unwrap();
    tx.set_waiting(Waiting::yielding());
    rx.set_waiting(Waiting::yielding());
    assert_eq!(tx.try_send_batch(0..1000), Ok(63));
    assert!(matches!(tx.send_timeout(&0, BRIEF), Err(SendTimeoutError::TimedOut(_))));
    assert_eq!(format!("{tx:?}"), "TypedProducer { name: \"r\", type: \"u32\", sequence: 63, .. }");
    assert_eq!(format!("{rx:?}"), "TypedSubscriber { type: \"u32\", sequence: 0, held_bytes: 0, .. }");
    assert_eq!(format!("{:?}", rx.recv().unwrap()), "TypedRecord { sequence: 0, value: 0 }");
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert!(!tx.is_linked() && !rx.is_linked());
}

/// A batch larger than the ring goes in parts while a reader reads.
#[test]
fn a_batch_larger_than_the_ring() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = create::<Quote>(&dir).producer().unwrap();
        let rx = open::<Quote>(&dir).subscribe().unwrap();
        let reader = std::thread::spawn(move || {
            for (n, record) in (0..).zip(&rx) {
                assert_eq!(*record.unwrap(), quote(n));
            }
            rx.sequence()
        });
        let quotes: Vec<Quote> = (0..20_000).map(quote).collect();
        assert_eq!(tx.send_batch(&quotes), Ok(20_000));
        drop(tx);
        assert_eq!(reader.join().unwrap(), 20_000);
    });
}

#[test]
fn ends_can_be_given_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<TypedProducer<Quote>>();
    is_send::<TypedSubscriber<Quote>>();
    is_send::<TypedCopyingSubscriber<Quote>>();
    is_send::<TypedObserver<Quote>>();
    is_send::<Create<Quote>>();
    is_send::<Open<Quote>>();
}

/// Which directory the other process shall use, and how it shall read there.
const ROLE: &str = "ANNULUS_TEST_TYPED";

/// Quotes to another process and books back, whatever kind of reader it is.
#[test]
fn between_two_processes() {
    for how in ["subscribe", "copy", "observe"] {
        in_time(move || {
            let dir = Dir::new();
            let mut tx =
                Ring::create_typed::<Quote>("there").dir(dir.path()).capacity(4096).producer().unwrap();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "typed::the_other_process", "--test-threads=1"]).stdout(Stdio::null());
            command.env(ROLE, format!("{how} {}", dir.text()));
            let alone = no_forks();
            let mut child = command.spawn().unwrap();
            drop(alone);
            let back =
                Ring::open_typed::<Book>("back").dir(dir.path()).wait(LONG).unwrap().subscribe().unwrap();
            for n in 0..2000 {
                tx.send(&quote(n)).unwrap();
                let book = back.recv().unwrap();
                assert_eq!((book.sequence(), book.quotes[1], book.depth.0), (n, quote(n), n as u16));
            }
            drop(tx);
            assert_eq!(back.recv().unwrap_err(), RecvError::Closed);
            assert!(child.wait().unwrap().success());
        });
    }
}

/// Not a test: what this binary does when `between_two_processes` has started it again.
#[test]
fn the_other_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (how, dir) = role.split_once(' ').unwrap();
    let there = || Ring::open_typed::<Quote>("there").dir(dir);
    let mut receive: Box<dyn FnMut() -> Option<Quote>> = match how {
        "subscribe" => {
            let rx = there().subscribe().unwrap();
            Box::new(move || match rx.recv() {
                Ok(record) => Some(*record),
                Err(end) => (end != RecvError::Closed).then(|| panic!("{end}")),
            })
        }
        "copy" => {
            let mut rx = there().subscribe_copying().unwrap();
            Box::new(move || rx.iter().next().map(|record| record.unwrap().payload))
        }
        _ => {
            let mut rx = there().waiting(Waiting::yielding()).observe().unwrap();
            Box::new(move || rx.iter().next().map(|record| record.unwrap().payload))
        }
    };
    assert!(Ring::open_typed::<renamed_field::Quote>("there").dir(dir).observe().is_err());
    let mut back = Ring::create_typed::<Book>("back").dir(dir).capacity(4096).producer().unwrap();
    back.wait_for_subscribers(1).unwrap();
    while let Some(quote) = receive() {
        let book = Book { quotes: [quote; 3], depth: Depth(quote.id as u16), _pad: [0; 6] };
        back.send(&book).unwrap();
    }
}

/// A ring larger than the default is taken over without saying its capacity.
#[test]
fn a_large_value_needs_no_capacity_where_the_ring_is() {
    const LEN: usize = 3 << 20;
    let dir = Dir::new();
    create::<[u8; LEN]>(&dir).capacity(4 << 20).persistent(true).without_producer().unwrap();
    drop(open::<[u8; LEN]>(&dir).producer().unwrap());
    drop(open_or_create::<[u8; LEN]>(&dir).producer().unwrap());
    let error = Ring::create_typed::<[u8; LEN]>("new").dir(dir.path()).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
    let error = Ring::open_or_create_typed::<[u8; LEN]>("new").dir(dir.path()).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
    assert_eq!(dir.entries(), ["r"]);
}
