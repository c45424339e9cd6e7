//! What became of each mutation, on disk: for people in a table, for programs in lines of JSON, and for a run that goes on
//! where another was stopped.

use super::find::Mutation;
use super::run::Outcome;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// A mutation and its end.
pub(super) struct Result<'m> {
    pub(super) mutation: &'m Mutation,
    pub(super) outcome: Outcome,
}

impl Outcome {
    /// Whether nothing has noticed it.
    pub(super) fn survives(&self) -> bool {
        matches!(self, Outcome::Survived(_) | Outcome::NotReached)
    }

    fn words(&self) -> (&'static str, String) {
        match self {
            Outcome::Killed(by) => ("killed", by.clone()),
            Outcome::Timeout(by) => ("timeout", by.clone()),
            Outcome::Survived(n) => ("SURVIVED", n.to_string()),
            Outcome::NotReached => ("NOT REACHED", String::new()),
        }
    }

    fn from_words(what: &str, by: &str) -> Option<Outcome> {
        Some(match what {
            "killed" => Outcome::Killed(by.into()),
            "timeout" => Outcome::Timeout(by.into()),
            "SURVIVED" => Outcome::Survived(by.parse().ok()?),
            "NOT REACHED" => Outcome::NotReached,
            _ => return None,
        })
    }
}

/// A line for people.
pub(super) fn line(mutation: &Mutation, outcome: &Outcome) -> String {
    let (what, by) = outcome.words();
    let by = match outcome {
        Outcome::Survived(n) => format!("{n} tests"),
        _ => by,
    };
    let what = if what == "timeout" { "killed (timeout)" } else { what };
    format!("{what:<16} | {} | line {} | {by}", mutation.key, mutation.line)
}

/// The results of an earlier run on the same sources.
pub(super) fn earlier(path: &Path, sources: u64) -> BTreeMap<String, Outcome> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines();
    if lines.next() != Some(&head(sources)) {
        return BTreeMap::new();
    }
    let parse = |line: &str| {
        let mut cells = line.split('\t');
        let (what, by, key) = (cells.next()?, cells.next()?, cells.next()?);
        Some((key.to_owned(), Outcome::from_words(what, by)?))
    };
    lines.filter_map(parse).collect()
}

fn head(sources: u64) -> String {
    format!("# sources {sources:016x}")
}

/// The file of results, written as they come.
pub(super) fn begin(
    path: &Path,
    sources: u64,
    kept: &BTreeMap<String, Outcome>,
) -> std::io::Result<std::fs::File> {
    let mut file = std::fs::File::create(path)?;
    writeln!(file, "{}", head(sources))?;
    for (key, outcome) in kept {
        add(&mut file, key, outcome)?;
    }
    Ok(file)
}

/// Adds one result.
pub(super) fn add(file: &mut std::fs::File, key: &str, outcome: &Outcome) -> std::io::Result<()> {
    let (what, by) = outcome.words();
    file.write_all(format!("{what}\t{by}\t{key}\n").as_bytes())
}

/// All results as one JSON array.
pub(super) fn json(results: &[Result<'_>]) -> String {
    let each = results.iter().map(|Result { mutation, outcome }| {
        let (what, by) = outcome.words();
        let [key, by] = [&mutation.key, &by].map(|text| escaped(text));
        let what = what.to_lowercase();
        format!(
            "  {{\"mutation\": {key}, \"kind\": \"{:?}\", \"line\": {}, \"outcome\": \"{what}\", \"by\": {by}}}",
            mutation.kind, mutation.line
        )
    });
    format!("[\n{}\n]\n", each.collect::<Vec<_>>().join(",\n"))
}

fn escaped(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::super::find::Kind;
    use super::*;

    #[test]
    fn results_come_back_from_disk() {
        let path = std::env::temp_dir().join(format!("annulus-mutants-{}", std::process::id()));
        let outcomes = [
            Outcome::Killed("a::b".into()),
            Outcome::Timeout("c".into()),
            Outcome::Survived(3),
            Outcome::NotReached,
        ];
        let kept: BTreeMap<String, Outcome> =
            outcomes.into_iter().enumerate().map(|(i, outcome)| (format!("x.rs f: {i}"), outcome)).collect();
        begin(&path, 7, &kept).unwrap();
        assert_eq!(earlier(&path, 7), kept);
        assert_eq!(earlier(&path, 8), BTreeMap::new());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn json_escapes() {
        let mutation =
            Mutation { id: 1, kind: Kind::Check, file: "x.rs".into(), line: 2, key: "a \"b\" \\".into() };
        let text = json(&[Result { mutation: &mutation, outcome: Outcome::NotReached }]);
        assert!(text.contains(r#""mutation": "a \"b\" \\", "kind": "Check", "line": 2"#), "{text}");
    }
}
