//! What the pages point at exists, and the glossary says each of the house's words.

use super::Report;
use super::tree::Tree;
use std::collections::BTreeMap;

const GLOSSARY: &str = "docs/glossary.md";

/// The house's words, and only these.
const WORDS: [&str; 31] = [
    "ring",
    "data",
    "ctl",
    "position",
    "sequence",
    "record",
    "header",
    "tail",
    "published",
    "lease",
    "licence",
    "cursor",
    "slot",
    "group",
    "worker",
    "floor",
    "pin",
    "anchor",
    "doorbell",
    "epoch",
    "publish",
    "claim",
    "acknowledge",
    "commit",
    "subscribe",
    "observe",
    "lag",
    "evict",
    "reap",
    "park",
    "wake",
];

/// The pages whose links are followed.
fn is_page(path: &str) -> bool {
    ["README.md", "CONTRIBUTING.md"].contains(&path) || (path.starts_with("docs/") && path.ends_with(".md"))
}

/// Relative links and file names in backticks lead somewhere.
pub(crate) fn links(tree: &Tree, report: &mut Report) {
    if tree.text("README.md").is_none() {
        report.add("README.md", 1, "the README is missing", "write it");
    }
    for (path, file) in tree.files().filter(|(path, _)| is_page(path)) {
        let mut fenced = false;
        for (index, line) in file.text.as_deref().unwrap_or_default().lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in targets(line) {
                if !resolve(path, target).is_some_and(|p| tree.exists(&p)) {
                    report.add(path, index + 1, format!("the link {target} leads nowhere"), "mend the link");
                }
            }
            for name in names(line).filter(|name| !tree.exists(name)) {
                report.add(path, index + 1, format!("`{name}` does not exist"), "name a file that does");
            }
        }
    }
}

/// What the links of a line point at, where that is a path: not a URL, not a place on the same page.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ', '#']).next()?.trim_matches(['<', '>']);
        let is_url = target.contains("://") || target.starts_with("mailto:");
        (!target.is_empty() && !is_url).then_some(target)
    })
}

/// A link, seen from the page it stands on, as a path from the root; `None` if it leads out of the tree.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        return None; // a path of somebody's machine
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Names in backticks that say that they are files of ours; patterns and placeholders are not.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter_map(|code| {
        let is_ours = code.starts_with("crates/") || code.starts_with("docs/");
        let is_name = !code.contains(['*', '<', '{', ' ', '…']) && !code.contains("..");
        (is_ours && is_name).then(|| code.split([':', '#']).next().unwrap_or(code))
    })
}

/// Each word has one line, `* **word**: meaning`, and no other word has.
pub(crate) fn glossary(tree: &Tree, report: &mut Report) {
    let Some(text) = tree.text(GLOSSARY) else {
        report.add(GLOSSARY, 1, "the glossary is missing", "write it, a line for each of the house's words");
        return;
    };
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let Some((word, meaning)) = line.strip_prefix("* **").and_then(|l| l.split_once("**:")) else {
            continue;
        };
        if !WORDS.contains(&word) {
            let what = format!("{word:?} is not one of the house's words");
            report.add(GLOSSARY, index + 1, what, "say it with those there are, or argue for a new one");
        } else if meaning.trim().is_empty() {
            report.add(GLOSSARY, index + 1, format!("{word:?} has no meaning"), "say what it means");
        }
        if lines.insert(word, index + 1).is_some() {
            report.add(GLOSSARY, index + 1, format!("{word:?} is there twice"), "one line for each word");
        }
    }
    for word in WORDS.iter().filter(|w| !lines.contains_key(*w)) {
        report.add(GLOSSARY, 1, format!("{word:?} is missing"), format!("write `* **{word}**: <meaning>`"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    #[test]
    fn links_lead_somewhere() {
        let page = "[a](layout.md) [b](../README.md#x) [c](https://x.y/z) [d](#here) [e](decisions/)
[bad](none.md) and ![bad](../none.svg \"title\")
`crates/a/src/x.rs` `docs/*.md` `crates/a/src/x.rs:12`
`crates/gone.rs` but not `gone.rs`
```
[fine](in/a/fence)
```
[out](../../up.md)
";
        let tree = Tree::of(&[
            ("README.md", ""),
            ("docs/p.md", page),
            ("docs/layout.md", ""),
            ("docs/decisions/0001.md", ""),
            ("crates/a/src/x.rs", ""),
        ]);
        let got: Vec<usize> = lines(&tree, links).into_iter().map(|(_, n)| n).collect();
        assert_eq!(got, [2, 2, 4, 8]);
        assert_eq!(lines(&Tree::of(&[]), links).len(), 1);
    }

    #[test]
    fn the_glossary_is_the_list() {
        let good: String = WORDS.iter().map(|w| format!("* **{w}**: x\n")).collect();
        let count = |text: &str| lines(&Tree::of(&[(GLOSSARY, text)]), glossary).len();
        assert_eq!(count(&good), 0);
        assert_eq!(count(&good.replace("* **lag**: x\n", "")), 1);
        assert_eq!(count(&good.replace("* **lag**: x\n", "* **lag**:\n")), 1);
        assert_eq!(count(&format!("{good}* **lag**: again\n")), 1);
        assert_eq!(count(&format!("{good}* **queue**: no word of ours\n")), 1);
        assert_eq!(lines(&Tree::of(&[]), glossary).len(), 1);
    }
}
