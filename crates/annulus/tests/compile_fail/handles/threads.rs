//! A producer is one, a reader is one, and a record stays with the thread that reads.

use std::thread;

use annulus::{Observer, Producer, Record, Subscriber};

fn a_producer_shared_between_threads(tx: &Producer) {
    thread::scope(|scope| {
        scope.spawn(|| tx.sequence());
    });
}

fn a_subscriber_shared_between_threads(rx: &Subscriber) {
    thread::scope(|scope| {
        scope.spawn(|| drop(rx.recv()));
    });
}

fn an_observer_shared_between_threads(rx: &Observer) {
    thread::scope(|scope| {
        scope.spawn(|| rx.sequence());
    });
}

fn a_record_sent_to_another_thread(record: Record<'_>) {
    thread::scope(|scope| {
        scope.spawn(move || drop(record));
    });
}

fn main() {}
