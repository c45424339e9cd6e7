//! Where `payload!` may stand, and what it takes.

use annulus::Payload;

annulus::payload! {}

annulus::payload! {
    /// Docs, derives, visibilities, and a last comma or none.
    #[derive(Debug, PartialEq, Eq, Default)]
    pub struct Open {
        /// Of a field.
        pub id: u64,
        pub(crate) rest: [[u8; 4]; 2]
    }

    struct Nothing {}

    pub(crate) struct Newtype(pub Open);

    struct r#Raw {
        r#type: i16,
        r#fn: [i8; 2],
    }
}

mod inner {
    annulus::payload! {
        /// Its field is this module's own.
        #[derive(Default)]
        pub struct Closed {
            secret: u32,
        }
    }

    impl Closed {
        pub fn secret(self) -> u32 {
            self.secret
        }
    }
}

annulus::payload! {
    struct Holder {
        closed: inner::Closed,
        none: [Nothing; 3],
    }

    #[repr(packed)]
    struct Packed {
        side: u8,
        price: f64,
    }

    #[repr(align(8))]
    struct Aligned {
        halves: [u32; 2],
    }
}

fn is_payload<T: Payload>(_: T) {}

fn main() {
    annulus::payload! {
        struct Local {
            x: u8,
        }
    }
    is_payload(Local { x: 1 });
    is_payload(Newtype(Open { id: 1, rest: [[1; 4]; 2] }));
    is_payload(Raw { r#type: 1, r#fn: [1; 2] });
    is_payload(Holder { closed: inner::Closed::default(), none: [Nothing {}; 3] });
    is_payload(Packed { side: 1, price: 1.0 });
    is_payload(Aligned { halves: [1; 2] });
    assert_eq!(inner::Closed::default().secret(), 0);
    assert_eq!((size_of::<Packed>(), align_of::<Aligned>()), (9, 8));
    assert_eq!(Raw::NAME, "Raw");
}
