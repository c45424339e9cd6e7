//! The files that are, or would be, in git: read once, so that every check is a function over memory.

use super::source::Source;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `tidy` keeps of one file.
#[derive(Debug)]
pub(crate) struct File {
    /// Its size in bytes.
    pub(crate) len: u64,
    /// Its first bytes hold a NUL.
    pub(crate) binary: bool,
    /// Its text; `None` if it is not UTF-8.
    pub(crate) text: Option<String>,
}

/// Paths, relative to the root with `/` between, and what is there.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, File>,
    sources: Vec<Source>,
}

impl Tree {
    /// Reads what git tracks and what it would track: new files count before they are added. Files that
    /// are in git and no longer on disk are left out.
    pub(crate) fn read(root: &Path) -> Result<Tree, String> {
        let out = Command::new("git")
            // A clone that belongs to somebody else, as in a container, is as good as ours for reading.
            .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| format!("cannot start git: {e}"))?;
        if !out.status.success() {
            return Err(format!("`git ls-files` ended with {}", out.status));
        }
        let names = String::from_utf8(out.stdout).map_err(|_| "a file name in git is not UTF-8")?;
        let mut tree = Tree::default();
        for name in names.split('\0').filter(|n| !n.is_empty()) {
            if let Ok(bytes) = std::fs::read(root.join(name)) {
                tree.insert(name, bytes);
            }
        }
        Ok(tree)
    }

    /// A made-up tree.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.insert(path, text.as_bytes().to_vec());
        }
        tree
    }

    /// Adds one file.
    pub(crate) fn insert(&mut self, path: &str, bytes: Vec<u8>) {
        let binary = bytes.iter().take(8 << 10).any(|b| *b == 0);
        let len = bytes.len() as u64;
        let text = String::from_utf8(bytes).ok();
        if let (true, Some(text)) = (path.ends_with(".rs"), &text) {
            self.sources.push(Source::new(path, text));
        }
        self.files.insert(path.to_owned(), File { len, binary, text });
    }

    /// All files, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// The text of one file, if it is there and is text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.text.as_deref()
    }

    /// Whether `path` is a file or a folder with files in it.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let inside = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.range(inside.clone()..).next().is_some_and(|(p, _)| p.starts_with(&inside))
    }

    /// Every Rust file.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The Rust files below a folder, which is given with its closing slash.
    pub(crate) fn sources_in<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a Source> {
        self.sources.iter().filter(move |s| s.path.starts_with(folder))
    }

    /// One Rust file.
    pub(crate) fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|s| s.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_exist() {
        let tree = Tree::of(&[("docs/layout.md", ""), ("README.md", "x")]);
        assert!(tree.exists("docs") && tree.exists("docs/") && tree.exists("docs/layout.md"));
        assert!(!tree.exists("doc") && !tree.exists("docs/l") && !tree.exists("README.md/x"));
        assert_eq!(tree.text("README.md"), Some("x"));
    }

    #[test]
    fn reads_this_repository() {
        let tree = Tree::read(&crate::process::root()).expect("git");
        assert!(tree.source("crates/xtask/src/tidy/tree.rs").is_some());
    }
}
