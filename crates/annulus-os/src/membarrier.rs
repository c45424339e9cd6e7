//! The heavy half of an asymmetric fence: membarrier(2).
//!
//! One side of a pair runs often and pays only a compiler fence; the other runs rarely and makes the kernel
//! run a full fence on every CPU where a *registered* process is running. The light side is fenced only if it
//! has registered, so it must check that [`register`] succeeded, again after fork and exec.

use core::sync::atomic::{Ordering, compiler_fence};

use rustix::thread::{MembarrierCommand, membarrier};

/// Registers this process for [`heavy`] calls of any process, so that its own light fences may be compiler
/// fences. `true` if it succeeded. May be called again; costs more when other threads are running (the kernel
/// waits until each has seen it).
///
/// A registered process can be interrupted by anyone on the machine who calls [`heavy`]: register only if
/// you are the light side. `false`: the kernel or a sandbox refuses; use full fences.
#[must_use]
pub fn register() -> bool {
    membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
}

/// A full fence on this thread and on every thread of a registered process that is running now. Those not
/// running pass one when they are next scheduled. The caller need not be registered. See membarrier(2),
/// `MEMBARRIER_CMD_GLOBAL_EXPEDITED`.
///
/// Do not rely on it alone. Linux leaves a processor out on which a thread of the registered process has ended
/// since another program ran there (5.10 and later: `exit_mm` clears what the switch to a thread of the same
/// process does not set again).
///
/// `false`: no fence was made on any other thread; the kernel or a sandbox refuses.
#[must_use]
pub fn heavy() -> bool {
    // The kernel orders the CPUs; these order the compiler, whatever it believes about a system call.
    compiler_fence(Ordering::SeqCst);
    let done = membarrier(MembarrierCommand::GlobalExpedited).is_ok();
    compiler_fence(Ordering::SeqCst);
    done
}
