//! One ring in files that are written anew for each input: whole rings that the library made, to be damaged.

use std::fs::{DirBuilder, File, OpenOptions, read, remove_dir_all, write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use annulus::{Align, Clock, Create, FenceMode, Ring, Start, Wake};

/// The ring's name.
pub(crate) const NAME: &str = "ring";
/// Subscribers that it has room for.
const SUBSCRIBERS: u32 = 3;

/// The bytes of a whole ring.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) data: Vec<u8>,
    pub(crate) ctl: Vec<u8>,
}

/// A directory of its own, and the ring in it.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) dir: PathBuf,
    pub(crate) wholes: Vec<Whole>,
    pub(crate) data: File,
    pub(crate) ctl: File,
}

impl Files {
    /// A new one, in shared memory.
    pub(crate) fn new() -> Files {
        let dir = PathBuf::from(format!("/dev/shm/annulus-fuzz-{}", std::process::id()));
        let _ = remove_dir_all(&dir);
        DirBuilder::new().mode(0o700).create(&dir).expect("a directory in shared memory");
        let wholes = (0..5).map(|kind| whole(&dir, kind)).collect();
        let [data, ctl] = lay(&dir);
        Files { dir, wholes, data, ctl }
    }

    /// Makes the files anew if a producer that ended, as the input had it, has removed them.
    pub(crate) fn mend(&mut self) {
        if !self.dir.join(NAME).join("ctl").exists() {
            let _ = remove_dir_all(self.dir.join(NAME));
            [self.data, self.ctl] = lay(&self.dir);
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.dir);
    }
}

/// Files as a creator makes them, empty.
fn lay(dir: &Path) -> [File; 2] {
    let ring = dir.join(NAME);
    DirBuilder::new().mode(0o755).create(&ring).expect("the ring's directory");
    write(ring.join("owner"), "").expect("the owner's file");
    ["data", "ctl"].map(|name| {
        let mut how = OpenOptions::new();
        how.read(true).write(true).create_new(true).mode(0o600);
        how.open(ring.join(name)).expect("a file of the ring")
    })
}

/// Writes a file anew.
pub(crate) fn rewrite(file: &File, bytes: &[u8], len: u64) {
    if file.metadata().expect("a size").len() != len {
        file.set_len(len).expect("a length");
    }
    let shown = bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX));
    file.write_all_at(&bytes[..shown], 0).expect("written");
}

/// A ring of some kind, with records in it, after its producer has gone.
fn whole(dir: &Path, kind: usize) -> Whole {
    let create = || Ring::create(NAME).dir(dir).capacity(4096).max_subscribers(SUBSCRIBERS).persistent(true);
    let clock = if cfg!(target_arch = "x86_64") { Clock::Tsc } else { Clock::Monotonic };
    let create: Create = match kind {
        0 => create().align(Align::Packed),
        1 => create().stamped(Clock::Monotonic).retain(8),
        2 => create().no_in_place().evict_after(Duration::from_nanos(1)),
        3 => create().wake(Wake::Semaphore).fence(FenceMode::SpinOnly).schema("what it means"),
        _ => create().stamped(clock).align(Align::Packed).start_at((1 << 32) - 4096, (1 << 32) - 3),
    };
    let mut tx = create.producer().expect("a ring");
    let rx = Ring::open(NAME).dir(dir).start(Start::Newest).subscribe_copying().expect("a subscriber");
    for len in 0..9 {
        tx.try_send(&vec![7; len * 9]).expect("room");
    }
    let bytes = |name: &str| read(dir.join(NAME).join(name)).expect("the ring's files");
    // While both are there: the slot is taken, the ring open.
    let whole = Whole { data: bytes("data"), ctl: bytes("ctl") };
    drop((rx, tx));
    Ring::open(NAME).dir(dir).remove().expect("removed");
    whole
}
