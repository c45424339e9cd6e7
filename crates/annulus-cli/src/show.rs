//! How a ring stands, as text and as JSON: the same fields by the same names.

use std::fmt::{Display, Write};

use annulus::{GroupInfo, SubscriberInfo};

use crate::look::Looked;

/// The value of a field.
#[derive(Debug)]
pub(crate) enum Value {
    /// Nothing, or not to be known.
    None,
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

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl Value {
    /// What is shown by the name that it has.
    pub(crate) fn named(value: &impl Display) -> Self {
        Self::Text(value.to_string())
    }

    /// In one line.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Number(n) => n.to_string(),
            Self::Flag(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            Self::Text(text) => {
                let mut line = Vec::new();
                crate::tail::text(text.as_bytes(), &mut line);
                String::from_utf8_lossy(&line).into_owned()
            }
        }
    }

    fn json(&self) -> String {
        match self {
            Self::None => "null".to_owned(),
            Self::Number(n) => n.to_string(),
            Self::Flag(yes) => yes.to_string(),
            Self::Text(text) => quoted(text),
        }
    }
}

/// All fields of a ring but its subscribers.
fn fields(ring: &Looked) -> Vec<(&'static str, Value)> {
    let Looked { info, files } = ring;
    let nanos = |time: std::time::Duration| time.as_nanos() as u64; // of 64 bits in the ring
    let kind = info.payload.as_ref();
    vec![
        ("name", info.name.as_str().into()),
        ("uuid", format!("{:032x}", info.uuid).as_str().into()),
        ("created_unix_ns", info.created_unix_ns.into()),
        ("uid", files.uid.into()),
        ("capacity", info.capacity.into()),
        ("max_len", info.max_len.into()),
        ("align", Value::named(&info.align)),
        ("fence", Value::named(&info.fence)),
        ("wake", Value::named(&info.wake)),
        ("persistent", info.persistent.into()),
        ("no_in_place", info.no_in_place.into()),
        ("evict_after_ns", info.evict_after.map(nanos).into()),
        ("retain", info.retain.into()),
        ("clock", info.clock.map_or(Value::None, |clock| Value::named(&clock))),
        ("liveness_ns", nanos(info.liveness).into()),
        ("type", kind.map(|kind| kind.name.as_str()).into()),
        ("type_size", kind.map(|kind| kind.size).into()),
        ("type_align", kind.map(|kind| kind.align).into()),
        ("type_fingerprint", kind.map(|kind| format!("{:016x}", kind.fingerprint)).as_deref().into()),
        ("schema", schema(&info.schema)),
        ("data_bytes", files.data_bytes.into()),
        ("ctl_bytes", files.ctl_bytes.into()),
        ("memory_bytes", files.memory_bytes.into()),
        ("state", info.state.into()),
        ("epoch", info.epoch.into()),
        ("producer_alive", info.producer_alive.into()),
        ("producer_pid", (info.epoch > 0).then_some(info.producer_pid).into()),
        ("published", info.published.into()),
        ("bytes", info.bytes.into()),
        ("wakes", info.wakes.into()),
        ("full", info.full.into()),
        ("sleeps", info.sleeps.into()),
        ("evicted", info.evicted.into()),
        ("lost", files.shows_subscribers.then_some(info.lost).into()),
        ("reaped", info.reaped.into()),
        ("takeovers", info.takeovers.into()),
        ("max_subscribers", info.max_subscribers.into()),
        ("max_groups", info.max_groups.into()),
    ]
}

/// Text as it is; other bytes with those escaped that are not ASCII.
fn schema(bytes: &[u8]) -> Value {
    match bytes {
        [] => Value::None,
        _ => Value::Text(
            String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| bytes.escape_ascii().to_string()),
        ),
    }
}

fn subscriber(info: &SubscriberInfo) -> [(&'static str, Value); 7] {
    [
        ("slot", info.slot.into()),
        ("alive", info.alive.into()),
        ("pid", info.pid.into()),
        ("kind", kind(info).into()),
        ("behind", info.behind.into()),
        ("lost", info.lost.into()),
        ("sleeps", info.sleeps.into()),
    ]
}

fn group(info: &GroupInfo) -> [(&'static str, Value); 9] {
    [
        ("name", info.name.as_str().into()),
        ("number", info.number.into()),
        ("durable", info.durable.into()),
        ("workers", info.workers.into()),
        ("behind", info.behind.into()),
        ("held", info.held.into()),
        ("returned", info.returned.into()),
        ("dead_letters", info.dead_letters.into()),
        ("attempts", info.attempts.into()),
    ]
}

/// How a subscriber reads.
pub(crate) fn kind(info: &SubscriberInfo) -> &'static str {
    if info.copying { "copying" } else { "in-place" }
}

/// A line for each field, and one for each subscriber.
pub(crate) fn text(ring: &Looked) -> String {
    let mut text = String::new();
    for (name, value) in fields(ring) {
        let _ = writeln!(text, "{name}: {}", value.text());
    }
    if !ring.files.shows_subscribers {
        return text + "subscribers: none\n";
    }
    let _ = writeln!(text, "subscribers: {}", ring.info.subscribers.len());
    for one in &ring.info.subscribers {
        let words = subscriber(one).map(|(name, value)| format!("{name} {}", value.text()));
        let _ = writeln!(text, "subscriber: {}", words.join(", "));
    }
    for one in &ring.info.groups {
        let words = group(one).map(|(name, value)| format!("{name} {}", value.text()));
        let _ = writeln!(text, "group: {}", words.join(", "));
    }
    text
}

/// One JSON object in one line.
pub(crate) fn json(ring: &Looked) -> String {
    let subscribers: Vec<_> = ring.info.subscribers.iter().map(|one| object(&subscriber(one), "")).collect();
    let subscribers = match ring.files.shows_subscribers {
        true => format!("[{}]", subscribers.join(",")),
        false => "null".to_owned(),
    };
    let groups: Vec<_> = ring.info.groups.iter().map(|one| object(&group(one), "")).collect();
    let groups =
        if ring.files.shows_subscribers { format!("[{}]", groups.join(",")) } else { "null".to_owned() };
    object(&fields(ring), &format!(",\"subscribers\":{subscribers},\"groups\":{groups}"))
}

/// One JSON object for a ring that cannot be looked at.
pub(crate) fn broken_json(name: &str, error: &str) -> String {
    object(&[("name", name.into()), ("error", error.into())], "")
}

/// One JSON object in one line; `more` is a last field, with its comma.
pub(crate) fn object(fields: &[(&str, Value)], more: &str) -> String {
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

/// Rows below headings, each column as wide as its widest entry; numbers to the right. The last column may
/// hold anything and is not padded.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, (entry, &width)) in row.iter().zip(&widths).enumerate() {
            let is_sentence = i + 1 == N && entry.contains(' ');
            let is_number = entry.starts_with(|c: char| c.is_ascii_digit()) && i > 0 && !is_sentence;
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
        let rows = [["a", "a sentence that is long"], ["b", "2 short"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a  a sentence that is long\nb  2 short\n");
    }
}
