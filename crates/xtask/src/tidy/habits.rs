//! Tests that run, code that is finished, and no waiting by the clock.

use super::Report;
use super::source::idents;
use super::tree::Tree;

/// No ignored test, no placeholder, no sleep without a reason in a test.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    for source in tree.sources() {
        let path = source.path.as_str();
        for (n, line) in source.numbered() {
            if line.code.contains("#[ignore") {
                report.add(path, n, "a test is ignored", "mend it or take it out");
            }
            for word in ["todo", "unimplemented", "dbg"] {
                if idents(&line.code).any(|(at, w)| w == word && line.code[at + w.len()..].starts_with('!')) {
                    report.add(path, n, format!("`{word}!`"), "finish it");
                }
            }
            let sleeps = line.test && line.code.contains("thread::sleep");
            let is_reason = |c: &str| c.split_once("sleep:").is_some_and(|(_, why)| !why.trim().is_empty());
            if sleeps && !source.said_at(n, is_reason) {
                let fix = "wait for what the test is about, or say why not: `// sleep: <reason>`";
                report.add(path, n, "a test sleeps", fix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    fn bad(path: &str, text: &str) -> Vec<usize> {
        lines(&Tree::of(&[(path, text)]), check).into_iter().map(|(_, n)| n).collect()
    }

    #[test]
    fn nothing_is_left_for_later() {
        let text = "#[ignore = \"slow\"]\nfn f() { todo!() }\nunimplemented!(\"x\");\ndbg!(x);\n// todo!\nlet todo = 1;\n";
        assert_eq!(bad("benches/x.rs", text), [1, 2, 3, 4]);
    }

    #[test]
    fn sleeps_in_tests_have_reasons() {
        let test = "crates/a/tests/it/x.rs";
        assert_eq!(bad(test, "std::thread::sleep(x);\n"), [1]);
        assert_eq!(bad(test, "// sleep: the lease must run out\nthread::sleep(x);\n"), []);
        assert_eq!(bad(test, "thread::sleep(x); // sleep: see above\n"), []);
        assert_eq!(bad(test, "// sleep:\nthread::sleep(x);\n"), [2]);
        assert_eq!(
            bad("crates/a/src/x.rs", "thread::sleep(x);\n#[cfg(test)]\nfn f() { thread::sleep(x) }\n"),
            [3]
        );
    }
}
