//! What a publication costs its producer, by fence mode: readers that may sleep should cost it nothing.
//!
//! One process, a subscriber that is never far behind, rounds of the three modes in turn; the figure is the median of
//! the ratios to the spin-only ring in the same turn.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use annulus::{FenceMode, Producer, Ring, Subscriber};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const MODES: [FenceMode; 3] = [FenceMode::SpinOnly, FenceMode::Asymmetric, FenceMode::Symmetric];
/// Records published before the subscriber takes them: far less than a lap.
const RUN: u64 = 1000;
const TURNS: usize = 401;

struct Pair {
    tx: Producer,
    rx: Subscriber,
}

impl Pair {
    fn new(mode: FenceMode) -> Pair {
        let name = format!("bench-publish-{}-{mode}", std::process::id());
        let tx = Ring::create(&name).capacity(1 << 17).fence(mode).producer().expect("a ring");
        let rx = Ring::open(&name).subscribe().expect("the ring");
        Pair { tx, rx }
    }

    /// The time of so many publications; reading them is not counted.
    fn publish(&mut self, mut count: u64) -> Duration {
        let mut took = Duration::ZERO;
        while count > 0 {
            let run = count.min(RUN);
            let start = Instant::now();
            for i in 0..run {
                self.tx.send(black_box(&i.to_le_bytes())).expect("room");
            }
            took += start.elapsed();
            while self.rx.try_recv().is_ok() {}
            count -= run;
        }
        took
    }
}

fn publish(c: &mut Criterion) {
    let mut pairs = MODES.map(Pair::new);
    let mut group = c.benchmark_group("publish 8 B");
    group.throughput(Throughput::Elements(1));
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for (mode, pair) in MODES.iter().zip(&mut pairs) {
        group.bench_function(BenchmarkId::from_parameter(mode), |b| b.iter_custom(|n| pair.publish(n)));
    }
    group.finish();
    let mut ratios = MODES.map(|_| Vec::new());
    for turn in 0..TURNS {
        let mut took = [0.0; 3];
        // Each mode is first as often as the others.
        for i in 0..MODES.len() {
            let mode = (turn + i) % MODES.len();
            took[mode] = pairs[mode].publish(20 * RUN).as_secs_f64();
        }
        for (ratios, one) in ratios.iter_mut().zip(took) {
            ratios.push(one / took[0]);
        }
    }
    for (mode, mut ratios) in MODES.iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        let [low, middle, high] = [1, 2, 3].map(|quarter| ratios[TURNS * quarter / 4]);
        println!(
            "    {mode}: time over the spin-only ring's, turn by turn: {middle:.3} [{low:.3} {high:.3}]"
        );
    }
}

criterion_group!(benches, publish);
criterion_main!(benches);
