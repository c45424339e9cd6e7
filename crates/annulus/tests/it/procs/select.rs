//! Waiting for several rings whose other ends are in other processes; and where a sandbox refuses what it rests on.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annulus::{FenceMode, Producer, RecvError, Ring, Select, Selectable, Subscriber, TryRecvError, Waiting};

use super::child::{Child, say};
use super::roles::{fence_of, record};
use super::sandbox::filter;
use crate::support::{Dir, INTERVALS, LONG, Random, each_in_time, in_time};

const HOUR: Duration = Duration::from_secs(3600);
/// What the roles' rings say.
const LIVENESS: Duration = Duration::from_millis(50);

fn all(handles: &[Subscriber]) -> Vec<&dyn Selectable> {
    handles.iter().map(|handle| handle as &dyn Selectable).collect()
}

/// One that sleeps at once.
fn asleep_at_once() -> Select {
    let mut select = Select::new();
    select.set_waiting(Waiting::park_after(0));
    select
}

/// What a process or a thread in this role does.
pub(super) fn role(words: &[&str]) {
    let (dir, rest) = (words[1], &words[2..]);
    match words[0] {
        "answer" => {
            let ends = Answering::open(dir, rest[0], fence_of(rest[1]));
            say("ready");
            ends.answer();
        }
        "sandboxed" => sandboxed(dir, rest[0], rest[1].parse().unwrap()),
        "forked" => forked(dir),
        other => panic!("no role {other}"),
    }
}

/// Sends back what it gets.
struct Answering {
    there: Producer,
    back: Subscriber,
}

impl Answering {
    fn open(dir: &str, name: &str, fence: FenceMode) -> Answering {
        let there = Ring::create(&format!("there-{name}")).dir(dir).fence(fence).liveness(HOUR);
        let back = Ring::open(&format!("back-{name}")).dir(dir).waiting(Waiting::yielding());
        Answering { there: there.producer().unwrap(), back: back.subscribe().unwrap() }
    }

    fn answer(mut self) {
        for record in &self.back {
            let record = record.unwrap();
            // The answer meets whoever waits for it at each step on its way to sleep.
            for _ in 0..u32::from(record[0]) % 64 * 8 {
                std::hint::spin_loop();
            }
            self.there.send(&record).unwrap();
        }
    }
}

fn back(dir: &str, n: usize) -> Producer {
    Ring::create(&format!("back-{n}")).dir(dir).liveness(HOUR).producer().unwrap()
}

/// One question at a time, to one of those who answer: only its answer can end the wait, and its ring is any of them.
fn question(dir: &str, mut backs: Vec<Producer>, select: &mut Select, rounds: u64, trips: &AtomicU64) {
    let there = |n: usize| Ring::open(&format!("there-{n}")).dir(dir).subscribe().unwrap();
    let theres: Vec<Subscriber> = (0..backs.len()).map(there).collect();
    let mut random = Random::new(rounds);
    for n in 0..rounds {
        let which = random.below(theres.len() as u64) as usize;
        backs[which].send(&n.to_le_bytes()).unwrap();
        assert_eq!(select.wait(&all(&theres)), Ok(which));
        assert_eq!(*theres[which].try_recv().unwrap(), n.to_le_bytes());
        trips.store(n, Ordering::Relaxed);
    }
}

/// Records of other processes, each the only one that can end its wait: none is slept through, with a liveness interval of an hour.
#[test]
fn no_wake_is_lost() {
    for fence in ["asymmetric", "symmetric"] {
        for count in [1, 2, 5] {
            each_in_time(move |trips| {
                let dir = Dir::new();
                let backs: Vec<Producer> = (0..count).map(|n| back(dir.text(), n)).collect();
                let start = |n: usize| {
                    let mut child = Child::start("select", &["answer", dir.text(), &n.to_string(), fence]);
                    child.expect("ready");
                    child
                };
                let mut children: Vec<Child> = (0..count).map(start).collect();
                question(dir.text(), backs, &mut asleep_at_once(), 5000, trips);
                children.iter_mut().for_each(Child::ends_well);
            });
        }
    }
}

