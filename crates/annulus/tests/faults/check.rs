//! What must hold after a death, whoever died and wherever.
#![allow(unsafe_code)]

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annulus::{
    CopyTimeoutError, CopyingSubscriber, Create, Found, Observer, Open, RecvError, RecvTimeoutError, Ring,
    Start, Subscriber, TryCopyError,
};

use crate::board::Board;
use crate::{INTERVALS, LIVENESS};

/// The ring of every program.
pub(crate) const NAME: &str = "r";
/// How long anything may take that waits for somebody's death.
pub(crate) const PATIENCE: Duration = LIVENESS.saturating_mul(INTERVALS);

/// What the record of a number holds, as one of these says it.
pub(crate) type What = fn(u64) -> Vec<u8>;

/// What the record of a number holds, known to all. Every way to copy one is among the lengths.
pub(crate) fn record(n: u64) -> Vec<u8> {
    const LENS: [usize; 6] = [11, 8, 200, 0, 1100, 64];
    payload(n, LENS[n as usize % LENS.len()])
}

/// The same for programs in which a few records must fill the ring.
pub(crate) fn large(n: u64) -> Vec<u8> {
    payload(n, 900)
}

fn payload(n: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (n.wrapping_mul(151) + i.wrapping_mul(29) + 1) as u8).collect()
}

