//! How to create a ring: the options, as a value.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use annulus_core::ladder::Waiting;
use annulus_core::shape::Align;

use crate::clock::Clock;
use crate::error::Error;
use crate::memory::MapOptions;
use crate::object::Object;
use crate::producer::Producer;
use crate::registry::Access;
use crate::{FenceMode, HugePages, Wake};

const DATA_MODE: u32 = 0o640;
const CTL_MODE: u32 = 0o660;

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

/// The type of a ring's records, as a creator asks for it or an opener expects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TypeWish {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) fingerprint: u64,
}

/// What is asked of a ring. Where nothing is said, a new ring has the default, and one that exists may have any.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) name: String,
    /// In which the ring shall be, instead of in files under its name.
    pub(crate) object: Option<Object>,
    /// Whether the name is for people only, and the ring is in memory that has none.
    pub(crate) anonymous: bool,
    pub(crate) access: Access,
    pub(crate) existing: Existing,
    pub(crate) waiting: Waiting,
    pub(crate) map: MapOptions,
    pub(crate) capacity: Option<usize>,
    pub(crate) align: Option<Align>,
    pub(crate) fence: Option<FenceMode>,
    pub(crate) wake: Option<Wake>,
    pub(crate) max_subscribers: Option<u32>,
    pub(crate) max_groups: Option<u32>,
    pub(crate) claim_words: Option<u32>,
    pub(crate) liveness: Option<Duration>,
    pub(crate) persistent: Option<bool>,
    pub(crate) retain: Option<u64>,
    pub(crate) no_in_place: Option<bool>,
    pub(crate) evict_after: Option<Duration>,
    pub(crate) stamped: Option<Clock>,
    pub(crate) payload: Option<TypeWish>,
    pub(crate) schema: Option<Vec<u8>>,
    pub(crate) data_mode: u32,
    pub(crate) ctl_mode: u32,
    pub(crate) start: (u64, u64),
}

impl Spec {
    pub(crate) fn new(name: &str, existing: Existing) -> Spec {
        Spec {
            name: name.to_owned(),
            object: None,
            anonymous: false,
            access: Access::default(),
            existing,
            waiting: Waiting::default(),
            map: MapOptions::default(),
            capacity: None,
            align: None,
            fence: None,
            wake: None,
            max_subscribers: None,
            max_groups: None,
            claim_words: None,
            liveness: None,
            persistent: None,
            retain: None,
            no_in_place: None,
            evict_after: None,
            stamped: None,
            payload: None,
            schema: None,
            data_mode: DATA_MODE,
            ctl_mode: CTL_MODE,
            start: (0, 0),
        }
    }
}

/// How to create a ring, or to become the producer of one: from [`Ring::create`](crate::Ring::create) and
/// [`Ring::open_or_create`](crate::Ring::open_or_create), ended by [`producer`](Create::producer).
///
/// `P` is the type of the records: bytes, or a [`Payload`](crate::Payload); see [`TypedRing`](crate::TypedRing).
#[must_use = "nothing is created before `.producer()`"]
pub struct Create<P: ?Sized = [u8]> {
    pub(crate) spec: Spec,
    payload: PhantomData<fn(&P)>,
}

impl<P: ?Sized> Clone for Create<P> {
    fn clone(&self) -> Self {
        Create { spec: self.spec.clone(), payload: PhantomData }
    }
}

impl<P: ?Sized> std::fmt::Debug for Create<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.spec.fmt(f)
    }
}

impl<P: ?Sized> Create<P> {
    pub(crate) fn new(spec: Spec) -> Create<P> {
        Create { spec, payload: PhantomData }
    }

