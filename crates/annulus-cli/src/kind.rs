//! What a new ring is like: the same words for all commands that make one.

use std::fs;
use std::time::Duration;

use annulus::Create;
use clap::Args;

use crate::args::{Bell, Fence, Huge, Place, Stamp};
use crate::end::{End, Result, say};
use crate::units::{bytes, count, duration, modes, some_time};

/// Modes of `ctl` unless said: the owner and its group subscribe.
const CTL_MODE: u32 = 0o660;

/// What a new ring is like. Where nothing is said, a ring that exists may be like anything.
#[derive(Args, Debug)]
#[command(next_help_heading = "A new ring")]
pub(crate) struct Kind {
    /// Its bytes, as in 65536, 64K, 1M, 2G; rounded up to a power of two [default: 1M]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) capacity: Option<usize>,
    /// Where its records begin [default: line]
    #[arg(long, value_enum, value_name = "PLACE")]
    align: Option<Place>,
    /// Who pays for readers that sleep [default: asymmetric]
    #[arg(long, value_enum, value_name = "FENCE")]
    fence: Option<Fence>,
    /// How sleepers are woken [default: as $ANNULUS_WAKE says, or futex]
    #[arg(long, value_enum, value_name = "WAKE")]
    wake: Option<Bell>,
    /// Places for subscribers, 0 to 4096 [default: 64]
    #[arg(long, value_name = "N")]
    max_subscribers: Option<u32>,
    /// Keep the newest N records for readers that come late, where they fit [default: 0]
    #[arg(long, value_name = "N", value_parser = count)]
    retain: Option<u64>,
    /// Lend nothing in place: readers copy (`sub --copy`, `tail`), so that none has to trust another
    #[arg(long)]
    no_in_place: bool,
    /// Go on without subscribers that a record has waited for so long; needs --no-in-place
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "no_in_place")]
    evict_after: Option<Duration>,
    /// Let each record carry the time at which it was published
    #[arg(long, value_enum, value_name = "CLOCK")]
    stamped: Option<Stamp>,
    /// What its records mean, shown by `info`: a text of up to 4096 bytes, or the file after an @
    #[arg(long, value_name = "TEXT|@FILE")]
    schema: Option<String>,
    /// How often those who wait look whether others live, 1ms to 1h [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    liveness: Option<Duration>,
    /// Which pages its records lie on [default: never]
    #[arg(long, value_enum, value_name = "PAGES")]
    huge_pages: Option<Huge>,
    /// Modes of what readers open and, after a comma, of what subscribers write [default: 0640,0660]
    #[arg(long, value_name = "MODES", value_parser = modes)]
    mode: Option<(u32, Option<u32>)>,
}

impl Kind {
    /// What was not said is left unsaid: a ring that is taken over has its own.
    pub(crate) fn ask(&self, mut create: Create) -> Result<Create> {
        if let Some(bytes) = self.capacity {
            create = create.capacity(bytes);
        }
        if let Some(place) = self.align {
            create = create.align(place.into());
        }
        if let Some(fence) = self.fence {
            create = create.fence(fence.into());
        }
        if let Some(bell) = self.wake {
            create = create.wake(bell.into());
        }
        if let Some(n) = self.max_subscribers {
            create = create.max_subscribers(n);
        }
        if let Some(n) = self.retain {
            create = create.retain(n);
        }
        if self.no_in_place {
            create = create.no_in_place();
        }
        if let Some(time) = self.evict_after {
            create = create.evict_after(time);
        }
        if let Some(clock) = self.stamped {
            create = create.stamped(clock.into());
        }
        if let Some(schema) = &self.schema {
            create = create.schema(read_schema(schema)?);
        }
        if let Some(time) = self.liveness {
            create = create.liveness(time);
        }
        if let Some(huge) = self.huge_pages {
            create = create.huge_pages(huge.into());
        }
        if let Some((data, ctl)) = self.mode {
            create = create.permissions(data, ctl.unwrap_or(CTL_MODE));
        }
        Ok(create)
    }

    /// Says so if a ring has become larger than was asked.
    pub(crate) fn tell_rounded(&self, capacity: u64) {
        if let Some(asked) = self.capacity.filter(|asked| *asked as u64 != capacity) {
            say(&format!("the capacity of {asked} bytes is rounded up to {capacity}"));
        }
    }
}

fn read_schema(schema: &str) -> Result<Vec<u8>> {
    let Some(file) = schema.strip_prefix('@') else { return Ok(schema.into()) };
    fs::read(file).map_err(|error| End::Wrong(format!("cannot read the schema in {file}: {error}")))
}
