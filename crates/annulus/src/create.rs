//! Creating a ring, taking one over, replacing a leftover.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use annulus_core::doorbell::{stop_waiting, wake_everyone};
use annulus_core::ladder::Waiting;
use annulus_core::layout::{
    CLAIM_WORDS_DEFAULT, Counter, FenceMode, Identity, Options, RECORDS_OFFSET_MIN, RingState, SLOTS_MAX,
};
use annulus_core::shape::{Align, CAPACITY_MAX, Shape};
use annulus_core::writer::{Damaged, Writer};
use annulus_os::place::reserve;
use annulus_os::sys::{self, page_size};
use annulus_os::{Access as OsAccess, Futex};

use crate::error::{Error, ErrorKind};
use crate::memory::{Memory, ctl_file_bytes, read_identity};
use crate::producer::{Holdings, Producer};
use crate::registry::{Access, CTL, DATA, Home, OWNER, Purpose, RingDir, check_name, random};

const CAPACITY_DEFAULT: usize = 1 << 20;
const SUBSCRIBERS_DEFAULT: u32 = 64;
const GROUPS_DEFAULT: u32 = 4;
const LIVENESS_DEFAULT: Duration = Duration::from_millis(100);
const DATA_MODE: u32 = 0o640;
const CTL_MODE: u32 = 0o660;
/// Times a name may change hands under a creator before it gives up.
pub(crate) const TRIES: usize = 1000;

/// What to do about a ring that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Replace a leftover; refuse one that is held or persistent.
    Replace,
    /// Take over one of the same geometry.
    TakeOver,
    /// There must be one.
    Require,
}

/// How to create a ring, or to become the producer of one: from [`Ring::create`](crate::Ring::create) and
/// [`Ring::open_or_create`](crate::Ring::open_or_create), ended by [`producer`](Create::producer).
#[derive(Debug, Clone)]
#[must_use = "nothing is created before `.producer()`"]
pub struct Create {
    pub(crate) name: String,
    pub(crate) access: Access,
    pub(crate) existing: Existing,
    pub(crate) waiting: Waiting,
    capacity: Option<usize>,
    align: Option<Align>,
    fence: Option<FenceMode>,
    max_subscribers: Option<u32>,
    liveness: Option<Duration>,
    persistent: Option<bool>,
    data_mode: u32,
    ctl_mode: u32,
    start: (u64, u64),
}

impl Create {
    pub(crate) fn new(name: &str, existing: Existing) -> Create {
        Create {
            name: name.to_owned(),
            access: Access::default(),
            existing,
            waiting: Waiting::default(),
            capacity: None,
            align: None,
            fence: None,
            max_subscribers: None,
            liveness: None,
            persistent: None,
            data_mode: DATA_MODE,
            ctl_mode: CTL_MODE,
            start: (0, 0),
        }
    }

    /// Bytes of record space: rounded up to a power of two and to a page, at most 2^40; 1 MiB unless said.
    /// [`Producer::capacity`] tells what it became.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// Where records begin: [`Align::Line`] unless said.
    pub fn align(mut self, align: Align) -> Self {
        self.align = Some(align);
        self
    }

    /// Who pays for sleeping readers: [`FenceMode::Asymmetric`] unless said.
    pub fn fence(mut self, mode: FenceMode) -> Self {
        self.fence = Some(mode);
        self
    }

    /// Places for subscribers, 0 to 4096; 64 unless said. With 0 nobody can ever slow the producer.
    pub fn max_subscribers(mut self, n: u32) -> Self {
        self.max_subscribers = Some(n);
        self
    }

    /// How often a blocked participant looks whether others live: 1 ms to an hour; 100 ms unless said.
    pub fn liveness(mut self, interval: Duration) -> Self {
        self.liveness = Some(interval);
        self
    }

    /// Whether the ring stays when its producer ends cleanly; it does not unless said.
    pub fn persistent(mut self, yes: bool) -> Self {
        self.persistent = Some(yes);
        self
    }

    /// Modes of the files that readers open (`data`) and that subscribers write (`ctl`): 0640 and 0660 unless
    /// said. They are what they say, whatever the umask; the directory's own mode decides too.
    pub fn permissions(mut self, data: u32, ctl: u32) -> Self {
        (self.data_mode, self.ctl_mode) = (data, ctl);
        self
    }

