//! The source half of the place table: which names may stand in which crate.

use super::Report;
use super::orderings::is_atomic;
use super::source::{Line, Source, has_ident, idents, names_crate};
use super::tree::Tree;

/// The yardstick, which uses nothing of ours.
const FLOOR: &str = "crates/annulus-bench/src/floor.rs";
/// At most so many lines, all told.
const FLOOR_LINES: usize = 120;

/// The folder of the adapters.
pub(crate) const ADAPTERS: &str = "crates/annulus/src/adapters/";

/// Names keep their places.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    for source in tree.sources_in("crates/annulus-core/src/") {
        for name in ["std", "alloc"] {
            let fix = "use `core`, or put it under cfg(test) or cfg(loom)";
            each(
                source,
                |l| !l.model && names_crate(&l.code, name),
                &format!("`{name}` in annulus-core"),
                fix,
                report,
            );
        }
    }
    for source in tree.sources_in("crates/annulus/src/") {
        for name in ["rustix", "libc"] {
            let fix = "every system call is in annulus-os";
            each(
                source,
                |l| !l.test && names_crate(&l.code, name),
                &format!("`{name}::` in annulus"),
                fix,
                report,
            );
        }
        error_enums(source, report);
    }
    for source in tree.sources_in(ADAPTERS) {
        let fix = "an adapter uses only the public API of annulus";
        let mut ban = |what: &str, bad: &dyn Fn(&str) -> bool| {
            each(source, |l| !l.test && bad(&l.code), &format!("{what} in an adapter"), fix, report);
        };
        for word in ["unsafe", "annulus_core", "annulus_os"] {
            ban(&format!("`{word}`"), &|code| has_ident(code, word));
        }
        ban("an atomic type", &|code| idents(code).any(|(_, w)| is_atomic(w)));
        ban("a thread of its own", &|code| {
            code.contains("thread::spawn")
                || code.contains("thread::Builder")
                || code.contains("thread::scope")
        });
    }
}

fn each(source: &Source, bad: impl Fn(&Line) -> bool, what: &str, fix: &str, report: &mut Report) {
    for (n, _) in source.numbered().filter(|(_, l)| bad(l)) {
        report.add(&source.path, n, what, fix);
    }
}

/// Every public error enum may grow.
fn error_enums(source: &Source, report: &mut Report) {
    for (n, line) in source.numbered() {
        let Some(rest) = line.code.trim_start().strip_prefix("pub enum ") else { continue };
        let name = idents(rest).next().map_or("", |(_, w)| w);
        let attributes = source.lines[..n - 1].iter().rev().map(|l| l.code.trim());
        let open = attributes
            .take_while(|code| code.is_empty() || code.starts_with('#') || code.ends_with(']'))
            .any(|code| code.contains("non_exhaustive"));
        if name.ends_with("Error") && !open {
            report.add(&source.path, n, format!("the public enum {name} is closed"), "add #[non_exhaustive]");
        }
    }
}

/// The floor is short and owes us nothing.
pub(crate) fn floor(tree: &Tree, report: &mut Report) {
    let Some(source) = tree.source(FLOOR) else {
        report.add(FLOOR, 1, "the floor is missing", "every figure stands beside a floor of its own file");
        return;
    };
    if source.lines.len() > FLOOR_LINES {
        let what = format!("{} lines, more than {FLOOR_LINES}", source.lines.len());
        report.add(
            FLOOR,
            FLOOR_LINES + 1,
            what,
            "the floor is what anybody can check by reading; shorten it",
        );
    }
    for (n, line) in source.numbered() {
        let ours = |w: &str| w.starts_with("annulus") || w == "crate" || w == "super";
        // `pub(crate)` opens the door outwards; only paths lead in.
        let code = line.code.replace("pub(crate)", "").replace("pub(super)", "");
        if let Some((_, word)) = idents(&code).find(|(_, w)| ours(w)) {
            report.add(FLOOR, n, format!("`{word}` in the floor"), "the floor uses nothing of ours");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    fn bad_lines(path: &str, text: &str) -> Vec<usize> {
        lines(&Tree::of(&[(path, text)]), check).into_iter().map(|(_, n)| n).collect()
    }

    #[test]
    fn core_has_no_std() {
        let core = |text: &str| bad_lines("crates/annulus-core/src/x.rs", text);
        assert_eq!(core("use std::fs;\nextern crate alloc;\n::std::process::abort()\n"), [1, 2, 3]);
        assert_eq!(core("//! std::fs\nuse core::alloc::Layout;\n#[cfg(test)]\nmod t { use std::fs; }\n"), []);
        assert_eq!(core("#[cfg(loom)]\nuse std::vec::Vec;\n"), []);
    }

    #[test]
    fn annulus_makes_no_system_call() {
        let text = "use rustix::fs;\nlet x = libc::getpid();\n// libc::x\n";
        assert_eq!(bad_lines("crates/annulus/src/x.rs", text), [1, 2]);
        assert_eq!(bad_lines("crates/annulus-os/src/x.rs", text), []);
    }

    #[test]
    fn error_enums_can_grow() {
        let open = "/// x\n#[derive(Debug)]\n#[non_exhaustive]\n/// y\npub enum SendError {}\n";
        assert_eq!(bad_lines("crates/annulus/src/x.rs", open), []);
        let closed = "#[non_exhaustive]\npub enum AError {}\n#[derive(Debug)]\npub enum SendError {}\n";
        assert_eq!(bad_lines("crates/annulus/src/x.rs", closed), [4]);
    }

    #[test]
    fn adapters_stay_outside() {
        let text = "unsafe { x };\nuse annulus_os::x;\nuse annulus_core::y;\nlet a: AtomicBool;\nthread::spawn(f);\nok();\n";
        assert_eq!(bad_lines("crates/annulus/src/adapters/pipe.rs", text).len(), 5);
        assert_eq!(bad_lines("crates/annulus/src/pipe.rs", text), []);
    }

    #[test]
    fn the_floor_is_its_own() {
        let floors = |text: &str| lines(&Tree::of(&[(FLOOR, text)]), floor).len();
        assert_eq!(floors("//! Nothing of annulus.\npub(crate) fn f() {}\n"), 0);
        assert_eq!(floors("use crate::pin;\nuse super::x;\nannulus::y();\n"), 3);
        assert_eq!((floors(&"\n".repeat(120)), floors(&"\n".repeat(121))), (0, 1));
        assert_eq!(lines(&Tree::of(&[]), floor).len(), 1);
    }
}
