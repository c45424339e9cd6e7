//! Waiting at futexes by io_uring(7): `IORING_OP_FUTEX_WAIT`, since Linux 6.7.
#![allow(unsafe_code)]

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::fs::File;
use std::io;

use annulus_core::sync::FutexWord;
use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;
use rustix::io_uring::{
    IORING_OFF_SQ_RING, IORING_OFF_SQES, IoringEnterFlags, IoringFeatureFlags, IoringSetupFlags,
    io_uring_enter, io_uring_enter_arg, io_uring_getevents_arg, io_uring_params, io_uring_ptr,
    io_uring_setup,
};
use rustix::mm::{Advice, madvise};
use rustix::time::Timespec;

use crate::fork::Known;

/// Requests that are handed to the kernel at once; more go in several calls.
const ENTRIES: u32 = 256;
/// Answers that the kernel has room for. It keeps those beyond on a list of its own.
const ANSWERS: u32 = 4096;

const ASYNC_CANCEL: u8 = 14;
const FUTEX_WAIT: u8 = 51;
/// A word of four bytes that processes share: `FUTEX2_SIZE_U32`, and not `FUTEX2_PRIVATE`.
const SIZE_U32: i32 = 2;

/// `struct io_uring_sqe`, as these two requests have it.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Request {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    addr2: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    buf: u16,
    personality: u16,
    file_index: u32,
    addr3: u64,
    pad: u64,
}

const _: () = assert!(size_of::<Request>() == 64);

/// `struct io_uring_cqe`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Answer {
    /// The request's.
    pub(super) token: u64,
    /// 0, or an error number, negative.
    pub(super) result: i32,
    flags: u32,
}

const _: () = assert!(size_of::<Answer>() == 16);

/// The token of requests whose answers nobody wants.
pub(super) const NOBODY: u64 = u64::MAX;

/// One io_uring, used by the thread that made it. Dropping it ends the waits.
#[derive(Debug)]
pub(super) struct Uring {
    /// Closed in a forked child, where it would keep alive what its parent has given up.
    file: Known,
    /// Both queues' heads and tails, and the answers. No forked child has either map: each would keep the ring alive, as the
    /// descriptor would, and the requests with it, which take wakes that are for others.
    rings: ManuallyDrop<MmapRaw>,
    requests: ManuallyDrop<MmapRaw>,
    params: io_uring_params,
    /// Written, and not handed over yet.
    queued: u32,
}

impl Uring {
    /// # Errors
    ///
    /// Whatever the kernel says that has no io_uring, or lets nobody use it: `ENOSYS`, `EPERM` (see `kernel.io_uring_disabled` in
    /// proc_sys_kernel(5)), `EINVAL` before Linux 6.1, `EMFILE`, `ENOMEM`.
    pub(super) fn new() -> io::Result<Uring> {
        let mut params = io_uring_params::default();
        // One thread hands over and takes, and the kernel does its part of the work when that thread waits.
        params.flags = IoringSetupFlags::SINGLE_ISSUER
            | IoringSetupFlags::DEFER_TASKRUN
            | IoringSetupFlags::SUBMIT_ALL
            | IoringSetupFlags::CQSIZE
            | IoringSetupFlags::CLAMP;
        params.cq_entries = ANSWERS;
        let (file, [rings, requests]) = Known::open_with(|| {
            // SAFETY: ATTACH_WQ is not among the flags, which is all that is asked.
            let file = File::from(unsafe { io_uring_setup(ENTRIES, &mut params)? });
            let maps = maps(&file, &params)?;
            Ok((file, maps))
        })?;
        let [rings, requests] = [rings, requests].map(ManuallyDrop::new);
        let ring = Uring { file, rings, requests, params, queued: 0 };
        for i in 0..ring.params.sq_entries {
            // The n-th request of a lap is in the n-th place, always.
            ring.word(ring.params.sq_off.array + 4 * i).store(i, Ordering::Relaxed);
        }
        Ok(ring)
    }

