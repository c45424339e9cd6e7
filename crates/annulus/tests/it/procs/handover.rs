//! Rings without a name, between processes.
#![allow(unsafe_code)]

mod forked;
mod hostile;

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use annulus::handover::{self, HandOver, Offer, Peers, Reason};
use annulus::{CopyError, Create, ErrorKind, RecvError, RecvTimeoutError, Ring, Start, Waiting};

use super::child::{Child, listen, say};
use crate::copiers::{Account, KINDS};
use crate::handover::{DATA, memfd, reason, refuse_and_keep_nothing, ring};
use crate::support::{INTERVALS, LONG, in_time, may_do_all, no_forks};

const INTERVAL: Duration = Duration::from_millis(50);

/// Bytes of these rings.
const CAPACITY: usize = 4096;

/// A user and a group that nobody here is.
const STRANGER: (u32, u32) = (1234, 4321);

pub(super) fn role(role: &str, words: &[&str]) {
    match role {
        "handed-refuse" => {
            refuse_and_keep_nothing();
            say("all refused");
        }
        "handed-inherit" => inherit(words[0]),
        "handed-variable" => variable(),
        "handed-family" => family(),
        "handed-produce" => produce(words[0]),
        "handed-hold" => hold(words[0]),
        "handed-stranger" => stranger(words[0]),
        "handed-contained" => contained(words[0], words[1], words[2].parse().unwrap()),
        "handed-no-proc" => no_proc(words[0]),
        "handed-scribble-data" => hostile::scribble_data(words[0]),
        "handed-forked-producer" => forked::producer(words[0], words[1]),
        "handed-forked-subscriber" => forked::subscriber(words[0]),
        "handed-forked-keeper" => forked::keeper(),
        "handed-scribble-ctl" => hostile::scribble_ctl(words[0]),
        other => panic!("no role {other}"),
    }
}

/// The name of a socket that no other test has: in no directory, so in every mount namespace.
fn new_socket() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("annulus-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn bind(name: &str) -> UnixListener {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
}

fn connect(name: &str) -> UnixStream {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
}

fn send(socket: &UnixStream, offer: Offer) {
    handover::send(socket, offer, &Peers::new(), LONG).unwrap();
}

fn receive(socket: &UnixStream) -> Offer {
    handover::receive(socket, &Peers::new(), LONG).unwrap()
}

fn small(label: &str) -> Create {
    Ring::anonymous(label).capacity(CAPACITY).liveness(INTERVAL).waiting(Waiting::park_after(0))
}

fn wait_for_ever() -> ! {
    loop {
        // SAFETY: pause has no preconditions.
        unsafe { libc::pause() };
    }
}

/// Everything up to its end, in a way of reading.
fn inherit(how: &str) {
    let open = Ring::inherited("quotes").unwrap().waiting(Waiting::park_after(0));
    let count = match how {
        "subscribe" => {
            let rx = open.subscribe().unwrap();
            say("joined");
            let mut n = 0_u64;
            let end = loop {
                match rx.recv() {
                    Ok(record) => assert_eq!(*record, n.to_le_bytes()),
                    Err(end) => break end,
                }
                n += 1;
            };
            assert_eq!(end, RecvError::Closed);
            n
        }
        _ => {
            let mut rx = if how == "observe" { KINDS[0] } else { KINDS[1] }.open(open);
            say("joined");
            let mut account = Account::new(0);
            assert_eq!(account.read_all(&mut rx, |n| n.to_le_bytes().to_vec()), RecvError::Closed);
            account.balances(500);
            500
        }
    };
    say(&count.to_string());
}

#[test]
fn children_inherit_a_ring_and_read_in_every_way() {
    in_time(|| {
        let mut tx = small("quotes").producer().unwrap();
        let mut children = ["subscribe", "copy", "observe"].map(|how| {
            let offer = if how == "observe" { tx.offer_data() } else { tx.offer() }.unwrap();
            Child::start_prepared("handed-inherit", &[how], |command| {
                command.hand_over("quotes", offer).unwrap();
            })
        });
        children.iter_mut().for_each(|child| child.expect("joined"));
        for n in 0..500_u64 {
            tx.send(&n.to_le_bytes()).unwrap();
        }
        drop(tx);
        for child in &mut children {
            child.expect("500");
            child.ends_well();
        }
    });
}

