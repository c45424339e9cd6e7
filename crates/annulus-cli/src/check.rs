//! `annulus check`: how a ring stands, for Nagios and whatever understands its plugins.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use annulus::{Observer, RecvError, TryCopyError};
use clap::Args;

use crate::args::Named;
use crate::end::{End, sentence};
use crate::list::print;
use crate::look::{Looked, Standing};
use crate::stop::Stop;
use crate::units::{Limit, limit, some_time};

/// Between two looks whether something was published.
const WATCH: Duration = Duration::from_millis(10);

/// Checks how a ring stands, as a plugin of Nagios does: one line, and an exit code of its own.
///
/// Takes no place in the ring. Without options it checks that the ring is there. It needs permission to read
/// the ring's data, and for a lag also to subscribe.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    ring: Named,
    /// Critical unless the ring has a living producer
    #[arg(long)]
    producer_alive: bool,
    /// Critical if a living subscriber is further behind, as in `64K` or `50%` of the ring
    #[arg(long, value_name = "BYTES|%", value_parser = limit)]
    max_lag: Option<Limit>,
    /// A warning if a living subscriber is further behind
    #[arg(long, value_name = "BYTES|%", value_parser = limit)]
    warn_lag: Option<Limit>,
    /// Critical if the newest record is older, as in `5s`, or if there is none. On rings that are not
    /// --stamped it watches until a record comes, for so long
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    max_age: Option<Duration>,
    /// A warning if the newest record is older
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    warn_age: Option<Duration>,
}

/// The exit codes of `check`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes, of which the worst counts:
    0  OK
    1  WARNING
    2  CRITICAL
    3  UNKNOWN: no such ring, wrong use, no permission, or stopped by a signal";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Ok,
    Warning,
    Critical,
}

/// What was found, each with what it means.
#[derive(Debug, Default)]
struct Findings {
    ring: String,
    told: Vec<(Option<Grade>, String)>,
    figures: String,
}

impl Findings {
    fn add(&mut self, grade: Grade, what: String) {
        self.told.push((Some(grade), what));
    }

    /// A figure, with the limits of its grades and its own.
    fn figure(&mut self, name: &str, value: &str, warn: &str, critical: &str, max: &str) {
        let _ = write!(self.figures, " {name}={value};{warn};{critical};0;{max}");
    }
}

/// Checks, and says so in a line. Whoever reads it may have gone: the code says the same.
pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let (line, code) = match Stop::on_signals().and_then(|stop| args.check(&stop)) {
        Ok(findings) => report(&findings),
        Err(End::Wrong(why) | End::Lost(why)) => (unknown(&why), 3),
        Err(End::Signal(_)) => (unknown("stopped by a signal"), 3),
        Err(End::Enough) => (unknown("nobody reads the output"), 3),
    };
    let _ = print(&line);
    ExitCode::from(code)
}

/// The line of a check that could not be made.
pub(crate) fn unknown(why: &str) -> String {
    format!("ANNULUS UNKNOWN - {}\n", on_one_line(why))
}

/// A bar would begin the figures.
fn on_one_line(text: &str) -> String {
    text.replace('\n', " ").replace('|', "/")
}

fn report(findings: &Findings) -> (String, u8) {
    let worst = findings.told.iter().filter_map(|(grade, _)| *grade).max().unwrap_or(Grade::Ok);
    let word = ["OK", "WARNING", "CRITICAL"][worst as usize];
    // The worst first.
    let mut told: Vec<_> = findings.told.iter().collect();
    told.sort_by_key(|(grade, _)| std::cmp::Reverse(*grade));
    let told: Vec<_> = told.iter().map(|(_, what)| on_one_line(what)).collect();
    let (ring, told) = (&findings.ring, told.join(", "));
    (format!("ANNULUS {word} - {ring}: {told} | {}\n", findings.figures), worst as u8)
}

impl CheckArgs {
    fn check(&self, stop: &Stop) -> Result<Findings, End> {
        let ring = self.ring.look()?;
        let info = &ring.info;
        let figures = format!("published={}c;;;;", info.published);
        let mut findings = Findings { ring: info.name.clone(), told: Vec::new(), figures };
        self.producer(&ring, &mut findings);
        if self.max_lag.is_some() || self.warn_lag.is_some() {
            self.lag(&ring, &mut findings)?;
        }
        if self.max_age.is_some() || self.warn_age.is_some() {
            self.age(&ring, stop, &mut findings)?;
        }
        Ok(findings)
    }

    fn producer(&self, ring: &Looked, findings: &mut Findings) {
        let (grade, what) = match ring.standing() {
            Standing::Alive => (Grade::Ok, format!("producer {} lives", ring.info.producer_pid)),
            Standing::Vacant => (Grade::Critical, "no producer yet".to_owned()),
            Standing::Ended => (Grade::Critical, "its producer has ended".to_owned()),
            Standing::Died => (Grade::Critical, format!("producer {} died", ring.info.producer_pid)),
            Standing::Replaced => (Grade::Critical, "another ring took the name".to_owned()),
        };
        findings.told.push((self.producer_alive.then_some(grade), what));
    }

