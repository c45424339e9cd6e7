//! `annulus doctor`: whether rings can live here.

use std::process::ExitCode;

use annulus::doctor::{CHECKS, Check, Doctor, Verdict};
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::args::At;
use crate::end::{End, in_options};
use crate::list::print;
use crate::show::{Value, object, table};

/// Examines whether this machine, this user and this directory are fit for rings, and says what to do where they are not.
///
/// Each line has a verdict, what was found, and below those that are not fine what to do. Limits are those of the process
/// that runs it: run it as, and where, the service runs. Locks and renames are tried in a temporary directory among the
/// rings, which is removed again; nothing else is changed.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    at: At,
    /// Only these checks
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = PossibleValuesParser::new(CHECKS))]
    only: Vec<String>,
    /// Print one JSON object a line: name, verdict, found, advice
    #[arg(long)]
    json: bool,
}

/// The exit codes of `doctor`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes, of which the worst counts:
    0  fine
    1  warnings: rings work, but slower, or not as many or as large; or something is not known
    2  broken: rings cannot be made here; also wrong use";

/// Examines, and prints what was found.
pub(crate) fn run(args: &DoctorArgs) -> ExitCode {
    let mut doctor = Doctor::new().only(&args.only);
    if let Some(dir) = &args.at.dir {
        doctor = doctor.dir(dir);
    }
    let checks = doctor.examine();
    let text = if args.json {
        checks.iter().map(|check| json(check) + "\n").collect()
    } else {
        let rows: Vec<_> = checks.iter().map(row).collect();
        let advice = checks.iter().filter(|check| check.verdict != Verdict::Fine);
        table(&rows)
            + &advice.map(|check| format!("{}: {}\n", check.name, words(&check.advice))).collect::<String>()
    };
    match print(&text) {
        Ok(()) | Err(End::Enough) => {}
        Err(end) => return end.tell(),
    }
    ExitCode::from(match checks.iter().map(|check| check.verdict).max() {
        None | Some(Verdict::Fine) => 0,
        Some(Verdict::Warning) => 1,
        Some(_) => 2,
    })
}

fn row(check: &Check) -> [String; 3] {
    [check.name.to_owned(), check.verdict.to_string(), words(&check.found)]
}

/// On one line, in the words of the command.
fn words(text: &str) -> String {
    Value::from(in_options(text.to_owned()).as_str()).text()
}

fn json(check: &Check) -> String {
    let fields = [
        ("name", check.name.into()),
        ("verdict", Value::named(&check.verdict)),
        ("found", in_options(check.found.clone()).as_str().into()),
        ("advice", in_options(check.advice.clone()).as_str().into()),
    ];
    object(&fields, "")
}
