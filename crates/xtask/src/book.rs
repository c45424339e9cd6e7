//! `cargo xtask book`: the pages of `docs` as a book, in `target/book`.
//!
//! mdBook makes it: built once, by cargo, into `target/tools`, as a tool of its own. As a dependency of this crate it
//! would take three times as long to build (measured: 177 s of processor time against 54) and put a hundred packages
//! into `Cargo.lock`. What it leaves unchecked is checked here: that links inside the book lead somewhere, that no
//! page is left out, and that the guide's code is compiled.

use crate::process::{self, capture, cargo, succeed};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The pages, with `book.toml` and `SUMMARY.md`.
const DOCS: &str = "docs";
/// Where it is said which pages' code is run with the library's examples.
const DOCTESTS: &str = "crates/annulus/src/lib.rs";
const VERSION: &str = "0.5.4";

/// Builds the book and checks it.
///
/// # Errors
///
/// When mdBook cannot be had or does not like the book, and when a link, a page or a page's code is not as it should be.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let (target, docs) = (process::target(root), root.join(DOCS));
    let pages = files(&docs, "md")?;
    let doctests = std::fs::read_to_string(root.join(DOCTESTS)).map_err(|e| format!("{DOCTESTS}: {e}"))?;
    let mut faults = left_out(&pages);
    faults.extend(unread_code(&pages, &doctests));

    let book = target.join("book");
    let mdbook = mdbook(root, &target)?;
    succeed(Command::new(mdbook).arg("build").arg("--dest-dir").arg(&book).arg(&docs))?;
    let made = files(&book, "html")?;
    let (broken, links) = broken_links(&made, |path| book.join(path).is_file());
    faults.extend(broken);

    for fault in &faults {
        println!("{fault}");
    }
    println!("book: {} pages, {links} links inside, {}", pages.len() - 1, book.join("index.html").display());
    if faults.is_empty() { Ok(()) } else { Err(format!("{} faults in the book", faults.len())) }
}

/// The tool, built if it is not there yet. Without a server, a watcher and a search index, and not optimised: it runs
/// for less than a second.
fn mdbook(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let tools = target.join("tools");
    let program = tools.join("bin/mdbook");
    if capture(Command::new(&program).arg("--version"))
        .is_ok_and(|v| v.trim() == format!("mdbook v{VERSION}"))
    {
        return Ok(program);
    }
    let version = format!("={VERSION}");
    let install =
        ["install", "mdbook", "--version", &version, "--locked", "--no-default-features", "--debug"];
    let mut command = cargo(root, &install);
    command.arg("--root").arg(&tools).arg("--target-dir").arg(tools.join("build"));
    // Debug information and the flags of our own code are nothing that it needs.
    succeed(command.env("CARGO_PROFILE_DEV_DEBUG", "0").env_remove("RUSTFLAGS"))?;
    // 300 MiB that nobody needs any more; were they to stay, nothing else would be wrong.
    let _ = std::fs::remove_dir_all(tools.join("build"));
    Ok(program)
}

/// The text of every file below `dir` with that extension, by its path from there with `/` between.
fn files(dir: &Path, extension: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(folder) = open.pop() {
        let failed = |e| format!("{}: {e}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|x| x == extension) {
                let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
                found.insert(name, std::fs::read_to_string(&path).map_err(failed)?);
            }
        }
    }
    Ok(found)
}

/// Pages that the book does not have.
fn left_out(pages: &BTreeMap<String, String>) -> Vec<String> {
    let Some(summary) = pages.get("SUMMARY.md") else { return vec![format!("{DOCS}/SUMMARY.md is missing")] };
    let named =
        |page: &str| summary.contains(&format!("]({page})")) || summary.contains(&format!("](./{page})"));
    let others = pages.keys().filter(|page| *page != "SUMMARY.md");
    others
        .filter(|page| !named(page))
        .map(|page| format!("{DOCS}/{page} is not in {DOCS}/SUMMARY.md"))
        .collect()
}

