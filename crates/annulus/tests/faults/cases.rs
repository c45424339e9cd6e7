//! The programs that are killed, and what each death must leave.

mod makers;
mod readers;
mod senders;
mod workers;

use crate::check::Dir;
use crate::child::Child;

/// What a victim calls at the place from which on it may be killed.
pub(crate) type Arm<'a> = &'a dyn Fn();

/// Runs a victim and ends it somewhere.
pub(crate) trait Killer {
    /// Runs `victim` in a child until it is killed, or is done and ends without a destructor. `meanwhile` is called
    /// again and again as long as the victim has not come to where it may be killed, and where it can be after that.
    fn run(&mut self, victim: Box<dyn FnOnce(Arm<'_>) + '_>, meanwhile: &mut dyn FnMut(&Child));
}

/// One program.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it is done alone from where it may be killed, so that it can be stepped.
    pub(crate) steps: bool,
    /// Sets the stage in an empty directory, has the victim killed, and checks.
    pub(crate) run: fn(&Dir, &mut dyn Killer),
}

const fn case(name: &'static str, run: fn(&Dir, &mut dyn Killer)) -> Case {
    Case { name, steps: false, run }
}

const fn stepped(name: &'static str, run: fn(&Dir, &mut dyn Killer)) -> Case {
    Case { name, steps: true, run }
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    stepped("send", senders::send),
    stepped("send-large", senders::send_large),
    stepped("batch", senders::batch),
    stepped("claim", senders::claim),
    case("sends", senders::sends),
    case("dropped-claim", senders::dropped_claim),
    case("full", senders::full),
    case("blocked", senders::blocked),
    case("blocked-semaphore", senders::blocked_on_a_semaphore),
    case("evict", senders::evict),
    case("retain", senders::retain),
    case("stamped", senders::stamped),
    case("wake", senders::wake),
    case("wake-semaphore", senders::wake_by_semaphore),
    case("close", senders::close),
    stepped("join", readers::join),
    stepped("release", readers::release),
    case("join-oldest", readers::join_oldest),
    case("copying", readers::copying),
    case("lagging", readers::lagging),
    case("sleep", readers::sleep),
    case("sleep-semaphore", readers::sleep_on_a_semaphore),
    case("free", readers::free),
    case("free-semaphore", readers::free_by_semaphore),
    case("work", workers::work),
    case("work-last", workers::last),
    case("work-last-semaphore", workers::last_by_semaphore),
    case("work-wait", workers::wait_for_the_last),
    case("work-wake", workers::wake),
    stepped("create", makers::create),
    stepped("takeover", makers::takeover),
    case("create-over", makers::create_over),
    case("create-semaphore", makers::create_with_semaphores),
    case("takeover-wakes", makers::takeover_wakes),
    case("vacant", makers::vacant),
    case("remove", makers::remove),
];
