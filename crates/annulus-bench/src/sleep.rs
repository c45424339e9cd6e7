//! Whether a thread has slept.
#![allow(unsafe_code)]

/// How often this thread has given up its CPU to wait.
pub(crate) fn count() -> u64 {
    // SAFETY: a plain struct of numbers, for which all zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in a struct of ours, nothing else.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    usage.ru_nvcsw as u64
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_sleep_is_counted() {
        let before = super::count();
        // sleep: it is the sleep that is counted
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(super::count() > before);
    }
}