    /// Bytes of record space: rounded up to a power of two and to a page, at most 2^40; 1 MiB unless said.
    /// [`Producer::capacity`] tells what it became.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.spec.capacity = Some(bytes);
        self
    }

    /// Where records begin: [`Align::Line`] unless said.
    pub fn align(mut self, align: Align) -> Self {
        self.spec.align = Some(align);
        self
    }

    /// Who pays for sleeping readers: [`FenceMode::Asymmetric`] unless said.
    pub fn fence(mut self, mode: FenceMode) -> Self {
        self.spec.fence = Some(mode);
        self
    }

    /// How sleepers are woken: as `$ANNULUS_WAKE` says (`futex` or `semaphore`), by [`Wake::Futex`] if it does not,
    /// unless said here.
    pub fn wake(mut self, wake: Wake) -> Self {
        self.spec.wake = Some(wake);
        self
    }

    /// Places for subscribers, 0 to 4096; 64 unless said. With 0 nobody can ever slow the producer: observers only.
    pub fn max_subscribers(mut self, n: u32) -> Self {
        self.spec.max_subscribers = Some(n);
        self
    }

    /// Places for [groups](crate::Group) of workers, 0 to 30; 4 unless said, and none on a ring without places for subscribers
    /// or one that [lends nothing in place](Create::no_in_place). Each takes half a KiB and its claim words.
    pub fn max_groups(mut self, n: u32) -> Self {
        self.spec.max_groups = Some(n);
        self
    }

    /// Records that a group can have in flight, from the oldest that is not acknowledged on: a power of two up to 2^20; 1024
    /// unless said. Eight bytes each, for each group. With as many behind one slow worker's, the others wait for it.
    pub fn claim_words(mut self, n: u32) -> Self {
        self.spec.claim_words = Some(n);
        self
    }

    /// How often a blocked participant looks whether others live: 1 ms to an hour; 100 ms unless said.
    pub fn liveness(mut self, interval: Duration) -> Self {
        self.spec.liveness = Some(interval);
        self
    }

    /// Whether the ring stays when its producer ends cleanly; it does not unless said.
    pub fn persistent(mut self, yes: bool) -> Self {
        self.spec.persistent = Some(yes);
        self
    }

    /// Keeps the newest `records` for late joiners ([`Start::Last`](crate::Start::Last),
    /// [`Start::Oldest`](crate::Start::Oldest)); 0 unless said.
    ///
    /// A ring overwrites its oldest records when it needs their room, and clears up to a sixteenth of itself ahead of
    /// need. With this it does not go ahead over the newest `records`: each stays readable until one that is newer
    /// cannot be written without its room. So all are there if the ring holds them and the next one; if it does
    /// not, the oldest go first. Retaining never makes `send` wait and never makes the ring
    /// [`Full`](crate::TrySendError::Full): only subscribers do.
    ///
    /// A ring a sixteenth larger than what it retains asks for room as seldom as any other.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::{Ring, Start};
    /// # let dir = format!("/dev/shm/annulus-doc-retain-{}", std::process::id());
    /// let mut tx = Ring::create("status").dir(&dir).capacity(4096).retain(3).producer()?;
    /// for n in 0..1000u32 {
    ///     tx.send(&n.to_le_bytes())?;
    /// }
    /// let late = Ring::open("status").dir(&dir).start(Start::Last(3)).subscribe()?;
    /// assert_eq!(late.recv()?.sequence(), 997);
    /// # drop((late, tx));
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retain(mut self, records: u64) -> Self {
        self.spec.retain = Some(records);
        self
    }

    /// Lends no records in place: subscribers copy ([`subscribe_copying`](crate::Open::subscribe_copying)), so that
    /// none of them has to trust another.
    pub fn no_in_place(mut self) -> Self {
        self.spec.no_in_place = Some(true);
        self
    }

    /// Gives up the subscribers in a record's way when it has waited for the slowest of them so long: they find how many
    /// records they lost, and the producer goes on. Needs [`no_in_place`](Create::no_in_place), since what is borrowed cannot be taken back.
    /// With zero, subscribers never hold the producer back.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use annulus::{CopyError, Ring};
    /// # let dir = format!("/dev/shm/annulus-doc-evict-{}", std::process::id());
    /// let mut tx = Ring::create("prices")
    ///     .dir(&dir)
    ///     .capacity(4096)
    ///     .no_in_place()
    ///     .evict_after(Duration::from_millis(5))
    ///     .producer()?;
    /// let mut slow = Ring::open("prices").dir(&dir).subscribe_copying()?;
    /// for n in 0..1000u32 {
    ///     tx.send(&n.to_le_bytes())?; // waits 5 ms for `slow`, once
    /// }
    /// assert!(matches!(slow.recv(&mut [0; 8]), Err(CopyError::Lagged(_))));
    /// # drop((slow, tx));
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn evict_after(mut self, deadline: Duration) -> Self {
        self.spec.evict_after = Some(deadline);
        self
    }

    /// Lets each record carry the time at which it was published, eight bytes more; none does unless said. Readers ask
    /// for it: [`Record::time`](crate::Record::time), [`Received::time`](crate::Received::time).
    pub fn stamped(mut self, clock: Clock) -> Self {
        self.spec.stamped = Some(clock);
        self
    }

    /// Bytes that say what the records mean, for people and tools: at most 4096, of any form. Kept with the ring and
    /// shown by `annulus info`; empty unless said.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-schema-{}", std::process::id());
    /// let tx = Ring::create("imu").dir(&dir).schema(b"f32 x, f32 y, f32 z; m/s2").producer()?;
    /// assert_eq!(Ring::open("imu").dir(&dir).info()?.schema, b"f32 x, f32 y, f32 z; m/s2");
    /// # drop(tx);
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), annulus::Error>(())
    /// ```
    pub fn schema(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.spec.schema = Some(bytes.into());
        self
    }

    /// Which pages the records lie on: [`HugePages::Never`] unless said.
    pub fn huge_pages(mut self, which: HugePages) -> Self {
        self.spec.map.huge = which;
        self
    }

    /// Keeps the producer's mapping in memory, never swapped out: mlock(2). Limited by `RLIMIT_MEMLOCK`.
    pub fn lock_memory(mut self) -> Self {
        self.spec.map.lock = true;
        self
    }

    /// Takes the ring's memory from one NUMA node only: mbind(2), `MPOL_BIND`. It decides for all who map the ring,
    /// if its pages are not there yet: for a new ring, not for one that is taken over.
    pub fn numa_node(mut self, node: u32) -> Self {
        self.spec.map.node = Some(node);
        self
    }

    /// Whether all pages are brought in now, so that no publication ever waits for the kernel; they are unless
    /// said. The room is reserved in either case.
    pub fn prefault(mut self, yes: bool) -> Self {
        self.spec.map.prefault = yes;
        self
    }

    /// Modes of the files that readers open (`data`) and that subscribers write (`ctl`): 0640 and 0660 unless
    /// said. They are what they say, whatever the umask; the directory's own mode decides too. `ctl` cannot be for reading
    /// only: a read lock on its bytes would be enough to keep subscribers from their slots. A `data` that others may write
    /// is read by copying only: see [`OthersWrite`](crate::ErrorKind::OthersWrite).
    pub fn permissions(mut self, data: u32, ctl: u32) -> Self {
        (self.spec.data_mode, self.spec.ctl_mode) = (data, ctl);
        self
    }

    /// The directory of rings: `$ANNULUS_DIR`, or `/dev/shm/annulus-<uid>`, unless said.
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.spec.access.dir = Some(path.into());
        self
    }

    /// Allows a directory on a disk's file system, where the kernel's writing back can stall the ring.
    pub fn allow_disk(mut self) -> Self {
        self.spec.access.allow_disk = true;
        self
    }

    /// How the producer waits when the ring is full.
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.spec.waiting = waiting;
        self
    }

    /// Position and sequence that a new ring begins with, for tests near the ends of their ranges.
    #[doc(hidden)]
    pub fn start_at(mut self, position: u64, sequence: u64) -> Self {
        self.spec.start = (position, sequence);
        self
    }

    /// Creates the ring and leaves it to the first producer that [opens](crate::Open::producer) it; readers can join
    /// at once, and wait. Only a [`persistent`](Create::persistent) ring can be without a producer.
    ///
    /// # Errors
    ///
    /// As [`producer`](Create::producer).
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::Ring;
    /// # let dir = format!("/dev/shm/annulus-doc-vacant-{}", std::process::id());
    /// Ring::create("orders").dir(&dir).persistent(true).without_producer()?;
    /// let rx = Ring::open("orders").dir(&dir).subscribe()?;
    /// let mut tx = Ring::open("orders").dir(&dir).producer()?;
    /// tx.send(b"first")?;
    /// assert_eq!(&*rx.recv()?, b"first");
    /// # drop((rx, tx));
    /// Ring::open("orders").dir(&dir).remove()?;
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn without_producer(self) -> Result<(), Error> {
        self.spec.make_vacant()
    }
}

impl Create {
    /// Creates the ring, or takes it over from a producer that is gone, and becomes its producer.
    ///
    /// # Errors
    ///
    /// Nothing is left behind by any of them. [`BadName`](crate::ErrorKind::BadName),
    /// [`BadCapacity`](crate::ErrorKind::BadCapacity), [`BadOption`](crate::ErrorKind::BadOption),
    /// [`ProducerAlive`](crate::ErrorKind::ProducerAlive) (or
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) from `create`),
    /// [`Mismatch`](crate::ErrorKind::Mismatch) with the ring that exists,
    /// [`NotARing`](crate::ErrorKind::NotARing), [`NoSpace`](crate::ErrorKind::NoSpace),
    /// [`UnsafeDirectory`](crate::ErrorKind::UnsafeDirectory), and what the system refuses.
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
        self.spec.producer()
    }
}
