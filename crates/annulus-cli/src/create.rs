//! `annulus create` and `annulus rm`: rings that outlive their producers.

use clap::Args;

use crate::args::{At, Named};
use crate::end::{End, Result, say, sentence};
use crate::kind::Kind;

/// Makes a ring that stays when its producers end, and that has none yet.
///
/// Readers can join at once, and wait. `pub` becomes its producer, and again after each has ended, in
/// sequence; what it holds is there for late readers until it is overwritten, `rm` removes it, or the machine
/// is started again. A leftover of that name whose producer has died is replaced, unless it is such a ring
/// itself.
#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    ring: Named,
    #[command(flatten)]
    kind: Kind,
}

/// Removes rings, also those that stay; one that has a living producer is refused.
///
/// Readers go on until they have read what is there. All are tried, also after one that cannot be removed.
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// The rings
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    at: At,
}

/// Makes a ring without a producer.
pub(crate) fn create(args: &CreateArgs) -> Result {
    args.kind.ask(args.ring.create())?.persistent(true).without_producer()?;
    if args.kind.capacity.is_some() {
        args.kind.tell_rounded(args.ring.open().info()?.capacity);
    }
    Ok(())
}

/// Removes rings.
pub(crate) fn rm(args: &RmArgs) -> Result {
    let mut failed = None;
    for name in &args.names {
        let ring = Named { name: name.clone(), at: At { dir: args.at.dir.clone() } };
        if let Err(error) = ring.open().remove() {
            let what = if error.is_producer_alive() { held(&ring) } else { sentence(&error) };
            // The last is told by the end.
            if let Some(before) = failed.replace(what) {
                say(&before);
            }
        }
    }
    failed.map_or(Ok(()), |what| Err(End::Wrong(what)))
}

/// Says who holds a ring.
fn held(ring: &Named) -> String {
    let pid = ring.open().info().map_or("unknown by now".to_owned(), |info| info.producer_pid.to_string());
    format!("ring `{}`: it has a living producer, pid {pid}; end that one first", ring.name)
}
