//! Rings without a name, handed from hand to hand in one process; see `procs::handover` for several.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use annulus::handover::{self, HandOver, Offer, Peers, Reason};
use annulus::{Error, ErrorKind, HugePages, RecvError, Ring, Start, TypedRing};

use crate::copiers::{KINDS, Kind};
use crate::support::{Dir, LONG, helpful, in_time, thread_id, until_in_call};

const BRIEF: Duration = Duration::from_millis(1);

#[track_caller]
pub(crate) fn reason(error: &Error) -> Reason {
    helpful(error);
    match error.kind() {
        ErrorKind::Handover(reason) => *reason,
        other => panic!("not about handing over: {other:?}"),
    }
}

#[test]
fn every_kind_of_reader_over_one_offer() {
    in_time(|| {
        let mut tx = Ring::anonymous("all").capacity(4096).producer().unwrap();
        assert_eq!((tx.name(), tx.is_linked()), ("all", true));
        let offer = tx.offer().unwrap();
        assert!(offer.is_for_subscribers() && offer.name() == "all");
        let open = offer.open().wait(Duration::ZERO).unwrap();
        // Each with a place of its own, although there is one offer.
        let (one, two) = (open.clone().subscribe().unwrap(), open.clone().subscribe().unwrap());
        let mut copiers = KINDS.map(|kind| kind.open(open.clone()));
        let info = open.clone().info().unwrap();
        assert_eq!((info.subscribers.len(), info.producer_alive, info.epoch), (3, true, 1));
        assert!(info.subscribers.iter().all(|subscriber| subscriber.alive));
        assert!(one.is_linked());
        for n in 0..500_u64 {
            tx.send(&n.to_le_bytes()).unwrap();
            for rx in [&one, &two] {
                assert_eq!(*rx.recv().unwrap(), n.to_le_bytes());
            }
            for rx in &mut copiers {
                let mut buf = [0; 8];
                assert_eq!(rx.recv(&mut buf).unwrap().sequence, n);
                assert_eq!(buf, n.to_le_bytes());
            }
        }
        drop(tx);
        assert_eq!(one.recv().unwrap_err(), RecvError::Closed);
        assert_eq!(open.clone().stay().subscribe().unwrap().recv().unwrap_err(), RecvError::Closed);
        assert!(!open.info().unwrap().producer_alive);
    });
}

#[test]
fn values_and_what_is_refused_of_a_ring_without_a_name() {
    let mut tx = TypedRing::<u64>::anonymous("numbers").producer().unwrap();
    let rx = tx.offer().unwrap().open_typed::<u64>().subscribe().unwrap();
    tx.send(&7).unwrap();
    assert_eq!(*rx.recv().unwrap(), 7);
    let error = tx.offer_data().unwrap().open_typed::<i64>().observe().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Mismatch { field: "type", .. }), "{error}");
    let error = tx.offer_data().unwrap().open().subscribe().unwrap_err();
    assert_eq!(reason(&error), Reason::DataOnly);
    assert!(tx.offer_data().unwrap().open().info().unwrap().subscribers.is_empty());
    assert!(!tx.offer_data().unwrap().is_for_subscribers());
    for error in [
        tx.offer().unwrap().open().producer().unwrap_err(),
        tx.offer().unwrap().open().remove().unwrap_err(),
        Ring::anonymous("r").persistent(true).producer().unwrap_err(),
        Ring::anonymous("r").persistent(true).without_producer().unwrap_err(),
        Ring::anonymous("r").huge_pages(HugePages::Transparent).producer().unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::BadOption(_)), "{error}");
        helpful(&error);
    }
    let error = Ring::anonymous("a/b").producer().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::BadName);
    let error = Ring::anonymous("huge").capacity(1 << 40).producer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSpace { needed, free } if needed > free), "{error}");

    let dir = Dir::new();
    let tx = dir.create("r").producer().unwrap();
    assert_eq!(reason(&tx.offer().unwrap_err()), Reason::Named);
    assert_eq!(reason(&tx.offer_data().unwrap_err()), Reason::Named);
}

/// What a system call that must fail failed with.
#[track_caller]
fn errno(result: i64) -> i32 {
    assert_eq!(result, -1, "it was allowed");
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

fn map(fd: &OwnedFd, protection: i32) -> *mut libc::c_void {
    // SAFETY: a new mapping, wherever the kernel puts it.
    unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) }
}

