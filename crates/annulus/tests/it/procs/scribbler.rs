//! A process that writes anything into all that its role may write, as fast as it can: with its own mapping, with
//! write(2), and with locks. Where the words are it knows from the layout's page, not from the library.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{ptr, thread};

use super::child::{Child, say};
use crate::support::{Dir, Random};

/// Bytes of `data` before the producer's page, and before the records.
pub(super) const PRODUCER_PAGE: u64 = 8192;
pub(super) const RECORDS: u64 = 16384;
/// Bytes of `ctl` before the slots, and of each.
pub(super) const SLOTS: u64 = 4096;
pub(super) const SLOT: u64 = 256;
/// The byte of `ctl` whose lock is the first slot's.
pub(super) const SLOT_LOCKS: u64 = 1024;
/// Where a semaphore is in a slot, and in the head.
pub(super) const SEMAPHORE: u64 = 208;
pub(super) const ROOM_SEMAPHORE: u64 = 384;

/// So many words of one kind, then of another.
const PHASE: u64 = 100_000;

/// What is scribbled over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// All of `ctl` but its first words, which only those look at who attach; and every lock.
    Ctl,
    /// All of `ctl`.
    CtlAndItsName,
    /// The producer's page and the records.
    Data,
    /// All of `data`.
    DataAndItsName,
}

impl What {
    const ALL: [What; 4] = [What::Ctl, What::CtlAndItsName, What::Data, What::DataAndItsName];

    fn is_ctl(self) -> bool {
        matches!(self, What::Ctl | What::CtlAndItsName)
    }

    fn file(self) -> &'static str {
        if self.is_ctl() { "ctl" } else { "data" }
    }

    /// Starts a process that scribbles in the ring `r`, and waits until it does.
    pub(super) fn start(self, dir: &Dir, seed: u64) -> Child {
        eprintln!("seed {seed:#x}, {self:?}");
        let which = What::ALL.iter().position(|&what| what == self).unwrap();
        let mut child = Child::start("scribble", &[dir.text(), &which.to_string(), &seed.to_string()]);
        child.expect("scribbling");
        child
    }
}

/// A file of a ring, mapped by our own hand: nothing of the library stands before the words.
pub(super) struct Words {
    base: *mut u8,
    pub(super) len: u64,
}

// SAFETY: the mapping is of the process, and every access to it is an atomic one.
unsafe impl Sync for Words {}

impl Words {
    pub(super) fn map(file: &File, writable: bool) -> Words {
        let len = file.metadata().unwrap().len();
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let base = map(file.as_raw_fd(), len, protection).unwrap();
        Words { base, len }
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at < self.len);
        // SAFETY: in bounds and aligned (asserted), mapped for as long as this process lives; whoever else looks there
        // does so with atomics, too.
        unsafe { AtomicU64::from_ptr(self.base.add(at as usize).cast()) }
    }

    pub(super) fn put(&self, at: u64, word: u64) {
        self.word(at).store(word, Ordering::Relaxed);
    }

    pub(super) fn get(&self, at: u64) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }
}

/// Maps a file from its start, shared; never unmapped. The kernel's error if it refuses.
pub(super) fn map(file: RawFd, len: u64, protection: libc::c_int) -> Result<*mut u8, i32> {
    // SAFETY: a new mapping, wherever the kernel likes: it touches nothing that is there.
    let base = unsafe { libc::mmap(ptr::null_mut(), len as usize, protection, libc::MAP_SHARED, file, 0) };
    if base == libc::MAP_FAILED { Err(errno()) } else { Ok(base.cast()) }
}

pub(super) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

/// The role: scribbles until it is killed.
pub(super) fn scribble(dir: &str, which: &str, seed: &str) {
    let what = What::ALL[which.parse::<usize>().unwrap()];
    let ring = Path::new(dir).join("r");
    let file = OpenOptions::new().read(true).write(true).open(ring.join(what.file())).unwrap();
    let data = Words::map(&File::open(ring.join("data")).unwrap(), false);
    let words = Words::map(&file, true);
    let mut random = Random::quiet(seed.parse().unwrap());
    let slots = slots(&data);
    if what.is_ctl() {
        let seed = random.next();
        let path = ring.join("ctl");
        thread::spawn(move || take_locks(&path, slots, seed));
    }
    say("scribbling");
    for n in 0_u64.. {
        let tail = data.get(PRODUCER_PAGE + 128);
        let (at, word) = match what {
            What::Ctl | What::CtlAndItsName => {
                (in_ctl(&mut random, &words, slots, what), any_word(&mut random, tail))
            }
            // In turns, so that the producer puts its words right in between, and readers come as far as the records.
            _ if n / PHASE % 2 == 1 => next_header(&mut random, &data),
            _ => (in_data(&mut random, &words, what), any_word_or_header(&mut random, tail, &data)),
        };
        // What another way of writing would do differently is not known in advance.
        if n.is_multiple_of(1000) {
            file.write_all_at(&word.to_le_bytes(), at).unwrap();
        } else {
            words.put(at, word);
        }
    }
}

