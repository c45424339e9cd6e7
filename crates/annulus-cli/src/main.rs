//! The `annulus` command: measures, makes, publishes, reads, watches and looks after rings.

mod args;
mod bench;
mod check;
mod create;
mod doctor;
mod end;
mod format;
mod generate;
mod hz;
mod input;
mod kind;
mod lag;
mod list;
mod look;
mod prune;
mod publish;
mod reader;
mod show;
mod stop;
mod subscribe;
mod tail;
mod units;

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

/// Each says itself, at length, what it does; `about` is its line in the list of all.
#[derive(Subcommand, Debug)]
enum Command {
    #[command(about = "Measure rings, pipes and sockets between two processes", after_help = EXIT_CODES)]
    Bench(bench::BenchArgs),
    /// The other half of `bench`, which starts it by itself
    #[command(hide = true)]
    BenchPeer,
    #[command(about = "Make a ring that stays when its producers end", after_help = EXIT_CODES)]
    Create(create::CreateArgs),
    #[command(about = "Remove rings", after_help = EXIT_CODES)]
    Rm(create::RmArgs),
    #[command(
        about = "Publish lines of standard input, each as a record, or made-up records at a rate",
        after_help = EXIT_CODES
    )]
    Pub(publish::PubArgs),
    #[command(
        about = "Print records, each as a line; the producer waits for this reader",
        after_help = EXIT_CODES
    )]
    Sub(subscribe::SubArgs),
    #[command(
        about = "Print records without holding anybody back, as text, hexadecimal digits or fields",
        after_help = tail::FORMATS,
        after_long_help = format!("{}\n\n{EXIT_CODES}", tail::FORMATS)
    )]
    Tail(tail::TailArgs),
    #[command(about = "List the rings of a directory", after_help = EXIT_CODES)]
    Ls(list::LsArgs),
    #[command(about = "Tell how a ring stands: its kind, counters and subscribers", after_help = EXIT_CODES)]
    Info(list::InfoArgs),
    #[command(about = "Tell how many records and bytes a second go through a ring", after_help = EXIT_CODES)]
    Hz(hz::HzArgs),
    #[command(about = "Tell how far behind subscribers are", after_help = EXIT_CODES)]
    Lag(lag::LagArgs),
    #[command(about = "Explain what crashes left in a directory of rings, and remove it", after_help = EXIT_CODES)]
    Prune(prune::PruneArgs),
    #[command(about = "Examine whether rings can live here, and how well", after_help = doctor::EXIT_CODES)]
    Doctor(doctor::DoctorArgs),
    #[command(about = "Check how a ring stands, as a plugin of Nagios", after_help = check::EXIT_CODES)]
    Check(check::CheckArgs),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| wrong(&error));
    let done = match cli.command {
        Command::BenchPeer => return annulus_bench::peer_main(),
        Command::Check(args) => return check::run(&args),
        Command::Doctor(args) => return doctor::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Create(args) => create::create(&args),
        Command::Rm(args) => create::rm(&args),
        Command::Pub(args) => publish::run(&args),
        Command::Sub(args) => subscribe::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Ls(args) => list::ls(&args),
        Command::Info(args) => list::info(&args),
        Command::Hz(args) => hz::run(&args),
        Command::Lag(args) => lag::run(&args),
        Command::Prune(args) => prune::run(&args),
    };
    done.map_or_else(End::tell, |()| ExitCode::SUCCESS)
}

/// Ends the program, which was not told what it needs to know; or was asked for help.
fn wrong(error: &clap::Error) -> ! {
    let is_check = std::env::args_os().nth(1).is_some_and(|command| command == "check");
    if !error.use_stderr() || !is_check {
        error.exit();
    }
    // For whoever reads only a plugin's output; for people, what is wrong in full.
    let _ = list::print(&check::unknown("wrong arguments: see `annulus check --help`"));
    let _ = error.print();
    std::process::exit(3);
}