/// The same object through another door.
pub(crate) fn reopened(fd: &OwnedFd, flags: i32) -> OwnedFd {
    let path = CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    // SAFETY: opens a path of our own; what it returns is nobody else's.
    unsafe {
        let fd = libc::open(path.as_ptr(), flags | libc::O_CLOEXEC);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    }
}

/// Promise: somebody who was handed a ring would like to shorten, write or unseal it. Whoever is given one, and uses
/// all that the kernel offers, cannot write a record, change a length or lift a seal.
#[test]
fn a_receiver_can_neither_write_data_nor_resize_nor_unseal() {
    let tx = Ring::anonymous("sealed").capacity(4096).producer().unwrap();
    let (data, ctl) = tx.offer().unwrap().into_fds();
    let ctl = ctl.unwrap();
    let write = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: each call is about descriptors and mappings of this test alone.
    unsafe {
        // What was given is for reading; opened again by its owner, it is as if it were.
        let mut again = reopened(&data, libc::O_RDWR);
        for fd in [&data, &again] {
            assert!(map(fd, write) == libc::MAP_FAILED);
            let look = map(fd, libc::PROT_READ);
            assert!(look != libc::MAP_FAILED);
            assert_eq!(errno(i64::from(libc::mprotect(look, 4096, write))), libc::EACCES);
            assert_eq!(libc::munmap(look, 4096), 0);
        }
        assert_eq!(
            File::from(again.try_clone().unwrap()).write(&[1]).unwrap_err().raw_os_error(),
            Some(libc::EPERM)
        );
        let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        assert_eq!(errno(i64::from(libc::fallocate(again.as_raw_fd(), hole, 0, 4096))), libc::EPERM);
        again = reopened(&data, libc::O_RDWR);
        for fd in [&again, &ctl] {
            for len in [0, 4096, 1 << 30] {
                assert_eq!(errno(i64::from(libc::ftruncate(fd.as_raw_fd(), len))), libc::EPERM);
            }
            assert_eq!(errno(i64::from(libc::fallocate(fd.as_raw_fd(), 0, 0, 1 << 30))), libc::EPERM);
            for seal in [libc::F_SEAL_WRITE, libc::F_SEAL_FUTURE_WRITE, libc::F_SEAL_GROW] {
                assert_eq!(
                    errno(i64::from(libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seal))),
                    libc::EPERM
                );
            }
        }
        // Truncating while opening is refused too.
        let path = CString::new(format!("/proc/self/fd/{}", data.as_raw_fd())).unwrap();
        assert_eq!(errno(i64::from(libc::open(path.as_ptr(), libc::O_RDWR | libc::O_TRUNC))), libc::EPERM);
    }
    // It is whole.
    assert!(Offer::from_fds("sealed", data, Some(ctl)).unwrap().open().subscribe().is_ok());
}

/// A memfd with these bytes and seals.
pub(crate) fn memfd(bytes: &[u8], seals: i32) -> OwnedFd {
    // SAFETY: makes an object of our own, from a string that ends with a zero byte.
    let fd = unsafe {
        let fd = libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    };
    File::from(fd.try_clone().unwrap()).write_all(bytes).unwrap();
    if seals != 0 {
        // SAFETY: a descriptor of our own.
        assert_eq!(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }, 0);
    }
    fd
}

pub(crate) const CTL: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
pub(crate) const DATA: i32 = CTL | libc::F_SEAL_FUTURE_WRITE;

/// The bytes of a ring, and with which seals they pass for one.
pub(crate) fn ring() -> (Vec<u8>, Vec<u8>) {
    let tx = Ring::anonymous("model").capacity(4096).max_subscribers(2).producer().unwrap();
    let (data, ctl) = tx.offer().unwrap().into_fds();
    let read = |fd: OwnedFd| {
        let mut bytes = Vec::new();
        File::from(reopened(&fd, libc::O_RDONLY)).read_to_end(&mut bytes).unwrap();
        bytes
    };
    (read(data), read(ctl.unwrap()))
}

