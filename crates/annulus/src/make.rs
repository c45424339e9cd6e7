//! Making a ring, taking one over, replacing a leftover: what a [`Spec`] asks for.

use std::fmt::Display;
use std::fs::File;
use std::time::Duration;

use annulus_core::doorbell::{succeed, wake_everyone};
use annulus_core::fault::point;
use annulus_core::layout::{
    CLAIM_WORDS_DEFAULT, CLAIM_WORDS_MAX, Counter, GROUPS_MAX, Identity, Options, RECORDS_OFFSET_MIN,
    RingState, SCHEMA_MAX, SLOTS_MAX, TypeIdentity,
};
use annulus_core::shape::{Align, CAPACITY_MAX, Shape};
use annulus_core::writer::{Damaged, Writer};
use annulus_os::place::set_len;
use annulus_os::sys::{self, page_size};
use annulus_os::{Access as OsAccess, LockFile};

use crate::bells::{ReaderBell, make_bells};
use crate::clock::{Clock, Timekeeper};
use crate::create::{Existing, Spec, TypeWish};
use crate::error::{Error, ErrorKind};
use crate::life::VACANT;
use crate::memory::{DataMemory, HUGE_PAGE, MapOptions, Memory, ctl_file_bytes, read_identity};
use crate::producer::{Holdings, Producer};
use crate::registry::{CTL, DATA, Home, LOCK, MISSING, Own, Purpose, RingDir, check_name, random};
use crate::whereabouts::{Held, Whereabouts};
use crate::{FenceMode, HugePages, Wake};

const CAPACITY_DEFAULT: usize = 1 << 20;
const SUBSCRIBERS_DEFAULT: u32 = 64;
const GROUPS_DEFAULT: u32 = 4;
const LIVENESS_DEFAULT: Duration = Duration::from_millis(100);
/// Times a name may change hands under a creator before it gives up.
pub(crate) const TRIES: usize = 1000;

/// What becoming a producer yields.
pub(crate) type Parts = (Writer, Memory, Holdings);

/// What it yields of a ring with a name.
struct Kept {
    owner: LockFile,
    life: Option<LockFile>,
    ctl: LockFile,
    ring: RingDir,
}

/// A ring under a name that has been made, or taken over.
type Named = (Writer, Memory, Kept);

impl Spec {
    /// See [`Create::producer`](crate::Create::producer).
    pub(crate) fn producer(self) -> Result<Producer, Error> {
        let Some((writer, memory, holdings)) = self.make(true)? else {
            return Err(Error::of(ErrorKind::ProducerAlive, &self.name));
        };
        Producer::new(self.name, self.waiting, writer, memory, holdings)
    }

    /// See [`Create::without_producer`](crate::Create::without_producer).
    pub(crate) fn make_vacant(self) -> Result<(), Error> {
        if self.persistent != Some(true) {
            return Err(self.bad("only a ring that is persistent can be without a producer"));
        }
        self.make(false).map(drop)
    }

    pub(crate) fn bad(&self, what: &'static str) -> Error {
        Error::of(ErrorKind::BadOption(what), &self.name)
    }

    /// `None`: there is a ring already, and nobody wants to produce.
    fn make(&self, producing: bool) -> Result<Option<Parts>, Error> {
        if let Some(object) = &self.object {
            return self.make_in(object, producing).map(Some);
        }
        check_name(&self.name)?;
        self.check()?;
        if self.anonymous {
            return self.make_anonymous(producing).map(Some);
        }
        let purpose = match self.existing {
            Existing::Require => Purpose::Own,
            Existing::Replace | Existing::TakeOver => Purpose::Produce(self.map.huge),
        };
        let home = Home::open(&self.access, purpose).map_err(|error| error.about(&self.name))?;
        // Measured once, also if the name changes hands meanwhile: a calibration takes its time.
        let mut identity = None;
        for _ in 0..TRIES {
            let outcome = match self.existing {
                Existing::Replace => self.create(&home, &mut identity, producing)?,
                Existing::Require => self.take_over(&home)?,
                // One that is there has a producer, or waits for one: both are what was asked.
                Existing::TakeOver if !producing => match self.is_as_asked(&home) {
                    Ok(()) => return Ok(None),
                    Err(error) if error.is_not_found() => self.create(&home, &mut identity, producing)?,
                    Err(error) => return Err(error),
                },
                Existing::TakeOver => match self.take_over(&home) {
                    Err(error) if error.is_not_found() => self.create(&home, &mut identity, producing)?,
                    other => other?,
                },
            };
            if let Some((writer, memory, Kept { owner, life, ctl, ring })) = outcome {
                let held = |file| Held { file, byte: LOCK };
                let whereabouts = Whereabouts::Named { home, name: self.name.clone(), ring };
                let holdings = Holdings { owner: held(owner), life: life.map(held), ctl, whereabouts };
                return Ok(Some((writer, memory, holdings)));
            }
        }
        Err(Error::of(ErrorKind::System("get hold of a name that keeps changing hands"), &self.name))
    }

