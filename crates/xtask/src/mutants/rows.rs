//! The table of those that survive, in `docs/mutants.md`.

/// The page.
pub(crate) const DOC: &str = "docs/mutants.md";
/// How a reason begins.
pub(crate) const REASONS: [&str; 3] = ["equivalent:", "stronger than needed:", "not shown by loom:"];

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its line, from 1.
    pub(crate) line: usize,
    pub(crate) key: String,
    pub(crate) reason: String,
}

impl Row {
    /// Whether the reason is one.
    pub(crate) fn is_reasoned(&self) -> bool {
        REASONS.iter().any(|r| self.reason.strip_prefix(r).is_some_and(|rest| !rest.trim().is_empty()))
    }
}

/// The rows below the head `| mutation | why it survives |`; `None` without one.
pub(crate) fn rows(text: &str) -> Option<Vec<Row>> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    lines.find(|(_, line)| cells(line).is_some_and(|cells| cells == ["mutation", "why it survives"]))?;
    let rows = lines.take_while(|(_, line)| line.starts_with('|')).skip(1);
    Some(rows.map(|(line, text)| row(line, text)).collect())
}

fn row(line: usize, text: &str) -> Row {
    let mut cells = cells(text).unwrap_or_default().into_iter();
    let key = unquoted(&cells.next().unwrap_or_default());
    Row { line, key, reason: cells.collect::<Vec<_>>().join("|") }
}

/// The cells of a row of a table, in which `\|` is no border.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?.replace("\\|", "\u{0}");
    Some(inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect())
}

/// A key as a cell: as code, which has backticks itself.
pub(crate) fn quoted(key: &str) -> String {
    let key = key.replace('|', "\\|");
    if key.contains('`') { format!("`` {key} ``") } else { format!("`{key}`") }
}

fn unquoted(cell: &str) -> String {
    match cell.strip_prefix("``").and_then(|cell| cell.strip_suffix("``")) {
        Some(key) => key.trim().to_owned(),
        None => cell.trim_matches('`').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_row() {
        for key in ["words.rs Bell::seen: load Acquire weakened to Relaxed", "x.rs f: check `a || b` negated"]
        {
            let text = format!(
                "# M\n| a | b |\n\n| mutation | why it survives |\n|---|---|\n| {} | equivalent: x \\| y |\n\n| c | d |",
                quoted(key)
            );
            let rows = rows(&text).unwrap();
            assert_eq!(rows, [Row { line: 6, key: key.into(), reason: "equivalent: x | y".into() }]);
            assert!(rows[0].is_reasoned());
        }
        assert_eq!(rows("| mutation |"), None);
    }

    #[test]
    fn a_reason_is_one_of_a_kind() {
        let row = |reason: &str| Row { line: 1, key: String::new(), reason: reason.into() };
        assert!(row("not shown by loom: x").is_reasoned());
        assert!(!row("not shown by loom: ").is_reasoned() && !row("because").is_reasoned());
    }
}