/// Promise: what arrives as a ring and is none is refused before it is mapped: unsealed, short, foreign.
#[test]
fn what_is_no_sealed_ring_is_refused() {
    let (data, ctl) = ring();
    let refused = |data: OwnedFd, ctl: Option<OwnedFd>| Offer::from_fds("x", data, ctl).unwrap_err();
    // As they are they pass, so that each refusal below is of what it says.
    Offer::from_fds("x", memfd(&data, DATA), Some(memfd(&ctl, CTL))).unwrap().open().subscribe().unwrap();

    for seals in [0, CTL, DATA & !libc::F_SEAL_SHRINK, DATA & !libc::F_SEAL_GROW, DATA & !libc::F_SEAL_SEAL] {
        let error = refused(memfd(&data, seals), None);
        assert_eq!(reason(&error), Reason::Unsealed("data"), "{seals:#x}");
    }
    for seals in [0, CTL & !libc::F_SEAL_SHRINK, CTL & !libc::F_SEAL_GROW, CTL & !libc::F_SEAL_SEAL] {
        let error = refused(memfd(&data, DATA), Some(memfd(&ctl, seals)));
        assert_eq!(reason(&error), Reason::Unsealed("ctl"), "{seals:#x}");
    }
    // Short, long, empty, foreign, half of one, another version's.
    let longer = [&data[..], &[0; 4096]].concat();
    for bytes in
        [&data[..data.len() - 4096], &data[..8192], &[], &longer, &ctl, &vec![0; data.len()], &[0x41; 65536]]
    {
        let error = refused(memfd(bytes, DATA), Some(memfd(&ctl, CTL)));
        assert!(matches!(reason(&error), Reason::NotARing(_)), "{error}");
    }
    let longer = [&ctl[..], &[0; 4096]].concat();
    for bytes in [&ctl[..ctl.len() - 4096], &[], &longer, &data] {
        let error = refused(memfd(&data, DATA), Some(memfd(bytes, CTL)));
        assert!(matches!(reason(&error), Reason::NotARing(_)), "{error}");
    }
    // Long, but not there: it would be taken from the receiver, page by page.
    let sparse = |bytes: &[u8], seals: i32| {
        let fd = memfd(&bytes[..4096], 0);
        File::from(fd.try_clone().unwrap()).set_len(bytes.len() as u64).unwrap();
        // SAFETY: a descriptor of our own.
        assert_eq!(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }, 0);
        fd
    };
    let error = refused(sparse(&data, DATA), Some(memfd(&ctl, CTL)));
    assert_eq!(reason(&error), Reason::NotARing("its data is not all there"));
    let error = refused(memfd(&data, DATA), Some(sparse(&ctl, CTL)));
    assert_eq!(reason(&error), Reason::NotARing("its ctl is not all there"));
    let mut other = data.clone();
    other[8] ^= 1;
    assert!(matches!(refused(memfd(&other, DATA), None).kind(), ErrorKind::LayoutVersion { .. }));
    let mut other = data.clone();
    other[16..24].copy_from_slice(&(1_u64 << 62).to_le_bytes());
    assert!(matches!(refused(memfd(&other, DATA), None).kind(), ErrorKind::Corrupt(_)));
    // In the wrong order; the same twice; the ctl of another ring; a ctl that cannot be written.
    assert_eq!(reason(&refused(memfd(&ctl, CTL), Some(memfd(&data, DATA)))), Reason::Unsealed("data"));
    let twice = memfd(&data, DATA);
    let error = refused(twice.try_clone().unwrap(), Some(twice));
    assert!(matches!(reason(&error), Reason::NotARing(_)), "{error}");
    let foreign = Offer::from_fds("x", memfd(&data, DATA), Some(memfd(&ring().1, CTL))).unwrap();
    let error = foreign.open().subscribe().unwrap_err();
    assert!(matches!(reason(&error), Reason::NotARing(_)), "{error}");
    let frozen = Offer::from_fds("x", memfd(&data, DATA), Some(memfd(&ctl, DATA))).unwrap();
    assert_eq!(*frozen.open().subscribe().unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(*Offer::from_fds("../x", memfd(&data, DATA), None).unwrap_err().kind(), ErrorKind::BadName);
}

/// Things that are no memory of ours, in either place.
fn strangers(dir: &Dir) -> Vec<(&'static str, OwnedFd)> {
    let (pipe, _writer) = std::io::pipe().unwrap();
    let path = dir.path().join("plain");
    fs::write(&path, ring().0).unwrap();
    vec![
        ("a file on tmpfs", File::options().read(true).write(true).open(path).unwrap().into()),
        ("a file on a disk", File::open(std::env::current_exe().unwrap()).unwrap().into()),
        ("/dev/null", File::options().read(true).write(true).open("/dev/null").unwrap().into()),
        ("a directory", File::open(dir.path()).unwrap().into()),
        ("a pipe", pipe.into()),
        ("a socket", UnixStream::pair().unwrap().0.into()),
        ("/proc/self/stat", File::open("/proc/self/stat").unwrap().into()),
    ]
}

