//! Every store is a place at which some test kills the process.
//!
//! A verb that stores crosses a fault point first, whose name is the verb; and the tests' table of points says, of each
//! point in the sources, that a program is killed there, or why none is. `cargo xtask faults` sees that the table is
//! true.

use super::Report;
use super::source::{Source, idents};
use super::tree::Tree;
use std::collections::BTreeMap;

/// The ordering file, and where the files below it are.
const VERBS: &str = "crates/annulus-core/src/words.rs";
const MORE_VERBS: &str = "crates/annulus-core/src/words/";
/// The tests' table.
const TABLE: &str = "crates/annulus/tests/faults/verbs.rs";
/// Where points may be.
const PLACES: [&str; 3] = ["crates/annulus-core/src/", "crates/annulus-os/src/", "crates/annulus/src/"];
/// Where they are told of.
const DEFINED: &str = "crates/annulus-core/src/fault.rs";
/// What changes a word.
const STORES: [&str; 6] =
    [".store(", ".swap(", ".fetch_or(", ".fetch_add(", ".fetch_and(", ".compare_exchange"];

/// Each verb that stores has its point, and each point is in the table.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    let Some(words) = tree.source(VERBS) else { return };
    for verbs in [words].into_iter().chain(tree.sources_in(MORE_VERBS)) {
        let lines: Vec<&str> = tree.text(&verbs.path).unwrap_or_default().lines().collect();
        stores(verbs, &lines, report);
    }
    let Some(table) = tree.text(TABLE) else {
        report.add(TABLE, 1, "the table of fault points is missing", "say which points the programs cross");
        return;
    };
    let [crossed, uncrossed] = ["CROSSED", "UNCROSSED"].map(|name| rows(table, name));
    let points = points(tree);
    for (point, (path, line)) in &points {
        if !crossed.contains_key(point.as_str()) && !uncrossed.contains_key(point.as_str()) {
            let fix = format!("have a program cross it, and say so in {TABLE}; or say there why none does");
            report.add(path, *line, format!("no fault run crosses {point:?}"), fix);
        }
    }
    for (point, line) in crossed.iter().chain(&uncrossed) {
        if !points.contains_key(*point) {
            report.add(TABLE, *line, format!("there is no point {point:?}"), "take the row out");
        }
    }
}

/// Stores of an ordering file, each behind the point of its verb.
fn stores(words: &Source, lines: &[&str], report: &mut Report) {
    let (mut owner, mut verb, mut point) = (String::new(), String::new(), None);
    for (n, line) in words.numbered().filter(|(_, line)| !line.model) {
        let mut names =
            idents(&line.code).map(|(_, word)| word).skip_while(|word| *word != "impl" && *word != "fn");
        match names.next() {
            Some("impl") => names.next().unwrap_or_default().clone_into(&mut owner),
            Some("fn") => {
                names.next().unwrap_or_default().clone_into(&mut verb);
                point = None;
            }
            _ => {}
        }
        if let Some(name) = crossed_on(lines.get(n - 1).copied().unwrap_or_default(), &line.code) {
            point = Some(name);
        }
        if !STORES.iter().any(|store| line.code.contains(store)) {
            continue;
        }
        // The verb that every kind of word has takes its name from the kind.
        let wanted = if verb == "preset" { "::preset".to_owned() } else { format!("{owner}::{verb}") };
        if point.as_deref() != Some(&wanted) {
            let fix = format!("cross `point({wanted:?})` before it");
            report.add(&words.path, n, format!("`{verb}` stores where no test can kill it"), fix);
        }
        // The next store needs another.
        point = None;
    }
}