/// The directory of one run.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// A new one.
    pub(crate) fn new() -> Dir {
        let path = PathBuf::from(format!("/dev/shm/annulus-faults-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Dir(path)
    }

    pub(crate) fn create(&self) -> Create {
        self.shaped(Ring::create(NAME))
    }

    pub(crate) fn open_or_create(&self) -> Create {
        self.shaped(Ring::open_or_create(NAME))
    }

    fn shaped(&self, ring: Create) -> Create {
        ring.dir(&self.0).capacity(4096).max_subscribers(3).liveness(LIVENESS)
    }

    pub(crate) fn open(&self) -> Open {
        Ring::open(NAME).dir(&self.0)
    }

    /// Takes it away: the first creator makes it.
    pub(crate) fn remove(&self) {
        fs::remove_dir(&self.0).unwrap();
    }

    /// Makes it, if nobody has.
    pub(crate) fn make(&self) {
        let _ = fs::create_dir(&self.0);
    }

    fn entries(&self) -> Vec<String> {
        names(&self.0)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.collect()
}

/// Every name that is left is that of a ring, or of a draft that nobody holds; and so within them. `prune` knows what each
/// is, and that no producer has it.
pub(crate) fn explained(dir: &Dir) {
    let known = Ring::prune().dir(&dir.0).dry_run().unwrap();
    for name in dir.entries() {
        let path = dir.0.join(&name);
        assert!(name == NAME || is_draft(&name), "nothing explains {name:?}");
        let found: Vec<Found> =
            known.iter().filter(|known| known.name == name).map(|known| known.found).collect();
        assert!(
            matches!(found[..], [Found::Leftover | Found::Draft | Found::Persistent]),
            "prune takes {name:?} for {found:?}"
        );
        for file in names(&path) {
            let path = path.join(&file);
            let is_life = file.strip_prefix("life.").is_some_and(|epoch| epoch.parse::<u64>().is_ok());
            assert!(
                ["data", "ctl", "owner"].contains(&file.as_str()) || is_life || is_draft(&file),
                "nothing explains {path:?}"
            );
            if file == "owner" || is_life || is_draft(&file) {
                assert!(!is_locked(&path), "{path:?} is locked by nobody who lives");
            }
        }
    }
}

/// A name that no ring can have, as a creator makes one.
fn is_draft(name: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == 17 && name.starts_with('.') && name.bytes().skip(1).all(hex)
}

fn is_locked(path: &Path) -> bool {
    let file = fs::File::open(path).unwrap();
    // SAFETY: all-zero is a value of this struct of integers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_len) = (libc::F_RDLCK as i16, 1);
    // SAFETY: an open descriptor, and a whole `flock` of our own, which the kernel reads and writes.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    assert_eq!(asked, 0);
    i32::from(lock.l_type) != libc::F_UNLCK
}

/// What was left is in nobody's way: the name can be had, used and given back, and then only drafts remain.
pub(crate) fn cleaned(dir: &Dir) {
    explained(dir);
    let mut tx = dir.create().producer().expect("a leftover is replaced");
    let rx = dir.open().subscribe().unwrap();
    tx.send(b"new").unwrap();
    assert_eq!((&*rx.recv().unwrap(), tx.sequence()), (&b"new"[..], 1));
    drop((rx, tx));
    assert!(dir.entries().iter().all(|name| is_draft(name)), "{:?} are left", dir.entries());
    Ring::prune().dir(&dir.0).apply().unwrap();
    assert!(dir.entries().is_empty(), "prune has left {:?}", dir.entries());
}

/// Readers of other processes, attached before the death, each with the sequence that it expects next.
#[derive(Debug)]
pub(crate) struct Witnesses {
    /// Holds its producer back, and stays for the next one.
    subscriber: Option<(Subscriber, u64)>,
    /// The same, copying.
    copier: Option<(CopyingSubscriber, u64)>,
    /// Holds nobody back. It does not stay.
    observer: (Observer, u64),
    what: What,
}

impl Witnesses {
    /// Attaches them; `in_place` and `copying` say which there shall be beside the observer.
    pub(crate) fn attach(dir: &Dir, [in_place, copying]: [bool; 2], what: What) -> Witnesses {
        let subscriber = in_place.then(|| dir.open().stay().start(Start::Oldest).subscribe().unwrap());
        let copier = copying.then(|| dir.open().stay().start(Start::Oldest).subscribe_copying().unwrap());
        let observer = dir.open().start(Start::Oldest).observe().unwrap();
        Witnesses {
            subscriber: subscriber.map(|rx| (rx, 0)),
            copier: copier.map(|rx| (rx, 0)),
            observer: (observer, 0),
            what,
        }
    }

    /// They read what is there. Returns the sequence that the observer expects then.
    pub(crate) fn drain(&mut self) -> u64 {
        if let Some((rx, next)) = &mut self.subscriber {
            while let Ok(got) = rx.try_recv() {
                same(self.what, got.sequence(), &got, next);
            }
        }
        if let Some((rx, next)) = &mut self.copier {
            drain_copies(self.what, next, |buf| rx.try_recv(buf));
        }
        let (rx, next) = &mut self.observer;
        drain_copies(self.what, next, |buf| rx.try_recv(buf));
        *next
    }

    /// The producer is dead: they read what there is, all of it and the same, until the definite end that the
    /// observer is told in time, which is one of `ends`. Returns how many records were published.
    pub(crate) fn bereaved(&mut self, ends: &[RecvError]) -> u64 {
        let (rx, next) = &mut self.observer;
        let end = until_end(self.what, next, rx);
        assert!(ends.contains(&end), "the end is {end:?}");
        let published = *next;
        self.drain();
        for (name, next) in [
            ("subscriber", self.subscriber.as_ref().map(|(_, next)| *next)),
            ("copying subscriber", self.copier.as_ref().map(|(_, next)| *next)),
        ] {
            assert!(next.is_none_or(|next| next == published), "the {name} has {next:?} of {published}");
        }
        published
    }

    /// A new producer has sent up to the sequence `to`: those who stayed get it with the same handle.
    pub(crate) fn go_on(&mut self, to: u64) {
        self.drain();
        let (observed, subscribed) = (self.observer.1, self.subscriber.as_ref().map(|(_, next)| *next));
        assert_eq!(observed, to, "the observer missed something");
        assert!(subscribed.is_none_or(|next| next == to), "the subscriber has {subscribed:?} of {to}");
        assert!(self.copier.as_ref().is_none_or(|(_, next)| *next == to));
    }

    /// What those who stayed are told in the end.
    pub(crate) fn end(&mut self) -> Option<RecvError> {
        let (rx, next) = self.subscriber.as_mut()?;
        loop {
            match rx.recv_timeout(PATIENCE) {
                Ok(got) => same(self.what, got.sequence(), &got, next),
                Err(RecvTimeoutError::Ended(end)) => return Some(end),
                Err(error) => panic!("a subscriber waits for ever: {error:?}"),
            }
        }
    }
}

/// A record is the next one, and whole.
fn same(what: What, sequence: u64, got: &[u8], next: &mut u64) {
    assert_eq!(sequence, *next, "a gap, or a record twice");
    assert!(got == what(sequence), "record {sequence} is torn: {got:?}");
    *next += 1;
}

fn drain_copies(
    what: What,
    next: &mut u64,
    mut recv: impl FnMut(&mut [u8]) -> Result<annulus::Received, TryCopyError>,
) {
    let mut buf = [0; 4096];
    loop {
        match recv(&mut buf) {
            Ok(got) => same(what, got.sequence, &buf[..got.len], next),
            Err(TryCopyError::Lagged(lost)) => *next += lost,
            Err(TryCopyError::Empty | TryCopyError::Ended(_)) => return,
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn until_end(what: What, next: &mut u64, rx: &mut Observer) -> RecvError {
    let mut buf = [0; 4096];
    loop {
        match rx.recv_timeout(&mut buf[..], PATIENCE) {
            Ok(got) => same(what, got.sequence, &buf[..got.len], next),
            Err(CopyTimeoutError::Lagged(lost)) => *next += lost,
            Err(CopyTimeoutError::Ended(end)) => return end,
            Err(error) => panic!("an observer waits for an end: {error:?}"),
        }
    }
}

/// The producer of the ring is dead: what its readers see, that another goes on, and that it ends well.
/// Returns how many records it published.
pub(crate) fn producer_died(dir: &Dir, mut witnesses: Witnesses) -> u64 {
    let board = Board::get();
    let ends = [RecvError::ProducerLost];
    let published = witnesses.bereaved(&ends);
    let (returned, started) = (board.returned(), board.started());
    assert!(
        (returned..=started).contains(&published),
        "{published} records can be read; {returned} were sent, and at most {started}"
    );
    next_producer(dir, witnesses, published);
    published
}

/// Somebody takes over, and everybody goes on.
pub(crate) fn next_producer(dir: &Dir, mut witnesses: Witnesses, published: u64) {
    let what = witnesses.what;
    let mut fresh = dir.open().start(Start::Oldest).observe().unwrap();
    let mut seen = fresh.sequence();
    drain_copies(what, &mut seen, |buf| fresh.try_recv(buf));
    assert_eq!(seen, published, "a fresh observer sees something else");
    explained(dir);
    let begin = Instant::now();
    let mut tx = dir.open().producer().expect("the ring can be taken over");
    assert!(begin.elapsed() < PATIENCE, "taking over took {:?}", begin.elapsed());
    assert_eq!(tx.sequence(), published, "the sequence goes on");
    let joined = dir.open().subscribe_copying().map(|rx| (rx, published));
    let mut joined = joined.expect("a fresh reader can join");
    for n in published..published + 3 {
        tx.send_timeout(&what(n), PATIENCE).expect("room, however many readers are dead");
        witnesses.go_on(n + 1);
        drain_copies(what, &mut joined.1, |buf| joined.0.try_recv(buf));
        assert_eq!(joined.1, n + 1, "a fresh reader missed something");
    }
    drop((tx, joined));
    if let Some(end) = witnesses.end() {
        assert_eq!(end, RecvError::Closed);
    }
    drop(witnesses);
    cleaned(dir);
}
