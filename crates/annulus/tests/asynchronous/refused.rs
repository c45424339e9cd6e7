//! A kernel or a sandbox without the system calls that wait at many words: the same, by the next best way.
#![allow(unsafe_code)]

use std::task::{Context, Waker};

use annulus::{Ring, Wake};

use crate::roles::{Other, say};
use crate::runtimes::{alone, current_thread};
use crate::support::{Dir, until};

const RINGS: usize = 200;
const ROUNDS: u64 = 5;

#[test]
fn tasks_wait_without_io_uring() {
    refused("refused-setup");
}

#[test]
fn tasks_wait_without_futex_waitv_too() {
    refused("refused-both");
}

/// The filter comes when the thread waits already.
#[test]
fn tasks_go_on_when_io_uring_is_refused_later() {
    refused("refused-later");
}

fn refused(role: &str) {
    let _alone = alone();
    let dir = Dir::new();
    let mut other = Other::start(role, dir.text());
    other.expect("all went through");
}

/// As long as `wait` is refused from now on, records still come.
pub(crate) fn run(role: &str, dir: &str) {
    let (setup, enter, waitv) = (libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_futex_waitv);
    match role {
        "refused-setup" => refuse(&[setup]),
        "refused-both" => refuse(&[setup, waitv]),
        _ => {}
    }
    let mut ends: Vec<_> = (0..RINGS)
        .map(|i| {
            let name = format!("r{i}");
            let tx = Ring::create(&name).dir(dir).capacity(4096).wake(Wake::Futex).producer().unwrap();
            let rx = Ring::open(&name).dir(dir).subscribe().unwrap().into_async().unwrap();
            (tx, rx)
        })
        .collect();
    if role == "refused-later" {
        for (_, rx) in &mut ends {
            let mut recv = std::pin::pin!(rx.recv());
            assert!(recv.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        until("it waits by io_uring", has_ring);
        refuse(&[enter]);
    }
    current_thread().block_on(async {
        let mut tasks = Vec::new();
        let mut producers = Vec::new();
        for (tx, mut rx) in ends {
            producers.push(tx);
            tasks.push(tokio::spawn(async move {
                let mut count = 0;
                while rx.recv().await.is_ok() {
                    count += 1;
                }
                count
            }));
        }
        for n in 0..ROUNDS {
            for tx in &mut producers {
                tx.send(&n.to_le_bytes()).unwrap();
            }
            tokio::task::yield_now().await;
        }
        drop(producers);
        for task in tasks {
            assert_eq!(task.await.unwrap(), ROUNDS);
        }
    });
    assert!(!has_ring());
    say("all went through");
}

/// Answers `EPERM` to these calls, in every thread of this process, from now on.
fn refuse(calls: &[libc::c_long]) {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let ret = |what: u32| op(libc::BPF_RET | libc::BPF_K, 0, 0, what);
    let mut program = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for &call in calls {
        program.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32));
        program.push(ret(libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()));
    }
    program.push(ret(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_TSYNC);
    // SAFETY: both change what this process may do, nothing else; the program lives until the kernel has copied it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program), 0);
    }
    let refused = |call: libc::c_long| {
        // SAFETY: with arguments that no call does anything with, were it allowed.
        let result = unsafe { libc::syscall(call, -1_i64, 0_i64, 0_i64, 0_i64, 0_i64, 0_i64) };
        (result, std::io::Error::last_os_error().raw_os_error()) == (-1, Some(libc::EPERM))
    };
    assert!(calls.iter().all(|&call| refused(call)));
}

/// Whether this process has an io_uring.
fn has_ring() -> bool {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let mut names = descriptors.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    names.any(|name| name.to_string_lossy().contains("io_uring"))
}
