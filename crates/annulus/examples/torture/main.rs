//! Rings under torture: `cargo xtask torture` builds and starts this. It cannot be learned from; see the guide for that.
//!
//! A *conductor* keeps several rings of differing options going and starts, stops, continues and kills their
//! producers, readers and workers at random. Each record's bytes follow from a seed and its number alone, so that a *checker*, a
//! process of its own that knows the seed and is sent the bytes that readers received, can say whether
//! anything was lost, doubled or torn. Some rings have groups, whose workers note each step before they take it, so that the
//! checker also knows what those did that were killed.
//!
//! ```text
//! conductor ──starts, signals──► producers ──rings──► readers, workers ──what they received──► checker
//!     ▲   └──what dead producers had noted─────────────────────────────────────────────────────►  │
//!     └────────────────────────────────────────── what is wrong, the counts ──────────────────────┘
//! ```

mod actor;
mod books;
mod check;
mod conduct;
mod copy;
mod crew;
mod deeds;
mod forward;
mod in_place;
mod ledger;
mod notes;
mod plan;
mod produce;
mod read;
mod ring;
mod shift;
mod stage;
mod sys;
mod wire;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["producer", rest @ ..] => produce::run(rest),
        ["reader", rest @ ..] => read::run(rest),
        ["worker", rest @ ..] => work::run(rest),
        ["checker", rest @ ..] => check::run(rest),
        rest => return conduct::main(rest),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("torture: {}: {why}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}
