//! What a process needs of the kernel, shown by taking the rest away: seccomp(2).
#![allow(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use annulus::{FenceMode, Ring, Waiting};

use super::child::{Child, listen, say};
use crate::copiers::{KINDS, Kind};
use crate::support::{Dir, in_time, thread_id, until_asleep};

/// Fits in the ring with room to spare, so that nobody is ever blocked.
const COUNT: u64 = 100_000;
const CAPACITY: usize = 16 << 20;
const HOUR: Duration = Duration::from_secs(3600);

/// From now on this thread has this answer to these system calls, and the other one to all others.
pub(super) fn filter(calls: &[libc::c_long], then: u32, otherwise: u32) {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for &call in calls {
        program.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32));
        program.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, then));
    }
    program.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, otherwise));
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: both change what this thread may do, nothing else; the program lives until the kernel has copied
    // it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

/// From now on any system call but these kills the process with SIGSYS.
pub(super) fn allow_only(calls: &[libc::c_long]) {
    filter(calls, libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_KILL_PROCESS);
}

/// Ends the process by the one call that it still has.
pub(super) fn leave() -> ! {
    // SAFETY: ends the process at once.
    unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    unreachable!("exit_group does not return");
}

/// From now on membarrier(2) is refused, as some containers do.
pub(super) fn refuse_membarrier() {
    filter(&[libc::SYS_membarrier], libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, libc::SECCOMP_RET_ALLOW);
    // SAFETY: a query without effect, refused.
    assert_eq!(unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) }, -1, "the filter does not work");
}

/// Sends without being able to make a system call.
pub(super) fn sender(dir: &str, fence: FenceMode) {
    let ring = Ring::create("r").dir(dir).capacity(CAPACITY).fence(fence).liveness(HOUR);
    let mut tx = ring.producer().unwrap();
    say("ready");
    assert_eq!(listen(), "go");
    allow_only(&[libc::SYS_exit_group]);
    for n in 0..COUNT / 2 {
        tx.send(&n.to_le_bytes()).unwrap();
        tx.try_send(&n.to_le_bytes()).unwrap();
    }
    leave();
}

/// Receives without being able to make a system call; the clock is let through, where it is one.
pub(super) fn receiver(dir: &str) {
    let rx = Ring::open("r").dir(dir).waiting(Waiting::spin()).subscribe().unwrap();
    // The first wait asks whether the producer lives, and not again for an hour.
    assert!(rx.recv_timeout(Duration::ZERO).is_err());
    say("ready");
    assert_eq!(listen(), "go");
    allow_only(&[libc::SYS_exit_group, libc::SYS_clock_gettime]);
    for n in 0..COUNT {
        let record = rx.recv().unwrap();
        assert!(*record == n.to_le_bytes());
    }
    leave();
}

/// Case 32: a reliable send makes no system call while nobody sleeps: in a process that would be killed by any, with a reader that
/// spins beside it.
#[test]
fn sending_makes_no_system_call() {
    for fence in ["asymmetric", "symmetric", "spin"] {
        in_time(move || {
            let dir = Dir::new();
            let mut sender = Child::start("sandboxed-sender", &[dir.text(), fence]);
            sender.expect("ready");
            let rx = dir.open("r").waiting(Waiting::spin()).subscribe().unwrap();
            sender.tell("go");
            for n in 0..COUNT {
                assert_eq!(&*rx.recv().unwrap(), (n / 2).to_le_bytes());
            }
            let status = sender.wait();
            assert_eq!((status.code(), status.signal()), (Some(0), None));
        });
    }
}

/// Receives copies without being able to make a system call; the clock is let through, where it is one.
pub(super) fn copier(dir: &str, kind: &str) {
    let kind = if kind == "observer" { Kind::Observer } else { Kind::Copying };
    let mut rx = kind.open(Ring::open("r").dir(dir).waiting(Waiting::spin()));
    let mut buf = [0; 8];
    // The first wait asks whether the producer lives, and not again for an hour.
    assert!(rx.recv_timeout(&mut buf, Duration::ZERO).is_err());
    say("ready");
    assert_eq!(listen(), "go");
    allow_only(&[libc::SYS_exit_group, libc::SYS_clock_gettime]);
    let mut n = 0;
    while n < COUNT {
        // Now and then the newest, and on from there.
        let received =
            if n % 1000 == 500 { rx.latest(&mut buf).unwrap() } else { rx.recv(&mut buf).unwrap() };
        assert!(buf == received.sequence.to_le_bytes() && received.sequence >= n);
        n = received.sequence + 1;
    }
    leave();
}

