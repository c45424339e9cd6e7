//! A producer is one, a reader is one, and a record stays with the thread that reads.
//!
//! `std::thread` asks for the same two traits; asked this way the compiler does not list the fields that have them not.

use annulus::{
    Claim, CopyingSubscriber, Observer, Producer, Record, Subscriber, TypedProducer, TypedRecord, TypedSubscriber,
};

trait FromManyThreads {
    fn is_used_by_many_threads(&self) {}
}

impl<T: Sync> FromManyThreads for T {}

trait FromAnotherThread: Sized {
    fn moves_to_another_thread(self) {}
}

impl<T: Send> FromAnotherThread for T {}

fn shared(tx: &Producer, rx: &Subscriber, observer: &Observer, copies: &CopyingSubscriber, claim: &Claim<'_>) {
    tx.is_used_by_many_threads();
    rx.is_used_by_many_threads();
    observer.is_used_by_many_threads();
    copies.is_used_by_many_threads();
    claim.is_used_by_many_threads();
}

fn shared_typed(tx: &TypedProducer<u64>, rx: &TypedSubscriber<u64>) {
    tx.is_used_by_many_threads();
    rx.is_used_by_many_threads();
}

fn sent(record: Record<'_>, value: TypedRecord<'_, u64>) {
    // In tuples: what these lend could go.
    (record,).moves_to_another_thread();
    (value,).moves_to_another_thread();
}

fn main() {}
