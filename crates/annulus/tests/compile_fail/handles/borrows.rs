//! What is lent lasts no longer than whom it is lent by, and there is one of what there may be one of.

use std::io::Write;

use annulus::{Claim, CopyingSubscriber, Observer, Producer, Record, Subscriber, TypedSubscriber};

fn a_record_outlives_its_subscriber(rx: Subscriber) {
    let record = rx.recv().unwrap();
    drop(rx);
    println!("{}", record.len());
}

fn a_subscriber_moves_away_under_a_record(rx: Subscriber) {
    let record = rx.recv().unwrap();
    std::thread::spawn(move || drop(rx));
    println!("{}", record.len());
}

fn bytes_outlive_their_record(rx: &Subscriber) {
    let record = rx.recv().unwrap();
    let bytes: &[u8] = &record;
    drop(record);
    println!("{bytes:?}");
}

fn bytes_are_returned_without_their_record(rx: &Subscriber) -> &[u8] {
    &rx.recv().unwrap()
}

fn a_typed_record_outlives_its_subscriber(rx: TypedSubscriber<u64>) {
    let record = rx.recv().unwrap();
    drop(rx);
    println!("{}", *record);
}

fn a_value_outlives_its_record(rx: &TypedSubscriber<[u64; 2]>) {
    let record = rx.recv().unwrap();
    let value: &[u64; 2] = &record;
    drop(record);
    println!("{value:?}");
}

fn records_outlive_what_they_come_from(rx: Subscriber) {
    let mut records = rx.iter();
    drop(rx);
    records.next();
}

fn a_record_is_written(mut record: Record<'_>) {
    record[0] = 1;
}

fn two_claims(tx: &mut Producer) {
    let first = tx.claim(8).unwrap();
    let second = tx.claim(8).unwrap();
    first.commit();
    second.commit();
}

fn a_record_is_sent_within_a_claim(tx: &mut Producer) {
    let claim = tx.claim(8).unwrap();
    tx.send(b"between").unwrap();
    claim.commit();
}

fn a_claim_outlives_its_producer(mut tx: Producer) {
    let claim = tx.claim(8).unwrap();
    drop(tx);
    claim.commit();
}

fn a_claim_is_written_after_its_commit(mut claim: Claim<'_>) {
    claim.commit();
    claim.write_all(b"late").unwrap();
}

fn a_batch_looks_at_its_producer(tx: &mut Producer) {
    tx.send_batch((0..4).map(|_| tx.sequence().to_le_bytes())).unwrap();
}

fn a_producer_is_borrowed_twice(tx: &mut Producer) {
    let (one, two) = (&mut *tx, &mut *tx);
    one.send(b"1").unwrap();
    two.send(b"2").unwrap();
}

fn a_buffer_is_looked_at_while_it_is_filled(rx: &mut Observer) {
    let mut buf = [0; 8];
    let before = &buf[..4];
    rx.recv(&mut buf).unwrap();
    println!("{before:?}");
}

fn two_readers_of_one_place(rx: &mut CopyingSubscriber) {
    let mut copies = rx.iter();
    rx.recv(&mut [0; 8]).unwrap();
    copies.next();
}

fn main() {}
