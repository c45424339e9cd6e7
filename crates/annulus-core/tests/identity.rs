//! A creator fills an object in while another process maps it already, as handed-over rings allow.
//!
//! Shows: whoever sees the magic sees what was written before it. Cannot show: that a rename or a passed
//! descriptor orders named rings, which is the kernel's doing.

mod common;

use annulus_core::layout::{
    CTL_MAGIC, CtlHead, FenceMode, Identity, IdentityError, IdentityPage, Options, RECORDS_OFFSET_MIN,
    TypeIdentity, WakeBackend,
};
use annulus_core::shape::{Align, Shape};
use common::{Arc, model, relax, thread};

#[test]
fn the_magic_comes_last() {
    model(9, || {
        let ctl = Arc::new(CtlHead::default());
        let creator = {
            let ctl = ctl.clone();
            thread::spawn(move || {
                ctl.slots.preset(64);
                ctl.uuid[0].preset(7);
                ctl.magic.complete(CTL_MAGIC);
            })
        };
        while ctl.magic.look() != CTL_MAGIC {
            relax();
        }
        assert_eq!((ctl.slots.glance(), ctl.uuid[0].glance()), (64, 7));
        creator.join().unwrap();
    });
}

#[test]
fn an_identity_is_read_whole_or_not_at_all() {
    model(9, || {
        let identity = Identity {
            shape: Shape::new(4096, Align::Packed).unwrap(),
            records_offset: RECORDS_OFFSET_MIN,
            options: Options::default(),
            fence_mode: FenceMode::Symmetric,
            slots: 1,
            groups: 2,
            claim_words: 4,
            liveness_ms: 1000,
            wake: WakeBackend::Futex,
            clock: 0,
            calibration: [3, 4, 5, 6],
            retain: 7,
            evict_after_ns: 0,
            payload: TypeIdentity::default(),
            schema_len: 0,
            uuid: [8, 9],
            created_unix_ns: 10,
        };
        let page = Arc::new(IdentityPage::default());
        let creator = {
            let page = page.clone();
            thread::spawn(move || page.write(&identity, b"", b""))
        };
        let read = loop {
            match page.read() {
                Err(IdentityError::Foreign) => relax(),
                read => break read,
            }
        };
        assert_eq!(read, Ok(identity));
        creator.join().unwrap();
    });
}
