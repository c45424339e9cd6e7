//! Readers that are killed in their sleep: what they cost afterwards is counted in system calls, not in time.

use std::time::Duration;

use annulus::{Ring, Waiting, Wake};

use super::child::{Child, listen, say};
use super::sandbox::{allow_only, leave};
use crate::support::{Dir, in_time, until_asleep};

/// Fits with room to spare, so that nobody is ever blocked by a dead one.
const LARGE: usize = 16 << 20;
const COUNT: u64 = 100_000;
const HOUR: Duration = Duration::from_secs(3600);

fn wake_of(word: &str) -> Wake {
    match word {
        "futex" => Wake::Futex,
        "semaphore" => Wake::Semaphore,
        other => panic!("no backend {other}"),
    }
}

/// Sends what it is told, and then, when it may make no system call any more, many.
pub(super) fn sender(dir: &str, wake: &str, capacity: usize) {
    let ring = Ring::create("r").dir(dir).capacity(capacity).wake(wake_of(wake)).liveness(HOUR);
    let mut tx = ring.producer().unwrap();
    say("ready");
    loop {
        match listen().as_str() {
            "send" => tx.send(b"for the dead").unwrap(),
            "fill" => (0..capacity / 64 * 2).for_each(|_| tx.send(&[0; 40]).unwrap()),
            "many" => break,
            other => panic!("what is {other}"),
        }
        say("sent");
    }
    allow_only(&[libc::SYS_exit_group]);
    for n in 0..COUNT {
        tx.send(&n.to_le_bytes()).unwrap();
    }
    leave();
}

/// Sleeps for a record that never comes, as a reader of some kind.
pub(super) fn sleeper(dir: &str, kind: &str) {
    let open = || Ring::open("r").dir(dir).waiting(Waiting::park_after(0));
    match kind {
        "subscriber" => {
            let rx = open().subscribe().unwrap();
            say(&crate::support::thread_id().to_string());
            let _ = rx.recv().map(drop);
        }
        "copying" => {
            let mut rx = open().subscribe_copying().unwrap();
            say(&crate::support::thread_id().to_string());
            let _ = rx.recv(&mut [0; 64]);
        }
        other => panic!("no reader {other}"),
    }
    panic!("it was to sleep until it is killed");
}

/// Case 14: a sleeping reader is killed, and the cost of publishing returns to what it was. After at most one useless wake
/// the producer makes no system call on its path: it would be killed by any. Eight at once cost no more; nor does it
/// matter whether their places are still theirs or were freed.
#[test]
fn killed_readers_cost_one_wake() {
    for wake in ["futex", "semaphore"] {
        for (kind, sleepers, reaped) in [
            ("subscriber", 1, false),
            ("copying", 1, false),
            ("subscriber", 8, false),
            ("subscriber", 2, true),
        ] {
            in_time(move || {
                let dir = Dir::new();
                let capacity = if reaped { 1 << 16 } else { LARGE };
                let mut sender =
                    Child::start("sender-beside-the-dead", &[dir.text(), wake, &capacity.to_string()]);
                sender.expect("ready");
                let mut victims: Vec<_> =
                    (0..sleepers).map(|_| Child::start("sleeper", &[dir.text(), kind])).collect();
                for victim in &mut victims {
                    until_asleep(victim.hear().parse().unwrap());
                }
                victims.iter().for_each(Child::kill_to_zombie);
                sender.tell("send");
                sender.expect("sent");
                if reaped {
                    sender.tell("fill");
                    sender.expect("sent");
                }
                let info = dir.open("r").info().unwrap();
                assert_eq!(info.reaped, if reaped { sleepers } else { 0 });
                sender.tell("many");
                let status = sender.wait();
                assert_eq!(status.code(), Some(0), "{wake}, {sleepers} of {kind}: {status:?}");
                let info = dir.open("r").info().unwrap();
                assert!(info.wakes <= 1, "woken {} times", info.wakes);
                assert!(info.published > COUNT);
            });
        }
    }
}
