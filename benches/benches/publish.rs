//! What a publication costs its producer, by fence mode: readers that may sleep should cost it nothing. And with an
//! observer beside the subscriber: it should cost nothing, too.
//!
//! One process, a subscriber that is never far behind, rounds of the three modes in turn; the figure is the median of
//! the ratios to the spin-only ring in the same turn. For the observer a thread on another processor reads along, of
//! one ring with a subscriber, of the other with a subscriber and an observer.
#![allow(missing_docs, unsafe_code)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use annulus::{FenceMode, Observer, Producer, Ring, Subscriber};
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

/// A ring that another thread reads.
struct Followed {
    tx: Producer,
    /// How far that thread is.
    read: Arc<AtomicU64>,
    /// Whether it reads at all: two that do at once would measure each other.
    awake: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

impl Followed {
    fn new(observed: bool) -> Followed {
        let name = format!("bench-observe-{}-{observed}", std::process::id());
        let tx = Ring::create(&name).capacity(1 << 17).producer().expect("a ring");
        let rx = Ring::open(&name).subscribe().expect("the ring");
        let observer = observed.then(|| Ring::open(&name).observe().expect("the ring"));
        let (read, awake) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (r, a) = (read.clone(), awake.clone());
        let reader = std::thread::spawn(move || follow(&rx, observer, &r, &a));
        Followed { tx, read, awake, reader }
    }

    fn publish(&mut self, runs: u64) -> Duration {
        self.awake.store(true, Ordering::Relaxed);
        self.reader.thread().unpark();
        let mut took = Duration::ZERO;
        for _ in 0..runs {
            let start = Instant::now();
            for i in 0..RUN {
                self.tx.send(black_box(&i.to_le_bytes())).expect("room");
            }
            took += start.elapsed();
            while self.read.load(Ordering::Relaxed) < self.tx.sequence() {
                std::hint::spin_loop();
            }
        }
        self.awake.store(false, Ordering::Relaxed);
        took
    }
}

fn follow(rx: &Subscriber, mut observer: Option<Observer>, read: &AtomicU64, awake: &AtomicBool) {
    pin(1);
    let mut buf = [0; 8];
    loop {
        while !awake.load(Ordering::Relaxed) {
            std::thread::park();
        }
        match rx.try_recv() {
            Ok(record) => drop(record),
            Err(annulus::TryRecvError::Ended(_)) => return,
            Err(_) => {}
        }
        if let Some(observer) = &mut observer {
            let _ = black_box(observer.try_recv(&mut buf));
        }
        read.store(rx.sequence(), Ordering::Relaxed);
    }
}

fn pin(cpu: usize) {
    // SAFETY: an all-zero set is one; the calls write and read one whole set of our own.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

fn observe(_: &mut Criterion) {
    pin(0);
    let mut rings = [false, true].map(Followed::new);
    let mut ratios: Vec<f64> = (0..TURNS)
        .map(|turn| {
            let mut took = [0.0; 2];
            for i in 0..2 {
                let ring = (turn + i) % 2;
                took[ring] = rings[ring].publish(20).as_secs_f64();
            }
            took[1] / took[0]
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let [low, middle, high] = [1, 2, 3].map(|quarter| ratios[TURNS * quarter / 4]);
    println!("observed: time over the ring's without, turn by turn: {middle:.3} [{low:.3} {high:.3}]");
    for Followed { tx, awake, reader, .. } in rings {
        drop(tx);
        awake.store(true, Ordering::Relaxed);
        reader.thread().unpark();
        reader.join().expect("the reader ends");
    }
}

criterion_group!(benches, publish, observe);
criterion_main!(benches);
