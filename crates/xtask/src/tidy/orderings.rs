//! Orderings and atomic types live inside the verbs.

use super::Report;
use super::source::idents;
use super::tree::Tree;
use crate::loom::MODELS;

/// The files of annulus-core that may name them.
const VERBS: [&str; 3] = [
    "crates/annulus-core/src/meddle.rs",
    "crates/annulus-core/src/sync.rs",
    "crates/annulus-core/src/words.rs",
];

/// More of the last one, whose macro they share.
const MORE_VERBS: &str = "crates/annulus-core/src/words/";

/// Crates whose `src` may name them: the floors, what Linux gives (a futex waits on an atomic), the command, and
/// this one, which only talks about them.
const FREE: [&str; 4] =
    ["crates/annulus-bench/", "crates/annulus-os/", "crates/annulus-cli/", "crates/xtask/"];

/// `AtomicU32` and its like, also those of other crates.
pub(crate) fn is_atomic(word: &str) -> bool {
    word.strip_prefix("Atomic").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// What in a line of code names an ordering or an atomic. `cmp::Ordering` is another word: `Ordering::Less`
/// and its kin are let through, and a bare `Ordering` where the file means `cmp::Ordering`.
fn named(code: &str, compares: bool) -> Option<&str> {
    if code.contains("sync::atomic") {
        return Some("sync::atomic");
    }
    let compared = |at: usize| {
        let after = code[at + "Ordering".len()..].trim_start();
        match after.strip_prefix("::") {
            Some(variant) => ["Less", "Equal", "Greater"].iter().any(|v| variant.starts_with(v)),
            None => compares,
        }
    };
    let bad = |&(at, word): &(usize, &str)| is_atomic(word) || (word == "Ordering" && !compared(at));
    idents(code).find(bad).map(|(_, word)| word)
}

/// Each line outside the verbs is free of them.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    for verb in VERBS.into_iter().filter(|v| tree.source(v).is_none()) {
        report.add(verb, 1, "the file of the verbs is missing", "orderings and atomics live there");
    }
    for source in tree.sources_in("crates/") {
        let path = source.path.as_str();
        let in_core = path.starts_with("crates/annulus-core/");
        let is_model = path.starts_with(MODELS);
        let in_src = path.split('/').nth(2) == Some("src");
        let is_verbs = VERBS.contains(&path) || path.starts_with(MORE_VERBS);
        if is_verbs || FREE.iter().any(|f| path.starts_with(f)) || !(in_src || is_model) {
            continue;
        }
        let compares = source.lines.iter().any(|l| l.code.contains("cmp::Ordering"));
        for (n, line) in source.numbered().filter(|(_, l)| in_core || !l.test) {
            let Some(word) = named(&line.code, compares) else { continue };
            let fix = match (is_model, in_core) {
                (true, _) => "a model calls the shipped verbs, not copies of them",
                (_, true) => "make it a verb in words.rs",
                _ => "atomics are annulus-core's; ask it for a verb, or use std's locks off the hot path",
            };
            report.add(path, n, format!("`{word}` outside the verbs"), fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    fn bad(path: &str, text: &str) -> Vec<usize> {
        let [meddle, sync, words] = VERBS.map(|verb| (verb, "Ordering::SeqCst; AtomicU64"));
        let tree = Tree::of(&[meddle, sync, words, (path, text)]);
        lines(&tree, check).into_iter().map(|(_, n)| n).collect()
    }

    const TEXT: &str = "x(Ordering::Relaxed);\nuse core::sync::atomic::fence;\nlet a: AtomicU32;\nok();\n";

    #[test]
    fn orderings_live_in_the_verbs() {
        for path in
            ["crates/annulus-core/src/ring.rs", "crates/annulus/src/a.rs", "crates/annulus-core/tests/m.rs"]
        {
            assert_eq!(bad(path, TEXT), [1, 2, 3], "{path}");
        }
        for path in [
            "crates/annulus-bench/src/floor.rs",
            "crates/annulus/tests/it/a.rs",
            "benches/benches/a.rs",
            "crates/annulus-core/src/words/more.rs",
        ] {
            assert_eq!(bad(path, TEXT), [], "{path}");
        }
        assert_eq!(lines(&Tree::of(&[]), check).len(), VERBS.len());
    }

    #[test]
    fn comparisons_are_not_orderings() {
        let text = "use core::cmp::Ordering;\nfn f() -> Ordering { Ordering::Less }\nx(Ordering::Acquire);\n";
        assert_eq!(bad("crates/annulus-core/src/ring.rs", text), [3]);
        assert_eq!(bad("crates/annulus-core/src/ring.rs", "use crate::sync::Ordering;\n"), [1]);
    }

    #[test]
    fn tests_beside_the_code_are_free_except_in_core() {
        let text = "#[cfg(test)]\nmod tests {\n    use std::sync::atomic::AtomicBool;\n}\n";
        assert_eq!(bad("crates/annulus-os/src/x.rs", text), []);
        assert_eq!(bad("crates/annulus-core/src/x.rs", text), [3]);
    }
}
