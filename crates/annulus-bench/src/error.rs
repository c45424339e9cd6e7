//! Why a run did not happen, or did not end.

use std::{fmt, io};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A run that cannot be: wrong use, or something that failed, in one sentence.
#[derive(Debug)]
pub struct Error(Box<(bool, String)>);

impl Error {
    #[cold]
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self(Box::new((true, what.into())))
    }

    #[cold]
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self(Box::new((false, what.into())))
    }

    #[cold]
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        Self::failed(format!("{what}: {error}"))
    }

    /// Whether what was asked for is impossible, and nothing was measured.
    pub fn is_usage(&self) -> bool {
        self.0.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.1)
    }
}

impl std::error::Error for Error {}
