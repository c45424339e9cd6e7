//! The table of mutations that survive, and that each edge's ends have mutations that do not.

use super::Report;
use super::edges::marks_of;
use super::tree::Tree;
use crate::mutants::find::{Kind, Mutation, SOURCES, find};
use crate::mutants::rows::{DOC, REASONS, rows};
use std::collections::{BTreeMap, BTreeSet};

/// One mark of an edge.
struct Mark {
    path: String,
    line: usize,
    is_release: bool,
    /// It has a mutation that is killed, by what the table says.
    killed: bool,
    /// It has any.
    any: bool,
    /// The verb that it stands in.
    verb: String,
}

/// The table fits the source, and every edge is guarded.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    let found = match find(&|name| tree.text(&format!("{SOURCES}{name}")).map(str::to_owned)) {
        Ok(found) => found,
        Err(why) => {
            report.add(
                SOURCES,
                1,
                format!("no mutations: {why}"),
                "`cargo xtask mutants` parses annulus-core",
            );
            return;
        }
    };
    let Some(rows) = tree.text(DOC).and_then(rows) else {
        let fix = "write `| mutation | why it survives |`, and a row for each; see `cargo xtask mutants`";
        report.add(DOC, 1, "the table of mutations that survive is missing", fix);
        return;
    };
    let keys: BTreeSet<&str> = found.mutations.iter().map(|m| m.key.as_str()).collect();
    let mut alive = BTreeSet::new();
    for row in &rows {
        if !keys.contains(row.key.as_str()) {
            let fix = "take the row out, or write it as `cargo xtask mutants --list` does";
            report.add(DOC, row.line, format!("no mutation is `{}`", row.key), fix);
        }
        if !row.is_reasoned() {
            let fix = format!("begin with one of: {}", REASONS.join(" "));
            report.add(DOC, row.line, "the reason is none", fix);
        }
        if !alive.insert(row.key.as_str()) {
            report.add(DOC, row.line, format!("`{}` has two rows", row.key), "make them one");
        }
    }
    edges(tree, &found.mutations, &alive, report);
}

/// Each end of each edge has a mutation that is killed; one end may do without if the other has it.
fn edges(tree: &Tree, mutations: &[Mutation], alive: &BTreeSet<&str>, report: &mut Report) {
    let mut tags: BTreeMap<String, Vec<Mark>> = BTreeMap::new();
    for source in tree.sources_in(SOURCES) {
        let file = &source.path[SOURCES.len()..];
        for (line, tag, is_release) in marks_of(source) {
            // The code that the mark belongs to is the next that there is.
            let code = source.numbered().skip(line).find(|(_, l)| !l.code.trim().is_empty());
            let at = code.map_or(line, |(n, _)| n);
            let here = |m: &&Mutation| {
                m.file == file && m.line == at && matches!(m.kind, Kind::Ordering | Kind::Fence)
            };
            let killed = mutations.iter().filter(here).any(|m| !alive.contains(m.key.as_str()));
            let first = mutations.iter().find(here);
            let verb = first.map_or(String::new(), |m| verb(&m.key).to_owned());
            let (path, any) = (source.path.clone(), first.is_some());
            tags.entry(tag).or_default().push(Mark { path, line, is_release, killed, any, verb });
        }
    }
    // A swap that moves a verb past its neighbour breaks the edge of which it is an end, if no other verb has its name.
    let swapped = |tag: &str, verb: &str| {
        let is_shared =
            tags.iter().any(|(other, marks)| other != tag && marks.iter().any(|m| m.verb == verb));
        let call = format!(".{verb}(");
        let mut swaps = mutations.iter().filter(|m| m.kind == Kind::Swap && m.key.contains(&call));
        swaps.find(|m| !is_shared && !alive.contains(m.key.as_str()))
    };
    for (tag, marks) in &tags {
        let order = marks.iter().find_map(|mark| swapped(tag, &mark.verb));
        for mark in marks.iter().filter(|mark| !mark.killed) {
            let end = |is_release: bool| if is_release { "release" } else { "acquire" };
            let this = end(mark.is_release);
            let other = marks.iter().any(|m| m.killed && m.is_release != mark.is_release);
            if !mark.any {
                let what = format!("nothing is mutated at the {this} end of [{tag}]");
                report.add(&mark.path, mark.line, what, "put the mark right above its ordering or fence");
            } else if other {
                let by = end(!mark.is_release);
                let what = format!(
                    "every mutation of the {this} end of [{tag}] survives; of the {by} end one is killed"
                );
                report.note(&mark.path, mark.line, what);
            } else if let Some(order) = order {
                let what =
                    format!("every mutation of the {this} end of [{tag}] survives; killed is: {}", order.key);
                report.note(&mark.path, mark.line, what);
            } else {
                let what = format!("every mutation of [{tag}] at this {this} end survives");
                report.add(&mark.path, mark.line, what, "write a model that fails without it");
            }
        }
    }
}