    /// Whether what was asked is possible at all.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let shape = self.shape(page_size())?;
        if self.max_subscribers.is_some_and(|slots| slots > SLOTS_MAX) {
            return Err(self.bad("a ring has at most 4096 subscribers"));
        }
        if self.max_groups.is_some_and(|groups| groups > GROUPS_MAX) {
            return Err(self.bad("a ring has at most 30 groups of workers"));
        }
        if self.max_groups.is_some_and(|groups| groups > 0) && !self.may_work() {
            return Err(self.bad(
                "workers borrow records in place, and take the places of subscribers; leave out `.max_groups(..)`, \
                 or allow both",
            ));
        }
        if self.claim_words.is_some_and(|words| !words.is_power_of_two() || words > CLAIM_WORDS_MAX) {
            return Err(self.bad("a group's claim words are a power of two, at most 2^20"));
        }
        let liveness = self.liveness.unwrap_or(LIVENESS_DEFAULT).as_millis();
        if !(1..=3_600_000).contains(&liveness) {
            return Err(self.bad("a liveness interval is 1 ms to an hour"));
        }
        if (self.data_mode | self.ctl_mode) & !0o777 != 0 || self.data_mode & self.ctl_mode & 0o600 != 0o600 {
            return Err(self.bad("modes are 0600 to 0777: the owner reads and writes both files"));
        }
        // A read lock needs no more than a descriptor for reading, and is enough to keep others from a slot's lock.
        if (self.ctl_mode >> 2) & !(self.ctl_mode >> 1) & 0o011 != 0 {
            return Err(self.bad(
                "who may only read `ctl` could keep its locks from others; modes of `ctl` are 0600 to 0777, and let a \
                 class of users read and write it or neither",
            ));
        }
        if !self.start.0.is_multiple_of(shape.capacity()) || self.start.0 > u64::MAX - 8 * shape.capacity() {
            return Err(self.bad("a start is a multiple of the capacity"));
        }
        if self.evict_after.is_some() && self.no_in_place != Some(true) {
            return Err(self.bad(
                "readers can be given up only on a ring that lends nothing in place; add `.no_in_place()`",
            ));
        }
        if self.schema.as_ref().is_some_and(|schema| schema.len() > SCHEMA_MAX) {
            return Err(
                self.bad("a schema is at most 4096 bytes; keep a longer one elsewhere, and say where")
            );
        }
        Ok(())
    }

    /// What a new ring would be, on pages of some size.
    pub(crate) fn identity(&self, unit: usize) -> Result<Identity, Error> {
        let shape = self.shape(unit)?;
        if self.retain.is_some_and(|records| records >= shape.capacity() / shape.align().bytes()) {
            return Err(
                self.bad("a ring cannot retain so many records, however short; ask for a larger capacity")
            );
        }
        if let Some(payload) = &self.payload
            && payload.size as u64 > shape.max_user_len()
        {
            return Err(self.bad("one value of the type is larger than the ring; ask for a larger capacity"));
        }
        let mut options = Options::default();
        if self.persistent == Some(true) {
            options = options.with(Options::PERSISTENT);
        }
        if self.no_in_place == Some(true) {
            options = options.with(Options::NO_IN_PLACE);
        }
        let mut calibration = [0; 4];
        if let Some(clock) = self.stamped {
            options = options.with(Options::STAMPED);
            calibration = Timekeeper::calibration(clock).ok_or_else(|| {
                self.bad("this processor's counter does not promise a steady rate; use `Clock::Monotonic`")
            })?;
        }
        let huge = if self.map.huge == HugePages::Transparent { HUGE_PAGE } else { 0 };
        Ok(Identity {
            shape,
            records_offset: RECORDS_OFFSET_MIN.max(unit as u64).max(huge),
            options,
            fence_mode: self.fence.unwrap_or(FenceMode::Asymmetric),
            slots: self.max_subscribers.unwrap_or(SUBSCRIBERS_DEFAULT),
            groups: self.max_groups.unwrap_or(if self.may_work() { GROUPS_DEFAULT } else { 0 }),
            claim_words: self.claim_words.unwrap_or(CLAIM_WORDS_DEFAULT),
            // An hour at most, which was checked.
            liveness_ms: self.liveness.unwrap_or(LIVENESS_DEFAULT).as_millis() as u32,
            wake: self.wake.unwrap_or_else(default_wake),
            clock: self.stamped.map_or(0, Clock::to_word),
            calibration,
            retain: self.retain.unwrap_or(0),
            evict_after_ns: self.evict_after.map_or(0, nanos_of),
            payload: self.payload.map_or(TypeIdentity::default(), |wish| wish.identity()),
            // At most 4096 bytes, which was checked.
            schema_len: self.schema.as_ref().map_or(0, |schema| schema.len() as u32),
            uuid: random(&self.name)?,
            created_unix_ns: sys::unix_nanos(),
        })
    }

    /// Whether anybody could work in a group.
    fn may_work(&self) -> bool {
        self.max_subscribers != Some(0) && self.no_in_place != Some(true)
    }

    fn shape(&self, unit: usize) -> Result<Shape, Error> {
        let asked = self.capacity.unwrap_or(CAPACITY_DEFAULT);
        let bad = || Error::of(ErrorKind::BadCapacity { asked, max: CAPACITY_MAX as usize }, &self.name);
        if asked == 0 {
            return Err(bad());
        }
        let rounded = asked.checked_next_power_of_two().ok_or_else(bad)?.max(unit) as u64;
        let shape = Shape::new(rounded, self.align.unwrap_or(Align::Line)).ok_or_else(bad)?;
        if self.stamped.is_some() { shape.stamped().ok_or_else(bad) } else { Ok(shape) }
    }

    /// Makes a new ring; `None` if the name changed hands meanwhile.
    fn create(
        &self,
        home: &Home,
        identity: &mut Option<Identity>,
        producing: bool,
    ) -> Result<Option<Named>, Error> {
        let name = &self.name;
        let unit = home.page_size()?;
        if self.existing == Existing::Replace {
            // Before anything is made: a ring that is held is no matter of space.
            drop(self.leftover(home, false)?);
        }
        let identity = match identity {
            Some(identity) => &*identity,
            None => identity.insert(self.identity(unit)?),
        };
        let ctl_bytes = ctl_file_bytes(identity, unit) as u64;
        let needed = identity.data_bytes() + ctl_bytes;
        let space = home.place.space().map_err(|source| Error::io("look at the free space", name, source))?;
        // Before the reservation, which would fill the memory of the machine before it failed.
        // A total of 0 is a file system without a limit.
        if space.total > 0 && space.free < needed {
            return Err(Error::of(ErrorKind::NoSpace { needed, free: space.free }, name));
        }
        let (mut draft, ring, owner) = home.draft(name)?;
        let longest = identity.data_bytes().max(ctl_bytes);
        let made = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::FileTooLarge => Error::of(ErrorKind::FileLimit { needed: longest }, name),
            _ => Error::io("make the ring's files", name, source),
        };
        let data = ring.place.create_file(DATA, self.data_mode).map_err(made)?;
        point("create, the length of data");
        set_len(&data, identity.data_bytes()).map_err(made)?;
        let ctl = LockFile::open(|| ring.place.create_file(CTL, self.ctl_mode)).map_err(made)?;
        point("create, the length of ctl");
        ctl.file().and_then(|ctl| set_len(ctl, ctl_bytes)).map_err(made)?;
        let (epoch, life) =
            if producing { (1, Some(ring.begin_life(1, self.data_mode, name)?)) } else { (VACANT, None) };

        // Of another description than the one for locks, as in `attach`.
        let mapped = ring.file(CTL, OsAccess::ReadWrite, name)?;
        let memory = Memory::map(
            name,
            &data,
            &mapped,
            *identity,
            OsAccess::ReadWrite,
            MapOptions { fresh: true, ..self.map },
        )?;
        let writer = self.lay(&memory, epoch)?;

        if draft.keep(name)? {
            return Ok(Some((writer, memory, Kept { owner, life, ctl, ring })));
        }
        if self.existing != Existing::Replace {
            return Ok(None);
        }
        let Some((old, _old_owner, is_dead)) = self.leftover(home, true)? else { return Ok(None) };
        if !draft.replace(name)? {
            return Ok(None);
        }
        // Readers of a leftover that is not a whole ring have nothing that could tell them.
        if is_dead && let Ok((old, ..)) = attach(name, &old, OsAccess::ReadWrite, MapOptions::default()) {
            old.shared().producer.state.set(RingState::Superseded.to_word());
            wake_everyone(old.ctl(), &ReaderBell::of(&old));
        }
        Ok(Some((writer, memory, Kept { owner, life, ctl, ring })))
    }

    /// What has the name, held by its `owner` lock, if it may be replaced: a ring that nobody holds and nobody
    /// keeps, or what is left of one. `None` if nothing has the name, or if it changed hands meanwhile. Where `owner`
    /// was deleted it is made anew if `mend` says so; a producer of the old one may live then, which the last
    /// value says.
    fn leftover(&self, home: &Home, mend: bool) -> Result<Option<(RingDir, Own, bool)>, Error> {
        let name = &self.name;
        let owned = home.ring(name).and_then(|old| {
            let owner = old.try_own(name).or_else(|error| gone(home, name, &old, error));
            // It still has the name, so it is not a ring that ends: somebody has deleted the file. What is not known to
            // be a ring by its records may be anything, and is left alone.
            let owner = match owner {
                Err(error) if *error.kind() == ErrorKind::NotARing(MISSING) => {
                    let data = old.file(DATA, OsAccess::Read, name);
                    data.and_then(|data| read_identity(name, &data))
                        .or_else(|error| gone(home, name, &old, error))?;
                    self.is_worthless(&old)?;
                    let mended = if mend { old.mend_owner(name)? } else { None };
                    Some(mended.ok_or_else(|| Error::of(ErrorKind::NotFound, name))?)
                }
                other => other?,
            };
            Ok((old, owner))
        });
        let (old, owner) = match owned {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let Some(owner) = owner else { return Err(Error::of(ErrorKind::AlreadyExists, name)) };
        if !home.still_means(name, &old) {
            return Ok(None);
        }
        self.is_worthless(&old)?;
        let is_dead = !old.is_lived_in();
        Ok(Some((old, owner, is_dead)))
    }

    /// Refuses what may not be replaced although nobody holds it.
    fn is_worthless(&self, old: &RingDir) -> Result<(), Error> {
        let name = &self.name;
        let identity = old.file(DATA, OsAccess::Read, name).and_then(|data| read_identity(name, &data));
        match identity {
            Ok(identity) if identity.options.has(Options::PERSISTENT) => {
                Err(Error::of(ErrorKind::AlreadyExists, name))
            }
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                ErrorKind::NotARing(_) | ErrorKind::Corrupt(_) => Ok(()),
                // Not known to be worthless: another version's ring, or one that could not be looked at.
                _ => Err(error),
            },
        }
    }

    /// Goes on with a ring whose producer is gone; `None` if the name changed hands meanwhile.
    fn take_over(&self, home: &Home) -> Result<Option<Named>, Error> {
        let name = &self.name;
        let ring = home.ring(name)?;
        let Some(owner) = ring.try_own(name).or_else(|error| gone(home, name, &ring, error))? else {
            return Err(Error::of(ErrorKind::ProducerAlive, name));
        };
        if !home.still_means(name, &ring) {
            return Ok(None);
        }
        if ring.is_lived_in() {
            return Err(Error::of(ErrorKind::ProducerAlive, name));
        }
        let (memory, data, ctl) = attach(name, &ring, OsAccess::ReadWrite, self.map)?;
        self.compare(memory.data(), home.page_size()?)?;
        if RingState::from_word(memory.head().producer.state.look()) == Some(RingState::Superseded) {
            return Ok(None);
        }
        let mode = annulus_os::place::facts_of(&data)
            .map_err(|source| Error::io("look at the ring", name, source))?
            .mode;
        let begin_life = |epoch| match ring.begin_life(epoch, mode & 0o777, name) {
            // On a file system without a file left, those of the dead may be one: they are worth nothing any more.
            Err(error) if matches!(error.kind(), ErrorKind::NoSpace { .. }) => {
                ring.end_earlier_lives(epoch);
                ring.begin_life(epoch, mode & 0o777, name)
            }
            other => other,
        };
        let (writer, (life, epoch)) = self.go_on(&memory, |epoch| Ok((begin_life(epoch)?, epoch)))?;
        ring.end_earlier_lives(epoch);
        let Some(owner) = owner.settle() else { return Ok(None) };
        Ok(Some((writer, memory, Kept { owner, life: Some(life), ctl, ring })))
    }

    /// Writes a new ring into its memory, which is all zero; the identity comes last, so that nobody attaches to half
    /// of one.
    pub(crate) fn lay(&self, memory: &Memory, epoch: u64) -> Result<Writer, Error> {
        make_bells(memory).map_err(|source| Error::io("make the ring's semaphores", &self.name, source))?;
        memory.initialise();
        let (shared, identity) = (memory.shared(), memory.identity());
        let writer = Writer::create(identity.shape, shared, self.start.0, self.start.1, identity.retain);
        shared.producer.epoch.raise(epoch);
        self.sign(memory);
        shared.producer.state.set(RingState::Open.to_word());
        let type_name = self.payload.map_or("", |wish| wish.name);
        memory.complete(type_name, self.schema.as_deref().unwrap_or_default());
        Ok(writer)
    }

    /// Goes on where the producer before has stopped, after `begin_life` has given the new one's epoch its sign of
    /// life. The caller holds the lock that keeps producers apart.
    pub(crate) fn go_on<T>(
        &self,
        memory: &Memory,
        begin_life: impl FnOnce(u64) -> Result<T, Error>,
    ) -> Result<(Writer, T), Error> {
        let (shared, identity) = (memory.shared(), memory.identity());
        let before = shared.producer.epoch.look();
        let corrupt = |what| Error::of(ErrorKind::Corrupt(what), &self.name);
        let epoch = before.checked_add(1).ok_or_else(|| corrupt("epoch"))?;
        let writer = Writer::take_over(identity.shape, shared, identity.retain)
            .map_err(|Damaged(what)| corrupt(what))?;
        let life = begin_life(epoch)?;
        self.sign(memory);
        if before != VACANT {
            shared.producer.count(Counter::Takeovers, 1);
        }
        succeed(shared.ctl, shared.producer, epoch, &ReaderBell::of(memory));
        Ok((writer, life))
    }

    /// Whether the ring that has the name is what was asked for.
    fn is_as_asked(&self, home: &Home) -> Result<(), Error> {
        let name = &self.name;
        let ring = home.ring(name)?;
        let data = ring.file(DATA, OsAccess::Read, name);
        let data = data
            .and_then(|data| DataMemory::attach(name, &data, OsAccess::Read, self.map))
            .or_else(|error| gone(home, name, &ring, error))?;
        self.compare(&data, home.page_size()?)
    }

    /// Leaves who we are, for people.
    fn sign(&self, memory: &Memory) {
        let page = &memory.head().producer;
        page.pid.preset(sys::pid());
        page.start_time.preset(sys::start_time());
    }

    /// Compares what was asked, where something was, with what is on pages of `unit` bytes.
    pub(crate) fn compare(&self, ring: &DataMemory, unit: usize) -> Result<(), Error> {
        let theirs = ring.identity();
        let check = |field, theirs: &dyn Display, ours: Option<&dyn Display>| match ours {
            Some(ours) if ours.to_string() != theirs.to_string() => {
                let (theirs, ours) = (theirs.to_string(), ours.to_string());
                Err(Error::of(ErrorKind::Mismatch { field, theirs, ours }, &self.name))
            }
            _ => Ok(()),
        };
        fn asked<T: Display>(value: &Option<T>) -> Option<&dyn Display> {
            value.as_ref().map(|value| value as &dyn Display)
        }
        if self.capacity.is_some() {
            check("capacity", &theirs.shape.capacity(), Some(&self.shape(unit)?.capacity()))?;
        }
        check("alignment", &theirs.shape.align(), asked(&self.align))?;
        check("fence mode", &theirs.fence_mode, asked(&self.fence))?;
        check("wake backend", &theirs.wake, asked(&self.wake))?;
        check("number of subscribers", &theirs.slots, asked(&self.max_subscribers))?;
        check("number of groups", &theirs.groups, asked(&self.max_groups))?;
        check("number of claim words", &theirs.claim_words, asked(&self.claim_words))?;
        check("persistence", &theirs.options.has(Options::PERSISTENT), asked(&self.persistent))?;
        let liveness = self.liveness.map(|interval| interval.as_millis());
        check("liveness interval in ms", &theirs.liveness_ms, asked(&liveness))?;
        check("number of records retained", &theirs.retain, asked(&self.retain))?;
        check(
            "ban of reading in place",
            &theirs.options.has(Options::NO_IN_PLACE),
            asked(&self.no_in_place),
        )?;
        let evict_after = self.evict_after.map(nanos_of);
        check("deadline of slow readers in ns", &theirs.evict_after_ns, asked(&evict_after))?;
        let clock = Timekeeper::of(theirs).and_then(|keeper| keeper.clock());
        check("clock of stamps", &clock.map_or("none".to_owned(), |c| c.to_string()), asked(&self.stamped))?;
        if let Some(schema) = &self.schema
            && *schema != ring.schema()
        {
            let [theirs, ours] = [&ring.schema(), schema].map(|s| s.escape_ascii().to_string());
            return Err(Error::of(ErrorKind::Mismatch { field: "schema", theirs, ours }, &self.name));
        }
        self.payload.map_or(Ok(()), |wish| wish.check(&self.name, ring))
    }
}