/// The name of the point that a line crosses; of `concat!`, what stands behind the kind's name.
fn crossed_on(line: &str, code: &str) -> Option<String> {
    if !idents(code).any(|(_, word)| word == "point") {
        return None;
    }
    let (_, rest) = line.split_once("point(")?;
    let (_, rest) = rest.split_once('"')?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// All points of the sources, and where they are.
fn points(tree: &Tree) -> BTreeMap<String, (String, usize)> {
    let mut found = BTreeMap::new();
    for source in PLACES.iter().flat_map(|place| tree.sources_in(place)).filter(|s| s.path != DEFINED) {
        let text: Vec<&str> = tree.text(&source.path).unwrap_or_default().lines().collect();
        // The kinds of word, whose verb in common has a point for each.
        let mut of_a_kind = false;
        for (n, line) in source.numbered().filter(|(_, line)| !line.model) {
            let at = (source.path.clone(), n);
            if of_a_kind && let Some((name, _)) = line.code.split_once("(Atomic") {
                found.insert(format!("{}::preset", name.trim()), at.clone());
            }
            of_a_kind = line.code.starts_with("word! {") || of_a_kind && line.code.trim().is_empty();
            if let Some(name) = crossed_on(text[n - 1], &line.code).filter(|name| !name.starts_with("::")) {
                found.entry(name).or_insert(at);
            }
        }
    }
    found
}

/// The names of a table's rows: the first string of each.
fn rows<'a>(text: &'a str, table: &str) -> BTreeMap<&'a str, usize> {
    let start = format!("const {table}:");
    let lines = text.lines().enumerate().skip_while(|(_, line)| !line.contains(&start)).skip(1);
    let body = lines.take_while(|(_, line)| !line.starts_with("];"));
    body.filter_map(|(i, line)| Some((line.split('"').nth(1)?, i + 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    const WORDS: &str = "word! {\n    /// A word.\n    Tail(AtomicU64, u64) = 0\n}\nimpl Tail {\n    pub fn publish(&self) {\n        point(\"Tail::publish\");\n        self.0.store(1, Relaxed);\n    }\n}\n";
    const ROWS: &str = "pub(crate) const CROSSED: &[&str] = &[\n    \"Tail::publish\",\n];\n\npub(crate) const UNCROSSED: &[(&str, &str)] = &[\n    (\"Tail::preset\", \"nobody does\"),\n];\n";

    fn bad(words: &str, table: &str) -> Vec<(String, usize)> {
        lines(&Tree::of(&[(VERBS, words), (TABLE, table)]), check)
    }

    #[test]
    fn every_store_has_its_point() {
        assert_eq!(bad(WORDS, ROWS), []);
        let without = WORDS.replace("        point(\"Tail::publish\");\n", "");
        assert_eq!(bad(&without, ROWS), [(VERBS.to_owned(), 7), (TABLE.to_owned(), 2)]);
        let commented = WORDS.replace("point(\"Tail", "// point(\"Tail");
        assert_eq!(bad(&commented, ROWS), [(VERBS.to_owned(), 8), (TABLE.to_owned(), 2)]);
        let twice = WORDS.replace("Relaxed);\n", "Relaxed);\n        self.0.swap(1, Relaxed);\n");
        assert_eq!(bad(&twice, ROWS), [(VERBS.to_owned(), 9)]);
        let misnamed = WORDS.replace("fn publish", "fn publishes");
        assert_eq!(bad(&misnamed, ROWS), [(VERBS.to_owned(), 8)]);
        // In a file below as well.
        let below = format!("{MORE_VERBS}tail.rs");
        let tree = Tree::of(&[(VERBS, "\n"), (&below, &misnamed), (TABLE, ROWS)]);
        assert_eq!(lines(&tree, check), [(below, 8)]);
    }

    #[test]
    fn every_point_is_in_the_table_and_the_reverse() {
        let gone = ROWS.replace("    \"Tail::publish\",\n", "    \"Tail::put\",\n");
        assert_eq!(bad(WORDS, &gone), [(VERBS.to_owned(), 7), (TABLE.to_owned(), 2)]);
        let gone = ROWS.replace("    (\"Tail::preset\", \"nobody does\"),\n", "");
        assert_eq!(bad(WORDS, &gone), [(VERBS.to_owned(), 3)]);
        let os = ("crates/annulus-os/src/lock.rs", "fn f() {\n    point(\"lock::try_lock\");\n}\n");
        let tree = Tree::of(&[(VERBS, WORDS), (TABLE, ROWS), os]);
        assert_eq!(lines(&tree, check), [(os.0.to_owned(), 2)]);
    }

    #[test]
    fn without_a_table_nothing_is_known() {
        assert_eq!(lines(&Tree::of(&[(VERBS, WORDS)]), check), [(TABLE.to_owned(), 1)]);
    }
}