/// `look` of `words.rs Header::look: ..`.
fn verb(key: &str) -> &str {
    let place = key.split(": ").next().unwrap_or_default();
    place.rsplit([':', ' ']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "impl Header {
    pub fn publish(&self, header: u64) {
        // [publish] release: what came before
        self.0.store(header, Ordering::Release);
    }
    pub fn look(&self) -> u64 {
        let header = self.0.load(Ordering::Relaxed);
        // [publish] acquire
        fence(Ordering::Acquire);
        header
    }
}
";
    const RELEASE: &str = "words.rs Header::publish: store Release weakened to Relaxed";
    const ACQUIRE: &str = "words.rs Header::look: fence(Acquire) removed";

    fn run(words: &str, rows: &str) -> (Vec<String>, usize) {
        let doc = format!("# M\n\n| mutation | why it survives |\n|---|---|\n{rows}");
        let words_path = format!("{SOURCES}words.rs");
        let lib = format!("{SOURCES}lib.rs");
        let tree = Tree::of(&[(DOC, &doc), (&lib, "pub mod words;\n"), (&words_path, words)]);
        let mut report = Report::default();
        check(&tree, &mut report);
        let found = report.violations.iter().map(|v| format!("{}:{}: {}", v.path, v.line, v.what));
        (found.collect(), report.notes.len())
    }

    fn red(words: &str, rows: &str, message: &str) {
        let (found, _) = run(words, rows);
        assert!(found.len() == 1 && found[0].contains(message), "{found:?}");
    }

    fn row(key: &str) -> String {
        format!("| `{key}` | equivalent: so |\n")
    }

    #[test]
    fn rows_name_what_is_generated() {
        assert_eq!(run(WORDS, ""), (vec![], 0));
        red(WORDS, &row("words.rs Header::look: fence(Acquire) gone"), "no mutation is");
        red(WORDS, &format!("| `{RELEASE}` | yes |\n"), "the reason is none");
        red(WORDS, &format!("{0}{0}", row(RELEASE)), "two rows");
    }

    #[test]
    fn every_edge_has_one_that_is_killed() {
        // One end is enough, with a note.
        assert_eq!(run(WORDS, &row(RELEASE)), (vec![], 1));
        assert_eq!(run(WORDS, &row(ACQUIRE)), (vec![], 1));
        let (found, notes) = run(WORDS, &format!("{}{}", row(RELEASE), row(ACQUIRE)));
        assert_eq!((found.len(), notes), (2, 0), "{found:?}");
        assert!(found[0].contains(":3: every mutation of [publish]"), "{found:?}");
        // The order of a verb among others is the edge's, too.
        let order = format!("{WORDS}fn f(h: &Header) {{ h.clear(); h.look(); h.clear(); }}");
        let (found, notes) = run(&order, &format!("{}{}", row(RELEASE), row(ACQUIRE)));
        assert_eq!((found.len(), notes), (2, 0), "a look is no store: {found:?}");
        let order = order.replace("h.look()", "h.raise()").replace("fn look", "fn raise");
        let acquire = ACQUIRE.replace("look", "raise");
        assert_eq!(run(&order, &format!("{}{}", row(RELEASE), row(&acquire))), (vec![], 2));
        // A mark on what cannot be weakened.
        let relaxed = WORDS.replace("Ordering::Release", "Ordering::Relaxed");
        red(&relaxed, "", ":3: nothing is mutated at the release end of [publish]");
    }

    #[test]
    fn a_missing_table_or_source_is_red() {
        for files in [&[(DOC, "# M\n")][..], &[("crates/annulus-core/src/lib.rs", "")]] {
            let mut report = Report::default();
            check(&Tree::of(files), &mut report);
            assert_eq!(report.violations.len(), 1);
        }
    }
}
