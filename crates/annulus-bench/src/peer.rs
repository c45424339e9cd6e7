//! The other process: how it is started, what it is told, and what becomes of it.
//!
//! The client starts its own program again and leaves it some descriptors: a socket for lines of text
//! between the rounds, the shared mappings, and the ends of the kernel's pipes and sockets. Each line
//! is answered by `ready`; a failure is one line on stderr and the end of the peer.
#![allow(unsafe_code)]

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode};
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use std::{env, fs::File};

use memmap2::{MmapOptions, MmapRaw};

use crate::clock::Clock;
use crate::loops::{Client, Server, Sheet};
use crate::pin::Pinned;
use crate::plan::{Bench, Plan};
use crate::systems::{Ends, RingPlan, Rings, Way};
use crate::{Error, Result, floor};

/// Names the descriptors that the peer has been left.
const INHERITED: &str = "ANNULUS_BENCH_PEER";

/// What the server tells while a round goes on. All of it is written by the server only.
#[repr(C)]
pub(crate) struct Ctl {
    /// The number of the last message that the server is done with.
    pub(crate) done: AtomicU64,
    /// `CLOCK_MONOTONIC` of the last receive, of a wake.
    pub(crate) woken_at: AtomicU64,
    /// How often the server has slept since the message before.
    pub(crate) slept: AtomicU64,
}

/// The mapping with the [`Ctl`] at its front.
pub(crate) struct Board(MmapRaw);

impl Board {
    pub(crate) fn ctl(&self) -> &Ctl {
        // SAFETY: page-aligned, a page long, mapped as long as the borrow; atomics take any bits.
        unsafe { &*self.0.as_ptr().cast::<Ctl>() }
    }
}

fn memory(name: &std::ffi::CStr, len: usize) -> io::Result<File> {
    // SAFETY: the name is a C string; the call makes a descriptor or says -1.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(len as u64)?;
    Ok(file)
}

fn map(file: &File) -> io::Result<MmapRaw> {
    let map = MmapOptions::new().populate().map_raw(file)?;
    if map.len() < floor::BODY { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(map) }
}

/// What the rounds of one cell have in common.
pub(crate) struct Timing {
    pub(crate) bench: Bench,
    pub(crate) size: usize,
    pub(crate) length: Duration,
    pub(crate) clock: Clock,
    /// Bytes of a ring.
    pub(crate) capacity: usize,
    /// The number of the last message.
    pub(crate) seq: u64,
}

/// The peer as the client holds it. Dropping it ends it.
pub(crate) struct Peer {
    lines: BufReader<UnixStream>,
    child: Child,
    ends: Ends,
    board: Board,
}

impl Peer {
    /// Starts the peer on `cpu`.
    pub(crate) fn start(plan: &Plan, cpu: usize) -> Result<Self> {
        let mut peer = Self::spawn(plan).map_err(|e| Error::io("cannot start the peer process", &e))?;
        peer.tell(&format!("pin {cpu}"))?;
        Ok(peer)
    }

    fn spawn(plan: &Plan) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let board = memory(c"bench-board", floor::BODY)?;
        let sizes = plan.tasks.iter().flat_map(|task| &task.sizes);
        let largest = sizes.max().map_or(0, |size| 4 * size.next_power_of_two());
        let area = memory(c"bench-floor", floor::BODY + plan.capacity.max(largest).max(1 << 16))?;
        let ((there_in, there_out), (back_in, back_out)) = (io::pipe()?, io::pipe()?);
        let (socket, far_socket) = UnixStream::pair()?;
        let (board_map, area_map) = (map(&board)?, map(&area)?);
        let theirs: [OwnedFd; 6] =
            [theirs.into(), board.into(), area.into(), there_in.into(), back_out.into(), far_socket.into()];

        let fds = theirs.each_ref().map(AsRawFd::as_raw_fd);
        let parent = std::process::id();
        let mut command = Command::new(env::current_exe()?);
        command.args(&plan.peer_args).env(INHERITED, fds.map(|fd| fd.to_string()).join(","));
        // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
        unsafe { command.pre_exec(move || inherit(&fds, parent)) };
        let child = command.spawn()?;
        let uds = [socket.try_clone()?.into(), socket.into()];
        let ends = Ends::new(true, area_map, [back_in.into(), there_out.into()], uds);
        Ok(Self { lines: BufReader::new(ours), child, ends, board: Board(board_map) })
    }

    /// Sends one line and waits until the peer is ready.
    fn tell(&mut self, line: &str) -> Result<()> {
        tell(&mut self.lines, line)
    }

    /// One round, over in both processes when this returns.
    pub(crate) fn round(&mut self, way: Way, timing: &mut Timing, sheet: &mut Sheet) -> Result<()> {
        let Timing { bench, size, length, clock, capacity, ref mut seq } = *timing;
        let Self { lines, ends, board, .. } = self;
        let mut ready = |seq: u64| tell(lines, &format!("round {way} {bench} {size} {seq}"));
        let (ctl, ready) = (board.ctl(), &mut ready);
        let client = Client { bench, size, length, capacity, clock, ctl, seq, sheet, ready };
        ends.visit(way, size, client)?;
        // The next round may lay out the same memory anew: not before the server has read the last message.
        answered(lines, "the end of a round")
    }

    /// One round between two tasks of this process; one that has a thread of its own is on `cpu`.
    pub(crate) fn alone(
        &mut self,
        way: Way,
        timing: &mut Timing,
        sheet: &mut Sheet,
        cpu: usize,
    ) -> Result<()> {
        let Timing { bench, size, length, clock, capacity, ref mut seq } = *timing;
        let (ctl, ready) = (self.board.ctl(), &mut |_| Ok(()));
        self.ends.alone(way, Client { bench, size, length, capacity, clock, ctl, seq, sheet, ready }, cpu)
    }

    /// Makes the rings of one way, beside those of others.
    pub(crate) fn open_rings(&mut self, way: Way, plan: &RingPlan) -> Result<()> {
        let line = format!("rings {way} {}", plan.words());
        let rings = Rings::client(way, plan, || self.tell(&line))?;
        self.ends.rings.push((way, rings));
        Ok(())
    }

    /// Lets go of the rings on both sides.
    pub(crate) fn close_rings(&mut self) -> Result<()> {
        if self.ends.rings.is_empty() {
            return Ok(());
        }
        self.ends.rings.clear();
        self.tell("close")
    }

    /// The socket, to see that the peer is still there.
    pub(crate) fn socket(&self) -> io::Result<UnixStream> {
        self.lines.get_ref().try_clone()
    }
}

