//! `annulus ls` and `annulus info`: how rings stand.

use std::io::{self, Write};

use annulus::{Info, Ring};
use clap::Args;

use crate::args::{At, Named};
use crate::end::{End, Result, sentence};
use crate::show;

/// Lists the rings of a directory, one a line; one that cannot be looked at shows why.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    at: At,
    /// Print one JSON object a line, as `info --json` does, or one with `name` and `error`
    #[arg(long)]
    json: bool,
}

/// Tells how a ring stands: each field in a line, then each subscriber.
#[derive(Args, Debug)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    ring: Named,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints all rings.
pub(crate) fn ls(args: &LsArgs) -> Result {
    let names = Ring::list(args.at.dir.as_deref())?;
    let mut rings = Vec::new();
    for name in names {
        let ring = Named { name, at: At { dir: args.at.dir.clone() } };
        match ring.open().info() {
            Err(error) if error.is_not_found() => {} // it has gone since it was listed
            info => rings.push((ring.name, info.map_err(|error| sentence(&error)))),
        }
    }
    let text = if args.json {
        let line = |(name, ring): &(String, std::result::Result<Info, String>)| match ring {
            Ok(info) => show::json(info) + "\n",
            Err(error) => show::broken_json(name, error) + "\n",
        };
        rings.iter().map(line).collect()
    } else {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(rings.iter().filter_map(|(_, ring)| ring.as_ref().ok()).map(row));
        let broken = rings.iter().filter_map(|(_, ring)| ring.as_ref().err());
        show::table(&rows) + &broken.map(|error| format!("{error}\n")).collect::<String>()
    };
    print(&text)
}

/// Prints one ring.
pub(crate) fn info(args: &InfoArgs) -> Result {
    let info = args.ring.open().info()?;
    print(&if args.json { show::json(&info) + "\n" } else { show::text(&info) })
}

const HEADINGS: [&str; 6] = ["NAME", "CAPACITY", "PUBLISHED", "STATE", "PRODUCER", "SUBSCRIBERS"];

fn row(info: &Info) -> [String; 6] {
    [
        info.name.clone(),
        info.capacity.to_string(),
        info.published.to_string(),
        info.state.to_owned(),
        if info.producer_alive { "alive" } else { "dead" }.to_owned(),
        info.subscribers.iter().filter(|one| one.alive).count().to_string(),
    ]
}

fn print(text: &str) -> Result {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| End::output(&e))
}
