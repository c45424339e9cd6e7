//! Opening a ring that exists, or waiting until it does.

use std::fs::File;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annulus_core::claim::WORKER_SLOTS;
use annulus_core::history::{Damaged, Resume, Start};
use annulus_core::ladder::Waiting;
use annulus_core::layout::{Options, SlotKind};
use annulus_core::observer::Observer as Core;
use annulus_core::reader::JoinFailed;
use annulus_core::slots::{self, Owner};
use annulus_os::{Access as OsAccess, LockFile, fork, place::facts_of, sys};

use crate::bells::ReaderBell;
use crate::clock::Timekeeper;
use crate::copier::{Copier, Seat};
use crate::create::{Existing, Spec, TypeWish};
use crate::error::{Error, ErrorKind};
use crate::handover::Handed;
use crate::info::Info;
use crate::life::{Life, SlotBytes, leave_slot, unlock_slot};
use crate::make::{TRIES, attach, gone};
use crate::memory::{DataMemory, MapOptions, Memory};
use crate::object::Object;
use crate::producer::Producer;
use crate::registry::{Access, DATA, Home, Purpose, RingDir, check_name};
use crate::subscriber::Subscriber;
use crate::whereabouts::Whereabouts;
use crate::{CopyingSubscriber, Observer};

/// How often a directory is looked for that cannot be watched because it does not exist.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a ring that is about to be removed is waited for, at each try.
const LEAVING_AGAIN: Duration = Duration::from_millis(1);
/// A watch is believed for so long: a directory that is removed while it is open wakes nobody.
const WATCH_AGAIN: Duration = Duration::from_millis(500);

/// How to open a ring: from [`Ring::open`](crate::Ring::open), ended by [`subscribe`](Open::subscribe),
/// [`subscribe_copying`](Open::subscribe_copying) or [`observe`](Open::observe).
///
/// `P` is the type of the records: bytes, or a [`Payload`](crate::Payload); see [`TypedRing`](crate::TypedRing).
#[must_use = "nothing is opened before `.subscribe()`, `.observe()`, `.producer()` or `.info()`"]
pub struct Open<P: ?Sized = [u8]> {
    pub(crate) spec: OpenSpec,
    payload: PhantomData<fn(&P)>,
}

/// What is asked of a ring that exists.
#[derive(Debug, Clone)]
pub(crate) struct OpenSpec {
    pub(crate) name: String,
    /// In which the ring is, instead of in files under its name.
    object: Option<Object>,
    /// Which has been handed over to this process, and so is asked for by no name.
    handed: Option<Arc<Handed>>,
    access: Access,
    pub(crate) waiting: Waiting,
    stay: bool,
    pub(crate) start: Start,
    resume: Resume,
    map: MapOptions,
    payload: Option<TypeWish>,
}

impl<P: ?Sized> Clone for Open<P> {
    fn clone(&self) -> Self {
        Open { spec: self.spec.clone(), payload: PhantomData }
    }
}

impl<P: ?Sized> std::fmt::Debug for Open<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.spec.fmt(f)
    }
}

impl<P: ?Sized> Open<P> {
    pub(crate) fn new(name: &str, payload: Option<TypeWish>) -> Open<P> {
        let spec = OpenSpec {
            name: name.to_owned(),
            object: None,
            handed: None,
            access: Access::default(),
            waiting: Waiting::default(),
            stay: false,
            start: Start::default(),
            resume: Resume::default(),
            map: MapOptions::default(),
            payload,
        };
        Open { spec, payload: PhantomData }
    }

    pub(crate) fn handed(name: &str, handed: Handed, payload: Option<TypeWish>) -> Open<P> {
        let mut open = Open::new(name, payload);
        open.spec.handed = Some(Arc::new(handed));
        open
    }

    #[cfg(feature = "shared_memory")]
    pub(crate) fn in_object(object: Object, name: &str) -> Open<P> {
        let mut open = Open::new(name, None);
        open.spec.object = Some(object);
        open
    }

