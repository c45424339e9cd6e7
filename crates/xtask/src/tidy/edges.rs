//! Each happens-before edge: a tag at both ends in the code, a row in `docs/protocol.md`, a model that fails
//! without it.

use super::Report;
use super::source::{Source, idents};
use super::tree::Tree;
use crate::loom::MODELS;
use std::collections::BTreeMap;

const DOC: &str = "docs/protocol.md";
const CORE: &str = "crates/annulus-core/src/";
const COLUMNS: [&str; 5] = ["tag", "release end", "acquire end", "what it protects", "model"];

/// Where an edge's ends are marked: path and line.
#[derive(Default)]
struct Ends {
    release: Option<(String, usize)>,
    acquire: Option<(String, usize)>,
}

/// A row of the table.
struct Row {
    line: usize,
    cells: Vec<String>,
}

/// The table and the marks agree, and every model exists.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    let ends = marks(tree, report);
    let Some(text) = tree.text(DOC) else {
        report.add(DOC, 1, "the protocol's page is missing", "write it, with a table under `## Edges`");
        return;
    };
    let rows = table(text, report);
    for (tag, ends) in &ends {
        let Some((path, line)) = ends.release.as_ref().or(ends.acquire.as_ref()) else { continue };
        for (end, is_there) in [("release", ends.release.is_some()), ("acquire", ends.acquire.is_some())] {
            if !is_there {
                let fix = format!("mark where it is: `// [{tag}] {end}: ..`");
                report.add(path, *line, format!("the edge [{tag}] has no {end} end"), fix);
            }
        }
        if !rows.contains_key(tag) {
            let what = format!("the edge [{tag}] has no row");
            report.add(path, *line, what, format!("add it to the table under `## Edges` in {DOC}"));
        }
    }
    for (tag, row) in &rows {
        if !ends.contains_key(tag) {
            let fix = format!("mark its ends in {CORE}words.rs, or take the row out");
            report.add(DOC, row.line, format!("no code is marked [{tag}]"), fix);
        }
        if let Some(empty) = row.cells.iter().position(String::is_empty) {
            let what = format!("the row of [{tag}] says nothing under `{}`", COLUMNS[empty]);
            report.add(DOC, row.line, what, "fill it in");
        } else {
            models(tree, tag, row, report);
        }
    }
}

/// Every `[tag] release` and `[tag] acquire` in a comment of annulus-core.
fn marks(tree: &Tree, report: &mut Report) -> BTreeMap<String, Ends> {
    let mut found: BTreeMap<String, Ends> = BTreeMap::new();
    for source in tree.sources_in("crates/").filter(|s| s.path.split('/').nth(2) == Some("src")) {
        let in_core = source.path.starts_with(CORE);
        // This crate only talks about marks.
        if source.path.starts_with("crates/xtask/") {
            continue;
        }
        for (line, tag, is_release) in marks_of(source) {
            if !in_core {
                let what = format!("[{tag}] is marked outside annulus-core");
                report.add(&source.path, line, what, "edges are verbs of annulus-core's words.rs");
                continue;
            }
            let ends = found.entry(tag).or_default();
            let end = if is_release { &mut ends.release } else { &mut ends.acquire };
            end.get_or_insert((source.path.clone(), line));
        }
    }
    found
}

/// The marks of one file: line, tag, and whether it is a release end.
pub(super) fn marks_of(source: &Source) -> Vec<(usize, String, bool)> {
    let mut found = Vec::new();
    for (n, line) in source.numbered() {
        for (open, _) in line.comment.match_indices('[') {
            let Some((tag, rest)) = line.comment[open + 1..].split_once(']') else { continue };
            let is_tag = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if tag.is_empty() || !tag.chars().all(is_tag) || !rest.starts_with(' ') {
                continue;
            }
            match idents(rest).next() {
                Some((1, "release")) => found.push((n, tag.to_owned(), true)),
                Some((1, "acquire")) => found.push((n, tag.to_owned(), false)),
                _ => {}
            }
        }
    }
    found
}

/// The rows under `## Edges`, by tag.
fn table(text: &str, report: &mut Report) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let mut lines = text.lines().enumerate().map(|(i, l)| (i + 1, l.trim()));
    let Some((heading, _)) = lines.find(|(_, l)| *l == "## Edges") else {
        report.add(DOC, 1, "there is no heading `## Edges`", "write it, and the table of edges below it");
        return rows;
    };
    let section = lines.take_while(|(_, l)| !l.starts_with("## "));
    let mut table = section.filter(|(_, l)| l.starts_with('|'));
    let head = table.next().map(|(n, l)| (n, cells(l)));
    if !head.as_ref().is_some_and(|(_, c)| c.iter().map(|c| c.to_lowercase()).eq(COLUMNS)) {
        let line = head.map_or(heading, |(n, _)| n);
        let fix = format!("its columns are: {}", COLUMNS.join(" | "));
        report.add(DOC, line, "the table of edges is missing or has other columns", fix);
        return rows;
    }
    for (line, text) in table {
        let cells = cells(text);
        if cells.iter().all(|c| c.chars().all(|c| c == '-' || c == ':')) {
            continue;
        }
        let tag = cells[0].trim_matches(['`', '[', ']']).to_owned();
        if cells.len() != COLUMNS.len() {
            let what = format!("the row of [{tag}] has {} cells, not {}", cells.len(), COLUMNS.len());
            report.add(DOC, line, what, "write a `|` inside a cell as `\\|`");
        } else if rows.insert(tag.clone(), Row { line, cells }).is_some() {
            report.add(DOC, line, format!("[{tag}] has two rows"), "make them one");
        }
    }
    rows
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.strip_prefix('|').unwrap_or(line);
    let inner = inner.strip_suffix('|').unwrap_or(inner).replace("\\|", "\u{0}");
    inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// `file.rs::test_name`, one or several; or `pending: <which>`.
