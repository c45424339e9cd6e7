//! Which CPUs the two processes run on.
#![allow(unsafe_code)]

use std::{io, mem};

use crate::{Error, Result};

fn current() -> io::Result<libc::cpu_set_t> {
    // SAFETY: a set of bits, for which all zero is valid.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most the size that is told.
    match unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) } {
        0 => Ok(set),
        _ => Err(io::Error::last_os_error()),
    }
}

fn apply(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the kernel reads the size that is told.
    match unsafe { libc::sched_setaffinity(0, size_of_val(set), set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The CPUs that this thread may run on, in order.
pub(crate) fn allowed() -> Result<Vec<usize>> {
    let set = current().map_err(|e| Error::io("cannot ask which CPUs are allowed", &e))?;
    // SAFETY: the index stays below the size of the set.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// The two CPUs to measure on: those asked for, else the first two that are allowed.
pub(crate) fn choose(asked: Option<[usize; 2]>) -> Result<[usize; 2]> {
    let allowed = allowed()?;
    match (asked, &allowed[..]) {
        (Some([a, b]), _) if a == b => {
            Err(Error::usage(format!("CPU {a} is named twice: both processes spin, so each needs its own")))
        }
        (Some(cpus), _) => match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            Some(cpu) => {
                Err(Error::usage(format!("CPU {cpu} is not one of those allowed here: {allowed:?}")))
            }
            None => Ok(cpus),
        },
        (None, &[a, b, ..]) => Ok([a, b]),
        (None, _) => Err(Error::usage("two CPUs are needed, and this process may use one only")),
    }
}

/// Where several workers run: on all CPUs but the client's, or on the one that was asked for.
pub(crate) fn workers(asked: Option<[usize; 2]>, [client, peer]: [usize; 2]) -> Result<Vec<usize>> {
    let others = || Ok(allowed()?.into_iter().filter(|&cpu| cpu != client).collect());
    if asked.is_some() { Ok(vec![peer]) } else { others() }
}

/// Keeps this thread on one CPU; where it was allowed before comes back on drop.
pub(crate) struct Pinned(libc::cpu_set_t);

impl Pinned {
    pub(crate) fn to(cpu: usize) -> Result<Self> {
        let wrong = |e| Error::io(&format!("cannot stay on CPU {cpu}"), &e);
        let before = current().map_err(wrong)?;
        // SAFETY: a set of bits, for which all zero is valid.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: `choose` has seen the CPU in such a set, so the index is below its size.
        unsafe { libc::CPU_SET(cpu, &mut set) };
        apply(&set).map_err(wrong)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = apply(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_taken_back() {
        let before = allowed().unwrap();
        let pin = Pinned::to(before[0]).unwrap();
        assert_eq!(allowed().unwrap(), [before[0]]);
        drop(pin);
        assert_eq!(allowed().unwrap(), before);
    }

    #[test]
    fn wrong_cpus_are_wrong_use() {
        let cpu = allowed().unwrap()[0];
        assert!(choose(Some([cpu, cpu])).unwrap_err().is_usage());
        assert!(choose(Some([cpu, 1023])).unwrap_err().is_usage());
    }
}