impl TypeWish {
    fn identity(&self) -> TypeIdentity {
        TypeIdentity {
            size: self.size as u64,
            align: self.align as u64,
            fingerprint: self.fingerprint,
            // A payload's name is at most 512 bytes.
            name_len: self.name.len() as u32,
        }
    }

    /// Whether a ring's records are of this type.
    pub(crate) fn check(&self, name: &str, ring: &DataMemory) -> Result<(), Error> {
        let (theirs, ours) = (ring.identity().payload, self.identity());
        let mismatch = |field, theirs: String, ours: String| {
            Err(Error::of(ErrorKind::Mismatch { field, theirs, ours }, name))
        };
        let type_name = ring.type_name();
        if !theirs.is_typed() {
            return mismatch("type", "bytes".to_owned(), self.name.to_owned());
        }
        if type_name != self.name {
            return mismatch("type", type_name, self.name.to_owned());
        }
        if theirs.size != ours.size {
            return mismatch("size of the type in bytes", theirs.size.to_string(), ours.size.to_string());
        }
        if theirs.align != ours.align {
            return mismatch("alignment of the type", theirs.align.to_string(), ours.align.to_string());
        }
        if theirs.fingerprint != ours.fingerprint {
            let [theirs, ours] = [theirs, ours].map(|t| format!("{:016x}", t.fingerprint));
            return mismatch("fingerprint of the type's fields", theirs, ours);
        }
        Ok(())
    }
}