    /// The directory of rings: `$ANNULUS_DIR`, or `/dev/shm/annulus-<uid>`, unless said.
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.spec.access.dir = Some(path.into());
        self
    }

    /// Allows a directory on a disk's file system.
    pub fn allow_disk(mut self) -> Self {
        self.spec.access.allow_disk = true;
        self
    }

    /// Reads in place what processes of this user write, as it does for the own user and root. Whoever may
    /// write a ring's files can change bytes that a reader is looking at.
    pub fn trust_uid(mut self, uid: u32) -> Self {
        self.spec.access.trusted.push(uid);
        self
    }

    /// How the reader waits for records.
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.spec.waiting = waiting;
        self
    }

    /// Stays when the producer dies, and goes on with the next one's records: `recv` then never says
    /// [`ProducerLost`](crate::RecvError::ProducerLost).
    pub fn stay(mut self) -> Self {
        self.spec.stay = true;
        self
    }

    /// Where the reader begins: with the next record ([`Start::Newest`]) unless said.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::{Ring, Start};
    /// # let dir = format!("/dev/shm/annulus-doc-start-{}", std::process::id());
    /// let mut tx = Ring::create("log").dir(&dir).producer()?;
    /// tx.send_batch(["a", "b", "c", "d"])?;
    /// let open = || Ring::open("log").dir(&dir);
    /// assert_eq!(open().start(Start::Oldest).subscribe()?.sequence(), 0);
    /// assert_eq!(open().start(Start::Sequence(2)).subscribe()?.sequence(), 2);
    /// assert_eq!(open().start(Start::Last(1)).subscribe()?.sequence(), 3);
    /// assert_eq!(open().start(Start::Newest).subscribe()?.sequence(), 4);
    /// # drop(tx);
    /// # std::fs::remove_dir(dir).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(mut self, start: Start) -> Self {
        self.spec.start = start;
        self
    }

    /// Where a reader that copies goes on after a loss: with the oldest record that can be read
    /// ([`Resume::Oldest`]) unless said.
    pub fn resume(mut self, resume: Resume) -> Self {
        self.spec.resume = resume;
        self
    }

    /// Keeps this reader's mapping in memory, never swapped out: mlock(2). Limited by `RLIMIT_MEMLOCK`.
    pub fn lock_memory(mut self) -> Self {
        self.spec.map.lock = true;
        self
    }

    /// Whether all pages are brought in now, so that no look ever waits for the kernel; they are unless said.
    pub fn prefault(mut self, yes: bool) -> Self {
        self.spec.map.prefault = yes;
        self
    }

    /// Waits until a ring of the name exists, at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WaitTimedOut`], [`ErrorKind::BadName`], [`ErrorKind::UnsafeDirectory`], and what the
    /// system refuses.
    pub fn wait(self, timeout: Duration) -> Result<Self, Error> {
        self.spec.wait(timeout)?;
        Ok(self)
    }

    /// What the ring is and how it stands, without taking a place in it. What `ctl` says is left out where this process
    /// may not open it.
    ///
    /// # Errors
    ///
    /// As [`observe`](Open::observe).
    pub fn info(self) -> Result<Info, Error> {
        self.spec.info()
    }

    /// Removes the ring, also a persistent one, unless a producer holds it. Readers go on until they have read
    /// what is there.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), [`ProducerAlive`](ErrorKind::ProducerAlive), and what the system refuses.
    pub fn remove(self) -> Result<(), Error> {
        let name = &self.spec.name;
        if self.spec.handed.is_some() {
            let what =
                "a ring that was handed over goes with the last who has it; there is nothing to remove";
            return Err(Error::of(ErrorKind::BadOption(what), name));
        }
        if self.spec.object.is_some() {
            let what = "a ring in somebody's shared memory goes with that; remove the memory instead";
            return Err(Error::of(ErrorKind::BadOption(what), name));
        }
        // As for a reader: no directory is made for it, and any kind of page will do. Who may not write there is
        // refused by the system.
        let home = self.spec.home(Purpose::Copy)?;
        loop {
            let ring = home.ring(name)?;
            let Some(owner) = ring.try_own(name).or_else(|error| gone(&home, name, &ring, error))? else {
                return Err(Error::of(ErrorKind::ProducerAlive, name));
            };
            // Held while it goes: nobody takes it over meanwhile.
            if home.still_means(name, &ring) {
                home.retire(name, &ring);
                drop(owner);
                if !home.still_means(name, &ring) {
                    return Ok(());
                }
                return Err(Error::of(ErrorKind::System("remove the ring's directory"), name));
            }
        }
    }
}