/// Promise: what arrives as a ring and is none is refused before it is mapped: files of every other kind.
#[test]
fn what_is_no_memfd_is_refused() {
    let dir = Dir::new();
    let (data, ctl) = ring();
    for (what, stranger) in strangers(&dir) {
        let again = stranger.try_clone().unwrap();
        let first = Offer::from_fds("x", stranger, Some(memfd(&ctl, CTL))).unwrap_err();
        let second = Offer::from_fds("x", memfd(&data, DATA), Some(again)).unwrap_err();
        match reason(&first) {
            Reason::NotAMemfd("data") | Reason::Unsealed("data") => {}
            other => panic!("{what}: {other:?}"),
        }
        match reason(&second) {
            Reason::NotAMemfd("ctl") | Reason::Unsealed("ctl") => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

fn receive(socket: &UnixStream) -> Result<Offer, Error> {
    handover::receive(socket, &Peers::new(), BRIEF)
}

fn send(socket: &UnixStream, offer: Offer) {
    handover::send(socket, offer, &Peers::new(), LONG).unwrap();
}

#[test]
fn over_a_socket_and_nothing_else_is_read() {
    in_time(|| {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        // What the owners of the socket say before, between and after stays theirs.
        let mut tx = Ring::anonymous("first").producer().unwrap();
        let other = Ring::anonymous("second").producer().unwrap();
        send(&here, tx.offer().unwrap());
        here.write_all(b"between").unwrap();
        send(&here, other.offer_data().unwrap());
        here.write_all(b"after").unwrap();
        // Whether it blocks makes no difference.
        there.set_nonblocking(true).unwrap();
        let offer = receive(&there).unwrap();
        assert_eq!((offer.name(), offer.is_for_subscribers()), ("first", true));
        let rx = offer.open().subscribe().unwrap();
        tx.send(b"hello").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"hello");
        let mut text = [0; 7];
        there.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"between");
        let offer = receive(&there).unwrap();
        assert_eq!((offer.name(), offer.is_for_subscribers()), ("second", false));
        there.read_exact(&mut text[..5]).unwrap();
        assert_eq!(&text[..5], b"after");
        // Passed on: what was received can be sent.
        send(&there, offer);
        assert_eq!(receive(&here).unwrap().name(), "second");
    });
}

/// The bytes of an offer's message.
fn message() -> [u8; 256] {
    let (here, mut there) = UnixStream::pair().unwrap();
    send(&here, Ring::anonymous("r").producer().unwrap().offer().unwrap());
    let mut message = [0; 256];
    there.read_exact(&mut message).unwrap();
    message
}

#[test]
fn a_message_in_pieces_a_silent_peer_and_one_that_leaves() {
    in_time(|| {
        let message = message();
        let (mut here, there) = UnixStream::pair().unwrap();
        assert_eq!(reason(&receive(&there).unwrap_err()), Reason::TimedOut);
        // The time counts from the beginning, and not from each byte.
        here.write_all(&message[..10]).unwrap();
        assert_eq!(reason(&receive(&there).unwrap_err()), Reason::TimedOut);
        for cut in [0, 1, 255] {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(&message[..cut]).unwrap();
            drop(here);
            assert_eq!(reason(&receive(&there).unwrap_err()), Reason::PeerGone, "{cut}");
        }
        // Byte by byte, without descriptors: read to its end, then refused.
        let (mut here, there) = UnixStream::pair().unwrap();
        let pieces = thread::spawn(move || {
            message.iter().for_each(|byte| here.write_all(&[*byte]).unwrap());
            here
        });
        let error = handover::receive(&there, &Peers::new(), LONG).unwrap_err();
        assert_eq!(reason(&error), Reason::Descriptors { expected: 2, came: 0 });
        drop(pieces.join().unwrap());
        // Sending to nobody, and to one who does not read.
        let offer = || Ring::anonymous("r").producer().unwrap().offer().unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        let error = handover::send(&here, offer(), &Peers::new(), LONG).unwrap_err();
        assert_eq!(reason(&error), Reason::PeerGone);
        let (mut here, _there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        while here.write(&[0; 4096]).is_ok() {}
        while here.write(&[0; 1]).is_ok() {}
        let error = handover::send(&here, offer(), &Peers::new(), BRIEF).unwrap_err();
        assert_eq!(reason(&error), Reason::TimedOut);
    });
}

/// Case: a signal that interrupts a wait. EINTR is neither an error nor the end: the receiver goes on waiting, and
/// takes what comes.
#[test]
fn a_signal_while_waiting() {
    in_time(|| {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: a handler that does nothing, for a signal that nobody else here uses; without SA_RESTART.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()), 0);
        }
        let (here, there) = UnixStream::pair().unwrap();
        let (say, tid) = std::sync::mpsc::channel();
        let receiver = thread::spawn(move || {
            say.send(thread_id()).unwrap();
            handover::receive(&there, &Peers::new(), LONG).map(|offer| offer.name().to_owned())
        });
        let tid = tid.recv().unwrap();
        for _ in 0..5 {
            until_in_call(tid, &[libc::SYS_poll, libc::SYS_ppoll]);
            // SAFETY: a thread of this process that waits for us.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR2) };
        }
        send(&here, Ring::anonymous("late").producer().unwrap().offer().unwrap());
        assert_eq!(receiver.join().unwrap().unwrap(), "late");
    });
}

