//! The points that the programs cross, and those that they do not. `cargo xtask tidy` reads both tables and finds
//! each point of the sources in one of them; `cargo xtask faults` finds that the first is true.

/// Points at which some program is killed.
#[cfg_attr(not(annulus_faults), allow(dead_code))]
pub(crate) const CROSSED: &[&str] = &[
    "Anchor::preset",
    "Anchor::publish",
    "Asleep::declare",
    "Asleep::take",
    "Asleep::take_again",
    "Asleep::withdraw",
    "Awaited::declare",
    "Awaited::take",
    "Bell::move_on",
    "Blocked::declare",
    "Blocked::take",
    "Blocked::withdraw",
    "ClaimWord::claim",
    "ClaimWord::preset",
    "ClaimWord::settle",
    "Cursor::advance",
    "Cursor::join",
    "Cursor::last",
    "Cursor::release",
    "Epoch::raise",
    "Futex::wait",
    "Futex::wake",
    "Generation::preset",
    "Generation::raise",
    "GroupState::set",
    "Header::clear",
    "Header::prepare",
    "Header::publish",
    "Lease::announce",
    "Lease::announce, its fence",
    "Lease::preset",
    "Licence::grant",
    "Licence::preset",
    "Magic::complete",
    "Newest::preset",
    "Newest::publish",
    "Place::create",
    "Place::create_at",
    "Place::create_file",
    "Place::create_file, its mode",
    "Place::open_new",
    "Place::remove_dir",
    "Place::remove_file",
    "Place::rename",
    "Place::rename_with",
    "Plain32::preset",
    "Plain64::preset",
    "Published::preset",
    "Published::publish",
    "Returns::bump",
    "Sleepers::declare",
    "Sleepers::leave",
    "Sleepers::take",
    "State::set",
    "Tail::preset",
    "Tail::publish",
    "copy_in",
    "create, the length of ctl",
    "create, the length of data",
    "lock::try_lock",
    "lock::try_lock_shared",
    "lock::unlock",
    "reserve",
    "semaphore::init",
    "semaphore::post",
    "semaphore::try_wait",
    "semaphore::wait",
];

/// Points at which none is, and why.
#[cfg_attr(not(annulus_faults), allow(dead_code))]
pub(crate) const UNCROSSED: &[(&str, &str)] = &[
    ("Asleep::preset", "nobody presets it: new memory is zero"),
    ("Awaited::preset", "nobody presets it: new memory is zero"),
    ("Blocked::preset", "nobody presets it: new memory is zero"),
    ("Cursor::preset", "only tests preset it"),
    ("Epoch::preset", "only tests preset it"),
    ("GroupState::preset", "nobody presets it: new memory is zero"),
    ("Header::preset", "only tests preset it"),
    ("Magic::preset", "nobody presets it: it is completed"),
    ("Returns::preset", "nobody presets it: new memory is zero"),
    ("Sleepers::preset", "nobody presets it: new memory is zero"),
    ("State::preset", "only tests preset it"),
];

/// Whether the programs crossed what they should.
#[cfg(annulus_faults)]
pub(crate) fn compare(points: &[&str]) -> Result<(), String> {
    if let Some((point, why)) = UNCROSSED.iter().find(|(point, _)| points.contains(point)) {
        return Err(format!("verbs.rs is not true: {point:?} is crossed, though it says {why:?}"));
    }
    let missing: Vec<_> = CROSSED.iter().filter(|point| !points.contains(point)).collect();
    let new: Vec<_> = points.iter().filter(|point| !CROSSED.contains(point)).collect();
    if missing.is_empty() && new.is_empty() {
        return Ok(());
    }
    Err(format!("verbs.rs is not true: no program crosses {missing:?}; missing there are {new:?}"))
}