impl Open {
    /// Subscribes: from now on the producer waits for this reader, which may borrow records in place.
    ///
    /// Once this has returned, no later record is missed. The subscriber starts with the next record, unless
    /// [`start`](Open::start) says otherwise.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), [`NoFreeSlot`](ErrorKind::NoFreeSlot),
    /// [`Untrusted`](ErrorKind::Untrusted) if the ring is another user's, [`OthersWrite`](ErrorKind::OthersWrite) if others
    /// may write its records, [`CopyingOnly`](ErrorKind::CopyingOnly),
    /// [`StartGone`](ErrorKind::StartGone) if it shall start with a sequence that is gone,
    /// [`PermissionDenied`](ErrorKind::PermissionDenied), [`NotARing`](ErrorKind::NotARing),
    /// [`LayoutVersion`](ErrorKind::LayoutVersion), [`Corrupt`](ErrorKind::Corrupt).
    pub fn subscribe(self) -> Result<Subscriber, Error> {
        self.spec.subscribe()
    }

    /// Subscribes with copies: the producer waits for this reader as for any subscriber, but it trusts neither the
    /// producer nor other readers. The way to read another user's ring without loss.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Open::subscribe), but for `Untrusted`, `OthersWrite`, `CopyingOnly` and `StartGone`.
    pub fn subscribe_copying(self) -> Result<CopyingSubscriber, Error> {
        self.spec.subscribe_copying().map(CopyingSubscriber)
    }

    /// Observes: reads along without holding anybody back, and with permission to read only.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), [`PermissionDenied`](ErrorKind::PermissionDenied),
    /// [`NotARing`](ErrorKind::NotARing), [`LayoutVersion`](ErrorKind::LayoutVersion),
    /// [`Corrupt`](ErrorKind::Corrupt).
    pub fn observe(self) -> Result<Observer, Error> {
        self.spec.observe().map(Observer)
    }

    /// Becomes the producer of a ring that exists and whose producer is gone, or that never had one.
    ///
    /// # Errors
    ///
    /// As [`Create::producer`](crate::Create::producer), and [`NotFound`](ErrorKind::NotFound).
    pub fn producer(self) -> Result<Producer, Error> {
        self.spec.producer()
    }
}

impl OpenSpec {
    fn home(&self, purpose: Purpose) -> Result<Home, Error> {
        check_name(&self.name)?;
        Home::open(&self.access, purpose).map_err(|error| error.about(&self.name))
    }