fn tell(lines: &mut BufReader<UnixStream>, line: &str) -> Result<()> {
    // A line that cannot be sent is not answered either.
    let _ = lines.get_mut().write_all(format!("{line}\n").as_bytes());
    answered(lines, line)
}

/// Waits until the peer is ready.
fn answered(lines: &mut BufReader<UnixStream>, at: &str) -> Result<()> {
    let mut answer = String::new();
    match lines.read_line(&mut answer) {
        Ok(_) if answer == "ready\n" => Ok(()),
        _ => Err(Error::failed(format!("the peer process has ended, at `{at}`"))),
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.lines.get_ref().shutdown(std::net::Shutdown::Both);
        let _ = self.child.kill(); // in the middle of a round it does not look at the socket
        let _ = self.child.wait();
    }
}

/// In the child, before it becomes the peer: keeps `fds` over exec, and dies with its parent. A signal of the
/// terminal reaches both processes, and is the parent's to answer: the peer's ring must not stay behind.
fn inherit(fds: &[RawFd], parent: u32) -> io::Result<()> {
    for &fd in fds {
        // SAFETY: changes a flag of a descriptor that is open.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: plain numbers; what is ignored stays so over exec.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if std::os::unix::process::parent_id() != parent {
        return Err(io::ErrorKind::BrokenPipe.into()); // it died before it could be watched
    }
    Ok(())
}

/// The whole life of the peer: what the program does when it is started with
/// [`Plan::peer_args`]. Ends when the client closes the connection.
pub fn peer_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("the peer of a bench: {e}");
            ExitCode::from(if e.is_usage() { 2 } else { 1 })
        }
    }
}

fn serve() -> Result<()> {
    let fds: Vec<RawFd> = env::var(INHERITED)
        .ok()
        .and_then(|fds| fds.split(',').map(|fd| fd.parse().ok()).collect())
        .ok_or_else(|| {
            Error::usage("this is the other half of `annulus bench`, which starts it by itself")
        })?;
    let Ok(fds) = <[RawFd; 6]>::try_from(fds) else {
        return Err(Error::usage(format!("{INHERITED} is wrong")));
    };
    let failed = |e| Error::io("cannot take over what the client left", &e);
    // SAFETY: the client left these open for this process, which takes each of them once.
    let [lines, board, area, pipe_in, pipe_out, socket] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let board = Board(map(&board.into()).map_err(failed)?);
    let uds = [socket.try_clone().map_err(failed)?, socket];
    let ends = Ends::new(false, map(&area.into()).map_err(failed)?, [pipe_in, pipe_out], uds);
    let lines = UnixStream::from(lines);
    let answers = lines.try_clone().map_err(failed)?;
    let mut served = Served { ends, board, answers, pin: None };
    for line in BufReader::new(lines).lines() {
        served.obey(&line.map_err(|e| Error::io("the client is gone", &e))?)?;
    }
    Ok(())
}

struct Served {
    ends: Ends,
    board: Board,
    answers: UnixStream,
    pin: Option<Pinned>,
}

impl Served {
    fn obey(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["round", way, bench, size, seq] => return self.round(way, bench, size, seq),
            ["pin", cpu] => self.pin = Some(Pinned::to(number(cpu)? as usize)?),
            ["rings", way, ref plan @ ..] => {
                let way = way.parse()?;
                let rings = Rings::server(way, &RingPlan::parse(plan)?)?;
                self.ends.rings.push((way, rings));
            }
            ["close"] => self.ends.rings.clear(),
            _ => return Err(Error::failed(format!("cannot obey `{line}`"))),
        }
        ready(&mut self.answers)
    }

    fn round(&mut self, way: &str, bench: &str, size: &str, seq: &str) -> Result<()> {
        let (way, bench): (Way, Bench) = (way.parse()?, bench.parse()?);
        let (size, seq) = (number(size)? as usize, number(seq)?);
        let ctl = self.board.ctl();
        let mut tell = || ready(&mut self.answers);
        self.ends.visit(way, size, Server { bench, size, ctl, seq, ready: &mut tell })?;
        ready(&mut self.answers)
    }
}

fn ready(answers: &mut UnixStream) -> Result<()> {
    answers.write_all(b"ready\n").map_err(|e| Error::io("the client is gone", &e))
}

pub(crate) fn number(word: &str) -> Result<u64> {
    word.parse().map_err(|_| Error::failed(format!("`{word}` is no number")))
}
