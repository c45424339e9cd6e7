//! What does not belong in git.

use super::Report;
use super::tree::Tree;

const MAX_BYTES: u64 = 256 << 10;

/// No binary, no big file, no generated report.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    for (path, file) in tree.files() {
        let is_lock = path == "Cargo.lock" || path.ends_with("/Cargo.lock");
        if file.binary {
            report.add(path, 1, "a binary file", "write it as text (hex), or make it where it is used");
        }
        if file.len > MAX_BYTES && !is_lock {
            let what = format!("{} bytes, more than {MAX_BYTES}", file.len);
            report.add(path, 1, what, "generate it, or shorten it");
        }
        let ends = |list: &[&str]| list.iter().any(|e| path.ends_with(e));
        if ends(&[".hgrm", ".hlog"]) || (path.starts_with("docs/") && ends(&[".svg", ".json"])) {
            report.add(path, 1, "a generated report", "say in the docs how to make it, and leave it out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    #[test]
    fn git_holds_text_that_people_wrote() {
        let big = "x".repeat((256 << 10) + 1);
        let tree = Tree::of(&[
            ("a.bin", "x\0y"),
            ("big.txt", &big),
            ("Cargo.lock", &big),
            ("docs/curve.svg", ""),
            ("docs/rows.json", ""),
            ("run.hgrm", ""),
            ("fine.json", "{}"),
        ]);
        let paths: Vec<String> = lines(&tree, check).into_iter().map(|(p, _)| p).collect();
        assert_eq!(paths, ["a.bin", "big.txt", "docs/curve.svg", "docs/rows.json", "run.hgrm"]);
    }

    #[test]
    fn a_late_nul_is_a_matter_of_taste() {
        let text = format!("{}\0", "x".repeat(8 << 10));
        assert_eq!(lines(&Tree::of(&[("a", &text)]), check), []);
    }
}
