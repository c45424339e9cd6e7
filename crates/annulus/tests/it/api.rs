//! What the types promise, checked by the compiler.

use annulus::{
    Claim, CopyingSubscriber, Error, Observer, Producer, Record, Select, Subscriber, TypedProducer,
    TypedRecord, TypedSubscriber,
};

/// Fails to compile if the type has the trait: both impls would apply then, and `_` could not be inferred.
macro_rules! assert_not_impl {
    ($($type:ty: $trait:path),* $(,)?) => {$(
        const _: fn() = || {
            trait Ambiguous<A> {
                fn item() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            #[allow(dead_code)]
            struct HasIt;
            impl<T: ?Sized + $trait> Ambiguous<HasIt> for T {}
            let _ = <$type as Ambiguous<_>>::item;
        };
    )*};
}

fn is_send<T: Send>() {}
fn is_error<T: std::error::Error + Send + Sync + 'static>() {}

assert_not_impl! {
    Producer: Sync,
    Producer: Clone,
    Subscriber: Sync,
    Subscriber: Clone,
    Observer: Clone,
    CopyingSubscriber: Clone,
    Record<'static>: Send,
    Claim<'static>: Clone,
    TypedProducer<u64>: Sync,
    TypedProducer<u64>: Clone,
    TypedProducer<u64>: std::ops::Deref,
    TypedSubscriber<u64>: Sync,
    TypedSubscriber<u64>: Clone,
    TypedRecord<'static, u64>: Send,
}

#[test]
fn handles_move_between_threads_but_are_not_shared() {
    is_send::<Producer>();
    is_send::<Subscriber>();
    is_send::<Observer>();
    is_send::<CopyingSubscriber>();
    is_send::<Select>();
}

#[test]
fn errors_can_be_boxed_and_sent() {
    is_error::<Error>();
    is_error::<annulus::SendError>();
    is_error::<annulus::TrySendError>();
    is_error::<annulus::SendTimeoutError>();
    is_error::<annulus::RecvError>();
    is_error::<annulus::TryRecvError>();
    is_error::<annulus::RecvTimeoutError>();
    is_error::<annulus::CopyError>();
    is_error::<annulus::TryCopyError>();
    is_error::<annulus::CopyTimeoutError>();
    is_error::<annulus::WaitError>();
    is_error::<annulus::SelectError>();
}
