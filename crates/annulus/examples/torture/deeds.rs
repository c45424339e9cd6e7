//! What the conductor has done, by role.

use std::collections::BTreeMap;
use std::fmt;

use crate::actor::Role;

/// Counts of starts, stops and kills.
#[derive(Debug, Default)]
pub(crate) struct Deeds(BTreeMap<&'static str, BTreeMap<&'static str, u64>>);

impl Deeds {
    fn count(&mut self, deed: &'static str, role: Role) {
        *self.0.entry(deed).or_default().entry(role.word()).or_default() += 1;
    }

    pub(crate) fn started(&mut self, role: Role) {
        self.count("started", role);
    }

    pub(crate) fn stopped(&mut self, role: Role) {
        self.count("stopped", role);
    }

    pub(crate) fn killed(&mut self, role: Role) {
        self.count("killed", role);
    }

    /// How many producers were killed.
    pub(crate) fn killed_producers(&self) -> u64 {
        self.0.get("killed").and_then(|by_role| by_role.get(Role::Producer.word())).copied().unwrap_or(0)
    }
}

impl fmt::Display for Deeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (deed, by_role) in &self.0 {
            let total: u64 = by_role.values().sum();
            let each: Vec<String> = by_role.iter().map(|(role, n)| format!("{role} {n}")).collect();
            writeln!(f, "  {deed:<8} {total:>6}: {}", each.join(", "))?;
        }
        Ok(())
    }
}