    fn wait(&self, timeout: Duration) -> Result<(), Error> {
        if self.handed.is_some() {
            return Ok(());
        }
        if self.object.is_none() {
            check_name(&self.name)?;
        }
        let deadline = Instant::now().checked_add(timeout);
        let left = || deadline.map_or(WATCH_AGAIN, |d| d.saturating_duration_since(Instant::now()));
        // Nothing tells when a ring is laid into an object: it is looked for again and again.
        while let Some(object) = &self.object {
            match object.attach_data(MapOptions { prefault: false, ..self.map }) {
                Ok(_) => return Ok(()),
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotARing(_)) => {
                    return Err(error);
                }
                Err(_) if left().is_zero() => return Err(Error::of(ErrorKind::WaitTimedOut, &self.name)),
                Err(_) => sys::nap(LOOK_AGAIN.min(left())),
            }
        }
        loop {
            let home = match Home::open(&self.access, Purpose::Copy) {
                Ok(home) => home,
                Err(error) if error.is_not_found() => {
                    if left().is_zero() {
                        return Err(Error::of(ErrorKind::WaitTimedOut, &self.name));
                    }
                    sys::nap(LOOK_AGAIN.min(left()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let look = || match home.ring(&self.name) {
                Ok(_) => Some(Ok(())),
                Err(error) if !error.is_not_found() => Some(Err(error)),
                Err(_) if left().is_zero() => Some(Err(Error::of(ErrorKind::WaitTimedOut, &self.name))),
                Err(_) => None,
            };
            // Without a watch first: the end of one takes the kernel some 10 ms, and mostly the ring is there.
            if let Some(outcome) = look() {
                return outcome;
            }
            // Watched first, looked at afterwards: a ring that appears in between is not missed. Without
            // descriptors to watch with, it is looked for again and again.
            let watch = home.place.watch().ok();
            if let Some(outcome) = look() {
                return outcome;
            }
            if watch.is_none_or(|watch| watch.wait(left().min(WATCH_AGAIN)).is_err()) {
                sys::nap(LOOK_AGAIN.min(left()));
            }
        }
    }

    pub(crate) fn subscribe(self) -> Result<Subscriber, Error> {
        let name = &self.name;
        let check = |memory: &Memory, data: &_| self.may_borrow(memory, data);
        let (life, keeper, seat) = self.take_seat(Purpose::Read, SlotKind::InPlace, check)?;
        let Seat { memory, slot, ctl } = seat;
        Subscriber::new(memory, ctl, slot, life, self.waiting, self.start, keeper).map_err(|(failed, ctl)| {
            // The slot's lock goes with the file; its cursor must not hold the producer until then.
            let _ = unlock_slot(&ctl, slot);
            join_failed(failed, name)
        })
    }

    pub(crate) fn subscribe_copying(self) -> Result<Copier, Error> {
        let (life, keeper, seat) = self.take_seat(Purpose::Copy, SlotKind::Copying, |_, _| Ok(()))?;
        let shape = seat.memory.identity().shape;
        match Core::join(shape, seat.memory.shared(), seat.slot(), self.start) {
            Ok(core) => Ok(Copier::subscriber(seat, core, life, keeper, self.waiting, self.resume)),
            Err(failed) => {
                // The cursor was somewhere, and a dead owner's before: the producer may have waited for either.
                leave_slot(&seat.memory, &seat.ctl, seat.slot);
                Err(join_failed(failed, &self.name))
            }
        }
    }

    pub(crate) fn observe(self) -> Result<Copier, Error> {
        let name = &self.name;
        let (data, whereabouts) = self.attach_data(self.map)?;
        self.check_type(&data)?;
        let (life, keeper) = self.follow(whereabouts, &data)?;
        let core = Core::start(data.identity().shape, data.view(), self.start)
            .map_err(|Damaged(what)| Error::of(ErrorKind::Corrupt(what), name))?;
        Ok(Copier::observer(data, core, life, keeper, self.waiting, self.resume))
    }

    pub(crate) fn producer(self) -> Result<Producer, Error> {
        if self.handed.is_some() {
            let what = "a ring that was handed over is sealed, and has one producer only; to send, make a ring of \
                        your own and hand that over";
            return Err(Error::of(ErrorKind::BadOption(what), &self.name));
        }
        let mut spec = Spec::new(&self.name, Existing::Require);
        spec.object = self.object;
        spec.access = self.access;
        spec.waiting = self.waiting;
        spec.map = self.map;
        spec.payload = self.payload;
        spec.producer()
    }

    /// Whether records may be read in place: who could write them is trusted, and the ring lends them.
    pub(crate) fn may_borrow(&self, memory: &Memory, data: &File) -> Result<(), Error> {
        let name = &self.name;
        let facts = facts_of(data).map_err(|source| Error::io("look at the ring", name, source))?;
        let giver = self.handed.as_ref().and_then(|handed| handed.giver()).unwrap_or(facts.uid);
        for uid in [facts.uid, giver] {
            if !self.access.trusts(uid) {
                return Err(Error::of(ErrorKind::Untrusted { uid }, name));
            }
        }
        // What is handed over is sealed: there the mode permits nothing. (In an object whoever may write its `ctl`
        // part may write records, too.)
        if self.handed.is_none() && facts.mode & 0o022 != 0 {
            return Err(Error::of(ErrorKind::OthersWrite { mode: facts.mode & 0o777 }, name));
        }
        if memory.identity().options.has(Options::NO_IN_PLACE) {
            return Err(Error::of(ErrorKind::CopyingOnly, name));
        }
        Ok(())
    }

    fn check_type(&self, data: &DataMemory) -> Result<(), Error> {
        self.payload.map_or(Ok(()), |wish| wish.check(&self.name, data))
    }

    /// What a reader needs besides the records: who to watch, and what time it is.
    fn follow(&self, whereabouts: Whereabouts, data: &DataMemory) -> Result<(Life, Timekeeper), Error> {
        let identity = data.identity();
        let keeper =
            Timekeeper::of(identity).ok_or_else(|| Error::of(ErrorKind::Corrupt("clock"), &self.name))?;
        let interval = Duration::from_millis(u64::from(identity.liveness_ms));
        let epoch = data.view().producer.epoch.look();
        // An observer has no lock, by which this would be done.
        fork::watch().map_err(|source| Error::io("watch for forks", &self.name, source))?;
        let life = Life::new(whereabouts, epoch, interval, self.stay);
        // One that cannot be asked would wait for the dead for ever.
        life.ask().map_err(|source| Error::lock("ask whether the producer lives", &self.name, source))?;
        Ok((life, keeper))
    }

    /// Maps the ring and takes a place among its subscribers, if `check` allows.
    pub(crate) fn take_seat(
        &self,
        purpose: Purpose,
        kind: SlotKind,
        check: impl Fn(&Memory, &File) -> Result<(), Error>,
    ) -> Result<(Life, Timekeeper, Seat), Error> {
        for _ in 0..TRIES {
            if let Some(seat) = self.try_seat(purpose, kind, &check)? {
                return Ok(seat);
            }
            sys::nap(LEAVING_AGAIN);
        }
        Err(Error::of(ErrorKind::System("get hold of a name that keeps changing hands"), &self.name))
    }

    /// The same, once. `None`: the ring is about to be removed, or has been.
    fn try_seat(
        &self,
        purpose: Purpose,
        kind: SlotKind,
        check: impl Fn(&Memory, &File) -> Result<(), Error>,
    ) -> Result<Option<(Life, Timekeeper, Seat)>, Error> {
        let (memory, data, ctl, whereabouts) = self.attach(purpose, self.map)?;
        check(&memory, &data)?;
        self.check_type(memory.data())?;
        let (life, keeper) = self.follow(whereabouts, memory.data())?;
        // Last: whoever has a slot is counted on.
        let slot = take_slot(&self.name, &memory, &ctl, kind)?;
        if life.is_leaving(&ctl) {
            leave_slot(&memory, &ctl, slot);
            return Ok(None);
        }
        Ok(Some((life, keeper, Seat { memory, slot, ctl })))
    }

    /// Maps both parts of the ring. The files are those of `data` and `ctl`.
    fn attach(
        &self,
        purpose: Purpose,
        map: MapOptions,
    ) -> Result<(Memory, File, LockFile, Whereabouts), Error> {
        if let Some(handed) = &self.handed {
            return handed.attach(&self.name, map);
        }
        if let Some(object) = &self.object {
            return object.attach(map);
        }
        let (name, home) = (&self.name, self.home(purpose)?);
        let ((memory, data, ctl), ring) =
            at_the_name(&home, name, |ring| attach(name, ring, OsAccess::Read, map))?;
        Ok((memory, data, ctl, Whereabouts::Named { home, name: name.clone(), ring }))
    }

    /// Maps what an observer needs.
    fn attach_data(&self, map: MapOptions) -> Result<(DataMemory, Whereabouts), Error> {
        if let Some(handed) = &self.handed {
            return handed.attach_data(&self.name, map);
        }
        if let Some(object) = &self.object {
            return object.attach_data(map);
        }
        let (name, home) = (&self.name, self.home(Purpose::Copy)?);
        let (data, ring) = at_the_name(&home, name, |ring| {
            let data = ring.file(DATA, OsAccess::Read, name)?;
            DataMemory::attach(name, &data, OsAccess::Read, map)
        })?;
        Ok((data, Whereabouts::Named { home, name: name.clone(), ring }))
    }

    fn info(&self) -> Result<Info, Error> {
        let map = MapOptions { prefault: false, ..MapOptions::default() };
        let of_data = || {
            let (data, whereabouts) = self.attach_data(map)?;
            Ok(Info::read(&self.name, &data, None, &whereabouts))
        };
        if let Some(handed) = &self.handed {
            return match handed.look(&self.name, map)? {
                Some((memory, ctl, whereabouts)) => {
                    Ok(Info::read(&self.name, memory.data(), Some((&memory, &ctl)), &whereabouts))
                }
                None => of_data(),
            };
        }
        match self.attach(Purpose::Copy, map) {
            // All of one look: a second one might find another ring under the name.
            Ok((memory, _, ctl, whereabouts)) => {
                Ok(Info::read(&self.name, memory.data(), Some((&memory, &ctl)), &whereabouts))
            }
            // Observers may look at a ring without permission to its ctl.
            Err(error) if *error.kind() == ErrorKind::PermissionDenied => of_data(),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn join_failed(failed: JoinFailed, name: &str) -> Error {
    let kind = match failed {
        JoinFailed::Damaged(what) => ErrorKind::Corrupt(what),
        JoinFailed::Gone { oldest } => ErrorKind::StartGone { oldest },
    };
    Error::of(kind, name)
}

/// Does something with the ring that has the name, again if it lost the name to another meanwhile.
fn at_the_name<T>(
    home: &Home,
    name: &str,
    mut with: impl FnMut(&RingDir) -> Result<T, Error>,
) -> Result<(T, RingDir), Error> {
    let mut tries = 0;
    loop {
        let ring = home.ring(name)?;
        match with(&ring).or_else(|error| gone(home, name, &ring, error)) {
            Ok(done) => return Ok((done, ring)),
            Err(error) if error.is_not_found() && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Takes the lock of a slot and makes it ours. First among free ones, then among those whose owners died.
fn take_slot(name: &str, memory: &Memory, ctl: &LockFile, kind: SlotKind) -> Result<u32, Error> {
    let owner = Owner { pid: sys::pid(), uid: sys::uid(), start_time: sys::start_time() };
    slots::take(memory.shared(), &SlotBytes(ctl), kind, owner, &ReaderBell::of(memory))
        .map_err(|source| Error::lock("lock a subscriber's place", name, source))?
        .ok_or_else(|| {
            let slots = memory.slots().len() as u32;
            // More places for subscribers are none for workers.
            let kind = match kind {
                SlotKind::Worker if slots >= WORKER_SLOTS => ErrorKind::TooManyWorkers { max: WORKER_SLOTS },
                _ => ErrorKind::NoFreeSlot { slots },
            };
            Error::of(kind, name)
        })
}