/// Promise: a process forks and executes another program, which has no descriptor.
/// What is left open for one child is not for another that is started while the first one's command is there.
#[test]
fn only_the_children_of_that_command_get_a_ring() {
    let tx = small("private").producer().unwrap();
    let mut command = Command::new("ls");
    command.args(["-l", "/proc/self/fd/"]).hand_over("x", tx.offer().unwrap()).unwrap();
    let mut other = Command::new("ls");
    other.args(["-l", "/proc/self/fd/"]);
    let alone = no_forks();
    for (ours, times) in [(true, 2), (false, 0), (true, 2), (false, 0)] {
        let command = if ours { &mut command } else { &mut other };
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert_eq!(text.matches("annulus-private-").count(), times, "{text}");
    }
    drop(alone);
}

/// Tries to take what the variable says, and says how that went.
fn variable() {
    match Ring::inherited("x").map(|open| open.observe().map(drop)) {
        Ok(observed) => say(&format!("{:?}", observed.is_ok())),
        Err(error) => say(&format!("{:?}", reason(&error))),
    }
    // SAFETY: asks about a number.
    let open = unsafe { libc::fcntl(50, libc::F_GETFD) } != -1;
    say(&format!("50 is open: {open}"));
}

/// Promise: what arrives as a ring and is none is refused. The variable may say anything: what it names is taken only
/// if it is the ring, and left alone if not.
#[test]
fn a_variable_that_says_anything() {
    in_time(|| {
        let (data, _) = ring();
        let [sealed, unsealed] = [memfd(&data, DATA), memfd(&data, 0)];
        let plain = File::open("/proc/self/exe").unwrap();
        let pipe = io::pipe().unwrap().0;
        let inode = |fd: i32| fs::metadata(format!("/proc/self/fd/{fd}")).unwrap().ino();
        let try_it = |fd: i32, text: &str, said: &str, open: bool| {
            let mut child = Child::start_prepared("handed-variable", &[], |command| {
                command.env(handover::VARIABLE, text);
                // SAFETY: one system call, on numbers.
                unsafe {
                    command.pre_exec(move || match libc::dup2(fd, 50) {
                        50 => Ok(()),
                        _ => Err(io::Error::last_os_error()),
                    });
                }
            });
            assert_eq!(child.hear(), said, "{text}");
            assert_eq!(child.hear(), format!("50 is open: {open}"), "{text}");
            child.ends_well();
        };
        let fd = sealed.as_raw_fd();
        // That it can be right; it is closed in the end since it was taken.
        try_it(fd, &format!("x=50:{}", inode(fd)), "true", false);
        try_it(fd, &format!("x=50:{}", inode(fd) + 1), "NotOpen { descriptor: 50 }", true);
        try_it(fd, &format!("x=51:{}", inode(fd)), "NotOpen { descriptor: 51 }", true);
        try_it(fd, "x=1:1", "NotOpen { descriptor: 1 }", true);
        try_it(fd, "x=50", "BadVariable", true);
        try_it(fd, "", "BadVariable", true);
        try_it(fd, &format!("y=50:{}", inode(fd)), "NotInherited", true);
        for fd in [unsealed.as_raw_fd(), plain.as_raw_fd(), pipe.as_raw_fd()] {
            try_it(fd, &format!("x=50:{}", inode(fd)), "Unsealed(\"data\")", true);
        }
    });
}

/// Takes a ring, once, and starts a child that has the variable and not the ring.
fn family() {
    let first = Ring::inherited("x").unwrap();
    assert_eq!(reason(&Ring::inherited("x").unwrap_err()), Reason::Taken);
    let again = first.clone().subscribe().unwrap();
    // Closed, its numbers may become others'; they are never taken again.
    drop(first);
    assert_eq!(reason(&Ring::inherited("x").unwrap_err()), Reason::Taken);
    let mut grandchild = Child::start("handed-variable", &[]);
    say(&grandchild.hear());
    drop(again);
}

#[test]
fn taken_once_and_not_by_a_grandchild() {
    in_time(|| {
        let tx = small("x").producer().unwrap();
        let mut child = Child::start_prepared("handed-family", &[], |command| {
            command.hand_over("x", tx.offer().unwrap()).unwrap();
        });
        let said = child.hear();
        assert!(said.starts_with("NotOpen"), "{said}");
        child.ends_well();
    });
}

