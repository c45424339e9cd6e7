//! What a `Cargo.toml` says about dependencies, read line by line.

/// When a dependency is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Dev,
    Build,
}

/// One line, or one table, that names a dependency.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package, also when it is renamed.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The target's predicate as written, for `[target.'..'.dependencies]`.
    pub(crate) target: Option<String>,
    /// From 1.
    pub(crate) line: usize,
    /// A comment on the line, or alone on the line above.
    pub(crate) reason: bool,
}

/// The dependencies of a package; `[workspace.dependencies]` are not among them.
pub(crate) fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut section: Option<(Kind, Option<String>)> = None;
    let mut depth = 0;
    let mut above = false;
    for (index, raw) in text.lines().enumerate() {
        let (code, comment) = cut(raw);
        let (code, says) = (code.trim(), !comment.trim_start_matches(['#', ' ']).is_empty());
        let continues = depth > 0;
        depth += brackets(code);
        let reason = says || above;
        above = code.is_empty() && says;
        if code.is_empty() || continues {
            continue;
        }
        let mut add = |name: &str, kind, target| {
            let name = name.trim_matches(['"', '\'']).to_owned();
            found.push(Dependency { name, kind, target, line: index + 1, reason });
        };
        if let Some(header) = code.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            let (of, name) = header_of(header);
            section = of;
            if let (Some((kind, target)), Some(name)) = (&section, name) {
                add(name, *kind, target.clone());
                section = None; // what follows are the dependency's own keys
            }
        } else if let (Some((kind, target)), Some((key, value))) = (&section, code.split_once('=')) {
            let name = key.trim().split('.').next().unwrap_or_default();
            add(package(value).unwrap_or(name), *kind, target.clone());
        }
    }
    found
}

/// The kind and target that a table header means, and the dependency it names itself, if it does.
fn header_of(header: &str) -> (Option<(Kind, Option<String>)>, Option<&str>) {
    let (target, rest) = match header.strip_prefix("target.") {
        Some(rest) if rest.starts_with(['\'', '"']) => {
            let quote = &rest[..1];
            match rest[1..].split_once(quote) {
                Some((target, rest)) => (Some(target.to_owned()), rest.trim_start_matches('.')),
                None => return (None, None),
            }
        }
        Some(rest) => match rest.split_once('.') {
            Some((target, rest)) => (Some(target.to_owned()), rest),
            None => return (None, None),
        },
        None => (None, header),
    };
    let (table, name) = rest.split_once('.').map_or((rest, None), |(t, n)| (t, Some(n)));
    let kind = match table {
        "dependencies" => Kind::Normal,
        "dev-dependencies" => Kind::Dev,
        "build-dependencies" => Kind::Build,
        _ => return (None, None),
    };
    (Some((kind, target)), name)
}

/// The `package = ".."` of a renamed dependency.
fn package(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("package")?;
    rest.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?.split('"').next()
}

/// A line without its comment, and the comment with its `#`.
fn cut(line: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return line.split_at(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    (line, "")
}

fn brackets(code: &str) -> i32 {
    let of = |c| match c {
        '[' | '{' => 1,
        ']' | '}' => -1,
        _ => 0,
    };
    code.chars().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let text = "\
[package]
name = \"x\"   # not a dependency
[dependencies]
a = \"1\"   # why a
b.workspace = true
# why c
c = { version = \"1\", features = [
    \"f\", # not a line of its own
] }
d = { package = \"real-d\", version = \"1\" }
[target.'cfg(loom)'.dependencies]
loom = \"0.7\" # models
[dev-dependencies.e]
version = \"1\"
[target.x86_64-unknown-linux-gnu.build-dependencies]
cc = \"1 # 2\"
[features]
default = []
[workspace.dependencies]
z = \"1\"
";
        let got: Vec<_> = dependencies(text)
            .into_iter()
            .map(|d| (d.name, d.kind, d.target.unwrap_or_default(), d.line, d.reason))
            .collect();
        let row = |n: &str, k, t: &str, l, r| (n.to_owned(), k, t.to_owned(), l, r);
        assert_eq!(
            got,
            [
                row("a", Kind::Normal, "", 4, true),
                row("b", Kind::Normal, "", 5, false),
                row("c", Kind::Normal, "", 7, true),
                row("real-d", Kind::Normal, "", 10, false),
                row("loom", Kind::Normal, "cfg(loom)", 12, true),
                row("e", Kind::Dev, "", 13, false),
                row("cc", Kind::Build, "x86_64-unknown-linux-gnu", 16, false),
            ]
        );
    }

    #[test]
    fn an_empty_comment_is_no_reason() {
        assert!(!dependencies("[dependencies]\na = \"1\" #\n")[0].reason);
    }
}
