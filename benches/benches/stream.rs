//! One-way streaming: annulus between two processes beside rtrb between two threads, on the same two CPUs.
//!
//! The rows of one group alternate in short samples, so that a machine that changes its pace changes it for
//! all. `cargo bench -p annulus-benches` prints them, and at the end of each group the paired ratio.
#![allow(missing_docs, unsafe_code)]

use std::hint::{black_box, spin_loop};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use annulus::{Align, Producer, Ring, Subscriber, Waiting};
use criterion::{BenchmarkId, Criterion, Throughput};
use rtrb::RingBuffer;

/// Bytes of ring for every system: rtrb's is as many elements as that holds.
const CAPACITY: usize = 1 << 18;
/// Messages of a batch.
const BATCH: usize = 32;

fn pin(cpu: usize) {
    // SAFETY: a set of bits on the stack, and our own thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

/// Something that streams `iters` messages and tells how long that took, until the last was read.
trait Stream {
    fn run(&mut self, iters: u64) -> Duration;
}

/// Tells the child what to read: the names of two rings and a size.
const ROLE: &str = "ANNULUS_BENCH_READ";

/// Two rings to a child process: the stream, and the way back for "all of it is read".
struct Processes {
    to: Producer,
    back: Subscriber,
    child: Child,
    payload: Vec<u8>,
    batch: bool,
}

impl Processes {
    fn new(size: usize, align: Align, batch: bool) -> Self {
        let name = format!("bench-{}-{size}-{align:?}-{batch}", std::process::id());
        let to = Ring::create(&format!("{name}-there"))
            .capacity(CAPACITY)
            .align(align)
            .waiting(Waiting::spin())
            .producer()
            .expect("the ring there");
        // Started anew, not forked: a fork would keep our locks alive.
        let child = Command::new(std::env::current_exe().expect("our own path"))
            .env(ROLE, format!("{name} {size}"))
            .spawn()
            .expect("a child");
        let back = Ring::open(&format!("{name}-back"))
            .waiting(Waiting::spin())
            .wait(Duration::from_secs(5))
            .and_then(annulus::Open::<[u8]>::subscribe)
            .expect("the ring back");
        Processes { to, back, child, payload: vec![7; size], batch }
    }
}

/// The child: reads and copies out everything, answers each empty record, ends with the stream.
fn read(role: &str) {
    pin(1);
    let (name, size) = role.split_once(' ').expect("a name and a size");
    let mut out = vec![0; size.parse().expect("a size")];
    // Parked while another system is measured: two that spin on one processor would measure the scheduler.
    let from = Ring::open(&format!("{name}-there")).subscribe().expect("the ring there");
    let mut back = Ring::create(&format!("{name}-back")).producer().expect("the ring back");
    while let Ok(record) = from.recv() {
        if record.is_empty() {
            back.send(&[1]).expect("an answer");
        } else {
            out.copy_from_slice(&record);
            black_box(&out);
        }
    }
}

impl Stream for Processes {
    fn run(&mut self, iters: u64) -> Duration {
        let start = Instant::now();
        let mut left = iters;
        while left > 0 {
            if self.batch {
                let n = left.min(BATCH as u64);
                let payload = &self.payload;
                self.to.send_batch((0..n).map(|_| black_box(payload))).expect("room");
                left -= n;
            } else {
                self.to.send(black_box(&self.payload)).expect("room");
                left -= 1;
            }
        }
        self.to.send(&[]).expect("room");
        drop(self.back.recv().expect("an answer"));
        start.elapsed()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // The fields go after this, so the stream has not ended yet: the child is ended instead, and its ring,
        // a leftover now, is taken over and ended here.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let name = self.to.name().replace("-there", "-back");
        drop(Ring::open(&name).producer());
    }
}

/// The fastest ring between two threads. Its reader sleeps between runs.
struct Threads<const SIZE: usize> {
    to: rtrb::Producer<[u8; SIZE]>,
    go: Option<Sender<u64>>,
    read: Arc<AtomicU64>,
    sent: u64,
    reader: Option<thread::JoinHandle<()>>,
    batch: bool,
}

impl<const SIZE: usize> Threads<SIZE> {
    fn new(batch: bool) -> Self {
        let (to, mut from) = RingBuffer::<[u8; SIZE]>::new(CAPACITY / SIZE);
        let (go, runs) = channel();
        let read = Arc::new(AtomicU64::new(0));
        let done = read.clone();
        let reader = thread::spawn(move || {
            pin(1);
            let mut count = 0;
            for target in runs {
                while count < target {
                    if batch {
                        let chunk = from.read_chunk(from.slots()).expect("that many are there");
                        for message in chunk {
                            black_box(&message);
                            count += 1;
                        }
                    } else if let Ok(message) = from.pop() {
                        black_box(&message);
                        count += 1;
                    } else {
                        spin_loop();
                    }
                }
                done.store(count, Ordering::Release);
            }
        });
        Threads { to, go: Some(go), read, sent: 0, reader: Some(reader), batch }
    }
}

impl<const SIZE: usize> Stream for Threads<SIZE> {
    fn run(&mut self, iters: u64) -> Duration {
        let payload = [7; SIZE];
        let start = Instant::now();
        self.sent += iters;
        self.go.as_ref().and_then(|go| go.send(self.sent).ok()).expect("a reader");
        let mut left = iters;
        while left > 0 {
            if self.batch {
                let n = (left as usize).min(BATCH);
                match self.to.write_chunk_uninit(n) {
                    Ok(chunk) => left -= chunk.fill_from_iter((0..n).map(|_| black_box(payload))) as u64,
                    Err(_) => spin_loop(),
                }
            } else {
                match self.to.push(black_box(payload)) {
                    Ok(()) => left -= 1,
                    Err(_) => spin_loop(),
                }
            }
        }
        while self.read.load(Ordering::Acquire) < self.sent {
            spin_loop();
        }
        start.elapsed()
    }
}

impl<const SIZE: usize> Drop for Threads<SIZE> {
    fn drop(&mut self) {
        self.go = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Messages of one paired sample: some milliseconds.
const SAMPLE: u64 = 200_000;
const PAIRS: usize = 41;

/// The median of paired ratios, system over yardstick, in messages a second, and the middle half of them.
fn paired(system: &mut dyn Stream, yardstick: &mut dyn Stream) -> [f64; 3] {
    let mut ratios: Vec<f64> = (0..PAIRS)
        .map(|_| {
            let theirs = yardstick.run(SAMPLE).as_secs_f64();
            theirs / system.run(SAMPLE).as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    [ratios[PAIRS / 4], ratios[PAIRS / 2], ratios[PAIRS * 3 / 4]]
}

fn of_size<const SIZE: usize>(c: &mut Criterion) {
    for batch in [false, true] {
        let kind = if batch { "batch" } else { "one by one" };
        let systems = [Align::Line, Align::Packed].map(|align| (align, Processes::new(SIZE, align, batch)));
        let mut rtrb = Threads::<SIZE>::new(batch);
        let mut group = c.benchmark_group(format!("stream {SIZE} B, {kind}"));
        group.throughput(Throughput::Elements(1));
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1500));
        group.sample_size(20);
        group.bench_function(BenchmarkId::new("rtrb", "threads"), |b| b.iter_custom(|n| rtrb.run(n)));
        for (align, mut system) in systems {
            let id = BenchmarkId::new("annulus, processes", format!("{align:?}"));
            group.bench_function(id, |b| b.iter_custom(|n| system.run(n)));
            let [low, middle, high] = paired(&mut system, &mut rtrb);
            println!("    {align:?}: messages/s over rtrb's, pair by pair: {middle:.2} [{low:.2} {high:.2}]");
        }
        group.finish();
    }
}

fn stream(c: &mut Criterion) {
    pin(0);
    of_size::<8>(c);
    of_size::<64>(c);
    of_size::<256>(c);
}

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        read(&role);
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    stream(&mut criterion);
    criterion.final_summary();
}
