//! Insertions around ranges of a text, which may nest and may not overlap otherwise.

use std::cmp::Reverse;
use std::ops::Range;

/// Text to put around a range.
#[derive(Debug)]
struct Wrap {
    range: Range<usize>,
    before: String,
    after: String,
}

/// What is to be inserted in one file.
#[derive(Debug, Default)]
pub(super) struct Edits {
    wraps: Vec<Wrap>,
}

impl Edits {
    /// Puts `before` and `after` around a range that is not empty. Of two that are the same, the first is outside.
    pub(super) fn wrap(&mut self, range: Range<usize>, before: impl Into<String>, after: impl Into<String>) {
        assert!(!range.is_empty());
        self.wraps.push(Wrap { range, before: before.into(), after: after.into() });
    }

    /// The text with everything inserted.
    pub(super) fn apply(&self, text: &str) -> String {
        // Where one ends and the next begins at the same place, the end comes first.
        let ends = self
            .wraps
            .iter()
            .enumerate()
            .map(|(i, w)| ((w.range.end, 0, Reverse(w.range.start), Reverse(i)), &w.after));
        let starts = self
            .wraps
            .iter()
            .enumerate()
            .map(|(i, w)| ((w.range.start, 1, Reverse(w.range.end), Reverse(usize::MAX - i)), &w.before));
        let mut all: Vec<_> = ends.chain(starts).collect();
        all.sort_by_key(|(key, _)| *key);
        let (mut out, mut at) = (String::with_capacity(text.len() * 2), 0);
        for ((place, ..), inserted) in all {
            out.push_str(&text[at..place]);
            out.push_str(inserted);
            at = place;
        }
        out.push_str(&text[at..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insertions_nest() {
        let mut edits = Edits::default();
        edits.wrap(2..3, "<", ">");
        edits.wrap(2..5, "(", ")");
        edits.wrap(3..5, "[", "]");
        edits.wrap(2..5, "{", "}");
        edits.wrap(0..2, "a", "b");
        assert_eq!(edits.apply("012345"), "a01b({<2>[34]})5");
        assert_eq!(Edits::default().apply("x"), "x");
    }
}