/// Code that nobody compiles: Rust on a page that the library's doctests do not include, or that they ignore.
fn unread_code(pages: &BTreeMap<String, String>, doctests: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (page, text) in pages {
        let included = doctests.contains(&format!("docs/{page}\""));
        for (index, line) in text.lines().enumerate() {
            let Some(info) = line.trim_start().strip_prefix("```") else { continue };
            let words: Vec<&str> = info.split([',', ' ']).collect();
            let fault = match words[0] {
                _ if words.contains(&"ignore") => "it is ignored",
                "rust" if !included => "the doctests do not include this page",
                _ => continue,
            };
            faults.push(format!("{DOCS}/{page}:{}: nobody compiles this code: {fault}", index + 1));
        }
    }
    faults
}

/// Links inside the book that lead nowhere, and how many links there are.
fn broken_links(pages: &BTreeMap<String, String>, is_file: impl Fn(&str) -> bool) -> (Vec<String>, usize) {
    let anchors: BTreeMap<&str, BTreeSet<&str>> =
        pages.iter().map(|(page, text)| (page.as_str(), attributes(text, "id").collect())).collect();
    let (mut faults, mut count) = (Vec::new(), 0);
    for (page, text) in pages {
        for link in attributes(text, "href").chain(attributes(text, "src")).filter(|link| is_inside(link)) {
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if path.is_empty() { Some(page.clone()) } else { resolve(page, path) };
            let there = path.is_some_and(|path| match anchors.get(path.as_str()) {
                Some(ids) => anchor.is_empty() || ids.contains(anchor),
                None => anchor.is_empty() && is_file(&path),
            });
            if !there {
                faults.push(format!("{page}: the link {link} leads nowhere in the book"));
            }
        }
    }
    faults.sort();
    faults.dedup();
    (faults, count)
}

/// The values of an attribute in HTML that a tool has written. In text, quotes are `&quot;`.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {name}=\"");
    let starts: Vec<usize> = html.match_indices(&start).map(|(at, found)| at + found.len()).collect();
    starts.into_iter().filter_map(move |at| html[at..].split('"').next())
}

fn is_inside(link: &str) -> bool {
    !link.is_empty()
        && !["//", ":"].iter().any(|sign| link.split(['#', '?']).next().unwrap_or("").contains(sign))
}

/// A link, seen from its page, as a path in the book; `None` if it leads out of it.
fn resolve(page: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(pages: &[(&str, &str)]) -> BTreeMap<String, String> {
        pages.iter().map(|(page, text)| ((*page).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn links_lead_to_pages_and_places() {
        let pages = book(&[
            (
                "guide/a.html",
                "<h1 id=\"top\"> <a href=\"#top\"> <a href=\"../b.html#here\"> <a href=\"https://x.y/z\"> \
                 <img src=\"a.png\"> <a href=\"mailto:a@b\">",
            ),
            (
                "b.html",
                "<h2 class=\"x\" id=\"here\"> <a href=\"guide/a.html#none\"> <a href=\"#no\"> <a href=\"c.md\"> \
                 <a href=\"../up.html\">",
            ),
        ]);
        let (faults, count) = broken_links(&pages, |path| path == "guide/a.png");
        assert_eq!(count, 7);
        let bad: Vec<&str> = faults.iter().filter_map(|f| f.split(' ').nth(3)).collect();
        assert_eq!(bad, ["#no", "../up.html", "c.md", "guide/a.html#none"]);
    }

    #[test]
    fn every_page_is_in_the_summary() {
        let pages =
            book(&[("SUMMARY.md", "[A](a.md) [B](./d/b.md)"), ("a.md", ""), ("d/b.md", ""), ("b.md", "")]);
        assert_eq!(left_out(&pages), ["docs/b.md is not in docs/SUMMARY.md"]);
        assert_eq!(left_out(&book(&[("a.md", "")])).len(), 1);
    }

    #[test]
    fn code_is_compiled() {
        let page = "```rust\nf();\n```\n```console\n$ x\n```\n```\nplain\n```\n";
        let doctests = "include_str!(\"../../../docs/guide/a.md\")";
        let count = |name: &str, page: &str| unread_code(&book(&[(name, page)]), doctests).len();
        assert_eq!((count("guide/a.md", page), count("a.md", page)), (0, 1));
        assert_eq!(count("guide/a.md", "```rust,ignore\nf();\n```\n"), 1);
        assert_eq!(count("layout.md", "```\nplain\n```\n"), 0);
    }
}
