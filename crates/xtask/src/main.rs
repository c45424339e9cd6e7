//! What CI runs, in Rust: `cargo xtask <task>`, with no tool beside cargo, rustc, clippy and rustfmt, but for `fuzz` (a C++ compiler),
//! `spin` (the Debian package of that name, and a C compiler) and `sanitize` (valgrind).

mod book;
mod ci;
mod faults;
mod fuzz;
mod hostile;
mod loom;
mod mutants;
mod process;
mod sanitize;
mod spin;
mod tidy;
mod torture;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  ci [--skip-tests]   everything that CI demands, in order, stopping at the first red step
  loom [FILTER]       the loom models; LOOM_MAX_PREEMPTIONS is 3 unless set
  fuzz [TARGET] [--seconds N | --runs N]
                      the targets of fuzz/, 30 seconds in all unless said; --check: its rustfmt and clippy
  book                the pages of `docs` as a book in target/book, with its links checked
  bench [ARGS..]      `annulus bench ARGS`, in a release build
  faults              programs killed at each fault point, in a build that has them
  killstep [--quick] [--seed S] [--what PROGRAM]
                      the same programs killed before each instruction; with --quick before some
  torture [ARGS..]    rings under stops and kills: --seconds N, --seed S, --sabotage drop|dup|tear; --smoke for CI
  spin [--deep]       the model in Promela, and each fault put into it; needs the Debian package spin
  hostile [--quick | --seconds N]
                      the tests of hostile peers, with victims built with AddressSanitizer
  sanitize [--quick]  the stress and process tests with AddressSanitizer and under valgrind's memcheck; with --quick some
  mutants [--list] [--sample N [--seed S] | --all] [--only TEXT] [--slow] [--resume] [--jobs N] [--json FILE]
                      annulus-core with one thing wrong at a time; red if no test notices and docs/mutants.md does not
                      say why; LOOM_MAX_PREEMPTIONS is 3 unless set
  tidy                the house's rules: places, sizes, orderings, edges, manifests, docs
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = process::root();
    let outcome = match args.as_slice() {
        ["ci"] => ci::run(&root, false),
        ["ci", "--skip-tests"] => ci::run(&root, true),
        ["loom"] => loom::run(&root, None),
        ["loom", filter] => loom::run(&root, Some(filter)),
        ["fuzz", rest @ ..] => fuzz::run(&root, rest),
        ["book"] => book::run(&root),
        ["bench", rest @ ..] => return process::bench(&root, rest),
        ["faults"] => faults::run(&root),
        ["killstep", rest @ ..] => faults::killstep(&root, rest),
        ["torture", rest @ ..] => torture::run(&root, rest),
        ["spin", rest @ ..] => spin::run(&root, rest),
        ["hostile", rest @ ..] => hostile::run(&root, rest),
        ["sanitize", rest @ ..] => sanitize::run(&root, rest),
        ["mutants", rest @ ..] => mutants::run(&root, rest),
        ["tidy"] => tidy::run(&root),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