/// Promise: what arrives as a ring and is none is refused, and no descriptor of it stays open.
#[test]
fn what_is_refused_leaves_no_descriptor_open() {
    in_time(|| {
        let mut child = Child::start("handed-refuse", &[]);
        child.expect("all refused");
        child.ends_well();
    });
}

/// Hands out a ring, sends some and goes on living.
fn produce(socket: &str) {
    let mut tx = small("lost").producer().unwrap();
    let socket = connect(socket);
    send(&socket, tx.offer().unwrap());
    assert_eq!(listen(), "go");
    for n in 0..20_u64 {
        tx.send(&n.to_le_bytes()).unwrap();
    }
    say("sent");
    match listen().as_str() {
        "end" => drop(tx),
        _ => wait_for_ever(),
    }
}

/// Promise: a service crashes: a ring without a name ends with its producer. It is killed, or ends: every kind of
/// reader is told which, after every record, within a few liveness intervals.
#[test]
fn readers_are_told_how_the_producer_ended() {
    for (how, end) in [("kill", RecvError::ProducerLost), ("end", RecvError::Closed)] {
        in_time(move || {
            let name = new_socket();
            let listener = bind(&name);
            let mut producer = Child::start("handed-produce", &[&name]);
            let open = receive(&listener.accept().unwrap().0).open().waiting(Waiting::park_after(0));
            let rx = open.clone().subscribe().unwrap();
            let stays = open.clone().stay().subscribe().unwrap();
            let mut copiers = KINDS.map(|kind| kind.open(open.clone().stay()));
            producer.tell("go");
            producer.expect("sent");
            if how == "kill" {
                producer.kill_to_zombie();
            } else {
                producer.tell("end");
                producer.ends_well();
            }
            let begin = Instant::now();
            for rx in [&rx, &stays] {
                (0..20_u64).for_each(|n| assert_eq!(*rx.recv().unwrap(), n.to_le_bytes()));
                assert_eq!(rx.recv().unwrap_err(), end);
                assert!(rx.is_linked());
            }
            for rx in &mut copiers {
                let mut buf = [0; 8];
                (0..20).for_each(|n| assert_eq!(rx.recv(&mut buf).unwrap().sequence, n));
                assert_eq!(rx.recv(&mut buf), Err(CopyError::Ended(end)));
            }
            assert!(begin.elapsed() < INTERVAL * INTERVALS);
            assert!(!open.info().unwrap().producer_alive);
        });
    }
}

/// Takes a ring and keeps its first record.
fn hold(socket: &str) {
    let rx = receive(&connect(socket)).open().subscribe().unwrap();
    say("joined");
    let _record = rx.recv().unwrap();
    say("holding");
    wait_for_ever();
}

/// Promise: a reader is killed with a record in its hands: the producer goes on soon.
#[test]
fn a_producer_goes_on_when_the_process_that_holds_a_record_is_killed() {
    in_time(|| {
        let name = new_socket();
        let listener = bind(&name);
        let mut tx = small("held").producer().unwrap();
        let mut child = Child::start("handed-hold", &[&name]);
        send(&listener.accept().unwrap().0, tx.offer().unwrap());
        child.expect("joined");
        tx.send(&[0; 64]).unwrap();
        child.expect("holding");
        while tx.try_send(&[0; 64]).is_ok() {}
        child.kill_to_zombie();
        for _ in 0..200 {
            tx.send_timeout(&[0; 64], INTERVAL * INTERVALS).unwrap();
        }
        assert!(tx.offer().unwrap().open().info().unwrap().subscribers.is_empty());
    });
}

/// As another user: is refused, then allowed, and takes a ring; then hands over one of its own.
fn stranger(socket: &str) {
    let (uid, gid) = STRANGER;
    // SAFETY: these change this process's ids only; groups first, while it still may.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(gid, gid, gid), 0);
        assert_eq!(libc::setresuid(uid, uid, uid), 0);
    }
    let (first, second) = (connect(socket), connect(socket));
    drop(first);
    // The other side is root, whom everybody has to trust.
    let offer = receive(&second);
    let (data, ctl) = offer.into_fds();
    // Not even the lock by which readers know that its producer lives can be this user's.
    let path = CString::new(format!("/proc/self/fd/{}", data.as_raw_fd())).unwrap();
    // SAFETY: opens a path of our own, or not.
    assert_eq!(unsafe { libc::open(path.as_ptr(), libc::O_RDWR) }, -1);
    assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EACCES));
    let open = Offer::from_fds("theirs", data, ctl).unwrap().open();
    let one = open.clone().subscribe().unwrap();
    let two = open.clone().subscribe_copying().unwrap();
    assert_eq!(open.info().unwrap().subscribers.len(), 2);
    drop((one, two));

    let mut tx = small("ours").producer().unwrap();
    send(&second, tx.offer().unwrap());
    send(&second, tx.offer().unwrap());
    tx.send(b"hello").unwrap();
    say("sent");
    assert_eq!(listen(), "end");
}

