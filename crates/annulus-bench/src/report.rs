//! The rows as a table, as lines of JSON, and in the files of HdrHistogram.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::SystemTime;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::{Bench, Error, Result, Round, Row, Values, label};

const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p999")];

/// All rows as tables, one for each bench, with a heading each.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for bench in Bench::ALL {
        let rows: Vec<_> = rows.iter().filter(|row| row.bench == bench).collect();
        if rows.is_empty() {
            continue;
        }
        let mut lines = vec![heading(bench)];
        let mut size = rows[0].size;
        for row in rows {
            if row.size != size {
                lines.push(Vec::new());
                size = row.size;
            }
            lines.push(cells(row));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text += &aligned(&lines);
    }
    text
}

fn heading(bench: Bench) -> Vec<String> {
    let figures: &[&str] = match bench {
        _ if bench.is_rate() => &["msgs/s", "GB/s"],
        Bench::Fanout => &["min", "p50", "p90", "p99", "p99.9", "max", "msgs/s"],
        _ => &["min", "p50", "p90", "p99", "p99.9", "max"],
    };
    let last = match bench {
        Bench::Fanout => "ns; p50 to 1 reader's".into(),
        _ if bench.is_rate() => format!("rate to {}'s", bench.yardstick(1).0),
        _ => format!("ns; p50 to {}'s", bench.yardstick(1).0),
    };
    let words = ["bench", "system", "size", "mode"].into_iter().chain(bench.many());
    let words = words.chain(["n"]).chain(figures.iter().copied());
    words.map(str::to_owned).chain([last]).collect()
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.bench.to_string(), row.system.to_string(), row.size.to_string()];
    cells.push(row.mode.into());
    cells.extend(row.several().map(|(_, many)| many.to_string()));
    match &row.values {
        Values::Times(times) | Values::Both { times, .. } => {
            cells.extend([times.len(), times.min()].map(grouped));
            cells.extend(QUANTILES.iter().map(|(q, _)| grouped(times.value_at_quantile(*q))));
            cells.push(grouped(times.max()));
            if let &Values::Both { per_second, .. } = &row.values {
                cells.push(grouped(per_second.round() as u64));
            }
        }
        &Values::Rate { count, per_second } => {
            cells.extend([grouped(count), grouped(per_second.round() as u64)]);
            cells.push(format!("{:.3}", gigabytes(row.size, per_second)));
        }
    }
    let ratio = row.ratio;
    cells.push(format!("{} [{} {}]", figure(ratio.median), figure(ratio.lo), figure(ratio.hi)));
    cells
}

