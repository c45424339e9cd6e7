//! What each handle may do between threads, and how often there is one. The other half of `handles/`.
#![allow(dead_code)]

use annulus::{
    Claim, Copies, CopyingSubscriber, Iter, Observer, OwnedRecord, Producer, Received, Record, Subscriber,
    TypedCopies, TypedCopyingSubscriber, TypedIter, TypedObserver, TypedOwnedRecord, TypedProducer, TypedRecord,
    TypedSubscriber,
};

/// Compiles only where the type has the trait.
macro_rules! is {
    ($bound:ident: $($type:ty),+ $(,)?) => {{
        fn has<T: $bound>() {}
        $(has::<$type>();)+
    }};
}

/// Compiles only where the type has it not: with it, there are two `what`s to choose from.
macro_rules! is_not {
    ($bound:ident: $($type:ty),+ $(,)?) => {{
        trait Either<Which> {
            fn what() {}
        }
        impl<T> Either<()> for T {}
        struct Other;
        impl<T: $bound> Either<Other> for T {}
        $(<$type as Either<_>>::what();)+
    }};
}

fn table() {
    // Each moves to the thread that uses it, and only one uses it at a time.
    is!(Send: Producer, Subscriber, Observer, CopyingSubscriber);
    is!(Send: TypedProducer<u64>, TypedSubscriber<u64>, TypedObserver<u64>, TypedCopyingSubscriber<u64>);
    is_not!(Sync: Producer, Subscriber, Observer, CopyingSubscriber);
    is_not!(Sync: TypedProducer<u64>, TypedSubscriber<u64>, TypedObserver<u64>, TypedCopyingSubscriber<u64>);
    is_not!(Clone: Producer, Subscriber, Observer, CopyingSubscriber);
    is_not!(Clone: TypedProducer<u64>, TypedSubscriber<u64>, TypedObserver<u64>, TypedCopyingSubscriber<u64>);
    // What is borrowed of a subscriber gives back to it, which is no other thread's.
    is_not!(Send: Record<'static>, TypedRecord<'static, u64>, Iter<'static>, TypedIter<'static, u64>);
    is_not!(Sync: Record<'static>, TypedRecord<'static, u64>, Iter<'static>, TypedIter<'static, u64>);
    is_not!(Clone: Record<'static>, TypedRecord<'static, u64>, Claim<'static>);
    // What is all that is used of another's goes where that could go.
    is!(Send: Claim<'static>, Copies<'static>, TypedCopies<'static, u64>);
    is_not!(Sync: Claim<'static>, Copies<'static>, TypedCopies<'static, u64>);
    // What was copied is anybody's.
    is!(Send: OwnedRecord, TypedOwnedRecord<u64>, Received);
    is!(Sync: OwnedRecord, TypedOwnedRecord<u64>, Received);
    is!(Clone: OwnedRecord, TypedOwnedRecord<u64>, Received);
}

/// Records are held side by side, while others are received, and dropped in any order.
fn held(rx: &Subscriber) {
    let first = rx.recv().unwrap();
    let second = rx.recv().unwrap();
    drop(first);
    println!("{:?} {}", rx.try_recv().is_ok(), second.len());
}

/// A handle moves, with nothing borrowed of it.
fn moved(mut tx: Producer, rx: Subscriber) {
    std::thread::spawn(move || tx.send(b"there"));
    std::thread::spawn(move || rx.recv().map(|record| record.len()));
}

fn main() {}
