//! `annulus prune`: what crashes left.

use annulus::{Fate, Finding, Ring};
use clap::Args;

use crate::args::At;
use crate::end::{Result, in_options};
use crate::list::print;
use crate::show::{Value, object, table};

/// Explains all that is in the directory of rings, and removes what nobody holds: rings whose producers have died, and
/// what was being made or removed when its process was killed. Slots of dead subscribers are freed.
///
/// Without --apply it changes nothing and says what it would do. It asks the kernel who holds what, so it may run at any
/// time, beside any other: what a living producer, subscriber, creator or other prune has stays. Readers that hold nothing
/// back (`tail`) cannot be seen; they print what is there, and end. Whatever is none of a ring's is told, and left alone.
#[derive(Args, Debug)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    at: At,
    /// Remove what may go, instead of saying so
    #[arg(long, visible_alias = "yes")]
    apply: bool,
    /// Also rings that stay when their producers end (`annulus create`), if nobody holds them now
    #[arg(long)]
    persistent: bool,
    /// Also rings that are damaged or of another version, of which nobody knows whether they should stay
    #[arg(long)]
    unreadable: bool,
    /// Print one JSON object a line: name, what, bytes, fate, why
    #[arg(long)]
    json: bool,
}

/// Prints all findings.
pub(crate) fn run(args: &PruneArgs) -> Result {
    let mut prune = Ring::prune().persistent(args.persistent).unreadable(args.unreadable);
    if let Some(dir) = &args.at.dir {
        prune = prune.dir(dir);
    }
    let findings = if args.apply { prune.apply()? } else { prune.dry_run()? };
    if args.json {
        return print(&findings.iter().map(|one| json(one) + "\n").collect::<String>());
    }
    let mut rows = vec![["NAME", "WHAT", "BYTES", "FATE", "WHY"].map(str::to_owned)];
    rows.extend(findings.iter().map(row));
    print(&(table(&rows) + &summary(&findings, args.apply)))
}

fn row(one: &Finding) -> [String; 5] {
    let text = |text: &str| Value::from(text).text();
    [
        text(&one.name),
        one.found.to_string(),
        one.bytes.to_string(),
        one.fate.to_string(),
        text(&in_options(one.why.clone())),
    ]
}

fn json(one: &Finding) -> String {
    let fields = [
        ("name", one.name.as_str().into()),
        ("what", Value::named(&one.found)),
        ("bytes", one.bytes.into()),
        ("fate", Value::named(&one.fate)),
        ("why", in_options(one.why.clone()).as_str().into()),
    ];
    object(&fields, "")
}

fn summary(findings: &[Finding], applied: bool) -> String {
    let going = findings.iter().filter(|one| one.fate != Fate::Kept);
    let (count, bytes) = going.fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.bytes));
    match (count, applied) {
        (0, _) => "nothing to remove\n".to_owned(),
        (_, true) => format!("{count} removed, {bytes} bytes\n"),
        (_, false) => {
            format!("{count} would be removed, {bytes} bytes; `annulus prune --apply` removes them\n")
        }
    }
}
