//! The mutated copy: a workspace of its own with every mutation in, each behind its number.

use super::find::{Found, SOURCES};
use std::path::{Path, PathBuf};

/// The folder of the copied crates. Not that of the crates themselves: cargo tells packages apart by their paths from the
/// root of their workspace, and builds both in the same folder.
pub(super) const COPIES: &str = "mutated";

/// The crates that are copied, as far as they are there, and the folders of each.
const CRATES: [&str; 3] = ["annulus-core", "annulus-os", "annulus"];
const FOLDERS: [&str; 2] = ["src", "tests"];
/// Tests of `annulus` that know nothing of processes, and reach all of core.
pub(super) const PROPERTIES: &str = "properties";

/// Writes the copy into `to`. Files that are there already with the same text are left alone, so that nothing is built
/// again that is as it was. Returns whether there are property tests.
///
/// # Errors
///
/// What cannot be read or written.
pub(super) fn write(root: &Path, to: &Path, found: &Found) -> Result<bool, String> {
    let tests = root.join("crates/annulus/tests");
    let has_properties =
        tests.join(PROPERTIES).join("main.rs").exists() || tests.join(format!("{PROPERTIES}.rs")).exists();
    let crates = if has_properties { &CRATES[..] } else { &CRATES[..1] };
    let mut wanted: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let read = |path: &Path| std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
    for name in crates {
        let (from, copy) = (root.join("crates").join(name), Path::new(COPIES).join(name));
        wanted.push((copy.join("Cargo.toml"), read(&from.join("Cargo.toml"))?));
        for file in FOLDERS.iter().flat_map(|folder| files(&from.join(folder))) {
            let bytes = read(&file)?;
            let name = file.strip_prefix(root).ok().and_then(Path::to_str).unwrap_or_default();
            let mutated = name.strip_prefix(SOURCES).and_then(|name| found.files.get(name));
            let bytes = match mutated {
                // What is generated is not for reading, so not for linting either.
                Some(text) if name.ends_with("src/lib.rs") => {
                    format!("#![allow(warnings)]\n{text}\nmod mutant;\n").into_bytes()
                }
                Some(text) => text.clone().into_bytes(),
                None => bytes,
            };
            wanted.push((copy.join(file.strip_prefix(&from).map_err(|e| e.to_string())?), bytes));
        }
    }
    let switch = Path::new(COPIES).join("annulus-core/src/mutant.rs");
    wanted.push((switch, include_bytes!("switch.rs").to_vec()));
    let manifest = String::from_utf8(read(&root.join("Cargo.toml"))?).map_err(|e| e.to_string())?;
    wanted.push(("Cargo.toml".into(), workspace(&manifest, crates).into_bytes()));
    wanted.push(("Cargo.lock".into(), read(&root.join("Cargo.lock"))?));
    for file in files(&to.join(COPIES)) {
        let stale = file.strip_prefix(to).is_ok_and(|path| wanted.iter().all(|(w, _)| w != path));
        if stale {
            std::fs::remove_file(&file).map_err(|e| format!("cannot remove {}: {e}", file.display()))?;
        }
    }
    for (path, bytes) in &wanted {
        let path = to.join(path);
        if std::fs::read(&path).is_ok_and(|there| there == *bytes) {
            continue;
        }
        let cannot = |e| format!("cannot write {}: {e}", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(to)).map_err(cannot)?;
        std::fs::write(&path, bytes).map_err(cannot)?;
    }
    Ok(has_properties)
}

/// The root's manifest, with what was copied for members.
fn workspace(manifest: &str, crates: &[&str]) -> String {
    let members: Vec<String> = crates.iter().map(|name| format!("\"{COPIES}/{name}\"")).collect();
    let members = format!("members = [{}]", members.join(", "));
    let lines = manifest.lines().filter(|line| !line.starts_with("default-members"));
    let lines = lines.map(|line| if line.starts_with("members") { &members } else { line });
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    text.replace("path = \"crates/", &format!("path = \"{COPIES}/"))
}

/// All files below a folder, sorted.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_loses_the_other_members() {
        let text = "[workspace]\nmembers = [\"crates/*\", \"benches\"]\ndefault-members = [\"x\"]\na = { path = \"crates/a\" }\n";
        let wanted = "[workspace]\nmembers = [\"mutated/a\", \"mutated/b\"]\na = { path = \"mutated/a\" }\n";
        assert_eq!(workspace(text, &["a", "b"]), wanted);
    }
}
