//! What Linux gives annulus: directories and shared objects, the mirror mapping, futexes, membarrier and
//! locks.
//!
//! Every system call of the library is here, each behind a function that says what it needs, how it fails and
//! what may be stale by the time you look. There is no policy here: nothing in this crate decides where a
//! ring lives, what it is called, how long to wait or who is dead.
//!
//! | module | what | rests on |
//! |---|---|---|
//! | [`place`] | a directory, the files in it, their reservation, seals and facts | open(2), fallocate(2), memfd_create(2), inotify(7) |
//! | [`mapping`] | a file in memory, its body twice in a row, guards around; its pages present, locked, bound, huge | mmap(2), madvise(2), mlock(2), mbind(2) |
//! | [`lock`] | byte locks that the kernel drops when their holder dies | fcntl(2) |
//! | [`background`] | one value and one thread for the whole process | pthread_sigmask(3) |
//! | [`eventfd`] | a descriptor to poll | eventfd(2) |
//! | [`fork`] | what a forked child must not have | pthread_atfork(3) |
//! | [`futex`] | sleeping on a shared word | futex(2) |
//! | [`waitv`] | sleeping on several of them at once | futex_waitv(2) |
//! | [`many`] | sleeping on any number, in one thread at once | io_uring(7), futex_waitv(2) |
//! | [`poll`] | waiting for descriptors | poll(2) |
//! | [`semaphore`] | sleeping on a semaphore in shared words | sem_overview(7) |
//! | [`pass`] | descriptors over a socket, and who is at its other end | unix(7), sendmsg(2), recvmsg(2) |
//! | [`inherit`] | descriptors that a child keeps, and files opened again | execve(2), proc_pid_fd(5) |
//! | [`membarrier`] | the heavy half of an asymmetric fence | membarrier(2) |
//! | [`clock`] | a clock that never goes back, and the processor's own counter | clock_gettime(2) |
//! | [`machine`] | what this machine has and allows: CPUs, limits, memory, system calls | proc(5), sysfs(5), cgroups(7) |
//! | [`sys`] | who and when we are | getpid(2), proc(5), getrandom(2) |

#[cfg(not(target_os = "linux"))]
compile_error!(
    "annulus-os needs Linux: it is built on memfd, futex, membarrier and open-file-description locks."
);

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "annulus-os needs a 64-bit target: positions are 64-bit atomics and rings may exceed 32-bit address space."
);

pub mod background;
pub mod clock;
pub mod eventfd;
pub mod fork;
pub mod futex;
pub mod inherit;
pub mod lock;
pub mod machine;
pub mod many;
pub mod mapping;
pub mod membarrier;
mod pages;
pub mod pass;
pub mod place;
pub mod poll;
pub mod semaphore;
pub mod sys;
pub mod waitv;

pub use eventfd::EventFd;
pub use fork::Birth;
pub use futex::Futex;
pub use lock::LockFile;
pub use mapping::{Access, Mapping, Part};
pub use place::{Facts, FileSystem, Kind, Place, Seal, Space, Watch};
pub use waitv::Waits;
