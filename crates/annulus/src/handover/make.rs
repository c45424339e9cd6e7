//! Making a ring without a name.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use annulus_core::layout::lock_byte;
use annulus_os::inherit::reopen;
use annulus_os::place::{anonymous_empty, seal};
use annulus_os::sys::{available_memory, page_size};
use annulus_os::{Access, LockFile, Seal, lock};

use crate::create::{Create, Existing, Spec};
use crate::error::{Error, ErrorKind};
use crate::make::Parts;
use crate::memory::{MapOptions, Memory, ctl_file_bytes};
use crate::producer::Holdings;
use crate::ring::Ring;
use crate::typed::TypedRing;
use crate::whereabouts::{Held, Whereabouts};
use crate::{HugePages, Payload};

/// Who has a descriptor may open it again with these, whoever it is: readers of other users need a description of
/// their own. Nobody else's mode lets them open `data` for writing, so the lock that shows life is the producer's.
const DATA_MODE: u32 = 0o644;
const CTL_MODE: u32 = 0o666;

impl Ring {
    /// A new ring without a name, in sealed memory, for those whom it is [handed over](crate::handover) to.
    ///
    /// `label` is what people see in `/proc` and in errors, and of the form of a name; two rings may have the same.
    /// Options about names, files and modes do nothing here; those for persistent rings, rings without a producer and
    /// huge pages are refused.
    ///
    /// # Errors
    ///
    /// From [`Create::producer`]: [`BadName`](ErrorKind::BadName), [`BadCapacity`](ErrorKind::BadCapacity),
    /// [`BadOption`](ErrorKind::BadOption), [`NoSpace`](ErrorKind::NoSpace) if the machine has not so much memory left,
    /// and what the system refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::Ring;
    ///
    /// let mut tx = Ring::anonymous("ticks").capacity(1 << 16).producer()?;
    /// let offer = tx.offer()?; // goes to another process, or as here to another thread
    /// let reader = std::thread::spawn(move || offer.open().subscribe().unwrap().recv().unwrap().to_vec());
    /// tx.wait_for_subscribers(1)?;
    /// tx.send(b"tick")?;
    /// assert_eq!(reader.join().unwrap(), b"tick");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn anonymous(label: &str) -> Create {
        Create::new(spec(Spec::new(label, Existing::Replace)))
    }
}

impl<T: Payload> TypedRing<T> {
    /// A new ring of such values without a name: see [`Ring::anonymous`].
    pub fn anonymous(label: &str) -> Create<T> {
        Create::new(spec(TypedRing::<T>::spec(label, Existing::Replace)))
    }
}

fn spec(spec: Spec) -> Spec {
    Spec { anonymous: true, ..spec }
}

impl Spec {
    /// Makes a ring in two memfds, lays it, and seals them. What was asked has been checked.
    pub(crate) fn make_anonymous(&self, producing: bool) -> Result<Parts, Error> {
        if !producing || self.persistent == Some(true) {
            return Err(self.bad(
                "a ring without a name ends with its producer; leave `.persistent(..)` and `.without_producer()` out",
            ));
        }
        if self.map.huge != HugePages::Never {
            return Err(self.bad("a ring without a name lies on base pages; leave `.huge_pages(..)` out"));
        }
        let name = &self.name;
        let made = |source| Error::io("make the ring's memory", name, source);
        let identity = self.identity(page_size())?;
        let ctl_bytes = ctl_file_bytes(&identity, page_size()) as u64;
        // A memfd knows no limit, and the kernel would rather kill somebody than refuse it.
        let (needed, free) = (identity.data_bytes() + ctl_bytes, available_memory());
        if needed > free {
            return Err(Error::of(ErrorKind::NoSpace { needed, free }, name));
        }
        let file = |part, bytes, mode| {
            let file = anonymous_empty(&format!("annulus-{name}-{part}"))?;
            file.set_len(bytes)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            Ok(file)
        };
        // These descriptions never leave this process.
        let data = LockFile::open(|| file("data", identity.data_bytes(), DATA_MODE)).map_err(made)?;
        let ctl = LockFile::open(|| file("ctl", ctl_bytes, CTL_MODE)).map_err(made)?;
        let owner = LockFile::open(|| ctl.file()?.try_clone()).map_err(made)?;
        // Locked while nobody else can have them.
        let hold = |file, byte| match lock::try_lock(&file, byte) {
            Ok(true) => Ok(Held { file, byte }),
            Ok(false) => Err(Error::of(ErrorKind::ProducerAlive, name)),
            Err(source) => Err(Error::io("lock the ring", name, source)),
        };
        let (life, owner) = (hold(data, lock_byte::LIFE)?, hold(owner, lock_byte::OWNER)?);
        let map = MapOptions { fresh: true, ..self.map };
        let (data, opened) = (life.file.file().map_err(made)?, ctl.file().map_err(made)?);
        // Mapped through descriptions that hold no locks: a mapping keeps its description, and a forked child has the
        // mapping. Without `/proc` there are no others.
        let again = [data, opened].map(|file| reopen(file, Access::ReadWrite).ok());
        let [mapped_data, mapped_ctl] =
            [again[0].as_ref().unwrap_or(data), again[1].as_ref().unwrap_or(opened)];
        let memory = Memory::map(name, mapped_data, mapped_ctl, identity, Access::ReadWrite, map)?;
        let writer = self.lay(&memory, 1)?;
        // Mapped first: from now on nobody can map `data` for writing, not even we.
        let sealed = |source| Error::io("seal the ring's memory", name, source);
        seal(data, Seal::SizeAndFutureWrite).map_err(sealed)?;
        seal(opened, Seal::Size).map_err(sealed)?;
        let whereabouts = Whereabouts::Sealed { data: None };
        Ok((writer, memory, Holdings { owner, life: Some(life), ctl, whereabouts }))
    }
}
