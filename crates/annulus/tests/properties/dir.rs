//! A directory of rings that goes away.

use std::fs::{create_dir, remove_dir_all};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use annulus::{Create, Open, Ring};

/// A directory for one case, removed with all that is in it.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/dev/shm/annulus-properties-{}-{n}.d", std::process::id()));
        create_dir(&dir).expect("a new directory");
        Dir(dir)
    }

    pub(crate) fn create(&self, name: &str) -> Create {
        Ring::create(name).dir(&self.0)
    }

    pub(crate) fn open(&self, name: &str) -> Open {
        Ring::open(name).dir(&self.0)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.0);
    }
}
