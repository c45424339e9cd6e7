//! Two processes that create the same name at once, very often.

use annulus::{ErrorKind, Ring};

use super::child::{Child, say};
use super::forks::{Board, Fork};
use crate::support::{Dir, in_time};

const RACES: u64 = 10_000;

/// Promise: two processes create the same name at once: one wins, the other gets `AlreadyExists` or opens it; 10,000
/// races, never two. The same with `open_or_create`, where the other is told that a producer is alive.
#[test]
fn two_processes_race() {
    in_time(|| {
        let dir = Dir::new();
        let mut racers = Child::start("races", &[dir.text()]);
        racers.expect(&format!("{RACES} races, {RACES} won"));
        racers.ends_well();
        assert!(dir.entries().is_empty(), "{:?}", dir.entries());
    });
}

/// Lets two children race.
pub(super) fn races(dir: &str) {
    // Numbers on the board: who waits for the start, who has tried, who has ended, and who has won, in all races.
    let [ready, tried, ended, won] = [0, 1, 2, 3];
    let board = Board::new();
    let race = |round: u64| {
        let all = (round + 1) * 2;
        board.count(ready);
        board.until(ready, all);
        let ring = if round.is_multiple_of(2) { Ring::create("r") } else { Ring::open_or_create("r") };
        let outcome = ring.dir(dir).capacity(4096).max_subscribers(1).producer();
        if outcome.is_ok() {
            let before = board.count(won);
            assert_eq!(before, round, "two producers");
        }
        board.count(tried);
        board.until(tried, all);
        match outcome {
            Ok(tx) => {
                board.until(ended, all - 1);
                drop(tx);
            }
            Err(error) => {
                let expected =
                    if round.is_multiple_of(2) { ErrorKind::AlreadyExists } else { ErrorKind::ProducerAlive };
                assert_eq!(error.kind(), &expected, "round {round}");
                // It is the other's, whole.
                Ring::open("r").dir(dir).observe().unwrap();
            }
        }
        board.count(ended);
        board.until(ended, all);
    };
    let racers = [0, 1].map(|_| Fork::new(|| (0..RACES).for_each(race)));
    racers.into_iter().for_each(Fork::ends_well);
    say(&format!("{RACES} races, {} won", board.get(won)));
}
