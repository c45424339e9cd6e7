//! The reading end that the producer waits for, and that trusts nobody.

use crate::copier::Copier;
use crate::copies::copying_reader;

/// A reading end of a ring that the producer waits for, like a [`Subscriber`](crate::Subscriber), and that copies each
/// record out and checks it, like an [`Observer`](crate::Observer). From
/// [`Open::subscribe_copying`](crate::Open::subscribe_copying).
///
/// It gets every record, unless the ring [gives up](crate::Create::evict_after) slow readers, or another process that may
/// write the ring's `ctl` file moves this reader's cursor: then [`Lagged`](crate::CopyError::Lagged) says exactly how many
/// records were lost, and it goes on.
///
/// # What is assumed of other processes
///
/// That the ring's owner does not shorten its files, which the kernel answers with SIGBUS. Whatever else the producer or
/// other readers write: lost records, exactly counted, late wakes, and from the producer wrong bytes; never torn ones.
/// On a ring of [`Wake::Semaphore`](crate::Wake::Semaphore) also that nobody overwrites its semaphores: the C library
/// may end this process then. Why the copy is no data race: *Soundness* in the book, "The copy".
///
/// # Examples
///
/// ```
/// use annulus::Ring;
/// # let dir = format!("/dev/shm/annulus-doc-copying-{}", std::process::id());
/// let mut tx = Ring::create("orders").dir(&dir).no_in_place().producer()?;
/// let mut rx = Ring::open("orders").dir(&dir).subscribe_copying()?;
/// tx.send(b"buy 100")?;
/// let mut buf = [0; 64];
/// let received = rx.recv(&mut buf)?;
/// assert_eq!(&buf[..received.len], b"buy 100");
/// # drop((rx, tx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CopyingSubscriber(pub(crate) Copier);

copying_reader!(CopyingSubscriber);
