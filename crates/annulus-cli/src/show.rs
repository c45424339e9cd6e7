//! How a ring stands, as text and as JSON: the same fields by the same names.

use std::fmt::Write;

use annulus::{Info, SubscriberInfo};

/// The value of a field.
#[derive(Debug)]
enum Value {
    Number(u64),
    Flag(bool),
    Text(String),
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Number(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Number(n.into())
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Flag(yes)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Flag(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            Self::Text(text) => text.clone(),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Flag(yes) => yes.to_string(),
            Self::Text(text) => quoted(text),
        }
    }
}

/// All fields of a ring but its subscribers.
fn fields(info: &Info) -> Vec<(&'static str, Value)> {
    vec![
        ("name", info.name.as_str().into()),
        ("capacity", info.capacity.into()),
        ("max_len", info.max_len.into()),
        ("align", info.align.to_string().as_str().into()),
        ("fence", info.fence.to_string().as_str().into()),
        ("persistent", info.persistent.into()),
        ("uuid", format!("{:032x}", info.uuid).as_str().into()),
        ("created_unix_ns", info.created_unix_ns.into()),
        ("state", info.state.into()),
        ("epoch", info.epoch.into()),
        ("producer_alive", info.producer_alive.into()),
        ("producer_pid", info.producer_pid.into()),
        ("published", info.published.into()),
        ("bytes", info.bytes.into()),
        ("wakes", info.wakes.into()),
        ("full", info.full.into()),
        ("sleeps", info.sleeps.into()),
        ("reaped", info.reaped.into()),
        ("takeovers", info.takeovers.into()),
        ("max_subscribers", info.max_subscribers.into()),
    ]
}

fn subscriber(info: &SubscriberInfo) -> [(&'static str, Value); 5] {
    [
        ("slot", info.slot.into()),
        ("alive", info.alive.into()),
        ("pid", info.pid.into()),
        ("behind", info.behind.into()),
        ("sleeps", info.sleeps.into()),
    ]
}

/// A line for each field, and one for each subscriber.
pub(crate) fn text(info: &Info) -> String {
    let mut text = String::new();
    for (name, value) in fields(info) {
        let _ = writeln!(text, "{name:<16} {}", value.text());
    }
    let _ = writeln!(text, "{:<16} {}", "subscribers", info.subscribers.len());
    for one in &info.subscribers {
        let words = subscriber(one).map(|(name, value)| format!("{name} {}", value.text()));
        let _ = writeln!(text, "  {}", words.join(", "));
    }
    text
}

/// One JSON object in one line.
pub(crate) fn json(info: &Info) -> String {
    let subscribers: Vec<_> = info.subscribers.iter().map(|one| object(&subscriber(one), "")).collect();
    object(&fields(info), &format!(",\"subscribers\":[{}]", subscribers.join(",")))
}

/// One JSON object for a ring that cannot be looked at.
pub(crate) fn broken_json(name: &str, error: &str) -> String {
    object(&[("name", name.into()), ("error", error.into())], "")
}

fn object(fields: &[(&str, Value)], more: &str) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{}", value.json())).collect();
    format!("{{{}{more}}}", fields.join(","))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Rows below headings, each column as wide as its widest entry; numbers to the right. The last column may hold
/// anything and is not padded.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, (entry, &width)) in row.iter().zip(&widths).enumerate() {
            let is_number = entry.starts_with(|c: char| c.is_ascii_digit()) && i > 0;
            let _ = match is_number {
                true => write!(line, "{entry:>width$}  "),
                false => write!(line, "{entry:<width$}  "),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("a \"b\" \\ \n\u{1} é"), r#""a \"b\" \\ \u000a\u0001 é""#);
        assert_eq!(broken_json("x", "\"no\""), r#"{"name":"x","error":"\"no\""}"#);
    }

    #[test]
    fn columns_are_as_wide_as_their_entries() {
        let rows = [["NAME", "N", "STATE"], ["a", "12345", "open"], ["long-name", "7", ""]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "NAME       N      STATE\na          12345  open\nlong-name      7\n");
    }
}
