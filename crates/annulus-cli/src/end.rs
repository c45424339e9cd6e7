//! How a command ends, other than done.

use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command ended before it was done.
#[derive(Debug)]
pub(crate) enum End {
    /// What was asked for cannot be; exit code 2.
    Wrong(String),
    /// It began well, and something was lost, died or failed; exit code 1.
    Lost(String),
    /// A signal of this number; exit code 128 and the number, as of a process that dies of it.
    Signal(u8),
    /// Whoever reads the output has seen enough, which is success.
    Enough,
}

/// What commands and their parts return.
pub(crate) type Result<T = ()> = std::result::Result<T, End>;

impl End {
    /// Says it on stderr, where there is something to say.
    pub(crate) fn tell(self) -> ExitCode {
        match self {
            Self::Wrong(what) => {
                say(&what);
                ExitCode::from(2)
            }
            Self::Lost(what) => {
                say(&what);
                ExitCode::FAILURE
            }
            Self::Signal(number) => ExitCode::from(128 + number),
            Self::Enough => ExitCode::SUCCESS,
        }
    }

    /// Writing standard output failed.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Enough,
            _ => Self::Lost(format!("cannot write standard output: {error}")),
        }
    }
}

/// One line on stderr. If that is closed too, there is nobody to tell.
pub(crate) fn say(what: &str) {
    let _ = writeln!(io::stderr(), "annulus: {what}");
}

/// The library's sentences name its methods; a user of the command has options instead.
const OPTIONS: [(&str, &str); 20] = [
    ("`.wait(timeout)`", "`annulus sub --wait SECS`"),
    ("`.max_subscribers(..)`", "`annulus pub --max-subscribers N`"),
    ("`.permissions(..)`", "`--mode`"),
    ("`.dir(..)`", "`--dir`"),
    (", or `.allow_disk()`", ""),
    ("`.no_in_place()`", "`--no-in-place`"),
    ("use `open_or_create`, or another name", "remove it with `annulus rm`, or use another name"),
    ("`subscribe_copying` or `observe`", "`annulus sub --copy` or `annulus tail`"),
    ("`Start::Oldest`", "`--from oldest`"),
    ("`Clock::Monotonic`", "`--stamped monotonic`"),
    ("`HugePages`", "`annulus create --help`"),
    ("`.trust_uid(", "`annulus sub --trust-uid "),
    (")` if its processes", "` if its processes"),
    ("`.capacity(..)`", "`--capacity`"),
    ("`.fence(FenceMode::Symmetric)`", "`--fence symmetric`"),
    ("`.lock_memory()`", "memory locked"),
    ("`Waiting::park()`", "`--waiting park`"),
    (
        "`HugePages::Transparent` or `HugePages::Reserved`, see their pages",
        "`--huge-pages`, see `annulus create --help`",
    ),
    ("remove it with `.unreadable(true)`", "`annulus prune --unreadable` removes it all the same"),
    (
        "remove it with `.persistent(true)`, or by its name",
        "`annulus rm` and `annulus prune --persistent` remove it",
    ),
];

impl From<annulus::Error> for End {
    /// A ring that cannot be opened or made.
    fn from(error: annulus::Error) -> Self {
        Self::Wrong(sentence(&error))
    }
}

/// What a library's error says, in the words of the command.
pub(crate) fn sentence(error: &annulus::Error) -> String {
    in_options(error.to_string())
}

/// What the library says, in the words of the command.
pub(crate) fn in_options(text: String) -> String {
    OPTIONS.iter().fold(text, |text, (method, option)| text.replace(method, option))
}