/// How many places for subscribers the ring has, as its identity says.
fn slots(data: &Words) -> u64 {
    data.get(40) & 0xffff_ffff
}

fn in_ctl(random: &mut Random, ctl: &Words, slots: u64, what: What) -> u64 {
    loop {
        let slot = SLOTS + SLOT * random.below(slots);
        let at = match random.below(8) {
            0 | 1 => [128, 128, 256, 264, ROOM_SEMAPHORE, 416][random.below(6) as usize],
            2 => slot + 8 * random.below(SLOT / 8),
            3 => 8 * random.below(ctl.len / 8),
            4 => slot + [128, 208, 240][random.below(3) as usize],
            _ => slot,
        };
        let spared = match at {
            0..128 => what == What::Ctl,
            // The bytes that the C library looks at again after they were checked: see docs/guide/trust.md.
            _ if at < SLOTS => (ROOM_SEMAPHORE + 8..ROOM_SEMAPHORE + 32).contains(&at),
            _ => (SEMAPHORE + 8..SEMAPHORE + 32).contains(&(at % SLOT)),
        };
        if !spared {
            return at;
        }
    }
}

fn in_data(random: &mut Random, data: &Words, what: What) -> u64 {
    match random.below(if what == What::Data { 6 } else { 7 }) {
        0 => PRODUCER_PAGE + 8 * [0, 1, 16, 17, 18, 32, 33][random.below(7) as usize],
        1 => PRODUCER_PAGE + 1024 + 8 * random.below(64),
        2 => PRODUCER_PAGE + 8 * random.below(1024),
        3 => RECORDS + 8 * random.below((data.len - RECORDS) / 8),
        4 | 5 => RECORDS + 64 * random.below((data.len - RECORDS) / 64),
        _ => 8 * random.below(24),
    }
}

/// A word that some other word might be, or anything.
fn any_word(random: &mut Random, tail: u64) -> u64 {
    match random.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 | 3 => tail.wrapping_add(64 * random.below(140)).wrapping_sub(70 * 64),
        4 => 1 << random.below(64),
        _ => random.next(),
    }
}

/// A header that a reader may take for the next record's, or nearly, where it looks for that.
fn next_header(random: &mut Random, data: &Words) -> (u64, u64) {
    let capacity = data.len - RECORDS;
    let (tail, published) = (data.get(PRODUCER_PAGE + 128), data.get(PRODUCER_PAGE + 136));
    let len =
        [0, 56, capacity - 8, capacity - 7, capacity, 3 * capacity, (1 << 30) - 1][random.below(7) as usize];
    let header = published.wrapping_add(random.below(2)) << 32 | 1 << 31 | len;
    (RECORDS + (tail & (capacity - 8)), header)
}

fn any_word_or_header(random: &mut Random, tail: u64, data: &Words) -> u64 {
    if random.below(3) > 0 {
        return any_word(random, tail);
    }
    let sequence = data.get(PRODUCER_PAGE + 136).wrapping_add(random.below(70)).wrapping_sub(60);
    let len = [8, 56, random.below(300), random.below(1 << 13), (1 << 30) - 1][random.below(5) as usize];
    sequence << 32 | 1 << 31 | len
}

/// Takes the write locks of slots and lets them go, for ever, of those that are free for a moment.
fn take_locks(ctl: &Path, slots: u64, seed: u64) {
    let mut random = Random::quiet(seed);
    let file = OpenOptions::new().read(true).write(true).open(ctl).unwrap();
    loop {
        let kind = [libc::F_WRLCK, libc::F_RDLCK, libc::F_UNLCK, libc::F_UNLCK][random.below(4) as usize];
        // Sometimes those of no slot: what else a ring may come to lock.
        let byte = if random.below(8) == 0 { random.below(2048) } else { SLOT_LOCKS + random.below(slots) };
        set_lock(&file, kind, byte);
    }
}

/// Whether the kernel gave it.
pub(super) fn set_lock(file: &File, kind: libc::c_int, byte: u64) -> bool {
    // SAFETY: all-zero is a value of this struct of integers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte.cast_signed();
    lock.l_len = 1;
    // SAFETY: an open descriptor, and one `flock` of our own.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) == 0 }
}
