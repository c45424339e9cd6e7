//! A Rust file as the checks see it: code without comments and strings, comments by line, and which lines
//! exist only in tests, only under loom, or only where fault points are.
//!
//! This is a lexer, not a parser. It knows nested comments, all kinds of strings, and lifetimes; the extent
//! of a `#[cfg(..)]` is found by counting brackets, which is enough for code that rustfmt has seen.

/// One line of a file.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The code, with the insides of comments and of string and character literals blanked.
    pub(crate) code: String,
    /// The text of the comments.
    pub(crate) comment: String,
    /// Exists only under `cfg(test)`.
    pub(crate) test: bool,
    /// Exists only under `cfg(test)`, `cfg(loom)`, `cfg(annulus_faults)` or `cfg(fuzzing)`.
    pub(crate) model: bool,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root, with `/` between.
    pub(crate) path: String,
    /// Its lines in order.
    pub(crate) lines: Vec<Line>,
}

impl Source {
    /// Reads `text`.
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let (code, comments) = split(text);
        let test = mask(&code, &["test"]);
        let model = mask(&code, &["test", "loom", "annulus_faults", "fuzzing"]);
        let mut lines = Vec::new();
        let mut at = 0;
        for (code, comment) in code.split('\n').zip(comments.split('\n')) {
            // A line belongs to what its first visible character belongs to.
            let first = at + code.find(|c: char| !c.is_whitespace()).unwrap_or(0);
            let (code_len, path_is_test) = (code.len(), is_test_path(path));
            lines.push(Line {
                code: code.to_owned(),
                comment: comment.trim().to_owned(),
                test: path_is_test || test.get(first).copied().unwrap_or(false),
                model: path_is_test || model.get(first).copied().unwrap_or(false),
            });
            at += code_len + 1;
        }
        if text.ends_with('\n') {
            lines.pop();
        }
        Source { path: path.to_owned(), lines }
    }

    /// Lines with their numbers, from 1.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(i, line)| (i + 1, line))
    }

    /// Whether a comment on line `n`, or one that stands alone on the line above it, satisfies `wanted`.
    pub(crate) fn said_at(&self, n: usize, wanted: impl Fn(&str) -> bool) -> bool {
        let above = n.checked_sub(2).map(|i| &self.lines[i]).filter(|l| l.code.trim().is_empty());
        wanted(&self.lines[n - 1].comment) || above.is_some_and(|l| wanted(&l.comment))
    }
}

/// A file of tests: a `tests` folder of a crate, or a `tests.rs` that a `#[cfg(test)] mod tests;` names.
pub(crate) fn is_test_path(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The identifiers of a line of code, with where each begins.
pub(crate) fn idents(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(is_ident)?;
        let end = code[start..].find(|c| !is_ident(c)).map_or(code.len(), |n| start + n);
        rest = end;
        Some((start, &code[start..end]))
    })
}

/// Whether the identifier `word` stands in the code.
pub(crate) fn has_ident(code: &str, word: &str) -> bool {
    idents(code).any(|(_, w)| w == word)
}