/// That the test above can fail: with a reader asleep the same process is killed by its first send.
#[test]
fn waking_is_a_system_call() {
    in_time(|| {
        let dir = Dir::new();
        let mut sender = Child::start("sandboxed-sender", &[dir.text(), "asymmetric"]);
        sender.expect("ready");
        let rx = dir.open("r").waiting(Waiting::park_after(0)).subscribe().unwrap();
        let (say, tid) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            say.send(thread_id()).unwrap();
            rx.recv_timeout(Duration::from_secs(1)).map(|record| record.to_vec()).ok()
        });
        until_asleep(tid.recv().unwrap());
        sender.tell("go");
        assert_eq!(sender.wait().signal(), Some(libc::SIGSYS));
        // What was published before the wake is there all the same.
        assert_eq!(reader.join().unwrap(), Some(vec![0; 8]));
    });
}

/// Case 32: a receive makes no system call while records come, or while it spins for them.
#[test]
fn receiving_makes_no_system_call() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(CAPACITY).liveness(HOUR).producer().unwrap();
        let mut receiver = Child::start("sandboxed-receiver", &[dir.text()]);
        receiver.expect("ready");
        for n in 0..COUNT / 2 {
            tx.send(&n.to_le_bytes()).unwrap();
        }
        receiver.tell("go");
        for n in COUNT / 2..COUNT {
            tx.send(&n.to_le_bytes()).unwrap();
        }
        let status = receiver.wait();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    });
}

/// Case 32: neither does one of a reader that copies; and no send does with an observer attached, that spins or naps.
#[test]
fn copying_makes_no_system_call() {
    for kind in ["observer", "copying"] {
        in_time(move || {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(CAPACITY).liveness(HOUR).producer().unwrap();
            let mut receiver = Child::start("sandboxed-copier", &[dir.text(), kind]);
            receiver.expect("ready");
            (0..COUNT / 2).for_each(|n| tx.send(&n.to_le_bytes()).unwrap());
            receiver.tell("go");
            (COUNT / 2..COUNT).for_each(|n| tx.send(&n.to_le_bytes()).unwrap());
            let status = receiver.wait();
            assert_eq!((status.code(), status.signal()), (Some(0), None));
        });
    }
    for waiting in [Waiting::spin(), Waiting::park_after(0)] {
        in_time(move || {
            let dir = Dir::new();
            let mut sender = Child::start("sandboxed-sender", &[dir.text(), "asymmetric"]);
            sender.expect("ready");
            let [observer, copying] = KINDS.map(|kind| kind.open(dir.open("r").waiting(waiting)));
            // The one that would have to be woken does not sleep.
            let mut rx = copying;
            rx.set_waiting(Waiting::spin());
            let napping = std::thread::spawn(move || {
                let mut rx = observer;
                (0..COUNT).filter(|_| rx.recv(&mut [0; 8]).is_ok()).count() as u64
            });
            sender.tell("go");
            for n in 0..COUNT {
                assert_eq!(rx.recv(&mut [0; 8]).unwrap().sequence, n);
            }
            let status = sender.wait();
            assert_eq!((status.code(), status.signal()), (Some(0), None));
            assert_eq!(napping.join().unwrap(), COUNT);
        });
    }
}

/// Case 30: membarrier is refused, to the producer, to the reader, to both: slower but correct; every record comes.
#[test]
fn without_membarrier() {
    for (publisher, consumer) in [
        ("refused-producer", "consume"),
        ("publish", "refused-consumer"),
        ("refused-producer", "refused-consumer"),
    ] {
        let dir = Dir::new();
        let mut publisher = Child::start(publisher, &[dir.text(), "r", "20000"]);
        publisher.expect("ready");
        let mut consumer = Child::start(consumer, &[dir.text(), "r", "park"]);
        consumer.hear();
        consumer.expect("joined");
        publisher.tell("go");
        let sent = publisher.hear();
        publisher.tell("end");
        publisher.ends_well();
        consumer.expect(&sent);
        consumer.ends_well();
    }
}