/// Columns as wide as their widest cell: words to the left, numbers to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let mut text = String::new();
    for line in lines {
        for (i, cell) in line.iter().enumerate() {
            let width = lines.iter().filter_map(|line| line.get(i)).map(String::len).max().unwrap_or(0);
            let gap = if i == 0 { "" } else { "  " };
            let _ = match i {
                0 | 1 | 3 => write!(text, "{gap}{cell:<width$}"),
                _ => write!(text, "{gap}{cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

/// A number with a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A ratio with three digits that say something.
fn figure(ratio: f64) -> String {
    match ratio {
        r if r >= 99.95 => format!("{r:.0}"),
        r if r >= 9.995 => format!("{r:.1}"),
        r if r >= 0.0995 => format!("{r:.2}"),
        r => format!("{r:.4}"),
    }
}

fn gigabytes(size: usize, per_second: f64) -> f64 {
    size as f64 * per_second / 1e9
}

/// One row as a JSON object, on one line without its end.
pub fn json(row: &Row) -> String {
    let Row { bench, system, size, mode, ratio, .. } = row;
    let mut head = format!(r#"{{"bench":"{bench}","system":"{system}","size":{size},"mode":"{mode}""#);
    if let Some((word, many)) = row.several() {
        let _ = write!(head, r#","{word}":{many}"#);
    }
    let (ratio, lo, hi) = (ratio.median, ratio.lo, ratio.hi);
    match &row.values {
        Values::Times(times) | Values::Both { times, .. } => {
            let mut text = format!(r#"{head},"unit":"ns","n":{},"min":{}"#, times.len(), times.min());
            for (quantile, name) in QUANTILES {
                let _ = write!(text, r#","{name}":{}"#, times.value_at_quantile(quantile));
            }
            let _ = write!(text, r#","max":{}"#, times.max());
            if let Values::Both { per_second, .. } = &row.values {
                let _ = write!(text, r#","msgs_per_s":{per_second:.0}"#);
            }
            let _ = write!(text, r#","ratio_p50":{ratio:.4}"#);
            text + &format!(r#","ratio_lo":{lo:.4},"ratio_hi":{hi:.4}}}"#)
        }
        &Values::Rate { count, per_second } => {
            let gb = gigabytes(*size, per_second);
            let rate = format!(r#""n":{count},"msgs_per_s":{per_second:.0},"gb_per_s":{gb:.6}"#);
            // A kernel's stream may be a few thousandths of the floor's: six digits keep three of them.
            format!(
                r#"{head},"unit":"msgs/s",{rate},"ratio":{ratio:.6},"ratio_lo":{lo:.6},"ratio_hi":{hi:.6}}}"#
            )
        }
    }
}

/// Writes a row's times as the percentile file (`.hgrm`) that the HdrHistogram plotter reads. A row of
/// a rate has none.
///
/// # Errors
///
/// Those of `to`.
pub fn percentiles(row: &Row, to: &mut dyn Write) -> io::Result<()> {
    let (Values::Times(times) | Values::Both { times, .. }) = &row.values else { return Ok(()) };
    writeln!(to, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut count = 0;
    for step in times.iter_quantiles(5) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64, step.quantile_iterated_to());
        write!(to, "{value:>12.3} {quantile:.12} {count:>10}")?;
        if quantile < 1.0 { writeln!(to, " {:>14.2}", 1.0 / (1.0 - quantile))? } else { writeln!(to)? }
    }
    let (mean, deviation) = (times.mean(), times.stdev());
    writeln!(to, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    writeln!(to, "#[Max     = {:>12.3}, Total count    = {:>12}]", times.max() as f64, times.len())?;
    let sub = 2 * 10u64.pow(u32::from(times.sigfig()));
    let sub = sub.next_power_of_two();
    let buckets = times.high().div_ceil(sub).next_power_of_two().ilog2() + 1;
    writeln!(to, "#[Buckets = {buckets:>12}, SubBuckets     = {sub:>12}]")
}

/// Makes a run with an interval log (`.hlog`) of it in `to`: what `run` hands on is written round by
/// round, tagged `bench-system-size`. A stream has no times, so its rounds are left out.
///
/// # Errors
///
/// A log that cannot be written. The run is over by then: its own outcome is lost.
pub fn interval_log<T>(
    to: &mut dyn Write,
    run: impl FnOnce(&mut dyn FnMut(Round<'_>)) -> T,
) -> std::result::Result<T, Error> {
    let mut serializer = V2DeflateSerializer::new();
    let mut to = to;
    let failed = |e: &dyn std::fmt::Debug| Error::failed(format!("cannot write the interval log: {e:?}"));
    let began = SystemTime::now();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("nanoseconds")
        .with_start_time(began)
        .with_base_time(began)
        .begin_log_with(&mut to, &mut serializer)
        .map_err(|e| failed(&e))?;
    let mut outcome: Result<()> = Ok(());
    let out = run(&mut |round| {
        let Some(times) = round.times else { return };
        let tag = label(round.bench, round.system, round.size, round.many);
        let written = log.write_histogram(times, round.start, round.length, Tag::new(&tag));
        if let (Err(e), Ok(())) = (written, &outcome) {
            outcome = Err(failed(&e));
        }
    });
    outcome.map(|()| out)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;

    use super::*;
    use crate::{Ratio, System};

    fn times() -> Histogram<u64> {
        let mut times = Histogram::new_with_bounds(1, u64::from(u32::MAX), 3).unwrap();
        for value in 1..=1000 {
            times.record(value).unwrap();
        }
        times
    }

    fn row(bench: Bench, system: System, values: Values) -> Row {
        let ratio = Ratio { median: 1.25, lo: 1.2, hi: 1.3 };
        Row { bench, system, size: 64, many: 8, mode: "spin", values, ratio, awake: 0 }
    }

    fn trip() -> Row {
        row(Bench::PingPong, System::Annulus, Values::Times(times()))
    }

    fn stream() -> Row {
        row(Bench::Stream, System::Uds, Values::Rate { count: 12_345, per_second: 1e6 })
    }

    #[test]
    fn json_is_one_object_a_line() {
        assert_eq!(
            json(&trip()),
            r#"{"bench":"pingpong","system":"annulus","size":64,"mode":"spin","unit":"ns","n":1000,"min":1,"p50":500,"p90":900,"p99":990,"p999":999,"max":1000,"ratio_p50":1.2500,"ratio_lo":1.2000,"ratio_hi":1.3000}"#
        );
        assert_eq!(
            json(&stream()),
            r#"{"bench":"stream","system":"uds","size":64,"mode":"spin","unit":"msgs/s","n":12345,"msgs_per_s":1000000,"gb_per_s":0.064000,"ratio":1.250000,"ratio_lo":1.200000,"ratio_hi":1.300000}"#
        );
    }

    #[test]
    fn rows_say_how_many_there_were() {
        let fanout = row(Bench::Fanout, System::Annulus, Values::Both { times: times(), per_second: 2e6 });
        let text = json(&fanout);
        assert!(text.contains(r#""mode":"spin","readers":8,"unit":"ns","n":1000"#), "{text}");
        assert!(text.contains(r#""max":1000,"msgs_per_s":2000000,"ratio_p50":1.2500"#), "{text}");
        assert_eq!(fanout.label(), "fanout-annulus-64-8");
        let group = row(Bench::Group, System::Crossbeam, Values::Rate { count: 5, per_second: 1e6 });
        let text = json(&group);
        assert!(text.contains(r#""mode":"spin","workers":8,"unit":"msgs/s","n":5"#), "{text}");
    }

    #[test]
    fn the_table_lines_up() {
        let fanout = row(Bench::Fanout, System::Annulus, Values::Both { times: times(), per_second: 2e6 });
        let text = table(&[trip(), stream(), fanout]);
        let [first, second, third]: [&str; 3] = text.split("\n\n").collect::<Vec<_>>().try_into().unwrap();
        for lines in [first, second, third] {
            let widths: Vec<_> = lines.lines().map(str::len).collect();
            assert_eq!(widths.len(), 2);
            assert_eq!(widths[0], widths[1], "{lines}");
        }
        assert!(second.contains("12,345  1,000,000  0.064"), "{second}");
        assert!(first.ends_with("1.25 [1.20 1.30]"), "{first}");
    }

    #[test]
    fn numbers_are_short_and_plain() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([123.4, 23.57, 1.004, 0.1, 0.0052].map(figure), ["123", "23.6", "1.00", "0.10", "0.0052"]);
    }

    #[test]
    fn percentile_files_have_the_usual_form() {
        let mut text = Vec::new();
        percentiles(&trip(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].trim().starts_with("Value ") && lines[1].is_empty());
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        assert!(text.contains("    1000.000 1.000000000000       1000\n#[Mean    =      500.500"), "{text}");
        assert!(lines[lines.len() - 1].starts_with("#[Buckets = "));
        percentiles(&stream(), &mut Vec::new()).unwrap();
    }

    #[test]
    fn an_interval_log_can_be_read_again() {
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
        let times = times();
        let mut text = Vec::new();
        let out = interval_log(&mut text, |log| {
            let (bench, system, size) = (Bench::Wake, System::Pipe, 8);
            let (start, length) = (Duration::from_millis(5), Duration::from_millis(10));
            log(Round { bench, system, size, many: 1, done: 0.5, start, length, times: Some(&times) });
            log(Round { bench, system, size, many: 1, done: 1.0, start, length, times: None });
            7
        });
        assert_eq!(out.unwrap(), 7);
        let tags: Vec<_> = IntervalLogIterator::new(&text)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(interval) => Some(interval.tag().unwrap().as_str().to_owned()),
                _ => None,
            })
            .collect();
        assert_eq!(tags, ["wake-pipe-8"]);
    }
}
