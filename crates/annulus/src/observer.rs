//! The reading end that holds nobody back.

use crate::copier::Copier;
use crate::copies::copying_reader;

/// A reading end of a ring that nobody notices: it never holds the producer back, and needs no more than permission
/// to read the ring. From [`Open::observe`](crate::Open::observe).
///
/// It copies each record out and then checks that the producer had not begun to overwrite it. If the producer has
/// gone over its place, [`Lagged`](crate::CopyError::Lagged) says how many records that cost, exactly, and it goes on
/// with the oldest that can be read, or with the next one, as [asked](crate::Open::resume). So what it received and what
/// it lost add up to what was published. A record longer than about half the ring is hardly ever seen behind a busy
/// producer.
///
/// Nobody knows of it, so nobody can wake it: where a subscriber sleeps until it is woken, an observer naps, longer and
/// longer up to the liveness interval, unless its [`Waiting`](crate::Waiting) spins. Who wants to be woken and still
/// hold nobody back opens a [`CopyingSubscriber`](crate::CopyingSubscriber) of a ring that
/// [gives up](crate::Create::evict_after) slow readers.
///
/// # What is assumed of other processes
///
/// That the ring's owner does not shorten its file, which the kernel answers with SIGBUS. Whatever else they write: wrong
/// bytes at most, see [`RecvError::Corrupt`](crate::RecvError::Corrupt). Why the copy is no data race: *Soundness* in the
/// book, "The copy".
///
/// # Examples
///
/// ```
/// use annulus::{CopyError, Ring};
/// # let dir = format!("/dev/shm/annulus-doc-observer-{}", std::process::id());
/// let mut tx = Ring::create("quotes").dir(&dir).capacity(4096).producer()?;
/// let mut rx = Ring::open("quotes").dir(&dir).observe()?;
/// let mut buf = [0; 64];
/// tx.send(b"EURUSD 1.0842")?;
/// let received = rx.recv(&mut buf)?;
/// assert_eq!(&buf[..received.len], b"EURUSD 1.0842");
///
/// for n in 0..1000u32 {
///     tx.send(&n.to_le_bytes())?; // never waits
/// }
/// let Err(CopyError::Lagged(lost)) = rx.recv(&mut buf) else { panic!() };
/// assert_eq!(rx.recv(&mut buf)?.sequence, 1 + lost);
/// # drop((rx, tx));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Observer(pub(crate) Copier);

copying_reader!(Observer);
