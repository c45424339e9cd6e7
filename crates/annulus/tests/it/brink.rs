//! At the brink: the record that the producer is just not yet, or just now, writing over.

use std::time::Duration;

use annulus::TryCopyError;

use crate::copiers::{KINDS, Kind};
use crate::support::{Dir, in_time};

/// Lines in the smallest ring, one record in each.
const LINES: u64 = 64;
/// Lines that a claim takes.
const CLAIMED: u64 = 15;

fn record(sequence: u64) -> [u8; 56] {
    let mut bytes = [0x11; 56];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    bytes
}

/// Case: a torn read exactly one record short of being lapped. A producer has half of a record written, and not
/// published, that ends just before the one that a reader wants: it is read, whole; or that reaches into it: a loss, exactly
/// counted, though the bytes there say that they are the record. From everywhere in the ring, over two laps.
#[test]
fn one_record_short_of_being_lapped() {
    in_time(|| {
        for kind in KINDS {
            for wanted in 0..2 * LINES + 1 {
                for over in [-1_i64, 0, 1, 2, 8, 12] {
                    let dir = Dir::new();
                    let ring = dir.create("r").capacity(4096).no_in_place().evict_after(Duration::ZERO);
                    let mut tx = ring.prefault(false).producer().unwrap();
                    let mut rx = kind.open(dir.open("r").prefault(false));
                    let mut buf = [0; 64];
                    for n in 0..wanted {
                        tx.send(&record(n)).unwrap();
                        assert_eq!(rx.try_recv(&mut buf).unwrap().sequence, n);
                    }
                    // The claim needs the lines from `tail` on and the header behind them. A producer takes a chunk
                    // more, of four lines, where that costs no subscriber anything.
                    let ahead = if kind == Kind::Observer { 4 } else { 1 };
                    let tail = (wanted + LINES - CLAIMED - ahead).checked_add_signed(over).unwrap();
                    (wanted..tail).for_each(|n| tx.send(&record(n)).unwrap());
                    let len = (CLAIMED * 64 - 8) as usize;
                    let mut claim = tx.claim(len).unwrap();
                    claim.write_at(0, &vec![0xee; len]);
                    // What stood in each line has a header like its own there again.
                    for line in 1..CLAIMED {
                        if let Some(old) = (tail + line).checked_sub(LINES) {
                            let header = old << 32 | 1 << 31 | 56;
                            claim.write_at((line * 64 - 8) as usize, &header.to_le_bytes());
                        }
                    }
                    let got = rx.try_recv(&mut buf);
                    if over <= 0 {
                        assert_eq!(got.map(|got| got.sequence), Ok(wanted), "{kind:?} {over}");
                        assert_eq!(buf[..56], record(wanted));
                    } else {
                        let Err(TryCopyError::Lagged(lost)) = got else {
                            panic!("{kind:?} wants {wanted}, the claim is {over} too far: {got:?}")
                        };
                        assert_eq!((rx.sequence(), lost > 0), (wanted + lost, true));
                        let next = rx.try_recv(&mut buf).unwrap();
                        assert_eq!((next.sequence, &buf[..56]), (wanted + lost, &record(wanted + lost)[..]));
                    }
                    drop(claim);
                }
            }
        }
    });
}
