//! `annulus ls` and `annulus info`: how rings stand.

use std::io::{self, Write};

use annulus::Ring;
use clap::Args;

use crate::args::{At, Named};
use crate::end::{End, Result, sentence};
use crate::look::{Looked, Standing};
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

/// Tells how a ring stands: each field in a line, as `name: value`, then each subscriber. Takes no place in
/// it.
///
/// Counters count from the ring's creation. Permission to read the ring's data is enough; who subscribes, and
/// what they lost, is `none` without permission to subscribe.
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
        match ring.look() {
            Err(error) if error.is_not_found() => {} // it has gone since it was listed
            looked => rings.push((ring.name, looked.map_err(|error| sentence(&error)))),
        }
    }
    let text = if args.json {
        let line = |(name, ring): &(String, std::result::Result<Looked, String>)| match ring {
            Ok(ring) => show::json(ring) + "\n",
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
    let ring = args.ring.look()?;
    print(&if args.json { show::json(&ring) + "\n" } else { show::text(&ring) })
}

const HEADINGS: [&str; 6] = ["NAME", "CAPACITY", "PUBLISHED", "STATE", "PRODUCER", "SUBSCRIBERS"];

fn row(ring: &Looked) -> [String; 6] {
    let info = &ring.info;
    let producer = match ring.standing() {
        Standing::Vacant => "none",
        Standing::Alive => "alive",
        Standing::Ended => "ended",
        Standing::Died | Standing::Replaced => "dead",
    };
    [
        info.name.clone(),
        info.capacity.to_string(),
        info.published.to_string(),
        info.state.to_owned(),
        producer.to_owned(),
        match ring.files.shows_subscribers {
            true => info.subscribers.iter().filter(|one| one.alive).count().to_string(),
            false => "?".to_owned(),
        },
    ]
}

/// Writes to standard output, at once.
pub(crate) fn print(text: &str) -> Result {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| End::output(&e))
}