    fn lag(&self, ring: &Looked, findings: &mut Findings) -> Result<(), End> {
        if !ring.files.shows_subscribers {
            return Err(End::Wrong("the system does not permit to see who subscribes".into()));
        }
        let capacity = ring.info.capacity;
        let [warn, critical] = [self.warn_lag, self.max_lag].map(|limit| limit.map(|l| l.of(capacity)));
        // The dead do not count: the producer goes on without them.
        let worst = ring.info.subscribers.iter().filter(|one| one.alive).max_by_key(|one| one.behind);
        let behind = worst.map_or(0, |one| one.behind);
        let what = worst.map_or("no subscribers".to_owned(), |one| {
            format!("lag {behind} bytes (slot {}, pid {})", one.slot, one.pid)
        });
        findings.add(grade(&behind, warn.as_ref(), critical.as_ref()), what);
        let [warn, critical] = [warn, critical].map(|limit| limit.map_or(String::new(), |l| l.to_string()));
        findings.figure("lag", &format!("{behind}B"), &warn, &critical, &capacity.to_string());
        Ok(())
    }

    fn age(&self, ring: &Looked, stop: &Stop, findings: &mut Findings) -> Result<(), End> {
        let age = match ring.info.clock {
            Some(_) => self.stamped_age()?,
            None => self.watched_age(ring, stop)?,
        };
        let seconds = |time: Option<Duration>| time.map_or(String::new(), |t| t.as_secs_f64().to_string());
        let [warn, critical] = [self.warn_age, self.max_age].map(seconds);
        let value = match &age {
            Age::Known(age) => {
                let grade = grade(age, self.warn_age.as_ref(), self.max_age.as_ref());
                findings.add(grade, format!("newest record {:.3} s old", age.as_secs_f64()));
                format!("{:.6}s", age.as_secs_f64())
            }
            Age::Came(age) => {
                let grade = grade(age, self.warn_age.as_ref(), self.max_age.as_ref());
                findings.add(grade, format!("a record came within {:.3} s", age.as_secs_f64()));
                format!("{:.6}s", age.as_secs_f64())
            }
            Age::Above(age) => {
                // It was watched for the longest that was asked for.
                let grade = if self.max_age.is_some() { Grade::Critical } else { Grade::Warning };
                findings.add(grade, format!("nothing published for {:.3} s", age.as_secs_f64()));
                format!("{:.6}s", age.as_secs_f64())
            }
            Age::Nothing => {
                findings.add(Grade::Critical, "nothing published yet".to_owned());
                "U".to_owned()
            }
        };
        findings.figure("age", &value, &warn, &critical, "");
        Ok(())
    }

    /// The age of the newest record, which says when it was published.
    fn stamped_age(&self) -> Result<Age, End> {
        let mut rx: Observer = self.ring.open().observe()?;
        let mut record = Vec::new();
        match rx.latest_into(&mut record) {
            Ok(received) => {
                let nanos = received.time().map_or(0, |time| rx.now().saturating_sub(time));
                Ok(Age::Known(Duration::from_nanos(nanos)))
            }
            // They come so fast that none can be caught.
            Err(TryCopyError::Lagged(_)) => Ok(Age::Known(Duration::ZERO)),
            Err(TryCopyError::Ended(RecvError::Corrupt)) => Err(End::Lost(RecvError::Corrupt.to_string())),
            Err(_) => Ok(Age::Nothing),
        }
    }

    /// How long it takes until the next record comes, at most the longest limit.
    fn watched_age(&self, ring: &Looked, stop: &Stop) -> Result<Age, End> {
        let begin = Instant::now();
        let longest = self.max_age.max(self.warn_age).unwrap_or_default();
        loop {
            let passed = begin.elapsed();
            let published = match self.ring.open().info() {
                // Nothing will come any more, whoever waits for it.
                Err(error) if error.is_not_found() => return Err(End::Wrong(sentence(&error))),
                info => info?.published,
            };
            if published != ring.info.published {
                return Ok(Age::Came(passed));
            }
            if passed > longest {
                return Ok(Age::Above(passed));
            }
            stop.sleep(WATCH.min(longest - passed).max(Duration::from_micros(1)))?;
        }
    }
}

/// How old the newest record is.
enum Age {
    /// It says so itself.
    Known(Duration),
    /// It came after one had watched for so long.
    Came(Duration),
    /// None came meanwhile.
    Above(Duration),
    /// There has never been one.
    Nothing,
}

/// A value against its limits.
fn grade<T: PartialOrd>(value: &T, warn: Option<&T>, critical: Option<&T>) -> Grade {
    if critical.is_some_and(|limit| value > limit) {
        Grade::Critical
    } else if warn.is_some_and(|limit| value > limit) {
        Grade::Warning
    } else {
        Grade::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_comes_first() {
        let figures = "published=3c;;;;".into();
        let mut findings = Findings { ring: "x".into(), told: vec![(None, "as it is".into())], figures };
        assert_eq!(report(&findings), ("ANNULUS OK - x: as it is | published=3c;;;;\n".into(), 0));
        findings.add(Grade::Ok, "well".into());
        findings.add(Grade::Warning, "so|so".into());
        findings.figure("lag", "5B", "4", "", "4096");
        let line = "ANNULUS WARNING - x: so/so, well, as it is | published=3c;;;; lag=5B;4;;0;4096\n";
        assert_eq!(report(&findings), (line.into(), 1));
        findings.add(Grade::Critical, "bad".into());
        assert!(report(&findings).0.starts_with("ANNULUS CRITICAL - x: bad, so/so"));
        assert_eq!(report(&findings).1, 2);
    }

    #[test]
    fn limits_are_inclusive() {
        let grades = [5, 6, 10, 11].map(|value| grade(&value, Some(&5), Some(&10)));
        assert_eq!(grades, [Grade::Ok, Grade::Warning, Grade::Warning, Grade::Critical]);
        assert_eq!([grade(&9, None, None), grade(&9, Some(&1), None)], [Grade::Ok, Grade::Warning]);
    }
}