/// Whether a path in the code starts in crate `krate`: `std::x` and `::std::x` do, `core::std::x` does not.
pub(crate) fn names_crate(code: &str, krate: &str) -> bool {
    idents(code).any(|(at, word)| {
        let before = code[..at].trim_end();
        let inside = before.strip_suffix("::").is_some_and(|b| b.ends_with(|c| is_ident(c) || c == '>'));
        word == krate
            && !inside
            && (code[at + word.len()..].trim_start().starts_with("::") || before.ends_with("extern crate"))
    })
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Code with comments and literals blanked, and comments with the code blanked; newlines stay in both.
fn split(text: &str) -> (String, String) {
    let (mut code, mut comment) = (String::new(), String::new());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after_ident = code.ends_with(is_ident);
        let (len, is_comment) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with("/*") {
            (block_comment(rest), true)
        } else {
            (literal(rest, after_ident), false)
        };
        if len == 0 {
            code.push(c);
            comment.push(if c == '\n' { '\n' } else { ' ' });
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (token, tail) = rest.split_at(len);
        let marks: &[char] = if is_comment { &['/', '*', '!'] } else { &[] };
        for c in token.chars() {
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if c == '"' && !is_comment { c } else { blank });
            comment.push(if is_comment && !marks.contains(&c) { c } else { blank });
        }
        rest = tail;
    }
    (code, comment)
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character literal that `text` starts with; 0 if it starts with none.
fn literal(text: &str, after_ident: bool) -> usize {
    let prefix = if after_ident { 0 } else { text.find(|c| !"bcr".contains(c)).unwrap_or(0) };
    if prefix > 2 {
        return 0;
    }
    let body = &text[prefix..];
    if text[..prefix].ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        if body[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let inside = prefix + hashes + 1;
            return text[inside..].find(&close).map_or(text.len(), |n| inside + n + close.len());
        }
        return 0;
    }
    let mut chars = body.char_indices();
    match chars.next() {
        Some((_, '"')) => {
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' => drop(chars.next()),
                    '"' => return prefix + at + 1,
                    _ => {}
                }
            }
            text.len()
        }
        // 'a' and '\n' are characters; 'a and 'static are lifetimes.
        Some((_, '\'')) => match (chars.next(), chars.next()) {
            (Some((_, '\\')), Some(_)) => chars.find(|x| x.1 == '\'').map_or(0, |(at, _)| prefix + at + 1),
            (Some(_), Some((at, '\''))) => prefix + at + 1,
            _ => 0,
        },
        _ => 0,
    }
}

/// For each byte of `code`: does it exist only when one of `names` is set?
fn mask(code: &str, names: &[&str]) -> Vec<bool> {
    let mut mask = vec![false; code.len()];
    for (open, start_len) in [("#[cfg(", 5), ("#![cfg(", 6)] {
        for (at, _) in code.match_indices(open) {
            let start = at + start_len;
            let end = start + group(&code[start..]);
            if requires(&code[start + 1..end.max(start + 2) - 1], names) {
                let past = if start_len == 5 { item(code, end + 1) } else { code.len() };
                mask[at..past.min(code.len())].fill(true);
            }
        }
    }
    mask
}

/// Whether a cfg predicate can hold only when one of `names` is set.
fn requires(predicate: &str, names: &[&str]) -> bool {
    let predicate = predicate.trim();
    let arms = |inner: &str| {
        let (mut depth, mut from, mut arms) = (0, 0, Vec::new());
        for (at, c) in inner.char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                ',' if depth == 0 => {
                    arms.push(requires(&inner[from..at], names));
                    from = at + 1;
                }
                _ => {}
            }
        }
        if !inner[from..].trim().is_empty() {
            arms.push(requires(&inner[from..], names));
        }
        arms
    };
    let inner = |word| predicate.strip_prefix(word).and_then(|p: &str| p.strip_suffix(')'));
    if let Some(inner) = inner("all(") {
        return arms(inner).contains(&true);
    }
    if let Some(inner) = inner("any(") {
        return !arms(inner).contains(&false);
    }
    names.contains(&predicate)
}

/// The length of the bracketed group that `code` starts with.
fn group(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth <= 0 {
            return at + c.len_utf8();
        }
    }
    code.len()
}

