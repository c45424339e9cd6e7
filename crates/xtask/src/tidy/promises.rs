//! What users are promised is tested: each test that the page of promises names is there.

use super::Report;
use super::tree::Tree;

const PAGE: &str = "docs/promises.md";

/// Where the tests are that stand behind such a word; the first stands behind none.
const PLACES: [(&str, &str); 5] = [
    ("", "crates/annulus/tests/it"),
    ("async: ", "crates/annulus/tests/asynchronous"),
    ("cli: ", "crates/annulus-cli/tests/command"),
    ("os: ", "crates/annulus-os/tests/it"),
    ("core loom: ", "crates/annulus-core/tests"),
];

/// Each name of the page is that of a test, and each row of its tables has one.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    let Some(page) = tree.text(PAGE) else {
        report.add(
            PAGE,
            1,
            "the page of promises is missing",
            "write what users are promised, and which test shows it",
        );
        return;
    };
    for (index, line) in page.lines().enumerate() {
        let names: Vec<&str> = line.split('`').skip(1).step_by(2).filter(|name| is_name(name)).collect();
        for name in &names {
            if !is_there(tree, name) {
                report.add(PAGE, index + 1, format!("there is no test `{name}`"), "name one that shows it");
            }
        }
        let is_row = line.starts_with("| ") && !line.ends_with("| test |");
        if is_row && names.is_empty() && !line.contains("`xtask: ") && !line.contains("later") {
            report.add(PAGE, index + 1, "a promise without a test", "name the test that shows it");
        }
    }
}

/// Whether it is a test's name: modules, in a file each, and a function.
fn is_name(text: &str) -> bool {
    let (_, path) = split(text);
    path.contains("::")
        && path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_:".contains(&b))
}

/// Where it is, and its path there.
fn split(name: &str) -> (&'static str, &str) {
    let found = PLACES.iter().rev().find_map(|(word, place)| Some((*place, name.strip_prefix(word)?)));
    found.unwrap_or((PLACES[0].1, name))
}

fn is_there(tree: &Tree, name: &str) -> bool {
    let (place, path) = split(name);
    let Some((modules, function)) = path.rsplit_once("::") else { return false };
    let file = format!("{place}/{}.rs", modules.replace("::", "/"));
    let head = format!("fn {function}(");
    tree.source(&file).is_some_and(|source| source.lines.iter().any(|line| line.code.contains(&head)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    const TEST: (&str, &str) = ("crates/annulus/tests/it/procs/death.rs", "#[test]\nfn killed() {}\n");

    fn faults(page: &str) -> Vec<usize> {
        let tree = Tree::of(&[("docs/promises.md", page), TEST]);
        lines(&tree, check).into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn tests_that_are_named_are_there() {
        let head = "| when | what happens | test |\n|---|---|---|\n";
        assert_eq!(faults(&format!("{head}| a death | `Closed` | `procs::death::killed` |\n")), [0; 0]);
        assert_eq!(faults(&format!("{head}| a death | | `procs::death::maimed` |\n")), [3]);
        assert_eq!(faults(&format!("{head}| a death | | `cli: procs::death::killed` |\n")), [3]);
        assert_eq!(faults(&format!("{head}| a death | `RecvError::Closed` | |\n")), [3]);
        assert_eq!(faults(&format!("{head}| a death | | `xtask: torture` |\n")), [0; 0]);
    }

    #[test]
    fn the_page_is_there() {
        assert_eq!(lines(&Tree::of(&[TEST]), check), [("docs/promises.md".to_owned(), 1)]);
    }
}
