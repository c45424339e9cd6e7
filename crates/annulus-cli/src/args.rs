//! Words that several commands understand.

use std::path::PathBuf;

use annulus::{Align, Create, FenceMode, Open, Ring, Waiting};
use clap::{Args, ValueEnum};

/// Which ring.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// The ring: 1 to 200 of A-Z a-z 0-9 . _ -, without a dot at its beginning
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Where rings are.
#[derive(Args, Debug)]
pub(crate) struct At {
    /// The directory of rings [default: $ANNULUS_DIR, or /dev/shm/annulus-UID]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl Named {
    pub(crate) fn open(&self) -> Open {
        let open = Ring::open(&self.name);
        if let Some(dir) = &self.at.dir { open.dir(dir) } else { open }
    }

    pub(crate) fn open_or_create(&self) -> Create {
        let create = Ring::open_or_create(&self.name);
        if let Some(dir) = &self.at.dir { create.dir(dir) } else { create }
    }
}

/// How an end of a ring waits for the other.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Wait {
    /// On the CPU: the fastest, and all of one CPU
    Spin,
    /// On the CPU, giving it away between looks
    Yield,
    /// In the kernel
    Park,
}

impl From<Wait> for Waiting {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Spin => Self::spin(),
            Wait::Yield => Self::yielding(),
            Wait::Park => Self::park(),
        }
    }
}

/// Where records begin.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Place {
    /// On multiples of 64 bytes: fast
    Line,
    /// On multiples of 8 bytes: small
    Packed,
}

impl From<Place> for Align {
    fn from(place: Place) -> Self {
        match place {
            Place::Line => Self::Line,
            Place::Packed => Self::Packed,
        }
    }
}

/// Who pays for readers that sleep.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Fence {
    /// A reader that goes to sleep
    Asymmetric,
    /// The producer, a fence for each publish
    Symmetric,
    /// Nobody: readers never sleep
    Spin,
}

impl From<Fence> for FenceMode {
    fn from(fence: Fence) -> Self {
        match fence {
            Fence::Asymmetric => Self::Asymmetric,
            Fence::Symmetric => Self::Symmetric,
            Fence::Spin => Self::SpinOnly,
        }
    }
}

/// A number of bytes, as in `4096`, `64K`, `1M`, `2G`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let wrong =
        |_| "a number of bytes is needed, with K, M or G behind it or nothing, as in `64K`".to_owned();
    let number: usize = digits.parse().map_err(wrong)?;
    number.checked_mul(1 << shift).ok_or_else(|| "no machine has so many bytes".to_owned())
}

/// The same, from one byte on.
pub(crate) fn some_bytes(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        0 => Err("a block has at least one byte".to_owned()),
        n => Ok(n),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_have_suffixes() {
        for (text, n) in
            [("0", 0), ("4096", 4096), ("64K", 65_536), ("64k", 65_536), ("3M", 3 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(bytes(text), Ok(n), "{text}");
        }
        assert_eq!(bytes("18446744073709551615"), Ok(usize::MAX));
        for text in ["", "K", "1KB", "-1", "1.5M", " 1", "18446744073709551615K", "99999999999999999999", "é"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