/// Where the item, field, arm or statement that begins at `at` (after an attribute) ends.
fn item(code: &str, mut at: usize) -> usize {
    const ITEMS: [&str; 16] = [
        "fn",
        "mod",
        "impl",
        "struct",
        "enum",
        "union",
        "use",
        "const",
        "static",
        "unsafe",
        "extern",
        "type",
        "trait",
        "macro_rules",
        "async",
        "let",
    ];
    let skip = |at: usize| at + code[at..].len() - code[at..].trim_start().len();
    at = skip(at.min(code.len()));
    while code[at..].starts_with("#[") {
        at = skip(at + 1 + group(&code[at + 1..]));
    }
    // In an item a comma separates generics; elsewhere it ends the field or the arm.
    let is_item = idents(&code[at..])
        .map(|(_, w)| w)
        .find(|w| !["pub", "crate", "super", "in"].contains(w))
        .is_some_and(|w| ITEMS.contains(&w));
    let mut depth = 0;
    for (n, c) in code[at..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        let ends = depth == 0 && (c == '}' || c == ';' || (c == ',' && !is_item));
        if ends {
            return at + n + 1;
        }
        if depth < 0 {
            return at + n;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("x.rs", text).lines.iter().map(|l| l.code.trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn comments_and_literals_are_blank() {
        assert_eq!(code("let a = 1; // Ordering::X"), "let a = 1;\n");
        assert_eq!(code("a /* x /* y */ \n z */ b"), "a\n      b\n");
        assert_eq!(code("f(\"std::\", 'a', '\\'', b\"q\");"), "f(\"     \",    ,     ,  \" \");\n");
        assert_eq!(code("g(r#\"todo!(\" \"#, x)"), "g(  \"      \" \" , x)\n");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}\n");
        assert!(!code("br\"dbg!\"; x").contains("dbg"));
        assert!(!code("r##\"a \"# todo!() \"##").contains("todo"));
        assert!(code("let bar = 'b'; todo!()").contains("todo!()"));
    }

    #[test]
    fn comments_are_kept_by_line() {
        let s = Source::new("x.rs", "//! a\nx; // [publish] release: why\n/* b\n c */ y\n");
        let comments: Vec<_> = s.lines.iter().map(|l| l.comment.as_str()).collect();
        assert_eq!(comments, ["a", "[publish] release: why", "b", "c"]);
        assert!(s.said_at(2, |c| c.contains("[publish]")) && s.said_at(2, |c| c == "a"));
        assert!(!s.said_at(3, |c| c.contains("[publish]")), "a trailing comment is its own line's");
    }

    fn masked(text: &str) -> (Vec<usize>, Vec<usize>) {
        let s = Source::new("crates/a/src/x.rs", text);
        let of = |f: fn(&Line) -> bool| s.numbered().filter(|(_, l)| f(l)).map(|(n, _)| n).collect();
        (of(|l| l.test), of(|l| l.model))
    }

    #[test]
    fn cfgs_cover_what_they_stand_before() {
        let text = "use a;\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn f<A, B>() {}\n}\nfn g() {}\n";
        assert_eq!(masked(text), (vec![2, 3, 4, 5, 6], vec![2, 3, 4, 5, 6]));
        let text = "#[cfg(loom)]\nextern crate std;\n#[cfg(not(loom))]\nuse x;\n";
        assert_eq!(masked(text), (vec![], vec![1, 2]));
        let text = "struct S {\n    #[cfg(loom)]\n    pub(crate) a: B<C>,\n    b: D,\n}\n";
        assert_eq!(masked(text), (vec![], vec![2, 3]));
        let text = "#[cfg(loom)]\nimpl<A, B> C\nfor D {\n}\nx;\n";
        assert_eq!(masked(text), (vec![], vec![1, 2, 3, 4]));
        assert_eq!(masked("//! doc\n#![cfg(loom)]\nuse std::x;\n"), (vec![], vec![2, 3]));
        assert_eq!(masked("#[cfg(all(test, not(loom)))]\nmod t;\nx\n"), (vec![1, 2], vec![1, 2]));
        assert_eq!(masked("#[cfg(any(test, loom))]\nmod t;\nx\n"), (vec![], vec![1, 2]));
        assert_eq!(masked("#[cfg(not(test))]\nmod t;\n#[cfg("), (vec![], vec![]));
    }

    #[test]
    fn crates_and_words() {
        assert!(names_crate("use std::fs;", "std") && names_crate("::std::fs", "std"));
        assert!(names_crate("extern crate alloc;", "alloc"));
        assert!(!names_crate("core::alloc::Layout", "alloc") && !names_crate("let std = 1;", "std"));
        assert!(!names_crate("my_std::x", "std"));
        assert!(has_ident("unsafe { x }", "unsafe") && !has_ident("unsafe_code", "unsafe"));
    }

    #[test]
    fn broken_input_is_no_panic() {
        for text in ["\"", "'", "/*", "r#\"", "#[cfg(", "#[cfg(test)]", "#![cfg(", "'\\", "é'é", "#[cfg)"] {
            Source::new("x.rs", text);
        }
    }
}