    /// The directory of rings: `$ANNULUS_DIR`, or `/dev/shm/annulus-<uid>`, unless said.
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.access.dir = Some(path.into());
        self
    }

    /// Allows a directory on a disk's file system, where the kernel's writing back can stall the ring.
    pub fn allow_disk(mut self) -> Self {
        self.access.allow_disk = true;
        self
    }

    /// How the producer waits when the ring is full.
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = waiting;
        self
    }

    /// Position and sequence that a new ring begins with, for tests near the ends of their ranges.
    #[doc(hidden)]
    pub fn start_at(mut self, position: u64, sequence: u64) -> Self {
        self.start = (position, sequence);
        self
    }

    /// Creates the ring, or takes it over from a producer that is gone, and becomes its producer.
    ///
    /// # Errors
    ///
    /// Nothing is left behind by any of them. [`ErrorKind::BadName`], [`BadCapacity`](ErrorKind::BadCapacity),
    /// [`BadOption`](ErrorKind::BadOption), [`ProducerAlive`](ErrorKind::ProducerAlive) (or
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) from `create`), [`Mismatch`](ErrorKind::Mismatch) with the
    /// ring that exists, [`NotARing`](ErrorKind::NotARing), [`NoSpace`](ErrorKind::NoSpace),
    /// [`UnsafeDirectory`](ErrorKind::UnsafeDirectory), and what the system refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-create-{}", std::process::id());
    /// let tx = Ring::create("numbers").dir(&dir).capacity(100_000).producer()?;
    /// assert_eq!(tx.capacity(), 131_072); // the next power of two
    /// assert!(Ring::create("numbers").dir(&dir).producer().unwrap_err().is_already_exists());
    /// # drop(tx);
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), annulus::Error>(())
    /// ```
    pub fn producer(self) -> Result<Producer, Error> {
        check_name(&self.name)?;
        let identity = self.identity()?;
        let home = Home::open(&self.access, Purpose::Produce)?;
        for _ in 0..TRIES {
            let outcome = match self.existing {
                Existing::Replace => self.create(&home, &identity)?,
                Existing::Require => self.take_over(&home)?,
                Existing::TakeOver => match self.take_over(&home) {
                    Err(error) if error.is_not_found() => self.create(&home, &identity)?,
                    other => other?,
                },
            };
            if let Some((writer, memory, holdings)) = outcome {
                return Ok(Producer::new(self.name, self.waiting, writer, memory, holdings, home));
            }
        }
        Err(Error::of(ErrorKind::System("get hold of a name that keeps changing hands"), &self.name))
    }

    /// What a new ring would be.
    fn identity(&self) -> Result<Identity, Error> {
        let shape = self.shape()?;
        let slots = self.max_subscribers.unwrap_or(SUBSCRIBERS_DEFAULT);
        if slots > SLOTS_MAX {
            return Err(Error::of(ErrorKind::BadOption("a ring has at most 4096 subscribers"), &self.name));
        }
        let liveness = self.liveness.unwrap_or(LIVENESS_DEFAULT).as_millis();
        let liveness_ms = u32::try_from(liveness).ok().filter(|ms| (1..=3_600_000).contains(ms));
        let liveness_ms = liveness_ms.ok_or_else(|| {
            Error::of(ErrorKind::BadOption("a liveness interval is 1 ms to an hour"), &self.name)
        })?;
        if (self.data_mode | self.ctl_mode) & !0o777 != 0 || self.data_mode & self.ctl_mode & 0o600 != 0o600 {
            return Err(Error::of(
                ErrorKind::BadOption("modes are 0600 to 0777: the owner reads and writes both files"),
                &self.name,
            ));
        }
        if !self.start.0.is_multiple_of(shape.capacity()) || self.start.0 > u64::MAX - 8 * shape.capacity() {
            return Err(Error::of(ErrorKind::BadOption("a start is a multiple of the capacity"), &self.name));
        }
        let mut options = Options::default();
        if self.persistent == Some(true) {
            options = options.with(Options::PERSISTENT);
        }
        Ok(Identity {
            shape,
            records_offset: RECORDS_OFFSET_MIN.max(page_size() as u64),
            options,
            fence_mode: self.fence.unwrap_or(FenceMode::Asymmetric),
            slots,
            groups: GROUPS_DEFAULT,
            claim_words: CLAIM_WORDS_DEFAULT,
            liveness_ms,
            uuid: random(&self.name)?,
            created_unix_ns: sys::unix_nanos(),
        })
    }

    fn shape(&self) -> Result<Shape, Error> {
        let asked = self.capacity.unwrap_or(CAPACITY_DEFAULT);
        let bad = || Error::of(ErrorKind::BadCapacity { asked, max: CAPACITY_MAX as usize }, &self.name);
        if asked == 0 {
            return Err(bad());
        }
        let rounded = asked.checked_next_power_of_two().ok_or_else(bad)?.max(page_size()) as u64;
        Shape::new(rounded, self.align.unwrap_or(Align::Line)).ok_or_else(bad)
    }

    /// Makes a new ring; `None` if the name changed hands meanwhile.
    fn create(&self, home: &Home, identity: &Identity) -> Result<Option<Parts>, Error> {
        let name = &self.name;
        if self.existing == Existing::Replace {
            // Before anything is made: a ring that is held is no matter of space.
            self.leftover(home)?;
        }
        let needed = identity.data_bytes() + ctl_file_bytes(identity) as u64;
        let space = home.place.space().map_err(|source| Error::io("look at the free space", name, source))?;
        // Before the reservation, which would fill the memory of the machine before it failed.
        // A total of 0 is a file system without a limit.
        if space.total > 0 && space.free < needed {
            return Err(Error::of(ErrorKind::NoSpace { needed, free: space.free }, name));
        }
        let (mut draft, ring) = home.draft(name)?;
        let made = |source| Error::io("make the ring's files", name, source);
        let data = ring.place.create_file(DATA, self.data_mode).map_err(made)?;
        reserve(&data, identity.data_bytes()).map_err(made)?;
        let ctl = ring.place.create_file(CTL, self.ctl_mode).map_err(made)?;
        reserve(&ctl, ctl_file_bytes(identity) as u64).map_err(made)?;
        ring.place.create_file(OWNER, 0o600).map_err(made)?;
        let owner = ring.try_own(name)?.ok_or_else(|| Error::of(ErrorKind::ProducerAlive, name))?;
        let life = ring.begin_life(1, self.data_mode, name)?;

        let memory = Memory::map(name, &data, &ctl, *identity, OsAccess::ReadWrite)?;
        memory.initialise();
        let shared = memory.shared();
        let writer = Writer::create(identity.shape, shared, self.start.0, self.start.1);
        shared.producer.epoch.raise(1);
        self.sign(&memory);
        shared.producer.state.set(RingState::Open.to_word());

        if draft.keep(name)? {
            return Ok(Some((writer, memory, Holdings { owner, life, ctl, ring })));
        }
        if self.existing != Existing::Replace {
            return Ok(None);
        }
        let Some((old, _old_owner)) = self.leftover(home)? else { return Ok(None) };
        draft.replace(name)?;
        // Readers of a leftover that is not a whole ring have nothing that could tell them.
        if let Ok((old, ..)) = attach(name, &old, OsAccess::ReadWrite) {
            old.shared().producer.state.set(RingState::Superseded.to_word());
            wake_everyone(old.ctl(), &Futex);
        }
        Ok(Some((writer, memory, Holdings { owner, life, ctl, ring })))
    }

    /// What has the name, held by its `owner` lock, if it may be replaced: a ring that nobody holds and nobody
    /// keeps, or what is left of one. `None` if nothing has the name, or if it changed hands meanwhile.
    fn leftover(&self, home: &Home) -> Result<Option<(RingDir, File)>, Error> {
        let name = &self.name;
        let owned = home.ring(name).and_then(|old| {
            let owner = old.try_own(name).or_else(|error| gone(home, name, &old, error))?;
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
        let identity = old.file(DATA, OsAccess::Read, name).and_then(|data| read_identity(name, &data));
        match identity {
            Ok(identity) if identity.options.has(Options::PERSISTENT) => {
                Err(Error::of(ErrorKind::AlreadyExists, name))
            }
            Ok(_) => Ok(Some((old, owner))),
            Err(error) => match error.kind() {
                ErrorKind::NotARing(_) | ErrorKind::Corrupt(_) => Ok(Some((old, owner))),
                // Not known to be worthless: another version's ring, or one that could not be looked at.
                _ => Err(error),
            },
        }
    }

    /// Goes on with a ring whose producer is gone; `None` if the name changed hands meanwhile.
    fn take_over(&self, home: &Home) -> Result<Option<Parts>, Error> {
        let name = &self.name;
        let ring = home.ring(name)?;
        let Some(owner) = ring.try_own(name).or_else(|error| gone(home, name, &ring, error))? else {
            return Err(Error::of(ErrorKind::ProducerAlive, name));
        };
        if !home.still_means(name, &ring) {
            return Ok(None);
        }
        let (memory, data, ctl) = attach(name, &ring, OsAccess::ReadWrite)?;
        self.compare(memory.identity())?;
        let shared = memory.shared();
        if RingState::from_word(shared.producer.state.look()) == Some(RingState::Superseded) {
            return Ok(None);
        }
        let Some(epoch) = shared.producer.epoch.look().checked_add(1) else {
            return Err(Error::of(ErrorKind::Corrupt("epoch"), name));
        };
        let mode = annulus_os::place::facts_of(&data)
            .map_err(|source| Error::io("look at the ring", name, source))?
            .mode;
        let writer = Writer::take_over(memory.identity().shape, shared)
            .map_err(|Damaged(what)| Error::of(ErrorKind::Corrupt(what), name))?;
        let life = ring.begin_life(epoch, mode & 0o777, name)?;
        // The one before may have died waiting.
        stop_waiting(shared.ctl);
        self.sign(&memory);
        shared.producer.count(Counter::Takeovers, 1);
        shared.producer.epoch.raise(epoch);
        shared.producer.state.set(RingState::Open.to_word());
        // The producer before may have died between taking the sleepers' declarations and waking them.
        wake_everyone(shared.ctl, &Futex);
        ring.end_earlier_lives(epoch);
        Ok(Some((writer, memory, Holdings { owner, life, ctl, ring })))
    }

    /// Leaves who we are, for people.
    fn sign(&self, memory: &Memory) {
        let page = &memory.head().producer;
        page.pid.preset(sys::pid());
        page.start_time.preset(sys::start_time());
    }

    /// Compares what was asked, where something was, with what is.
    fn compare(&self, theirs: &Identity) -> Result<(), Error> {
        let check = |field, theirs: u64, ours: Option<u64>| match ours {
            Some(ours) if ours != theirs => {
                Err(Error::of(ErrorKind::Mismatch { field, theirs, ours }, &self.name))
            }
            _ => Ok(()),
        };
        if self.capacity.is_some() {
            check("capacity", theirs.shape.capacity(), Some(self.shape()?.capacity()))?;
        }
        check("alignment", theirs.shape.align().bytes(), self.align.map(Align::bytes))?;
        check(
            "fence mode",
            u64::from(theirs.fence_mode.to_word()),
            self.fence.map(|mode| u64::from(mode.to_word())),
        )?;
        check("number of subscribers", u64::from(theirs.slots), self.max_subscribers.map(u64::from))?;
        let persistent = u64::from(theirs.options.has(Options::PERSISTENT));
        check("persistence", persistent, self.persistent.map(u64::from))?;
        let liveness = self.liveness.map(|interval| interval.as_millis() as u64);
        check("liveness interval in ms", u64::from(theirs.liveness_ms), liveness)
    }
}

/// What becoming a producer yields.
type Parts = (Writer, Memory, Holdings);

/// Opens and maps a ring's two files.
pub(crate) fn attach(name: &str, ring: &RingDir, access: OsAccess) -> Result<(Memory, File, File), Error> {
    let data = ring.file(DATA, access, name)?;
    let ctl = ring.file(CTL, OsAccess::ReadWrite, name)?;
    let memory = Memory::attach(name, &data, &ctl, access)?;
    Ok((memory, data, ctl))
}

/// A ring whose files are missing is a ring that has just ended, unless it still has its name.
pub(crate) fn gone<T>(home: &Home, name: &str, ring: &RingDir, error: Error) -> Result<T, Error> {
    match error.kind() {
        ErrorKind::NotARing(_) if !home.still_means(name, ring) => Err(Error::of(ErrorKind::NotFound, name)),
        _ => Err(error),
    }
}
