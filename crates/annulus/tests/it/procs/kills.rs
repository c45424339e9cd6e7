//! A producer is killed at a random instant at full speed, with records of every size.

use std::time::Duration;

use annulus::{RecvError, Ring, Start, TryRecvError};

use super::child::{Child, say};
use super::forks::{Board, Fork, a_moment};
use crate::support::{Dir, Random};

const KILLS: u64 = 300;
/// Length of the records, and a capacity that holds at least eight of them.
const SIZES: [(usize, usize); 5] =
    [(8, 16 << 10), (64, 16 << 10), (1024, 64 << 10), (4096, 64 << 10), (256 << 10, 4 << 20)];
/// Numbers on the board: sends that have returned, and producers that are about to send.
const SENT: usize = 0;
const READY: usize = 1;

/// What fills the record of a number: nearly always another byte than before, and after a turn of the ring.
fn filling(n: u64) -> u8 {
    (n.wrapping_mul(167) >> 3) as u8
}

fn write(n: u64, bytes: &mut [u8]) {
    bytes.fill(filling(n));
    bytes[..8].copy_from_slice(&n.to_le_bytes());
}

fn is_whole(n: u64, bytes: &[u8], len: usize) -> bool {
    bytes.len() == len && bytes[..8] == n.to_le_bytes() && bytes[8..].iter().all(|&byte| byte == filling(n))
}

/// Case 13. Promise: the producer is killed in the middle of a write, a reader sees every published record, no other;
/// then `ProducerLost`; a new one goes on in sequence. 300 kills at a random instant at full speed for each of five
/// sizes: a fresh reader gets every whole record that is there, up to the last one whose `send` returned.
#[test]
fn at_a_random_instant() {
    let dir = Dir::new();
    let sizes: Vec<_> =
        SIZES.iter().map(|&size| (size, Child::start("killer", &words(&dir, size)))).collect();
    for ((len, _), mut killer) in sizes {
        let said = killer.hear();
        eprintln!("{len} bytes: {said}");
        killer.ends_well();
    }
}

fn words(dir: &Dir, (len, capacity): (usize, usize)) -> Vec<&'static str> {
    let words = [dir.text().to_owned(), len.to_string(), capacity.to_string()];
    words.map(|word| &*word.leak()).to_vec()
}

/// Starts producers and kills them, and looks at what each has left.
pub(super) fn killer(dir: &str, len: usize, capacity: usize) {
    let mut random = Random::new(len as u64);
    let name = format!("r{len}");
    let (mut records, mut most) = (0, 0);
    let board = Board::new();
    for round in 0..KILLS {
        board.set(SENT, 0);
        board.set(READY, 0);
        let producer = Fork::new(|| {
            let ring = Ring::open_or_create(&name).dir(dir).capacity(capacity);
            let mut tx = ring.max_subscribers(1).liveness(Duration::from_millis(5)).producer().unwrap();
            let mut bytes = vec![0; len];
            board.count(READY);
            for n in 0.. {
                write(n, &mut bytes);
                tx.send(&bytes).unwrap();
                board.set(SENT, n + 1);
            }
        });
        board.until(READY, 1);
        // Now and then in the very beginning; mostly in the second turn of the ring and after it.
        a_moment(&mut random, if round % 4 == 0 { 30 } else { 300 });
        producer.kill();
        let sent = board.get(SENT);

        let open = || Ring::open(&name).dir(dir);
        let rx = open().start(Start::Oldest).subscribe().unwrap();
        let mut next = rx.sequence();
        let first = next;
        let end = loop {
            match rx.try_recv() {
                Ok(record) => {
                    assert_eq!(record.sequence(), next, "a gap, or a record twice");
                    assert!(is_whole(next, &record, len), "record {next} is torn");
                    next += 1;
                }
                Err(TryRecvError::Empty) => match rx.recv() {
                    Ok(record) => panic!("{} appears after nothing", record.sequence()),
                    Err(end) => break end,
                },
                Err(TryRecvError::Ended(end)) => break end,
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(end, RecvError::ProducerLost);
        // All that it has said it sent, and at most the one that it died at.
        assert!(next == sent || next == sent + 1, "{sent} were sent, and {next} are there");
        // And of those as many as can be there: all, or a ring's worth but for what is cleared ahead.
        let fit = (capacity * 3 / 4 / (len + 72)) as u64;
        assert!(next - first >= sent.min(fit), "{} of {sent} are left, and {fit} fit", next - first);
        drop(rx);

        let mut heir = open().producer().unwrap();
        assert_eq!(heir.sequence(), next);
        let mut bytes = vec![0; len];
        write(next, &mut bytes);
        let rx = open().subscribe().unwrap();
        heir.send(&bytes).unwrap();
        assert!(is_whole(next, &rx.recv().unwrap(), len));
        // Ends cleanly, which removes the ring: the next round begins at 0.
        drop(heir);
        records += next;
        most = most.max(next);
    }
    say(&format!("{KILLS} kills, {records} records, {most} of one producer at most"));
}
