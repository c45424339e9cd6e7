//! A file is one idea. A long one says why it is long.

use super::Report;
use super::places::ADAPTERS;
use super::tree::Tree;

const MAX: usize = 600;
const MAX_ADAPTER: usize = 300;
/// The reason stands within so many lines of the top.
const HEAD: usize = 40;

/// Lines are counted without the file's own test module.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    for source in tree.sources() {
        let max = if source.path.starts_with(ADAPTERS) { MAX_ADAPTER } else { MAX };
        // In a file that is all tests, every line counts.
        let own = source.lines.iter().filter(|l| !l.test).count();
        let count = if own == 0 { source.lines.len() } else { own };
        let reasoned = source
            .lines
            .iter()
            .take(HEAD)
            .any(|l| l.comment.split_once("size:").is_some_and(|(_, reason)| !reason.trim().is_empty()));
        if count > max && !reasoned {
            let fix = format!("split it, or write `// size: <reason>` in its first {HEAD} lines");
            report.add(&source.path, max + 1, format!("{count} lines, more than {max}"), fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    fn long(path: &str, head: &str, n: usize, tail: &str) -> usize {
        let text = format!("{head}{}{tail}", "x();\n".repeat(n));
        lines(&Tree::of(&[(path, &text)]), check).len()
    }

    #[test]
    fn long_files_give_a_reason() {
        assert_eq!(long("crates/a/src/x.rs", "", 600, ""), 0);
        assert_eq!(long("crates/a/src/x.rs", "", 601, ""), 1);
        assert_eq!(long("crates/a/tests/x.rs", "", 601, ""), 1);
        assert_eq!(long("crates/a/src/x.rs", "// size: one table\n", 900, ""), 0);
        assert_eq!(long("crates/a/src/x.rs", "// size:\n", 900, ""), 1);
        assert_eq!(long("crates/a/src/x.rs", "", 900, "// size: too late\n"), 1);
        assert_eq!(long("crates/annulus/src/adapters/pipe.rs", "", 301, ""), 1);
    }

    #[test]
    fn tests_do_not_count() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "y();\n".repeat(500));
        assert_eq!(long("crates/a/src/x.rs", "", 600, &tests), 0);
    }
}
