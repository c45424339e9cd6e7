//! `annulus lag`: how far behind subscribers are.

use std::time::Duration;

use clap::Args;

use crate::args::Named;
use crate::end::{End, Result};
use crate::list::print;
use crate::look::Looked;
use crate::show;
use crate::stop::Stop;
use crate::units::some_time;

/// Tells how far behind each subscriber of a ring is: in bytes, and in per cent of the ring.
///
/// At 100 % the producer waits for it. What a subscriber has lost is counted where it copies. Observers
/// (`tail`) are not listed: nobody knows of them. Needs permission to subscribe.
#[derive(Args, Debug)]
pub(crate) struct LagArgs {
    #[command(flatten)]
    ring: Named,
    /// Print the table again and again, with so long between, in seconds or as in `500ms`, until the ring is
    /// gone
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    watch: Option<Duration>,
}

/// Prints a table, or one after the other.
pub(crate) fn run(args: &LagArgs) -> Result {
    let stop = Stop::on_signals()?;
    let ring = args.ring.look()?;
    print(&table(&ring)?)?;
    let Some(time) = args.watch else { return Ok(()) };
    loop {
        stop.sleep(time)?;
        match args.ring.look() {
            Err(error) if error.is_not_found() => return Ok(()),
            ring => print(&format!("\n{}", table(&ring?)?))?,
        }
    }
}

const HEADINGS: [&str; 7] = ["SLOT", "PID", "KIND", "BEHIND", "%", "LOST", "ALIVE"];

fn table(ring: &Looked) -> Result<String> {
    let info = &ring.info;
    if !ring.files.shows_subscribers {
        return Err(End::Wrong(format!(
            "ring `{}`: the system does not permit to see who subscribes; ask the ring's owner for \
             other modes (`--mode`)",
            info.name
        )));
    }
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(info.subscribers.iter().map(|one| {
        let percent = one.behind as f64 * 100.0 / info.capacity as f64;
        [
            one.slot.to_string(),
            one.pid.to_string(),
            show::kind(one).to_owned(),
            one.behind.to_string(),
            format!("{percent:.1}"),
            one.lost.to_string(),
            if one.alive { "yes" } else { "no" }.to_owned(),
        ]
    }));
    Ok(show::table(&rows))
}
