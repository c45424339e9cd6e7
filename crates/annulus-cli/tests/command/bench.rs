//! `annulus bench` as a command; what it measures is tested elsewhere.

use std::os::unix::process::CommandExt;

use rustix::process::{Signal, kill_process_group};

use crate::rig::{Place, Running, until};

const TIMES: [&str; 7] = ["n", "min", "p50", "p90", "p99", "p999", "max"];

/// A run of few rounds of one bench; its lines, of which there are as many as `heads`, and begin so.
fn tiny(bench: &str, size: &str, heads: &[String], names: &[&str]) {
    let place = Place::new();
    let args = ["bench", "--quick", "--rounds", "2", "--benches", bench, "--sizes", size, "--json"];
    let ended = place.run(&args);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(lines.len(), heads.len(), "{}", ended.text());
    for (line, head) in lines.iter().zip(heads) {
        let begin = format!("{{\"bench\":\"{bench}\",\"system\":{head},\"unit\":");
        assert!(line.starts_with(&begin) && line.ends_with('}'), "{line} is not {begin}");
        for name in names.iter().chain(&["ratio_lo", "ratio_hi"]) {
            let value = line.split_once(&format!("\"{name}\":")).unwrap().1.split([',', '}']).next().unwrap();
            assert!(value.parse::<f64>().unwrap() > 0.0, "{name} in {line}");
        }
    }
    assert_eq!(place.names(), [""; 0], "no ring stays behind");
}

#[test]
fn a_tiny_run_prints_a_line_for_each_row() {
    let heads = [("floor", "spin"), ("annulus", "spin"), ("pipe", "block"), ("uds", "block")];
    let heads = heads.map(|(system, mode)| format!("\"{system}\",\"size\":8,\"mode\":\"{mode}\""));
    tiny("pingpong", "8", &heads, &[&TIMES[..], &["ratio_p50"]].concat());
}

#[test]
fn a_fan_out_has_a_line_for_each_number_of_readers() {
    let heads =
        [1, 2, 8, 64].map(|n| format!("\"annulus\",\"size\":100,\"mode\":\"polled\",\"readers\":{n}"));
    tiny("fanout", "100", &heads, &[&TIMES[..], &["msgs_per_s", "ratio_p50"]].concat());
}

#[test]
fn a_group_has_a_line_for_each_system_and_number_of_workers() {
    let heads = [1, 2, 4].into_iter().flat_map(|n| {
        let modes = [("bare-cursor", "spin"), ("annulus", "park"), ("crossbeam", "park")];
        modes.map(|(system, mode)| format!("\"{system}\",\"size\":100,\"mode\":\"{mode}\",\"workers\":{n}"))
    });
    tiny("group", "100", &heads.collect::<Vec<_>>(), &["n", "msgs_per_s", "gb_per_s", "ratio"]);
}

#[test]
fn a_selection_has_a_line_for_each_system_and_number_of_rings() {
    let heads = [1, 16, 128].into_iter().flat_map(|n| {
        ["floor", "annulus"]
            .map(|system| format!("\"{system}\",\"size\":100,\"mode\":\"park\",\"rings\":{n}"))
    });
    tiny("select", "100", &heads.collect::<Vec<_>>(), &[&TIMES[..], &["ratio_p50"]].concat());
}

#[test]
fn tasks_have_a_line_for_each_system() {
    let tasks = ["annulus", "tokio-uds", "annulus-tasks", "tokio-mpsc", "tokio-mpsc-threads"];
    let heads = [("floor", "park")].into_iter().chain(tasks.map(|system| (system, "task")));
    let heads = heads.map(|(system, mode)| format!("\"{system}\",\"size\":100,\"mode\":\"{mode}\""));
    tiny("async", "100", &heads.collect::<Vec<_>>(), &[&TIMES[..], &["ratio_p50"]].concat());
}

#[test]
fn a_system_that_a_bench_does_not_know_is_wrong_use() {
    let place = Place::new();
    let wrong = [
        ("pingpong,fanout", "pipe", "the bench `fanout` does not know the system `pipe`: it knows annulus"),
        ("group", "uds", "the bench `group` does not know the system `uds`: it knows bare-cursor, annulus, "),
        (
            "select",
            "annulus-tsc",
            "the bench `select` does not know the system `annulus-tsc`: it knows floor, ",
        ),
        (
            "async",
            "uds",
            "the bench `async` does not know the system `uds`: it knows floor, annulus, tokio-uds, ",
        ),
        (
            "wake",
            "annulus-tasks",
            "the bench `wake` does not know the system `annulus-tasks`: it knows floor, ",
        ),
    ];
    for (benches, system, what) in wrong {
        let ended = place.run(&["bench", "--quick", "--benches", benches, "--systems", system]);
        assert_eq!((ended.code, ended.text()), (Some(2), ""));
        assert!(ended.err.contains(what), "{}", ended.err);
    }
}

#[test]
fn a_signal_of_the_terminal_leaves_no_ring_behind() {
    // A fan-out to one reader has one ring, and so have a group and a selection of one ring.
    let benches = [
        (Signal::INT, "pingpong", 2),
        (Signal::TERM, "pingpong", 2),
        (Signal::INT, "fanout", 1),
        (Signal::INT, "group", 1),
        (Signal::INT, "select", 1),
        (Signal::INT, "async", 4),
    ];
    for (signal, bench, rings) in benches {
        let place = Place::new();
        let systems = if bench == "async" { "annulus,annulus-tasks" } else { "annulus" };
        let args = ["bench", "--rounds", "1000000", "--benches", bench, "--systems", systems];
        // A terminal sends it to both processes of the bench.
        let bench = Running(place.command(&args).process_group(0).spawn().unwrap());
        until(|| place.names().iter().filter(|name| !name.starts_with('.')).count() == rings);
        kill_process_group(bench.pid(), signal).unwrap();
        let ended = bench.end();
        let code = if signal == Signal::INT { 130 } else { 143 };
        assert_eq!((ended.code, ended.text(), ended.err.as_str()), (Some(code), "", ""));
        assert_eq!(place.names(), [""; 0]);
    }
}
