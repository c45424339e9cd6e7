//! The dependency half of the place table, the reasons, and how heavy the library is.

use super::Report;
use super::manifest::{Dependency, Kind, dependencies};
use super::tree::Tree;
use std::collections::BTreeSet;

/// At most so many packages behind `annulus`, itself included.
const MAX_PACKAGES: usize = 15;

/// What one crate may depend on.
struct Place {
    name: &'static str,
    /// The only normal and build dependencies; `None`: any.
    only: Option<&'static [&'static str]>,
    /// Never, also not for its tests.
    never: &'static [&'static str],
}

const PLACES: [Place; 6] = [
    Place { name: "annulus-core", only: Some(&["loom"]), never: &["annulus-bench", "annulus-os", "annulus"] },
    Place {
        name: "annulus-os",
        only: Some(&["annulus-core", "rustix", "memmap2", "libc"]),
        never: &["annulus-bench", "annulus"],
    },
    Place {
        name: "annulus",
        only: Some(&[
            "annulus-core",
            "annulus-os",
            "futures-core",
            "futures-sink",
            "tokio",
            "shared_memory",
            "zerocopy",
        ]),
        never: &["annulus-bench"],
    },
    Place { name: "annulus-bench", only: None, never: &["annulus-cli"] },
    Place {
        name: "annulus-cli",
        only: Some(&[
            "annulus",
            "annulus-bench",
            "clap",
            "ratatui",
            "indicatif",
            "hdrhistogram",
            "signal-hook",
        ]),
        never: &["annulus-core", "annulus-os"],
    },
    Place { name: "xtask", only: Some(&["syn", "proc-macro2"]), never: &[] },
];

/// Each crate depends on what its place allows.
pub(crate) fn places(tree: &Tree, report: &mut Report) {
    for place in &PLACES {
        let path = format!("crates/{}/Cargo.toml", place.name);
        let Some(text) = tree.text(&path) else {
            report.add(&path, 1, "the manifest is missing", "every crate of the plan exists");
            continue;
        };
        for dep in dependencies(text) {
            check(place, &path, &dep, report);
        }
    }
}

fn check(place: &Place, path: &str, dep: &Dependency, report: &mut Report) {
    let (crate_name, name) = (place.name, dep.name.as_str());
    if place.never.contains(&name) {
        report.add(
            path,
            dep.line,
            format!("{crate_name} depends on {name}"),
            "use only what the place table allows",
        );
    } else if dep.kind == Kind::Dev {
        // What tests need is their own affair.
    } else if let Some(only) = place.only.filter(|only| !only.contains(&name)) {
        let list = if only.is_empty() { "nothing but std".into() } else { only.join(", ") };
        let fix = format!("it may depend on {list}; put the code that needs {name} in another crate");
        report.add(path, dep.line, format!("{crate_name} depends on {name}"), fix);
    } else if name == "loom" && dep.target.as_deref() != Some("cfg(loom)") {
        report.add(
            path,
            dep.line,
            "loom is a dependency in life",
            "move it to [target.'cfg(loom)'.dependencies]",
        );
    }
}

/// Each dependency line of each member says why it is there.
pub(crate) fn reasons(tree: &Tree, report: &mut Report) {
    for (path, file) in tree.files().filter(|(p, _)| *p == "Cargo.toml" || p.ends_with("/Cargo.toml")) {
        for dep in dependencies(file.text.as_deref().unwrap_or_default()).iter().filter(|d| !d.reason) {
            let what = format!("the dependency {} has no reason", dep.name);
            report.add(path, dep.line, what, "say why in a comment on this line or the line above");
        }
    }
}

/// `cargo_tree` is what `cargo tree -e normal -p annulus --prefix none` printed.
pub(crate) fn weight(cargo_tree: &str, report: &mut Report) {
    let packages: BTreeSet<String> = cargo_tree
        .lines()
        .map(|l| l.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect();
    let path = "crates/annulus/Cargo.toml";
    if packages.is_empty() {
        report.add(path, 1, "`cargo tree -p annulus` printed nothing", "mend the manifest");
    }
    if packages.len() > MAX_PACKAGES {
        let list = packages.iter().cloned().collect::<Vec<_>>().join(", ");
        let what = format!("annulus pulls in {} packages, more than {MAX_PACKAGES}: {list}", packages.len());
        report.add(path, 1, what, "drop a dependency, or its default features");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;
    use super::*;

    fn with(path: &str, text: &str) -> Tree {
        let all: Vec<String> = PLACES.iter().map(|p| format!("crates/{}/Cargo.toml", p.name)).collect();
        let mut files: Vec<(&str, &str)> = all.iter().map(|p| (p.as_str(), "[package]\n")).collect();
        files.push((path, text));
        Tree::of(&files)
    }

    #[test]
    fn dependencies_keep_their_places() {
        let core = "crates/annulus-core/Cargo.toml";
        let bad = [
            (core, "[dependencies]\nlibc = \"0.2\"\n"),
            (core, "[dependencies]\nloom = \"0.7\"\n"),
            ("crates/annulus-os/Cargo.toml", "[dependencies]\ntokio = \"1\"\n"),
            ("crates/annulus/Cargo.toml", "[dependencies]\nrustix = \"1\"\n"),
            ("crates/annulus/Cargo.toml", "[dev-dependencies]\nannulus-bench.workspace = true\n"),
            ("crates/annulus-cli/Cargo.toml", "[dependencies]\nannulus-core = \"1\"\n"),
            ("crates/annulus-cli/Cargo.toml", "[build-dependencies]\nclap_complete = \"1\"\n"),
            ("crates/xtask/Cargo.toml", "[dependencies]\nserde = \"1\"\n"),
        ];
        for (path, text) in bad {
            assert_eq!(lines(&with(path, text), places), [(path.to_owned(), 2)], "{text}");
        }
        let good = [
            (core, "[target.'cfg(loom)'.dependencies]\nloom = \"0.7\"\n"),
            (core, "[dev-dependencies]\nproptest = \"1\"\n"),
            ("crates/annulus-bench/Cargo.toml", "[dependencies]\ncrossbeam-utils = \"1\"\n"),
        ];
        for (path, text) in good {
            assert_eq!(lines(&with(path, text), places), [], "{text}");
        }
    }

    #[test]
    fn a_missing_crate_is_seen() {
        assert_eq!(lines(&Tree::of(&[]), places).len(), PLACES.len());
    }

    #[test]
    fn each_line_has_its_reason() {
        let tree = Tree::of(&[("benches/Cargo.toml", "[dependencies]\na = \"1\" # why\nb = \"1\"\n")]);
        assert_eq!(lines(&tree, reasons), [("benches/Cargo.toml".to_owned(), 3)]);
    }

    #[test]
    fn the_library_stays_light() {
        let tree = |n: usize| (0..n).map(|i| format!("p{i} v1.0.0\np{i} v1.0.0 (*)\n")).collect::<String>();
        let count = |text: &str| {
            let mut report = Report::default();
            weight(text, &mut report);
            report.violations.len()
        };
        assert_eq!((count(&tree(15)), count(&tree(16)), count("")), (0, 1, 1));
    }
}
