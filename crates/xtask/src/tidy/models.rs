//! A file of models says at its head what it shows, and what it cannot.

use super::Report;
use super::source::Source;
use super::tree::Tree;
use crate::loom::MODELS;

/// What a head must have, and what for.
const PARTS: [&str; 2] = ["Shows:", "Cannot show:"];

/// Each has both.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    let mut any = false;
    for source in tree.sources_in("crates/").filter(|s| is_model(&s.path)) {
        any = true;
        let head = head(source);
        for part in PARTS.into_iter().filter(|part| !head.contains(part)) {
            let fix = "say it in the `//!` comment: a proof is worth what one knows of its limits";
            report.add(&source.path, 1, format!("the head of a file of models has no `{part}`"), fix);
        }
    }
    if !any {
        report.add(MODELS, 1, "there are no models", "a model is a .rs file there");
    }
}

/// A file of the folder itself; what lies below is shared by them.
fn is_model(path: &str) -> bool {
    path.strip_prefix(MODELS).is_some_and(|rest| rest.matches('/').count() == 1)
}

/// What the file says before its first line of code.
fn head(source: &Source) -> String {
    let lines = source.lines.iter().take_while(|line| line.code.trim().is_empty());
    lines.map(|line| line.comment.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    fn bad(path: &str, text: &str) -> usize {
        lines(&Tree::of(&[(path, text)]), check).len()
    }

    #[test]
    fn heads_say_both() {
        let model = "crates/annulus-core/tests/x.rs";
        assert_eq!(bad(model, "//! A.\n//!\n//! Shows: b. Cannot\n//! show: c.\n\nuse x;\n"), 0);
        assert_eq!(bad(model, "//! A.\n//! Shows: b.\n\nuse x;\n// Cannot show: c.\n"), 1);
        assert_eq!(bad(model, "//! A.\n\nfn shows() {}\n"), 2);
        assert_eq!(bad("crates/annulus-core/tests/common/mod.rs", "//! A.\n"), 1, "no model at all");
    }
}
