//! Made-up records, at a pace.

use std::time::{Duration, Instant};

use annulus::Producer;

use crate::end::Result;
use crate::publish::send_one;
use crate::stop::{LOOK, Stop};

/// Bytes of a record unless said.
pub(crate) const SIZE: usize = 64;
/// Digits of the number in front: all that 64 bits may have.
const DIGITS: usize = 20;
/// Below such a time between two records, sleeping would make them late: it takes about so long to be woken.
const SLEEPABLE: Duration = Duration::from_micros(100);

/// Sends `count` records of `size` bytes, `rate` of them a second; as many and as fast as can be if nothing
/// is said.
///
/// Each record has a time at which it is due, counted from the first one: what comes late does not delay what
/// is behind it.
pub(crate) fn run(
    tx: &mut Producer,
    size: usize,
    rate: Option<f64>,
    count: Option<u64>,
    stop: &Stop,
) -> Result {
    let mut record = vec![0; size];
    let begin = Instant::now();
    for n in 0..count.unwrap_or(u64::MAX) {
        match rate {
            Some(rate) => wait_until(begin + due(n, rate), rate, stop)?,
            None => stop.check()?,
        }
        make_up(tx.sequence(), &mut record);
        send_one(tx, &record, stop)?;
    }
    Ok(())
}

/// When a record is due, counted from the first one.
fn due(n: u64, rate: f64) -> Duration {
    // The rate is 0.00001 at least, so that this is longer than any program runs.
    Duration::try_from_secs_f64(n as f64 / rate).unwrap_or(Duration::from_secs(u32::MAX.into()))
}

/// Waits until a record is due; in the kernel, unless the rate is too high for that.
fn wait_until(due: Instant, rate: f64, stop: &Stop) -> Result {
    let spins = rate * SLEEPABLE.as_secs_f64() > 1.0;
    loop {
        stop.check()?;
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        } else if spins {
            std::hint::spin_loop();
        } else {
            std::thread::sleep(left.min(LOOK));
        }
    }
}

/// A record that says its number, and whose bytes follow from it: its last digits, as many of 20 as there is
/// room for, and then letters of the alphabet in a row that begins with the number's.
fn make_up(number: u64, record: &mut [u8]) {
    let (digits, letters) = record.split_at_mut(record.len().min(DIGITS));
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    const ALPHABET: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    let row = &ALPHABET[(number % 26) as usize..][..26];
    for letters in letters.chunks_mut(26) {
        letters.copy_from_slice(&row[..letters.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up(number: u64, size: usize) -> String {
        let mut record = vec![0; size];
        make_up(number, &mut record);
        String::from_utf8(record).unwrap()
    }

    #[test]
    fn records_say_their_number() {
        assert_eq!(made_up(123, 1), "3");
        assert_eq!(made_up(123, 8), "00000123");
        assert_eq!(made_up(u64::MAX, 20), "18446744073709551615");
        assert_eq!(made_up(27, 23), "00000000000000000027bcd");
        let long = made_up(25, 20 + 30);
        assert_eq!(&long[20..], "zabcdefghijklmnopqrstuvwxyzabc");
    }

    #[test]
    fn due_times_do_not_drift() {
        assert_eq!(due(0, 3.0), Duration::ZERO);
        assert_eq!(due(3_000_000, 3.0), Duration::from_secs(1_000_000));
        assert_eq!(due(1, 1e9), Duration::from_nanos(1));
        assert!(due(u64::MAX, 1e-5) >= Duration::from_secs(u32::MAX.into()));
    }
}