#[test]
fn a_peer_that_is_not_on_the_list() {
    // SAFETY: these have no preconditions.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let (here, there) = UnixStream::pair().unwrap();
    let tx = Ring::anonymous("r").producer().unwrap();
    let offer = || tx.offer().unwrap();
    let strange = Reason::StrangePeer { uid, gid };
    for strangers in [Peers::nobody(), Peers::nobody().uid(uid + 1).gid(gid + 1)] {
        let error = handover::send(&here, offer(), &strangers, LONG).unwrap_err();
        assert_eq!(reason(&error), strange);
        let error = handover::receive(&there, &strangers, LONG).unwrap_err();
        assert_eq!(reason(&error), strange);
    }
    // Nothing was sent or read by any of them.
    for known in [Peers::nobody().uid(uid), Peers::nobody().gid(gid), Peers::new(), Peers::default()] {
        assert!(known.allows(uid, gid) && !Peers::nobody().allows(uid, gid));
        handover::send(&here, offer(), &known, LONG).unwrap();
        assert_eq!(handover::receive(&there, &known, LONG).unwrap().name(), "r");
    }
}

/// Sends bytes, and these descriptors with them.
pub(crate) fn send_with(socket: &UnixStream, bytes: &[u8], descriptors: &[i32]) {
    let size = u32::try_from(size_of_val(descriptors)).unwrap();
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one part and one control message, both of which live until the call returns; the control buffer is aligned
    // as its header asks, and as long as `CMSG_SPACE` says.
    unsafe {
        let mut control = vec![0_u64; (libc::CMSG_SPACE(size) as usize).div_ceil(8)];
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
        std::ptr::copy_nonoverlapping(
            descriptors.as_ptr(),
            libc::CMSG_DATA(header).cast(),
            descriptors.len(),
        );
        let sent = libc::sendmsg(socket.as_raw_fd(), &raw const message, 0);
        assert_eq!(sent, bytes.len() as isize, "{}", std::io::Error::last_os_error());
    }
}