/// A producer that is killed, among others that live and say nothing: noticed as by whoever waits for it alone, and all it has sent
/// comes first.
#[test]
fn a_death_among_many_is_noticed() {
    in_time(|| {
        let dir = Dir::new();
        let start = |n: usize| {
            let mut child = Child::start("end", &[dir.text(), &n.to_string(), "kill"]);
            child.expect("ready");
            child
        };
        let mut children: Vec<Child> = (0..6).map(start).collect();
        let mut subscribers: Vec<Subscriber> =
            (0..6).map(|n| dir.open(&n.to_string()).subscribe().unwrap()).collect();
        for child in &mut children {
            child.tell("go");
            child.expect("sent");
        }
        let mut select = asleep_at_once();
        let mut next = [0; 6];
        for _ in 0..18 {
            let at = select.wait(&all(&subscribers)).unwrap();
            assert_eq!(*subscribers[at].try_recv().unwrap(), record(next[at])[..]);
            next[at] += 1;
        }
        while !children.is_empty() {
            let which = children.len() / 2;
            children.remove(which).kill();
            let begin = Instant::now();
            assert_eq!(select.wait(&all(&subscribers)), Ok(which));
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "noticed after {:?}", begin.elapsed());
            let end = subscribers.remove(which).try_recv().map(drop);
            assert_eq!(end, Err(TryRecvError::Ended(RecvError::ProducerLost)));
        }
    });
}

/// The same, where another ring always has something.
#[test]
fn a_death_beside_a_busy_ring_is_noticed() {
    in_time(|| {
        let dir = Dir::new();
        let mut child = Child::start("end", &[dir.text(), "mortal", "kill"]);
        child.expect("ready");
        let mut busy = dir.create("busy").producer().unwrap();
        let subscribers = ["busy", "mortal"].map(|name| dir.open(name).subscribe().unwrap());
        let mut select = asleep_at_once();
        child.kill();
        let begin = Instant::now();
        loop {
            busy.send(b"news").unwrap();
            let at = select.wait(&all(&subscribers)).unwrap();
            let got = subscribers[at].try_recv().map(drop);
            if at == 1 {
                assert_eq!(got, Err(TryRecvError::Ended(RecvError::ProducerLost)));
                break;
            }
            got.unwrap();
            assert!(begin.elapsed() < LIVENESS * INTERVALS, "not noticed");
        }
    });
}

/// A kernel without futex_waitv, one that refuses it, no membarrier, and one that does nothing: slower at most.
#[test]
fn in_a_sandbox() {
    for (call, errno) in [
        ("futex_waitv", libc::ENOSYS),
        ("futex_waitv", libc::EPERM),
        ("membarrier", libc::EPERM),
        ("membarrier", 0),
    ] {
        let dir = Dir::new();
        let mut child = Child::start("select", &["sandboxed", dir.text(), call, &errno.to_string()]);
        child.expect("done");
        child.ends_well();
    }
}

fn sandboxed(dir: &str, call: &str, errno: i32) {
    let number = if call == "membarrier" { libc::SYS_membarrier } else { libc::SYS_futex_waitv };
    filter(&[number], libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(), libc::SECCOMP_RET_ALLOW);
    // SAFETY: a command that does not exist, and a wait for nothing.
    let answer = unsafe { libc::syscall(number, -1_i64, 0_i64, 0_i64, 0_i64, 0_i64) };
    assert_eq!(answer, if errno == 0 { 0 } else { -1 }, "the filter does not work");
    let dir = dir.to_owned();
    each_in_time(move |trips| {
        let backs: Vec<Producer> = (0..3).map(|n| back(&dir, n)).collect();
        let open = |n: usize| Answering::open(&dir, &n.to_string(), FenceMode::Asymmetric);
        let answering: Vec<Answering> = (0..3).map(open).collect();
        std::thread::scope(|scope| {
            for ends in answering {
                scope.spawn(|| ends.answer());
            }
            // Naps are longer than wakes.
            let rounds = if errno == 0 { 50_000 } else { 2000 };
            question(&dir, backs, &mut asleep_at_once(), rounds, trips);
        });
    });
    say("done");
}

/// Handles of the parent's in a forked child: ready, to say so, and nothing is waited for.
#[test]
fn handles_of_a_parent_are_ready() {
    let dir = Dir::new();
    let mut child = Child::start("select", &["forked", dir.text()]);
    child.expect("done");
    child.ends_well();
}

fn forked(dir: &str) {
    let _tx = Ring::create("r").dir(dir).producer().unwrap();
    let rx = Ring::open("r").dir(dir).subscribe().unwrap();
    let mut copying = Ring::open("r").dir(dir).subscribe_copying().unwrap();
    // SAFETY: the child looks at memory, and ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut select = asleep_at_once();
        let ready = [select.wait(&[&rx]), select.wait_timeout(&[&copying], LONG)] == [Ok(0); 2];
        let told = rx.try_recv().is_err_and(|error| error == TryRecvError::Ended(RecvError::Forked))
            && copying.try_recv(&mut [0; 8]).is_err();
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(!(ready && told))) };
    }
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
    say("done");
}
