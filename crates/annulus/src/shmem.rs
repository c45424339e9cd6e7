//! Rings in the shared memory of the crate `shared_memory`: the feature of that name.

use shared_memory::Shmem;

use crate::create::{Create, Existing, Spec};
use crate::object::Object;
use crate::open::Open;
use crate::ring::Ring;

impl Ring {
    /// A ring inside shared memory that somebody already has. It is opened again by its OS id and mapped as any ring
    /// is, so the [`Shmem`] is needed for this call only; annulus never removes it.
    ///
    /// Where the memory is zero a ring is laid into it, as large as fits unless [`capacity`](Create::capacity) says
    /// otherwise. One that is there already is taken over if its producer is gone, and the sequence goes on.
    /// Options about names and files do nothing here; those about pages are refused.
    ///
    /// # Errors
    ///
    /// From [`Create::producer`]: [`NoSpace`](crate::ErrorKind::NoSpace) with the bytes that it needs,
    /// [`NotARing`](crate::ErrorKind::NotARing) where the memory holds something else,
    /// [`ProducerAlive`](crate::ErrorKind::ProducerAlive), [`Mismatch`](crate::ErrorKind::Mismatch) with the ring that
    /// is there, [`BadOption`](crate::ErrorKind::BadOption).
    ///
    /// # Examples
    ///
    /// ```
    /// use annulus::Ring;
    /// use shared_memory::ShmemConf;
    ///
    /// let shmem = ShmemConf::new().size(1 << 20).create()?;
    /// let mut tx = Ring::create_in(&shmem).producer()?;
    /// let rx = Ring::open_in(&shmem).subscribe()?;
    /// tx.send(b"hello")?;
    /// assert_eq!(&*rx.recv()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_in(shmem: &Shmem) -> Create {
        let mut spec = Spec::new(shmem.get_os_id(), Existing::TakeOver);
        spec.object = Some(Object::new(shmem.get_os_id(), shmem.as_ptr() as usize));
        Create::new(spec)
    }

    /// The ring inside shared memory that somebody already has, for readers; see [`create_in`](Ring::create_in), and
    /// its example.
    ///
    /// Whoever may map the memory may write all of it: readers in place trust its owner, as with any ring, and
    /// whoever else may write it.
    pub fn open_in(shmem: &Shmem) -> Open {
        Open::in_object(Object::new(shmem.get_os_id(), shmem.as_ptr() as usize), shmem.get_os_id())
    }
}