/// In a process of its own, where nobody else opens anything: refuses whatever is wrong, and keeps no descriptor.
pub(crate) fn refuse_and_keep_nothing() {
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let message = message();
    let dir = Dir::new();
    let (data, ctl) = ring();
    let good = [memfd(&data, DATA), memfd(&ctl, CTL)];
    let good = good.each_ref().map(AsRawFd::as_raw_fd);
    let unsealed = memfd(&data, 0);
    let strangers = strangers(&dir);
    let before = open();
    let refused = |sends: &dyn Fn(&UnixStream)| {
        let (here, there) = UnixStream::pair().unwrap();
        sends(&here);
        let error = handover::receive(&there, &Peers::new(), LONG).unwrap_err();
        // Before the socket is closed: what was refused was closed by then.
        assert_eq!(open(), before + 2, "{error}");
        reason(&error)
    };
    // First that the sender here can do it right.
    let (here, there) = UnixStream::pair().unwrap();
    send_with(&here, &message, &good);
    receive(&there).unwrap().open().subscribe().unwrap();
    drop((here, there));
    assert_eq!(open(), before);

    let all = [unsealed.as_fd(), unsealed.as_fd(), unsealed.as_fd()].map(|fd| fd.as_raw_fd());
    assert_eq!(refused(&|s| send_with(s, &message, &[good[0], all[0]])), Reason::Unsealed("ctl"));
    assert_eq!(refused(&|s| send_with(s, &message, &[all[0], good[1]])), Reason::Unsealed("data"));
    assert_eq!(refused(&|s| send_with(s, &message, &[good[1], good[0]])), Reason::Unsealed("data"));
    for (what, stranger) in &strangers {
        let said = refused(&|s| send_with(s, &message, &[stranger.as_raw_fd(), good[1]]));
        assert!(matches!(said, Reason::NotAMemfd(_) | Reason::Unsealed(_)), "{what}: {said:?}");
    }
    assert_eq!(
        refused(&|s| send_with(s, &message, &good[..1])),
        Reason::Descriptors { expected: 2, came: 1 }
    );
    for many in [3, 4, 8, 100, 253] {
        let said = refused(&|s| send_with(s, &message, &vec![good[0]; many]));
        assert!(matches!(said, Reason::Descriptors { expected: 2, came } if came != 2), "{many}: {said:?}");
    }
    // A few with each piece of the message.
    let said = refused(&|s| message.chunks(64).for_each(|piece| send_with(s, piece, &[good[0]])));
    assert!(matches!(said, Reason::Descriptors { expected: 2, came: 3 }), "{said:?}");
    // 10,000, of which the kernel takes 253 at a time; as many as it lets be on their way come.
    let said = refused(&|s| {
        for piece in message.chunks(6).take(40) {
            send_with(s, piece, &[good[0]; 250]);
        }
    });
    assert!(matches!(said, Reason::Descriptors { expected: 2, .. }), "{said:?}");
    let mut garbage = message;
    garbage[3] ^= 1;
    assert_eq!(refused(&|s| send_with(s, &garbage, &good)), Reason::BadMessage);
    let mut named = message;
    named[11] = b'/';
    let (here, there) = UnixStream::pair().unwrap();
    send_with(&here, &named, &good);
    assert_eq!(*receive(&there).unwrap_err().kind(), ErrorKind::BadName);
    drop((here, there));
    assert_eq!(open(), before);
    // And those of handles go with them: so many each, with what an offer has.
    let tx = Ring::anonymous("counted").producer().unwrap();
    assert_eq!(open(), before + PRODUCER);
    let offer = tx.offer().unwrap();
    assert_eq!(open(), before + PRODUCER + 2);
    let reader = offer.open();
    let rx = reader.clone().subscribe().unwrap();
    assert_eq!(open(), before + PRODUCER + 2 + SUBSCRIBER);
    let seen = Kind::Observer.open(reader.clone().start(Start::Oldest));
    assert_eq!(open(), before + PRODUCER + 2 + SUBSCRIBER + OBSERVER);
    drop((rx, seen, reader, tx));
    assert_eq!(open(), before);
}

/// Descriptors of a handle.
const PRODUCER: usize = 3;
const SUBSCRIBER: usize = 3;
const OBSERVER: usize = 2;

#[test]
fn names_under_which_a_child_is_given_rings() {
    let tx = Ring::anonymous("r").producer().unwrap();
    let offer = || tx.offer().unwrap();
    let mut command = Command::new("true");
    let bad = command.hand_over("../r", offer()).err().unwrap();
    assert_eq!(*bad.kind(), ErrorKind::BadName);
    command.hand_over("a", offer()).unwrap().hand_over("b", tx.offer_data().unwrap()).unwrap();
    let twice = command.hand_over("a", offer()).err().unwrap();
    assert!(matches!(twice.kind(), ErrorKind::BadOption(_)), "{twice}");
    command.env(handover::VARIABLE, "something else");
    assert_eq!(reason(&command.hand_over("c", offer()).err().unwrap()), Reason::BadVariable);
    // This process was given none.
    assert_eq!(reason(&Ring::inherited("a").unwrap_err()), Reason::NotInherited);
    assert_eq!(*Ring::inherited("/").unwrap_err().kind(), ErrorKind::BadName);
}
