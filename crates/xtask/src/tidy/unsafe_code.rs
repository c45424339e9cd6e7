//! Where `unsafe` may be, can be grepped: one line at the top of the file, and only where it is needed.
//!
//! The compiler sees to it that unsafe code has such a line above it; this is the reverse.

use super::Report;
use super::source::{Source, has_ident};
use super::tree::Tree;

/// Every allowance is the file's own, first thing in it, and used.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    for source in tree.sources() {
        let path = source.path.as_str();
        let allows = source.numbered().filter(|(_, l)| !l.test && allows(&l.code));
        for (n, line) in allows {
            let fault = if !line.code.trim_start().starts_with("#![") || !is_top(source, n) {
                Some((
                    "unsafe code is allowed inside the file",
                    "allow it once, at the top: #![allow(unsafe_code)]",
                ))
            } else if let Some(child) = child(source) {
                let what =
                    format!("unsafe code is allowed in the file of `mod {child};`, and so in that file too");
                report.add(path, n, what, "move what is unsafe to a file without child modules");
                None
            } else if !source.lines.iter().any(|l| has_ident(&l.code, "unsafe")) {
                Some(("unsafe code is allowed, and there is none", "take the line out"))
            } else {
                None
            };
            if let Some((what, fix)) = fault {
                report.add(path, n, what, fix);
            }
        }
    }
}

fn allows(code: &str) -> bool {
    code.contains('#')
        && has_ident(code, "unsafe_code")
        && (has_ident(code, "allow") || has_ident(code, "expect") || has_ident(code, "warn"))
}

/// Only comments and other inner attributes stand above line `n`.
fn is_top(source: &Source, n: usize) -> bool {
    let above = source.lines[..n - 1].iter().map(|l| l.code.trim());
    above.filter(|code| !code.is_empty()).all(|code| code.starts_with("#!["))
}

/// A module in a file of its own, which would inherit the allowance.
fn child(source: &Source) -> Option<&str> {
    source.lines.iter().filter(|l| !l.test).find_map(|l| {
        let (before, after) = l.code.split_once("mod ")?;
        let is_mod = before.trim().is_empty() || before.trim_start().starts_with("pub");
        after.trim_end().strip_suffix(';').filter(|_| is_mod)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    fn bad(text: &str) -> Vec<usize> {
        lines(&Tree::of(&[("crates/a/src/x.rs", text)]), check).into_iter().map(|(_, n)| n).collect()
    }

    #[test]
    fn an_allowance_is_at_the_top_and_used() {
        assert_eq!(bad("//! x\n#![allow(unsafe_code)]\nfn f() { unsafe { g() } }\n"), []);
        assert_eq!(bad("#![no_std]\n#![allow(dead_code, unsafe_code)]\nunsafe impl Send for X {}\n"), []);
        assert_eq!(bad("//! unsafe\n#![allow(unsafe_code)]\nfn f() {}\n"), [2]);
        assert_eq!(bad("fn f() {}\n#[allow(unsafe_code)]\nfn g() { unsafe { h() } }\n"), [2]);
        assert_eq!(bad("mod x {\n    #![allow(unsafe_code)]\n    unsafe fn g() {}\n}\n"), [2]);
        assert_eq!(bad("#![deny(unsafe_code)]\n"), []);
    }

    #[test]
    fn children_do_not_inherit() {
        assert_eq!(bad("#![allow(unsafe_code)]\npub(crate) mod floor;\nunsafe fn g() {}\n"), [1]);
        assert_eq!(bad("#![allow(unsafe_code)]\nunsafe fn g() {}\n#[cfg(test)]\nmod tests;\n"), []);
    }

    #[test]
    fn tests_are_free() {
        assert_eq!(bad("#[cfg(test)]\n#[allow(unsafe_code)]\nmod tests {\n    unsafe fn g() {}\n}\n"), []);
        let tree = Tree::of(&[("crates/a/tests/it/main.rs", "#![allow(unsafe_code)]\nmod procs;\n")]);
        assert_eq!(lines(&tree, check), []);
    }
}
