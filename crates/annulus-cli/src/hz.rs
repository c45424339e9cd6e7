//! `annulus hz`: how many records and bytes a second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use annulus::Info;
use clap::Args;

use crate::args::Named;
use crate::end::{End, Result, say};
use crate::list::print;
use crate::look::{Looked, Standing};
use crate::stop::Stop;
use crate::units::{count, some_time};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// Tells how many records and bytes a second go through a ring, in a line each second, until its producer
/// ends.
///
/// Takes no place in the ring and reads no record: it looks at the ring's counters. Bytes are those of the
/// ring, with a header of 8 for each record and what its alignment adds. The last three columns are of the
/// records' rates in the window: the least, the greatest, and the standard deviation.
#[derive(Args, Debug)]
pub(crate) struct HzArgs {
    #[command(flatten)]
    ring: Named,
    /// How far back the last three columns look, in seconds or as in `1m`
    #[arg(long, value_name = "TIME", value_parser = some_time, default_value = "10s")]
    window: Duration,
    /// End after N lines
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<u64>,
}

const HEADINGS: &str =
    "   records/s         bytes/s  bytes/record           min           max        stddev\n";

/// Prints rates until the producer, the count, whoever reads the output, or a signal ends it.
pub(crate) fn run(args: &HzArgs) -> Result {
    let stop = Stop::on_signals()?;
    let mut before = args.ring.look()?.info;
    let mut at = Instant::now();
    let mut window = Window::of(args.window);
    print(HEADINGS)?;
    let (uuid, begin) = (before.uuid, at);
    let mut lines = 0;
    while args.count.is_none_or(|count| lines < count) {
        lines += 1;
        stop.sleep_until(begin.checked_add(EVERY.saturating_mul(lines as u32)))?;
        let ring = match args.ring.look() {
            Err(error) if error.is_not_found() => {
                say("the ring is gone: its producer has ended");
                return Ok(());
            }
            ring => ring?,
        };
        let now = Instant::now();
        if ring.info.uuid != uuid {
            return Err(End::Lost("another ring took this one's name".into()));
        }
        print(&window.line(&before, &ring.info, now - at))?;
        ended(&ring)?;
        if ring.standing() == Standing::Ended {
            say("the producer has ended");
            return Ok(());
        }
        (before, at) = (ring.info, now);
    }
    Ok(())
}

fn ended(ring: &Looked) -> Result {
    match ring.standing() {
        Standing::Died => Err(End::Lost("the producer died".into())),
        Standing::Replaced => Err(End::Lost("another ring took this one's name".into())),
        Standing::Vacant | Standing::Alive | Standing::Ended => Ok(()),
    }
}

/// The latest rates.
struct Window {
    rates: VecDeque<f64>,
    len: usize,
}

impl Window {
    fn of(time: Duration) -> Self {
        // A line is a second.
        let len = time.as_secs_f64().round().clamp(1.0, 1e6) as usize;
        Self { rates: VecDeque::new(), len }
    }

    /// What has happened between two looks.
    fn line(&mut self, before: &Info, after: &Info, time: Duration) -> String {
        // Counters only grow; what others write is not believed to.
        let records = after.published.saturating_sub(before.published) as f64;
        let bytes = after.bytes.saturating_sub(before.bytes) as f64;
        let seconds = time.as_secs_f64().max(1e-9);
        let mean = if records > 0.0 { bytes / records } else { 0.0 };
        let [min, max, deviation] = self.add(records / seconds);
        let (records, bytes) = (records / seconds, bytes / seconds);
        format!("{records:>12.1}  {bytes:>14.1}  {mean:>12.1}  {min:>12.1}  {max:>12.1}  {deviation:>12.1}\n")
    }

    /// Takes a rate in, and tells the least, the greatest, and the standard deviation.
    fn add(&mut self, rate: f64) -> [f64; 3] {
        if self.rates.len() == self.len {
            self.rates.pop_front();
        }
        self.rates.push_back(rate);
        let n = self.rates.len() as f64;
        let mean = self.rates.iter().sum::<f64>() / n;
        let variance = self.rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / n;
        let min = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let max = self.rates.iter().copied().fold(0.0, f64::max);
        [min, max, variance.sqrt()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_forgets() {
        let mut window = Window::of(Duration::from_secs(2));
        assert_eq!(window.add(100.0), [100.0, 100.0, 0.0]);
        assert_eq!(window.add(10.0), [10.0, 100.0, 45.0]);
        assert_eq!(window.add(20.0), [10.0, 20.0, 5.0]);
        assert_eq!(Window::of(Duration::from_millis(1)).len, 1);
        assert_eq!(Window::of(Duration::from_secs(60)).len, 60);
    }
}
