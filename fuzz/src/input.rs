//! The bytes that a fuzzer made up, read as choices. When they are used up, every choice is 0.

/// What is left of an input.
#[derive(Debug)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number below `n`, or 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        match n {
            0 | 1 => 0,
            2..=256 => usize::from(self.byte()) % n,
            n => usize::from(self.short()) % n,
        }
    }

    /// A payload length: mostly a few bytes, now and then about as many as fit, or too many.
    pub(crate) fn len(&mut self, max: u64) -> u64 {
        match self.byte() {
            short @ 0..=191 => u64::from(short).min(max),
            near @ 192..=223 => max.saturating_sub(u64::from(near - 192)),
            long @ 224..=247 => max * u64::from(long - 223) / 24,
            over => max + u64::from(over - 247),
        }
    }
}
