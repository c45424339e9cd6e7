//! `annulus bench` as a command; what it measures is tested elsewhere.

use std::os::unix::process::CommandExt;

use rustix::process::{Signal, kill_process_group};

use crate::rig::{Place, Running, until};

#[test]
fn a_tiny_run_prints_a_line_for_each_row() {
    let place = Place::new();
    let args = ["bench", "--quick", "--rounds", "2", "--benches", "pingpong", "--sizes", "8", "--json"];
    let ended = place.run(&args);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(lines.len(), 4, "{}", ended.text());
    for (line, system) in lines.iter().zip(["floor", "annulus", "pipe", "uds"]) {
        let begin = format!("{{\"bench\":\"pingpong\",\"system\":\"{system}\",\"size\":8,\"mode\":");
        assert!(line.starts_with(&begin) && line.ends_with('}'), "{line}");
        for name in ["n", "min", "p50", "p90", "p99", "p999", "max", "ratio_p50", "ratio_lo", "ratio_hi"] {
            let value = line.split_once(&format!("\"{name}\":")).unwrap().1.split([',', '}']).next().unwrap();
            assert!(value.parse::<f64>().unwrap() > 0.0, "{name} in {line}");
        }
    }
    assert_eq!(place.names(), [""; 0], "no ring stays behind");
}

#[test]
fn a_signal_of_the_terminal_leaves_no_ring_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::new();
        let args = ["bench", "--rounds", "1000000", "--benches", "pingpong", "--systems", "annulus"];
        // A terminal sends it to both processes of the bench.
        let bench = Running(place.command(&args).process_group(0).spawn().unwrap());
        until(|| place.names().iter().filter(|name| !name.starts_with('.')).count() == 2);
        kill_process_group(bench.pid(), signal).unwrap();
        let ended = bench.end();
        let code = if signal == Signal::INT { 130 } else { 143 };
        assert_eq!((ended.code, ended.text(), ended.err.as_str()), (Some(code), "", ""));
        assert_eq!(place.names(), [""; 0]);
    }
}
