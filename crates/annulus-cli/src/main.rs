//! The `annulus` command: measures, publishes, reads and lists rings.

mod args;
mod bench;
mod end;
mod input;
mod list;
mod publish;
mod show;
mod stop;
mod subscribe;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::end::End;

const EXIT_CODES: &str = "\
Exit codes:
    0  done; also if whoever reads the output has seen enough (a broken pipe)
    1  ended early: a reader lost its place, a process at the other end died, or something failed
    2  wrong use, or no such ring; nothing was sent, read or measured
  130  ended by SIGINT (143: SIGTERM), with what was made removed

Rings are in $ANNULUS_DIR, or in /dev/shm/annulus-<uid>, unless --dir says where.";

/// Rings in shared memory: one producer, many readers
#[derive(Parser, Debug)]
#[command(name = "annulus", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Measure rings, pipes and sockets between two processes
    #[command(after_help = EXIT_CODES)]
    Bench(bench::BenchArgs),
    /// The other half of `bench`, which starts it by itself
    #[command(hide = true)]
    BenchPeer,
    /// Publish lines of standard input, each as a record
    #[command(after_help = EXIT_CODES)]
    Pub(publish::PubArgs),
    /// Print records, each as a line
    #[command(after_help = EXIT_CODES)]
    Sub(subscribe::SubArgs),
    /// List the rings of a directory
    #[command(after_help = EXIT_CODES)]
    Ls(list::LsArgs),
    /// Tell how a ring stands
    #[command(after_help = EXIT_CODES)]
    Info(list::InfoArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::BenchPeer => return annulus_bench::peer_main(),
        Command::Bench(args) => bench::run(&args),
        Command::Pub(args) => publish::run(&args),
        Command::Sub(args) => subscribe::run(&args),
        Command::Ls(args) => list::ls(&args),
        Command::Info(args) => list::info(&args),
    };
    done.map_or_else(End::tell, |()| ExitCode::SUCCESS)
}
