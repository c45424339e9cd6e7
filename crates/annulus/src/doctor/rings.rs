//! What is in the directory, and what of it is in use without a name; and limits that hang on how large rings are.

use std::collections::BTreeMap;

use annulus_os::machine::{self, Limited};

use super::{Opinion, Patient, bytes, fine, not_known, warning};
use crate::prune::{Fate, Found};
use crate::registry::is_temporary;

impl Patient {
    pub(super) fn leftovers(&self) -> Opinion {
        let findings = match &self.findings {
            Ok(findings) => findings,
            Err(error) => return not_known(&error.to_string()),
        };
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for one in findings {
            *counts.entry(one.found.to_string()).or_default() += 1;
        }
        let counts: Vec<_> = counts.iter().map(|(found, n)| format!("{n} {found}")).collect();
        let found = if counts.is_empty() { "empty".to_owned() } else { counts.join(", ") };
        let removable = findings.iter().filter(|one| one.fate == Fate::Removable).count();
        if removable > 0 {
            return warning(
                format!("{found}; {removable} of these are left by crashes and nobody's"),
                "`annulus prune` says what they are, and `annulus prune --apply` removes them",
            );
        }
        if findings.iter().any(|one| matches!(one.found, Found::Unreadable | Found::Foreign)) {
            return warning(found, "`annulus prune` says why it leaves what is unreadable or foreign");
        }
        if findings.iter().any(|one| one.found == Found::Leftover) {
            let advice =
                "start their producers again, or end the subscribers that hold them; then `annulus prune`";
            return warning(format!("{found}; the leftovers have subscribers but no producer"), advice);
        }
        fine(found)
    }

    /// Rings whose files somebody else has deleted: annulus itself gives a ring a temporary name first.
    pub(super) fn deleted_rings(&self) -> Opinion {
        let Ok(dir) = self.path.canonicalize() else {
            return fine("there is no directory, so nothing was deleted in it");
        };
        let mapped = match machine::deleted_mappings(&dir) {
            Ok(mapped) => mapped,
            Err(error) => return not_known(&format!("/proc cannot be listed ({error})")),
        };
        let mut rings: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for one in &mapped {
            let Some((ring, _)) = one.name.split_once('/') else { continue };
            let pid = one.pid.to_string();
            let pids = rings.entry(ring).or_default();
            if !is_temporary(ring) && !pids.contains(&pid) {
                pids.push(pid);
            }
        }
        rings.retain(|_, pids| !pids.is_empty());
        if rings.is_empty() {
            return fine("no process that can be seen uses a ring whose files were deleted");
        }
        let told: Vec<_> =
            rings.iter().map(|(ring, pids)| format!("`{ring}` (pid {})", pids.join(", "))).collect();
        warning(
            format!("deleted while in use: {}", told.join(", ")),
            "these processes go on with each other, and nobody else can join; start the producer again, and keep \
             tmpfiles, RemoveIPC=yes of systemd-logind and `rm -r` from the directory",
        )
    }

    pub(super) fn memory_limit(&self) -> Opinion {
        if !machine::has_proc() {
            return not_known("/proc is not mounted");
        }
        let Some(limit) = machine::memory_limit() else { return fine("no control group limits memory") };
        let taken = self.taken();
        let room = limit.max.saturating_sub(limit.used);
        let found = format!(
            "{} may use {} and uses {}; rings here take {}, and a usual one {}",
            limit.group.display(),
            bytes(limit.max),
            bytes(limit.used),
            bytes(taken),
            bytes(self.usual)
        );
        // A new ring's pages are counted to its producer's group; those that are there may be, too.
        if room < self.usual || limit.max < taken {
            let advice = "raise the group's limit (`memory.max`; Docker: `--memory`), or ask for smaller rings: beyond \
                          the limit the kernel kills";
            return warning(found, advice);
        }
        fine(found)
    }

    /// A reader maps the records twice, and so does the producer.
    pub(super) fn address_space(&self) -> Opinion {
        let Some(limit) = machine::limit(Limited::AddressSpace) else { return fine("no limit") };
        let room = limit.saturating_sub(machine::address_space().unwrap_or(0));
        let needed = self.largest().saturating_mul(2);
        let found = format!(
            "RLIMIT_AS is {}, of which {} are left; a ring here takes up to {}",
            bytes(limit),
            bytes(room),
            bytes(needed)
        );
        match room < needed {
            true => warning(found, "raise RLIMIT_AS (`ulimit -v`), or ask for smaller rings"),
            false => fine(found),
        }
    }

    pub(super) fn locked_memory(&self) -> Opinion {
        let Some(limit) = machine::limit(Limited::LockedMemory) else { return fine("no limit") };
        if machine::may_lock_any() == Some(true) {
            return fine("no limit for this process, which has CAP_IPC_LOCK");
        }
        let needed = self.largest().saturating_mul(2);
        let found = format!(
            "RLIMIT_MEMLOCK is {}; with `.lock_memory()` a ring here takes up to {}",
            bytes(limit),
            bytes(needed)
        );
        match limit < needed {
            true => warning(found, "raise RLIMIT_MEMLOCK (`ulimit -l`) if rings are to be locked in memory"),
            false => fine(found),
        }
    }
}