fn models(tree: &Tree, tag: &str, row: &Row, report: &mut Report) {
    let cell = row.cells[COLUMNS.len() - 1].as_str();
    if let Some(which) = cell.trim_matches('`').strip_prefix("pending:") {
        if which.trim().is_empty() {
            report.add(
                DOC,
                row.line,
                format!("the pending model of [{tag}] is not named"),
                "say which it will be",
            );
        } else {
            report.note(DOC, row.line, format!("the model of [{tag}] is pending: {}", which.trim()));
        }
        return;
    }
    for name in cell.split(',').map(|n| n.trim().trim_matches('`')) {
        let Some((file, test)) = name.split_once("::") else {
            let what = format!("the model of [{tag}], {name:?}, is not a `file.rs::test_name`");
            report.add(DOC, row.line, what, "name a test in annulus-core/tests, or say `pending: <which>`");
            continue;
        };
        let path = format!("{MODELS}/{file}");
        let is_there = tree.source(&path).is_some_and(|source| {
            source.lines.iter().any(|l| {
                let words: Vec<&str> = idents(&l.code).map(|(_, w)| w).collect();
                words.windows(2).any(|w| w == ["fn", test])
            })
        });
        if !is_there {
            let what = format!("the model of [{tag}], {name}, does not exist");
            report.add(DOC, row.line, what, format!("write `fn {test}` in {path}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# P\n## Edges\n\n| tag | release end | acquire end | what it protects | model |\n|---|:--|---|---|---|\n";
    const WORDS: &str = "/// a\n// [publish] release: x\nf();\n// [publish] acquire: y\n";

    fn run(words: &str, rows: &str) -> (Vec<String>, usize) {
        let doc = format!("{HEAD}{rows}\n## Next\n| a | b |\n");
        let tree = Tree::of(&[
            (DOC, &doc),
            ("crates/annulus-core/src/words.rs", words),
            ("crates/annulus-core/tests/wrap.rs", "#[test]\nfn over_a_wrap() {}\n"),
        ]);
        let mut report = Report::default();
        check(&tree, &mut report);
        (report.violations.iter().map(|v| format!("{}: {}", v.line, v.what)).collect(), report.notes.len())
    }

    fn red(words: &str, rows: &str, message: &str) {
        let (violations, _) = run(words, rows);
        assert!(violations.len() == 1 && violations[0].contains(message), "{violations:?}");
    }

    #[test]
    fn a_whole_edge_is_green() {
        let row = "| `publish` | a \\| b | c | d | `wrap.rs::over_a_wrap`, `wrap.rs::over_a_wrap` |";
        assert_eq!(run(WORDS, row), (vec![], 0));
        assert_eq!(run(WORDS, "| [publish] | a | b | c | pending: groups |"), (vec![], 1));
    }

    #[test]
    fn every_way_to_be_incomplete_is_red() {
        let row = "| publish | a | b | c | wrap.rs::over_a_wrap |";
        red("// [publish] release\n", row, "no acquire end");
        red("// [publish] acquire\n", row, "no release end");
        red("// [publish] acquire\n// [publish] releases\n", row, "no release end");
        red(WORDS, "", "[publish] has no row");
        red("", row, "no code is marked [publish]");
        red(WORDS, "| publish | a |  | c | pending: x |", "says nothing under `acquire end`");
        red(WORDS, "| publish | a | b | c | wrap.rs::over |", "does not exist");
        red(WORDS, "| publish | a | b | c | other.rs::over_a_wrap |", "does not exist");
        red(WORDS, "| publish | a | b | c | yes |", "is not a `file.rs::test_name`");
        red(WORDS, "| publish | a | b | c | pending: |", "not named");
        red(WORDS, &format!("{row}\n{row}"), "two rows");
        let (violations, _) = run(WORDS, "| publish | a | b | c |");
        assert!(violations.iter().any(|v| v.contains("4 cells")), "{violations:?}");
    }

    #[test]
    fn a_missing_page_or_table_is_red() {
        for doc in ["# P\n", "## Edges\n", "## Edges\n| tag | model |\n"] {
            let mut report = Report::default();
            check(&Tree::of(&[(DOC, doc)]), &mut report);
            assert_eq!(report.violations.len(), 1, "{doc}");
        }
        let mut report = Report::default();
        check(&Tree::of(&[]), &mut report);
        assert_eq!(report.violations[0].path, DOC);
    }

    #[test]
    fn marks_belong_to_core() {
        let tree = Tree::of(&[(DOC, HEAD), ("crates/annulus/src/x.rs", "// [wake] release\n")]);
        let mut report = Report::default();
        check(&tree, &mut report);
        assert_eq!(
            (report.violations[0].path.as_str(), report.violations[0].line),
            ("crates/annulus/src/x.rs", 1)
        );
    }
}
