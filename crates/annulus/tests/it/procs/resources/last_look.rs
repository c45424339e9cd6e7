//! The last look: what has come by the deadline is taken, however late the waiter gets to run.

use std::time::{Duration, Instant};

use annulus::{Ring, Waiting};

use crate::copiers::Kind;
use crate::procs::child::{Child, say};
use crate::support::{Dir, in_time, thread_id, until, until_in_call};

/// Long enough to be stopped in.
const LIMIT: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(3600);
/// How a waiter sleeps: on a futex, on a semaphore (which is one), or in a nap.
const SLEEPS: [libc::c_long; 3] = [libc::SYS_futex, libc::SYS_nanosleep, libc::SYS_clock_nanosleep];

pub(super) fn wait(dir: &str, how: &str) {
    let open = || Ring::open("r").dir(dir).waiting(Waiting::park_after(0));
    let mut buf = [0; 100];
    let came = match how {
        "subscriber" => {
            let rx = open().subscribe().unwrap();
            say(&thread_id().to_string());
            rx.recv_timeout(LIMIT).is_ok()
        }
        "copying" | "observer" => {
            let kind = if how == "copying" { Kind::Copying } else { Kind::Observer };
            let mut rx = kind.open(open());
            say(&thread_id().to_string());
            rx.recv_timeout(&mut buf, LIMIT).is_ok()
        }
        "sender" => {
            let ring = Ring::open_or_create("full").dir(dir).capacity(4096).liveness(HOUR);
            let mut tx = ring.waiting(Waiting::park_after(0)).producer().unwrap();
            say("ready");
            tx.wait_for_subscribers(1).unwrap();
            while tx.try_send(&[1; 100]).is_ok() {}
            say(&thread_id().to_string());
            tx.send_timeout(&[2; 100], LIMIT).is_ok()
        }
        "joins" => {
            let ring = Ring::open_or_create("alone").dir(dir).capacity(4096).liveness(HOUR);
            let tx = ring.producer().unwrap();
            say("ready");
            say(&thread_id().to_string());
            tx.wait_for_subscribers_timeout(1, LIMIT).is_ok()
        }
        other => panic!("no waiter {other}"),
    };
    say(if came { "came" } else { "timed out" });
}

/// Case 28: a record that comes exactly at the deadline is returned: the waiter is stopped in its sleep, its deadline
/// passes, the record comes, and only then does it run again. The same for room, and for a subscriber to come.
#[test]
fn what_comes_at_the_deadline_is_taken() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").liveness(HOUR).producer().unwrap();
        let all = ["subscriber", "copying", "observer", "sender", "joins"];
        let mut children = all.map(|how| Child::start("resources", &["last-look", dir.text(), how]));
        let (mut full, mut alone) = (None, None);
        for (how, child) in all.iter().zip(&mut children) {
            match *how {
                "sender" => {
                    child.expect("ready");
                    full = Some(dir.open("full").subscribe().unwrap());
                }
                "joins" => child.expect("ready"),
                _ => {}
            }
            let thread = child.hear().parse().unwrap();
            until_in_call(thread, &SLEEPS);
            child.signal(libc::SIGSTOP);
            child.until_state('T');
        }
        // The deadlines of all pass: time itself is what is waited for.
        let begin = Instant::now();
        until("the limit has passed", || begin.elapsed() > LIMIT);
        tx.send(b"at the deadline").unwrap();
        drop(full.as_ref().unwrap().recv().unwrap());
        alone.get_or_insert_with(|| dir.open("alone").subscribe().unwrap());
        for child in &mut children {
            child.signal(libc::SIGCONT);
            child.expect("came");
            child.ends_well();
        }
    });
}

/// That the test above can fail: nothing comes.
#[test]
fn without_anything_it_times_out() {
    in_time(|| {
        let dir = Dir::new();
        let _tx = dir.create("r").liveness(HOUR).producer().unwrap();
        for how in ["subscriber", "copying", "observer"] {
            let mut child = Child::start("resources", &["last-look", dir.text(), how]);
            child.hear();
            child.expect("timed out");
            child.ends_well();
        }
    });
}
