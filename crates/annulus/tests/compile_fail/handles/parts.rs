//! Neither the memory nor the making of a handle is for others.

use annulus::{Producer, Record, Subscriber, TypedProducer};

fn a_second_producer(tx: &Producer) -> Producer {
    Producer::clone(tx)
}

fn the_memory_of_a_subscriber(rx: &Subscriber) {
    rx.memory();
}

fn the_memory_of_a_producer(tx: &Producer) {
    let _ = &tx.memory;
}

fn the_place_of_a_record(record: &Record<'_>) {
    let _ = record.payload;
}

fn the_bytes_behind_a_typed_producer(tx: &mut TypedProducer<u64>) {
    tx.producer.send(b"no number").unwrap();
}

fn main() {}