/// Promise: what arrives from, or goes to, a strange peer is refused, with who it is.
#[test]
fn users_and_groups_that_are_not_on_the_list() {
    if !may_do_all() {
        return;
    }
    in_time(|| {
        let (uid, gid) = STRANGER;
        let name = new_socket();
        let listener = bind(&name);
        let mut child = Child::start("handed-stranger", &[&name]);
        let tx = small("ours").producer().unwrap();
        let first = listener.accept().unwrap().0;
        for peers in [Peers::new(), Peers::new().uid(gid).gid(uid)] {
            let refused = handover::send(&first, tx.offer().unwrap(), &peers, LONG).unwrap_err();
            assert_eq!(reason(&refused), Reason::StrangePeer { uid, gid });
        }
        let second = listener.accept().unwrap().0;
        handover::send(&second, tx.offer().unwrap(), &Peers::new().gid(gid), LONG).unwrap();
        child.expect("sent");
        let refused = handover::receive(&second, &Peers::new(), LONG).unwrap_err();
        assert_eq!(reason(&refused), Reason::StrangePeer { uid, gid });
        // By its user or by its group; and in place only if that user is trusted.
        let by_group = handover::receive(&second, &Peers::nobody().gid(gid), LONG).unwrap();
        let error = by_group.open().subscribe().unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Untrusted { uid });
        let open = handover::receive(&second, &Peers::nobody().uid(uid), LONG).unwrap().open();
        let open = open.start(Start::Oldest);
        assert_eq!(&*open.clone().trust_uid(uid).subscribe().unwrap().recv().unwrap(), b"hello");
        for kind in KINDS {
            assert_eq!(kind.open(open.clone()).recv(&mut [0; 8]).unwrap().len, 5);
        }
        child.tell("end");
        child.ends_well();
    });
}

