//! The percentile curve, in characters.

use crate::{Row, System, Values};

/// Columns from one tick to the next; each tick is ten times rarer than the one before.
const STEP: usize = 15;
const TICKS: [&str; 5] = ["0", "90", "99", "99.9", "99.99"];
const ROWS: usize = 13;

/// The rows that have times, as curves over their percentiles: to the right is rarer, and up is slower,
/// both on a log scale. Each system has a letter; where curves meet, the letters take turns. Empty without
/// any times.
pub fn curve(rows: &[&Row]) -> String {
    let curves: Vec<(char, Vec<u64>)> =
        rows.iter().filter_map(|row| Some((mark(row), values(row)?))).collect();
    let all = || curves.iter().flat_map(|(_, values)| values);
    let (Some(&low), Some(&high)) = (all().min(), all().max()) else { return String::new() };
    let (low, high) = scale(low, high);
    let mut grid = vec![vec![Vec::new(); width()]; ROWS];
    for (mark, values) in &curves {
        for (x, value) in values.iter().enumerate() {
            let share = ((*value as f64).ln() - low.ln()) / (high.ln() - low.ln());
            grid[ROWS - 1 - (share * (ROWS - 1) as f64).round() as usize][x].push(*mark);
        }
    }
    draw(rows, &grid, low, high)
}

fn width() -> usize {
    STEP * (TICKS.len() - 1) + 1
}

/// The letter of a system; the second try of the floor is `F`.
fn mark(row: &Row) -> char {
    match row.system {
        System::FloorAgain => 'F',
        system => system.word().chars().next().unwrap_or('?'),
    }
}

/// The time at each column's percentile.
fn values(row: &Row) -> Option<Vec<u64>> {
    let Values::Times(times) = &row.values else { return None };
    let quantile = |x: usize| 1.0 - 10f64.powf(-(x as f64) / STEP as f64);
    Some((0..width()).map(|x| times.value_at_quantile(quantile(x)).max(1)).collect())
}

/// The ends of the axis: those of the values, and never the same.
fn scale(low: u64, high: u64) -> (f64, f64) {
    (low as f64, (high as f64).max(low as f64 * 2.0))
}

fn draw(rows: &[&Row], grid: &[Vec<Vec<char>>], low: f64, high: f64) -> String {
    let mut text = String::new();
    for (y, line) in grid.iter().enumerate() {
        let share = (ROWS - 1 - y) as f64 / (ROWS - 1) as f64;
        let value = (low.ln() + share * (high.ln() - low.ln())).exp();
        let label = if y % 3 == 0 { time(value) } else { String::new() };
        let marks =
            |(x, marks): (usize, &Vec<char>)| marks.get(x % marks.len().max(1)).copied().unwrap_or(' ');
        let line: String = line.iter().enumerate().map(marks).collect();
        text += format!("{label:>8} |{}", line.trim_end()).trim_end();
        text.push('\n');
    }
    let mut axis: Vec<char> = vec!['-'; width()];
    let mut ticks = String::new();
    for (i, tick) in TICKS.iter().enumerate() {
        axis[i * STEP] = '+';
        let at = i * STEP;
        ticks += &" ".repeat(at.saturating_sub(ticks.len()));
        ticks += tick;
    }
    text += &format!("{:>8} +{}\n", "", axis.iter().collect::<String>());
    text += &format!("{:>8}  {ticks} %\n", "");
    let legend: Vec<_> = rows.iter().map(|row| format!("{} {}", mark(row), row.system)).collect();
    text + &format!("{:>8}  {}\n", "", legend.join("   "))
}

/// A time in its unit, with two or three digits.
fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 999.5 => (ns, "ns"),
        ns if ns < 999_500.0 => (ns / 1e3, "us"),
        ns => (ns / 1e6, "ms"),
    };
    if value < 9.95 && unit != "ns" { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::{Bench, Ratio};

    fn row(system: System, first: u64) -> Row {
        let mut times = Histogram::new_with_bounds(1, u64::from(u32::MAX), 3).unwrap();
        for i in 0..10_000u64 {
            times.record(first + if i > 9_900 { 100 * i } else { 0 }).unwrap();
        }
        let (bench, values) = (Bench::PingPong, Values::Times(times));
        Row { bench, system, size: 64, many: 1, mode: "spin", values, ratio: Ratio::ONE, awake: 0 }
    }

    #[test]
    fn a_curve_goes_up_to_the_right_and_names_its_systems() {
        let rows = [row(System::Floor, 100), row(System::Annulus, 400), row(System::Pipe, 9000)];
        let text = curve(&rows.each_ref());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), ROWS + 3, "{text}");
        assert!(lines.iter().all(|line| line.len() <= 80), "{text}");
        assert!(lines[ROWS - 1].starts_with("  100 ns |fff"), "{text}");
        assert!(lines[0].starts_with("  1.0 ms |   ") && lines[0].ends_with('f'), "{text}");
        assert!(lines[ROWS + 1].ends_with("99.99 %"), "{text}");
        assert_eq!(lines[ROWS + 2].trim(), "f floor   a annulus   p pipe");
    }

    #[test]
    fn one_value_is_a_flat_line_and_none_is_nothing() {
        let mut flat = row(System::Uds, 70);
        let mut times = Histogram::new(3).unwrap();
        times.record(70).unwrap();
        flat.values = Values::Times(times);
        assert!(curve(&[&flat]).contains("  70 ns |uuuu"));
        flat.values = Values::Rate { count: 1, per_second: 1.0 };
        assert_eq!(curve(&[&flat]), "");
        assert_eq!(curve(&[]), "");
    }

    #[test]
    fn times_have_their_unit() {
        assert_eq!(
            [7.0, 999.4, 999.6, 45_600.0, 2.5e6].map(time),
            ["7 ns", "999 ns", "1.0 us", "46 us", "2.5 ms"]
        );
    }
}
