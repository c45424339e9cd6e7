//! `cargo xtask tidy`: the house's rules, so that they cannot rot.
//!
//! Every check is a function from a [`Tree`] to a [`Report`]. A file that a rule needs and that is not there
//! is a violation like any other.

mod deps;
mod docs;
mod edges;
mod faults;
mod git;
mod habits;
mod manifest;
mod models;
mod mutants;
mod orderings;
mod places;
mod promises;
mod sizes;
mod source;
mod tree;
mod unsafe_code;

use crate::process::{capture, cargo};
use std::path::Path;
use tree::Tree;

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) fix: String,
}

/// What the checks found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    /// Allowed, and worth a look.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Something is wrong at `path:line`.
    pub(crate) fn add(&mut self, path: &str, line: usize, what: impl Into<String>, fix: impl Into<String>) {
        self.violations.push(Violation { path: path.into(), line, what: what.into(), fix: fix.into() });
    }

    /// Something at `path:line` is allowed for now.
    pub(crate) fn note(&mut self, path: &str, line: usize, what: impl AsRef<str>) {
        self.notes.push(format!("{path}:{line}: note: {}", what.as_ref()));
    }
}

const CHECKS: [fn(&Tree, &mut Report); 16] = [
    deps::places,
    deps::reasons,
    places::check,
    places::floor,
    sizes::check,
    orderings::check,
    models::check,
    edges::check,
    mutants::check,
    faults::check,
    unsafe_code::check,
    habits::check,
    git::check,
    docs::links,
    docs::glossary,
    promises::check,
];

/// Runs every check over the repository at `root` and prints what it found.
///
/// # Errors
///
/// When there is a violation, or git or cargo cannot be asked.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let tree = Tree::read(root)?;
    let mut report = Report::default();
    for check in CHECKS {
        check(&tree, &mut report);
    }
    let weight = ["tree", "-e", "normal", "-p", "annulus", "--prefix", "none"];
    // cargo's own message says more than its status; the count then says that there is nothing to count.
    deps::weight(&capture(&mut cargo(root, &weight)).unwrap_or_default(), &mut report);

    report.violations.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for v in &report.violations {
        println!("{}:{}: {}; {}", v.path, v.line, v.what, v.fix);
    }
    for note in &report.notes {
        println!("{note}");
    }
    let files = tree.files().count();
    println!("tidy: {files} files, {} violations, {} notes", report.violations.len(), report.notes.len());
    if report.violations.is_empty() { Ok(()) } else { Err("the house is not tidy".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `check` finds fault with `tree`, sorted.
    pub(crate) fn lines(tree: &Tree, check: fn(&Tree, &mut Report)) -> Vec<(String, usize)> {
        let mut report = Report::default();
        check(tree, &mut report);
        let mut found: Vec<_> = report.violations.into_iter().map(|v| (v.path, v.line)).collect();
        found.sort();
        found
    }

    #[test]
    fn an_empty_tree_is_no_panic() {
        let mut report = Report::default();
        for check in CHECKS {
            check(&Tree::default(), &mut report);
        }
        assert!(!report.violations.is_empty());
    }
}