/// Becomes a process in new namespaces, PID 1 if there is one for pids; returns in that.
fn contain(flags: i32) {
    /// Waits for the one that goes on, and ends as it did.
    fn go_on() {
        // SAFETY: the copy goes on with this thread only, which is the only one that matters here; the original waits for
        // it, without anything else. A copy dies with its original.
        unsafe {
            let child = libc::fork();
            assert!(child >= 0);
            if child > 0 {
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                libc::_exit(i32::from(status != 0));
            }
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        }
    }
    // With one thread, as a new user namespace asks.
    go_on();
    // SAFETY: changes this process's namespaces and what is mounted in them; all strings end with a zero byte.
    unsafe {
        let ids = (libc::geteuid(), libc::getegid());
        assert_eq!(libc::unshare(flags), 0, "{}", io::Error::last_os_error());
        if flags & libc::CLONE_NEWUSER != 0 {
            fs::write("/proc/self/setgroups", "deny").unwrap();
            fs::write("/proc/self/uid_map", format!("0 {} 1", ids.0)).unwrap();
            fs::write("/proc/self/gid_map", format!("0 {} 1", ids.1)).unwrap();
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if flags & libc::CLONE_NEWPID != 0 {
            go_on();
            assert_eq!(libc::getpid(), 1);
        }
        if flags & libc::CLONE_NEWNS != 0 {
            let (null, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
            assert_eq!(libc::mount(null, c"/".as_ptr(), null, private, null.cast()), 0);
            let proc = c"proc".as_ptr();
            if flags & libc::CLONE_NEWPID != 0 {
                assert_eq!(libc::mount(proc, c"/proc".as_ptr(), proc, 0, null.cast()), 0);
            }
            // Of what others have in shared memory nothing is to be seen.
            let tmpfs = c"tmpfs".as_ptr();
            assert_eq!(libc::mount(tmpfs, c"/dev/shm".as_ptr(), tmpfs, 0, null.cast()), 0);
        }
    }
}

fn contained(socket: &str, side: &str, flags: i32) {
    if side == "producer" {
        contain(flags);
        let listener = bind(socket);
        say("listening");
        let mut tx = small("boxed").producer().unwrap();
        send(&listener.accept().unwrap().0, tx.offer().unwrap());
        tx.wait_for_subscribers(2).unwrap();
        for n in 0..200_u64 {
            tx.send(&n.to_le_bytes()).unwrap();
        }
        say("sent");
        wait_for_ever();
    }
    contain(flags);
    let open = receive(&connect(socket)).open().waiting(Waiting::park_after(0));
    let rx = open.clone().subscribe().unwrap();
    let mut copying = open.clone().subscribe_copying().unwrap();
    let mut buf = [0; 8];
    for n in 0..200_u64 {
        assert_eq!(*rx.recv().unwrap(), n.to_le_bytes());
        assert_eq!(copying.recv(&mut buf).unwrap().sequence, n);
    }
    // Alive, as far as it can be seen from here, until it is not.
    assert!(matches!(rx.recv_timeout(INTERVAL * 2), Err(RecvTimeoutError::TimedOut)));
    say("read");
    assert_eq!(rx.recv().unwrap_err(), RecvError::ProducerLost);
    say("lost");
}

/// Promise: both sides are in containers. Two of them without a directory in common, both sides PID 1 where pids have
/// a namespace.
#[test]
fn from_container_to_container() {
    if !may_do_all() {
        return;
    }
    let all = libc::CLONE_NEWPID | libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWIPC;
    let one_by_one = [libc::CLONE_NEWPID, libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWIPC];
    for flags in one_by_one.into_iter().chain([all]) {
        in_time(move || {
            let (name, flags) = (new_socket(), flags.to_string());
            let mut producer = Child::start("handed-contained", &[&name, "producer", &flags]);
            producer.expect("listening");
            let mut reader = Child::start("handed-contained", &[&name, "reader", &flags]);
            producer.expect("sent");
            reader.expect("read");
            producer.kill();
            reader.expect("lost");
            reader.ends_well();
        });
    }
}

/// Where `/proc` is not mounted, nobody can have a description of its own: rings can be made and received, not handed on.
fn no_proc(socket: &str) {
    let socket = connect(socket);
    // SAFETY: changes what this process sees mounted, nobody else.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
        let (null, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
        assert_eq!(libc::mount(null, c"/".as_ptr(), null, private, null.cast()), 0);
        assert_eq!(libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH), 0);
    }
    assert!(fs::read_dir("/proc/self").is_err());
    let tx = small("made").producer().unwrap();
    assert_eq!(reason(&tx.offer().unwrap_err()), Reason::NoDescription);
    assert_eq!(reason(&tx.offer_data().unwrap_err()), Reason::NoDescription);
    let open = receive(&socket).open();
    assert!(open.clone().info().unwrap().subscribers.is_empty());
    // One subscriber can have the description that came, and only one; observers need none.
    let rx = open.clone().subscribe().unwrap();
    assert_eq!(reason(&open.clone().subscribe().unwrap_err()), Reason::NoDescription);
    let mut observers = [(); 2].map(|()| open.clone().observe().unwrap());
    say("joined");
    assert_eq!(&*rx.recv().unwrap(), b"hello");
    observers.iter_mut().for_each(|rx| assert_eq!(rx.recv(&mut [0; 8]).unwrap().len, 5));
    // Not for a child either, which would share it.
    let offer = receive(&socket);
    let mut command = Command::new("/bin/true");
    assert!(command.status().unwrap().success());
    let error = command.hand_over("x", offer).unwrap().status().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
}

/// Case: `/proc` that is not mounted: a ring cannot be handed on, and one that comes can be read.
#[test]
fn without_proc() {
    if !may_do_all() {
        return;
    }
    in_time(|| {
        let name = new_socket();
        let listener = bind(&name);
        let mut tx = small("sent").producer().unwrap();
        let mut child = Child::start("handed-no-proc", &[&name]);
        let socket = listener.accept().unwrap().0;
        send(&socket, tx.offer().unwrap());
        child.expect("joined");
        // The description that was sent is the subscriber's own: its lock is seen through others.
        let info = tx.offer().unwrap().open().info().unwrap();
        assert_eq!(info.subscribers.iter().map(|subscriber| subscriber.alive).collect::<Vec<_>>(), [true]);
        tx.send(b"hello").unwrap();
        send(&socket, tx.offer().unwrap());
        drop(tx);
        child.ends_well();
    });
}