    /// A word of the queues, which the kernel reads and writes as well.
    fn word(&self, offset: u32) -> &AtomicU32 {
        let offset = offset as usize;
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.rings.len());
        // SAFETY: inside the mapping, which begins at a page, so aligned (asserted); the result borrows `self`, which
        // keeps it, and every caller has asked whether this is the process that has it, or is behind one that did; and this process accesses the words of the queues through here only.
        unsafe { AtomicU32::from_ptr(self.rings.as_mut_ptr().add(offset).cast()) }
    }

    /// Asks for one answer with `token` once a wake that shares a bit with `bits` comes to `word`, or at once if it is not `seen`. Whoever
    /// calls keeps the word mapped until [`enter`](Uring::enter) has returned.
    ///
    /// # Errors
    ///
    /// As [`enter`](Uring::enter).
    pub(super) fn wait_at(&mut self, word: &FutexWord, seen: u32, bits: u32, token: u64) -> io::Result<()> {
        self.push(Request {
            opcode: FUTEX_WAIT,
            fd: SIZE_U32,
            addr: word.as_ptr().addr() as u64,
            addr2: u64::from(seen),
            addr3: u64::from(bits),
            user_data: token,
            ..Request::default()
        })
    }

    /// Takes back what was asked for with `token`; an answer may come all the same.
    ///
    /// # Errors
    ///
    /// As [`enter`](Uring::enter).
    pub(super) fn cancel(&mut self, token: u64) -> io::Result<()> {
        self.push(Request {
            opcode: ASYNC_CANCEL,
            fd: -1,
            addr: token,
            user_data: NOBODY,
            ..Request::default()
        })
    }

    fn push(&mut self, request: Request) -> io::Result<()> {
        self.file.file()?;
        let params = self.params;
        if self.queued == params.sq_entries {
            self.enter(None)?;
        }
        let tail = self.word(params.sq_off.tail).load(Ordering::Relaxed);
        let head = self.word(params.sq_off.head).load(Ordering::Acquire);
        if tail.wrapping_sub(head) >= params.sq_entries {
            return Err(Errno::BUSY.into());
        }
        let place = (tail & (params.sq_entries - 1)) as usize;
        assert!((place + 1) * size_of::<Request>() <= self.requests.len());
        // SAFETY: inside the mapping (asserted), which begins at a page. The kernel has read what was in that place: its head
        // is less than a lap behind; and it reads this only behind the store of the tail.
        unsafe { self.requests.as_mut_ptr().cast::<Request>().add(place).write(request) };
        // release: the request comes before the tail that shows it
        self.word(params.sq_off.tail).store(tail.wrapping_add(1), Ordering::Release);
        self.queued += 1;
        Ok(())
    }

    /// Hands over what was asked for; with a limit, waits so long at most for an answer. Returns early for signals and whatever else
    /// passes.
    ///
    /// # Errors
    ///
    /// What a later try will not mend: a sandbox, a descriptor that somebody closed.
    pub(super) fn enter(&mut self, limit: Option<Option<Duration>>) -> io::Result<()> {
        // An answer that is there already is not waited for again: the kernel counts those.
        let file = self.file.file()?;
        // SAFETY: the requests are waits at futexes, of which the kernel reads the word while it takes them over, and
        // whose callers keep it mapped until then; and cancellations, which name no memory. Both pointers of the
        // argument are null or to values that live until the call returns.
        let outcome = unsafe {
            match limit {
                None => io_uring_enter(file, self.queued, 0, IoringEnterFlags::GETEVENTS),
                Some(limit) => {
                    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
                    let mut arg = io_uring_getevents_arg::default();
                    if let Some(limit) = &limit {
                        arg.ts = io_uring_ptr::new(std::ptr::from_ref(limit).cast_mut().cast());
                    }
                    let flags = IoringEnterFlags::GETEVENTS | IoringEnterFlags::EXT_ARG;
                    io_uring_enter_arg(file, self.queued, 1, flags, Some(&arg))
                }
            }
        };
        match outcome {
            Ok(_) | Err(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY) => {}
            Err(error) => return Err(error.into()),
        }
        let (head, tail) = (self.params.sq_off.head, self.params.sq_off.tail);
        let head = self.word(head).load(Ordering::Acquire);
        self.queued = self.word(tail).load(Ordering::Relaxed).wrapping_sub(head);
        Ok(())
    }

    /// The next answer that is there.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.file.file().ok()?;
        let at = self.params.cq_off;
        let head = self.word(at.head).load(Ordering::Relaxed);
        // acquire: the answer is behind the tail that shows it
        if head == self.word(at.tail).load(Ordering::Acquire) {
            return None;
        }
        let place = (head & (self.params.cq_entries - 1)) as usize;
        let offset = at.cqes as usize + place * size_of::<Answer>();
        assert!(offset + size_of::<Answer>() <= self.rings.len());
        // SAFETY: inside the mapping (asserted), at a multiple of 8 from its first page; behind the tail, so the kernel has
        // written it, and does not write it again before the head has moved past it.
        let answer = unsafe { self.rings.as_ptr().add(offset).cast::<Answer>().read() };
        // release: the answer is read before its place is given back
        self.word(at.head).store(head.wrapping_add(1), Ordering::Release);
        Some(answer)
    }

    /// Whether some request was not handed over yet.
    pub(super) fn has_queued(&self) -> bool {
        self.queued != 0
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // In a forked child something else may be at those addresses.
        if self.file.file().is_ok() {
            // SAFETY: dropped here, once, and not used behind it; nothing borrows from a value that is being dropped.
            unsafe {
                ManuallyDrop::drop(&mut self.rings);
                ManuallyDrop::drop(&mut self.requests);
            }
        }
    }
}

/// The queues' words with the answers, and the requests.
fn maps(file: &File, params: &io_uring_params) -> io::Result<[MmapRaw; 2]> {
    if !params.features.contains(IoringFeatureFlags::SINGLE_MMAP) {
        return Err(Errno::NOSYS.into());
    }
    let array_end = params.sq_off.array as usize + params.sq_entries as usize * size_of::<u32>();
    let answers_end = params.cq_off.cqes as usize + params.cq_entries as usize * size_of::<Answer>();
    let map = |offset, len| {
        let map = MmapOptions::new().offset(offset).len(len).map_raw(file)?;
        // SAFETY: a mapping of our own, whose bytes stay as they are. What a forked child does without it: `Uring::drop`.
        unsafe { madvise(map.as_mut_ptr().cast(), map.len(), Advice::LinuxDontFork)? };
        Ok::<_, io::Error>(map)
    };
    let rings = map(IORING_OFF_SQ_RING, array_end.max(answers_end))?;
    let requests = map(IORING_OFF_SQES, params.sq_entries as usize * size_of::<Request>())?;
    Ok([rings, requests])
}