/// Never zero, which says that nobody is given up.
fn nanos_of(deadline: Duration) -> u64 {
    deadline.as_nanos().clamp(1, u128::from(u64::MAX)) as u64
}

/// What `$ANNULUS_WAKE` says. Anything but the name of the second backend is the first: a variable of some other
/// program's must not keep this one from working.
fn default_wake() -> Wake {
    match std::env::var_os("ANNULUS_WAKE") {
        Some(wake) if wake == "semaphore" => Wake::Semaphore,
        _ => Wake::Futex,
    }
}

/// Opens and maps a ring's two files. The mapping of `ctl` is of another description than the one that is for locks: a
/// mapping keeps its description, and a forked child has the mapping.
pub(crate) fn attach(
    name: &str,
    ring: &RingDir,
    access: OsAccess,
    options: MapOptions,
) -> Result<(Memory, File, LockFile), Error> {
    let data = ring.file(DATA, access, name)?;
    let (ctl, mapped) = (ring.lock_file(CTL, name)?, ring.file(CTL, OsAccess::ReadWrite, name)?);
    let memory = Memory::attach(name, &data, &mapped, access, options)?;
    Ok((memory, data, ctl))
}

/// A ring whose files are missing is a ring that has just ended, unless it still has its name.
pub(crate) fn gone<T>(home: &Home, name: &str, ring: &RingDir, error: Error) -> Result<T, Error> {
    match error.kind() {
        ErrorKind::NotARing(_) if !home.still_means(name, ring) => Err(Error::of(ErrorKind::NotFound, name)),
        _ => Err(error),
    }
}
